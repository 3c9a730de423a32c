/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* The transport at work: status, resets at any time, doorbells, interrupts. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include "vmm_guest.h"

/* -- status -- */

static void status_bits_come_in_their_order(void **state)
{
	static const struct {
		uint8_t from, written, reads;
	} cases[] = {
		{ 0, 2, 0 },	   { 0, 4, 0 },		 { 0, 8, 0 },	      { 0, 0x40, 0 },
		{ 0, 0x30, 0 },	   { 0, 1, 1 },		 { 0, 3, 3 },	      { 1, 2, 1 },
		{ 1, 9, 1 },	   { 1, 5, 1 },		 { 3, 7, 3 },	      { 3, 0xb, 0xb },
		{ 3, 0xf, 0xf },   { 0xb, 3, 0xb },	 { 0xb, 0xf, 0xf },   { 0xb, 0x4b, 0xb },
		{ 0xf, 0xb, 0xf }, { 0xf, 1, 0xf },	 { 0xf, 0x8f, 0x8f }, { 3, 0x83, 0x83 },
		{ 0, 0x80, 0x80 }, { 0x83, 0x8f, 0x83 }, { 0x83, 3, 0x83 },   { 0x83, 0xf, 0x83 },
		{ 3, 0x80, 3 },
	};
	struct vmm_guest guest;

	(void)state;
	guest_open(&guest);
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		unsigned int nr_start = guest.device.nr_start;

		guest_negotiate(&guest, VERSION_1);
		if (cases[i].from < 8 || cases[i].from & 0x80) {
			guest_set_status(&guest, 0);
			guest_set(&guest, VIRTIO_PCI_COMMON_GFSELECT, 1);
			guest_set(&guest, VIRTIO_PCI_COMMON_GF, 1);
		}
		if (cases[i].from)
			guest_set_status(&guest, cases[i].from & 0x7f);
		if (cases[i].from)
			guest_set_status(&guest, cases[i].from);
		assert_int_equal(guest_status(&guest), cases[i].from);
		guest_set_status(&guest, cases[i].written);
		assert_int_equal(guest_status(&guest), cases[i].reads);
		assert_int_equal(guest.device.nr_start - nr_start, (cases[i].reads & 4) >> 2);
	}
	guest_free(&guest);
}

static void the_device_starts_once(void **state)
{
	struct vmm_guest guest;

	(void)state;
	guest_open(&guest);
	guest_start(&guest);
	assert_int_equal(guest.device.nr_start, 1);
	guest_set_status(&guest, 0xf);
	assert_int_equal(guest.device.nr_start, 1);
	assert_int_equal(guest.last[VMM_AT_STATUS].a, 0xf);
	assert_int_equal(guest.last[VMM_AT_STATUS].b, 0xb);
	guest_set_status(&guest, 0);
	assert_int_equal(guest.device.nr_stop, 1);
	assert_int_equal(guest.last[VMM_AT_STATUS].a, 0);
	guest_start(&guest);
	assert_int_equal(guest.device.nr_start, 2);
	guest_free(&guest);
}

