// SPDX-License-Identifier: MIT
/*
 * A worker: visits the queues that have work, in turn, and sleeps when none has. It knows neither
 * kinds of ports nor what becomes of a frame.
 *
 * A queue is active from the moment that an event, or the control thread, tells of work, until it
 * was found empty after kicks had been asked for; how soon after it ran dry they are asked for is
 * its mode. Only active queues are looked at. No pointer to a port outlives the round in which it
 * was found: lists and events hold names.
 */

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "switch/announce.h"
#include "switch/control.h"

enum {
	EVENTS_MAX = 64,
	/* A round ends after so many visits, or when so much was taken: some tens of microseconds. */
	ROUND_MAX = 64,
	ROUND_WORK = 512,
	WORK_BYTES = 256, /* as much work as a frame */
	/* A visit takes no more, or about that: sender and receiver have nothing to do before it ends. */
	VISIT_BYTES = 256 * 1024,
	TICK_NS = 1000000,
	LOOK_NS = 30000, /* between looks for events while there is something to do */
	/* A round that finds nothing takes some microseconds, unless somebody else had the processor. */
	CROWD_NS = 100000,
	CROWD_MIN_NS = 10 * 1000 * 1000,
	CROWD_MAX_NS = 640 * 1000 * 1000,
	FLUSH_NS = 100000, /* after the last frame, with queues still looked at */
};

/* No queue has these names: its port's serial would be the last of 2^32. */
#define ID_WAKE UINT64_MAX
#define ID_TICK (UINT64_MAX - 1)

/* ---- The worker's thread ---- */

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static void activate(struct sw_worker *worker, struct sw_queue *queue, uint64_t id)
{
	if (!queue->is_listed)
		queue->is_listed = sw_ids_put(&worker->active, id);
}

static void set_tick(struct sw_worker *worker, uint64_t due_ns)
{
	struct itimerspec once = { 0 };

	if (worker->tick_ns && worker->tick_ns <= due_ns)
		return;
	once.it_value.tv_sec = (time_t)(due_ns / UINT64_C(1000000000));
	once.it_value.tv_nsec = (long)(due_ns % UINT64_C(1000000000));
	if (!timerfd_settime(worker->tick_fd, TFD_TIMER_ABSTIME, &once, NULL))
		worker->tick_ns = due_ns;
}

/* The queue is looked at again at that time, whatever happens before. */
static void wait_until(struct sw_worker *worker, struct sw_queue *queue, uint64_t id,
		       uint64_t due_ns)
{
	queue->due_ns = due_ns;
	if (!queue->is_waiting)
		queue->is_waiting = sw_ids_put(&worker->waiting, id);
	set_tick(worker, due_ns);
}

/* Whose time has come, or nearly, gets its turn; the others go on waiting. */
static void tick(struct sw_worker *worker, const struct sw_view *view)
{
	uint64_t until_ns = worker->now_ns + TICK_NS / 2, next_ns = UINT64_MAX;
	uint32_t nr = worker->waiting.tail - worker->waiting.head;

	worker->tick_ns = 0;
	while (nr--) {
		uint64_t id = sw_ids_take(&worker->waiting);
		struct sw_queue *queue = sw_find(view, id);

		if (!queue)
			continue;
		if (queue->due_ns <= until_ns) {
			queue->is_waiting = false;
			activate(worker, queue, id);
			continue;
		}
		if (queue->due_ns < next_ns)
			next_ns = queue->due_ns;
		sw_ids_put(&worker->waiting, id); /* there is room: it has just been taken */
	}
	if (next_ns != UINT64_MAX)
		set_tick(worker, next_ns);
}

static void attend_port(struct sw_worker *worker, const struct sw_view *view, struct sw_port *port)
{
	for (unsigned int i = 0; i < port->nr_queues; i++) {
		struct sw_queue *queue = &port->queue[i];
		uint32_t hold = atomic_load(&queue->hold);
		uint8_t what;

		/* Another one's is left for that one. */
		if (sw_hold_owner(hold) != worker->index)
			continue;
		what = atomic_exchange(&queue->attention, 0);
		if (!what)
			continue;
		if (what & SW_ATTEND_RINGS && port->ops->attend)
			port->ops->attend(queue);
		if (sw_announce(&worker->forward, view, queue))
			sw_worker_attend(worker, queue, SW_ATTEND_VISIT);
		worker->is_flushed = false;
		activate(worker, queue, sw_id(queue, hold));
	}
}

