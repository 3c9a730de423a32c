/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* The transport's registers and capabilities, as a driver in a guest sees them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#include <cmocka.h>

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include "vmm_guest.h"

/* -- what is where -- */

static void the_function_is_a_modern_virtio_device(void **state)
{
	struct vmm_guest guest;

	(void)state;
	guest_open(&guest);
	assert_int_equal(guest_config_read(&guest, PCI_VENDOR_ID, 4), 0x10411af4);
	assert_int_equal(guest_config_read(&guest, PCI_CLASS_REVISION, 4), 0x02000001);
	assert_int_equal(guest_config_read(&guest, PCI_SUBSYSTEM_VENDOR_ID, 2), 0x1af4);
	assert_true(guest_config_read(&guest, PCI_SUBSYSTEM_ID, 2) >= 0x40);
	assert_int_equal(guest_config_read(&guest, PCI_INTERRUPT_PIN, 1), 1);
	assert_int_equal(guest_config_read(&guest, PCI_INTERRUPT_LINE, 1), GUEST_PIN);
	guest_free(&guest);
}

static void capabilities_lie_in_the_bar_and_apart(void **state)
{
	struct vmm_guest guest;

	(void)state;
	guest_open(&guest);
	assert_int_equal(guest.common_len, 60);
	assert_int_equal(guest.isr_len, 1);
	assert_int_equal(guest.config_len, CONFIG_SIZE);
	assert_int_equal(guest.multiplier, 4);
	assert_true(guest.notify_len >= 4 * (NR_QUEUES - 1) + 2);
	assert_int_equal(guest.common % 4, 0);
	assert_int_equal(guest.notify % 2, 0);
	assert_int_equal(guest.config % 4, 0);
	assert_true(guest.common + guest.common_len <= guest.isr);
	assert_true(guest.isr + guest.isr_len <= guest.config);
	assert_true(guest.config + guest.config_len <= guest.notify);
	assert_true(guest.notify + guest.notify_len <= guest.table);
	assert_true(guest.table + vmm_msix_size(NR_QUEUES + 1) <= guest.bar_size);
	assert_int_equal(guest_config_read(&guest, guest.msix_cap + PCI_MSIX_FLAGS, 2), NR_QUEUES);
	assert_int_not_equal(guest.window_cap, 0);
	guest_free(&guest);
}

static void devices_that_make_no_sense_are_refused(void **state)
{
	static const uint16_t too_many[] = { 32769 };
	struct vmm_guest guest;
	struct vmm_virtio_device device;
	struct vmm_virtio_pci_options options = { .slot = 1 };
	struct vmm_virtio_pci *pci = NULL;
	unsigned int nr_fds;

	(void)state;
	guest_open(&guest);
	device = guest.device.device;
	options.host = guest.host;
	options.irq = &guest.irq.irq;
	nr_fds = guest_count_fds();
	/* The slot is taken. */
	assert_int_equal(vmm_virtio_pci_new(&pci, &device, &options), -EEXIST);
	options.slot = 2;
	/* Not a multiple of its size. */
	options.bar_base = 4096;
	assert_int_equal(vmm_virtio_pci_new(&pci, &device, &options), -EINVAL);
	options.bar_base = 0;
	device.config_size = 4097;
	assert_int_equal(vmm_virtio_pci_new(&pci, &device, &options), -EINVAL);
	device.config_size = 4096;
	device.nr_queues = 0;
	assert_int_equal(vmm_virtio_pci_new(&pci, &device, &options), -EINVAL);
	device.nr_queues = VMM_VIRTIO_MAX_QUEUES + 1;
	assert_int_equal(vmm_virtio_pci_new(&pci, &device, &options), -EINVAL);
	device.nr_queues = 1;
	device.max_num = too_many;
	assert_int_equal(vmm_virtio_pci_new(&pci, &device, &options), -EINVAL);
	assert_null(pci);
	assert_int_equal(guest_count_fds(), nr_fds);
	/* With the least there can be, and without the rest of the options. */
	device.max_num = guest_max_num;
	device.config_size = 0;
	assert_int_equal(vmm_virtio_pci_new(&pci, &device, &options), 0);
	guest.slot = 2;
	assert_int_equal(guest_find_cap(&guest, PCI_CAP_ID_VNDR, 4), 0);
	assert_int_not_equal(guest_find_cap(&guest, PCI_CAP_ID_VNDR, 3), 0);
	vmm_virtio_pci_free(pci);
	vmm_virtio_pci_free(NULL);
	guest_free(&guest);
}

