// SPDX-License-Identifier: MIT
/* A vCPU's thread and its exits; what it begins with is vcpu_state.c. */

#include <errno.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vmm/vcpu.h>
#include <vmm/vcpu_state.h>

struct vmm_vcpu {
	struct vmm_vcpu_options options;
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	bool is_started;
	atomic_bool stop;
	_Atomic uint64_t exits[VMM_EXIT_KINDS]; /* one writer: its thread */
};

/*
 * Makes KVM_RUN come back. It is blocked on a vCPU's thread, and let through by the kernel only while
 * the guest runs: no handler is needed, and nothing else is ever interrupted by it.
 */
static int stop_signal(void)
{
	return SIGRTMIN;
}

/* ---- Exits ---- */

static void count(struct vmm_vcpu *vcpu, enum vmm_exit kind)
{
	uint64_t before = atomic_load_explicit(&vcpu->exits[kind], memory_order_relaxed);

	atomic_store_explicit(&vcpu->exits[kind], before + 1, memory_order_relaxed);
}

/* What was read or written, for the record. */
static uint64_t value_of(const void *data, unsigned int len)
{
	uint64_t value = 0;

	memcpy(&value, data, len < sizeof(value) ? len : sizeof(value));
	return value;
}

/* IN and OUT of 1, 2 or 4 bytes, several at once if it is a string. */
static void serve_port(struct vmm_vcpu *vcpu)
{
	const struct vmm_vcpu_options *to = &vcpu->options;
	const bool is_write = vcpu->run->io.direction == KVM_EXIT_IO_OUT;
	const unsigned int size = vcpu->run->io.size, nr = vcpu->run->io.count;
	const uint16_t port = vcpu->run->io.port;
	uint8_t *data = (uint8_t *)vcpu->run + vcpu->run->io.data_offset;

	vmm_probe(to->probe, VMM_AT_EXIT, NULL, "port", port, is_write ? value_of(data, size) : 0);
	pthread_mutex_lock(to->lock);
	for (unsigned int i = 0; i < nr; i++, data += size) {
		if (is_write)
			vmm_bus_write(to->port, port, data, size);
		else
			vmm_bus_read(to->port, port, data, size);
	}
	pthread_mutex_unlock(to->lock);
	vmm_probe(to->probe, VMM_AT_ENTER, NULL, is_write ? NULL : "port", port,
		  is_write ? 0 : value_of(data - size, size));
}

static void serve_mmio(struct vmm_vcpu *vcpu)
{
	const struct vmm_vcpu_options *to = &vcpu->options;
	const uint64_t addr = vcpu->run->mmio.phys_addr;
	const unsigned int len = vcpu->run->mmio.len;
	const bool is_write = vcpu->run->mmio.is_write;
	void *data = vcpu->run->mmio.data;

	vmm_probe(to->probe, VMM_AT_EXIT, NULL, "mmio", addr, is_write ? value_of(data, len) : 0);
	pthread_mutex_lock(to->lock);
	if (is_write)
		vmm_bus_write(to->mmio, addr, data, len);
	else
		vmm_bus_read(to->mmio, addr, data, len);
	pthread_mutex_unlock(to->lock);
	vmm_probe(to->probe, VMM_AT_ENTER, NULL, is_write ? NULL : "mmio", addr,
		  is_write ? 0 : value_of(data, len));
}

/* Where it stood, for whoever has to find out why. */
static void say_where(struct vmm_vcpu *vcpu, char *text)
{
	size_t used = strlen(text);
	struct kvm_regs regs;

	if (!ioctl(vcpu->fd, KVM_GET_REGS, &regs))
		snprintf(text + used, VMM_TEXT - used, ", at %#llx", regs.rip);
}

static bool ends(struct vmm_vcpu *vcpu, enum vmm_vcpu_end end, char *text)
{
	count(vcpu, VMM_EXIT_OTHER);
	say_where(vcpu, text);
	vcpu->options.ended(vcpu->options.arg, vcpu->options.cpu, end, text);
	return false;
}

/* True: it goes on. */
static bool serve(struct vmm_vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;
	char text[VMM_TEXT];

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		count(vcpu, VMM_EXIT_PORT);
		serve_port(vcpu);
		return true;
	case KVM_EXIT_MMIO:
		count(vcpu, VMM_EXIT_MMIO);
		serve_mmio(vcpu);
		return true;
	case KVM_EXIT_HLT:
		/* The kernel, which has the local APIC, waits itself. */
		count(vcpu, VMM_EXIT_HALT);
		return true;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		count(vcpu, VMM_EXIT_INTR);
		return true;
	case KVM_EXIT_SHUTDOWN:
		snprintf(text, sizeof(text), "triple fault");
		return ends(vcpu, VMM_VCPU_SHUTDOWN, text);
	case KVM_EXIT_SYSTEM_EVENT:
		snprintf(text, sizeof(text), "system event %u", run->system_event.type);
		return ends(vcpu, VMM_VCPU_SHUTDOWN, text);
	case KVM_EXIT_FAIL_ENTRY:
		snprintf(text, sizeof(text), "the processor refused to enter: %#llx",
			 run->fail_entry.hardware_entry_failure_reason);
		return ends(vcpu, VMM_VCPU_FAILED, text);
	case KVM_EXIT_INTERNAL_ERROR:
		snprintf(text, sizeof(text), "KVM cannot go on: internal error %u%s",
			 run->internal.suberror,
			 run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION ?
				 " (an instruction that it cannot emulate)" :
				 "");
		return ends(vcpu, VMM_VCPU_FAILED, text);
	default:
		snprintf(text, sizeof(text), "exit %u, which nobody asked for", run->exit_reason);
		return ends(vcpu, VMM_VCPU_FAILED, text);
	}
}

