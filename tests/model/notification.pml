/* SPDX-License-Identifier: MIT */
/*
 * The notification protocol of one ring: driver and device as lib/ring/ has them, each of which may sleep,
 * and a control side that changes the call file or stops and starts the ring. See docs/notification.md.
 *
 * Defines choose what is modelled:
 *   PACKED     packed ring, else split              EVENT_IDX  event index, else flags
 *   WEAK       see memory.pml                       CHAINS     how many go through the ring
 *   DRIVER_SLEEPS, DEVICE_SLEEPS    who may arm and sleep; the other one polls
 *   NEW_CALL   the driver listens on a new call file from some moment on
 *   RESTART    the ring is stopped and started; with NEW_CALL the call file is new then
 *   DEATH      the device dies when it has published and not yet called; another one takes over
 * and further ones leave out or spoil one step of the protocol each: test_notification.py lists them.
 *
 * The numbers stand in the same relation as the real ones: the ring is half as long as its indices reach.
 */
#define NUM 2
#define MOD 4  /* split: indices, 65536 */
#define WRAP 8 /* packed: bit 15 of a position */

#ifndef CHAINS
#define CHAINS 4
#endif

#define CALLS 0 /* what calls the driver wants: avail->flags, used_event, or the driver's area */
#define KICKS 1 /* what kicks the device wants: used->flags, avail_event, or the device's area */
#ifdef PACKED
#define FLAGS_AT(i) (2 + (i))
#define ID_AT(i) (2 + NUM + (i))
#define WORDS (2 + 2 * NUM)
#else
#define AVAIL_IDX 2
#define USED_IDX 3
#define AVAIL_AT(i) (4 + (i))
#define USED_AT(i) (4 + NUM + (i))
#define WORDS (4 + 2 * NUM)
#endif

#include "memory.pml"

/* What a chain's entry says, and what it says when it is used. */
#define QUESTION(chain) (1 + (chain) % 7)
#define ANSWER(chain) (8 + (chain) % 7)

#define SUB(a, b) (((a) + MOD - (b)) % MOD)

/* Packed: the descriptor's two bits, and the event areas: flags, wrap counter, index. */
#define F_AVAIL 1
#define F_USED 2
#define ENABLE 0
#define DISABLE 16
#define DESC 32
#define INDEX(pos) ((pos) & 7)
#define NEXT(pos) (INDEX(pos) + 1 < NUM -> 1 + (pos) : WRAP ^ ((pos) & WRAP))
#define IS_AVAILABLE(flags, pos) ((flags) == ((pos) & WRAP -> F_AVAIL : F_USED))
#define IS_USED(flags, pos) ((flags) == ((pos) & WRAP -> F_AVAIL + F_USED : 0))
/* Places from one position to a later one. */
#define WAY(from, to) ((INDEX(to) + ((((from) ^ (to)) & WRAP) -> NUM : 0) + 2 * NUM - INDEX(from)) % (2 * NUM))

/* Barriers and orders that a mutant is without. */
#ifdef NO_PUBLISH_BARRIER
#define DRIVER_PUBLISH_BARRIER skip
#else
#define DRIVER_PUBLISH_BARRIER full_barrier(DRIVER)
#endif
#ifdef NO_NOTIFY_BARRIER
#define DEVICE_PUBLISH_BARRIER skip
#else
#define DEVICE_PUBLISH_BARRIER full_barrier(DEVICE)
#endif
#ifdef NO_DEVICE_ARM_BARRIER
#define DEVICE_ARM_BARRIER skip
#else
#define DEVICE_ARM_BARRIER full_barrier(DEVICE)
#endif
#ifdef NO_DRIVER_ARM_BARRIER
#define DRIVER_ARM_BARRIER skip
#else
#define DRIVER_ARM_BARRIER full_barrier(DRIVER)
#endif
#ifdef NO_AVAIL_RELEASE
#define AVAIL_RELEASE 0
#else
#define AVAIL_RELEASE 1
#endif
#ifdef NO_USED_RELEASE
#define USED_RELEASE 0
#else
#define USED_RELEASE 1
#endif
#ifdef NO_AVAIL_ACQUIRE
#define LOAD_AVAIL load
#else
#define LOAD_AVAIL load_acquire
#endif
#ifdef NO_USED_ACQUIRE
#define LOAD_USED load
#else
#define LOAD_USED load_acquire
#endif