static void as_many_queues_as_there_may_be_fit(void **state)
{
	static uint16_t nums[VMM_VIRTIO_MAX_QUEUES];
	struct vmm_guest guest;
	struct vmm_virtio_device device;
	struct vmm_virtio_pci_options options = { .slot = 2, .bar_base = 0xc0000000 };
	struct vmm_virtio_pci *pci;
	struct rlimit limit;
	unsigned int nr_fds = guest_count_fds();

	(void)state;
	/* Two eventfds for each, and some of ours. */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	if (limit.rlim_cur < 2 * VMM_VIRTIO_MAX_QUEUES + 64)
		skip();
	for (unsigned int i = 0; i < VMM_VIRTIO_MAX_QUEUES; i++)
		nums[i] = 256;
	guest_open(&guest);
	device = guest.device.device;
	device.nr_queues = VMM_VIRTIO_MAX_QUEUES;
	device.max_num = nums;
	options.host = guest.host;
	options.irq = &guest.irq.irq;
	assert_int_equal(vmm_virtio_pci_new(&pci, &device, &options), 0);
	guest.slot = 2;
	assert_int_equal(guest_config_read(&guest, guest_find_cap(&guest, 0x11, 0) + 2, 2),
			 VMM_VIRTIO_MAX_QUEUES);
	guest_move_bar(&guest, 0xc0000000);
	assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_NUMQ), VMM_VIRTIO_MAX_QUEUES);
	guest_set(&guest, VIRTIO_PCI_COMMON_Q_SELECT, VMM_VIRTIO_MAX_QUEUES - 1);
	guest_set(&guest, VIRTIO_PCI_COMMON_Q_MSIX, VMM_VIRTIO_MAX_QUEUES);
	assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_Q_MSIX), VMM_VIRTIO_MAX_QUEUES);
	vmm_virtio_pci_free(pci);
	/* With too few it says so, and closes those it had. */
	limit.rlim_cur = nr_fds + 20;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	pci = NULL;
	assert_int_equal(vmm_virtio_pci_new(&pci, &device, &options), -EMFILE);
	assert_null(pci);
	limit.rlim_cur = limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	guest_free(&guest);
}

/* -- widths -- */

static void common_reads_show_the_same_at_every_size(void **state)
{
	struct vmm_guest guest;
	uint8_t bytes[64];

	(void)state;
	guest_open(&guest);
	guest_start(&guest);
	guest_set(&guest, VIRTIO_PCI_COMMON_Q_SELECT, 1);
	for (unsigned int i = 0; i < 64; i++)
		bytes[i] = (uint8_t)guest_read(&guest, guest.bar + i, 1);
	for (unsigned int i = 0; i < 64; i++) {
		for (unsigned int size = 1; size <= 8 && i + size <= 64; size++) {
			uint64_t value = guest_read(&guest, guest.bar + i, size);

			assert_memory_equal(&value, bytes + i, size);
		}
	}
	assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_Q_NOFF), 1);
	assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_NUMQ), NR_QUEUES);
	assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_Q_NDATA), 0);
	assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_Q_RESET), 0);
	/* Behind it there is nothing, up to the next one. */
	assert_int_equal(guest_read(&guest, guest.bar + 60, 8), 0);
	assert_int_equal(guest_read(&guest, guest.bar + 0xffc, 4), 0);
	guest_write(&guest, guest.bar + 60, 4, 0xffffffff);
	guest_write(&guest, guest.bar + guest.isr, 4, 0xffffffff);
	assert_int_equal(guest_read(&guest, guest.bar + guest.isr + 4, 8), 0);
	guest_free(&guest);
}

