// SPDX-License-Identifier: MIT
/*
 * Where the structures of the transport are said to be (virtio 1.2, 4.1.4), and the window through
 * which configuration space alone reaches them (4.1.4.9). Knows nothing of what is in them.
 */

#include <vmm/virtio_pci_internal.h>

#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

enum {
	WINDOW_BAR = offsetof(struct virtio_pci_cfg_cap, cap.bar),
	WINDOW_OFFSET = offsetof(struct virtio_pci_cfg_cap, cap.offset),
	WINDOW_LENGTH = offsetof(struct virtio_pci_cfg_cap, cap.length),
	WINDOW_DATA = offsetof(struct virtio_pci_cfg_cap, pci_cfg_data),
};

static int add(struct vmm_virtio_pci *pci, uint8_t type, uint32_t offset, uint64_t length)
{
	struct virtio_pci_cap cap = { .cap_len = sizeof(cap),
				      .cfg_type = type,
				      .bar = TRANSPORT_BAR,
				      .offset = offset,
				      .length = (uint32_t)length };

	return vmm_pci_add_capability(pci->function, PCI_CAP_ID_VNDR, &cap, NULL, sizeof(cap));
}

static int add_notify(struct vmm_virtio_pci *pci)
{
	uint32_t length = (uint32_t)transport_notify_size(pci->virtio.device);
	struct virtio_pci_notify_cap cap = { .cap = { .cap_len = sizeof(cap),
						      .cfg_type = VIRTIO_PCI_CAP_NOTIFY_CFG,
						      .bar = TRANSPORT_BAR,
						      .offset = NOTIFY_OFFSET,
						      .length = length },
					     .notify_off_multiplier = NOTIFY_MULTIPLIER };

	return vmm_pci_add_capability(pci->function, PCI_CAP_ID_VNDR, &cap, NULL, sizeof(cap));
}

static int add_window(struct vmm_virtio_pci *pci)
{
	struct virtio_pci_cfg_cap cap = { .cap = { .cap_len = sizeof(cap),
						   .cfg_type = VIRTIO_PCI_CAP_PCI_CFG } };
	struct virtio_pci_cfg_cap writable = {
		.cap = { .bar = UINT8_MAX, .offset = UINT32_MAX, .length = UINT32_MAX }
	};
	int ret;

	memset(writable.pci_cfg_data, 0xff, sizeof(writable.pci_cfg_data));
	ret = vmm_pci_add_capability(pci->function, PCI_CAP_ID_VNDR, &cap, &writable, sizeof(cap));
	if (ret >= 0)
		pci->window = (unsigned int)ret;
	return ret;
}

int transport_add_capabilities(struct vmm_virtio_pci *pci)
{
	const struct vmm_virtio_device *device = pci->virtio.device;
	int ret = add(pci, VIRTIO_PCI_CAP_COMMON_CFG, COMMON_OFFSET, COMMON_SIZE);

	if (ret >= 0)
		ret = add_notify(pci);
	if (ret >= 0)
		ret = add(pci, VIRTIO_PCI_CAP_ISR_CFG, ISR_OFFSET, 1);
	if (ret >= 0 && device->config_size)
		ret = add(pci, VIRTIO_PCI_CAP_DEVICE_CFG, DEVICE_OFFSET, device->config_size);
	if (ret >= 0)
		ret = add_window(pci);
	return ret < 0 ? ret : 0;
}

/* What the driver chose, if it is a register: its offset in the BAR and its size. */
static bool is_window_sound(const struct vmm_virtio_pci *pci, uint32_t *ret_offset,
			    uint32_t *ret_size)
{
	uint32_t bar = vmm_pci_get(pci->function, pci->window + WINDOW_BAR, 1);
	uint32_t offset = vmm_pci_get(pci->function, pci->window + WINDOW_OFFSET, 4);
	uint32_t size = vmm_pci_get(pci->function, pci->window + WINDOW_LENGTH, 4);
	uint64_t end = vmm_virtio_pci_bar_size(pci->virtio.device);

	if (bar != TRANSPORT_BAR || (size != 1 && size != 2 && size != 4))
		return false;
	*ret_offset = offset;
	*ret_size = size;
	/* Aligned, and the end is a multiple of 4: it does not cross it. */
	return offset % size == 0 && offset < end;
}

static bool is_data(const struct vmm_virtio_pci *pci, unsigned int offset, unsigned int size)
{
	unsigned int data = pci->window + WINDOW_DATA;

	return offset < data + 4 && offset + size > data;
}

void transport_window_reading(struct vmm_virtio_pci *pci, unsigned int offset, unsigned int size)
{
	uint32_t at, width;

	if (!is_data(pci, offset, size) || !is_window_sound(pci, &at, &width))
		return;
	vmm_pci_set(pci->function, pci->window + WINDOW_DATA, width,
		    (uint32_t)transport_read(pci, at, width));
}

void transport_window_written(struct vmm_virtio_pci *pci, unsigned int offset, unsigned int size)
{
	uint32_t at, width;

	if (!is_data(pci, offset, size) || !is_window_sound(pci, &at, &width))
		return;
	transport_write(pci, at, width,
			vmm_pci_get(pci->function, pci->window + WINDOW_DATA, width));
}