/*
 * Eventfds. The device's is watched edge-triggered and never read: each write is an event, whatever the
 * count. The driver's is read when it wakes. Either way: is there something to wake up for?
 */
bit ready[2];
bit listens; /* call file that the driver waits for */

/*
 * ---- What only the checker knows: how far everybody really is. ----
 */
byte nr_shown;	   /* chains that the driver has made available */
byte nr_taken;	   /* that the device has taken */
byte nr_used;	   /* that it has published as used */
byte nr_reclaimed; /* that the driver has taken back */
bit asleep[2];
bit deciding[2]; /* has published, and may still notify */
bit changing;	 /* the control side is not done */
bit attention;	 /* nor has the device looked since */

/*
 * What has to hold. Never: work that nobody will tell of any more, and the one who waits for it asleep with
 * nothing to wake up for. Looked at whenever somebody falls asleep or has decided.
 *
 * Beside it: who sees an index sees the entry (asserted where entries are read), and nobody waits for ever:
 * the driver comes to its end, and only the device may sleep then (spin's invalid end states).
 */
#define IS_LOST(waiter, work)                                                                      \
	(asleep[waiter] && !ready[waiter] && (work) && !deciding[1 - (waiter)] && !changing && !attention)
#define JUDGE                                                                                      \
	assert(!IS_LOST(DEVICE, nr_shown > nr_taken) && !IS_LOST(DRIVER, nr_used > nr_reclaimed))

/* The device's view (struct vhu_view), published by the control side in one store. */
bit running = 1;
bit dead;
bit view_fd;
bit view_serial;
bit in_burst; /* the device's reader is online: no ticket passes */

#ifdef PACKED
#define START WRAP
#else
#define START 0
#endif

/* The queue (struct vhu_queue): the device's, the control side's while the ring is stopped. */
byte avail_pos = START, used_pos = START, signalled;
bit signalled_valid, ever_published, serial_seen;
bit is_silent, is_armed; /* enum vhu_arm: neither is unknown */

/*
 * ==== The driver: lib/ring/driver.c and driver_split.c, driver_packed.c ====
 */

/* set_calls() */
inline set_calls(wanted)
{
#ifdef PACKED
#ifdef EVENT_IDX
#ifdef CALL_EVENT_WITHOUT_WRAP
	store(DRIVER, CALLS, (wanted -> DESC + INDEX(last) : DISABLE));
#else
	store(DRIVER, CALLS, (wanted -> DESC + last : DISABLE));
#endif
#else
	store(DRIVER, CALLS, (wanted -> ENABLE : DISABLE));
#endif
#else
#ifdef EVENT_IDX
	store(DRIVER, CALLS, SUB(last, !wanted));
#else
	store(DRIVER, CALLS, !wanted);
#endif
#endif
}

/* vhu_driver_add(): the entries, which nobody looks at yet. */
inline add(n)
{
	nr = 0;
	do
	:: nr < n ->
#ifdef PACKED
		store(DRIVER, ID_AT(INDEX(next)), QUESTION(nr_shown + nr));
		if
		:: nr == 0 -> shown = next
		:: else -> store(DRIVER, FLAGS_AT(INDEX(next)), (next & WRAP -> F_AVAIL : F_USED))
		fi;
		next = NEXT(next);
#else
		store(DRIVER, AVAIL_AT(next % NUM), QUESTION(nr_shown + nr));
		next = (next + 1) % MOD;
#endif
		nr++
	:: else -> break
	od
}

