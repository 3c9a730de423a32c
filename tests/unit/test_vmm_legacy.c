// SPDX-License-Identifier: MIT
/* tier: fast */
/* The serial port, power and reset, the clock: registers as a guest sees them, without KVM. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <vmm/platform.h>
#include <vmm/pm.h>
#include <vmm/rtc.h>
#include <vmm/serial.h>

enum {
	DATA = VMM_PORT_COM1,
	IER,
	IIR,
	LCR,
	MCR,
	LSR,
	MSR,
	SCR,
	PINS = 32,
	RANDOM_STEPS = 1000000,
};

struct world {
	struct vmm_irq irq;
	struct vmm_bus *port;
	struct vmm_serial *serial;
	struct vmm_pm *pm;
	struct vmm_rtc *rtc;
	bool level[PINS];
	unsigned int edges[PINS]; /* low to high */
	unsigned int nr_sent, nr_room, nr_off, nr_reset;
};

static int set_line(void *arg, unsigned int pin, bool level)
{
	struct world *world = arg;

	assert_in_range(pin, 0, PINS - 1);
	assert_int_not_equal(world->level[pin], level);
	world->level[pin] = level;
	world->edges[pin] += level;
	return 0;
}

static void on_sent(void *arg)
{
	((struct world *)arg)->nr_sent++;
}

static void on_room(void *arg)
{
	((struct world *)arg)->nr_room++;
}

static void on_off(void *arg)
{
	((struct world *)arg)->nr_off++;
}

static void on_reset(void *arg)
{
	((struct world *)arg)->nr_reset++;
}

static int setup(void **state)
{
	static const struct vmm_irq_ops ops = { .set_line = set_line };
	struct world *world = calloc(1, sizeof(*world));
	struct vmm_serial_options serial = { .base = VMM_PORT_COM1,
					     .pin = VMM_IRQ_COM1,
					     .sent = on_sent,
					     .room = on_room,
					     .arg = world };
	struct vmm_pm_options pm = { .power_off = on_off, .reset = on_reset, .arg = world };

	world->irq = (struct vmm_irq){ .ops = &ops, .arg = world };
	world->port = vmm_bus_new("port", NULL);
	serial.port = pm.port = world->port;
	serial.irq = pm.irq = &world->irq;
	assert_int_equal(vmm_serial_new(&world->serial, &serial), 0);
	assert_int_equal(vmm_pm_new(&world->pm, &pm), 0);
	assert_int_equal(vmm_rtc_new(&world->rtc, world->port), 0);
	*state = world;
	return 0;
}

static int teardown(void **state)
{
	struct world *world = *state;

	vmm_rtc_free(world->rtc);
	vmm_pm_free(world->pm);
	vmm_serial_free(world->serial);
	vmm_bus_free(world->port);
	free(world);
	return 0;
}

static uint32_t in(struct world *world, uint64_t port, unsigned int len)
{
	uint32_t value = 0;

	vmm_bus_read(world->port, port, &value, len);
	return value;
}

static void out(struct world *world, uint64_t port, unsigned int len, uint32_t value)
{
	vmm_bus_write(world->port, port, &value, len);
}

/* ---- Serial port ---- */

static void what_is_written_is_fetched_in_order(void **state)
{
	struct world *world = *state;
	char got[8] = "";

	for (const char *c = "hello"; *c; c++)
		out(world, DATA, 1, (uint8_t)*c);
	/* Told once: the queue was empty once. */
	assert_int_equal(world->nr_sent, 1);
	assert_int_equal(vmm_serial_fetch(world->serial, got, 2), 2);
	assert_int_equal(vmm_serial_fetch(world->serial, got + 2, 6), 3);
	assert_string_equal(got, "hello");
	assert_int_equal(vmm_serial_fetch(world->serial, got, 8), 0);
}

static void a_full_queue_is_a_busy_transmitter_until_fetched(void **state)
{
	struct world *world = *state;
	uint8_t bytes[64];
	size_t nr = 0, got, total = 0;

	while (in(world, LSR, 1) & 0x20 && nr < 1 << 20)
		out(world, DATA, 1, (uint32_t)nr++);
	assert_int_equal(in(world, LSR, 1), 0);
	/* What is sent nevertheless is lost, as it is in a UART. */
	out(world, DATA, 1, 0xee);
	out(world, MCR, 1, 0x8);
	out(world, IER, 1, 0x2);
	assert_false(world->level[VMM_IRQ_COM1]);
	assert_int_equal(vmm_serial_fetch(world->serial, bytes, 1), 1);
	assert_int_equal(in(world, LSR, 1), 0x60);
	assert_true(world->level[VMM_IRQ_COM1]);
	for (total = 1; (got = vmm_serial_fetch(world->serial, bytes, sizeof(bytes))); total += got)
		assert_int_equal(bytes[0], (uint8_t)total);
	assert_int_equal(total, nr);
}

