/* SPDX-License-Identifier: MIT */
/* tier: check */
/* timeout: 600 */
/*
 * A million accesses and events in no order, from a fixed seed, and after each what always holds:
 * what is live is frozen, what is attached is what masks and switches say, doorbells are those of
 * enabled queues where the BAR is, a call is delivered once or kept. In the end a reset, and all is new.
 *
 * VMM_RANDOM_SEED and VMM_RANDOM_STEPS choose another walk.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include <cmocka.h>

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include "vmm_guest.h"

enum {
	NR_STEPS = 1000000,
	NR_VECTORS = NR_QUEUES + 1,
	COMMON_SIZE = 60,
};

/* What is known without asking the transport's code, after each step. */
struct walk {
	struct vmm_guest guest;
	uint64_t random;
	struct vmm_virtio_queue frozen[NR_QUEUES];
	bool was_live[NR_QUEUES];
	uint64_t features; /* since FEATURES_OK */
	uint8_t status;
	uint64_t as_new[8];
	bool is_owed[NR_QUEUES]; /* a call that nobody heard of yet */
	unsigned int nr_delivered[NR_QUEUES];
	unsigned int nr_isr_reads;
	bool is_change_owed; /* the same for a change of the configuration */
	unsigned int nr_changes, nr_isr_changes;
	unsigned int nr_resets, nr_lines, nr_moves, nr_kept;
};

static uint32_t random_below(struct walk *walk, uint32_t end)
{
	walk->random ^= walk->random << 13;
	walk->random ^= walk->random >> 7;
	walk->random ^= walk->random << 17;
	return (uint32_t)(walk->random >> 32) % end;
}

static bool one_in(struct walk *walk, uint32_t nr)
{
	return !random_below(walk, nr);
}

/* Mostly something that means something, sometimes anything. */
static uint64_t random_value(struct walk *walk)
{
	static const uint64_t values[] = { 0,	   1,	       2,
					   3,	   4,	       0xb,
					   0xf,	   16,	       64,
					   256,	   0xffff,     0xffffffff,
					   0x1000, 0x12345670, UINT64_C(0x100000001) };

	if (one_in(walk, 8))
		return (uint64_t)random_below(walk, UINT32_MAX) << 32 |
		       random_below(walk, UINT32_MAX);
	return values[random_below(walk, sizeof(values) / sizeof(values[0]))];
}

static uint64_t random_register(struct walk *walk)
{
	struct vmm_guest *guest = &walk->guest;

	switch (random_below(walk, 10)) {
	case 0:
		return random_below(walk, (uint32_t)guest->bar_size);
	case 1:
		return guest->config + random_below(walk, CONFIG_SIZE + 4);
	case 2:
		return guest->isr + random_below(walk, 2);
	case 3:
		return guest->notify + random_below(walk, 4 * NR_QUEUES + 4);
	case 4:
	case 5:
		return guest->table + random_below(walk, NR_VECTORS * 4 + 1) * 4;
	case 6:
		return guest->pba + random_below(walk, 16);
	default:
		return guest->common + random_below(walk, COMMON_SIZE + 4);
	}
}

/* 1 to 8 bytes, any alignment. */
static void access_anywhere(struct walk *walk)
{
	uint64_t addr = walk->guest.bar + random_register(walk);
	unsigned int size = 1 + random_below(walk, 8);

	if (one_in(walk, 3))
		guest_read(&walk->guest, addr, size);
	else
		guest_write(&walk->guest, addr, size, random_value(walk));
}

