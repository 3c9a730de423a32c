/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* A source is attached exactly while its vector may interrupt, and no call is lost meanwhile. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include <linux/pci_regs.h>
#include <vmm/msix.h>

#include "vmm_guest.h"

enum {
	BAR_SIZE = 0x10000,
	TABLE = 0x2000,
};

#define BAR UINT64_C(0xd0000000)

struct world {
	struct vmm_bus *mmio, *port;
	struct vmm_pci_host *host;
	struct vmm_pci_device *device;
	struct vmm_msix *msix;
	struct guest_irq irq;
	struct vmm_probe probe;
	unsigned int cap, nr_vectors, nr_switched;
	unsigned int nr_records;
	struct vmm_record last;
	bool is_on;
	unsigned int nr_fds;
};

static uint64_t bar_read(void *arg, uint64_t offset, unsigned int size)
{
	struct world *world = arg;

	return offset < TABLE ? 0 : vmm_msix_read(world->msix, offset - TABLE, size);
}

static void bar_write(void *arg, uint64_t offset, unsigned int size, uint64_t value)
{
	struct world *world = arg;

	if (offset >= TABLE)
		vmm_msix_write(world->msix, offset - TABLE, size, value);
}

static const struct vmm_range_ops bar_ops = { bar_read, bar_write, 1, 8 };

static void config_written(void *arg, unsigned int offset, unsigned int size)
{
	struct world *world = arg;

	if (world->msix)
		vmm_msix_config_written(world->msix, offset, size);
}

static const struct vmm_pci_ops pci_ops = { .config_written = config_written };

static void switched(void *arg, bool is_on)
{
	struct world *world = arg;

	assert_int_not_equal(world->is_on, is_on);
	world->is_on = is_on;
	world->nr_switched++;
}

static void sink(void *arg, const struct vmm_record *record)
{
	struct world *world = arg;

	if (record->station != VMM_AT_INTERRUPT)
		return;
	world->nr_records++;
	world->last = *record;
}

static void open_world(struct world *world, unsigned int nr_vectors)
{
	static const struct vmm_pci_ids ids = { .vendor = 0x1af4, .device = 1 };
	struct vmm_msix_options options = { .nr_vectors = nr_vectors,
					    .offset = TABLE,
					    .irq = &world->irq.irq,
					    .probe = &world->probe,
					    .device = "dev0",
					    .switched = switched,
					    .arg = world };
	*world = (struct world){ .nr_vectors = nr_vectors,
				 .nr_fds = guest_count_fds(),
				 .probe = { sink, world } };
	guest_irq_init(&world->irq);
	world->mmio = vmm_bus_new("mmio", NULL);
	world->port = vmm_bus_new("port", NULL);
	assert_int_equal(vmm_pci_host_new(&world->host, world->mmio, world->port, GUEST_ECAM), 0);
	assert_int_equal(vmm_pci_device_new(&world->device, world->host, 1, "dev", &ids, 0, 0,
					    &pci_ops, world),
			 0);
	assert_int_equal(vmm_pci_add_bar(world->device, 0, BAR_SIZE, true, BAR, &bar_ops, world),
			 0);
	options.pci = world->device;
	assert_int_equal(vmm_msix_new(&world->msix, &options), 0);
	world->cap = vmm_pci_get(world->device, PCI_CAPABILITY_LIST, 1);
	vmm_bus_write(world->mmio, GUEST_ECAM + (1 << 15) + PCI_COMMAND,
		      &(uint16_t){ PCI_COMMAND_MEMORY }, 2);
}

static void close_world(struct world *world)
{
	vmm_msix_free(world->msix);
	world->msix = NULL;
	assert_int_equal(world->irq.nr_attached, 0);
	assert_int_equal(guest_irq_routes(&world->irq), 0);
	vmm_pci_device_free(world->device);
	vmm_pci_host_free(world->host);
	vmm_bus_free(world->mmio);
	vmm_bus_free(world->port);
	assert_int_equal(guest_count_fds(), world->nr_fds);
}

static uint64_t read_table(struct world *world, uint64_t offset, unsigned int size)
{
	uint64_t value = 0;

	vmm_bus_read(world->mmio, BAR + TABLE + offset, &value, size);
	return value;
}

static void write_table(struct world *world, uint64_t offset, unsigned int size, uint64_t value)
{
	vmm_bus_write(world->mmio, BAR + TABLE + offset, &value, size);
	guest_irq_run(&world->irq);
}

