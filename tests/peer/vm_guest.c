// SPDX-License-Identifier: MIT
/*
 * A guest for vhu vm, of some hundred instructions, that runs where Linux does not: it talks by the
 * serial port, and does what the first word of its command line says. It uses nothing of this project,
 * but the specifications alone (virtio 1.2; PCI 3.0).
 */

#include <stdint.h>

enum {
	COM1 = 0x3f8,
	PM1A_CNT = 0x604,
	RESET = 0x60c,
	PCI_ADDRESS = 0xcf8,
	PCI_DATA = 0xcfc,
	VIRTIO_VENDOR = 0x1af4,
	VECTOR = 0x41,
	TX = 1, /* a network device's queue */
	RING = 8,
};

/* virtio 1.2, 4.1.4.3 */
struct common {
	uint32_t device_feature_select, device_feature, driver_feature_select, driver_feature;
	uint16_t msix_config, num_queues;
	uint8_t device_status, config_generation;
	uint16_t queue_select, queue_size, queue_msix_vector, queue_enable, queue_notify_off;
	uint64_t queue_desc, queue_driver, queue_device;
};

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct avail {
	uint16_t flags, idx, ring[RING];
};

struct used {
	uint16_t flags, idx;
	struct {
		uint32_t id, len;
	} ring[RING];
};

extern const char interrupt_entry[];
volatile uint32_t interrupts;

static uint64_t idt[256][2];
static struct desc descs[RING] __attribute__((aligned(16)));
static volatile struct avail avail;
static volatile struct used used __attribute__((aligned(4)));
static uint8_t frame[12 + 60];