/* vhu_driver_publish(): vhu_driver_*_show(), full barrier, look. */
inline driver_publish(n)
{
	atomic {
#ifdef PACKED
		put(DRIVER, FLAGS_AT(INDEX(shown)), (shown & WRAP -> F_AVAIL : F_USED), AVAIL_RELEASE);
#else
		put(DRIVER, AVAIL_IDX, next, AVAIL_RELEASE);
#endif
		nr_shown = nr_shown + n;
		deciding[DRIVER] = 1
	}
	DRIVER_PUBLISH_BARRIER;
	load(DRIVER, KICKS, x);
	atomic {
		if
#ifdef PACKED
#ifdef EVENT_IDX
		:: (x & 48) == DESC ->
			x = x & 15;
			/* as if the ring went on below 0: in [next - n, next) */
			if
			:: (x & WRAP) == (next & WRAP) ->
				want = (INDEX(x) + n >= INDEX(next) && INDEX(x) < INDEX(next))
			:: else -> want = (INDEX(x) + n >= INDEX(next) + NUM && INDEX(x) < INDEX(next) + NUM)
			fi
#endif
		:: (x & 48) == ENABLE -> want = 1
		:: (x & 48) == DISABLE -> want = 0
#else
#ifdef EVENT_IDX
		:: true -> want = (SUB(next, x + 1) < n)
#else
		:: true -> want = !x
#endif
#endif
		fi;
		x = 0
	}
	atomic {
		if
		:: want -> ready[DEVICE] = 1 /* kick() */
		:: else
		fi;
		want = 0;
		deciding[DRIVER] = 0;
		JUDGE
	}
}

/* vhu_driver_*_has_used() */
inline has_used()
{
#ifdef PACKED
	load(DRIVER, FLAGS_AT(INDEX(last)), x);
	want = IS_USED(x, last);
#else
	load(DRIVER, USED_IDX, x);
	want = (x != last);
#endif
	x = 0
}

