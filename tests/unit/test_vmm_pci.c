/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* Configuration space by ports and by memory, and BARs that are sized, moved, and in each other's way. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <linux/pci_regs.h>
#include <vmm/pci.h>

enum {
	BAR_SIZE = 0x4000,
};

#define ECAM UINT64_C(0xe0000000)
#define BASE UINT64_C(0xd0000000)

struct func {
	struct vmm_pci_device *device;
	unsigned int nr_written, offset, size;
	unsigned int nr_reading;
	unsigned int nr_moved, bar;
	bool is_mapped;
	uint64_t base;
	uint64_t last_write, last_offset;
	/* Done by its BAR's write. */
	uint32_t move_to;
	struct world *world;
};

struct world {
	struct vmm_bus *mmio, *port;
	struct vmm_pci_host *host;
};

static void config_written(void *arg, unsigned int offset, unsigned int size)
{
	struct func *func = arg;

	func->nr_written++;
	func->offset = offset;
	func->size = size;
}

static void config_reading(void *arg, unsigned int offset, unsigned int size)
{
	struct func *func = arg;

	func->nr_reading++;
	/* Something that changes by itself. */
	if (offset <= 0x200 && offset + size > 0x200)
		vmm_pci_set(func->device, 0x200, 4, func->nr_reading);
}

static void bar_moved(void *arg, unsigned int bar, bool is_mapped, uint64_t base)
{
	struct func *func = arg;

	func->nr_moved++;
	func->bar = bar;
	func->is_mapped = is_mapped;
	func->base = base;
}

static const struct vmm_pci_ops ops = { config_written, config_reading, bar_moved };

static const struct vmm_pci_ids ids = { .vendor = 0x1af4,
					.device = 0x1041,
					.subsystem_vendor = 0xabcd,
					.subsystem = 0x4321,
					.class_code = 0x020304,
					.revision = 7 };

static uint64_t config_at(unsigned int slot, unsigned int offset)
{
	return ECAM + (slot << 15) + offset;
}

static uint32_t config_read(struct world *world, unsigned int slot, unsigned int offset,
			    unsigned int size)
{
	uint32_t value = 0;

	vmm_bus_read(world->mmio, config_at(slot, offset), &value, size);
	return value;
}

static void config_write(struct world *world, unsigned int slot, unsigned int offset,
			 unsigned int size, uint32_t value)
{
	vmm_bus_write(world->mmio, config_at(slot, offset), &value, size);
}

static uint32_t port_read(struct world *world, unsigned int port, unsigned int size)
{
	uint32_t value = 0;

	vmm_bus_read(world->port, port, &value, size);
	return value;
}

static void port_write(struct world *world, unsigned int port, unsigned int size, uint32_t value)
{
	vmm_bus_write(world->port, port, &value, size);
}

static uint64_t bar_read(void *arg, uint64_t offset, unsigned int size)
{
	(void)arg;
	return offset + size;
}

static void bar_write(void *arg, uint64_t offset, unsigned int size, uint64_t value)
{
	struct func *func = arg;

	(void)size;
	func->last_offset = offset;
	func->last_write = value;
	if (func->move_to)
		config_write(func->world, vmm_pci_slot(func->device), PCI_BASE_ADDRESS_0, 4,
			     func->move_to);
}

static const struct vmm_range_ops bar_ops = { bar_read, bar_write, 1, 8 };

static void open_world(struct world *world)
{
	world->mmio = vmm_bus_new("mmio", NULL);
	world->port = vmm_bus_new("port", NULL);
	assert_int_equal(vmm_pci_host_new(&world->host, world->mmio, world->port, ECAM), 0);
}

static void close_world(struct world *world)
{
	vmm_pci_host_free(world->host);
	assert_null(vmm_bus_find(world->mmio, ECAM));
	assert_null(vmm_bus_find(world->port, 0xcf8));
	vmm_bus_free(world->mmio);
	vmm_bus_free(world->port);
}

