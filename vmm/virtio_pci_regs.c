// SPDX-License-Identifier: MIT
/*
 * The common configuration structure (virtio 1.2, 4.1.4.3): its registers, what may be written when,
 * and what makes a queue live. Knows nothing of where the structure is.
 *
 * Read, any bytes may be asked for. Written, a register changes when all of it is written: the driver
 * has to use its natural width (4.1.3.1), or 64 bits for an address. Registers of a queue can be
 * written once FEATURES_OK is set, for only then is known what kind of ring it is, and until the
 * queue is enabled. Its vector always can.
 */

#include <vmm/virtio_pci_internal.h>

struct reg {
	uint8_t offset, size;
	const char *name;
};

static const struct reg regs[] = {
	{ VIRTIO_PCI_COMMON_DFSELECT, 4, "device_feature_select" },
	{ VIRTIO_PCI_COMMON_DF, 4, "device_feature" },
	{ VIRTIO_PCI_COMMON_GFSELECT, 4, "driver_feature_select" },
	{ VIRTIO_PCI_COMMON_GF, 4, "driver_feature" },
	{ VIRTIO_PCI_COMMON_MSIX, 2, "config_msix_vector" },
	{ VIRTIO_PCI_COMMON_NUMQ, 2, "num_queues" },
	{ VIRTIO_PCI_COMMON_STATUS, 1, "device_status" },
	{ VIRTIO_PCI_COMMON_CFGGENERATION, 1, "config_generation" },
	{ VIRTIO_PCI_COMMON_Q_SELECT, 2, "queue_select" },
	{ VIRTIO_PCI_COMMON_Q_SIZE, 2, "queue_size" },
	{ VIRTIO_PCI_COMMON_Q_MSIX, 2, "queue_msix_vector" },
	{ VIRTIO_PCI_COMMON_Q_ENABLE, 2, "queue_enable" },
	{ VIRTIO_PCI_COMMON_Q_NOFF, 2, "queue_notify_off" },
	{ VIRTIO_PCI_COMMON_Q_DESCLO, 4, "queue_desc" },
	{ VIRTIO_PCI_COMMON_Q_DESCHI, 4, "queue_desc_high" },
	{ VIRTIO_PCI_COMMON_Q_AVAILLO, 4, "queue_driver" },
	{ VIRTIO_PCI_COMMON_Q_AVAILHI, 4, "queue_driver_high" },
	{ VIRTIO_PCI_COMMON_Q_USEDLO, 4, "queue_device" },
	{ VIRTIO_PCI_COMMON_Q_USEDHI, 4, "queue_device_high" },
	/* Of features that are not offered; they read as 0. */
	{ VIRTIO_PCI_COMMON_Q_NDATA, 2, "queue_notify_data" },
	{ VIRTIO_PCI_COMMON_Q_RESET, 2, "queue_reset" },
};

enum {
	NR_REGS = sizeof(regs) / sizeof(regs[0]),
};

static void record(const struct vmm_virtio_pci *pci, const struct reg *reg, uint32_t value)
{
	vmm_probe(pci->virtio.probe, VMM_AT_REGISTER, transport_name(pci), reg->name, value,
		  pci->queue_select);
}

static bool has_feature(const struct vmm_virtio_pci *pci, unsigned int bit)
{
	return pci->virtio.features >> bit & 1;
}

/* The queue that is selected, or NULL: there is none of that number. */
static struct vmm_virtio_queue *selected(const struct vmm_virtio_pci *pci)
{
	return pci->queue_select < pci->virtio.device->nr_queues ?
		       &pci->virtio.queues[pci->queue_select] :
		       NULL;
}

/* Half of 64 bits, upper or lower; the third half of anything is 0. */
static uint32_t get_half(uint64_t value, uint32_t half)
{
	return half < 2 ? (uint32_t)(value >> (32 * half)) : 0;
}

static void set_half(uint64_t *value, uint32_t half, uint32_t bits)
{
	if (half < 2)
		*value = (*value & ~((uint64_t)UINT32_MAX << (32 * half))) | (uint64_t)bits
										     << (32 * half);
}