static void set_a_register(struct walk *walk)
{
	static const uint8_t registers[] = {
		VIRTIO_PCI_COMMON_DFSELECT, VIRTIO_PCI_COMMON_GFSELECT,	 VIRTIO_PCI_COMMON_GF,
		VIRTIO_PCI_COMMON_MSIX,	    VIRTIO_PCI_COMMON_Q_SELECT,	 VIRTIO_PCI_COMMON_Q_SIZE,
		VIRTIO_PCI_COMMON_Q_MSIX,   VIRTIO_PCI_COMMON_Q_MSIX,	 VIRTIO_PCI_COMMON_Q_ENABLE,
		VIRTIO_PCI_COMMON_Q_DESCLO, VIRTIO_PCI_COMMON_Q_AVAILHI, VIRTIO_PCI_COMMON_Q_USEDLO,
	};
	uint8_t offset = registers[random_below(walk, sizeof(registers))];

	guest_set(&walk->guest, offset, (uint32_t)random_value(walk));
}

/* Upwards for the most part: what is worth a look is at the top. */
static void climb(struct walk *walk)
{
	struct vmm_guest *guest = &walk->guest;
	uint8_t status = guest->virtio->status;

	if (!status || one_in(walk, 40))
		guest_negotiate(guest, VERSION_1 | (one_in(walk, 2) ? PACKED : 0));
	else if (one_in(walk, 20))
		guest_set_status(guest, (uint8_t)random_value(walk));
	else if (one_in(walk, status & 0xc0 ? 4 : 60))
		guest_set_status(guest, 0);
	else if (one_in(walk, 3))
		guest_set_status(guest, one_in(walk, 2) ? 0xf : 0xb);
	else
		guest_enable_queue(guest, random_below(walk, NR_QUEUES + 1),
				   (uint16_t)random_below(walk, NR_VECTORS + 2));
}

static void turn_msix(struct walk *walk)
{
	struct vmm_guest *guest = &walk->guest;
	unsigned int vector = random_below(walk, NR_VECTORS);

	switch (random_below(walk, 4)) {
	case 0:
		guest_msix_control(guest, !one_in(walk, 4), one_in(walk, 4));
		break;
	case 1:
		guest_msix_entry(guest, vector, random_below(walk, GUEST_MESSAGES),
				 one_in(walk, 3));
		break;
	default:
		guest_msix_mask(guest, vector, one_in(walk, 2));
		break;
	}
}

static void turn_function(struct walk *walk)
{
	static const uint64_t places[] = {
		GUEST_BAR, UINT64_C(0x4400000000),	 GUEST_ECAM,
		0,	   UINT64_C(0xffffffffffff0000), UINT64_C(0xc0000000)
	};
	struct vmm_guest *guest = &walk->guest;
	unsigned int offset = random_below(walk, 0x110);

	switch (random_below(walk, 8)) {
	case 0:
		guest_move_bar(guest, places[random_below(walk, 6)]);
		walk->nr_moves++;
		break;
	case 1:
		guest_config_write(guest, offset, 1 + random_below(walk, 4),
				   (uint32_t)random_value(walk));
		break;
	case 2:
	case 3:
		guest_command(guest, PCI_COMMAND_MEMORY, one_in(walk, 2) ? 0 : 0xffff);
		break;
	case 4:
		guest_command(guest, one_in(walk, 2) ? PCI_COMMAND_INTX_DISABLE : 0, 0xfffd);
		break;
	case 5:
		guest_config_write(guest, guest->window_cap + VIRTIO_PCI_CAP_OFFSET, 4,
				   (uint32_t)random_register(walk));
		guest_config_write(guest, guest->window_cap + VIRTIO_PCI_CAP_LENGTH, 4,
				   1u << random_below(walk, 4));
		break;
	case 6:
		guest_config_write(guest, guest->window_cap + 16, 4, (uint32_t)random_value(walk));
		break;
	default:
		guest_config_read(guest, offset, 1 + random_below(walk, 4));
		break;
	}
}

static void call(struct walk *walk, unsigned int queue)
{
	walk->is_owed[queue] = true;
	guest_call(&walk->guest, queue);
}