static void run_guest(struct vmm_vcpu *vcpu)
{
	/* pairs with the store in vmm_vcpu_ask_stop(), before the signal */
	while (!atomic_load_explicit(&vcpu->stop, memory_order_acquire)) {
		char text[VMM_TEXT];

		if (!ioctl(vcpu->fd, KVM_RUN, 0UL)) {
			if (!serve(vcpu))
				return;
			continue;
		}
		/* EAGAIN: one that waited was woken, and has to be let in again. */
		if (errno == EINTR || errno == EAGAIN) {
			count(vcpu, VMM_EXIT_INTR);
			continue;
		}
		snprintf(text, sizeof(text), "KVM_RUN: %s", strerror(errno));
		ends(vcpu, VMM_VCPU_FAILED, text);
		return;
	}
}

static void *thread_main(void *arg)
{
	struct vmm_vcpu *vcpu = arg;

	vmm_probe_set_cpu((int)vcpu->options.cpu);
	if (vcpu->options.begins)
		vcpu->options.begins(vcpu->options.arg, vcpu->options.cpu);
	run_guest(vcpu);
	return NULL;
}

/* ---- Life ---- */

/* All signals but the one that stops it are kept out of the guest's time, too. */
static int set_signal_mask(int fd)
{
	const uint64_t signals = ~(UINT64_C(1) << (stop_signal() - 1));
	_Alignas(struct kvm_signal_mask)
		uint8_t bytes[sizeof(struct kvm_signal_mask) + sizeof(signals)];
	struct kvm_signal_mask *mask = (struct kvm_signal_mask *)bytes;

	mask->len = sizeof(signals); /* of the kernel's set, not of the C library's */
	memcpy(mask->sigset, &signals, sizeof(signals));
	return ioctl(fd, KVM_SET_SIGNAL_MASK, mask) < 0 ? -errno : 0;
}

int vmm_vcpu_new(struct vmm_vcpu **ret_vcpu, const struct vmm_vcpu_options *options,
		 char text[VMM_TEXT])
{
	struct vmm_vcpu *vcpu = calloc(1, sizeof(*vcpu));
	int err = -ENOMEM;
	void *run;

	snprintf(text, VMM_TEXT, "no memory");
	if (!vcpu)
		return err;
	vcpu->options = *options;
	vcpu->fd = vmm_kvm_new_vcpu(options->kvm, options->cpu);
	if (vcpu->fd < 0) {
		err = vcpu->fd;
		snprintf(text, VMM_TEXT, "KVM_CREATE_VCPU: %s", strerror(-err));
		goto fail;
	}
	run = mmap(NULL, vmm_kvm_run_size(options->kvm), PROT_READ | PROT_WRITE, MAP_SHARED,
		   vcpu->fd, 0);
	if (run == MAP_FAILED) {
		err = -errno;
		snprintf(text, VMM_TEXT, "a vCPU's shared memory: %s", strerror(-err));
		goto fail;
	}
	vcpu->run = run;
	err = set_signal_mask(vcpu->fd);
	if (err < 0) {
		snprintf(text, VMM_TEXT, "KVM_SET_SIGNAL_MASK: %s", strerror(-err));
		goto fail;
	}
	err = vmm_vcpu_prepare(vcpu->fd, options->kvm, options->cpu, options->nr_cpus, text);
	if (err < 0)
		goto fail;
	*ret_vcpu = vcpu;
	return 0;
fail:
	vmm_vcpu_free(vcpu);
	return err;
}

void vmm_vcpu_free(struct vmm_vcpu *vcpu)
{
	if (!vcpu)
		return;
	vmm_vcpu_stop(vcpu);
	if (vcpu->run)
		munmap(vcpu->run, vmm_kvm_run_size(vcpu->options.kvm));
	if (vcpu->fd >= 0)
		close(vcpu->fd);
	free(vcpu);
}

int vmm_vcpu_enter(struct vmm_vcpu *vcpu, const struct vmm_boot_entry *entry, char text[VMM_TEXT])
{
	return vmm_vcpu_set_entry(vcpu->fd, entry, text);
}

int vmm_vcpu_start(struct vmm_vcpu *vcpu)
{
	sigset_t all, before;
	int err;

	/* Signals are the device thread's; a fault of our own is blocked in vain. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&vcpu->thread, NULL, thread_main, vcpu);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err)
		return -err;
	vcpu->is_started = true;
	return 0;
}

void vmm_vcpu_ask_stop(struct vmm_vcpu *vcpu)
{
	if (!vcpu->is_started)
		return;
	/* pairs with the load in run_guest(): whoever looks after the signal sees it */
	atomic_store_explicit(&vcpu->stop, true, memory_order_release);
	/* A signal that comes just before KVM_RUN stays pending, and KVM_RUN returns at once. */
	pthread_kill(vcpu->thread, stop_signal());
}

void vmm_vcpu_stop(struct vmm_vcpu *vcpu)
{
	if (!vcpu->is_started)
		return;
	vmm_vcpu_ask_stop(vcpu);
	pthread_join(vcpu->thread, NULL);
	vcpu->is_started = false;
}

void vmm_vcpu_exits(const struct vmm_vcpu *vcpu, uint64_t ret_counts[VMM_EXIT_KINDS])
{
	for (unsigned int i = 0; i < VMM_EXIT_KINDS; i++)
		ret_counts[i] = atomic_load_explicit(&vcpu->exits[i], memory_order_relaxed);
}
