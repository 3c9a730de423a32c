/* SPDX-License-Identifier: MIT */
/*
 * A ring's driver and its device, each on a thread of its own, which sleep, poll and dawdle at random. Each
 * verifies what it gets from the other; neither knows whether it is woken in time.
 */
#include <sched.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "notify_stress.h"

enum {
	FRAME_SIZE = 18, /* an Ethernet header and the frame's number */
	NUMBER_AT = 14,
};

/*
 * ---- What both threads do ----
 */

static uint32_t below(struct notify_side *side, uint32_t limit)
{
	/* xorshift64 */
	side->random ^= side->random << 13;
	side->random ^= side->random >> 7;
	side->random ^= side->random << 17;
	return (uint32_t)(side->random >> 32) % limit;
}

static void complain(struct notify *s, const char *what, uint64_t is, uint64_t should)
{
	if (__atomic_exchange_n(&s->has_trouble, true, __ATOMIC_ACQ_REL))
		return;
	snprintf(s->trouble, sizeof(s->trouble), "%s: %llu, it should be %llu", what,
		 (unsigned long long)is, (unsigned long long)should);
	notify_poke(&s->give_up, true);
}

/* Mostly nothing; now and then something else first, which shifts the two sides against each other. */
static void dawdle(struct notify_side *side)
{
	uint32_t dice = below(side, 256);
	struct timespec moment = { .tv_nsec = 1000 };

	/* about once a lap: long enough for the other side to use the ring up */
	if (below(side, side->ring_size / 4 + 256) == 0) {
		moment.tv_nsec += below(side, 150 * side->ring_size);
		nanosleep(&moment, NULL);
	} else if (dice == 0) {
		moment.tv_nsec += below(side, 30000);
		nanosleep(&moment, NULL);
	} else if (dice < 4) {
		sched_yield();
	} else if (dice < 64) {
		for (uint32_t n = below(side, 300); n; n--)
			__asm__ volatile("" ::: "memory");
	}
}

/* As a worker that has something else to do: takes the event, and then looks. */
static void take_events(struct notify_side *side)
{
	struct epoll_event event;

	if (below(side, 16) == 0)
		epoll_wait(side->epoll_fd, &event, 1, 0);
}

/*
 * While the driver's place in the ring is looked at, and written anew, by whoever starts it. True: it
 * stood still, and goes on with what it did, be it to sleep.
 */
static bool stand_still(struct notify *s, const struct notify_side *side)
{
	const struct timespec moment = { .tv_nsec = 50000 };

	if (side != &s->driver || !notify_peek(&s->hold))
		return false;
	notify_poke(&s->is_held, true);
	while (notify_peek(&s->hold))
		nanosleep(&moment, NULL);
	notify_poke(&s->is_held, false);
	return true;
}

static void fall_asleep(struct notify *s, struct notify_side *side)
{
	struct epoll_event event;
	uint64_t count;
	int nr;

	notify_poke(&side->sleep, side->sleep + 1);
	do {
		nr = epoll_wait(side->epoll_fd, &event, 1, -1);
	} while (nr == 1 && event.data.fd == side->wake_fd && stand_still(s, side));
	notify_poke(&side->sleep, side->sleep + 1);
	side->nr_slept++;
	if (nr == 1 && side->reads && event.data.fd == side->event_fd &&
	    read(side->event_fd, &count, sizeof(count)) < 0)
		assert_int_equal(errno, EAGAIN);
}

/* Nothing to do just now. True: do not arm, poll once more. */
static bool polls_on(struct notify_side *side)
{
	if (!side->nr_polls && below(side, 8) == 0)
		side->nr_polls = 1 + below(side, 100);
	if (!side->nr_polls)
		return false;
	side->nr_polls--;
	side->nr_polled++;
	sched_yield();
	return true;
}

static uint32_t number_of(const uint8_t *frame)
{
	uint32_t number;

	memcpy(&number, frame + NUMBER_AT, sizeof(number));
	return number;
}

/*
 * ---- The device ----
 */

/* A transmit ring: takes some, gives them back. True if there were any. */
static bool device_takes(struct notify *s)
{
	struct notify_side *me = &s->device;
	const struct vhu_net_frame *frames = vhu_net_burst_frames(s->burst);
	int nr = vhu_net_pull(s->queue, s->burst, 1 + below(me, VHU_NET_BURST));

	if (nr < 0 && nr != -ENOTCONN)
		complain(s, "the device's pull", (uint64_t)-nr, 0);
	for (int i = 0; i < nr; i++)
		if (number_of(frames[i].head) != (uint32_t)(me->done + (uint32_t)i))
			complain(s, "frame", number_of(frames[i].head), me->done + (uint32_t)i);
	if (nr > 0)
		notify_poke(&me->done, me->done + (uint32_t)nr);
	dawdle(me);
	vhu_net_done(s->queue, s->burst);
	notify_poke(&s->driver.work, me->done);
	return nr > 0;
}