/* vhu_driver_take(): all that is there. */
inline reclaim()
{
	do
	:: true ->
#ifdef PACKED
		LOAD_USED(DRIVER, FLAGS_AT(INDEX(last)), x);
		if
		:: IS_USED(x, last)
		:: else -> break
		fi;
		load(DRIVER, ID_AT(INDEX(last)), x);
		atomic { assert(x == ANSWER(nr_reclaimed)); last = NEXT(last);
#else
		LOAD_USED(DRIVER, USED_IDX, x);
		if
		:: x != last
		:: else -> break
		fi;
		load(DRIVER, USED_AT(last % NUM), x);
		atomic { assert(x == ANSWER(nr_reclaimed)); last = (last + 1) % MOD;
#endif
			nr_reclaimed++; x = 0 }
	od;
	x = 0
}

active proctype driver()
{
	byte next = START, shown = START, last = START;
	byte nr, x;
	bit want, armed;

	set_calls(0); /* vhu_driver_*_lay() */
	do
	:: nr_shown < CHAINS && nr_shown - nr_reclaimed < NUM ->
		add(1);
		driver_publish(1)
	:: nr_shown + 1 < CHAINS && nr_shown == nr_reclaimed ->
		add(NUM);
		driver_publish(NUM)
	:: nr_reclaimed < nr_shown -> reclaim()
#ifdef DRIVER_SLEEPS
	:: nr_reclaimed < nr_shown ->
		/* vhu_driver_arm() */
		set_calls(1);
		DRIVER_ARM_BARRIER;
#ifndef NO_DRIVER_LOOK
		has_used();
#endif
		if
		:: want -> skip
		:: else ->
#ifdef CLEARS_LATE
			ready[DRIVER] = 0; /* what came since arming is forgotten */
#endif
			atomic { asleep[DRIVER] = 1; JUDGE }
			atomic { ready[DRIVER] -> ready[DRIVER] = 0; asleep[DRIVER] = 0 }
		fi;
		want = 0;
		set_calls(0)
#endif
	:: nr_reclaimed == CHAINS -> break
	od
}

/*
 * ==== The device: lib/ring/queue.c and split.c, packed.c; tools/switch/worker.c ====
 */

/* set_kicks() */
inline set_kicks(wanted)
{
#ifdef PACKED
#ifdef EVENT_IDX
#ifdef KICK_EVENT_WITHOUT_WRAP
	store(DEVICE, KICKS, (wanted -> DESC + INDEX(avail_pos) : DISABLE))
#else
	store(DEVICE, KICKS, (wanted -> DESC + avail_pos : DISABLE))
#endif
#else
	store(DEVICE, KICKS, (wanted -> ENABLE : DISABLE))
#endif
#else
#ifdef EVENT_IDX
	if
	:: wanted ->
#ifdef KICK_EVENT_BEHIND
		store(DEVICE, KICKS, SUB(avail_pos, 1))
#else
		store(DEVICE, KICKS, avail_pos)
#endif
	:: else
	fi
#else
	store_release(DEVICE, KICKS, !wanted)
#endif
#endif
}

/* vhu_queue_disarm() */
inline disarm()
{
	if
	:: is_silent -> skip
	:: else -> set_kicks(0); atomic { is_silent = 1; is_armed = 0 }
	fi
}

/* vhu_split_has_more(), vhu_packed_has_more(); and where taking looks */
inline has_more()
{
#ifdef PACKED
	LOAD_AVAIL(DEVICE, FLAGS_AT(INDEX(avail_pos)), x);
	want = IS_AVAILABLE(x, avail_pos);
#else
	LOAD_AVAIL(DEVICE, AVAIL_IDX, x);
	want = (x != avail_pos);
#endif
	x = 0
}

/* vhu_net_pull(): up to max chains. */
inline pull(max)
{
	do
	:: n < max ->
		has_more();
		if
		:: want
		:: else -> break
		fi;
#ifdef PACKED
		load(DEVICE, ID_AT(INDEX(avail_pos)), x);
		atomic { assert(x == QUESTION(nr_taken)); avail_pos = NEXT(avail_pos);
#else
		load(DEVICE, AVAIL_AT(avail_pos % NUM), x);
		atomic { assert(x == QUESTION(nr_taken)); avail_pos = (avail_pos + 1) % MOD;
#endif
			nr_taken++; n++; x = 0 }
	:: else -> break
	od;
	want = 0
}

/* vhu_ring_publish(): vhu_split_publish(), vhu_packed_publish() */
inline device_publish()
{
	/* what is stored last makes all of them used */
#ifdef PACKED
	store(DEVICE, ID_AT(INDEX(used_pos)), ANSWER(nr_used));
	if
	:: n == 2 ->
		store(DEVICE, ID_AT(INDEX(NEXT(used_pos))), ANSWER(nr_used + 1));
		store_release(DEVICE, FLAGS_AT(INDEX(NEXT(used_pos))),
			      (NEXT(used_pos) & WRAP -> F_AVAIL + F_USED : 0))
	:: else
	fi;
	atomic {
		put(DEVICE, FLAGS_AT(INDEX(used_pos)), (used_pos & WRAP -> F_AVAIL + F_USED : 0),
		    USED_RELEASE);
		used_pos = NEXT(used_pos);
		if
		:: n == 2 -> used_pos = NEXT(used_pos)
		:: else
		fi;
#else
	store(DEVICE, USED_AT(used_pos % NUM), ANSWER(nr_used));
	if
	:: n == 2 -> store(DEVICE, USED_AT((used_pos + 1) % NUM), ANSWER(nr_used + 1))
	:: else
	fi;
	atomic {
		used_pos = (used_pos + n) % MOD;
		put(DEVICE, USED_IDX, used_pos, USED_RELEASE);
#endif
		nr_used = nr_used + n;
		deciding[DEVICE] = 1
	}
}

/* vhu_queue_notify(), vhu_split_wants_call(), vhu_packed_wants_call() */
inline notify()
{
	atomic {
		fd = view_fd; /* one view for all of it */
		if
		:: serial_seen != view_serial ->
			serial_seen = view_serial;
			signalled_valid = 0;
#ifndef NO_CALL_AGAIN
			want = ever_published
#endif
		:: else
		fi
	}
	if
	:: n > 0 ->
		ever_published = 1;
		DEVICE_PUBLISH_BARRIER;
		load(DEVICE, CALLS, x);
		atomic {
			if
#ifdef PACKED
			:: (x & 48) == DISABLE -> skip
			:: (x & 48) == ENABLE -> want = 1
			:: (x & 48) == DESC ->
				want = (want || !signalled_valid ||
					WAY(signalled, (x & 15)) < WAY(signalled, used_pos))
#else
#ifdef EVENT_IDX
			:: true -> want = (want || !signalled_valid ||
					   SUB(used_pos, x + 1) < SUB(used_pos, signalled))
#else
			:: true -> want = (want || !x)
#endif
#endif
			fi;
#ifdef SIGNALLED_AT_CALLS
			if
			:: want -> signalled = used_pos
			:: else
			fi;
#else
			signalled = used_pos;
#endif
			signalled_valid = 1;
			x = 0
		}
	:: else
	fi;
	atomic {
		if
#ifdef DEATH
		:: want && !dead -> dead = 1; running = 0; changing = 1
#endif
		:: want && fd == listens -> ready[DRIVER] = 1 /* call() */
		:: want && fd != listens -> skip
		:: !want
		fi;
		want = 0;
		fd = 0;
		n = 0;
		deciding[DEVICE] = 0;
		JUDGE
	}
}

active proctype device()
{
	byte n, x;
	bit want, fd, some;

	do
	:: true ->
		/* take_events() while there are other queues to visit */
		if
		:: ready[DEVICE] -> ready[DEVICE] = 0
		:: true
		fi;
		/* visit(), vhost_visit() */
		atomic {
			in_burst = 1;
			some = 0;
			if
			:: attention -> attention = 0; deciding[DEVICE] = 1
			:: else
			fi
		}
		if
		:: !running -> some = 0
		:: running ->
			disarm();
			if
			:: true -> pull(1)
			:: true -> pull(2)
			fi;
			some = (n > 0);
			if
			:: some -> device_publish()
			:: else
			fi;
			notify();
#ifdef DEVICE_SLEEPS
			if
			:: some -> skip
			:: !some ->
				/* polls on; or vhu_queue_arm() */
				if
				:: some = 1
				:: running ->
					set_kicks(1);
					atomic { is_armed = 1; is_silent = 0 }
					DEVICE_ARM_BARRIER;
#ifndef NO_DEVICE_LOOK
					has_more();
#endif
					if
					:: want -> disarm(); some = 1
					:: else
					fi;
					want = 0
				:: !running
				fi
			fi
#else
			some = 1
#endif
		fi;
		atomic { in_burst = 0; deciding[DEVICE] = 0; JUDGE }
		if
		:: some -> skip
		:: else ->
			/* wait_for_events() */
			atomic {
				/* nor does it sleep without having asked, but where nobody could answer */
				assert(is_armed || !running || changing || ready[DEVICE]);
				asleep[DEVICE] = 1;
				JUDGE
			}
end:			atomic { ready[DEVICE] -> ready[DEVICE] = 0; asleep[DEVICE] = 0 }
		fi;
		some = 0
	od
}

/*
 * ==== The control side: lib/backend/rings.c and handlers_vring.c; and the frontend's ====
 */
#if defined(NEW_CALL) || defined(RESTART) || defined(DEATH)
active proctype control()
{
#ifndef DEATH
	changing = 1;
#endif
#ifdef NEW_CALL
	/* what the old file swallowed nobody hears */
	atomic { listens = 1; ready[DRIVER] = 0 }
#endif
#if defined(RESTART) || defined(DEATH)
#ifdef DEATH
end:	dead; /* and the frontend lays out anew what was not used: here, nothing */
#else
	running = 0; /* GET_VRING_BASE: unpublished; then the readers have to pass */
#endif
	atomic {
		!in_burst ->
		ready[DEVICE] = 0; /* its kick file is gone from the poll set */
	}
	d_step {
		/* vhu_queue_start() */
		is_armed = 0;
		is_silent = 0;
		signalled_valid = 0;
		signalled = 0;
		serial_seen = !view_serial;
#ifdef PACKED
		ever_published = 1;
#else
#ifdef INDEX_TELLS_USE
		ever_published = (avail_pos != 0 || used_pos != 0);
#else
		ever_published = (nr_used > 0);
#endif
#endif
#ifdef NEW_CALL
		view_fd = 1;
#endif
	}
	running = 1;
#else
	/* SET_VRING_CALL */
	atomic { view_fd = 1; view_serial = 1 }
#endif
#ifndef NO_LOOK_AT_CHANGE
	/* queue_started(): look for work again */
	atomic { attention = 1; ready[DEVICE] = 1; changing = 0 }
#else
#ifdef KICK_AT_START
	/* vhu_fe_kick() */
	atomic { attention = 1; ready[DEVICE] = 1; changing = 0 }
#else
	atomic { changing = 0; JUDGE }
#endif
#endif
}
#endif