static void attend(struct sw_worker *worker, const struct sw_view *view)
{
	for (unsigned int top = 0; top < SW_PORTS_MAX / 64 / 64; top++) {
		uint64_t words = atomic_exchange(&worker->attention_words[top], 0);

		for (; words; words &= words - 1) {
			unsigned int word = top * 64 + (unsigned int)__builtin_ctzll(words);
			uint64_t slots = atomic_exchange(&worker->attention[word], 0);

			for (; slots; slots &= slots - 1) {
				unsigned int bit = (unsigned int)__builtin_ctzll(slots);

				if (view->slot[word * 64 + bit])
					attend_port(worker, view, view->slot[word * 64 + bit]);
			}
		}
	}
}

static void take_events(struct sw_worker *worker, const struct sw_view *view,
			const struct epoll_event *events, int nr)
{
	for (int i = 0; i < nr; i++) {
		uint64_t id = events[i].data.u64;
		struct sw_queue *queue;

		if (id == ID_TICK) {
			tick(worker, view);
		} else if (id != ID_WAKE) {
			queue = sw_find(view, id);
			if (!queue)
				continue;
			sw_count(&queue->counters[worker->index].rx_kicks, 1);
			activate(worker, queue, id);
		}
	}
}

/* Whether an empty queue is to be looked at again, without an event. */
static bool keeps_looking(struct sw_worker *worker, struct sw_queue *queue)
{
	switch (atomic_load_explicit(&queue->mode, memory_order_relaxed)) {
	case SW_MODE_POLL:
		worker->is_polling = true;
		return true;
	case SW_MODE_INTERRUPT:
		return false;
	default:
		return sw_spin_goes_on(&queue->spin, worker->now_ns) &&
		       worker->now_ns >= worker->crowded_ns;
	}
}

/* Frames that a visit may take, if they are as long as those of the last one. */
static unsigned int visit_max(const struct sw_queue *queue)
{
	if (queue->frame_len <= VISIT_BYTES / VHU_NET_BURST)
		return VHU_NET_BURST;
	return VISIT_BYTES / (unsigned int)queue->frame_len;
}

/* Sets the visit's budget. False: the port has had enough for now; what is in the ring stays there. */
static bool may_take(struct sw_worker *worker, struct sw_queue *queue, uint64_t id)
{
	struct sw_limit *limit = &queue->port->limit;
	uint64_t until_ns;

	worker->budget = visit_max(queue);
	if (!sw_limit_is_on(limit))
		return true;
	worker->budget = sw_limit_ask(limit, worker->now_ns, worker->budget, &until_ns);
	if (worker->budget)
		return true;
	sw_count(&queue->counters[worker->index].rx_limited, 1);
	/* Not sooner than the clock ticks: the bucket holds more than it gains between two ticks. */
	if (until_ns < worker->now_ns + TICK_NS)
		until_ns = worker->now_ns + TICK_NS;
	wait_until(worker, queue, id, until_ns);
	return false;
}

static enum sw_visit visit_within_limit(struct sw_worker *worker, struct sw_queue *queue)
{
	const struct sw_counters *counters = &queue->counters[worker->index];
	struct sw_limit *limit = &queue->port->limit;
	uint64_t frames = counters->rx_frames, bytes = counters->rx_bytes;
	enum sw_visit ret = queue->port->ops->visit(worker, queue);

	frames = counters->rx_frames - frames;
	bytes = counters->rx_bytes - bytes;
	worker->work += frames + bytes / WORK_BYTES;
	if (frames)
		queue->frame_len = bytes / frames;
	if (sw_limit_is_on(limit) && frames)
		sw_limit_take(limit, worker->now_ns, frames, bytes);
	return ret;
}

static void visit(struct sw_worker *worker, struct sw_queue *queue, uint64_t id)
{
	const struct sw_port_ops *ops = queue->port->ops;

	queue->is_listed = false;
	if (!may_take(worker, queue, id))
		return;
	sw_count(&queue->counters[worker->index].rx_visits, 1);
	switch (visit_within_limit(worker, queue)) {
	case SW_VISIT_MORE:
		sw_spin_found(&queue->spin, worker->now_ns, worker->spin_max_ns);
		worker->found_ns = worker->now_ns;
		worker->is_flushed = false;
		activate(worker, queue, id);
		break;
	case SW_VISIT_DRY:
		if (keeps_looking(worker, queue) || ops->arm(queue))
			activate(worker, queue, id);
		break;
	case SW_VISIT_CLOCK:
		wait_until(worker, queue, id, worker->now_ns + TICK_NS);
		break;
	case SW_VISIT_EMPTY:
		break;
	}
}

