// SPDX-License-Identifier: MIT
/* When the forwarding database is to be swept: by one timer, which runs only while there is something to forget. */

#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "switch/control.h"

uint64_t sw_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void set_timer(struct vhu_switch *sw, uint64_t ms)
{
	struct itimerspec spec = { 0 };

	spec.it_value.tv_sec = (time_t)(ms / 1000);
	spec.it_value.tv_nsec = (long)(ms % 1000 * 1000000);
	timerfd_settime(sw->aging_watch.fd, 0, &spec, NULL);
}

void sw_aging_begin(void *arg)
{
	struct vhu_switch *sw = arg;

	if (!atomic_exchange(&sw->is_aging, true))
		set_timer(sw, (uint64_t)sw->options.ageing_s * 1000);
}

static void sweep(void *arg)
{
	struct vhu_switch *sw = arg;
	uint64_t age_ms = (uint64_t)sw->options.ageing_s * 1000;
	uint64_t now_ms = sw_now_ms(), oldest_ms, wait_ms;

	/* From here on a worker that makes a first entry starts the timer by itself. */
	atomic_store(&sw->is_aging, false);
	if (!sw_fdb_age(sw->fdb, now_ms, age_ms, &oldest_ms))
		return;
	if (atomic_exchange(&sw->is_aging, true))
		return;
	wait_ms = oldest_ms + age_ms > now_ms ? oldest_ms + age_ms - now_ms : 0;
	/* Many entries of about one age go together. */
	set_timer(sw, wait_ms + 1000);
}

int sw_aging_init(struct vhu_switch *sw)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

	if (fd < 0)
		return -errno;
	/* One-shot and set anew each time, so it need not be read. */
	return sw_watch_add(sw, &sw->aging_watch, fd, EPOLLIN | EPOLLET, sweep, sw);
}