static void add_func(struct world *world, struct func *func, int slot, bool is_64, uint64_t base)
{
	*func = (struct func){ .world = world };
	assert_int_equal(vmm_pci_device_new(&func->device, world->host, slot, "dev", &ids, 1, 11,
					    &ops, func),
			 0);
	assert_int_equal(vmm_pci_add_bar(func->device, 0, BAR_SIZE, is_64, base, &bar_ops, func),
			 0);
}

static void absent_functions_read_as_all_ones(void **state)
{
	struct world world;
	uint32_t value = 0;

	(void)state;
	open_world(&world);
	for (unsigned int slot = 1; slot < 32; slot++) {
		config_write(&world, slot, 4, 4, 0);
		assert_int_equal(config_read(&world, slot, 0, 4), 0xffffffff);
		assert_int_equal(config_read(&world, slot, 0xffe, 2), 0xffff);
		port_write(&world, 0xcf8, 4, 0x80000000 | slot << 11);
		assert_int_equal(port_read(&world, 0xcfc, 4), 0xffffffff);
		assert_int_equal(port_read(&world, 0xcff, 1), 0xff);
		port_write(&world, 0xcfc, 4, 0);
	}
	/* Function 1 of the bridge, another bus. */
	vmm_bus_read(world.mmio, ECAM + (1 << 12), &value, 4);
	assert_int_equal(value, 0xffffffff);
	port_write(&world, 0xcf8, 4, 0x80000100);
	assert_int_equal(port_read(&world, 0xcfc, 4), 0xffffffff);
	port_write(&world, 0xcf8, 4, 0x80010000);
	assert_int_equal(port_read(&world, 0xcfc, 4), 0xffffffff);
	close_world(&world);
}

static void a_host_bridge_is_in_slot_0(void **state)
{
	struct world world;

	(void)state;
	open_world(&world);
	assert_int_not_equal(config_read(&world, 0, 0, 4), 0xffffffff);
	assert_int_equal(config_read(&world, 0, PCI_CLASS_DEVICE, 2), 0x0600);
	assert_int_equal(config_read(&world, 0, PCI_HEADER_TYPE, 1), 0);
	config_write(&world, 0, PCI_COMMAND, 2, 0xffff);
	assert_int_equal(config_read(&world, 0, PCI_COMMAND, 2), 0);
	close_world(&world);
}

static void only_a_double_word_sets_the_address_port(void **state)
{
	struct world world;

	(void)state;
	open_world(&world);
	port_write(&world, 0xcf8, 4, 0xffffffff);
	assert_int_equal(port_read(&world, 0xcf8, 4), 0x80fffffc);
	for (unsigned int i = 0; i < 4; i++)
		port_write(&world, 0xcf8 + i, 1, 0);
	port_write(&world, 0xcf8, 2, 0);
	port_write(&world, 0xcfa, 2, 0);
	assert_int_equal(port_read(&world, 0xcf8, 4), 0x80fffffc);
	assert_int_equal(port_read(&world, 0xcfb, 1), 0xff);
	/* Not enabled: nobody is asked. */
	port_write(&world, 0xcf8, 4, 0);
	assert_int_equal(port_read(&world, 0xcfc, 4), 0xffffffff);
	close_world(&world);
}

static void both_ways_show_the_same_bytes(void **state)
{
	struct world world;
	struct func func;

	(void)state;
	open_world(&world);
	add_func(&world, &func, 5, true, BASE);
	for (unsigned int offset = 0; offset < 256; offset++) {
		for (unsigned int size = 1; size <= 4; size *= 2) {
			if (offset % size)
				continue;
			port_write(&world, 0xcf8, 4, 0x80000000 | 5 << 11 | (offset & ~3u));
			assert_int_equal(port_read(&world, 0xcfc + offset % 4, size),
					 config_read(&world, 5, offset, size));
		}
	}
	port_write(&world, 0xcf8, 4, 0x80000000 | 5 << 11 | 0x3c);
	port_write(&world, 0xcfc, 1, 0x5a);
	assert_int_equal(config_read(&world, 5, PCI_INTERRUPT_LINE, 1), 0x5a);
	assert_int_equal(func.offset, 0x3c);
	assert_int_equal(func.size, 1);
	/* 8 bytes of memory are two double words. */
	uint64_t both = 0;

	vmm_bus_read(world.mmio, config_at(5, 0), &both, 8);
	assert_int_equal((uint32_t)both, 0x10411af4);
	vmm_bus_read(world.mmio, config_at(5, 1), &both, 4);
	assert_int_equal(both & 0xffffffff, config_read(&world, 5, 1, 4));
	vmm_pci_device_free(func.device);
	close_world(&world);
}