static void beat(struct sw_worker *worker)
{
	atomic_store_explicit(&worker->beat,
			      atomic_load_explicit(&worker->beat, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

/*
 * There is nothing to do just now: who keeps things back gives them out. Once after the last frame;
 * while queues are still looked at, not at the first moment that they are found empty.
 */
static void idle(struct sw_worker *worker)
{
	const struct sw_view *view = atomic_load(&worker->sw->view);

	if (worker->is_flushed ||
	    (!sw_ids_are_empty(&worker->active) && worker->now_ns - worker->found_ns < FLUSH_NS))
		return;
	worker->is_flushed = true;
	for (unsigned int i = 0; i < view->nr_mirrors; i++)
		if (view->mirror[i]->ops->idle)
			view->mirror[i]->ops->idle(&view->mirror[i]->queue[0]);
}

/*
 * Looks for events, now and then while there is something to do: it is a system call, and costs as
 * much as a frame or two. With no active queue it sleeps until there are some. Online before and
 * after.
 */
static int wait_for_events(struct sw_worker *worker, struct epoll_event *events)
{
	int nr;

	if (!sw_ids_are_empty(&worker->active)) {
		if (worker->now_ns - worker->looked_ns < LOOK_NS)
			return 0;
		/* Nothing was found meanwhile: on a processor that is shared, whoever is to fill the rings
		 * may be waiting for it. Who wants to poll has said that it is not. */
		if (worker->found_ns < worker->looked_ns && !worker->is_polling)
			sched_yield();
		worker->is_polling = false;
		worker->looked_ns = worker->now_ns;
		return epoll_wait(worker->epoll_fd, events, EVENTS_MAX, 0);
	}
	vhu_reader_offline(worker->reader);
	atomic_store(&worker->is_asleep, true);
	nr = epoll_wait(worker->epoll_fd, events, EVENTS_MAX, -1);
	atomic_store(&worker->is_asleep, false);
	vhu_reader_online(worker->reader);
	sw_watchdog_begin(worker->sw);
	worker->now_ns = worker->looked_ns = now_ns();
	return nr;
}

/* Visits to the active queues in turn, several to each if they are few. */
static void go_round(struct sw_worker *worker)
{
	worker->work = 0;
	for (int i = 0;
	     i < ROUND_MAX && worker->work < ROUND_WORK && !sw_ids_are_empty(&worker->active);
	     i++) {
		const struct sw_view *view = atomic_load(&worker->sw->view);
		uint64_t id = sw_ids_take(&worker->active);
		struct sw_queue *queue = sw_find(view, id);

		beat(worker);
		if (queue)
			visit(worker, queue, id);
		vhu_reader_quiescent(worker->reader);
	}
}

/*
 * Once a round. Who looks at empty rings on a processor that others want keeps it from those who fill them:
 * then adaptive rings are armed at once for a while, a longer one if it was so just before.
 */
static void read_clock(struct sw_worker *worker)
{
	uint64_t before_ns = worker->now_ns;

	worker->now_ns = now_ns();
	if (worker->found_ns >= before_ns || worker->now_ns - before_ns <= CROWD_NS)
		return;
	if (worker->now_ns > worker->crowded_ns + worker->crowd_pause_ns)
		worker->crowd_pause_ns = CROWD_MIN_NS;
	else if (worker->crowd_pause_ns < CROWD_MAX_NS)
		worker->crowd_pause_ns *= 2;
	worker->crowded_ns = worker->now_ns + worker->crowd_pause_ns;
}

static void work(struct sw_worker *worker)
{
	struct epoll_event events[EVENTS_MAX];
	int nr;

	vhu_reader_online(worker->reader);
	atomic_store(&worker->is_asleep, false);
	sw_watchdog_begin(worker->sw);
	while (!atomic_load_explicit(&worker->is_stopping, memory_order_relaxed)) {
		read_clock(worker);
		worker->forward.now_ms = worker->now_ns / 1000000;
		beat(worker);
		if (atomic_load_explicit(&worker->has_attention, memory_order_relaxed) &&
		    atomic_exchange(&worker->has_attention, false))
			attend(worker, atomic_load(&worker->sw->view));
		go_round(worker);
		idle(worker);

		nr = wait_for_events(worker, events);
		/* The ports may be others after a sleep; names tell which are still there. */
		if (nr > 0)
			take_events(worker, atomic_load(&worker->sw->view), events, nr);
		vhu_reader_quiescent(worker->reader);
	}
	vhu_reader_offline(worker->reader);
}

static void *thread(void *arg)
{
	struct sw_worker *worker = arg;

	atomic_store(&worker->tid, (int)syscall(SYS_gettid));
	work(worker);
	/* From here on nobody has to wake it. */
	atomic_store(&worker->is_asleep, true);
	return NULL;
}

/* ---- The control thread ---- */

static int watch(struct sw_worker *worker, int fd, uint64_t id)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.u64 = id };

	if (!epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, fd, &event))
		return 0;
	if (errno == EEXIST && !epoll_ctl(worker->epoll_fd, EPOLL_CTL_MOD, fd, &event))
		return 0;
	return -errno;
}