void transport_clear_queues(struct vmm_virtio_pci *pci)
{
	for (unsigned int i = 0; i < pci->virtio.device->nr_queues; i++) {
		struct vmm_virtio_queue *queue = &pci->virtio.queues[i];

		queue->num = queue->max_num;
		queue->is_enabled = false;
		queue->desc = queue->driver = queue->device = 0;
	}
}

static uint32_t get_queue(const struct vmm_virtio_pci *pci, unsigned int offset)
{
	const struct vmm_virtio_queue *queue = selected(pci);

	if (!queue)
		return offset == VIRTIO_PCI_COMMON_Q_MSIX ? VMM_MSIX_NO_VECTOR : 0;
	switch (offset) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		return queue->num;
	case VIRTIO_PCI_COMMON_Q_MSIX:
		return pci->queues[pci->queue_select].vector;
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		return queue->is_enabled;
	case VIRTIO_PCI_COMMON_Q_NOFF:
		return pci->queue_select;
	case VIRTIO_PCI_COMMON_Q_DESCLO:
	case VIRTIO_PCI_COMMON_Q_DESCHI:
		return get_half(queue->desc, offset == VIRTIO_PCI_COMMON_Q_DESCHI);
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
	case VIRTIO_PCI_COMMON_Q_AVAILHI:
		return get_half(queue->driver, offset == VIRTIO_PCI_COMMON_Q_AVAILHI);
	case VIRTIO_PCI_COMMON_Q_USEDLO:
	case VIRTIO_PCI_COMMON_Q_USEDHI:
		return get_half(queue->device, offset == VIRTIO_PCI_COMMON_Q_USEDHI);
	default:
		return 0;
	}
}

static uint32_t get_reg(const struct vmm_virtio_pci *pci, unsigned int offset)
{
	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		return pci->device_feature_select;
	case VIRTIO_PCI_COMMON_DF:
		return get_half(transport_features(pci), pci->device_feature_select);
	case VIRTIO_PCI_COMMON_GFSELECT:
		return pci->driver_feature_select;
	case VIRTIO_PCI_COMMON_GF:
		return get_half(pci->virtio.features, pci->driver_feature_select);
	case VIRTIO_PCI_COMMON_MSIX:
		return pci->config_vector;
	case VIRTIO_PCI_COMMON_NUMQ:
		return pci->virtio.device->nr_queues;
	case VIRTIO_PCI_COMMON_STATUS:
		/* While it is being reset still what it was: never 0. */
		return pci->virtio.status;
	case VIRTIO_PCI_COMMON_CFGGENERATION:
		return pci->generation;
	case VIRTIO_PCI_COMMON_Q_SELECT:
		return pci->queue_select;
	default:
		return get_queue(pci, offset);
	}
}

static bool is_aligned(uint64_t addr, uint64_t align, uint64_t len)
{
	return addr % align == 0 && addr <= UINT64_MAX - len;
}

/* Whether the areas can be where the driver says (virtio 1.2, 2.7 and 2.8.10.1). */
static bool are_areas_sound(const struct vmm_virtio_pci *pci, const struct vmm_virtio_queue *queue)
{
	uint64_t num = queue->num;

	if (!is_aligned(queue->desc, 16, 16 * num))
		return false;
	if (has_feature(pci, VIRTIO_F_RING_PACKED))
		return is_aligned(queue->driver, 4, 4) && is_aligned(queue->device, 4, 4);
	return is_aligned(queue->driver, 2, 6 + 2 * num) &&
	       is_aligned(queue->device, 4, 6 + 8 * num);
}

static void enable(struct vmm_virtio_pci *pci, struct vmm_virtio_queue *queue)
{
	const struct vmm_virtio_device *device = pci->virtio.device;

	if (!queue->num || pci->virtio.status & VIRTIO_CONFIG_S_NEEDS_RESET)
		return;
	/* The driver believes that the queue will run: it has to hear that it does not. */
	if (!are_areas_sound(pci, queue)) {
		transport_needs_reset(&pci->virtio);
		return;
	}
	queue->is_enabled = true;
	transport_settle_doorbell(pci, pci->queue_select);
	if (pci->virtio.status & VIRTIO_CONFIG_S_DRIVER_OK)
		device->ops->queue_enabled(device->arg, pci->queue_select);
}