static void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static void out16(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static void out32(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static uint8_t in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static uint32_t in32(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static void put(char c)
{
	while (!(in8(COM1 + 5) & 0x20))
		;
	out8(COM1, (uint8_t)c);
}

static void say(const char *text)
{
	while (*text)
		put(*text++);
	put('\n');
}

static void power_off(void)
{
	out16(PM1A_CNT, 5 << 10 | 1 << 13);
	for (;;)
		__asm__ volatile("hlt");
}

/* ---- What it can do ---- */

/* Sends back what it gets, up to a q. */
static void echo(void)
{
	say("ready");
	for (;;) {
		char c;

		while (!(in8(COM1 + 5) & 1))
			;
		c = (char)in8(COM1);
		put(c);
		if (c == 'q')
			power_off();
	}
}

/* More than any queue holds. */
static void flood(void)
{
	for (unsigned int i = 0; i < 20000; i++)
		put((char)('a' + i % 26));
	power_off();
}

/* Fills its own receive queue, of which it takes nothing. */
static void deaf(void)
{
	out8(COM1 + 4, 0x10);
	for (unsigned int i = 0; i < 5000; i++)
		out8(COM1, 'd');
	out8(COM1 + 4, 0);
	say("deaf");
	for (;;)
		__asm__ volatile("hlt");
}

static void crash(void)
{
	static const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) none = { 0, 0 };

	__asm__ volatile("lidt %0; ud2" : : "m"(none));
}

/* ---- A virtio device ---- */

static uint32_t config_read(unsigned int slot, unsigned int offset)
{
	out32(PCI_ADDRESS, 0x80000000u | slot << 11 | (offset & 0xfc));
	return in32(PCI_DATA) >> (offset & 3) * 8;
}

static void config_write(unsigned int slot, unsigned int offset, uint32_t value)
{
	out32(PCI_ADDRESS, 0x80000000u | slot << 11 | (offset & 0xfc));
	out32(PCI_DATA, value);
}

static uint64_t bar_base(unsigned int slot, unsigned int bar)
{
	uint32_t low = config_read(slot, 0x10 + 4 * bar);

	return (low & ~15u) |
	       ((low & 6) == 4 ? (uint64_t)config_read(slot, 0x14 + 4 * bar) << 32 : 0);
}

struct found {
	unsigned int slot;
	volatile struct common *common;
	volatile uint32_t *table; /* of MSI-X */
	uint64_t notify;
	uint32_t multiplier;
	unsigned int msix; /* its capability */
};

static int find(struct found *found)
{
	for (found->slot = 1; found->slot < 32; found->slot++)
		if ((config_read(found->slot, 0) & 0xffff) == VIRTIO_VENDOR)
			break;
	if (found->slot == 32)
		return 0;
	config_write(found->slot, 4, 6); /* answers in memory, may be a master */
	for (unsigned int at = config_read(found->slot, 0x34) & 0xff; at;
	     at = config_read(found->slot, at + 1) & 0xff) {
		uint8_t id = (uint8_t)config_read(found->slot, at);
		uint8_t type = (uint8_t)config_read(found->slot, at + 3);
		uint64_t place;

		if (id == 0x11) {
			uint32_t table = config_read(found->slot, at + 4);

			found->msix = at;
			found->table = (volatile uint32_t *)(bar_base(found->slot, table & 7) +
							     (table & ~7u));
		}
		if (id != 9 || (type != 1 && type != 2))
			continue;
		place = bar_base(found->slot, config_read(found->slot, at + 4) & 7) +
			config_read(found->slot, at + 8);
		if (type == 1)
			found->common = (volatile struct common *)place;
		else
			found->notify = place,
			found->multiplier = config_read(found->slot, at + 16);
	}
	return found->common && found->notify && found->table;
}

static void take_interrupts(void)
{
	const uint64_t entry = (uint64_t)interrupt_entry;
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) idtr = { sizeof(idt) - 1, (uint64_t)idt };

	idt[VECTOR][0] = (entry & 0xffff) | 0x10 << 16 | UINT64_C(0x8e00) << 32 |
			 (entry >> 16 & 0xffff) << 48;
	idt[VECTOR][1] = entry >> 32;
	__asm__ volatile("lidt %0" : : "m"(idtr));
	*(volatile uint32_t *)0xfee000f0 = 0x1ff; /* the local APIC is on */
}

static void set_vector(struct found *found, unsigned int vector)
{
	volatile uint32_t *entry = found->table + 4 * vector;

	entry[0] = 0xfee00000;
	entry[1] = 0;
	entry[2] = VECTOR;
	entry[3] = 0;
	config_write(found->slot, found->msix, config_read(found->slot, found->msix) | 0x80000000u);
}

static int negotiate(volatile struct common *common)
{
	common->device_status = 0;
	while (common->device_status)
		;
	common->device_status = 1;
	common->device_status = 3;
	common->device_feature_select = 1;
	if (!(common->device_feature & 1)) /* VERSION_1 */
		return 0;
	common->driver_feature_select = 0;
	common->driver_feature = 0;
	common->driver_feature_select = 1;
	common->driver_feature = 1;
	common->device_status = 11;
	return common->device_status & 8;
}

static int set_queue(volatile struct common *common, unsigned int queue)
{
	common->queue_select = (uint16_t)queue;
	if (common->queue_size < RING)
		return 0;
	common->queue_size = RING;
	common->queue_msix_vector = 1;
	common->queue_desc = (uint64_t)descs;
	common->queue_driver = (uint64_t)&avail;
	common->queue_device = (uint64_t)&used;
	common->queue_enable = 1;
	return common->queue_msix_vector == 1;
}

/* Sleeps until the device has used as many buffers; interrupts must have woken it. */
static void wait_used(uint16_t nr)
{
	for (;;) {
		__asm__ volatile("cli");
		if (used.idx == nr && interrupts)
			break;
		__asm__ volatile("sti; hlt");
	}
	__asm__ volatile("sti");
}

/* Sends nr frames, and takes an interrupt for each. */
static void net(unsigned int nr)
{
	struct found found = { 0 };
	volatile uint16_t *doorbell;

	if (!find(&found)) {
		say("no device");
		power_off();
	}
	say("found");
	take_interrupts();
	set_vector(&found, 1);
	if (!negotiate(found.common) || !set_queue(found.common, TX)) {
		say("refused");
		power_off();
	}
	doorbell = (volatile uint16_t *)(found.notify +
					 found.common->queue_notify_off * found.multiplier);
	found.common->device_status = 15;
	say("driver ok");
	for (unsigned int i = 0; i < 12; i++)
		frame[12 + i] = i < 6 ? 0xff : (uint8_t)(i == 6 ? 0x52 : i);
	frame[12 + 12] = 0x88;
	frame[12 + 13] = 0xb5; /* for experiments */
	for (unsigned int i = 1; i <= nr; i++) {
		descs[0] = (struct desc){ .addr = (uint64_t)frame, .len = sizeof(frame) };
		avail.ring[(i - 1) % RING] = 0;
		/* Before it is there: a device that polls does not wait for the doorbell. */
		interrupts = 0;
		__asm__ volatile("mfence" : : : "memory");
		avail.idx = (uint16_t)i;
		__asm__ volatile("mfence" : : : "memory");
		*doorbell = TX;
		wait_used((uint16_t)i);
	}
	say("interrupted");
	if (nr > 1)
		power_off();
	found.common->device_status = 0;
	while (found.common->device_status)
		;
	say("reset");
	power_off();
}

void guest_main(const char *words);

void guest_main(const char *words)
{
	switch (words[0]) {
	case 'e':
		echo();
		break;
	case 'f':
		flood();
		break;
	case 'c':
		crash();
		break;
	case 'd':
		deaf();
		break;
	case 'r':
		say("goes");
		out8(RESET, 6);
		break;
	case 'n':
		net(1);
		break;
	case 'm':
		net(200);
		break;
	default:
		say("hello");
		power_off();
	}
}