int sw_worker_init(struct sw_worker *worker, struct vhu_switch *sw, unsigned int index)
{
	int ret;

	worker->sw = sw;
	worker->index = index;
	worker->domain = sw->domain;
	worker->is_flushed = true;
	worker->spin_max_ns = sw->options.spin_us * 1000;
	atomic_store(&worker->is_asleep, true);
	worker->forward.worker = index;
	worker->forward.fdb = sw->fdb;
	worker->forward.aging = sw_aging_begin;
	worker->forward.arg = sw;
	worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	worker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	worker->tick_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (worker->epoll_fd < 0 || worker->wake_fd < 0 || worker->tick_fd < 0)
		return -errno;
	ret = watch(worker, worker->wake_fd, ID_WAKE);
	if (!ret)
		ret = watch(worker, worker->tick_fd, ID_TICK);
	if (!ret)
		ret = vhu_net_burst_new(&worker->burst);
	if (!ret)
		ret = vhu_reader_new(&worker->reader, worker->domain);
	return ret;
}

void sw_worker_destroy(struct sw_worker *worker)
{
	if (worker->epoll_fd >= 0)
		close(worker->epoll_fd);
	if (worker->wake_fd >= 0)
		close(worker->wake_fd);
	if (worker->tick_fd >= 0)
		close(worker->tick_fd);
	vhu_net_burst_free(worker->burst);
	vhu_reader_free(worker->reader);
	free(worker->active.id);
	free(worker->waiting.id);
}

int sw_worker_start(struct sw_worker *worker)
{
	sigset_t all, old;
	int ret;

	/* Signals are for the control thread, except those that a worker brings upon itself. */
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	sigdelset(&all, SIGABRT);
	sigdelset(&all, SIGSYS);
	sigdelset(&all, SW_SIGNAL);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&worker->thread, NULL, thread, worker);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	worker->is_running = !ret;
	return -ret;
}

static void wake(struct sw_worker *worker)
{
	uint64_t one = 1;
	/* Never read, so each write is an event; 2^64 of them do not happen. */
	ssize_t done = write(worker->wake_fd, &one, sizeof(one));

	(void)done;
}

void sw_worker_stop(struct sw_worker *worker)
{
	struct timespec until;

	if (!worker->is_running)
		return;
	atomic_store(&worker->is_stopping, true);
	wake(worker);
	/* It may hang in a write, and the watchdog does not look while we wait here. */
	do {
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec++;
	} while (pthread_timedjoin_np(worker->thread, NULL, &until) == ETIMEDOUT &&
		 !pthread_kill(worker->thread, SW_SIGNAL));
	worker->is_running = false;
	atomic_store(&worker->is_stopping, false);
}

void sw_worker_attend(struct sw_worker *worker, struct sw_queue *queue, unsigned int what)
{
	unsigned int slot = queue->port->slot;

	atomic_fetch_or(&queue->attention, (uint8_t)what);
	atomic_fetch_or(&worker->attention[slot / 64], UINT64_C(1) << (slot & 63));
	atomic_fetch_or(&worker->attention_words[slot / 64 / 64], UINT64_C(1) << (slot / 64 & 63));
	if (!atomic_exchange(&worker->has_attention, true))
		wake(worker);
}

int sw_worker_watch(struct sw_worker *worker, uint64_t id, int fd)
{
	return watch(worker, fd, id);
}

void sw_worker_unwatch(struct sw_worker *worker, int fd)
{
	epoll_ctl(worker->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}
