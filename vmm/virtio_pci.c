// SPDX-License-Identifier: MIT
/*
 * A virtio device on PCI: its making, its BAR, its doorbells. Knows nothing of what the registers in
 * the BAR do, but to whom each belongs.
 */

#include <vmm/event.h>
#include <vmm/virtio_pci_internal.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
	VENDOR = 0x1af4, /* virtio 1.2, 4.1.2 */
	FIRST_DEVICE = 0x1040,
	FIRST_SUBSYSTEM = 0x40, /* or higher: not a transitional device */
	MAX_NUM = 32768,
};

static unsigned int nr_vectors(const struct vmm_virtio_device *device)
{
	return device->nr_queues + 1;
}

uint64_t transport_notify_size(const struct vmm_virtio_device *device)
{
	return (uint64_t)device->nr_queues * NOTIFY_MULTIPLIER;
}

static uint64_t msix_offset(const struct vmm_virtio_device *device)
{
	uint64_t end = NOTIFY_OFFSET + transport_notify_size(device);

	return (end + STRUCTURE_ALIGN - 1) / STRUCTURE_ALIGN * STRUCTURE_ALIGN;
}

uint64_t vmm_virtio_pci_bar_size(const struct vmm_virtio_device *device)
{
	uint64_t end = msix_offset(device) + vmm_msix_size(nr_vectors(device));
	uint64_t size = STRUCTURE_ALIGN;

	while (size < end)
		size *= 2;
	return size;
}

void transport_settle_doorbell(struct vmm_virtio_pci *pci, unsigned int number)
{
	const struct vmm_doorbell_ops *ops = pci->options.doorbell;
	const struct vmm_virtio_queue *queue = &pci->virtio.queues[number];
	struct doorbell *doorbell = &pci->queues[number].doorbell;
	uint64_t addr = pci->bar_base + NOTIFY_OFFSET + (uint64_t)number * NOTIFY_MULTIPLIER;
	bool is_wanted = pci->bar_base && queue->is_enabled && !pci->is_resetting;

	if (doorbell->is_served && (!is_wanted || doorbell->addr != addr)) {
		doorbell->is_served = false;
		if (ops->remove)
			ops->remove(pci->options.doorbell_arg, doorbell->addr, queue->kick_fd);
	}
	if (is_wanted && !doorbell->is_served && ops && ops->add) {
		doorbell->addr = addr;
		doorbell->is_served = ops->add(pci->options.doorbell_arg, addr, queue->kick_fd);
	}
}

void transport_settle_doorbells(struct vmm_virtio_pci *pci)
{
	for (unsigned int i = 0; i < pci->virtio.device->nr_queues; i++)
		transport_settle_doorbell(pci, i);
}

/* A doorbell that nobody serves for us. What is written says nothing that its place does not. */
static void ring(struct vmm_virtio_pci *pci, uint64_t offset, unsigned int size)
{
	uint64_t number = offset / NOTIFY_MULTIPLIER;

	if (offset % NOTIFY_MULTIPLIER || (size != 2 && size != 4))
		return;
	if (number >= pci->virtio.device->nr_queues || !pci->virtio.queues[number].is_enabled)
		return;
	vmm_event_raise(pci->virtio.queues[number].kick_fd);
	vmm_probe(pci->virtio.probe, VMM_AT_KICK, transport_name(pci), NULL, number, 0);
}

/* How many of size bytes at offset are the device's configuration. */
static unsigned int config_bytes(const struct vmm_virtio_pci *pci, uint64_t offset,
				 unsigned int size)
{
	unsigned int end = pci->virtio.device->config_size;

	if (offset >= end)
		return 0;
	return size < end - offset ? size : (unsigned int)(end - offset);
}

static uint64_t read_config(const struct vmm_virtio_pci *pci, uint64_t offset, unsigned int size)
{
	const struct vmm_virtio_device *device = pci->virtio.device;
	unsigned int len = config_bytes(pci, offset, size);
	uint8_t bytes[8] = { 0 };
	uint64_t value = 0;

	if (len)
		device->ops->config_read(device->arg, (unsigned int)offset, bytes, len);
	for (unsigned int i = 0; i < len; i++)
		value |= (uint64_t)bytes[i] << (8 * i);
	return value;
}

static void write_config(const struct vmm_virtio_pci *pci, uint64_t offset, unsigned int size,
			 uint64_t value)
{
	const struct vmm_virtio_device *device = pci->virtio.device;
	unsigned int len = config_bytes(pci, offset, size);
	uint8_t bytes[8];

	for (unsigned int i = 0; i < len; i++)
		bytes[i] = (uint8_t)(value >> (8 * i));
	if (len)
		device->ops->config_write(device->arg, (unsigned int)offset, bytes, len);
}

