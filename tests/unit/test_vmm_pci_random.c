/* SPDX-License-Identifier: MIT */
/* tier: fast */
/*
 * Many BARs that are moved, sized and switched in no order, from a fixed seed: each answers where its
 * registers say, or nobody can say that there was room for it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <linux/pci_regs.h>
#include <vmm/pci.h>

enum {
	NR_FUNCS = 4,
	NR_BARS = 3,
	NR_STEPS = 200000,
};

#define ECAM UINT64_C(0x50000)

/* Numbers of the BARs, the middle one of 64 bits, and their sizes. */
static const unsigned int numbers[NR_BARS] = { 0, 2, 5 };
static const uint64_t sizes[NR_BARS] = { 0x1000, 0x4000, 0x2000 };

struct bar {
	bool is_mapped;
	uint64_t base;
};

struct func {
	struct vmm_pci_device *device;
	struct bar bars[NR_BARS];
};

struct world {
	struct vmm_bus *mmio, *port;
	struct vmm_pci_host *host;
	struct func funcs[NR_FUNCS];
	uint64_t random;
	unsigned int nr_mapped, nr_aside;
};

static uint32_t random_below(struct world *world, uint32_t end)
{
	world->random = world->random * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(world->random >> 33) % end;
}

static uint64_t nothing_read(void *arg, uint64_t offset, unsigned int size)
{
	(void)arg;
	(void)offset;
	(void)size;
	return 0;
}

static void nothing_written(void *arg, uint64_t offset, unsigned int size, uint64_t value)
{
	(void)arg;
	(void)offset;
	(void)size;
	(void)value;
}

static const struct vmm_range_ops range_ops = { nothing_read, nothing_written, 1, 8 };

static void bar_moved(void *arg, unsigned int number, bool is_mapped, uint64_t base)
{
	struct func *func = arg;

	for (unsigned int i = 0; i < NR_BARS; i++) {
		if (numbers[i] == number)
			func->bars[i] = (struct bar){ is_mapped, base };
	}
}

static const struct vmm_pci_ops ops = { .bar_moved = bar_moved };

static uint32_t config(struct world *world, unsigned int slot, unsigned int offset)
{
	uint32_t value = 0;

	vmm_bus_read(world->mmio, ECAM + (slot << 15) + offset, &value, 4);
	return value;
}

static void add_func(struct world *world, unsigned int i)
{
	static const struct vmm_pci_ids ids = { .vendor = 1, .device = 1 };
	struct func *func = &world->funcs[i];

	*func = (struct func){ 0 };
	assert_int_equal(vmm_pci_device_new(&func->device, world->host, (int)i + 1, "x", &ids, 0, 0,
					    &ops, func),
			 0);
	for (unsigned int bar = 0; bar < NR_BARS; bar++)
		assert_int_equal(vmm_pci_add_bar(func->device, numbers[bar], sizes[bar], bar == 1,
						 0, &range_ops, func),
				 0);
}

/* Places that are few and near, so that they meet; at times all ones, as when it is sized. */
static uint32_t random_base(struct world *world)
{
	if (!random_below(world, 10))
		return UINT32_MAX;
	return random_below(world, 100) << 12;
}

static void take_step(struct world *world)
{
	unsigned int i = random_below(world, NR_FUNCS),
		     number = numbers[random_below(world, NR_BARS)];
	uint64_t at = ECAM + ((i + 1) << 15);
	uint32_t value;

	switch (random_below(world, 16)) {
	case 0:
		vmm_pci_device_free(world->funcs[i].device);
		add_func(world, i);
		break;
	case 1:
		vmm_pci_device_reset(world->funcs[i].device);
		break;
	case 2:
	case 3:
	case 4:
		value = random_below(world, 4) ? PCI_COMMAND_MEMORY : 0;
		vmm_bus_write(world->mmio, at + PCI_COMMAND, &value, 2);
		break;
	case 5:
		value = random_below(world, 2) ? 0 : UINT32_MAX;
		vmm_bus_write(world->mmio, at + PCI_BASE_ADDRESS_3, &value, 4);
		break;
	default:
		value = random_base(world);
		vmm_bus_write(world->mmio, at + PCI_BASE_ADDRESS_0 + 4 * number, &value,
			      1 + random_below(world, 4));
		break;
	}
}

/* Where the guest reads that it is; 0: nowhere. */
static uint64_t wanted(struct world *world, unsigned int i, unsigned int bar)
{
	unsigned int at = PCI_BASE_ADDRESS_0 + 4 * numbers[bar];
	uint64_t base = config(world, i + 1, at) & ~15u;

	if (bar == 1)
		base |= (uint64_t)config(world, i + 1, at + 4) << 32;
	return config(world, i + 1, PCI_COMMAND) & PCI_COMMAND_MEMORY ? base : 0;
}

/* Somebody else is in that place. */
static bool is_taken(struct world *world, const struct bar *self, uint64_t base, uint64_t size)
{
	if (base < ECAM + (1 << 20) && base + size > ECAM)
		return true;
	for (unsigned int i = 0; i < NR_FUNCS * NR_BARS; i++) {
		const struct bar *bar = &world->funcs[i / NR_BARS].bars[i % NR_BARS];

		if (bar != self && bar->is_mapped && bar->base <= base + (size - 1) &&
		    base <= bar->base + (sizes[i % NR_BARS] - 1))
			return true;
	}
	return false;
}

static void judge_bar(struct world *world, unsigned int i, unsigned int number)
{
	struct func *func = &world->funcs[i];
	const struct bar *bar = &func->bars[number];
	uint64_t base = wanted(world, i, number);
	const struct vmm_range *range = vmm_bus_find(world->mmio, base);

	if (!base) {
		assert_false(bar->is_mapped);
		return;
	}
	if (bar->is_mapped) {
		assert_true(bar->base == base);
		assert_non_null(range);
		assert_ptr_equal(range->arg, func);
		assert_true(range->base == base && range->size == sizes[number]);
		world->nr_mapped++;
	} else {
		assert_true(is_taken(world, bar, base, sizes[number]));
		world->nr_aside++;
	}
}

static void bars_answer_where_they_are_unless_in_the_way(void **state)
{
	struct world world = { .random = 42 };

	(void)state;
	world.mmio = vmm_bus_new("mmio", NULL);
	world.port = vmm_bus_new("port", NULL);
	assert_int_equal(vmm_pci_host_new(&world.host, world.mmio, world.port, ECAM), 0);
	for (unsigned int i = 0; i < NR_FUNCS; i++)
		add_func(&world, i);
	for (unsigned int step = 0; step < NR_STEPS; step++) {
		take_step(&world);
		for (unsigned int i = 0; i < NR_FUNCS * NR_BARS; i++)
			judge_bar(&world, i / NR_BARS, i % NR_BARS);
	}
	/* Both were there to be seen. */
	assert_true(world.nr_mapped > NR_STEPS && world.nr_aside > NR_STEPS / 10);
	for (unsigned int i = 0; i < NR_FUNCS; i++)
		vmm_pci_device_free(world.funcs[i].device);
	for (uint64_t addr = 0; addr < ECAM; addr += 0x1000)
		assert_null(vmm_bus_find(world.mmio, addr));
	vmm_pci_host_free(world.host);
	vmm_bus_free(world.mmio);
	vmm_bus_free(world.port);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(bars_answer_where_they_are_unless_in_the_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