static void the_header_says_what_it_was_given(void **state)
{
	struct world world;
	struct func func;

	(void)state;
	open_world(&world);
	add_func(&world, &func, -1, false, BASE);
	assert_int_equal(vmm_pci_slot(func.device), 1);
	assert_int_equal(config_read(&world, 1, PCI_VENDOR_ID, 2), 0x1af4);
	assert_int_equal(config_read(&world, 1, PCI_DEVICE_ID, 2), 0x1041);
	assert_int_equal(config_read(&world, 1, PCI_CLASS_REVISION, 4), 0x02030407);
	assert_int_equal(config_read(&world, 1, PCI_SUBSYSTEM_VENDOR_ID, 4), 0x4321abcd);
	assert_int_equal(config_read(&world, 1, PCI_INTERRUPT_LINE, 2), 0x010b);
	assert_int_equal(config_read(&world, 1, PCI_BASE_ADDRESS_0, 4), BASE);
	assert_int_equal(config_read(&world, 1, PCI_STATUS, 2), 0);
	assert_int_equal(config_read(&world, 1, 0x100, 4), 0);
	vmm_pci_device_free(func.device);
	close_world(&world);
}

static void only_bits_that_can_be_written_change(void **state)
{
	struct world world;
	struct func func;

	(void)state;
	open_world(&world);
	add_func(&world, &func, 3, true, BASE);
	for (unsigned int offset = 0; offset < 4096; offset += 4) {
		uint32_t old = config_read(&world, 3, offset, 4), expect = old;

		if (offset == PCI_COMMAND)
			expect |=
				PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE;
		else if (offset == PCI_BASE_ADDRESS_0)
			expect = (uint32_t) ~(BAR_SIZE - 1) | PCI_BASE_ADDRESS_MEM_TYPE_64;
		else if (offset == PCI_BASE_ADDRESS_1)
			expect = 0xffffffff;
		else if (offset == PCI_INTERRUPT_LINE)
			expect |= 0xff;
		else if (offset == 0x200)
			continue;
		config_write(&world, 3, offset, 4, 0xffffffff);
		assert_int_equal(config_read(&world, 3, offset, 4), expect);
		config_write(&world, 3, offset, 4, 0);
		config_write(&world, 3, offset, 4, old);
		assert_int_equal(config_read(&world, 3, offset, 4), old);
	}
	assert_int_equal(func.nr_written, 3 * 1023);
	vmm_pci_device_free(func.device);
	close_world(&world);
}

static void a_device_may_put_things_before_they_are_read(void **state)
{
	struct world world;
	struct func func;
	uint32_t first;

	(void)state;
	open_world(&world);
	add_func(&world, &func, 3, true, BASE);
	first = config_read(&world, 3, 0x200, 4);
	assert_int_equal(config_read(&world, 3, 0x200, 4), first + 1);
	assert_int_equal(vmm_pci_get(func.device, 0x200, 4), first + 1);
	vmm_pci_device_free(func.device);
	close_world(&world);
}

/* Whether the function's BAR answers there, and nobody where it does not. */
static bool answers(struct world *world, const struct func *func, uint64_t base)
{
	const struct vmm_range *range = vmm_bus_find(world->mmio, base);

	if (!range || range->arg != func)
		return false;
	assert_int_equal(range->base, base);
	assert_int_equal(range->size, BAR_SIZE);
	return true;
}