static void input_is_there_one_byte_after_the_other(void **state)
{
	struct world *world = *state;

	assert_int_equal(in(world, LSR, 1), 0x60);
	vmm_serial_input(world->serial, "ab", 2);
	assert_int_equal(in(world, LSR, 1), 0x61);
	assert_int_equal(in(world, DATA, 1), 'a');
	assert_int_equal(in(world, DATA, 1), 'b');
	assert_int_equal(in(world, LSR, 1), 0x60);
	assert_int_equal(in(world, DATA, 1), 0);
}

static void input_beyond_the_queue_is_lost_and_room_is_told(void **state)
{
	struct world *world = *state;
	char byte = 'x';
	size_t room = vmm_serial_room(world->serial), i;

	for (i = 0; i < room + 5; i++)
		vmm_serial_input(world->serial, &byte, 1);
	assert_int_equal(vmm_serial_room(world->serial), 0);
	assert_int_equal(world->nr_room, 0);
	in(world, DATA, 1);
	assert_int_equal(world->nr_room, 1);
	assert_int_equal(vmm_serial_room(world->serial), 1);
	/* FIFO control: clears what was received. */
	out(world, IIR, 1, 0x3);
	assert_int_equal(vmm_serial_room(world->serial), room);
}

static void received_data_interrupts_while_there_is_some(void **state)
{
	struct world *world = *state;

	vmm_serial_input(world->serial, "ab", 2);
	out(world, IER, 1, 0x1);
	assert_false(world->level[VMM_IRQ_COM1]); /* OUT2 is off */
	out(world, MCR, 1, 0x8);
	assert_true(world->level[VMM_IRQ_COM1]);
	assert_int_equal(in(world, IIR, 1), 0x4);
	in(world, DATA, 1);
	assert_true(world->level[VMM_IRQ_COM1]);
	in(world, DATA, 1);
	assert_false(world->level[VMM_IRQ_COM1]);
	assert_int_equal(in(world, IIR, 1), 0x1);
	vmm_serial_input(world->serial, "c", 1);
	assert_true(world->level[VMM_IRQ_COM1]);
}

static void each_byte_sent_interrupts_again(void **state)
{
	struct world *world = *state;

	out(world, MCR, 1, 0x8);
	out(world, IER, 1, 0x2);
	assert_int_equal(world->edges[VMM_IRQ_COM1], 1);
	assert_int_equal(in(world, IIR, 1), 0x2);
	/* Reading it was the answer. */
	assert_false(world->level[VMM_IRQ_COM1]);
	out(world, DATA, 1, 'a');
	out(world, DATA, 1, 'b');
	/* An edge each: the I/O APIC looks at nothing else. */
	assert_int_equal(world->edges[VMM_IRQ_COM1], 3);
	out(world, IER, 1, 0);
	assert_false(world->level[VMM_IRQ_COM1]);
}

static void a_driver_finds_a_16550a(void **state)
{
	struct world *world = *state;

	out(world, SCR, 1, 0x5a);
	assert_int_equal(in(world, SCR, 1), 0x5a);
	out(world, LCR, 1, 0x83);
	out(world, DATA, 1, 0x0c);
	out(world, IER, 1, 0x01);
	assert_int_equal(in(world, DATA, 1), 0x0c);
	assert_int_equal(in(world, IER, 1), 0x01);
	out(world, LCR, 1, 0x03);
	assert_int_equal(in(world, IER, 1), 0);
	/* No FIFO unless it is switched on. */
	assert_int_equal(in(world, IIR, 1) & 0xc0, 0);
	out(world, IIR, 1, 0x1);
	assert_int_equal(in(world, IIR, 1) & 0xc0, 0xc0);
	/* In a loop it hears itself, and nobody else does. */
	out(world, MCR, 1, 0x1a);
	assert_int_equal(in(world, MSR, 1) & 0xf0, 0x90);
	out(world, DATA, 1, 'x');
	assert_int_equal(in(world, DATA, 1), 'x');
	assert_int_equal(world->nr_sent, 0);
	out(world, MCR, 1, 0);
	assert_int_equal(in(world, MSR, 1) & 0xf0, 0xb0);
}

/* ---- Power, reset ---- */

static void sleep_type_5_switches_off_and_no_other_does(void **state)
{
	struct world *world = *state;

	assert_int_equal(in(world, VMM_PORT_PM1A_CNT, 2) & 1, 1);
	for (uint32_t type = 0; type < 8; type++) {
		if (type != VMM_SLP_TYP_S5)
			out(world, VMM_PORT_PM1A_CNT, 2, type << 10 | 1 << 13);
		out(world, VMM_PORT_PM1A_CNT, 2, type << 10);
	}
	assert_int_equal(world->nr_off, 0);
	out(world, VMM_PORT_PM1A_CNT, 2, VMM_SLP_TYP_S5 << 10 | 1 << 13);
	assert_int_equal(world->nr_off, 1);
	assert_int_equal(world->nr_reset, 0);
}

