/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* The console between a guest that never stops and whoever reads. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "vm/console.h"

enum {
	MANY = 10000,
};

struct guest {
	unsigned int fetches;
};

/* Always something, as of a guest that writes as fast as it is read. */
static size_t fetch(void *arg, void *data, size_t len)
{
	struct guest *guest = arg;

	if (!len)
		return 0;
	if (++guest->fetches > MANY)
		fail_msg("the console reads for ever");
	memset(data, 'a', 1);
	return 1;
}

static size_t room(void *arg)
{
	(void)arg;
	return 0;
}

static void input(void *arg, const void *data, size_t len)
{
	(void)arg, (void)data;
	assert_int_equal(len, 0);
}

static void others_have_their_turn_while_the_guest_writes(void **state)
{
	struct guest guest = { 0 };
	struct console_options options = { .fetch = fetch, .room = room, .input = input };
	struct console *console;

	(void)state;
	assert_int_equal(loop_new(&options.loop), 0);
	options.in_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	options.out_fd = options.in_fd;
	options.arg = &guest;
	assert_int_equal(console_new(&console, &options), 0);
	console_begin(console);
	for (unsigned int before = 0, i = 0; i < 10; i++, before = guest.fetches) {
		console_pump(console);
		assert_true(guest.fetches > before);
	}
	console_free(console);
	loop_free(options.loop);
	close(options.in_fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(others_have_their_turn_while_the_guest_writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