static void record(const struct vmm_virtio_pci *pci, const char *what, uint64_t value)
{
	vmm_probe(pci->virtio.probe, VMM_AT_REGISTER, transport_name(pci), what, value,
		  pci->queue_select);
}

/* What is in no structure reads as 0. */
uint64_t transport_read(struct vmm_virtio_pci *pci, uint64_t offset, unsigned int size)
{
	const struct vmm_virtio_device *device = pci->virtio.device;
	const char *what;
	uint64_t value;

	if (offset < COMMON_OFFSET + COMMON_SIZE)
		return transport_common_read(pci, (unsigned int)offset - COMMON_OFFSET, size);
	if (offset < ISR_OFFSET)
		return 0;
	if (offset < DEVICE_OFFSET) {
		value = offset == ISR_OFFSET ? transport_read_isr(pci) : 0;
		what = "isr";
	} else if (offset < NOTIFY_OFFSET) {
		value = read_config(pci, offset - DEVICE_OFFSET, size);
		what = "device_config";
	} else if (offset < msix_offset(device)) {
		value = 0;
		what = "notify";
	} else {
		value = vmm_msix_read(pci->msix, offset - msix_offset(device), size);
		what = "msix";
	}
	record(pci, what, value);
	return value;
}

void transport_write(struct vmm_virtio_pci *pci, uint64_t offset, unsigned int size, uint64_t value)
{
	const struct vmm_virtio_device *device = pci->virtio.device;

	if (offset < COMMON_OFFSET + COMMON_SIZE) {
		transport_common_write(pci, (unsigned int)offset - COMMON_OFFSET, size, value);
	} else if (offset >= msix_offset(device)) {
		record(pci, "msix", value);
		vmm_msix_write(pci->msix, offset - msix_offset(device), size, value);
	} else if (offset >= NOTIFY_OFFSET) {
		record(pci, "notify", value);
		if (!pci->is_resetting)
			ring(pci, offset - NOTIFY_OFFSET, size);
	} else if (offset >= DEVICE_OFFSET) {
		record(pci, "device_config", value);
		if (!pci->is_resetting)
			write_config(pci, offset - DEVICE_OFFSET, size, value);
	}
}

static uint64_t bar_read(void *arg, uint64_t offset, unsigned int size)
{
	return transport_read(arg, offset, size);
}

static void bar_write(void *arg, uint64_t offset, unsigned int size, uint64_t value)
{
	transport_write(arg, offset, size, value);
}

static const struct vmm_range_ops bar_ops = { .read = bar_read,
					      .write = bar_write,
					      .min_size = 1,
					      .max_size = 8 };

static void config_reading(void *arg, unsigned int offset, unsigned int size)
{
	transport_window_reading(arg, offset, size);
}

static void config_written(void *arg, unsigned int offset, unsigned int size)
{
	struct vmm_virtio_pci *pci = arg;

	vmm_msix_config_written(pci->msix, offset, size);
	/* INTx may have been switched off or on. */
	transport_settle_line(pci);
	transport_window_written(pci, offset, size);
}

static void bar_moved(void *arg, unsigned int bar, bool is_mapped, uint64_t base)
{
	struct vmm_virtio_pci *pci = arg;

	(void)bar;
	pci->bar_base = is_mapped ? base : 0;
	transport_settle_doorbells(pci);
}

static const struct vmm_pci_ops pci_ops = {
	.config_written = config_written,
	.config_reading = config_reading,
	.bar_moved = bar_moved,
};

static const struct vmm_virtio_transport_ops transport_ops = {
	.config_changed = transport_config_changed,
	.needs_reset = transport_needs_reset,
	.stopped = transport_stopped,
};

static bool is_sound(const struct vmm_virtio_device *device)
{
	if (!device->nr_queues || device->nr_queues > VMM_VIRTIO_MAX_QUEUES)
		return false;
	for (unsigned int i = 0; i < device->nr_queues; i++) {
		if (device->max_num[i] > MAX_NUM)
			return false;
	}
	return device->config_size <= NOTIFY_OFFSET - DEVICE_OFFSET;
}

static int new_eventfd(int *ret_fd)
{
	*ret_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return *ret_fd < 0 ? -errno : 0;
}