static void needs_reset_stays_until_a_reset(void **state)
{
	struct vmm_guest guest;

	(void)state;
	guest_open(&guest);
	/* Nothing to reset. */
	vmm_virtio_needs_reset(guest.virtio);
	assert_int_equal(guest_status(&guest), 0);
	guest_start(&guest);
	vmm_virtio_needs_reset(guest.virtio);
	assert_int_equal(guest_status(&guest), 0x4f);
	guest_irq_run(&guest.irq);
	assert_int_equal(guest.irq.nr_messages[0], 1);
	vmm_virtio_needs_reset(guest.virtio);
	guest_irq_run(&guest.irq);
	assert_int_equal(guest.irq.nr_messages[0], 1);
	guest_set_status(&guest, 0xf);
	assert_int_equal(guest_status(&guest), 0x4f);
	guest_set_status(&guest, 0x8f);
	assert_int_equal(guest_status(&guest), 0xcf);
	guest_set_status(&guest, 0);
	assert_int_equal(guest_status(&guest), 0);
	/* Before DRIVER_OK nobody is told, and what is broken is not started. */
	assert_int_equal(guest_negotiate(&guest, VERSION_1), 0xb);
	guest_set(&guest, VIRTIO_PCI_COMMON_MSIX, 0);
	vmm_virtio_needs_reset(guest.virtio);
	guest_irq_run(&guest.irq);
	assert_int_equal(guest.irq.nr_messages[0], 1);
	guest_set_status(&guest, 0xf);
	assert_int_equal(guest_status(&guest), 0x4b);
	assert_int_equal(guest.device.nr_start, 1);
	guest_enable_queue(&guest, 0, VMM_MSIX_NO_VECTOR);
	assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_Q_ENABLE), 0);
	/* And from within start(). */
	guest.device.breaks = true;
	guest_negotiate(&guest, VERSION_1);
	guest_set_status(&guest, 0xf);
	assert_int_equal(guest_status(&guest), 0x4f);
	guest_free(&guest);
}

/* -- reset -- */

static uint64_t image(struct vmm_guest *guest, unsigned int i)
{
	return guest_read(guest, guest->bar + guest->common + 8 * i, i < 7 ? 8 : 4);
}

static void a_reset_leaves_all_as_new(void **state)
{
	struct vmm_guest guest;
	uint64_t before[8];
	eventfd_t count;

	(void)state;
	guest_open(&guest);
	for (unsigned int i = 0; i < 8; i++)
		before[i] = image(&guest, i);
	for (unsigned int twice = 0; twice < 2; twice++) {
		guest_start(&guest);
		guest_kick(&guest, 1);
		guest_msix_mask(&guest, 2, true);
		guest_call(&guest, 1);
		guest_set(&guest, VIRTIO_PCI_COMMON_DFSELECT, 1);
		/* It says so twice in a way: stopped() and true. */
		guest.device.says_twice = twice;
		guest_set_status(&guest, 0);
		for (unsigned int i = 0; i < 8; i++)
			assert_true(image(&guest, i) == before[i]);
		assert_true(guest.virtio->features == 0);
		assert_int_equal(guest.bells.nr, 0);
		assert_int_equal(guest.irq.nr_attached, 0);
		assert_int_equal(guest_irq_routes(&guest.irq), 0);
		assert_int_equal(eventfd_read(guest.virtio->queues[1].kick_fd, &count), -1);
		assert_int_equal(eventfd_read(guest.virtio->queues[1].call_fd, &count), -1);
		for (unsigned int i = 0; i < NR_QUEUES; i++) {
			const struct vmm_virtio_queue *queue = &guest.virtio->queues[i];

			assert_int_equal(queue->num, guest_max_num[i]);
			assert_false(queue->is_enabled);
			assert_true(!queue->desc && !queue->driver && !queue->device);
		}
		/* MSI-X is the function's, and not the device's. */
		assert_int_equal(guest_config_read(&guest, guest.msix_cap + 2, 2),
				 0x8000 | NR_QUEUES);
	}
	guest_free(&guest);
}

