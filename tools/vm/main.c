// SPDX-License-Identifier: MIT
/*
 * vhu vm: the order in which things start, its loop and its end. Knows nothing of how a machine is
 * built.
 */

#include "commands.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <vmm/machine.h>

#include "common/log.h"
#include "common/loop.h"
#include "common/opt.h"
#include "common/sandbox.h"
#include "vm/calls.h"
#include "vm/console.h"
#include "vm/options.h"
#include "vm/walk.h"

enum {
	WAIT_STEP_MS = 200,
	/* For a backend that is just being started. */
	PATIENCE_MS = 1000,
	LAST_WAIT_MS = 500,
	NR_ENDS = 4,
};

/* What ends it, and what is a question. */
static const int signals[NR_ENDS + 1] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1 };

struct program {
	struct vm_options options;
	struct vmm_machine *machine;
	struct loop *loop;
	struct loop_source *signals, *source;
	struct console *console;
	struct walk *walk; /* NULL: not asked for */
};

/* ---- The console's other end ---- */

static size_t fetch(void *arg, void *data, size_t len)
{
	struct program *program = arg;

	return vmm_machine_fetch(program->machine, data, len);
}

static size_t room(void *arg)
{
	struct program *program = arg;

	return vmm_machine_room(program->machine);
}

static void input(void *arg, const void *data, size_t len)
{
	struct program *program = arg;

	vmm_machine_input(program->machine, data, len);
}

static void on_escape(void *arg)
{
	struct program *program = arg;

	loop_stop(program->loop, 0);
}

/* ---- The loop ---- */

/* How often vCPUs came back to us: traffic that passes without us does not count. */
static void say_exits(struct program *program)
{
	uint64_t exits[VMM_EXIT_KINDS];

	vmm_machine_exits(program->machine, exits);
	log_line(LOG_NOTICE, NULL,
		 "exits: port %" PRIu64 ", mmio %" PRIu64 ", halt %" PRIu64 ", signal %" PRIu64,
		 exits[VMM_EXIT_PORT], exits[VMM_EXIT_MMIO], exits[VMM_EXIT_HALT],
		 exits[VMM_EXIT_INTR]);
}

static void on_signal(void *arg, int signal, pid_t sender)
{
	struct program *program = arg;

	(void)sender;
	if (signal == SIGUSR1) {
		say_exits(program);
		return;
	}
	log_line(LOG_NOTICE, NULL, "ended by SIG%s", sigabbrev_np(signal));
	loop_stop(program->loop, 0);
}

/* The end as a line of JSON. */
static void say_json(struct program *program, int status)
{
	static const char *const ends[] = {
		[VMM_END_NONE] = "stopped",  [VMM_END_POWER_OFF] = "power-off",
		[VMM_END_RESET] = "reset",   [VMM_END_CRASH] = "crash",
		[VMM_END_FAILED] = "failed",
	};
	uint64_t exits[VMM_EXIT_KINDS];
	char text[VMM_TEXT];
	enum vmm_end end = vmm_machine_ended(program->machine, text);
	struct pollfd pollfd = { .fd = STDERR_FILENO, .events = POLLOUT };
	char line[512]; /* a pipe that is ready takes it whole */
	int len;

	vmm_machine_exits(program->machine, exits);
	len = snprintf(line, sizeof(line),
		       "{\"end\":\"%s\",\"status\":%d,\"entered_ns\":%" PRIu64
		       ",\"exits\":{\"port\":%" PRIu64 ",\"mmio\":%" PRIu64 ",\"halt\":%" PRIu64
		       ",\"signal\":%" PRIu64 "}}\n",
		       ends[end], status, vmm_machine_entered_ns(program->machine),
		       exits[VMM_EXIT_PORT], exits[VMM_EXIT_MMIO], exits[VMM_EXIT_HALT],
		       exits[VMM_EXIT_INTR]);
	/* Whoever does not read it in time has it not: see outlet_free(). */
	if (len > 0 && poll(&pollfd, 1, LAST_WAIT_MS) == 1 && pollfd.revents & POLLOUT)
		(void)!write(STDERR_FILENO, line, (size_t)len);
}

static void on_machine(void *arg, uint32_t events)
{
	struct program *program = arg;
	int err = vmm_machine_process(program->machine);
	char text[VMM_TEXT];

	(void)events;
	console_pump(program->console);
	if (err < 0) {
		log_line(LOG_ERR, NULL, "cannot go on: %s", strerror(-err));
		loop_stop(program->loop, 1);
		return;
	}
	switch (vmm_machine_ended(program->machine, text)) {
	case VMM_END_NONE:
		return;
	case VMM_END_POWER_OFF:
	case VMM_END_RESET:
		log_line(LOG_INFO, NULL, "%s", text);
		loop_stop(program->loop, 0);
		return;
	case VMM_END_CRASH:
	case VMM_END_FAILED:
		log_line(LOG_ERR, NULL, "%s", text);
		loop_stop(program->loop, 1);
		return;
	}
}

/* ---- Devices ---- */

static void say(void *arg, const char *device, const char *text)
{
	(void)arg;
	log_line(LOG_NOTICE, device, "%s", text);
}

static int add_device(struct program *program, const struct vm_device *device, char *text)
{
	struct vmm_net_options net = {
		.name = device->name,
		.path = device->path,
		.server = device->server,
		.packed = device->packed,
		.has_mac = device->has_mac,
		.queue_pairs = device->queues,
		.mtu = device->mtu,
		.say = say,
	};
	const struct vmm_blk_options blk = {
		.name = device->name,
		.path = device->path,
		.server = device->server,
		.packed = device->packed,
		.queues = device->queues,
		.say = say,
	};

	memcpy(net.mac, device->mac, sizeof(net.mac));
	return device->is_blk ? vmm_machine_add_blk(program->machine, &blk, text) :
				vmm_machine_add_net(program->machine, &net, text);
}

