/* SPDX-License-Identifier: MIT */
/*
 * The time of a measurement: it stands still while the process is stopped (SIGSTOP, a suspended
 * machine), so that rates and deadlines stay what they are. It knows nothing of what is measured.
 *
 * When the process goes on it is told so by SIGCONT; that it stood still is also known by a long gap
 * between two looks at the clock. So somebody has to look often.
 */
#ifndef BENCH_CLOCK_H
#define BENCH_CLOCK_H

#include <signal.h>
#include <stdint.h>

#include "common/loop.h"

#define BENCH_CLOCK_LOOK_NS (100 * LOOP_MS) /* how often somebody has to look */
#define BENCH_CLOCK_GAP_NS                                                                         \
	(400 * LOOP_MS) /* from here on it was a stop, whatever the signals say */

struct bench_clock {
	uint64_t last_ns;
	uint64_t stopped_ns; /* in all */
};

/* Set by SIGCONT, of which there is one for the process. */
extern volatile sig_atomic_t bench_clock_continued;
/* Listens to SIGCONT. 0 or -errno. */
int bench_clock_begin(void);

static inline uint64_t bench_clock_now(struct bench_clock *clock)
{
	uint64_t now = loop_now_ns(), gap = now - clock->last_ns;

	if (clock->last_ns && (bench_clock_continued || gap >= BENCH_CLOCK_GAP_NS)) {
		bench_clock_continued = 0;
		clock->stopped_ns += gap;
	}
	clock->last_ns = now;
	return now - clock->stopped_ns;
}

#endif
