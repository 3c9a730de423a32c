// SPDX-License-Identifier: MIT
/*
 * Devices of a machine: a device, its transport on the PCI bus, what of it the device thread watches.
 * What each kind of device does is virtio_net.h's and virtio_blk.h's.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <vmm/event.h>
#include <vmm/machine_parts.h>

/* Which fd an event is of: a device's number above, below a queue's, or an eventfd with a bit, or this. */
#define OF_DEVICE UINT32_C(0xffffffff)
#define OF_EVENTFD UINT32_C(0x80000000)

static uint64_t event_data(unsigned int device, uint32_t queue)
{
	return (uint64_t)device << 32 | queue;
}

static int watch_fd(struct vmm_machine *machine, int fd, uint64_t data)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = data };

	return epoll_ctl(machine->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

void vmm_machine_unwatch(struct vmm_machine *machine, int fd)
{
	epoll_ctl(machine->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

int vmm_machine_watch_call(struct vmm_machine_device *device, int eventfd)
{
	return watch_fd(device->machine, eventfd,
			event_data(device->number, OF_EVENTFD | (uint32_t)eventfd));
}

/* ---- Either kind ---- */

static const struct vmm_virtio_device *virtio_device(const struct vmm_machine_device *device)
{
	return device->net ? vmm_net_device(device->net) : vmm_blk_device(device->blk);
}

static const struct vmm_irq *device_irq(struct vmm_machine_device *device)
{
	const struct vmm_irq *irq = device->machine->options.through_us ?
					    &device->through.irq :
					    vmm_kvm_irq(device->machine->kvm);

	return device->net ? vmm_net_irq(device->net, irq) : vmm_blk_irq(device->blk, irq);
}

static int attach(struct vmm_machine_device *device)
{
	struct vmm_virtio *virtio = vmm_virtio_pci_state(device->pci);

	return device->net ? vmm_net_attach(device->net, virtio) :
			     vmm_blk_attach(device->blk, virtio);
}

static int device_fd(const struct vmm_machine_device *device)
{
	return device->net ? vmm_net_fd(device->net) : vmm_blk_fd(device->blk);
}

static int process(struct vmm_machine_device *device)
{
	return device->net ? vmm_net_process(device->net) : vmm_blk_process(device->blk);
}

/* ---- Calls without MSI-X ---- */

static void on_watch_calls(void *arg, bool on)
{
	struct vmm_machine_device *device = arg;
	const struct vmm_virtio *virtio = vmm_virtio_pci_state(device->pci);

	for (uint32_t i = 0; i < virtio->device->nr_queues; i++) {
		int fd = virtio->queues[i].call_fd;

		if (!on)
			vmm_machine_unwatch(device->machine, fd);
		else if (watch_fd(device->machine, fd, event_data(device->number, i)) < 0)
			vmm_machine_end(device->machine, VMM_END_FAILED,
					"interrupts cannot be watched for");
	}
	device->watches_calls = on;
}

static void take_call(struct vmm_machine_device *device, uint32_t queue)
{
	const struct vmm_virtio *virtio = vmm_virtio_pci_state(device->pci);

	/* Not any more, since this event was taken: it may be KVM's by now. */
	if (!device->watches_calls || queue >= virtio->device->nr_queues)
		return;
	if (!vmm_event_clear(virtio->queues[queue].call_fd))
		return;
	vmm_virtio_pci_called(device->pci, queue);
}

void vmm_machine_device_event(struct vmm_machine *machine, uint64_t data)
{
	const uint32_t number = (uint32_t)(data >> 32), queue = (uint32_t)data;
	struct vmm_machine_device *device;
	char text[VMM_TEXT];
	int err;

	if (number >= machine->nr_devices)
		return;
	device = &machine->devices[number];
	if (queue != OF_DEVICE) {
		if (queue & OF_EVENTFD)
			vmm_machine_through_call(&device->through, (int)(queue & ~OF_EVENTFD));
		else
			take_call(device, queue);
		return;
	}
	err = process(device);
	if (err < 0) {
		snprintf(text, sizeof(text), "%s: cannot go on: %s", virtio_device(device)->name,
			 strerror(-err));
		vmm_machine_end(machine, VMM_END_FAILED, text);
	}
}

/* ---- Life ---- */

/* Where its BAR is from the start: behind the last one's. 0: the window is full. */
static uint64_t next_bar(struct vmm_machine *machine, uint64_t size)
{
	uint64_t base = (machine->next_bar + size - 1) & ~(size - 1);

	if (size > VMM_PCI_MMIO32_SIZE || base > VMM_PCI_MMIO32 + VMM_PCI_MMIO32_SIZE - size)
		return 0;
	machine->next_bar = base + size;
	return base;
}

static int add_transport(struct vmm_machine_device *device)
{
	struct vmm_machine *machine = device->machine;
	const int slot = (int)device->number + 1; /* 0 is the host bridge */
	const struct vmm_virtio_pci_options options = {
		.host = machine->pci,
		.slot = slot,
		.bar_base = next_bar(machine, vmm_virtio_pci_bar_size(virtio_device(device))),
		.irq = device_irq(device),
		.pin = vmm_platform_intx((unsigned int)slot),
		.doorbell = machine->options.through_us ? NULL : &vmm_kvm_doorbells,
		.doorbell_arg = machine->kvm,
		.watch_calls = on_watch_calls,
		.watch_arg = device,
		.probe = machine->options.probe,
	};
	int err;

	if (!options.bar_base)
		return -ENOSPC;
	err = vmm_virtio_pci_new(&device->pci, virtio_device(device), &options);
	if (!err)
		err = attach(device);
	if (!err)
		err = watch_fd(machine, device_fd(device), event_data(device->number, OF_DEVICE));
	return err;
}

static void free_device(struct vmm_machine_device *device)
{
	vmm_virtio_pci_free(device->pci);
	vmm_net_free(device->net);
	vmm_blk_free(device->blk);
	vmm_machine_through_fini(&device->through);
	*device = (struct vmm_machine_device){ 0 };
}

/* The next one; NULL: too many. */
static struct vmm_machine_device *begin_device(struct vmm_machine *machine, char *text)
{
	struct vmm_machine_device *device = &machine->devices[machine->nr_devices];

	if (machine->nr_devices == VMM_MACHINE_MAX_DEVICES) {
		snprintf(text, VMM_TEXT, "more than %d devices", VMM_MACHINE_MAX_DEVICES);
		return NULL;
	}
	*device = (struct vmm_machine_device){ .machine = machine, .number = machine->nr_devices };
	vmm_machine_through_init(&device->through, device);
	return device;
}

static int end_device(struct vmm_machine_device *device, int err, char *text)
{
	if (!err) {
		err = add_transport(device);
		if (err < 0)
			snprintf(text, VMM_TEXT, "%s: PCI: %s", virtio_device(device)->name,
				 strerror(-err));
	}
	if (err < 0) {
		free_device(device);
		return err;
	}
	device->machine->nr_devices++;
	return 0;
}

int vmm_machine_add_net(struct vmm_machine *machine, const struct vmm_net_options *options,
			char text[VMM_TEXT])
{
	struct vmm_machine_device *device = begin_device(machine, text);
	struct vmm_net_options all = *options;

	if (!device)
		return -ENOSPC;
	all.memory = machine->memory;
	all.probe = machine->options.probe;
	return end_device(device, vmm_net_new(&device->net, &all, text), text);
}

int vmm_machine_add_blk(struct vmm_machine *machine, const struct vmm_blk_options *options,
			char text[VMM_TEXT])
{
	struct vmm_machine_device *device = begin_device(machine, text);
	struct vmm_blk_options all = *options;

	if (!device)
		return -ENOSPC;
	all.memory = machine->memory;
	all.probe = machine->options.probe;
	return end_device(device, vmm_blk_new(&device->blk, &all, text), text);
}

int vmm_machine_wait_device(struct vmm_machine *machine, unsigned int number, int timeout_ms,
			    char text[VMM_TEXT])
{
	struct vmm_machine_device *device = &machine->devices[number];

	return device->net ? vmm_net_wait(device->net, timeout_ms, text) :
			     vmm_blk_wait(device->blk, timeout_ms, text);
}

void vmm_machine_free_devices(struct vmm_machine *machine)
{
	while (machine->nr_devices)
		free_device(&machine->devices[--machine->nr_devices]);
}