/* Registers that may be written when queues may be, and what bits of them stay. */
static const struct {
	unsigned int offset, size;
	uint32_t value;
} writable[] = {
	{ VIRTIO_PCI_COMMON_DFSELECT, 4, 0x01020304 },
	{ VIRTIO_PCI_COMMON_GFSELECT, 4, 0x05060708 },
	{ VIRTIO_PCI_COMMON_MSIX, 2, 3 },
	{ VIRTIO_PCI_COMMON_Q_SELECT, 2, 2 },
	{ VIRTIO_PCI_COMMON_Q_SIZE, 2, 32 },
	{ VIRTIO_PCI_COMMON_Q_MSIX, 2, 2 },
	{ VIRTIO_PCI_COMMON_Q_DESCLO, 4, 0x11223340 },
	{ VIRTIO_PCI_COMMON_Q_DESCHI, 4, 0x51525354 },
	{ VIRTIO_PCI_COMMON_Q_AVAILLO, 4, 0x21223342 },
	{ VIRTIO_PCI_COMMON_Q_AVAILHI, 4, 0x61525354 },
	{ VIRTIO_PCI_COMMON_Q_USEDLO, 4, 0x31223344 },
	{ VIRTIO_PCI_COMMON_Q_USEDHI, 4, 0x71525354 },
};

static void a_register_is_written_at_its_own_width(void **state)
{
	struct vmm_guest guest;

	(void)state;
	guest_open(&guest);
	assert_int_equal(guest_negotiate(&guest, VERSION_1), 0xb);
	for (unsigned int i = 0; i < sizeof(writable) / sizeof(writable[0]); i++) {
		unsigned int offset = writable[i].offset, size = writable[i].size;
		uint32_t old = guest_get(&guest, offset);

		/* A part of it is not enough. */
		for (unsigned int part = 1; part < size; part *= 2) {
			for (unsigned int at = 0; at < size; at += part)
				guest_write(&guest, guest.bar + offset + at, part,
					    writable[i].value >> (8 * at));
		}
		assert_int_equal(guest_get(&guest, offset), old);
		guest_set(&guest, offset, writable[i].value);
		assert_int_equal(guest_get(&guest, offset), writable[i].value);
	}
	assert_true(guest.virtio->queues[2].desc == 0x5152535411223340);
	assert_true(guest.virtio->queues[2].driver == 0x6152535421223342);
	assert_true(guest.virtio->queues[2].device == 0x7152535431223344);
	/* 64 bits at once are the two halves. */
	guest_write(&guest, guest.bar + VIRTIO_PCI_COMMON_Q_AVAILLO, 8, 0x1234567890);
	assert_true(guest.virtio->queues[2].driver == 0x1234567890);
	/* Misaligned, across two: neither is written whole. */
	guest_write(&guest, guest.bar + VIRTIO_PCI_COMMON_Q_DESCLO + 2, 4, 0);
	assert_true(guest.virtio->queues[2].desc == 0x5152535411223340);
	guest_free(&guest);
}

static void read_only_registers_stay(void **state)
{
	static const unsigned int read_only[] = { VIRTIO_PCI_COMMON_DF,
						  VIRTIO_PCI_COMMON_NUMQ,
						  VIRTIO_PCI_COMMON_CFGGENERATION,
						  VIRTIO_PCI_COMMON_Q_NOFF,
						  VIRTIO_PCI_COMMON_Q_NDATA,
						  VIRTIO_PCI_COMMON_Q_RESET };
	struct vmm_guest guest;

	(void)state;
	guest_open(&guest);
	guest_start(&guest);
	for (unsigned int i = 0; i < 6; i++) {
		uint32_t old = guest_get(&guest, read_only[i]);

		guest_set(&guest, read_only[i], ~old);
		assert_int_equal(guest_get(&guest, read_only[i]), old);
	}
	assert_int_equal(guest_status(&guest), 0xf);
	guest_free(&guest);
}