/* The other side: the device, the backend, who watches, the controller. */
static void something_happens(struct walk *walk)
{
	struct vmm_guest *guest = &walk->guest;
	struct guest_device *device = &guest->device;

	switch (random_below(walk, 12)) {
	case 0:
		vmm_virtio_config_changed(guest->virtio);
		walk->is_change_owed |= device->is_started;
		break;
	case 1:
		if (!one_in(walk, 20))
			break;
		walk->is_change_owed |= device->is_started && !(guest->virtio->status & 0x40);
		vmm_virtio_needs_reset(guest->virtio);
		break;
	case 2:
		device->is_slow = one_in(walk, 2);
		device->says_twice = one_in(walk, 4) && !device->is_slow;
		device->refuse = one_in(walk, 10);
		break;
	case 3:
	case 4:
	case 5:
		device->is_stopping = false;
		vmm_virtio_stopped(guest->virtio);
		break;
	case 6:
		guest->irq.max_routes = random_below(walk, 6);
		guest->bells.refuse = one_in(walk, 4);
		break;
	case 7:
		vmm_virtio_pci_called(guest->pci, random_below(walk, NR_QUEUES + 1));
		break;
	case 8:
		guest_watch(guest);
		break;
	default:
		call(walk, random_below(walk, NR_QUEUES));
		break;
	}
}

static void take_step(struct walk *walk)
{
	struct vmm_guest *guest = &walk->guest;

	switch (random_below(walk, 16)) {
	case 0:
	case 1:
	case 2:
	case 3:
		access_anywhere(walk);
		break;
	case 4:
	case 5:
		set_a_register(walk);
		break;
	case 6:
	case 7:
		climb(walk);
		break;
	case 8:
	case 9:
		turn_msix(walk);
		break;
	case 10:
		turn_function(walk);
		break;
	case 11:
		guest_kick(guest, random_below(walk, NR_QUEUES + 2));
		break;
	default:
		something_happens(walk);
		break;
	}
	guest_irq_run(&guest->irq);
}

/* A driver that lost its BAR looks where it is; where it is nowhere, it puts it back. */
static void find_bar(struct walk *walk)
{
	struct vmm_guest *guest = &walk->guest;
	uint64_t base = guest_config_read(guest, PCI_BASE_ADDRESS_0, 4) & ~UINT64_C(15);

	base |= (uint64_t)guest_config_read(guest, PCI_BASE_ADDRESS_1, 4) << 32;
	guest->bar = base;
	if (!vmm_bus_find(guest->mmio, base) && one_in(walk, 8))
		guest_move_bar(guest, GUEST_BAR);
}

static bool is_bar_mapped(const struct vmm_guest *guest)
{
	const struct vmm_range *range = vmm_bus_find(guest->mmio, guest->bar);

	return range && range->arg == guest->pci && range->base == guest->bar;
}

static void live_queues_are_frozen(struct walk *walk)
{
	struct vmm_guest *guest = &walk->guest;
	uint8_t status = guest->virtio->status;

	for (unsigned int i = 0; i < NR_QUEUES; i++) {
		const struct vmm_virtio_queue *queue = &guest->virtio->queues[i];

		if (queue->is_enabled) {
			assert_true(status & VIRTIO_CONFIG_S_FEATURES_OK);
			assert_in_range(queue->num, 1, guest_max_num[i]);
			assert_int_equal(queue->desc % 16, 0);
			assert_int_equal(queue->device % 4, 0);
		}
		/* Still the same life? A reset goes by a status of 0. */
		if (walk->was_live[i] && guest->device.nr_stop == walk->nr_resets && status)
			assert_memory_equal(queue, &walk->frozen[i], sizeof(*queue));
		walk->was_live[i] = queue->is_enabled;
		walk->frozen[i] = *queue;
	}
	if (walk->status & status & VIRTIO_CONFIG_S_FEATURES_OK &&
	    guest->device.nr_stop == walk->nr_resets)
		assert_true(guest->virtio->features == walk->features);
	walk->features = guest->virtio->features;
}