static void set_control(struct world *world, bool enable, bool mask)
{
	uint8_t flags = (uint8_t)(enable << 7 | mask << 6);

	vmm_bus_write(world->mmio, GUEST_ECAM + (1 << 15) + world->cap + PCI_MSIX_FLAGS + 1, &flags,
		      1);
	guest_irq_run(&world->irq);
}

static void set_mask(struct world *world, unsigned int vector, bool mask)
{
	write_table(world, vector * 16 + 12, 4, mask);
}

/* Message n for the vector, whose mask stays. */
static void set_message(struct world *world, unsigned int vector, unsigned int n)
{
	write_table(world, vector * 16, 8, GUEST_MSI_BASE + 16 * n);
	write_table(world, vector * 16 + 8, 4, n);
}

static bool pending(struct world *world, unsigned int vector)
{
	uint64_t pba = (world->nr_vectors * 16 + 4095) / 4096 * 4096;

	return read_table(world, pba + vector / 8, 1) >> (vector % 8) & 1;
}

static int new_source(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	assert_true(fd >= 0);
	return fd;
}

static void call(struct world *world, int fd)
{
	assert_int_equal(eventfd_write(fd, 1), 0);
	guest_irq_run(&world->irq);
}

static bool is_attached(const struct world *world, int fd)
{
	return guest_irq_is_attached(&world->irq, fd);
}

static void the_capability_says_where_table_and_bits_are(void **state)
{
	static const unsigned int nrs[] = { 1, 4, 256, 257, 2048 };
	struct world world;

	(void)state;
	for (unsigned int i = 0; i < 5; i++) {
		unsigned int nr = nrs[i];
		uint32_t pba = TABLE + (nr * 16 + 4095) / 4096 * 4096;

		open_world(&world, nr);
		assert_int_equal(vmm_pci_get(world.device, world.cap, 1), PCI_CAP_ID_MSIX);
		assert_int_equal(vmm_pci_get(world.device, world.cap + 2, 2), nr - 1);
		assert_int_equal(vmm_pci_get(world.device, world.cap + 4, 4), TABLE);
		assert_int_equal(vmm_pci_get(world.device, world.cap + 8, 4), pba);
		assert_int_equal(vmm_msix_size(nr), pba - TABLE + (nr + 63) / 64 * 8);
		set_control(&world, true, true);
		assert_int_equal(vmm_pci_get(world.device, world.cap + 2, 2), 0xc000 | (nr - 1));
		assert_int_equal(read_table(&world, vmm_msix_size(nr), 8), 0);
		close_world(&world);
	}
}

static void options_that_make_no_sense_are_refused(void **state)
{
	struct vmm_msix *msix = NULL;
	struct vmm_msix_options options = { .nr_vectors = 0 };

	(void)state;
	assert_int_equal(vmm_msix_new(&msix, &options), -EINVAL);
	options.nr_vectors = VMM_MSIX_MAX + 1;
	assert_int_equal(vmm_msix_new(&msix, &options), -EINVAL);
	options.nr_vectors = 4;
	options.bar = 6;
	assert_int_equal(vmm_msix_new(&msix, &options), -EINVAL);
	options.bar = 0;
	options.offset = 4;
	assert_int_equal(vmm_msix_new(&msix, &options), -EINVAL);
	options.offset = UINT32_MAX - 4103;
	assert_int_equal(vmm_msix_new(&msix, &options), -EINVAL);
	assert_null(msix);
	vmm_msix_free(NULL);
}