static void a_slow_reset_is_over_when_the_device_says_so(void **state)
{
	struct vmm_guest guest;
	unsigned int nr_messages, nr_writes;

	(void)state;
	guest_open(&guest);
	guest_start(&guest);
	guest.device.is_slow = true;
	guest_set_status(&guest, 0);
	assert_int_equal(guest_status(&guest), 0xf);
	assert_int_equal(guest.bells.nr, 0);
	assert_int_equal(guest.irq.nr_attached, 0);
	/* Deaf until then. */
	nr_messages = (unsigned int)guest.irq.nr_messages[0];
	nr_writes = guest.device.nr_config_write;
	for (unsigned int offset = 0; offset < 60; offset += 2) {
		guest_write(&guest, guest.bar + offset, 2, 1);
		guest_write(&guest, guest.bar + offset, 4, 1);
		guest_write(&guest, guest.bar + offset, 1, 0);
	}
	guest_write(&guest, guest.bar + guest.config, 4, 0);
	guest_kick(&guest, 0);
	guest_call(&guest, 0);
	vmm_virtio_pci_called(guest.pci, 0);
	vmm_virtio_config_changed(guest.virtio);
	vmm_virtio_needs_reset(guest.virtio);
	guest_irq_run(&guest.irq);
	assert_int_equal(guest.irq.nr_messages[0], nr_messages);
	assert_int_equal(guest.irq.nr_messages[1], 0);
	assert_int_equal(guest.device.nr_config_write, nr_writes);
	assert_int_equal(guest.device.nr_stop, 1);
	assert_int_equal(guest.nr_records[VMM_AT_KICK], 0);
	assert_int_equal(guest_irq_routes(&guest.irq), 0);
	assert_int_equal(guest_status(&guest), 0xf);
	/* The device can still read what it was told. */
	assert_true(guest.virtio->queues[0].is_enabled);
	guest.device.is_stopping = false;
	vmm_virtio_stopped(guest.virtio);
	assert_int_equal(guest_status(&guest), 0);
	assert_false(guest.virtio->queues[0].is_enabled);
	assert_false(guest_has_count(guest.virtio->queues[0].call_fd));
	/* Once more is once too often, and does nothing. */
	guest_start(&guest);
	vmm_virtio_stopped(guest.virtio);
	assert_int_equal(guest_status(&guest), 0xf);
	guest.device.is_slow = false;
	guest_free(&guest);
}

static void a_reset_may_come_at_any_status(void **state)
{
	static const uint8_t steps[] = { 1, 3, 0xb, 0xf };
	struct vmm_guest guest;

	(void)state;
	guest_open(&guest);
	for (unsigned int nr = 0; nr <= 4; nr++) {
		for (unsigned int slow = 0; slow < 2; slow++) {
			unsigned int nr_stop = guest.device.nr_stop;

			guest_set(&guest, VIRTIO_PCI_COMMON_GFSELECT, 1);
			guest_set(&guest, VIRTIO_PCI_COMMON_GF, 1);
			for (unsigned int i = 0; i < nr; i++) {
				guest_set_status(&guest, steps[i]);
				if (steps[i] == 0xb)
					guest_enable_queue(&guest, 2, 1);
			}
			guest.device.is_slow = slow;
			guest_set_status(&guest, 0);
			assert_int_equal(guest.device.nr_stop - nr_stop, nr > 0);
			assert_int_equal(guest_status(&guest), nr && slow ? steps[nr - 1] : 0);
			if (guest.device.is_stopping) {
				guest.device.is_stopping = false;
				vmm_virtio_stopped(guest.virtio);
			}
			assert_int_equal(guest_status(&guest), 0);
		}
	}
	guest.device.is_slow = false;
	guest_free(&guest);
}

static void a_device_may_be_freed_in_the_middle_of_anything(void **state)
{
	struct vmm_guest guest;

	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		guest_open(&guest);
		guest_start(&guest);
		if (i == 1)
			guest_msix_control(&guest, false, false);
		if (i == 1)
			vmm_virtio_pci_called(guest.pci, 0);
		guest.device.is_slow = i == 2;
		if (i >= 2)
			guest_set_status(&guest, 0);
		guest_free(&guest);
	}
}

/* -- doorbells -- */

