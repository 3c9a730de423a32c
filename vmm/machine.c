// SPDX-License-Identifier: MIT
/* Builds a machine of its parts, starts it, and takes it apart in the reverse order. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>
#include <vmm/acpi.h>
#include <vmm/machine_parts.h>

enum {
	MAX_EVENTS = 32,
};

/* The wake eventfd's events; others are machine_device.c's. */
#define OF_WAKE UINT64_MAX

static int failed(char *text, const char *what, int err)
{
	snprintf(text, VMM_TEXT, "%s: %s", what, strerror(-err));
	return err;
}

/* ---- Its end ---- */

void vmm_machine_wake(struct vmm_machine *machine)
{
	const uint64_t one = 1;

	/* Full: it is readable anyway. */
	(void)!write(machine->wake_fd, &one, sizeof(one));
}

void vmm_machine_end(struct vmm_machine *machine, enum vmm_end end, const char *text)
{
	if (machine->end != VMM_END_NONE)
		return;
	machine->end = end;
	snprintf(machine->end_text, sizeof(machine->end_text), "%s", text);
	/* Whoever stops it joins their threads meanwhile. */
	for (unsigned int i = 0; i < machine->options.nr_cpus && !machine->is_stopping; i++)
		vmm_vcpu_ask_stop(machine->vcpus[i]);
	vmm_machine_wake(machine);
}

static void on_power_off(void *arg)
{
	vmm_machine_end(arg, VMM_END_POWER_OFF, "the guest switched itself off");
}

static void on_reset(void *arg)
{
	vmm_machine_end(arg, VMM_END_RESET, "the guest reset itself");
}

static void on_vcpu_end(void *arg, unsigned int cpu, enum vmm_vcpu_end end, const char *text)
{
	struct vmm_machine *machine = arg;
	char line[VMM_TEXT + 32];

	snprintf(line, sizeof(line), "vCPU %u: %s", cpu, text);
	pthread_mutex_lock(&machine->lock);
	vmm_machine_end(machine, end == VMM_VCPU_SHUTDOWN ? VMM_END_CRASH : VMM_END_FAILED, line);
	pthread_mutex_unlock(&machine->lock);
}

static void on_vcpu_begin(void *arg, unsigned int cpu)
{
	struct vmm_machine *machine = arg;
	struct timespec now;

	if (cpu)
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	atomic_store(&machine->entered_ns,
		     (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec);
}

static void on_serial(void *arg)
{
	vmm_machine_wake(arg);
}

/* ---- Its parts ---- */

static int check_options(const struct vmm_machine_options *options, char *text)
{
	const uint64_t page = options->with_huge_pages ? 2 << 20 : 4096;
	struct sysinfo host;

	if (!options->nr_cpus || options->nr_cpus > VMM_MAX_CPUS) {
		snprintf(text, VMM_TEXT, "%u vCPUs: 1 to %d are possible", options->nr_cpus,
			 VMM_MAX_CPUS);
		return -EINVAL;
	}
	if (options->memory_size < VMM_MACHINE_MIN_MEMORY ||
	    options->memory_size > VMM_MACHINE_MAX_MEMORY || options->memory_size % page) {
		snprintf(text, VMM_TEXT,
			 "memory of %llu bytes: 16 MiB to 255 GiB are possible, in pages of %llu",
			 (unsigned long long)options->memory_size, (unsigned long long)page);
		return -EINVAL;
	}
	/* Nothing else would refuse it before the guest's first page that is not there. */
	if (!sysinfo(&host) && host.totalram <= options->memory_size / host.mem_unit) {
		snprintf(text, VMM_TEXT, "memory of %llu MiB: this host itself has %llu MiB",
			 (unsigned long long)options->memory_size >> 20,
			 (unsigned long long)host.totalram * host.mem_unit >> 20);
		return -ENOMEM;
	}
	return 0;
}

static int add_memory(struct vmm_machine *machine, char *text)
{
	const uint64_t size = machine->options.memory_size;
	const uint64_t low = size < VMM_LOW_END ? size : VMM_LOW_END;
	const unsigned int flags = machine->options.with_huge_pages ? VHU_MEMORY_HUGE : 0;
	int err = vhu_memory_new(&machine->memory);

	if (!err)
		err = vhu_memory_add(machine->memory, 0, low, flags);
	if (!err && size > low)
		err = vhu_memory_add(machine->memory, VMM_HIGH_BEGIN, size - low, flags);
	if (err == -ENOMEM && flags) {
		snprintf(text, VMM_TEXT,
			 "memory: not that many free huge pages (/proc/sys/vm/nr_hugepages)");
		return err;
	}
	if (err < 0)
		return failed(text, "memory", err);
	return vmm_kvm_set_memory(machine->kvm, machine->memory, text);
}

static int add_buses(struct vmm_machine *machine, char *text)
{
	const struct vmm_probe *probe = machine->options.probe;
	int err;

	machine->mmio = vmm_bus_new("mmio", probe);
	machine->port = vmm_bus_new("port", probe);
	if (!machine->mmio || !machine->port)
		return failed(text, "buses", -ENOMEM);
	err = vmm_pci_host_new(&machine->pci, machine->mmio, machine->port, VMM_ECAM);
	return err < 0 ? failed(text, "PCI", err) : 0;
}

static int add_legacy(struct vmm_machine *machine, char *text)
{
	const struct vmm_irq *irq = vmm_kvm_irq(machine->kvm);
	const struct vmm_serial_options serial = {
		.port = machine->port,
		.base = VMM_PORT_COM1,
		.irq = irq,
		.pin = VMM_IRQ_COM1,
		.sent = on_serial,
		.room = on_serial,
		.arg = machine,
	};
	const struct vmm_pm_options pm = {
		.port = machine->port,
		.irq = irq,
		.power_off = on_power_off,
		.reset = on_reset,
		.arg = machine,
	};
	int err = vmm_serial_new(&machine->serial, &serial);

	if (!err)
		err = vmm_pm_new(&machine->pm, &pm);
	if (!err)
		err = vmm_rtc_new(&machine->rtc, machine->port);
	return err < 0 ? failed(text, "legacy devices", err) : 0;
}

static int add_vcpus(struct vmm_machine *machine, char *text)
{
	struct vmm_vcpu_options options = {
		.kvm = machine->kvm,
		.nr_cpus = machine->options.nr_cpus,
		.mmio = machine->mmio,
		.port = machine->port,
		.lock = &machine->lock,
		.probe = machine->options.probe,
		.ended = on_vcpu_end,
		.begins = on_vcpu_begin,
		.arg = machine,
	};
	int err = 0;

	for (; !err && options.cpu < options.nr_cpus; options.cpu++)
		err = vmm_vcpu_new(&machine->vcpus[options.cpu], &options, text);
	return err;
}

static int add_wake(struct vmm_machine *machine, char *text)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = OF_WAKE };

	machine->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	machine->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (machine->epoll_fd < 0 || machine->wake_fd < 0 ||
	    epoll_ctl(machine->epoll_fd, EPOLL_CTL_ADD, machine->wake_fd, &event) < 0)
		return failed(text, "epoll", -errno);
	return 0;
}