static void two_ways_to_reset_and_no_other_value_does(void **state)
{
	struct world *world = *state;

	for (uint32_t value = 0; value < 256; value++) {
		if (value != VMM_RESET_VALUE)
			out(world, VMM_PORT_RESET, 1, value);
		if (value != 0xfe)
			out(world, VMM_PORT_I8042 + 4, 1, value);
	}
	assert_int_equal(world->nr_reset, 0);
	out(world, VMM_PORT_RESET, 1, VMM_RESET_VALUE);
	assert_int_equal(world->nr_reset, 1);
	/* Whoever waits for its input buffer does not wait. */
	assert_int_equal(in(world, VMM_PORT_I8042 + 4, 1) & 2, 0);
	out(world, VMM_PORT_I8042 + 4, 1, 0xfe);
	assert_int_equal(world->nr_reset, 2);
}

static void the_power_button_interrupts_until_its_status_is_cleared(void **state)
{
	struct world *world = *state;

	assert_false(vmm_pm_press(world->pm));
	out(world, VMM_PORT_PM1A_EVT + 2, 2, 1 << 8);
	assert_true(vmm_pm_press(world->pm));
	assert_true(world->level[VMM_IRQ_SCI]);
	assert_int_equal(in(world, VMM_PORT_PM1A_EVT, 2), 1 << 8);
	out(world, VMM_PORT_PM1A_EVT, 2, 1);
	assert_true(world->level[VMM_IRQ_SCI]);
	out(world, VMM_PORT_PM1A_EVT, 2, 1 << 8);
	assert_false(world->level[VMM_IRQ_SCI]);
	assert_int_equal(in(world, VMM_PORT_PM1A_EVT, 2), 0);
}

static void the_timer_runs(void **state)
{
	struct world *world = *state;
	uint32_t first = in(world, VMM_PORT_PM_TMR, 4), second;
	const struct timespec pause = { .tv_nsec = 20000000 };

	nanosleep(&pause, NULL);
	second = in(world, VMM_PORT_PM_TMR, 4) - first;
	/* 20 ms at least, at 3.579545 MHz. */
	assert_true(second >= 71590);
	assert_true(second < 3579545 * 60u);
}

/* ---- The clock ---- */

static unsigned int from_bcd(uint32_t value)
{
	return (value >> 4) * 10 + (value & 0xf);
}

static unsigned int cmos(struct world *world, uint32_t index)
{
	out(world, VMM_PORT_CMOS, 1, index);
	return in(world, VMM_PORT_CMOS + 1, 1);
}

static void the_clock_is_the_hosts(void **state)
{
	struct world *world = *state;
	time_t before = time(NULL), after;
	struct tm tm = { 0 };

	/* A second may end in between. */
	do {
		tm.tm_sec = (int)from_bcd(cmos(world, 0));
		tm.tm_min = (int)from_bcd(cmos(world, 2));
		tm.tm_hour = (int)from_bcd(cmos(world, 4));
		tm.tm_mday = (int)from_bcd(cmos(world, 7));
		tm.tm_mon = (int)from_bcd(cmos(world, 8)) - 1;
		tm.tm_year =
			(int)(from_bcd(cmos(world, 9)) + 100 * from_bcd(cmos(world, 0x32))) - 1900;
	} while (from_bcd(cmos(world, 0)) != (unsigned int)tm.tm_sec);
	after = time(NULL);
	assert_in_range(timegm(&tm), before, after);
	/* BCD, 24 hours; no update is ever in progress; the battery is good. */
	assert_int_equal(cmos(world, 0xb), 2);
	assert_int_equal(cmos(world, 0xa) & 0x80, 0);
	assert_int_equal(cmos(world, 0xd), 0x80);
}

/* ---- All ---- */

static void a_million_random_accesses_do_no_harm(void **state)
{
	static const uint16_t ports[] = { VMM_PORT_COM1, VMM_PORT_PM1A_EVT, VMM_PORT_CMOS,
					  VMM_PORT_I8042 };
	struct world *world = *state;
	uint32_t random = 12345;

	for (unsigned int i = 0; i < RANDOM_STEPS; i++) {
		uint64_t port;

		random = random * 1664525 + 1013904223;
		port = ports[random >> 30] + (random >> 26 & 15);
		if (random & 0x100)
			out(world, port, 1 + (random >> 10 & 3), random);
		else
			in(world, port, 1 + (random >> 10 & 3));
		if ((random >> 12 & 63) == 0) {
			char bytes[100] = "";

			vmm_serial_input(world->serial, bytes, random >> 20 & 63);
			vmm_serial_fetch(world->serial, bytes, sizeof(bytes));
			vmm_pm_press(world->pm);
		}
	}
	assert_true(vmm_serial_room(world->serial) <= 65536);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_written_is_fetched_in_order),
		TEST(a_full_queue_is_a_busy_transmitter_until_fetched),
		TEST(input_is_there_one_byte_after_the_other),
		TEST(input_beyond_the_queue_is_lost_and_room_is_told),
		TEST(received_data_interrupts_while_there_is_some),
		TEST(each_byte_sent_interrupts_again),
		TEST(a_driver_finds_a_16550a),
		TEST(sleep_type_5_switches_off_and_no_other_does),
		TEST(two_ways_to_reset_and_no_other_value_does),
		TEST(the_power_button_interrupts_until_its_status_is_cleared),
		TEST(the_timer_runs),
		TEST(the_clock_is_the_hosts),
		TEST(a_million_random_accesses_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