static void a_doorbell_is_served_where_the_bar_is(void **state)
{
	struct vmm_guest guest;

	(void)state;
	guest_open(&guest);
	guest_negotiate(&guest, VERSION_1);
	assert_int_equal(guest.bells.nr, 0);
	guest_enable_queue(&guest, 2, 0);
	assert_int_equal(guest.bells.nr, 1);
	assert_true(guest.bells.bells[0].addr == guest.bar + guest.notify + 8);
	assert_int_equal(guest.bells.bells[0].eventfd, guest.virtio->queues[2].kick_fd);
	guest_enable_queue(&guest, 0, 0);
	assert_int_equal(guest.bells.nr, 2);
	guest_command(&guest, 0, PCI_COMMAND_MEMORY);
	assert_int_equal(guest.bells.nr, 0);
	guest_move_bar(&guest, 0x4400000000);
	assert_int_equal(guest.bells.nr, 2);
	for (unsigned int i = 0; i < 2; i++)
		assert_true(guest.bells.bells[i].addr - guest.bar - guest.notify <= 8);
	guest_kick(&guest, 2);
	assert_true(guest_has_count(guest.virtio->queues[2].kick_fd));
	assert_false(guest_has_count(guest.virtio->queues[0].kick_fd));
	assert_int_equal(guest.nr_records[VMM_AT_KICK], 0);
	/* Moved with memory on: half by half, and with it the doorbells. */
	guest_config_write(&guest, PCI_BASE_ADDRESS_1, 4, 0);
	guest_config_write(&guest, PCI_BASE_ADDRESS_0, 4, (uint32_t)GUEST_BAR);
	guest.bar = GUEST_BAR;
	guest_kick(&guest, 0);
	assert_true(guest_has_count(guest.virtio->queues[0].kick_fd));
	/* In the way of something else it is nowhere, and so are they. */
	guest_move_bar(&guest, GUEST_ECAM);
	assert_int_equal(guest.bells.nr, 0);
	guest_move_bar(&guest, GUEST_BAR);
	assert_int_equal(guest.bells.nr, 2);
	guest_set_status(&guest, 0);
	assert_int_equal(guest.bells.nr, 0);
	guest_free(&guest);
}

/* The device in that slot, whose BAR is there, from now on. */
static void turn_to(struct vmm_guest *guest, unsigned int slot, uint64_t bar)
{
	guest->slot = slot;
	guest->bar = bar;
}

static void doorbells_change_places_with_their_bars(void **state)
{
	struct vmm_guest guest;
	struct vmm_virtio_pci_options options;
	struct vmm_virtio_pci *other;
	uint64_t next;

	(void)state;
	guest_open(&guest);
	next = GUEST_BAR + guest.bar_size;
	options = guest_options(&guest);
	options.bar_base = next;
	assert_int_equal(vmm_virtio_pci_new(&other, &guest.device.device, &options), 0);
	guest_negotiate(&guest, VERSION_1);
	guest_enable_queue(&guest, 1, VMM_MSIX_NO_VECTOR);
	turn_to(&guest, 2, next);
	guest_command(&guest, PCI_COMMAND_MEMORY, 0);
	guest_negotiate(&guest, VERSION_1);
	guest_enable_queue(&guest, 1, VMM_MSIX_NO_VECTOR);
	assert_int_equal(guest.bells.nr, 2);
	/* It wants the first one's place, and has to wait for it. */
	guest_config_write(&guest, PCI_BASE_ADDRESS_0, 4, (uint32_t)GUEST_BAR);
	assert_int_equal(guest.bells.nr, 1);
	guest_kick(&guest, 1);
	turn_to(&guest, 1, GUEST_BAR);
	guest_kick(&guest, 1);
	assert_true(guest_has_count(guest.virtio->queues[1].kick_fd));
	assert_false(guest_has_count(vmm_virtio_pci_state(other)->queues[1].kick_fd));
	/* One write of the first one's moves both. */
	guest_config_write(&guest, PCI_BASE_ADDRESS_0, 4, (uint32_t)next);
	assert_int_equal(guest.bells.nr, 2);
	guest_kick(&guest, 1);
	assert_true(guest_has_count(vmm_virtio_pci_state(other)->queues[1].kick_fd));
	/* In the way again, and freed there. */
	turn_to(&guest, 2, GUEST_BAR);
	guest_config_write(&guest, PCI_BASE_ADDRESS_0, 4, (uint32_t)next);
	assert_int_equal(guest.bells.nr, 1);
	vmm_virtio_pci_free(other);
	guest_free(&guest);
}