static int add_devices(struct program *program, char *text)
{
	char why[VMM_TEXT];
	int err = 0;

	for (unsigned int i = 0; !err && i < program->options.nr_devices; i++) {
		const struct vm_device *device = &program->options.devices[i];

		err = add_device(program, device, why);
		if (err < 0)
			snprintf(text, VMM_TEXT, "%.20s: %.170s", device->name, why);
	}
	return err;
}

/* A signal that would end us came meanwhile; it stays pending for the loop. */
static bool is_ended(void)
{
	sigset_t pending;

	sigpending(&pending);
	for (size_t i = 0; i < NR_ENDS; i++)
		if (sigismember(&pending, signals[i]))
			return true;
	return false;
}

/* Until its backend was greeted. -EINTR: ended by a signal. */
static int wait_device(struct program *program, unsigned int number, char *text)
{
	const struct vm_device *device = &program->options.devices[number];
	const bool for_ever = device->server || device->reconnect;
	char why[VMM_TEXT];

	for (unsigned int waited_ms = 0;; waited_ms += WAIT_STEP_MS) {
		int err = vmm_machine_wait_device(program->machine, number, WAIT_STEP_MS, why);

		if (!err)
			return 0;
		if (is_ended())
			return -EINTR;
		if (err != -ETIMEDOUT || (!for_ever && waited_ms >= PATIENCE_MS)) {
			snprintf(text, VMM_TEXT, "%.20s: %.170s", device->name, why);
			return err;
		}
		if (waited_ms == PATIENCE_MS)
			log_line(LOG_NOTICE, device->name, "waiting for a backend at %s",
				 device->path);
	}
}

static int wait_devices(struct program *program, char *text)
{
	int err = 0;

	for (unsigned int i = 0; !err && i < program->options.nr_devices; i++)
		err = wait_device(program, i, text);
	return err;
}

/* ---- Start and end ---- */

static int build(struct program *program, char *text)
{
	const struct vm_options *options = &program->options;
	const struct vmm_machine_options machine = {
		.memory_size = options->memory_size,
		.with_huge_pages = options->with_huge_pages,
		.nr_cpus = options->nr_cpus,
		.through_us = options->trace_walk,
		.probe = walk_probe(program->walk),
	};
	const struct vmm_boot_options boot = {
		.kernel = options->kernel,
		.initrd = options->initrd,
		.append = options->append,
	};
	int err = vmm_machine_new(&program->machine, &machine, text);

	if (!err)
		err = add_devices(program, text);
	if (!err)
		err = vmm_machine_boot(program->machine, &boot, text);
	return err;
}

static int open_loop(struct program *program, char *text)
{
	const struct console_options console = {
		.loop = program->loop,
		.in_fd = STDIN_FILENO,
		.out_fd = STDOUT_FILENO,
		.fetch = fetch,
		.room = room,
		.input = input,
		.ended = on_escape,
		.arg = program,
	};
	int err = console_new(&program->console, &console);

	if (!err)
		err = loop_add_fd(program->loop, vmm_machine_fd(program->machine), EPOLLIN,
				  on_machine, program, &program->source);
	if (err < 0)
		snprintf(text, VMM_TEXT, "console: %s", strerror(-err));
	return err;
}

static int start(struct program *program, char *text)
{
	char why[SANDBOX_TEXT];
	int err = loop_new(&program->loop);

	/* Before the threads, which inherit the mask, and before there is a socket to be taken away. */
	if (!err)
		err = loop_add_signals(program->loop, signals, NR_ENDS + 1, on_signal, program,
				       &program->signals);
	if (!err && program->options.trace_walk)
		err = walk_new(&program->walk, program->loop, STDERR_FILENO, program->options.json,
			       program->options.log_level == LOG_DEBUG);
	if (!err)
		err = build(program, text);
	if (!err)
		err = open_loop(program, text);
	if (err < 0)
		return err;
	err = sandbox_enter(vm_calls, nr_vm_calls, program->options.with_sandbox, why);
	if (err < 0) {
		snprintf(text, VMM_TEXT, "sandbox: %s", why);
		return err;
	}
	/* Its first byte is read in here. */
	err = wait_devices(program, text);
	if (err < 0)
		return err;
	console_begin(program->console);
	return vmm_machine_start(program->machine, text);
}

static int run(struct program *program)
{
	char text[VMM_TEXT] = "no memory";
	int err = start(program, text);
	int status;

	if (err == -EINTR) {
		/* The loop takes the signal. */
		status = loop_run(program->loop);
	} else if (err < 0) {
		/* The terminal first: the line is for whoever looks at it. */
		console_free(program->console);
		program->console = NULL;
		log_line(LOG_ERR, NULL, "%s", text);
		status = 1;
	} else {
		console_pump(program->console);
		status = loop_run(program->loop);
		if (status < 0) {
			log_line(LOG_ERR, NULL, "loop: %s", strerror(-status));
			status = 1;
		}
		vmm_machine_stop(program->machine);
		if (program->options.json)
			say_json(program, status);
	}
	loop_remove(program->source);
	console_free(program->console);
	vmm_machine_free(program->machine);
	walk_free(program->walk);
	loop_free(program->loop);
	return status;
}

int cmd_vm(int argc, char **argv)
{
	struct program program = { 0 };
	int status = vm_options_parse(&program.options, argc, argv);

	if (status == OPT_END) {
		log_init("vhu vm", program.options.log_level, false);
		/* Up to a dozen for each queue pair. */
		sandbox_raise_files();
		status = run(&program);
	}
	vm_options_free(&program.options);
	return status;
}