/* No bit goes but all of them, and each has the one below it. */
static void status_is_a_ladder(struct walk *walk)
{
	struct vmm_guest *guest = &walk->guest;
	uint8_t status = guest->virtio->status;

	if (guest->device.nr_stop == walk->nr_resets && status)
		assert_int_equal(walk->status & ~status, 0);
	assert_int_equal(status & 0x30, 0);
	if (status & 2)
		assert_true(status & 1);
	if (status & 8)
		assert_true(status & 2 && guest->virtio->features & VERSION_1);
	if (status & 4)
		assert_true(status & 8);
	if (guest->device.is_started)
		assert_true(status & 4);
	walk->status = status;
	walk->nr_resets = guest->device.nr_stop;
}

static void doorbells_are_where_they_belong(struct walk *walk)
{
	struct vmm_guest *guest = &walk->guest;
	bool is_mapped = is_bar_mapped(guest);

	for (unsigned int i = 0; i < guest->bells.nr; i++) {
		const struct guest_bell *bell = &guest->bells.bells[i];
		uint64_t queue = (bell->addr - guest->bar - guest->notify) / 4;

		assert_true(is_mapped && !guest->device.is_stopping);
		assert_true(queue < NR_QUEUES && bell->addr % 4 == 0);
		assert_true(guest->virtio->queues[queue].is_enabled);
		assert_int_equal(bell->eventfd, guest->virtio->queues[queue].kick_fd);
	}
}

/* What the guest reads of a vector is what decides. */
static bool may_interrupt(struct vmm_guest *guest, uint32_t vector, uint32_t flags)
{
	uint64_t upper;

	if (vector >= NR_VECTORS || !(flags & PCI_MSIX_FLAGS_ENABLE) ||
	    flags & PCI_MSIX_FLAGS_MASKALL)
		return false;
	upper = guest_read(guest, guest->bar + guest->table + vector * PCI_MSIX_ENTRY_SIZE + 8, 8);
	return !(upper >> 32 & 1);
}

static void attached_is_what_may_interrupt(struct walk *walk)
{
	struct vmm_guest *guest = &walk->guest;
	uint32_t flags = guest_config_read(guest, guest->msix_cap + PCI_MSIX_FLAGS, 2);
	uint32_t select = guest_get(guest, VIRTIO_PCI_COMMON_Q_SELECT);
	unsigned int nr_used = 0;
	uint8_t used[NR_VECTORS] = { 0 };

	for (unsigned int i = 0; i < NR_QUEUES; i++) {
		int fd = guest->virtio->queues[i].call_fd;
		uint32_t vector;
		bool may;

		/* Through the guest's own registers, but while they are deaf. */
		if (guest->device.is_stopping) {
			assert_false(guest_irq_is_attached(&guest->irq, fd));
			continue;
		}
		guest_set(guest, VIRTIO_PCI_COMMON_Q_SELECT, i);
		vector = guest_get(guest, VIRTIO_PCI_COMMON_Q_MSIX);
		may = may_interrupt(guest, vector, flags);
		assert_int_equal(guest_irq_is_attached(&guest->irq, fd), may);
		/* Attached, the controller has taken what there was. */
		assert_false(may && guest_has_count(fd));
		if (vector < NR_VECTORS)
			used[vector] = 1;
		else
			assert_int_equal(vector, VMM_MSIX_NO_VECTOR);
	}
	guest_set(guest, VIRTIO_PCI_COMMON_Q_SELECT, select);
	if (!guest->device.is_stopping && guest_get(guest, VIRTIO_PCI_COMMON_MSIX) < NR_VECTORS)
		used[guest_get(guest, VIRTIO_PCI_COMMON_MSIX)] = 1;
	for (unsigned int i = 0; i < NR_VECTORS; i++)
		nr_used += used[i];
	assert_int_equal(guest_irq_routes(&guest->irq), nr_used);
}