/* A receive ring: fills some buffers. True if there were any. */
static bool device_fills(struct notify *s)
{
	uint8_t head[VHU_NET_HEAD_ROOM + FRAME_SIZE] = { 0 };
	const struct vhu_net_frame frame = { .len = FRAME_SIZE,
					     .head_len = FRAME_SIZE,
					     .head = head + VHU_NET_HEAD_ROOM };
	struct notify_side *me = &s->device;
	uint32_t nr = 1 + below(me, VHU_NET_BURST), n = 0;
	int ret = 0;

	if (!vhu_queue_trylock(s->queue))
		complain(s, "somebody else has the ring", 1, 0);
	for (; n < nr && me->done + n < s->nr_chains; n++) {
		const uint32_t number = (uint32_t)me->done + n;

		memcpy(head + VHU_NET_HEAD_ROOM + NUMBER_AT, &number, sizeof(number));
		ret = vhu_net_push(s->queue, &frame);
		if (ret)
			break;
	}
	if (ret && ret != -ENOSPC && ret != -ENOTCONN)
		complain(s, "the device's push", (uint64_t)-ret, 0);
	notify_poke(&me->done, me->done + n);
	dawdle(me);
	/* stopped meanwhile: nothing of it has happened */
	if (vhu_net_commit(s->queue) == -ENOTCONN) {
		notify_poke(&me->done, me->done - n);
		n = 0;
	}
	vhu_queue_unlock(s->queue);
	notify_poke(&s->driver.work, me->done);
	return n > 0;
}

void *notify_device_thread(void *arg)
{
	struct notify *s = arg;
	struct notify_side *me = &s->device;

	notify_poke(&me->tid, (int)syscall(SYS_gettid));
	vhu_reader_online(s->reader);
	while (me->done < s->nr_chains && !notify_peek(&s->give_up)) {
		uint32_t nr_changes = notify_peek(&s->nr_changes);
		bool some;

		take_events(me);
		vhu_queue_disarm(s->queue);
		some = s->choice->transmits ? device_takes(s) : device_fills(s);
		notify_poke(&s->nr_seen, nr_changes);
		dawdle(me);
		if (!some && !polls_on(me) && !vhu_queue_arm(s->queue)) {
			vhu_reader_offline(s->reader);
			fall_asleep(s, me);
			vhu_reader_online(s->reader);
		}
		vhu_reader_quiescent(s->reader);
	}
	vhu_reader_offline(s->reader);
	notify_poke(&me->has_ended, true);
	return NULL;
}

/*
 * ---- The driver ----
 */

/* Sends some frames, looks what came back. True if it did anything. */
static bool driver_sends(struct notify *s, uint64_t *sent)
{
	struct notify_side *me = &s->driver;
	struct vhu_net_tx *tx = s->front.pair[0].tx;
	uint32_t nr = 1 + below(me, below(me, 4) ? 8 : s->choice->num), n = 0;
	const uint64_t before = me->done;

	for (uint8_t *at; n < nr && *sent < s->nr_chains; n++) {
		const uint32_t number = (uint32_t)*sent;
		int ret;

		at = vhu_net_tx_buffer(tx);
		if (!at)
			break;
		memset(at, 0, FRAME_SIZE);
		memcpy(at + NUMBER_AT, &number, sizeof(number));
		ret = vhu_net_tx_send(tx, NULL, FRAME_SIZE);
		if (ret)
			complain(s, "the driver's send", (uint64_t)-ret, 0);
		++*sent;
	}
	dawdle(me);
	vhu_net_tx_publish(tx);
	notify_poke(&s->device.work, *sent);
	if (!n || below(me, 3) == 0)
		vhu_net_tx_reclaim(tx);
	notify_poke(&me->done, *sent - vhu_net_tx_outstanding(tx));
	/* what is on its way can be waited for though there is room for more */
	return (n && below(me, 4)) || me->done != before;
}

/* Takes received frames, gives their buffers back. True if there were any. */
static bool driver_receives(struct notify *s)
{
	struct notify_side *me = &s->driver;
	struct vhu_net_rx *rx = s->front.pair[0].rx;
	const struct vhu_net_frame *frames = vhu_net_rx_frames(rx);
	int nr = vhu_net_rx_pull(rx, 1 + below(me, VHU_NET_BURST));

	if (nr < 0 || vhu_net_rx_bad(rx))
		complain(s, "the driver's pull", (uint64_t)-nr, vhu_net_rx_bad(rx));
	for (int i = 0; i < nr; i++)
		if (number_of(frames[i].head) != (uint32_t)(me->done + (uint32_t)i))
			complain(s, "frame", number_of(frames[i].head), me->done + (uint32_t)i);
	if (nr > 0)
		notify_poke(&me->done, me->done + (uint32_t)nr);
	dawdle(me);
	vhu_net_rx_done(rx);
	notify_poke(&s->device.work, me->done + vhu_driver_outstanding(s->ring));
	return nr > 0;
}

void *notify_driver_thread(void *arg)
{
	struct notify *s = arg;
	struct notify_side *me = &s->driver;
	uint64_t sent = 0;

	notify_poke(&me->tid, (int)syscall(SYS_gettid));
	while (me->done < s->nr_chains && !notify_peek(&s->give_up)) {
		bool some;

		stand_still(s, me);
		take_events(me);
		vhu_driver_disarm(s->ring);
		some = s->choice->transmits ? driver_sends(s, &sent) : driver_receives(s);
		if (vhu_driver_fault(s->ring))
			complain(s, vhu_driver_fault(s->ring), 1, 0);
		dawdle(me);
		if (!some && me->done < s->nr_chains && vhu_driver_outstanding(s->ring) &&
		    !polls_on(me) && !vhu_driver_arm(s->ring))
			fall_asleep(s, me);
	}
	notify_poke(&me->has_ended, true);
	return NULL;
}