/* -- features -- */

static uint64_t offered(struct vmm_guest *guest)
{
	uint64_t features;

	guest_set(guest, VIRTIO_PCI_COMMON_DFSELECT, 0);
	features = guest_get(guest, VIRTIO_PCI_COMMON_DF);
	guest_set(guest, VIRTIO_PCI_COMMON_DFSELECT, 1);
	return features | (uint64_t)guest_get(guest, VIRTIO_PCI_COMMON_DF) << 32;
}

static void features_are_the_devices_but_for_the_transports(void **state)
{
	struct vmm_guest guest;

	(void)state;
	guest_open(&guest);
	guest.device.features = 0;
	assert_true(offered(&guest) == VERSION_1);
	guest.device.features = UINT64_MAX;
	/* Without bits 33 and 37 to 41. */
	assert_true(offered(&guest) == 0xfffffc1dffffffff);
	for (uint32_t select = 2; select; select <<= 1) {
		guest_set(&guest, VIRTIO_PCI_COMMON_DFSELECT, select);
		assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_DF), 0);
		guest_set(&guest, VIRTIO_PCI_COMMON_GFSELECT, select);
		guest_set(&guest, VIRTIO_PCI_COMMON_GF, 0xffffffff);
		assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_GF), 0);
	}
	assert_true(guest.virtio->features == 0);
	guest_free(&guest);
}

static void features_are_judged_at_features_ok(void **state)
{
	struct vmm_guest guest;

	(void)state;
	guest_open(&guest);
	assert_int_equal(guest_negotiate(&guest, 0), 0x3);
	assert_int_equal(guest_negotiate(&guest, VERSION_1 | 1), 0x3);
	assert_int_equal(guest_negotiate(&guest, VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM),
			 0x3);
	guest.device.refuse = true;
	assert_int_equal(guest_negotiate(&guest, VERSION_1 | 0x10), 0x3);
	assert_true(guest.device.accepted == (VERSION_1 | 0x10));
	/* The driver may try again, with less. */
	guest.device.refuse = false;
	guest_set(&guest, VIRTIO_PCI_COMMON_GFSELECT, 0);
	guest_set(&guest, VIRTIO_PCI_COMMON_GF, 0);
	guest_set_status(&guest, 0xb);
	assert_int_equal(guest_status(&guest), 0xb);
	assert_true(guest.virtio->features == VERSION_1);
	/* From then on they are final. */
	guest_set(&guest, VIRTIO_PCI_COMMON_GF, 0x10);
	assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_GF), 0);
	assert_true(guest.virtio->features == VERSION_1);
	guest_free(&guest);
}

/* -- queues -- */

static void there_is_nothing_beyond_the_last_queue(void **state)
{
	static const uint16_t beyond[] = { NR_QUEUES, NR_QUEUES + 1, 0x7fff, 0xffff };
	struct vmm_guest guest;

	(void)state;
	guest_open(&guest);
	guest_negotiate(&guest, VERSION_1);
	for (unsigned int i = 0; i < 4; i++) {
		guest_enable_queue(&guest, beyond[i], 1);
		guest_set(&guest, VIRTIO_PCI_COMMON_Q_SIZE, 16);
		assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_Q_SELECT), beyond[i]);
		assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_Q_SIZE), 0);
		assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_Q_ENABLE), 0);
		assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_Q_MSIX), VMM_MSIX_NO_VECTOR);
		assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_Q_DESCLO), 0);
		assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_Q_USEDHI), 0);
		guest_kick(&guest, beyond[i]);
	}
	assert_int_equal(guest_irq_routes(&guest.irq), 0);
	assert_int_equal(guest.nr_records[VMM_AT_KICK], 0);
	guest_free(&guest);
}