int vmm_machine_new(struct vmm_machine **ret_machine, const struct vmm_machine_options *options,
		    char text[VMM_TEXT])
{
	struct vmm_machine *machine;
	int err = check_options(options, text);

	if (err < 0)
		return err;
	machine = calloc(1, sizeof(*machine));
	if (!machine)
		return failed(text, "machine", -ENOMEM);
	machine->options = *options;
	machine->next_bar = VMM_PCI_MMIO32;
	machine->epoll_fd = machine->wake_fd = -1;
	pthread_mutex_init(&machine->lock, NULL);
	err = add_wake(machine, text);
	if (!err)
		err = vmm_kvm_new(&machine->kvm,
				  options->kvm_path ? options->kvm_path : VMM_KVM_PATH, text);
	if (!err)
		err = add_memory(machine, text);
	if (!err)
		err = add_buses(machine, text);
	if (!err)
		err = add_legacy(machine, text);
	if (!err)
		err = add_vcpus(machine, text);
	if (err < 0) {
		vmm_machine_free(machine);
		return err;
	}
	*ret_machine = machine;
	return 0;
}

void vmm_machine_free(struct vmm_machine *machine)
{
	if (!machine)
		return;
	vmm_machine_stop(machine);
	for (unsigned int i = 0; i < VMM_MAX_CPUS; i++)
		vmm_vcpu_free(machine->vcpus[i]);
	vmm_machine_free_devices(machine);
	vmm_rtc_free(machine->rtc);
	vmm_pm_free(machine->pm);
	vmm_serial_free(machine->serial);
	vmm_pci_host_free(machine->pci);
	vmm_bus_free(machine->port);
	vmm_bus_free(machine->mmio);
	vmm_kvm_free(machine->kvm);
	vhu_memory_free(machine->memory);
	if (machine->wake_fd >= 0)
		close(machine->wake_fd);
	if (machine->epoll_fd >= 0)
		close(machine->epoll_fd);
	pthread_mutex_destroy(&machine->lock);
	free(machine);
}

/* ---- Its start ---- */

struct vhu_memory *vmm_machine_memory(struct vmm_machine *machine)
{
	return machine->memory;
}

int vmm_machine_enter(struct vmm_machine *machine, const struct vmm_boot_entry *entry,
		      char text[VMM_TEXT])
{
	return vmm_vcpu_enter(machine->vcpus[0], entry, text);
}

