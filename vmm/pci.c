// SPDX-License-Identifier: MIT
/*
 * A PCI host: which function an access to configuration space means, by ports or by memory, and the
 * functions' slots. Knows nothing of what stands in their configuration spaces.
 */

#include <vmm/pci_internal.h>

#include <errno.h>
#include <stdlib.h>

enum {
	ADDRESS_PORT = 0xcf8,
	DATA_PORT = 0xcfc,
	ECAM_SIZE = 1 << 20, /* one bus */
};

#define ADDRESS_ENABLE 0x80000000u

/* Bus, device and function as both ways give them, the function's number lowest. NULL: nobody. */
static struct vmm_pci_device *function_at(const struct vmm_pci_host *host, unsigned int bdf)
{
	/* One bus, and functions of number 0 only. */
	return bdf % 8 || bdf / 8 >= VMM_PCI_SLOTS ? NULL : host->slots[bdf / 8];
}

static uint64_t all_ones(unsigned int size)
{
	return UINT64_MAX >> (64 - 8 * size);
}

static uint64_t read_function(const struct vmm_pci_host *host, unsigned int bdf,
			      unsigned int offset, unsigned int size)
{
	struct vmm_pci_device *device = function_at(host, bdf);

	return device ? pci_config_read(device, offset, size) : all_ones(size);
}

static void write_function(const struct vmm_pci_host *host, unsigned int bdf, unsigned int offset,
			   unsigned int size, uint64_t value)
{
	struct vmm_pci_device *device = function_at(host, bdf);

	if (device)
		pci_config_write(device, offset, size, (uint32_t)value);
}

/* PCI 3.0, 3.2.2.3.2: the register is there for whole double words only. */
static uint64_t address_read(void *arg, uint64_t offset, unsigned int size)
{
	const struct vmm_pci_host *host = arg;

	(void)offset;
	return size == 4 ? host->address : all_ones(size);
}

static void address_write(void *arg, uint64_t offset, unsigned int size, uint64_t value)
{
	struct vmm_pci_host *host = arg;

	(void)offset;
	/* Bits 30 to 24 and 1, 0 read as 0. */
	if (size == 4)
		host->address = (uint32_t)value & 0x80fffffcu;
}

static uint64_t data_read(void *arg, uint64_t offset, unsigned int size)
{
	const struct vmm_pci_host *host = arg;

	if (!(host->address & ADDRESS_ENABLE))
		return all_ones(size);
	return read_function(host, host->address >> 8 & 0xffff,
			     (host->address & 0xfc) + (unsigned int)offset, size);
}

static void data_write(void *arg, uint64_t offset, unsigned int size, uint64_t value)
{
	const struct vmm_pci_host *host = arg;

	if (host->address & ADDRESS_ENABLE)
		write_function(host, host->address >> 8 & 0xffff,
			       (host->address & 0xfc) + (unsigned int)offset, size, value);
}

/* PCI Express 5.0, 7.2.2. */
static uint64_t ecam_read(void *arg, uint64_t offset, unsigned int size)
{
	return read_function(arg, (unsigned int)(offset >> 12), offset & 0xfff, size);
}

static void ecam_write(void *arg, uint64_t offset, unsigned int size, uint64_t value)
{
	write_function(arg, (unsigned int)(offset >> 12), offset & 0xfff, size, value);
}

static const struct vmm_range_ops address_ops = { .read = address_read,
						  .write = address_write,
						  .min_size = 1,
						  .max_size = 4 };
static const struct vmm_range_ops data_ops = { .read = data_read,
					       .write = data_write,
					       .min_size = 1,
					       .max_size = 4 };
static const struct vmm_range_ops ecam_ops = { .read = ecam_read,
					       .write = ecam_write,
					       .min_size = 1,
					       .max_size = 4 };

/* Guests look for a host bridge to believe that there is a bus at all. */
static int add_bridge(struct vmm_pci_host *host)
{
	/* A generic PCI host bridge, of which no driver wants anything. */
	static const struct vmm_pci_ids ids = { .vendor = 0x1b36,
						.device = 0x0008,
						.class_code = 0x060000 };
	struct vmm_pci_device *bridge = calloc(1, sizeof(*bridge));

	if (!bridge)
		return -ENOMEM;
	bridge->host = host;
	bridge->name = "bridge";
	pci_config_init(bridge, &ids, 0, 0);
	host->slots[0] = bridge;
	return 0;
}