static int add_queues(struct vmm_virtio_pci *pci)
{
	const struct vmm_virtio_device *device = pci->virtio.device;
	int ret;

	pci->virtio.queues = calloc(device->nr_queues, sizeof(*pci->virtio.queues));
	pci->queues = calloc(device->nr_queues, sizeof(*pci->queues));
	if (!pci->virtio.queues || !pci->queues)
		return -ENOMEM;
	for (unsigned int i = 0; i < device->nr_queues; i++) {
		pci->virtio.queues[i] = (struct vmm_virtio_queue){ .max_num = device->max_num[i],
								   .kick_fd = -1,
								   .call_fd = -1 };
		pci->queues[i].vector = VMM_MSIX_NO_VECTOR;
	}
	transport_clear_queues(pci);
	ret = new_eventfd(&pci->config_fd);
	for (unsigned int i = 0; !ret && i < device->nr_queues; i++) {
		ret = new_eventfd(&pci->virtio.queues[i].kick_fd);
		if (!ret)
			ret = new_eventfd(&pci->virtio.queues[i].call_fd);
	}
	return ret;
}

static int add_function(struct vmm_virtio_pci *pci)
{
	const struct vmm_virtio_pci_options *options = &pci->options;
	const struct vmm_virtio_device *device = pci->virtio.device;
	struct vmm_pci_ids ids = { .vendor = VENDOR,
				   .device = (uint16_t)(FIRST_DEVICE + device->id),
				   .subsystem_vendor = VENDOR,
				   .subsystem = (uint16_t)(FIRST_SUBSYSTEM + device->id),
				   .class_code = device->class_code,
				   .revision = 1 };
	int ret = vmm_pci_device_new(&pci->function, options->host, options->slot, device->name,
				     &ids, 1, options->pin, &pci_ops, pci);

	if (ret)
		return ret;
	ret = vmm_pci_add_bar(pci->function, TRANSPORT_BAR, vmm_virtio_pci_bar_size(device), true,
			      options->bar_base, &bar_ops, pci);
	return ret ? ret : transport_add_capabilities(pci);
}

static int add_msix(struct vmm_virtio_pci *pci)
{
	const struct vmm_virtio_device *device = pci->virtio.device;
	struct vmm_msix_options options = { .nr_vectors = nr_vectors(device),
					    .pci = pci->function,
					    .bar = TRANSPORT_BAR,
					    .offset = msix_offset(device),
					    .irq = pci->options.irq,
					    .probe = pci->options.probe,
					    .device = device->name,
					    .switched = transport_msix_switched,
					    .arg = pci };

	return vmm_msix_new(&pci->msix, &options);
}

int vmm_virtio_pci_new(struct vmm_virtio_pci **ret_pci, const struct vmm_virtio_device *device,
		       const struct vmm_virtio_pci_options *options)
{
	struct vmm_virtio_pci *pci;
	int ret;

	if (!is_sound(device))
		return -EINVAL;
	pci = calloc(1, sizeof(*pci));
	if (!pci)
		return -ENOMEM;
	pci->options = *options;
	pci->virtio = (struct vmm_virtio){ .device = device,
					   .transport = &transport_ops,
					   .probe = options->probe };
	pci->config_fd = -1;
	pci->config_vector = VMM_MSIX_NO_VECTOR;
	ret = add_queues(pci);
	if (!ret)
		ret = add_function(pci);
	if (!ret)
		ret = add_msix(pci);
	if (ret) {
		vmm_virtio_pci_free(pci);
		return ret;
	}
	*ret_pci = pci;
	return 0;
}

static void close_eventfds(struct vmm_virtio_pci *pci)
{
	for (unsigned int i = 0; i < pci->virtio.device->nr_queues; i++) {
		if (pci->virtio.queues[i].kick_fd >= 0)
			close(pci->virtio.queues[i].kick_fd);
		if (pci->virtio.queues[i].call_fd >= 0)
			close(pci->virtio.queues[i].call_fd);
	}
	if (pci->config_fd >= 0)
		close(pci->config_fd);
}

void vmm_virtio_pci_free(struct vmm_virtio_pci *pci)
{
	if (!pci)
		return;
	if (pci->msix) {
		/* As a reset that is never over: nothing rings, nothing interrupts. */
		pci->is_resetting = true;
		transport_settle_doorbells(pci);
		transport_silence(pci);
	}
	vmm_msix_free(pci->msix);
	vmm_pci_device_free(pci->function);
	if (pci->virtio.queues && pci->queues)
		close_eventfds(pci);
	free(pci->virtio.queues);
	free(pci->queues);
	free(pci);
}

struct vmm_virtio *vmm_virtio_pci_state(struct vmm_virtio_pci *pci)
{
	return &pci->virtio;
}