static void a_bar_answers_while_memory_is_on(void **state)
{
	struct world world;
	struct func func;

	(void)state;
	open_world(&world);
	add_func(&world, &func, 1, true, BASE);
	assert_false(answers(&world, &func, BASE));
	config_write(&world, 1, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_true(answers(&world, &func, BASE));
	assert_int_equal(func.nr_moved, 1);
	assert_true(func.is_mapped && func.base == BASE);
	/* Nothing moved. */
	config_write(&world, 1, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_true(vmm_pci_is_master(func.device));
	assert_int_equal(func.nr_moved, 1);
	config_write(&world, 1, PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE);
	assert_true(vmm_pci_intx_off(func.device));
	assert_false(vmm_pci_is_master(func.device));
	assert_false(answers(&world, &func, BASE));
	assert_int_equal(func.nr_moved, 2);
	assert_false(func.is_mapped);
	vmm_pci_device_free(func.device);
	close_world(&world);
}

static void a_bar_is_sized_and_moved(void **state)
{
	struct world world;
	struct func func;

	(void)state;
	for (unsigned int is_64 = 0; is_64 < 2; is_64++) {
		for (unsigned int is_on = 0; is_on < 2; is_on++) {
			uint64_t base = is_64 ? UINT64_C(0x4200000000) : UINT64_C(0xc0000000);
			uint32_t size;

			open_world(&world);
			add_func(&world, &func, 1, is_64, BASE);
			config_write(&world, 1, PCI_COMMAND, 2, is_on ? PCI_COMMAND_MEMORY : 0);
			config_write(&world, 1, PCI_BASE_ADDRESS_0, 4, 0xffffffff);
			size = config_read(&world, 1, PCI_BASE_ADDRESS_0, 4);
			assert_int_equal(~(size & ~15u) + 1, BAR_SIZE);
			assert_int_equal(size & 15, is_64 ? 4 : 0);
			config_write(&world, 1, PCI_BASE_ADDRESS_1, 4, 0xffffffff);
			assert_int_equal(config_read(&world, 1, PCI_BASE_ADDRESS_1, 4),
					 is_64 ? 0xffffffff : 0);
			config_write(&world, 1, PCI_BASE_ADDRESS_0, 4, (uint32_t)base | 0xfff);
			config_write(&world, 1, PCI_BASE_ADDRESS_1, 4, (uint32_t)(base >> 32));
			assert_false(answers(&world, &func, BASE));
			config_write(&world, 1, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
			assert_true(answers(&world, &func, base));
			vmm_pci_device_free(func.device);
			assert_null(vmm_bus_find(world.mmio, base));
			close_world(&world);
		}
	}
}

static void a_bar_is_moved_by_bytes_too(void **state)
{
	struct world world;
	struct func func;

	(void)state;
	open_world(&world);
	add_func(&world, &func, 1, true, BASE);
	config_write(&world, 1, PCI_COMMAND, 1, PCI_COMMAND_MEMORY);
	config_write(&world, 1, PCI_BASE_ADDRESS_0 + 3, 1, 0xc1);
	assert_true(answers(&world, &func, 0xc1000000));
	config_write(&world, 1, PCI_BASE_ADDRESS_1, 1, 0x01);
	assert_true(answers(&world, &func, 0x1c1000000));
	/* 8 bytes by memory: each half at a time. */
	vmm_bus_write(world.mmio, config_at(1, PCI_BASE_ADDRESS_0), &(uint64_t){ BASE }, 8);
	assert_true(answers(&world, &func, BASE));
	/* At 0 it is nowhere. */
	config_write(&world, 1, PCI_BASE_ADDRESS_0, 4, 0);
	assert_false(func.is_mapped);
	assert_null(vmm_bus_find(world.mmio, 0));
	vmm_pci_device_free(func.device);
	close_world(&world);
}

static void a_bar_in_the_way_of_another_stands_aside(void **state)
{
	struct world world;
	struct func first, second;

	(void)state;
	open_world(&world);
	add_func(&world, &first, 1, true, BASE);
	add_func(&world, &second, 2, false, BASE);
	config_write(&world, 1, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	config_write(&world, 2, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_true(answers(&world, &first, BASE));
	assert_int_equal(second.nr_moved, 0);
	/* On the window of configuration space, and at the end of all addresses. */
	config_write(&world, 2, PCI_BASE_ADDRESS_0, 4, (uint32_t)ECAM);
	assert_int_equal(second.nr_moved, 0);
	config_write(&world, 2, PCI_BASE_ADDRESS_0, 4, (uint32_t)BASE + BAR_SIZE);
	assert_true(answers(&world, &second, BASE + BAR_SIZE));
	assert_int_equal(second.nr_moved, 1);
	/* Back on the first one's place: it leaves its own. */
	config_write(&world, 2, PCI_BASE_ADDRESS_0, 4, (uint32_t)BASE);
	assert_false(second.is_mapped);
	assert_null(vmm_bus_find(world.mmio, BASE + BAR_SIZE));
	/* The first one goes: the place is the second's. */
	config_write(&world, 1, PCI_BASE_ADDRESS_0, 4, 0xc0000000);
	assert_true(answers(&world, &first, 0xc0000000));
	assert_true(answers(&world, &second, BASE));
	assert_true(second.is_mapped);
	/* So too when it is gone for good. */
	config_write(&world, 2, PCI_BASE_ADDRESS_0, 4, 0xc0000000);
	assert_false(second.is_mapped);
	vmm_pci_device_free(first.device);
	assert_true(answers(&world, &second, 0xc0000000));
	vmm_pci_device_free(second.device);
	close_world(&world);
}

static void a_bar_may_move_from_within_its_own_write(void **state)
{
	struct world world;
	struct func func;

	(void)state;
	open_world(&world);
	add_func(&world, &func, 1, false, BASE);
	config_write(&world, 1, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	func.move_to = (uint32_t)BASE + BAR_SIZE;
	vmm_bus_write(world.mmio, BASE + BAR_SIZE - 4, &(uint64_t){ 0x2222222211111111 }, 8);
	/* The second half found the BAR where it is now. */
	assert_true(answers(&world, &func, BASE + BAR_SIZE));
	assert_int_equal(func.last_offset, 0);
	assert_int_equal(func.last_write, 0x22222222);
	vmm_pci_device_free(func.device);
	close_world(&world);
}

static void bars_that_make_no_sense_are_refused(void **state)
{
	struct world world;
	struct func func;
	struct vmm_pci_device *device;

	(void)state;
	open_world(&world);
	add_func(&world, &func, 1, true, BASE);
	device = func.device;
	assert_int_equal(vmm_pci_add_bar(device, 0, 4096, false, 0, &bar_ops, &func), -EEXIST);
	assert_int_equal(vmm_pci_add_bar(device, 1, 4096, false, 0, &bar_ops, &func), -EEXIST);
	assert_int_equal(vmm_pci_add_bar(device, 5, 4096, true, 0, &bar_ops, &func), -EEXIST);
	assert_int_equal(vmm_pci_add_bar(device, 6, 4096, false, 0, &bar_ops, &func), -EEXIST);
	assert_int_equal(vmm_pci_add_bar(device, 2, 2048, false, 0, &bar_ops, &func), -EINVAL);
	assert_int_equal(vmm_pci_add_bar(device, 2, 5000, false, 0, &bar_ops, &func), -EINVAL);
	assert_int_equal(vmm_pci_add_bar(device, 2, 0, false, 0, &bar_ops, &func), -EINVAL);
	assert_int_equal(vmm_pci_add_bar(device, 2, 8192, false, 4096, &bar_ops, &func), -EINVAL);
	assert_int_equal(vmm_pci_add_bar(device, 2, 4096, false, 1ull << 32, &bar_ops, &func),
			 -EINVAL);
	assert_int_equal(vmm_pci_add_bar(device, 3, 4096, false, 0, &bar_ops, &func), 0);
	assert_int_equal(vmm_pci_add_bar(device, 2, 4096, true, 0, &bar_ops, &func), -EEXIST);
	assert_int_equal(vmm_pci_add_bar(device, 4, 1ull << 33, true, 1ull << 40, &bar_ops, &func),
			 0);
	config_write(&world, 1, PCI_BASE_ADDRESS_4, 4, 0xffffffff);
	assert_int_equal(config_read(&world, 1, PCI_BASE_ADDRESS_4, 4), 4);
	config_write(&world, 1, PCI_BASE_ADDRESS_5, 4, 0xffffffff);
	assert_int_equal(config_read(&world, 1, PCI_BASE_ADDRESS_5, 4), 0xfffffffe);
	/* At the very top it cannot be, nor can what wraps. */
	config_write(&world, 1, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	vmm_pci_device_free(device);
	close_world(&world);
}

static void slots_are_given_once(void **state)
{
	struct world world;
	struct vmm_pci_device *devices[31], *other;

	(void)state;
	open_world(&world);
	assert_int_equal(vmm_pci_device_new(&other, world.host, 0, "x", &ids, 0, 0, NULL, NULL),
			 -EINVAL);
	assert_int_equal(vmm_pci_device_new(&other, world.host, 32, "x", &ids, 0, 0, NULL, NULL),
			 -EINVAL);
	for (unsigned int i = 0; i < 31; i++) {
		assert_int_equal(vmm_pci_device_new(&devices[i], world.host, -1, "x", &ids, 0, 0,
						    NULL, NULL),
				 0);
		assert_int_equal(vmm_pci_slot(devices[i]), i + 1);
		config_write(&world, i + 1, PCI_COMMAND, 4, 0xffffffff);
	}
	assert_int_equal(vmm_pci_device_new(&other, world.host, -1, "x", &ids, 0, 0, NULL, NULL),
			 -ENOSPC);
	assert_int_equal(vmm_pci_device_new(&other, world.host, 7, "x", &ids, 0, 0, NULL, NULL),
			 -EEXIST);
	for (unsigned int i = 0; i < 31; i++)
		vmm_pci_device_free(devices[i]);
	vmm_pci_device_free(NULL);
	close_world(&world);
}

static void capabilities_make_a_list_that_ends(void **state)
{
	uint8_t bytes[20], writable[20] = { 0 };
	struct world world;
	struct func func;
	unsigned int nr = 0, at, next;

	(void)state;
	open_world(&world);
	add_func(&world, &func, 1, true, BASE);
	memset(bytes, 0xee, sizeof(bytes));
	memset(writable, 0x0f, sizeof(writable));
	/* 18 bytes: the next one begins at a double word. */
	while (vmm_pci_add_capability(func.device, (uint8_t)(nr + 1), bytes, writable, 18) > 0)
		nr++;
	assert_int_equal(nr, 9);
	assert_int_equal(vmm_pci_add_capability(func.device, 1, bytes, NULL, 13), -ENOSPC);
	assert_int_equal(vmm_pci_add_capability(func.device, 1, bytes, NULL, 12), 0x40 + 9 * 20);
	assert_int_equal(config_read(&world, 1, PCI_STATUS, 2), PCI_STATUS_CAP_LIST);
	at = config_read(&world, 1, PCI_CAPABILITY_LIST, 1);
	for (unsigned int i = 0; i < 10; i++, at = next) {
		assert_int_equal(at, 0x40 + 20 * i);
		next = config_read(&world, 1, at + 1, 1);
		assert_int_equal(config_read(&world, 1, at, 1), i < 9 ? i + 1 : 1);
		assert_int_equal(config_read(&world, 1, at + 4, 4), 0xeeeeeeee);
		config_write(&world, 1, at, 4, 0);
		config_write(&world, 1, at + 4, 4, 0x11111111);
		assert_int_equal(config_read(&world, 1, at, 2), (i < 9 ? i + 1 : 1) | next << 8);
		assert_int_equal(config_read(&world, 1, at + 4, 4),
				 i < 9 ? 0xe1e1e1e1 : 0xeeeeeeee);
	}
	assert_int_equal(at, 0);
	vmm_pci_device_free(func.device);
	close_world(&world);
}

static void a_reset_puts_everything_back(void **state)
{
	static uint8_t before[4096], after[4096];
	uint8_t bytes[20] = { 0 }, writable[20];
	struct world world;
	struct func func;

	(void)state;
	open_world(&world);
	add_func(&world, &func, 1, true, BASE);
	memset(writable, 0xff, sizeof(writable));
	bytes[9] = 0x42;
	assert_int_equal(vmm_pci_add_capability(func.device, 9, bytes, writable, 20), 0x40);
	vmm_bus_read(world.mmio, config_at(1, 0), before, 8);
	for (unsigned int i = 0; i < 4096; i++)
		before[i] = (uint8_t)vmm_pci_get(func.device, i, 1);
	for (unsigned int i = 0; i < 4096; i += 4)
		config_write(&world, 1, i, 4, 0xa5a5a5a7);
	assert_true(func.is_mapped);
	vmm_pci_device_reset(func.device);
	for (unsigned int i = 0; i < 4096; i++)
		after[i] = (uint8_t)vmm_pci_get(func.device, i, 1);
	assert_memory_equal(before, after, 4096);
	assert_false(func.is_mapped);
	config_write(&world, 1, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_true(answers(&world, &func, BASE));
	vmm_pci_device_free(func.device);
	close_world(&world);
}

static void a_host_whose_place_is_taken_leaves_nothing(void **state)
{
	struct vmm_bus *mmio = vmm_bus_new("mmio", NULL), *port = vmm_bus_new("port", NULL);
	struct vmm_range range = { ECAM + 0xff000, 4096, "taken", &bar_ops, NULL };
	struct vmm_pci_host *host = NULL;

	(void)state;
	assert_int_equal(vmm_bus_add(mmio, &range, NULL), 0);
	assert_int_equal(vmm_pci_host_new(&host, mmio, port, ECAM), -EEXIST);
	assert_null(host);
	assert_null(vmm_bus_find(port, 0xcf8));
	/* Without the window there is no quarrel. */
	assert_int_equal(vmm_pci_host_new(&host, mmio, port, 0), 0);
	assert_null(vmm_bus_find(mmio, 0));
	vmm_pci_host_free(host);
	vmm_pci_host_free(NULL);
	vmm_bus_free(mmio);
	vmm_bus_free(port);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(absent_functions_read_as_all_ones),
		cmocka_unit_test(a_host_bridge_is_in_slot_0),
		cmocka_unit_test(only_a_double_word_sets_the_address_port),
		cmocka_unit_test(both_ways_show_the_same_bytes),
		cmocka_unit_test(the_header_says_what_it_was_given),
		cmocka_unit_test(only_bits_that_can_be_written_change),
		cmocka_unit_test(a_device_may_put_things_before_they_are_read),
		cmocka_unit_test(a_bar_answers_while_memory_is_on),
		cmocka_unit_test(a_bar_is_sized_and_moved),
		cmocka_unit_test(a_bar_is_moved_by_bytes_too),
		cmocka_unit_test(a_bar_in_the_way_of_another_stands_aside),
		cmocka_unit_test(a_bar_may_move_from_within_its_own_write),
		cmocka_unit_test(bars_that_make_no_sense_are_refused),
		cmocka_unit_test(slots_are_given_once),
		cmocka_unit_test(capabilities_make_a_list_that_ends),
		cmocka_unit_test(a_reset_puts_everything_back),
		cmocka_unit_test(a_host_whose_place_is_taken_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