int vmm_machine_boot(struct vmm_machine *machine, const struct vmm_boot_options *options,
		     char text[VMM_TEXT])
{
	struct vmm_boot_options with_tables = *options;
	struct vmm_boot_entry entry;
	int err = vmm_acpi_put(machine->memory, machine->options.nr_cpus, &with_tables.rsdp);

	if (err < 0)
		return failed(text, "ACPI tables", err);
	err = vmm_boot_load(machine->memory, &with_tables, &entry, text);
	return err < 0 ? err : vmm_machine_enter(machine, &entry, text);
}

int vmm_machine_start(struct vmm_machine *machine, char text[VMM_TEXT])
{
	int err = 0;

	/* A vCPU that ends it wants to stop all of them: not before all are there. */
	pthread_mutex_lock(&machine->lock);
	for (unsigned int i = 0; !err && i < machine->options.nr_cpus; i++)
		err = vmm_vcpu_start(machine->vcpus[i]);
	pthread_mutex_unlock(&machine->lock);
	if (err < 0) {
		vmm_machine_stop(machine);
		return failed(text, "a vCPU's thread", err);
	}
	return 0;
}

void vmm_machine_stop(struct vmm_machine *machine)
{
	pthread_mutex_lock(&machine->lock);
	machine->is_stopping = true;
	pthread_mutex_unlock(&machine->lock);
	for (unsigned int i = 0; i < VMM_MAX_CPUS; i++)
		if (machine->vcpus[i])
			vmm_vcpu_ask_stop(machine->vcpus[i]);
	for (unsigned int i = 0; i < VMM_MAX_CPUS; i++)
		if (machine->vcpus[i])
			vmm_vcpu_stop(machine->vcpus[i]);
}

/* ---- The device thread ---- */

int vmm_machine_fd(const struct vmm_machine *machine)
{
	return machine->epoll_fd;
}

int vmm_machine_process(struct vmm_machine *machine)
{
	struct epoll_event events[MAX_EVENTS];
	int nr = epoll_wait(machine->epoll_fd, events, MAX_EVENTS, 0);

	if (nr < 0)
		return errno == EINTR ? 0 : -errno;
	pthread_mutex_lock(&machine->lock);
	for (int i = 0; i < nr; i++) {
		uint64_t count;

		if (events[i].data.u64 == OF_WAKE)
			(void)!read(machine->wake_fd, &count, sizeof(count));
		else
			vmm_machine_device_event(machine, events[i].data.u64);
	}
	pthread_mutex_unlock(&machine->lock);
	return 0;
}

enum vmm_end vmm_machine_ended(struct vmm_machine *machine, char text[VMM_TEXT])
{
	enum vmm_end end;

	pthread_mutex_lock(&machine->lock);
	end = machine->end;
	snprintf(text, VMM_TEXT, "%s", machine->end_text);
	pthread_mutex_unlock(&machine->lock);
	return end;
}

size_t vmm_machine_fetch(struct vmm_machine *machine, void *data, size_t len)
{
	size_t nr;

	pthread_mutex_lock(&machine->lock);
	nr = vmm_serial_fetch(machine->serial, data, len);
	pthread_mutex_unlock(&machine->lock);
	return nr;
}

size_t vmm_machine_room(struct vmm_machine *machine)
{
	size_t room;

	pthread_mutex_lock(&machine->lock);
	room = vmm_serial_room(machine->serial);
	pthread_mutex_unlock(&machine->lock);
	return room;
}

void vmm_machine_input(struct vmm_machine *machine, const void *data, size_t len)
{
	pthread_mutex_lock(&machine->lock);
	vmm_serial_input(machine->serial, data, len);
	pthread_mutex_unlock(&machine->lock);
}

bool vmm_machine_press_power(struct vmm_machine *machine)
{
	bool is_heard;

	pthread_mutex_lock(&machine->lock);
	is_heard = vmm_pm_press(machine->pm);
	pthread_mutex_unlock(&machine->lock);
	return is_heard;
}

void vmm_machine_exits(struct vmm_machine *machine, uint64_t ret_counts[VMM_EXIT_KINDS])
{
	memset(ret_counts, 0, VMM_EXIT_KINDS * sizeof(*ret_counts));
	for (unsigned int i = 0; i < machine->options.nr_cpus; i++) {
		uint64_t counts[VMM_EXIT_KINDS];

		vmm_vcpu_exits(machine->vcpus[i], counts);
		for (unsigned int kind = 0; kind < VMM_EXIT_KINDS; kind++)
			ret_counts[kind] += counts[kind];
	}
}

uint64_t vmm_machine_entered_ns(struct vmm_machine *machine)
{
	return atomic_load(&machine->entered_ns);
}