static void a_doorbell_that_nobody_serves_is_ours(void **state)
{
	struct vmm_guest guest;
	eventfd_t count;
	int fd;

	(void)state;
	guest_open(&guest);
	guest.bells.refuse = true;
	guest_start(&guest);
	assert_int_equal(guest.bells.nr, 0);
	fd = guest.virtio->queues[1].kick_fd;
	guest_kick(&guest, 1);
	assert_int_equal(eventfd_read(fd, &count), 0);
	assert_int_equal(guest.nr_records[VMM_AT_KICK], 1);
	assert_int_equal(guest.last[VMM_AT_KICK].a, 1);
	/* 32 bits are a doorbell too, 8 are not, nor is the place between two. */
	guest_write(&guest, guest.bar + guest.notify + 4, 4, 1);
	assert_int_equal(eventfd_read(fd, &count), 0);
	assert_int_equal(count, 1);
	guest_write(&guest, guest.bar + guest.notify + 4, 1, 1);
	guest_write(&guest, guest.bar + guest.notify + 6, 2, 1);
	guest_write(&guest, guest.bar + guest.notify + 5, 2, 1);
	guest_write(&guest, guest.bar + guest.notify, 8, 1);
	assert_int_equal(eventfd_read(fd, &count), -1);
	assert_int_equal(guest_read(&guest, guest.bar + guest.notify, 8), 0);
	/* An eventfd at its maximum does not stop us. */
	assert_int_equal(eventfd_write(fd, UINT64_MAX - 1), 0);
	guest_kick(&guest, 1);
	/* A move gives those who may serve another chance. */
	guest.bells.refuse = false;
	guest_move_bar(&guest, 0xc0000000);
	assert_int_equal(guest.bells.nr, NR_QUEUES);
	guest_free(&guest);
}

/* The flag that they do not block is the file's, which the backend shares. */
static void a_backend_that_makes_eventfds_block_does_not_block_us(void **state)
{
	const uint64_t maximum = UINT64_MAX - 1;
	struct vmm_guest guest;

	(void)state;
	guest_open(&guest);
	guest.bells.refuse = true;
	/* what blocks ends here */
	alarm(20);
	for (unsigned int turn = 0; turn < 2; turn++) {
		const int fds[] = { guest.virtio->queues[0].kick_fd,
				    guest.virtio->queues[0].call_fd };

		guest_start(&guest);
		for (unsigned int i = 0; i < 2; i++) {
			assert_int_equal(fcntl(fds[i], F_SETFL, 0), 0);
			if (turn)
				assert_int_equal(write(fds[i], &maximum, sizeof(maximum)), 8);
		}
		guest_write(&guest, guest.bar + guest.notify, 4, 0);
		/* empty, or at its maximum */
		guest_set_status(&guest, 0);
		assert_int_equal(guest_status(&guest), 0);
	}
	alarm(0);
	guest_free(&guest);
}

static void a_kick_before_the_queue_is_enabled_is_lost(void **state)
{
	struct vmm_guest guest;

	(void)state;
	guest_open(&guest);
	guest.bells.refuse = true;
	guest_negotiate(&guest, VERSION_1);
	guest_kick(&guest, 0);
	assert_false(guest_has_count(guest.virtio->queues[0].kick_fd));
	guest_enable_queue(&guest, 0, 0);
	/* Before DRIVER_OK it waits for the device. */
	guest_kick(&guest, 0);
	assert_true(guest_has_count(guest.virtio->queues[0].kick_fd));
	guest_free(&guest);
}

/* -- interrupts -- */

static void a_call_is_the_message_of_its_vector(void **state)
{
	struct vmm_guest guest;

	(void)state;
	guest_open(&guest);
	guest_start(&guest);
	for (unsigned int i = 0; i < NR_QUEUES; i++) {
		guest_call(&guest, i);
		assert_int_equal(guest.irq.nr_messages[i + 1], 1);
	}
	vmm_virtio_config_changed(guest.virtio);
	guest_irq_run(&guest.irq);
	assert_int_equal(guest.irq.nr_messages[0], 1);
	assert_string_equal(guest.last[VMM_AT_INTERRUPT].what, "msi");
	/* 4.1.4.5.1: the configuration's bit is set whatever the kind of interrupt. */
	assert_int_equal(guest_read(&guest, guest.bar + guest.isr, 1), 2);
	assert_int_equal(guest_read(&guest, guest.bar + guest.isr, 1), 0);
	assert_int_equal(guest.irq.level[GUEST_PIN], 0);
	assert_false(guest.is_watching);
	guest_free(&guest);
}