static void set_size(const struct vmm_virtio_pci *pci, struct vmm_virtio_queue *queue, uint32_t num)
{
	if (!num || num > queue->max_num)
		return;
	if (num & (num - 1) && !has_feature(pci, VIRTIO_F_RING_PACKED))
		return;
	queue->num = (uint16_t)num;
}

static void set_queue(struct vmm_virtio_pci *pci, unsigned int offset, uint32_t value)
{
	struct vmm_virtio_queue *queue = selected(pci);

	if (!queue || queue->is_enabled || !(pci->virtio.status & VIRTIO_CONFIG_S_FEATURES_OK))
		return;
	switch (offset) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		set_size(pci, queue, value);
		break;
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		if (value == 1)
			enable(pci, queue);
		break;
	case VIRTIO_PCI_COMMON_Q_DESCLO:
	case VIRTIO_PCI_COMMON_Q_DESCHI:
		set_half(&queue->desc, offset == VIRTIO_PCI_COMMON_Q_DESCHI, value);
		break;
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
	case VIRTIO_PCI_COMMON_Q_AVAILHI:
		set_half(&queue->driver, offset == VIRTIO_PCI_COMMON_Q_AVAILHI, value);
		break;
	case VIRTIO_PCI_COMMON_Q_USEDLO:
	case VIRTIO_PCI_COMMON_Q_USEDHI:
		set_half(&queue->device, offset == VIRTIO_PCI_COMMON_Q_USEDHI, value);
		break;
	default:
		break;
	}
}

static void set_queue_vector(struct vmm_virtio_pci *pci, uint16_t number)
{
	const struct vmm_virtio_queue *queue = selected(pci);

	if (queue)
		pci->queues[pci->queue_select].vector =
			transport_connect(pci, queue->call_fd, number);
}

static void set_reg(struct vmm_virtio_pci *pci, unsigned int offset, uint32_t value)
{
	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		pci->device_feature_select = value;
		break;
	case VIRTIO_PCI_COMMON_GFSELECT:
		pci->driver_feature_select = value;
		break;
	case VIRTIO_PCI_COMMON_GF:
		if (!(pci->virtio.status & VIRTIO_CONFIG_S_FEATURES_OK))
			set_half(&pci->virtio.features, pci->driver_feature_select, value);
		break;
	case VIRTIO_PCI_COMMON_MSIX:
		pci->config_vector = transport_connect(pci, pci->config_fd, (uint16_t)value);
		break;
	case VIRTIO_PCI_COMMON_STATUS:
		transport_set_status(pci, (uint8_t)value);
		break;
	case VIRTIO_PCI_COMMON_Q_SELECT:
		pci->queue_select = (uint16_t)value;
		break;
	case VIRTIO_PCI_COMMON_Q_MSIX:
		set_queue_vector(pci, (uint16_t)value);
		break;
	default:
		set_queue(pci, offset, value);
		break;
	}
}

uint64_t transport_common_read(struct vmm_virtio_pci *pci, unsigned int offset, unsigned int size)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < NR_REGS; i++) {
		const struct reg *reg = &regs[i];
		uint64_t bits;

		if (reg->offset >= offset + size || reg->offset + reg->size <= offset)
			continue;
		bits = get_reg(pci, reg->offset);
		record(pci, reg, (uint32_t)bits);
		if (reg->offset >= offset)
			value |= bits << (8 * (reg->offset - offset));
		else
			value |= bits >> (8 * (offset - reg->offset));
	}
	return value & UINT64_MAX >> (64 - 8 * size);
}

void transport_common_write(struct vmm_virtio_pci *pci, unsigned int offset, unsigned int size,
			    uint64_t value)
{
	for (unsigned int i = 0; i < NR_REGS; i++) {
		const struct reg *reg = &regs[i];
		uint32_t bits;

		if (reg->offset < offset || reg->offset + reg->size > offset + size)
			continue;
		bits = (uint32_t)(value >> (8 * (reg->offset - offset)));
		if (reg->size < 4)
			bits &= (1u << (8 * reg->size)) - 1;
		record(pci, reg, bits);
		/* As soon as one of them began a reset, the others are deaf. */
		if (!pci->is_resetting)
			set_reg(pci, reg->offset, bits);
	}
}