static void table_entries_are_written_in_words_of_4_and_8(void **state)
{
	struct world world;

	(void)state;
	open_world(&world, 3);
	for (unsigned int vector = 0; vector < 3; vector++) {
		uint64_t at = vector * 16;

		assert_true(read_table(&world, at, 8) == 0);
		assert_true(read_table(&world, at + 8, 8) == 1ull << 32);
		write_table(&world, at, 4, 0xfee01237);
		write_table(&world, at + 4, 4, 0x89abcdef);
		write_table(&world, at + 8, 4, 0x11223344);
		write_table(&world, at + 12, 4, 0xfffffffe);
		assert_true(read_table(&world, at, 8) == 0x89abcdeffee01234);
		assert_true(read_table(&world, at + 8, 8) == 0x11223344);
		write_table(&world, at, 8, 0xfffffffffffffff7);
		write_table(&world, at + 8, 8, 0xffffffff55667788);
		assert_true(read_table(&world, at, 8) == 0xfffffffffffffff4);
		assert_true(read_table(&world, at + 8, 8) == 0x155667788);
		for (unsigned int i = 0; i < 8; i++) {
			write_table(&world, at + 8 + i, 1, 0);
			write_table(&world, at + 8 + i / 2 * 2, 2, 0);
		}
		assert_int_equal(read_table(&world, at + 8, 1), 0x88);
		assert_int_equal(read_table(&world, at + 9, 1), 0x77);
		assert_int_equal(read_table(&world, at + 10, 2), 0x5566);
		assert_int_equal(read_table(&world, at + 12, 4), 1);
		assert_int_equal(read_table(&world, at + 12, 1), 1);
	}
	/* Behind the table, and the pending bits, which cannot be written. */
	for (uint64_t at = 48; at < 48 + 64; at += 8) {
		write_table(&world, at, 8, UINT64_MAX);
		assert_true(read_table(&world, at, 8) == 0);
	}
	write_table(&world, 4096, 8, UINT64_MAX);
	assert_true(read_table(&world, 4096, 8) == 0);
	/* In the table an access across two words is two. */
	write_table(&world, 4, 4, 0);
	write_table(&world, 8, 4, 0);
	assert_true(read_table(&world, 4, 8) == 0);
	close_world(&world);
}

static void attached_is_what_may_interrupt(void **state)
{
	struct world world;
	int fd = new_source();

	(void)state;
	for (unsigned int i = 0; i < 8; i++) {
		bool on = i & 1, all_masked = i & 2, masked = i & 4;

		open_world(&world, 2);
		assert_int_equal(vmm_msix_connect(world.msix, fd, 1), 0);
		set_message(&world, 1, 5);
		assert_false(is_attached(&world, fd));
		set_mask(&world, 1, masked);
		set_control(&world, on, all_masked);
		assert_int_equal(is_attached(&world, fd), on && !all_masked && !masked);
		assert_int_equal(vmm_msix_is_on(world.msix), on);
		assert_int_equal(world.nr_switched, on);
		call(&world, fd);
		assert_int_equal(pending(&world, 1), !on || all_masked || masked);
		assert_int_equal(world.irq.nr_messages[5], on && !all_masked && !masked);
		/* The other vector's mask is its own. */
		set_mask(&world, 0, false);
		assert_int_equal(is_attached(&world, fd), on && !all_masked && !masked);
		assert_false(pending(&world, 0));
		set_mask(&world, 1, false);
		set_control(&world, true, false);
		assert_true(is_attached(&world, fd));
		assert_int_equal(world.irq.nr_messages[5], 1);
		/* What the controller has not taken yet is on its way, and not pending. */
		assert_int_equal(eventfd_write(fd, 1), 0);
		assert_false(pending(&world, 1));
		guest_irq_run(&world.irq);
		close_world(&world);
	}
	close(fd);
}

static void routes_are_there_for_used_vectors_only(void **state)
{
	struct world world;
	int a = new_source(), b = new_source();

	(void)state;
	open_world(&world, 8);
	assert_int_equal(guest_irq_routes(&world.irq), 0);
	assert_int_equal(vmm_msix_connect(world.msix, a, 3), 0);
	assert_int_equal(vmm_msix_connect(world.msix, b, 3), 0);
	assert_int_equal(guest_irq_routes(&world.irq), 1);
	assert_int_equal(vmm_msix_connect(world.msix, b, 3), 0);
	assert_int_equal(vmm_msix_connect(world.msix, b, 4), 0);
	assert_int_equal(guest_irq_routes(&world.irq), 2);
	assert_int_equal(vmm_msix_connect(world.msix, a, VMM_MSIX_NO_VECTOR), 0);
	assert_int_equal(guest_irq_routes(&world.irq), 1);
	vmm_msix_disconnect(world.msix, a);
	vmm_msix_disconnect(world.msix, b);
	assert_int_equal(guest_irq_routes(&world.irq), 0);
	assert_int_equal(vmm_msix_connect(world.msix, a, 8), -EINVAL);
	assert_int_equal(vmm_msix_connect(world.msix, a, 0xfffe), -EINVAL);
	assert_int_equal(guest_irq_routes(&world.irq), 0);
	close_world(&world);
	close(a);
	close(b);
}