static void sizes_that_a_ring_cannot_have_are_refused(void **state)
{
	struct vmm_guest guest;

	(void)state;
	guest_open(&guest);
	for (unsigned int packed = 0; packed < 2; packed++) {
		assert_int_equal(guest_negotiate(&guest, VERSION_1 | (packed ? PACKED : 0)), 0xb);
		guest_set(&guest, VIRTIO_PCI_COMMON_Q_SELECT, 1);
		assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_Q_SIZE), 1024);
		for (unsigned int num = 0; num < 65536; num += num < 1100 ? 1 : 977) {
			bool is_good = num && num <= 1024 && (packed || !(num & (num - 1)));

			guest_set(&guest, VIRTIO_PCI_COMMON_Q_SIZE, 8);
			guest_set(&guest, VIRTIO_PCI_COMMON_Q_SIZE, num);
			assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_Q_SIZE),
					 is_good ? num : 8);
		}
	}
	guest_free(&guest);
}

static void queues_cannot_be_written_before_features_ok(void **state)
{
	struct vmm_guest guest;

	(void)state;
	guest_open(&guest);
	for (unsigned int status = 0; status <= 3; status = 2 * status + 1) {
		if (status)
			guest_set_status(&guest, (uint8_t)status);
		guest_enable_queue(&guest, 0, VMM_MSIX_NO_VECTOR);
		guest_set(&guest, VIRTIO_PCI_COMMON_Q_SIZE, 16);
		assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_Q_SIZE), 256);
		assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_Q_DESCLO), 0);
		assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_Q_ENABLE), 0);
	}
	guest_free(&guest);
}

static void registers_of_a_live_queue_are_frozen(void **state)
{
	static const unsigned int frozen[] = {
		VIRTIO_PCI_COMMON_Q_SIZE,    VIRTIO_PCI_COMMON_Q_ENABLE,
		VIRTIO_PCI_COMMON_Q_DESCLO,  VIRTIO_PCI_COMMON_Q_DESCHI,
		VIRTIO_PCI_COMMON_Q_AVAILLO, VIRTIO_PCI_COMMON_Q_AVAILHI,
		VIRTIO_PCI_COMMON_Q_USEDLO,  VIRTIO_PCI_COMMON_Q_USEDHI,
	};
	struct vmm_guest guest;

	(void)state;
	guest_open(&guest);
	guest_negotiate(&guest, VERSION_1);
	guest_enable_queue(&guest, 1, 2);
	assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_Q_ENABLE), 1);
	for (unsigned int i = 0; i < 8; i++) {
		uint32_t old = guest_get(&guest, frozen[i]);

		guest_set(&guest, frozen[i], 0);
		guest_set(&guest, frozen[i], 0x40);
		assert_int_equal(guest_get(&guest, frozen[i]), old);
	}
	/* But for its vector. */
	guest_set(&guest, VIRTIO_PCI_COMMON_Q_MSIX, 3);
	assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_Q_MSIX), 3);
	guest_set_status(&guest, 0);
	guest_set(&guest, VIRTIO_PCI_COMMON_Q_SELECT, 1);
	assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_Q_ENABLE), 0);
	assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_Q_DESCLO), 0);
	guest_free(&guest);
}

static void only_1_enables_a_queue(void **state)
{
	struct vmm_guest guest;

	(void)state;
	guest_open(&guest);
	guest_negotiate(&guest, VERSION_1);
	guest_set(&guest, VIRTIO_PCI_COMMON_Q_ENABLE, 0);
	guest_set(&guest, VIRTIO_PCI_COMMON_Q_ENABLE, 2);
	guest_set(&guest, VIRTIO_PCI_COMMON_Q_ENABLE, 0x101);
	assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_Q_ENABLE), 0);
	guest_set(&guest, VIRTIO_PCI_COMMON_Q_ENABLE, 1);
	assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_Q_ENABLE), 1);
	assert_int_equal(guest.device.nr_enabled, 0);
	guest_free(&guest);
}

