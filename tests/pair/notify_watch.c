/* SPDX-License-Identifier: MIT */
/*
 * Looks whether a thread at a ring sleeps for ever. It judges by a state that must never be, not by the
 * clock, and knows nothing of what the threads do when they are awake.
 *
 * Never all at once: work is there and its publisher has decided about notifying; whoever waits for
 * it is blocked in its sleep; no event is there to wake it. Counters tell of the first (they move when
 * the call that publishes has returned), the kernel of the other two.
 */
#include <fcntl.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include <ring/driver.h>
#include <ring/ring.h>

#include "notify_stress.h"

enum {
	NR_MASKED = 4, /* looks that a masked ring is left masked */
	NR_UNMASKED = 16,
	NR_RUNNING = 24,  /* looks until all rings are stopped and started */
	LOOK_US = 200,	  /* between two looks */
	HANG_MS = 120000, /* without any progress; a machine may be slow, a test is not that */
};

/* Blocked in the kernel, as a thread is that was not woken. */
static bool is_blocked(int tid)
{
	char path[64], text[256];
	const char *at;
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_return_code(fd, errno);
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[len > 0 ? len : 0] = 0;
	at = strrchr(text, ')');
	return at && at[1] && at[2] == 'S';
}

/*
 * Whether a side will never be woken for work that there is. Each step may be out of date at the next
 * one, but for this: an event that was written before the work was counted is either still there or
 * has ended this very sleep.
 */
static bool is_lost(const struct notify_side *side)
{
	struct pollfd events = { .fd = side->epoll_fd, .events = POLLIN };
	uint32_t sleep = notify_peek(&side->sleep);

	if (!(sleep & 1) || notify_peek(&side->work) <= notify_peek(&side->done))
		return false;
	/* an epoll fd is readable while it has an event; to ask does not take it */
	if (poll(&events, 1, 0) != 0 || !is_blocked(side->tid))
		return false;
	return notify_peek(&side->sleep) == sleep;
}

static void show_side(const struct notify_side *side)
{
	print_message("# %s: %s, %llu of %llu chains done, slept %llu times\n", side->name,
		      side->sleep & 1 ? "asleep" : "awake", (unsigned long long)side->done,
		      (unsigned long long)side->work, (unsigned long long)side->nr_slept);
}

void notify_show(const struct notify *s)
{
	const struct vhu_queue *q = s->queue;
	const struct vhu_driver *d = s->ring;
	const struct vhu_view *view = q->view;

	print_message("# %s\n", s->choice->name);
	show_side(&s->driver);
	show_side(&s->device);
	print_message("# device: avail_pos %#x, used_pos %#x, signalled %#x%s, armed %u\n",
		      q->avail_pos, q->used_pos, q->signalled,
		      q->signalled_valid ? "" : " (not valid)", q->armed);
	print_message("# driver: next_avail %#x, shown %#x, last_used %#x, armed %u, wraps %d %d\n",
		      d->next_avail, d->shown, d->last_used, d->armed, d->avail_wrap, d->used_wrap);
	if (d->packed)
		print_message("# driver's area %#x, device's area %#x\n", *d->driver_event,
			      *d->device_event);
	else if (view)
		print_message(
			"# avail: flags %#x idx %#x, used_event %#x; used: flags %#x idx %#x, "
			"avail_event %#x\n",
			view->avail[0], view->avail[1],
			d->event_idx ? view->avail[2 + view->num] : 0, view->used[0], view->used[1],
			d->event_idx ? view->used[2 + 4 * view->num] : 0);
}

void notify_wake(const struct notify_side *side)
{
	uint64_t one = 1;

	if (write(side->wake_fd, &one, sizeof(one)) < 0)
		assert_int_equal(errno, EAGAIN);
}

static void pause_a_look(void)
{
	const struct timespec moment = { .tv_nsec = LOOK_US * 1000 };

	nanosleep(&moment, NULL);
}

/* Kicks are judged at any time; calls, while the driver can hear them. */
static const char *judge(const struct notify *s, bool is_heard)
{
	if (notify_peek(&s->give_up))
		return s->trouble;
	if (is_lost(&s->device))
		return "a kick was lost";
	return is_heard && is_lost(&s->driver) ? "a call was lost" : NULL;
}

/* What queue_started() asks for: to look for work again. */
static void tell_of_change(struct notify *s)
{
	notify_poke(&s->nr_changes, s->nr_changes + 1);
	notify_wake(&s->device);
}

static void wait_until_seen(struct notify *s)
{
	assert_true(check_until(front_pump(), notify_peek(&s->nr_seen) == s->nr_changes ||
						      notify_peek(&s->device.has_ended)));
	while (front_pump())
		;
}

/* Masks or unmasks, and waits until the backend has the other call file. */
static void set_mask(struct notify *s, bool mask)
{
	const unsigned int ring = s->choice->transmits;
	const unsigned int *started = &s->fix.ring[ring].started, before = *started;

	assert_int_equal(vhu_frontend_mask(s->front.fe, ring, mask), 0);
	assert_true(check_until(front_pump(), *started != before));
	tell_of_change(s);
}

/*
 * The driver's interrupt is masked for a while: its calls go elsewhere. When it is not masked any more,
 * and the device has looked, it has been told of what it missed.
 */
static const char *mask(struct notify *s)
{
	const char *trouble = NULL;

	set_mask(s, true);
	for (unsigned int i = 0; i < NR_MASKED && !trouble; i++) {
		pause_a_look();
		trouble = judge(s, false);
	}
	set_mask(s, false);
	wait_until_seen(s);
	s->nr_masks++;
	return trouble;
}

/*
 * All rings stop, and start. In between the driver goes on, and its kicks are for nothing: at the start
 * somebody has to look.
 */
static void restart(struct notify *s)
{
	struct front_done stopped = { 0 }, started = { 0 };

	assert_int_equal(vhu_frontend_stop(s->front.fe, front_note_done, &stopped), 0);
	assert_int_equal(front_wait_done(&stopped), 0);
	pause_a_look();
	notify_poke(&s->hold, true);
	notify_wake(&s->driver);
	assert_true(check_until(front_pump(),
				notify_peek(&s->is_held) || notify_peek(&s->driver.has_ended)));
	assert_int_equal(vhu_frontend_start(s->front.fe, front_note_done, &started), 0);
	assert_int_equal(front_wait_done(&started), 0);
	notify_poke(&s->hold, false);
	tell_of_change(s);
	wait_until_seen(s);
	s->nr_restarts++;
}

/* Until both threads have ended. What is wrong, or NULL. */
const char *notify_watch(struct notify *s)
{
	int64_t end = check_now_ms() + HANG_MS;
	uint64_t last = 0;

	for (unsigned int i = 1;
	     !notify_peek(&s->driver.has_ended) || !notify_peek(&s->device.has_ended); i++) {
		uint64_t now = notify_peek(&s->driver.done) + notify_peek(&s->device.done);
		const char *trouble = judge(s, true);

		if (!trouble && i % NR_UNMASKED == 0)
			trouble = mask(s);
		if (!trouble && i % NR_RUNNING == 0)
			restart(s);
		if (trouble)
			return trouble;
		if (now != last)
			end = check_now_ms() + HANG_MS;
		else if (check_now_ms() > end)
			return "nothing moves, and nothing is lost";
		last = now;
		front_pump();
		pause_a_look();
	}
	return notify_peek(&s->has_trouble) ? s->trouble : NULL;
}