static void without_routes_a_source_is_connected_to_none(void **state)
{
	struct world world;
	int a = new_source(), b = new_source();

	(void)state;
	open_world(&world, 4);
	world.irq.max_routes = 1;
	set_control(&world, true, false);
	for (unsigned int i = 0; i < 4; i++) {
		set_message(&world, i, i);
		set_mask(&world, i, false);
	}
	assert_int_equal(vmm_msix_connect(world.msix, a, 0), 0);
	assert_int_equal(vmm_msix_connect(world.msix, b, 1), -ENOSPC);
	call(&world, b);
	assert_false(is_attached(&world, b));
	assert_true(guest_has_count(b));
	/* Its own route is free when it moves, and sharing takes none. */
	assert_int_equal(vmm_msix_connect(world.msix, a, 2), 0);
	assert_int_equal(vmm_msix_connect(world.msix, b, 2), 0);
	assert_int_equal(world.irq.nr_messages[2], 1);
	/* Moved where no route is, it is nowhere; the other is not disturbed. */
	assert_int_equal(vmm_msix_connect(world.msix, a, 1), -ENOSPC);
	assert_false(is_attached(&world, a));
	assert_true(is_attached(&world, b));
	assert_int_equal(guest_irq_routes(&world.irq), 1);
	close_world(&world);
	close(a);
	close(b);
}

static void what_the_controller_refuses_is_not_lost(void **state)
{
	struct world world;
	int fd = new_source();

	(void)state;
	open_world(&world, 2);
	set_control(&world, true, false);
	set_message(&world, 0, 7);
	set_mask(&world, 0, false);
	world.irq.fail_attach = 1;
	assert_int_equal(vmm_msix_connect(world.msix, fd, 0), -ENOMEM);
	assert_int_equal(guest_irq_routes(&world.irq), 0);
	world.irq.fail_set_route = 1;
	assert_int_equal(vmm_msix_connect(world.msix, fd, 0), -EIO);
	assert_int_equal(guest_irq_routes(&world.irq), 0);
	assert_int_equal(vmm_msix_connect(world.msix, fd, 0), 0);
	/* Later on: pending until the next change. */
	set_mask(&world, 0, true);
	call(&world, fd);
	world.irq.fail_attach = 1;
	set_mask(&world, 0, false);
	assert_false(is_attached(&world, fd));
	assert_true(pending(&world, 0));
	set_mask(&world, 0, false);
	assert_int_equal(world.irq.nr_messages[7], 1);
	/* A message that could not be set is never a wrong one. */
	world.irq.fail_set_route = 2;
	write_table(&world, 0, 8, GUEST_MSI_BASE + 16 * 9);
	call(&world, fd);
	assert_true(pending(&world, 0));
	write_table(&world, 8, 4, 9);
	assert_true(pending(&world, 0));
	set_control(&world, true, false);
	assert_int_equal(world.irq.nr_messages[9], 1);
	assert_int_equal(world.irq.nr_other, 0);
	close_world(&world);
	close(fd);
}

static void a_message_changes_at_once_unless_masked(void **state)
{
	struct world world;
	int fd = new_source();
	unsigned int nr;

	(void)state;
	open_world(&world, 2);
	set_control(&world, true, false);
	assert_int_equal(vmm_msix_connect(world.msix, fd, 0), 0);
	set_message(&world, 0, 3);
	assert_int_equal(world.irq.nr_set_route, 0);
	set_mask(&world, 0, false);
	assert_int_equal(world.irq.nr_set_route, 1);
	assert_int_equal(guest_irq_message(&world.irq, fd).data, 3);
	set_message(&world, 0, 4);
	assert_int_equal(guest_irq_message(&world.irq, fd).data, 4);
	assert_true(guest_irq_message(&world.irq, fd).addr == GUEST_MSI_BASE + 64);
	/* Masked and changed in one write, then unmasked with nothing else changed. */
	nr = world.irq.nr_set_route;
	write_table(&world, 8, 8, 1ull << 32 | 6);
	write_table(&world, 0, 8, GUEST_MSI_BASE + 16 * 6);
	assert_int_equal(world.irq.nr_set_route, nr);
	call(&world, fd);
	set_mask(&world, 0, false);
	assert_int_equal(world.irq.nr_set_route, nr + 1);
	assert_int_equal(world.irq.nr_messages[6], 1);
	set_mask(&world, 0, true);
	set_mask(&world, 0, false);
	assert_int_equal(world.irq.nr_set_route, nr + 1);
	assert_int_equal(world.irq.nr_other, 0);
	close_world(&world);
	close(fd);
}