static void a_queue_enabled_late_is_told_of(void **state)
{
	struct vmm_guest guest;

	(void)state;
	guest_open(&guest);
	guest_negotiate(&guest, VERSION_1);
	guest_enable_queue(&guest, 0, VMM_MSIX_NO_VECTOR);
	guest_set_status(&guest, 0xf);
	assert_int_equal(guest.device.nr_enabled, 0);
	guest_enable_queue(&guest, 2, VMM_MSIX_NO_VECTOR);
	assert_int_equal(guest.device.nr_enabled, 1);
	assert_int_equal(guest.device.last_enabled, 2);
	guest_free(&guest);
}

static void areas_that_cannot_be_need_a_reset(void **state)
{
	static const struct {
		bool packed;
		uint32_t desc, driver, device, high;
		bool is_good;
	} cases[] = {
		{ false, 16, 2, 4, 0, true },
		{ false, 8, 2, 4, 0, false },
		{ false, 16, 1, 4, 0, false },
		{ false, 16, 2, 2, 0, false },
		{ true, 16, 4, 4, 0, true },
		{ true, 8, 4, 4, 0, false },
		{ true, 16, 2, 4, 0, false },
		{ true, 16, 4, 2, 0, false },
		{ false, 16, 16, 16, 0xffffffff, true },
		{ false, 0xfffffff0, 16, 16, 0xffffffff, false },
		{ false, 16, 0xfffffff0, 16, 0xffffffff, false },
		{ false, 16, 16, 0xfffffff0, 0xffffffff, false },
		{ true, 16, 0xfffffff8, 0xfffffff8, 0xffffffff, true },
	};
	struct vmm_guest guest;

	(void)state;
	guest_open(&guest);
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		guest_negotiate(&guest, VERSION_1 | (cases[i].packed ? PACKED : 0));
		guest_set(&guest, VIRTIO_PCI_COMMON_Q_SIZE, 16);
		guest_set(&guest, VIRTIO_PCI_COMMON_Q_DESCLO, cases[i].desc);
		guest_set(&guest, VIRTIO_PCI_COMMON_Q_AVAILLO, cases[i].driver);
		guest_set(&guest, VIRTIO_PCI_COMMON_Q_USEDLO, cases[i].device);
		guest_set(&guest, VIRTIO_PCI_COMMON_Q_DESCHI, cases[i].high);
		guest_set(&guest, VIRTIO_PCI_COMMON_Q_AVAILHI, cases[i].high);
		guest_set(&guest, VIRTIO_PCI_COMMON_Q_USEDHI, cases[i].high);
		guest_set(&guest, VIRTIO_PCI_COMMON_Q_ENABLE, 1);
		assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_Q_ENABLE), cases[i].is_good);
		assert_int_equal(guest_status(&guest), cases[i].is_good ? 0xb : 0x4b);
	}
	guest_free(&guest);
}

static void a_queue_that_is_not_offered_cannot_be_enabled(void **state)
{
	static const uint16_t nums[] = { 256, 0 };
	struct vmm_guest guest;

	(void)state;
	guest_new(&guest, 2, nums, 0);
	guest_negotiate(&guest, VERSION_1);
	guest_enable_queue(&guest, 1, 1);
	assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_Q_SIZE), 0);
	assert_int_equal(guest_get(&guest, VIRTIO_PCI_COMMON_Q_ENABLE), 0);
	guest_free(&guest);
}

/* -- device configuration -- */

static void device_configuration_is_read_at_any_size_and_ends(void **state)
{
	struct vmm_guest guest;

	(void)state;
	guest_open(&guest);
	for (unsigned int i = 0; i < CONFIG_SIZE + 8; i++) {
		for (unsigned int size = 1; size <= 8; size++) {
			uint64_t value = guest_read(&guest, guest.bar + guest.config + i, size);
			uint8_t bytes[8];

			memcpy(bytes, &value, 8);
			for (unsigned int k = 0; k < size; k++)
				assert_int_equal(bytes[k], i + k < CONFIG_SIZE ? 0xa0 + i + k : 0);
		}
	}
	guest_free(&guest);
}