static void vectors_that_cannot_be_had_read_back_as_none(void **state)
{
	struct vmm_guest guest;

	(void)state;
	guest_open(&guest);
	guest.irq.max_routes = 2;
	assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_MSIX), VMM_MSIX_NO_VECTOR);
	guest_set(&guest, VIRTIO_PCI_COMMON_MSIX, 0);
	assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_MSIX), 0);
	guest_set(&guest, VIRTIO_PCI_COMMON_MSIX, NR_QUEUES + 1);
	assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_MSIX), VMM_MSIX_NO_VECTOR);
	assert_int_equal(guest_irq_routes(&guest.irq), 0);
	guest_set(&guest, VIRTIO_PCI_COMMON_MSIX, 1);
	guest_set(&guest, VIRTIO_PCI_COMMON_Q_MSIX, 2);
	assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_Q_MSIX), 2);
	guest_set(&guest, VIRTIO_PCI_COMMON_Q_SELECT, 1);
	guest_set(&guest, VIRTIO_PCI_COMMON_Q_MSIX, 3);
	assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_Q_MSIX), VMM_MSIX_NO_VECTOR);
	guest_set(&guest, VIRTIO_PCI_COMMON_Q_MSIX, 2);
	assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_Q_MSIX), 2);
	guest_set(&guest, VIRTIO_PCI_COMMON_Q_MSIX, VMM_MSIX_NO_VECTOR);
	assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_Q_MSIX), VMM_MSIX_NO_VECTOR);
	assert_int_equal(guest_irq_routes(&guest.irq), 2);
	guest_free(&guest);
}