static void pending_is_any_source_of_the_vector(void **state)
{
	enum {
		MANY = 150
	};
	struct world world;
	int fds[MANY];

	(void)state;
	for (unsigned int i = 0; i < MANY; i++)
		fds[i] = new_source();
	open_world(&world, 130);
	/* More of them on one vector than are asked at once. */
	for (unsigned int i = 0; i < MANY; i++)
		assert_int_equal(vmm_msix_connect(world.msix, fds[i], i < 140 ? 70 : i - 20), 0);
	for (unsigned int i = 0; i < MANY; i++) {
		eventfd_t count;

		call(&world, fds[i]);
		for (unsigned int vector = 0; vector < 130; vector++)
			assert_int_equal(pending(&world, vector),
					 vector == (i < 140 ? 70 : i - 20));
		assert_int_equal(eventfd_read(fds[i], &count), 0);
	}
	call(&world, fds[0]);
	assert_true(read_table(&world, 4096 + 8, 8) == 1ull << 6);
	assert_true(read_table(&world, 4096 + 8, 4) == 1ull << 6);
	assert_true(read_table(&world, 4096, 8) == 0);
	assert_true(read_table(&world, 4096 + 16, 8) == 0);
	vmm_msix_disconnect(world.msix, fds[0]);
	assert_false(pending(&world, 70));
	close_world(&world);
	for (unsigned int i = 0; i < MANY; i++)
		close(fds[i]);
}

static void a_reset_masks_all_and_keeps_the_sources(void **state)
{
	struct world world;
	int fd = new_source();

	(void)state;
	open_world(&world, 2);
	set_control(&world, true, false);
	assert_int_equal(vmm_msix_connect(world.msix, fd, 1), 0);
	set_message(&world, 1, 3);
	set_mask(&world, 1, false);
	vmm_msix_reset(world.msix);
	assert_false(vmm_msix_is_on(world.msix));
	assert_false(world.is_on);
	assert_false(is_attached(&world, fd));
	assert_int_equal(vmm_pci_get(world.device, world.cap + 2, 2), 1);
	assert_true(read_table(&world, 16, 8) == 0);
	assert_true(read_table(&world, 24, 8) == 1ull << 32);
	call(&world, fd);
	assert_true(pending(&world, 1));
	set_control(&world, true, false);
	set_message(&world, 1, 4);
	set_mask(&world, 1, false);
	assert_int_equal(world.irq.nr_messages[4], 1);
	assert_int_equal(world.irq.nr_messages[3], 0);
	close_world(&world);
	close(fd);
}

static void an_interrupt_of_ours_is_recorded(void **state)
{
	struct world world;
	int fd = new_source();

	(void)state;
	open_world(&world, 2);
	set_control(&world, true, false);
	set_message(&world, 1, 3);
	assert_int_equal(vmm_msix_connect(world.msix, fd, 1), 0);
	vmm_msix_signal(world.msix, fd);
	assert_int_equal(world.nr_records, 0);
	/* A pending one, when it is let go. */
	set_mask(&world, 1, false);
	assert_int_equal(world.nr_records, 1);
	assert_string_equal(world.last.what, "msi");
	assert_string_equal(world.last.device, "dev0");
	assert_int_equal(world.last.a, 1);
	assert_int_equal(world.last.b, GUEST_MSI_BASE + 48);
	vmm_msix_signal(world.msix, fd);
	guest_irq_run(&world.irq);
	assert_int_equal(world.nr_records, 2);
	assert_int_equal(world.irq.nr_messages[3], 2);
	set_mask(&world, 1, true);
	set_mask(&world, 1, false);
	assert_int_equal(world.nr_records, 2);
	vmm_msix_disconnect(world.msix, fd);
	vmm_msix_signal(world.msix, fd);
	assert_int_equal(world.nr_records, 2);
	assert_true(guest_has_count(fd));
	close_world(&world);
	close(fd);
}

/* -- no call is lost, whatever happens in between -- */

