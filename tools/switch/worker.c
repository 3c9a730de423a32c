// SPDX-License-Identifier: MIT
/*
 * A worker: visits the queues that have work, in turn, and sleeps when none has. It knows neither
 * kinds of ports nor what becomes of a frame.
 *
 * A queue is active from the moment that an event, or the control thread, tells of work, until it
 * was found empty after kicks had been asked for. No pointer to a port outlives the round in which
 * it was found: lists and events hold names.
 */

#include <errno.h>
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
	ROUND_MAX = 64, /* visits before new events are looked for */
	TICK_NS = 1000000,
};

/* No queue has these names: its port's serial would be the last of 2^32. */
#define ID_WAKE UINT64_MAX
#define ID_TICK (UINT64_MAX - 1)

/* ---- Lists of names ---- */

static bool ids_are_empty(const struct sw_ids *ids)
{
	return ids->head == ids->tail;
}

static bool ids_put(struct sw_ids *ids, uint64_t id)
{
	if (!ids->id || ids->tail - ids->head > ids->mask) {
		uint32_t places = ids->id ? (ids->mask + 1) * 2 : 64;
		uint64_t *more = calloc(places, sizeof(*more));

		if (!more)
			return false;
		for (uint32_t i = ids->head; i != ids->tail; i++)
			/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): without id head is tail */
			more[i & (places - 1)] = ids->id[i & ids->mask];
		free(ids->id);
		ids->id = more;
		ids->mask = places - 1;
	}
	ids->id[ids->tail++ & ids->mask] = id;
	return true;
}

static uint64_t ids_take(struct sw_ids *ids)
{
	return ids->id[ids->head++ & ids->mask];
}

/* ---- The worker's thread ---- */

static void activate(struct sw_worker *worker, struct sw_queue *queue)
{
	if (!queue->is_listed)
		queue->is_listed = ids_put(&worker->active, sw_id(queue));
}

static void wait_for_tick(struct sw_worker *worker, struct sw_queue *queue)
{
	const struct itimerspec once = { .it_value.tv_nsec = TICK_NS };

	if (!queue->is_waiting)
		queue->is_waiting = ids_put(&worker->waiting, sw_id(queue));
	if (!worker->is_ticking)
		worker->is_ticking = !timerfd_settime(worker->tick_fd, 0, &once, NULL);
}

/* All that wait for the clock get their turn; who still has to wait will say so again. */
static void tick(struct sw_worker *worker, const struct sw_view *view)
{
	worker->is_ticking = false;
	while (!ids_are_empty(&worker->waiting)) {
		struct sw_queue *queue = sw_find(view, ids_take(&worker->waiting));

		if (!queue)
			continue;
		queue->is_waiting = false;
		activate(worker, queue);
	}
}

static void attend(struct sw_worker *worker, const struct sw_view *view)
{
	for (unsigned int slot = 0; slot < SW_PORTS_MAX; slot++) {
		struct sw_port *port = view->slot[slot];

		for (unsigned int i = 0; port && i < port->nr_queues; i++) {
			struct sw_queue *queue = &port->queue[i];

			if (queue->worker != worker->index ||
			    !atomic_exchange(&queue->attention, false))
				continue;
			if (port->ops->attend)
				port->ops->attend(queue);
			if (sw_announce(&worker->forward, view, queue))
				sw_worker_attend(worker, queue);
			activate(worker, queue);
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
			activate(worker, queue);
		}
	}
}

static void visit(struct sw_worker *worker, struct sw_queue *queue)
{
	queue->is_listed = false;
	switch (queue->port->ops->visit(worker, queue)) {
	case SW_VISIT_MORE:
		activate(worker, queue);
		break;
	case SW_VISIT_CLOCK:
		wait_for_tick(worker, queue);
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

static void idle(const struct sw_view *view)
{
	for (unsigned int i = 0; i < view->nr_mirrors; i++)
		if (view->mirror[i]->ops->idle)
			view->mirror[i]->ops->idle(&view->mirror[i]->queue[0]);
}

/* Looks for events; with no active queue it sleeps until there are some. Online before and after. */
static int wait_for_events(struct sw_worker *worker, struct epoll_event *events)
{
	bool is_idle = ids_are_empty(&worker->active);
	int nr;

	if (!is_idle)
		return epoll_wait(worker->epoll_fd, events, EVENTS_MAX, 0);
	vhu_reader_offline(worker->reader);
	atomic_store(&worker->is_asleep, true);
	nr = epoll_wait(worker->epoll_fd, events, EVENTS_MAX, -1);
	atomic_store(&worker->is_asleep, false);
	vhu_reader_online(worker->reader);
	sw_watchdog_begin(worker->sw);
	return nr;
}

/* One visit to each active queue, or to the first of many. */
static void go_round(struct sw_worker *worker)
{
	for (int i = 0; i < ROUND_MAX && !ids_are_empty(&worker->active); i++) {
		const struct sw_view *view = atomic_load(&worker->sw->view);
		struct sw_queue *queue = sw_find(view, ids_take(&worker->active));

		beat(worker);
		if (queue)
			visit(worker, queue);
		vhu_reader_quiescent(worker->reader);
	}
}

static void work(struct sw_worker *worker)
{
	struct epoll_event events[EVENTS_MAX];
	int nr;

	vhu_reader_online(worker->reader);
	atomic_store(&worker->is_asleep, false);
	sw_watchdog_begin(worker->sw);
	while (!atomic_load(&worker->is_stopping)) {
		worker->forward.now_ms = sw_now_ms();
		beat(worker);
		if (atomic_load_explicit(&worker->has_attention, memory_order_relaxed) &&
		    atomic_exchange(&worker->has_attention, false))
			attend(worker, atomic_load(&worker->sw->view));
		go_round(worker);
		if (ids_are_empty(&worker->active))
			idle(atomic_load(&worker->sw->view));

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

void sw_worker_attend(struct sw_worker *worker, struct sw_queue *queue)
{
	atomic_store(&queue->attention, true);
	if (!atomic_exchange(&worker->has_attention, true))
		wake(worker);
}

int sw_worker_watch(struct sw_worker *worker, struct sw_queue *queue, int fd)
{
	return watch(worker, fd, sw_id(queue));
}

void sw_worker_unwatch(struct sw_worker *worker, int fd)
{
	epoll_ctl(worker->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}