static void device_configuration_is_written_as_far_as_it_goes(void **state)
{
	struct vmm_guest guest;

	(void)state;
	guest_open(&guest);
	guest_write(&guest, guest.bar + guest.config + 8, 8, 0x0807060504030201);
	assert_int_equal(guest.device.nr_config_write, 1);
	assert_int_equal(guest.device.last_offset, 8);
	assert_int_equal(guest.device.last_size, 5);
	assert_int_equal(guest.device.config[12], 5);
	guest_write(&guest, guest.bar + guest.config + 13, 1, 1);
	guest_write(&guest, guest.bar + guest.config + 16, 8, 1);
	guest_write(&guest, guest.bar + guest.config + 0xff8, 8, 1);
	assert_int_equal(guest.device.nr_config_write, 1);
	guest_write(&guest, guest.bar + guest.config + 2, 2, 0xbbcc);
	assert_int_equal(guest.device.last_size, 2);
	assert_int_equal(guest.device.config[3], 0xbb);
	guest_free(&guest);
}

/* -- the window -- */

static void set_window(struct vmm_guest *guest, uint8_t bar, uint32_t offset, uint32_t length)
{
	guest_config_write(guest, guest->window_cap + VIRTIO_PCI_CAP_BAR, 1, bar);
	guest_config_write(guest, guest->window_cap + VIRTIO_PCI_CAP_OFFSET, 4, offset);
	guest_config_write(guest, guest->window_cap + VIRTIO_PCI_CAP_LENGTH, 4, length);
}

static void the_window_reaches_every_register(void **state)
{
	struct vmm_guest guest;
	unsigned int data;

	(void)state;
	guest_open(&guest);
	data = guest.window_cap + sizeof(struct virtio_pci_cap);
	guest_start(&guest);
	for (unsigned int size = 1; size <= 4; size *= 2) {
		for (uint32_t offset = 0; offset < guest.bar_size; offset += size) {
			uint32_t value;

			set_window(&guest, 0, offset, size);
			value = guest_config_read(&guest, data, size);
			assert_int_equal(value, guest_read(&guest, guest.bar + offset, size));
			if (offset >= 64 && offset % 256 == 0)
				offset += 256 - 2 * size;
		}
	}
	/* With the BAR off all the same: this is what it is for. */
	guest_command(&guest, 0, PCI_COMMAND_MEMORY);
	set_window(&guest, 0, guest.common + VIRTIO_PCI_COMMON_Q_SELECT, 2);
	guest_config_write(&guest, data, 4, 0xffff0002);
	assert_int_equal(guest_config_read(&guest, data, 4), 0xffff0002);
	set_window(&guest, 0, guest.common + VIRTIO_PCI_COMMON_Q_NOFF, 2);
	assert_int_equal(guest_config_read(&guest, data, 2), 2);
	set_window(&guest, 0, guest.notify + 4, 2);
	guest_config_write(&guest, data, 2, 1);
	assert_true(guest_has_count(guest.virtio->queues[1].kick_fd));
	set_window(&guest, 0, guest.common + VIRTIO_PCI_COMMON_STATUS, 1);
	guest_config_write(&guest, data, 1, 0);
	assert_int_equal(guest.virtio->status, 0);
	guest_free(&guest);
}

