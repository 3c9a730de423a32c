// SPDX-License-Identifier: MIT
/* Hears when the process goes on after a stop; knows nothing of what is measured. */

#include "bench/clock.h"

#include <errno.h>

volatile sig_atomic_t bench_clock_continued;

static void on_continue(int signal_nr)
{
	(void)signal_nr;
	bench_clock_continued = 1;
}

int bench_clock_begin(void)
{
	struct sigaction action = { .sa_handler = on_continue, .sa_flags = SA_RESTART };

	sigemptyset(&action.sa_mask);
	return sigaction(SIGCONT, &action, NULL) ? -errno : 0;
}
