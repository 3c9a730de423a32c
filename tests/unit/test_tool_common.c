/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* What all tools stand on: text made harmless, numbers and tables for people, the event loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/loop.h"
#include "common/opt.h"
#include "common/out.h"

static void safe(const char *text, const char *expected)
{
	char buf[256];

	assert_string_equal(out_safe(buf, sizeof(buf), text), expected);
}

static void nothing_that_a_terminal_obeys_gets_through(void **state)
{
	(void)state;
	safe("plain, \xc3\xa4 and \xe2\x82\xac and \xf0\x9f\x99\x82",
	     "plain, \xc3\xa4 and \xe2\x82\xac and \xf0\x9f\x99\x82");
	safe("\x1b[2J\r\n\t\x7f", "\\x1b[2J\\x0d\\x0a\\x09\\x7f");
	safe("\xc2\x9b"
	     "2J",
	     "\\xc2\\x9b"
	     "2J"); /* CSI of eight bits, as UTF-8 */
	safe("\xc0\x9b \xff \xe0\x80\x9b", "\\xc0\\x9b \\xff \\xe0\\x80\\x9b");
	safe("\xed\xa0\x80 \xf4\x90\x80\x80", "\\xed\\xa0\\x80 \\xf4\\x90\\x80\\x80");
	safe("cut off: \xe2\x82", "cut off: \\xe2\\x82");
}

static void what_does_not_fit_is_cut_at_a_whole_character(void **state)
{
	char buf[8];

	(void)state;
	for (size_t size = 1; size <= sizeof(buf); size++) {
		memset(buf, 'z', sizeof(buf));
		out_safe(buf, size,
			 "a\xe2\x82\xac\x1b"
			 "b");
		assert_true(strlen(buf) < size);
		assert_true(strlen(buf) == 0 || strlen(buf) == 1 || strlen(buf) == 4);
	}
}

static void numbers_have_five_characters_at_most(void **state)
{
	static const struct {
		uint64_t number;
		const char *text;
	} rows[] = {
		{ 0, "0" },
		{ 99999, "99999" },
		{ 100000, "100k" },
		{ 999999, "999k" },
		{ 1000000, "1.0M" },
		{ 1999999, "1.9M" },
		{ 99999999, "99.9M" },
		{ 123456789012, "123G" },
		{ UINT64_MAX, "18.4E" },
	};
	char buf[OUT_NUMBER_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_string_equal(out_number(buf, rows[i].number), rows[i].text);
}

static void a_table_is_aligned_and_goes_on_in_the_next_line(void **state)
{
	static const struct out_column columns[] = { { "A", 'l' }, { "NR", 'r' }, { "C", 'l' } };
	struct out_table *table = out_table_new(columns, 3);
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	(void)state;
	out_cell(table, "\xc3\xa4\xc3\xa4\xc3\xa4");
	out_cell(table, "%d", 7);
	out_cell(table, "x\n");
	out_cell(table, "b");
	out_cell(table, "1234");
	out_cell(table, "%s",
		 "0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 01");
	assert_int_equal(out_table_print(table, to), 0);
	fclose(to);
	assert_string_equal(text,
			    "A      NR  C\n"
			    "\xc3\xa4\xc3\xa4\xc3\xa4     7  x\\x0a\n"
			    "b    1234  0123456789 0123456789 0123456789 0123456789 0123456789 "
			    "0123456789 01\n");
	out_table_free(table);
	free(text);
}

static void words_go_on_below(void **state)
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	(void)state;
	out_wrapped(to, 70, 4, "12345 12345 1");
	out_wrapped(to, 0, 4, "a  b");
	fclose(to);
	assert_string_equal(text, "12345\n    12345 1\na b\n");
	free(text);
}

static void only_plain_numbers_are_numbers(void **state)
{
	static const char *const wrong[] = { "",    "-1", "+1",
					     " 1",  "1 ", "0x1",
					     "1e3", "11", "18446744073709551616" };
	uint64_t number = 77;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_false(opt_number(wrong[i], 0, 10, &number));
	assert_int_equal(number, 77);
	assert_true(opt_number("18446744073709551615", 0, UINT64_MAX, &number));
	assert_true(number == UINT64_MAX);
}

/* ---- The loop ---- */

struct pair {
	struct loop *loop;
	struct loop_source *source[2];
	int fd[2];
	unsigned int calls;
};

/* Whoever comes first removes both. */
static void remove_both(void *arg, uint32_t events)
{
	struct pair *pair = arg;

	(void)events;
	pair->calls++;
	for (int i = 0; i < 2; i++) {
		loop_remove(pair->source[i]);
		close(pair->fd[i]);
	}
	loop_stop(pair->loop, 5);
}

static void a_source_may_be_removed_while_its_event_waits(void **state)
{
	struct pair pair = { 0 };

	(void)state;
	assert_int_equal(loop_new(&pair.loop), 0);
	for (int i = 0; i < 2; i++) {
		pair.fd[i] = eventfd(1, EFD_CLOEXEC);
		assert_int_equal(loop_add_fd(pair.loop, pair.fd[i], EPOLLIN, remove_both, &pair,
					     &pair.source[i]),
				 0);
	}
	assert_int_equal(loop_run(pair.loop), 5);
	assert_int_equal(pair.calls, 1);
	loop_free(pair.loop);
}

struct ticks {
	struct loop *loop;
	struct loop_source *timer;
	unsigned int left;
};

static void on_tick(void *arg)
{
	struct ticks *ticks = arg;

	if (!--ticks->left) {
		loop_remove(ticks->timer);
		loop_stop(ticks->loop, 0);
	}
}

static void a_timer_ticks_and_may_remove_itself(void **state)
{
	struct ticks ticks = { .left = 3 };
	uint64_t began = loop_now_ns();

	(void)state;
	assert_int_equal(loop_new(&ticks.loop), 0);
	assert_int_equal(loop_add_timer(ticks.loop, on_tick, &ticks, &ticks.timer), 0);
	assert_int_equal(loop_set_timer(ticks.timer, 5 * LOOP_MS, 5 * LOOP_MS), 0);
	assert_int_equal(loop_run(ticks.loop), 0);
	assert_true(loop_now_ns() - began >= 15 * LOOP_MS);
	loop_free(ticks.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_that_a_terminal_obeys_gets_through),
		cmocka_unit_test(what_does_not_fit_is_cut_at_a_whole_character),
		cmocka_unit_test(numbers_have_five_characters_at_most),
		cmocka_unit_test(a_table_is_aligned_and_goes_on_in_the_next_line),
		cmocka_unit_test(words_go_on_below),
		cmocka_unit_test(only_plain_numbers_are_numbers),
		cmocka_unit_test(a_source_may_be_removed_while_its_event_waits),
		cmocka_unit_test(a_timer_ticks_and_may_remove_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
