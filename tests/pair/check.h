/* SPDX-License-Identifier: MIT */
/* What every test program here includes first: cmocka with what it needs, and how long to wait. */
#ifndef TESTS_PAIR_CHECK_H
#define TESTS_PAIR_CHECK_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CHECK_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CHECK_SANITIZED 1
#endif
#endif
#ifndef CHECK_SANITIZED
#define CHECK_SANITIZED 0
#endif

enum {
	/* What has to come is waited for as long as that; machines differ. */
	CHECK_PATIENCE_MS = 20000,
};

/* Evaluates to true as soon as cond holds while everything of the test is kept going. */
#define check_until(pump, cond)                                                                    \
	__extension__({                                                                            \
		int64_t check_end = check_now_ms() + CHECK_PATIENCE_MS;                            \
		bool check_ok = (cond);                                                            \
		while (!check_ok && check_now_ms() < check_end) {                                  \
			if (!(pump))                                                               \
				check_pause();                                                     \
			check_ok = (cond);                                                         \
		}                                                                                  \
		check_ok;                                                                          \
	})

int64_t check_now_ms(void);
/* Lets others run for a moment. */
void check_pause(void);
void check_sleep_ms(unsigned int ms);

/* What the process holds, to be compared before and after. */
struct tally {
	unsigned int fds;
	unsigned int maps; /* mappings of a memfd or of another shared file */
	size_t heap;	   /* 0 where a sanitizer keeps the books */
};

void tally_take(struct tally *ret_tally);
/* Fails the test unless nothing has been gained since. */
void tally_check(const struct tally *before);

#endif