static void the_line_is_what_isr_says(struct walk *walk)
{
	struct vmm_guest *guest = &walk->guest;
	uint32_t flags = guest_config_read(guest, guest->msix_cap + PCI_MSIX_FLAGS, 2);
	uint32_t status = guest_config_read(guest, PCI_STATUS, 2);
	uint32_t command = guest_config_read(guest, PCI_COMMAND, 2);
	bool asks = status & PCI_STATUS_INTERRUPT;

	if (flags & PCI_MSIX_FLAGS_ENABLE)
		assert_false(asks);
	if (guest->device.is_stopping || !guest->virtio->status)
		assert_false(asks);
	assert_int_equal(guest->irq.level[GUEST_PIN],
			 asks && !(command & PCI_COMMAND_INTX_DISABLE));
	assert_int_equal(guest->is_watching, !guest->device.is_stopping &&
						     guest->virtio->status & 4 &&
						     !(flags & PCI_MSIX_FLAGS_ENABLE));
	walk->nr_lines += asks;
}

/* A call was delivered, or was read from the ISR, or the device was reset; or it is there to be. */
static void no_call_is_lost(struct walk *walk)
{
	struct vmm_guest *guest = &walk->guest;
	bool was_read = guest->nr_isr_reads != walk->nr_isr_reads;
	bool was_reset = !guest->virtio->status || guest->device.nr_stop != walk->nr_resets;
	bool asks = guest_config_read(guest, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT;

	for (unsigned int i = 0; i < NR_QUEUES; i++) {
		int fd = guest->virtio->queues[i].call_fd;
		unsigned int nr_delivered = guest->irq.nr_delivered[fd];
		bool has_count = guest_has_count(fd);

		if (was_reset || nr_delivered != walk->nr_delivered[i] || (was_read && !has_count))
			walk->is_owed[i] = false;
		if (walk->is_owed[i])
			assert_true(has_count || asks);
		walk->nr_kept += walk->is_owed[i];
		walk->nr_delivered[i] = nr_delivered;
	}
	walk->nr_isr_reads = guest->nr_isr_reads;
}

/* What was delivered and was no queue's. */
static unsigned int count_changes(const struct vmm_guest *guest)
{
	unsigned int nr = 0;

	for (unsigned int fd = 0; fd < GUEST_FDS; fd++)
		nr += guest->irq.nr_delivered[fd];
	for (unsigned int i = 0; i < NR_QUEUES; i++)
		nr -= guest->irq.nr_delivered[guest->virtio->queues[i].call_fd];
	return nr;
}

/* The same: a message, or read from the ISR, or the line is high or the vector may not interrupt. */
static void no_change_is_lost(struct walk *walk)
{
	struct vmm_guest *guest = &walk->guest;
	bool was_reset = !guest->virtio->status || guest->device.nr_stop != walk->nr_resets;
	bool asks = guest_config_read(guest, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT;
	uint32_t flags = guest_config_read(guest, guest->msix_cap + PCI_MSIX_FLAGS, 2);
	unsigned int nr_changes = count_changes(guest);

	if (was_reset || nr_changes != walk->nr_changes ||
	    guest->nr_isr_changes != walk->nr_isr_changes)
		walk->is_change_owed = false;
	walk->nr_changes = nr_changes;
	walk->nr_isr_changes = guest->nr_isr_changes;
	if (!walk->is_change_owed)
		return;
	if (!(flags & PCI_MSIX_FLAGS_ENABLE))
		assert_true(asks);
	else if (is_bar_mapped(guest))
		assert_false(may_interrupt(guest, guest_get(guest, VIRTIO_PCI_COMMON_MSIX), flags));
}

static void judge(struct walk *walk)
{
	find_bar(walk);
	no_call_is_lost(walk);
	no_change_is_lost(walk);
	live_queues_are_frozen(walk);
	status_is_a_ladder(walk);
	doorbells_are_where_they_belong(walk);
	if (is_bar_mapped(&walk->guest))
		attached_is_what_may_interrupt(walk);
	the_line_is_what_isr_says(walk);
}

static uint64_t image(struct vmm_guest *guest, unsigned int i)
{
	/* But for the generation, which only ever goes on. */
	uint64_t mask = i == 2 ? ~UINT64_C(0xff0000000000) : UINT64_MAX;

	return guest_read(guest, guest->bar + guest->common + 8 * i, i < 7 ? 8 : 4) & mask;
}

static void all_is_new_after_a_reset(struct walk *walk)
{
	struct vmm_guest *guest = &walk->guest;

	guest->device.is_slow = false;
	if (guest->device.is_stopping) {
		guest->device.is_stopping = false;
		vmm_virtio_stopped(guest->virtio);
	}
	guest_config_write(guest, PCI_COMMAND, 2, 0);
	guest_move_bar(guest, GUEST_BAR);
	guest_set_status(guest, 0);
	for (unsigned int i = 0; i < 8; i++)
		assert_true(image(guest, i) == walk->as_new[i]);
	for (unsigned int i = 0; i < NR_QUEUES; i++) {
		const struct vmm_virtio_queue *queue = &guest->virtio->queues[i];

		assert_false(queue->is_enabled || queue->desc || queue->driver || queue->device);
		assert_int_equal(queue->num, guest_max_num[i]);
		assert_false(guest_has_count(queue->kick_fd));
		guest_set(guest, VIRTIO_PCI_COMMON_Q_SELECT, i);
		assert_int_equal(guest_get(guest, VIRTIO_PCI_COMMON_Q_MSIX), VMM_MSIX_NO_VECTOR);
	}
	assert_true(guest->virtio->features == 0);
	assert_int_equal(guest_irq_routes(&guest->irq), 0);
	assert_int_equal(guest->irq.nr_attached, 0);
	assert_int_equal(guest->bells.nr, 0);
	assert_int_equal(guest->irq.level[GUEST_PIN], 0);
}

static unsigned long from_environment(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 0) : otherwise;
}

static void what_always_holds_holds_after_any_step(void **state)
{
	unsigned long nr_steps = from_environment("VMM_RANDOM_STEPS", NR_STEPS);
	struct walk walk = { .random = from_environment("VMM_RANDOM_SEED", 20260705) };
	struct vmm_guest *guest = &walk.guest;
	uint64_t nr_messages;

	(void)state;
	guest_open(guest);
	for (unsigned int i = 0; i < 8; i++)
		walk.as_new[i] = image(guest, i);
	for (unsigned long i = 0; i < nr_steps; i++) {
		take_step(&walk);
		judge(&walk);
		if (i % 100000 == 99999) {
			all_is_new_after_a_reset(&walk);
			judge(&walk);
			assert_int_equal(guest_count_fds(), guest->nr_fds + 2 * NR_QUEUES + 1);
		}
	}
	all_is_new_after_a_reset(&walk);
	/* The walk has been somewhere. */
	nr_messages = guest->irq.nr_other;
	for (unsigned int i = 0; i < GUEST_MESSAGES; i++)
		nr_messages += guest->irq.nr_messages[i];
	print_message(
		"%lu steps: %u starts, %u stops, %u queues enabled late, %lu messages, calls kept "
		"after %u, line high after %u, %u moves, %u kicks by us\n",
		nr_steps, guest->device.nr_start, guest->device.nr_stop, guest->device.nr_enabled,
		(unsigned long)nr_messages, walk.nr_kept, walk.nr_lines, walk.nr_moves,
		guest->nr_records[VMM_AT_KICK]);
	if (nr_steps >= 100000) {
		assert_true(guest->device.nr_start > 100 && guest->device.nr_enabled > 100);
		assert_true(walk.nr_changes > 100 && nr_messages > 1000 && walk.nr_kept > 1000 &&
			    walk.nr_lines > 1000);
		assert_true(walk.nr_moves > 100 && guest->nr_records[VMM_AT_KICK] > 100);
	}
	guest_free(guest);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_always_holds_holds_after_any_step),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