static void a_window_to_nowhere_is_memory(void **state)
{
	static const struct {
		uint8_t bar;
		uint32_t offset, length;
	} cases[] = {
		{ 1, 20, 1 },	      { 5, 20, 1 },	    { 255, 20, 1 },	   { 0, 20, 0 },
		{ 0, 20, 3 },	      { 0, 16, 8 },	    { 0, 21, 2 },	   { 0, 18, 4 },
		{ 0, 0xfffffffc, 4 }, { 0, 0xffffffff, 1 }, { 0, 20, 0xffffffff },
	};
	struct vmm_guest guest;
	unsigned int data;

	(void)state;
	guest_open(&guest);
	data = guest.window_cap + sizeof(struct virtio_pci_cap);
	guest_start(&guest);
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		set_window(&guest, cases[i].bar, cases[i].offset, cases[i].length);
		guest_config_write(&guest, data, 4, 0);
		assert_int_equal(guest_config_read(&guest, data, 4), 0);
		guest_config_write(&guest, data, 4, 0x5a5a5a5a);
		assert_int_equal(guest_config_read(&guest, data, 4), 0x5a5a5a5a);
	}
	set_window(&guest, 0, (uint32_t)guest.bar_size, 1);
	guest_config_write(&guest, data, 4, 0x5a5a5a5a);
	assert_int_equal(guest_config_read(&guest, data, 4), 0x5a5a5a5a);
	assert_int_equal(guest_status(&guest), 0xf);
	guest_free(&guest);
}

static void registers_are_recorded_by_name(void **state)
{
	struct vmm_guest guest;

	(void)state;
	guest_open(&guest);
	guest_set(&guest, VIRTIO_PCI_COMMON_Q_SELECT, 2);
	assert_string_equal(guest.last[VMM_AT_REGISTER].what, "queue_select");
	assert_int_equal(guest.last[VMM_AT_REGISTER].a, 2);
	guest_status(&guest);
	assert_string_equal(guest.last[VMM_AT_REGISTER].what, "device_status");
	assert_string_equal(guest.last[VMM_AT_REGISTER].device, "net0");
	assert_int_equal(guest.last[VMM_AT_REGISTER].b, 2);
	guest_kick(&guest, 0);
	assert_string_equal(guest.last[VMM_AT_REGISTER].what, "notify");
	guest_read(&guest, guest.bar + guest.isr, 1);
	assert_string_equal(guest.last[VMM_AT_REGISTER].what, "isr");
	guest_read(&guest, guest.bar + guest.config, 1);
	assert_string_equal(guest.last[VMM_AT_REGISTER].what, "device_config");
	guest_read(&guest, guest.bar + guest.table, 4);
	assert_string_equal(guest.last[VMM_AT_REGISTER].what, "msix");
	guest_free(&guest);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_function_is_a_modern_virtio_device),
		cmocka_unit_test(capabilities_lie_in_the_bar_and_apart),
		cmocka_unit_test(devices_that_make_no_sense_are_refused),
		cmocka_unit_test(as_many_queues_as_there_may_be_fit),
		cmocka_unit_test(common_reads_show_the_same_at_every_size),
		cmocka_unit_test(a_register_is_written_at_its_own_width),
		cmocka_unit_test(read_only_registers_stay),
		cmocka_unit_test(features_are_the_devices_but_for_the_transports),
		cmocka_unit_test(features_are_judged_at_features_ok),
		cmocka_unit_test(there_is_nothing_beyond_the_last_queue),
		cmocka_unit_test(sizes_that_a_ring_cannot_have_are_refused),
		cmocka_unit_test(queues_cannot_be_written_before_features_ok),
		cmocka_unit_test(registers_of_a_live_queue_are_frozen),
		cmocka_unit_test(only_1_enables_a_queue),
		cmocka_unit_test(a_queue_enabled_late_is_told_of),
		cmocka_unit_test(areas_that_cannot_be_need_a_reset),
		cmocka_unit_test(a_queue_that_is_not_offered_cannot_be_enabled),
		cmocka_unit_test(device_configuration_is_read_at_any_size_and_ends),
		cmocka_unit_test(device_configuration_is_written_as_far_as_it_goes),
		cmocka_unit_test(the_window_reaches_every_register),
		cmocka_unit_test(a_window_to_nowhere_is_memory),
		cmocka_unit_test(registers_are_recorded_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
