// SPDX-License-Identifier: MIT
/*
 * The configuration space of one function: header, BARs, capabilities, and what the guest may change
 * in them (PCI 3.0, 6). Knows nothing of how the guest gets there.
 */

#include <vmm/pci_internal.h>

#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

enum {
	FIRST_CAP = 0x40,
	CAPS_END = 0x100,
	MIN_BAR_SIZE = 4096,
};

static void put(uint8_t *bytes, unsigned int size, uint64_t value)
{
	for (unsigned int i = 0; i < size; i++)
		bytes[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t get(const uint8_t *bytes, unsigned int size)
{
	uint32_t value = 0;

	for (unsigned int i = 0; i < size; i++)
		value |= (uint32_t)bytes[i] << (8 * i);
	return value;
}

uint32_t vmm_pci_get(const struct vmm_pci_device *device, unsigned int offset, unsigned int size)
{
	return get(device->config + offset, size);
}

void vmm_pci_set(struct vmm_pci_device *device, unsigned int offset, unsigned int size,
		 uint32_t value)
{
	put(device->config + offset, size, value);
}

/* A field that the guest may change, and that is value again after a reset. */
static void set_writable(struct vmm_pci_device *device, unsigned int offset, unsigned int size,
			 uint32_t writable, uint32_t value)
{
	put(device->writable + offset, size, writable);
	put(device->config + offset, size, value);
	put(device->first + offset, size, value);
}

void pci_config_init(struct vmm_pci_device *device, const struct vmm_pci_ids *ids, unsigned int pin,
		     unsigned int line)
{
	device->caps_end = FIRST_CAP;
	vmm_pci_set(device, PCI_VENDOR_ID, 2, ids->vendor);
	vmm_pci_set(device, PCI_DEVICE_ID, 2, ids->device);
	vmm_pci_set(device, PCI_REVISION_ID, 1, ids->revision);
	vmm_pci_set(device, PCI_CLASS_PROG, 3, ids->class_code);
	vmm_pci_set(device, PCI_SUBSYSTEM_VENDOR_ID, 2, ids->subsystem_vendor);
	vmm_pci_set(device, PCI_SUBSYSTEM_ID, 2, ids->subsystem);
	vmm_pci_set(device, PCI_INTERRUPT_PIN, 1, pin);
	/* The bridge (slot 0) has nothing to switch. Of the status register, no bit is the guest's. */
	if (device->slot)
		set_writable(device, PCI_COMMAND, 2,
			     PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE, 0);
	if (pin)
		set_writable(device, PCI_INTERRUPT_LINE, 1, 0xff, line & 0xff);
}

bool vmm_pci_is_master(const struct vmm_pci_device *device)
{
	return vmm_pci_get(device, PCI_COMMAND, 2) & PCI_COMMAND_MASTER;
}

bool vmm_pci_intx_off(const struct vmm_pci_device *device)
{
	return vmm_pci_get(device, PCI_COMMAND, 2) & PCI_COMMAND_INTX_DISABLE;
}

/* What a BAR's registers say now; 0: nowhere, or it is switched off with all the others. */
static uint64_t wanted_base(const struct vmm_pci_device *device, unsigned int bar)
{
	unsigned int at = PCI_BASE_ADDRESS_0 + 4 * bar;
	uint64_t base = vmm_pci_get(device, at, 4) & (uint32_t)PCI_BASE_ADDRESS_MEM_MASK;

	if (!(vmm_pci_get(device, PCI_COMMAND, 2) & PCI_COMMAND_MEMORY))
		return 0;
	if (device->bars[bar].is_64)
		base |= (uint64_t)vmm_pci_get(device, at + 4, 4) << 32;
	return base;
}

/* True: it left its place, or was moved. */
static bool map_bar(struct vmm_pci_device *device, unsigned int number)
{
	struct pci_bar *bar = &device->bars[number];
	uint64_t base = wanted_base(device, number);
	bool was_mapped = bar->is_mapped;

	if (was_mapped ? base == bar->range.base : !base)
		return false;
	if (was_mapped)
		vmm_bus_remove(device->host->mmio, &bar->range);
	bar->range.base = base;
	/* A place that is taken, or the end of all addresses: the BAR stands aside until it can. */
	bar->is_mapped = base && !vmm_bus_add(device->host->mmio, &bar->range, NULL);
	if ((was_mapped || bar->is_mapped) && device->ops && device->ops->bar_moved)
		device->ops->bar_moved(device->arg, number, bar->is_mapped, base);
	return was_mapped;
}

bool pci_config_map(struct vmm_pci_device *device)
{
	bool left = false;

	for (unsigned int i = 0; i < VMM_PCI_BARS; i++) {
		if (device->bars[i].range.size && map_bar(device, i))
			left = true;
	}
	return left;
}

void pci_config_unmap(struct vmm_pci_device *device)
{
	for (unsigned int i = 0; i < VMM_PCI_BARS; i++) {
		if (device->bars[i].is_mapped)
			vmm_bus_remove(device->host->mmio, &device->bars[i].range);
		device->bars[i].is_mapped = false;
	}
}

static bool overlaps(unsigned int offset, unsigned int size, unsigned int first, unsigned int end)
{
	return offset < end && offset + size > first;
}

/* What follows from bytes that were written. */
static void written(struct vmm_pci_device *device, unsigned int offset, unsigned int size)
{
	if (overlaps(offset, size, PCI_COMMAND, PCI_COMMAND + 2) ||
	    overlaps(offset, size, PCI_BASE_ADDRESS_0, PCI_BASE_ADDRESS_5 + 4)) {
		if (pci_config_map(device))
			pci_host_settle(device->host);
	}
	if (device->ops && device->ops->config_written)
		device->ops->config_written(device->arg, offset, size);
}

uint32_t pci_config_read(struct vmm_pci_device *device, unsigned int offset, unsigned int size)
{
	if (device->ops && device->ops->config_reading)
		device->ops->config_reading(device->arg, offset, size);
	return vmm_pci_get(device, offset, size);
}

void pci_config_write(struct vmm_pci_device *device, unsigned int offset, unsigned int size,
		      uint32_t value)
{
	uint32_t writable = get(device->writable + offset, size);
	uint32_t old = vmm_pci_get(device, offset, size);

	vmm_pci_set(device, offset, size, (old & ~writable) | (value & writable));
	written(device, offset, size);
}

void vmm_pci_device_reset(struct vmm_pci_device *device)
{
	for (unsigned int i = 0; i < VMM_PCI_CONFIG_SIZE; i++) {
		uint8_t writable = device->writable[i];

		device->config[i] =
			(uint8_t)((device->config[i] & ~writable) | (device->first[i] & writable));
	}
	written(device, 0, VMM_PCI_CONFIG_SIZE);
}

static bool is_free_bar(const struct vmm_pci_device *device, unsigned int bar)
{
	if (bar >= VMM_PCI_BARS || device->bars[bar].range.size)
		return false;
	/* Or the upper half of the one before it. */
	return !bar || !device->bars[bar - 1].is_64;
}

int vmm_pci_add_bar(struct vmm_pci_device *device, unsigned int bar, uint64_t size, bool is_64,
		    uint64_t base, const struct vmm_range_ops *range_ops, void *arg)
{
	unsigned int at = PCI_BASE_ADDRESS_0 + 4 * bar;
	uint64_t most = is_64 ? UINT64_C(1) << 63 : UINT64_C(1) << 31;
	uint32_t low_bits = is_64 ? PCI_BASE_ADDRESS_MEM_TYPE_64 : PCI_BASE_ADDRESS_MEM_TYPE_32;

	if (size < MIN_BAR_SIZE || size & (size - 1) || size > most || base & (size - 1))
		return -EINVAL;
	if (!is_64 && base > UINT32_MAX)
		return -EINVAL;
	if (!is_free_bar(device, bar) || (is_64 && !is_free_bar(device, bar + 1)))
		return -EEXIST;
	device->bars[bar] = (struct pci_bar){
		.range = { .size = size, .name = device->name, .ops = range_ops, .arg = arg },
		.is_64 = is_64
	};
	/* What cannot be changed says how large it is (6.2.5.1). */
	set_writable(device, at, 4, (uint32_t) ~(size - 1), (uint32_t)base | low_bits);
	if (is_64)
		set_writable(device, at + 4, 4, (uint32_t)(~(size - 1) >> 32),
			     (uint32_t)(base >> 32));
	return 0;
}

int vmm_pci_add_capability(struct vmm_pci_device *device, uint8_t id, const void *bytes,
			   const void *writable, unsigned int size)
{
	unsigned int at = device->caps_end;
	uint32_t status = vmm_pci_get(device, PCI_STATUS, 2);

	if (size < 2)
		return -EINVAL;
	if (size > CAPS_END - at)
		return -ENOSPC;
	memcpy(device->config + at, bytes, size);
	if (writable)
		memcpy(device->writable + at, writable, size);
	vmm_pci_set(device, at, 2, id);
	put(device->writable + at, 2, 0);
	memcpy(device->first + at, device->config + at, size);
	vmm_pci_set(device, device->last_cap ? device->last_cap + 1 : PCI_CAPABILITY_LIST, 1, at);
	vmm_pci_set(device, PCI_STATUS, 2, status | PCI_STATUS_CAP_LIST);
	device->last_cap = at;
	/* Each begins at a double word. */
	device->caps_end = (at + size + 3) & ~3u;
	return (int)at;
}
