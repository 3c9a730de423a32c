// SPDX-License-Identifier: MIT
/*
 * The switch as a whole: made, started, its ports added and removed, its control thread's events.
 * What workers may still hold is unpublished first and freed when a ticket of the domain has passed.
 */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "switch/control.h"

enum {
	EVENTS_MAX = 64,
	DESKS_MAPPED = 1 << 15, /* bytes */
};

void sw_log(struct vhu_switch *sw, int level, const char *fmt, ...)
{
	char text[512];
	va_list args;

	if (!sw->options.log)
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	sw->options.log(sw->options.arg, level, text);
}

/* ---- Events ---- */

int sw_watch_add(struct vhu_switch *sw, struct sw_watch *watch, int fd, uint32_t events,
		 void (*fn)(void *arg), void *arg)
{
	struct epoll_event event = { .events = events, .data.ptr = watch };

	*watch = (struct sw_watch){ .fn = fn, .arg = arg, .fd = fd };
	return epoll_ctl(sw->epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

void sw_watch_remove(struct vhu_switch *sw, struct sw_watch *watch)
{
	if (watch->fn)
		epoll_ctl(sw->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
	watch->fn = NULL;
}

/* ---- The view ---- */

static int publish_view(struct vhu_switch *sw)
{
	struct sw_view *view = calloc(1, sizeof(*view)), *old;

	if (!view)
		return -ENOMEM;
	for (struct sw_port *port = sw->ports; port; port = port->next) {
		view->slot[port->slot] = port;
		if (port->ops->is_mirror)
			view->mirror[view->nr_mirrors++] = port;
		else
			view->member[view->nr_members++] = port;
	}
	old = atomic_exchange(&sw->view, view);
	if (old) {
		old->ticket = vhu_domain_ticket(sw->domain);
		old->next = sw->old_views;
		sw->old_views = old;
	}
	return 0;
}

/* ---- Ports ---- */

static const struct sw_port_ops *const kinds[] = {
	[SW_KIND_VHOST] = &sw_port_vhost_ops,
	[SW_KIND_TAP] = &sw_port_tap_ops,
	[SW_KIND_PCAP] = &sw_port_pcap_ops,
};

/*
 * What each worker keeps of each queue. With many workers that is much, and most of it is never
 * used: in a mapping of its own, memory is taken page by page as it is touched.
 */
static size_t desks_size(const struct sw_port *port)
{
	return (size_t)port->nr_queues * port->sw->nr_workers *
	       (sizeof(struct sw_counters) + sizeof(struct sw_touch));
}

static int alloc_desks(struct sw_port *port)
{
	unsigned int nr_workers = port->sw->nr_workers;
	size_t size = desks_size(port);
	struct sw_counters *counters;
	struct sw_touch *touch;

	if (size >= DESKS_MAPPED) {
		counters = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
				0);
		if (counters == MAP_FAILED)
			return -ENOMEM;
	} else {
		size = (size + _Alignof(struct sw_counters) - 1) & -_Alignof(struct sw_counters);
		counters = aligned_alloc(_Alignof(struct sw_counters), size);
		if (!counters)
			return -ENOMEM;
		memset(counters, 0, size);
	}
	touch = (struct sw_touch *)(void *)(counters + (size_t)port->nr_queues * nr_workers);
	for (unsigned int i = 0; i < port->nr_queues; i++) {
		port->queue[i].counters = counters + (size_t)i * nr_workers;
		port->queue[i].touch = touch + (size_t)i * nr_workers;
	}
	return 0;
}

static void free_desks(struct sw_port *port)
{
	struct sw_counters *counters = port->queue ? port->queue[0].counters : NULL;

	if (counters && desks_size(port) >= DESKS_MAPPED)
		munmap(counters, desks_size(port));
	else
		free(counters);
}

static void free_port(struct sw_port *port)
{
	port->ops->free(port);
	free_desks(port);
	free(port->queue);
	free(port);
}

static int alloc_queues(struct sw_port *port)
{
	const struct vhu_switch *sw = port->sw;
	enum sw_mode mode = port->spec.ring_mode ? port->spec.ring_mode : sw->options.mode;

	port->nr_queues = port->spec.nr_queues;
	port->queue = calloc(port->nr_queues, sizeof(*port->queue));
	if (!port->queue)
		return -ENOMEM;
	for (unsigned int i = 0; i < port->nr_queues; i++) {
		struct sw_queue *queue = &port->queue[i];

		queue->port = port;
		queue->index = (uint16_t)i;
		atomic_init(&queue->hold, sw_hold(0, (port->slot + i) % sw->nr_workers));
		atomic_init(&queue->mode, (uint8_t)mode);
		atomic_init(&queue->kick_fd, -1);
	}
	return alloc_desks(port);
}

static int make_port(struct vhu_switch *sw, const struct sw_spec *spec, unsigned int slot,
		     struct sw_port **ret_port, char *err, size_t size)
{
	struct sw_port *port = calloc(1, sizeof(*port));
	int ret;

	if (!port)
		return -ENOMEM;
	port->ops = kinds[spec->kind];
	port->sw = sw;
	port->spec = *spec;
	port->slot = (uint16_t)slot;
	port->serial = ++sw->serial;
	atomic_init(&port->mtu, spec->mtu);
	sw_limit_set(&port->limit, spec->bits_a_second, spec->frames_a_second);
	ret = alloc_queues(port);
	if (!ret)
		ret = port->ops->open(port, err, size);
	if (ret)
		free_port(port);
	else
		*ret_port = port;
	return ret;
}

static struct sw_port **find_link(struct vhu_switch *sw, const char *name)
{
	struct sw_port **link = &sw->ports;

	while (*link && strcmp((*link)->spec.name, name))
		link = &(*link)->next;
	return link;
}

struct sw_port *sw_find_port(struct vhu_switch *sw, const char *name)
{
	/* Who asks for all queues of all ports asks for the same one often. */
	if (!sw->last_found || strcmp(sw->last_found->spec.name, name))
		sw->last_found = *find_link(sw, name);
	return sw->last_found;
}

int sw_check_spec(const char *spec, char *err, size_t size)
{
	struct sw_spec parsed;

	return sw_spec_parse(spec, &parsed, err, size);
}

/* Frees what no worker holds any more. True: there is more to come. */
static bool reap(struct vhu_switch *sw)
{
	struct sw_view **view = &sw->old_views;
	struct sw_port **link = &sw->leaving;

	while (*view) {
		struct sw_view *old = *view;

		if (!vhu_domain_passed(sw->domain, old->ticket)) {
			view = &old->next;
			continue;
		}
		*view = old->next;
		free(old);
	}
	while (*link) {
		struct sw_port *port = *link;

		if (port->ops->close(port) == -EINPROGRESS ||
		    !vhu_domain_passed(sw->domain, port->ticket)) {
			link = &port->next;
			continue;
		}
		*link = port->next;
		sw_fdb_forget_port(sw->fdb, port->slot, true);
		sw->slot[port->slot] = NULL;
		free_port(port);
	}
	return sw_moves_finish(sw) || sw->old_views || sw->leaving;
}

int sw_add_port(struct vhu_switch *sw, const char *spec, char *err, size_t size)
{
	struct sw_spec parsed;
	struct sw_port *port, **link;
	unsigned int slot = 0;
	int ret;

	if (size)
		err[0] = '\0';
	ret = sw_spec_parse(spec, &parsed, err, size);
	if (ret)
		return ret;
	link = find_link(sw, parsed.name);
	if (*link) {
		snprintf(err, size, "there is a port %s already", parsed.name);
		return -EEXIST;
	}
	while (slot < SW_PORTS_MAX && sw->slot[slot])
		slot++;
	ret = slot < SW_PORTS_MAX ? make_port(sw, &parsed, slot, &port, err, size) : -ENOSPC;
	if (!ret) {
		*link = port;
		ret = publish_view(sw);
		if (ret) {
			*link = NULL;
			free_port(port);
		}
	}
	if (ret) {
		if (size && !err[0])
			snprintf(err, size, "%s", strerror(-ret));
		return ret;
	}
	sw->slot[slot] = port;
	if (port->ops->start)
		port->ops->start(port);
	/* Workers that sleep hold the old view no more, and will tell of nothing. */
	reap(sw);
	return 0;
}

int sw_del_port(struct vhu_switch *sw, const char *name)
{
	const struct timespec moment = { .tv_nsec = 200000 };
	struct sw_port **link = find_link(sw, name), *port = *link;
	int ret;

	if (!port)
		return -ENOENT;
	*link = port->next;
	ret = publish_view(sw);
	if (ret) {
		*link = port;
		return ret;
	}
	sw->last_found = NULL;
	sw_moves_forget(port);
	port->ticket = vhu_domain_ticket(sw->domain);
	port->next = sw->leaving;
	sw->leaving = port;
	/* Nearly always it is through in some microseconds, and then the path is free again too. */
	for (int i = 0; reap(sw) && i < 20; i++)
		nanosleep(&moment, NULL);
	return 0;
}

void sw_port_failed(struct sw_port *port, int err)
{
	port->failed = err;
	sw_log(port->sw, LOG_ERR, "%s: out of service until it is removed and added anew: %s",
	       port->spec.name, err == -EDEADLK ? "it held up the others" : strerror(-err));
}

/* ---- The whole ---- */

static void on_domain(void *arg)
{
	/* What the event is for is done after each round of events. */
	(void)arg;
}

static int init(struct vhu_switch *sw)
{
	uint64_t seed[2];
	int ret;

	if (getrandom(seed, sizeof(seed), 0) != sizeof(seed))
		return -EIO;
	sw->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (sw->epoll_fd < 0)
		return -errno;
	ret = sw_fdb_new(&sw->fdb, sw->options.fdb_size, SW_PORTS_MAX, seed);
	if (!ret)
		ret = vhu_domain_new(&sw->domain);
	if (!ret)
		ret = sw_watch_add(sw, &sw->domain_watch, vhu_domain_fd(sw->domain),
				   EPOLLIN | EPOLLET, on_domain, sw);
	if (!ret)
		ret = sw_aging_init(sw);
	if (!ret)
		ret = sw_watchdog_init(sw);
	for (unsigned int i = 0; !ret && i < sw->nr_workers; i++)
		ret = sw_worker_init(&sw->worker[i], sw, i);
	return ret ? ret : publish_view(sw);
}

int sw_new(struct vhu_switch **ret_sw, const struct sw_options *options)
{
	struct vhu_switch *sw = calloc(1, sizeof(*sw));
	int ret = -EINVAL;

	if (!sw)
		return -ENOMEM;
	sw->options = *options;
	if (!sw->options.fdb_size)
		sw->options.fdb_size = SW_FDB_SIZE_DEFAULT;
	if (!sw->options.ageing_s)
		sw->options.ageing_s = SW_AGEING_DEFAULT;
	if (sw->options.mode == SW_MODE_DEFAULT)
		sw->options.mode = SW_MODE_ADAPTIVE;
	if (!sw->options.spin_us)
		sw->options.spin_us = SW_SPIN_DEFAULT;
	sw->nr_workers = options->nr_workers ? options->nr_workers : 1;
	sw->epoll_fd = -1;
	sw->aging_watch.fd = -1;
	sw->watchdog_watch.fd = -1;
	if (sw->nr_workers > SW_WORKERS_MAX || sw->options.fdb_size > SW_FDB_SIZE_MAX ||
	    sw->options.mode >= SW_MODE_END || sw->options.spin_us > SW_SPIN_MAX) {
		free(sw);
		return ret;
	}
	sw->worker = calloc(sw->nr_workers, sizeof(*sw->worker));
	for (unsigned int i = 0; sw->worker && i < sw->nr_workers; i++)
		sw->worker[i].epoll_fd = sw->worker[i].wake_fd = sw->worker[i].tick_fd = -1;
	ret = sw->worker ? init(sw) : -ENOMEM;
	if (ret)
		sw_free(sw);
	else
		*ret_sw = sw;
	return ret;
}

int sw_start(struct vhu_switch *sw)
{
	int ret = sw_signals_take(sw);

	if (ret)
		return ret;
	sw->is_running = true;
	for (unsigned int i = 0; !ret && i < sw->nr_workers; i++)
		ret = sw_worker_start(&sw->worker[i]);
	if (ret)
		sw_stop(sw);
	return ret;
}

void sw_stop(struct vhu_switch *sw)
{
	if (!sw->is_running)
		return;
	for (unsigned int i = 0; i < sw->nr_workers; i++)
		sw_worker_stop(&sw->worker[i]);
	sw->is_running = false;
}

void sw_free(struct vhu_switch *sw)
{
	if (!sw)
		return;
	sw_stop(sw);
	/* No worker runs, so each close() is through at its first call. */
	for (struct sw_port **ports = &sw->ports;;) {
		struct sw_port *port = *ports;

		if (!port && ports == &sw->leaving)
			break;
		if (!port) {
			ports = &sw->leaving;
			continue;
		}
		*ports = port->next;
		port->ops->close(port);
		free_port(port);
	}
	for (unsigned int i = 0; sw->worker && i < sw->nr_workers; i++)
		sw_worker_destroy(&sw->worker[i]);
	free(sw->worker);
	/* Control side accesses to guest memory end only with the last port. */
	if (sw->domain)
		sw_signals_drop(sw);
	free(atomic_load(&sw->view));
	while (sw->old_views) {
		struct sw_view *old = sw->old_views;

		sw->old_views = old->next;
		free(old);
	}
	sw_fdb_free(sw->fdb);
	vhu_domain_free(sw->domain);
	if (sw->aging_watch.fd >= 0)
		close(sw->aging_watch.fd);
	if (sw->watchdog_watch.fd >= 0)
		close(sw->watchdog_watch.fd);
	if (sw->epoll_fd >= 0)
		close(sw->epoll_fd);
	free(sw);
}

int sw_fd(const struct vhu_switch *sw)
{
	return sw->epoll_fd;
}

int sw_process(struct vhu_switch *sw)
{
	struct epoll_event events[EVENTS_MAX];
	int nr = epoll_wait(sw->epoll_fd, events, EVENTS_MAX, 0);

	if (nr < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < nr; i++) {
		struct sw_watch *watch = events[i].data.ptr;

		if (watch->fn)
			watch->fn(watch->arg);
	}
	reap(sw);
	return 0;
}