static int add_ranges(struct vmm_pci_host *host, uint64_t ecam)
{
	int ret;

	host->address_range = (struct vmm_range){ .base = ADDRESS_PORT,
						  .size = 4,
						  .name = "pci-address",
						  .ops = &address_ops,
						  .arg = host };
	host->data_range = (struct vmm_range){
		.base = DATA_PORT, .size = 4, .name = "pci-data", .ops = &data_ops, .arg = host
	};
	host->ecam_range = (struct vmm_range){
		.base = ecam, .size = ECAM_SIZE, .name = "ecam", .ops = &ecam_ops, .arg = host
	};
	ret = vmm_bus_add(host->port, &host->address_range, NULL);
	if (!ret)
		ret = vmm_bus_add(host->port, &host->data_range, NULL);
	if (!ret && ecam)
		ret = vmm_bus_add(host->mmio, &host->ecam_range, NULL);
	return ret;
}

int vmm_pci_host_new(struct vmm_pci_host **ret_host, struct vmm_bus *mmio, struct vmm_bus *port,
		     uint64_t ecam)
{
	struct vmm_pci_host *host = calloc(1, sizeof(*host));
	int ret;

	if (!host)
		return -ENOMEM;
	host->mmio = mmio;
	host->port = port;
	ret = add_ranges(host, ecam);
	if (!ret)
		ret = add_bridge(host);
	if (ret) {
		vmm_pci_host_free(host);
		return ret;
	}
	*ret_host = host;
	return 0;
}

void vmm_pci_host_free(struct vmm_pci_host *host)
{
	if (!host)
		return;
	/* Those that were never added are not found. */
	vmm_bus_remove(host->port, &host->address_range);
	vmm_bus_remove(host->port, &host->data_range);
	vmm_bus_remove(host->mmio, &host->ecam_range);
	free(host->slots[0]);
	free(host);
}

/* A slot as vmm_pci_device_new() wants it, or -errno. */
static int find_slot(const struct vmm_pci_host *host, int slot)
{
	if (slot >= VMM_PCI_SLOTS || slot == 0 || slot < -1)
		return -EINVAL;
	if (slot > 0)
		return host->slots[slot] ? -EEXIST : slot;
	for (slot = 1; slot < VMM_PCI_SLOTS; slot++) {
		if (!host->slots[slot])
			return slot;
	}
	return -ENOSPC;
}

int vmm_pci_device_new(struct vmm_pci_device **ret_device, struct vmm_pci_host *host, int slot,
		       const char *name, const struct vmm_pci_ids *ids, unsigned int pin,
		       unsigned int line, const struct vmm_pci_ops *ops, void *arg)
{
	struct vmm_pci_device *device;

	slot = find_slot(host, slot);
	if (slot < 0)
		return slot;
	device = calloc(1, sizeof(*device));
	if (!device)
		return -ENOMEM;
	device->host = host;
	device->slot = (unsigned int)slot;
	device->name = name;
	device->ops = ops;
	device->arg = arg;
	pci_config_init(device, ids, pin, line);
	host->slots[slot] = device;
	*ret_device = device;
	return 0;
}

void vmm_pci_device_free(struct vmm_pci_device *device)
{
	struct vmm_pci_host *host;

	if (!device)
		return;
	host = device->host;
	host->slots[device->slot] = NULL;
	pci_config_unmap(device);
	free(device);
	pci_host_settle(host);
}

unsigned int vmm_pci_slot(const struct vmm_pci_device *device)
{
	return device->slot;
}

void pci_host_settle(struct vmm_pci_host *host)
{
	/* What is mapped stays; the lower slot comes first. */
	for (unsigned int slot = 1; slot < VMM_PCI_SLOTS; slot++) {
		if (host->slots[slot])
			pci_config_map(host->slots[slot]);
	}
}