static void without_msix_a_call_is_the_line(void **state)
{
	struct vmm_guest guest;

	(void)state;
	guest_open(&guest);
	guest_start(&guest);
	guest_msix_control(&guest, false, false);
	assert_true(guest.is_watching);
	guest_call(&guest, 1);
	assert_int_equal(guest.irq.level[GUEST_PIN], 0);
	guest_watch(&guest);
	assert_int_equal(guest.irq.level[GUEST_PIN], 1);
	assert_int_equal(guest.last[VMM_AT_CALL].a, 1);
	assert_string_equal(guest.last[VMM_AT_INTERRUPT].what, "line");
	assert_int_equal(guest.last[VMM_AT_INTERRUPT].a, GUEST_PIN);
	assert_int_equal(guest.last[VMM_AT_INTERRUPT].b, 1);
	assert_true(guest_config_read(&guest, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
	/* Switched off for the function: it waits, and the bit says so. */
	guest_command(&guest, PCI_COMMAND_INTX_DISABLE, 0);
	assert_int_equal(guest.irq.level[GUEST_PIN], 0);
	assert_true(guest_config_read(&guest, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
	guest_command(&guest, 0, PCI_COMMAND_INTX_DISABLE);
	assert_int_equal(guest.irq.level[GUEST_PIN], 1);
	vmm_virtio_config_changed(guest.virtio);
	assert_int_equal(guest_read(&guest, guest.bar + guest.isr, 1), 3);
	assert_int_equal(guest.irq.level[GUEST_PIN], 0);
	assert_false(guest_config_read(&guest, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
	/* What the driver has seen is not told again by a vector. */
	guest_msix_control(&guest, true, false);
	assert_false(guest.is_watching);
	assert_int_equal(guest.irq.nr_messages[0] + guest.irq.nr_messages[2], 0);
	guest_msix_control(&guest, false, false);
	guest_call(&guest, 0);
	guest_watch(&guest);
	guest_set_status(&guest, 0);
	assert_int_equal(guest.irq.level[GUEST_PIN], 0);
	assert_false(guest.is_watching);
	vmm_virtio_pci_called(guest.pci, 0);
	assert_int_equal(guest.irq.level[GUEST_PIN], 0);
	vmm_virtio_pci_called(guest.pci, NR_QUEUES);
	guest_free(&guest);
}

static void what_the_line_did_not_bring_the_vector_does(void **state)
{
	struct vmm_guest guest;

	(void)state;
	guest_open(&guest);
	guest_start(&guest);
	guest_msix_control(&guest, false, false);
	guest_call(&guest, 2);
	guest_watch(&guest);
	vmm_virtio_config_changed(guest.virtio);
	assert_int_equal(guest.irq.level[GUEST_PIN], 1);
	guest_msix_control(&guest, true, false);
	assert_int_equal(guest.irq.level[GUEST_PIN], 0);
	assert_int_equal(guest.irq.nr_messages[3], 1);
	assert_int_equal(guest.irq.nr_messages[0], 1);
	/* The queue's bit went with it. */
	assert_int_equal(guest_read(&guest, guest.bar + guest.isr, 1), 2);
	/* A watcher that was late: it had read the count already. */
	vmm_virtio_pci_called(guest.pci, 2);
	guest_irq_run(&guest.irq);
	assert_int_equal(guest.irq.nr_messages[3], 2);
	/* The other way: pending for a vector, then for the line. */
	guest_msix_mask(&guest, 3, true);
	guest_call(&guest, 2);
	guest_msix_control(&guest, false, false);
	guest_watch(&guest);
	assert_int_equal(guest_read(&guest, guest.bar + guest.isr, 1) & 1, 1);
	assert_int_equal(guest.irq.nr_messages[3], 2);
	guest_free(&guest);
}

static void a_change_before_driver_ok_interrupts_nobody(void **state)
{
	struct vmm_guest guest;
	uint32_t generation;

	(void)state;
	guest_open(&guest);
	guest_negotiate(&guest, VERSION_1);
	generation = guest_get(&guest, VIRTIO_PCI_COMMON_CFGGENERATION);
	vmm_virtio_config_changed(guest.virtio);
	assert_int_not_equal(guest_get(&guest, VIRTIO_PCI_COMMON_CFGGENERATION), generation);
	assert_int_equal(guest.irq.level[GUEST_PIN], 0);
	assert_int_equal(guest_read(&guest, guest.bar + guest.isr, 1), 0);
	guest_set_status(&guest, 0xf);
	for (unsigned int i = 0; i < 300; i++) {
		generation = guest_get(&guest, VIRTIO_PCI_COMMON_CFGGENERATION);
		vmm_virtio_config_changed(guest.virtio);
		assert_int_not_equal(guest_get(&guest, VIRTIO_PCI_COMMON_CFGGENERATION),
				     generation);
	}
	assert_int_equal(guest.irq.level[GUEST_PIN], 1);
	guest_free(&guest);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(status_bits_come_in_their_order),
		cmocka_unit_test(the_device_starts_once),
		cmocka_unit_test(needs_reset_stays_until_a_reset),
		cmocka_unit_test(a_reset_leaves_all_as_new),
		cmocka_unit_test(a_slow_reset_is_over_when_the_device_says_so),
		cmocka_unit_test(a_reset_may_come_at_any_status),
		cmocka_unit_test(a_device_may_be_freed_in_the_middle_of_anything),
		cmocka_unit_test(a_doorbell_is_served_where_the_bar_is),
		cmocka_unit_test(doorbells_change_places_with_their_bars),
		cmocka_unit_test(a_doorbell_that_nobody_serves_is_ours),
		cmocka_unit_test(a_backend_that_makes_eventfds_block_does_not_block_us),
		cmocka_unit_test(a_kick_before_the_queue_is_enabled_is_lost),
		cmocka_unit_test(a_call_is_the_message_of_its_vector),
		cmocka_unit_test(vectors_that_cannot_be_had_read_back_as_none),
		cmocka_unit_test(without_msix_a_call_is_the_line),
		cmocka_unit_test(what_the_line_did_not_bring_the_vector_does),
		cmocka_unit_test(a_change_before_driver_ok_interrupts_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