enum step {
	CALL,
	MASK,
	UNMASK,
	MASK_ALL,
	UNMASK_ALL,
	OFF,
	ON,
	TO_0,
	TO_1,
	TO_NONE,
	OTHER_MESSAGE,
	NR_STEPS,
};

struct model {
	bool on, all_masked, masked[2], connected, owed;
	unsigned int vector, message;
	uint64_t nr_messages;
};

static uint64_t all_messages(const struct guest_irq *irq)
{
	uint64_t nr = irq->nr_other;

	for (unsigned int i = 0; i < GUEST_MESSAGES; i++)
		nr += irq->nr_messages[i];
	return nr;
}

static void take_step(struct world *world, struct model *model, int fd, enum step step)
{
	switch (step) {
	case CALL:
		assert_int_equal(eventfd_write(fd, 1), 0);
		model->owed = true;
		break;
	case MASK:
	case UNMASK:
		model->masked[model->vector] = step == MASK;
		set_mask(world, model->vector, step == MASK);
		break;
	case MASK_ALL:
	case UNMASK_ALL:
		model->all_masked = step == MASK_ALL;
		set_control(world, model->on, model->all_masked);
		break;
	case OFF:
	case ON:
		model->on = step == ON;
		set_control(world, model->on, model->all_masked);
		break;
	case TO_0:
	case TO_1:
		model->vector = step == TO_1;
		model->connected = true;
		assert_int_equal(vmm_msix_connect(world->msix, fd, model->vector), 0);
		break;
	case TO_NONE:
		model->connected = false;
		assert_int_equal(vmm_msix_connect(world->msix, fd, VMM_MSIX_NO_VECTOR), 0);
		break;
	default:
		model->message++;
		write_table(world, model->vector * 16 + 8, 4, model->message);
		break;
	}
	guest_irq_run(&world->irq);
}

static void judge(struct world *world, struct model *model, int fd)
{
	bool may = model->connected && model->on && !model->all_masked &&
		   !model->masked[model->vector];
	uint64_t nr = all_messages(&world->irq);

	assert_int_equal(is_attached(world, fd), may);
	/* What is owed is delivered once, as soon as it may be, and otherwise kept. */
	assert_int_equal(nr - model->nr_messages, model->owed && may);
	if (may)
		model->owed = false;
	assert_int_equal(guest_has_count(fd), model->owed);
	assert_int_equal(pending(world, model->vector), model->owed && model->connected);
	model->nr_messages = nr;
}

static void no_call_is_lost_under_any_order_of_steps(void **state)
{
	enum {
		LENGTH = 5
	};
	unsigned int nr_orders = 1;
	int fd = new_source();

	(void)state;
	for (unsigned int i = 0; i < LENGTH; i++)
		nr_orders *= NR_STEPS;
	for (unsigned int order = 0; order < nr_orders; order += NR_STEPS * NR_STEPS * NR_STEPS) {
		struct model model = { .masked = { true, true } };
		struct world world;
		eventfd_t count;

		/* One world goes through all orders that begin alike; what it is left in does not matter. */
		open_world(&world, 2);
		for (unsigned int i = 0; i < NR_STEPS * NR_STEPS * NR_STEPS; i++) {
			unsigned int left = order + i;

			for (unsigned int k = 0; k < LENGTH; k++, left /= NR_STEPS) {
				take_step(&world, &model, fd, (enum step)(left % NR_STEPS));
				judge(&world, &model, fd);
			}
		}
		close_world(&world);
		(void)eventfd_read(fd, &count);
	}
	close(fd);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_capability_says_where_table_and_bits_are),
		cmocka_unit_test(options_that_make_no_sense_are_refused),
		cmocka_unit_test(table_entries_are_written_in_words_of_4_and_8),
		cmocka_unit_test(attached_is_what_may_interrupt),
		cmocka_unit_test(routes_are_there_for_used_vectors_only),
		cmocka_unit_test(without_routes_a_source_is_connected_to_none),
		cmocka_unit_test(what_the_controller_refuses_is_not_lost),
		cmocka_unit_test(a_message_changes_at_once_unless_masked),
		cmocka_unit_test(pending_is_any_source_of_the_vector),
		cmocka_unit_test(a_reset_masks_all_and_keeps_the_sources),
		cmocka_unit_test(an_interrupt_of_ours_is_recorded),
		cmocka_unit_test(no_call_is_lost_under_any_order_of_steps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
