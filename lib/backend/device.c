/* SPDX-License-Identifier: MIT */
/*
 * The life of a backend: made, connected, closed, connected again, freed; and what its loop does.
 * Knows nothing of single requests.
 */
#include <backend/device.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <base/fd.h>

#define MS UINT64_C(1000000)

enum {
	RETRY_MIN_MS = 10,
	RETRY_MAX_MS = 1000,
	STALL_MS = 5000, /* a message begun and not finished, a reply that is not read */
	BUDGET = 64,	 /* messages for each call of process */
};

/* ---- what waits for readers ---- */

void vhu_be_retire(struct vhu_backend *be, void (*release)(void *what), void *what)
{
	struct retired *r = malloc(sizeof(*r));

	if (!r) {
		/* no room to remember it: wait here, which is slow and safe */
		vhu_domain_wait(be->domain, vhu_domain_ticket(be->domain));
		release(what);
		return;
	}
	r->release = release;
	r->what = what;
	r->next = be->retired;
	be->retired = r;
}

static void release_fd(void *what)
{
	int fd = (int)(intptr_t)what;

	vhu_fd_close(&fd);
}

void vhu_be_retire_fd(struct vhu_backend *be, int *fd)
{
	if (*fd >= 0)
		vhu_be_retire(be, release_fd, (void *)(intptr_t)*fd);
	*fd = -1;
}

static void release_retired(struct vhu_backend *be)
{
	while (be->retired) {
		struct retired *r = be->retired;

		be->retired = r->next;
		r->release(r->what);
		free(r);
	}
}

int vhu_be_watch(struct vhu_backend *be, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.fd = fd };

	return epoll_ctl(be->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

void vhu_be_rewatch(struct vhu_backend *be, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.fd = fd };

	epoll_ctl(be->epoll_fd, EPOLL_CTL_MOD, fd, &event);
}

void vhu_be_unwatch(struct vhu_backend *be, int fd)
{
	if (fd >= 0)
		epoll_ctl(be->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

/* While something waits for readers, their passing wakes us; and new messages do not. */
static void watch_domain(struct vhu_backend *be, bool on)
{
	if (be->watching_domain == on)
		return;
	be->watching_domain = on;
	if (on)
		vhu_be_watch(be, vhu_domain_fd(be->domain), EPOLLIN | EPOLLET);
	else
		vhu_be_unwatch(be, vhu_domain_fd(be->domain));
}

/*
 * A reader that comes online just now may be seen with an older epoch for a moment, so the answer
 * can go back from true to false: whenever it is false the domain has to be watched.
 */
static bool has_passed(struct vhu_backend *be)
{
	bool passed = vhu_domain_passed(be->domain, be->ticket);

	if (!passed)
		watch_domain(be, true);
	return passed;
}

/* Readers hold nothing any more of what was unpublished before the ticket. */
static void all_passed(struct vhu_backend *be)
{
	release_retired(be);
	watch_domain(be, false);
	for (unsigned int i = 0; i < be->nr_rings; i++) {
		if (be->rings[i].stop_ticket <= be->ticket)
			be->rings[i].stop_ticket = 0;
	}
}

static void take_ticket(struct vhu_backend *be)
{
	be->ticket = vhu_domain_ticket(be->domain);
	has_passed(be);
}

/* ---- timer: one for all deadlines ---- */

static void set_timer(struct vhu_backend *be)
{
	uint64_t at = be->retry_at;
	struct itimerspec spec = { 0 };

	if (be->deadline_at && (!at || be->deadline_at < at))
		at = be->deadline_at;
	if (at) {
		spec.it_value.tv_sec = (time_t)(at / (1000 * MS));
		spec.it_value.tv_nsec = (long)(at % (1000 * MS));
	}
	timerfd_settime(be->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

static void set_deadline(struct vhu_backend *be, bool wanted)
{
	if (wanted == !!be->deadline_at)
		return;
	be->deadline_at = wanted ? vhu_now_ns() + STALL_MS * MS : 0;
	set_timer(be);
}

static void retry_later(struct vhu_backend *be)
{
	if (!be->retry_ns)
		be->retry_ns = RETRY_MIN_MS * MS;
	be->retry_at = vhu_now_ns() + be->retry_ns;
	be->retry_ns = vhu_min_u64(be->retry_ns * 2, RETRY_MAX_MS * MS);
	set_timer(be);
}

/* ---- connection ---- */

void vhu_be_complain(struct vhu_backend *be, const char *text)
{
	if (be->ops.complaint)
		be->ops.complaint(be->arg, text);
}

static int begin(struct vhu_backend *be, int take_fd)
{
	int err = vhu_sock_new(&be->sock, take_fd, VHU_CHANNEL_MAIN, 0);

	if (err)
		return err;
	err = vhu_be_watch(be, vhu_sock_fd(be->sock), EPOLLIN);
	if (err) {
		vhu_sock_free(be->sock);
		be->sock = NULL;
		return err;
	}
	be->phase = PHASE_CONNECTED;
	vhu_be_emit(be, VHU_EVENT_CONNECTED, NULL, -1, NULL);
	if (be->ops.connected)
		be->ops.connected(be->arg);
	return 0;
}

/* While a request is parked its connection is not looked at, not even for its end. */
static void watch_connection(struct vhu_backend *be, bool on)
{
	if (!on) {
		vhu_be_unwatch(be, vhu_sock_fd(be->sock));
		if (be->channel)
			vhu_be_unwatch(be, vhu_sock_fd(be->channel));
		return;
	}
	vhu_be_watch(be, vhu_sock_fd(be->sock), EPOLLIN);
	if (be->channel)
		vhu_be_watch(be, vhu_sock_fd(be->channel), EPOLLIN);
}

/* Takes everything away from the data side; the rest follows when readers have passed. */
static void close_connection(struct vhu_backend *be, int err, const struct vhu_reason *why)
{
	be->close_err = err == -ECONNRESET ? 0 : err;
	be->close_why = *why;
	be->phase = PHASE_CLOSING;
	vhu_be_rings_stop(be);
	vhu_be_unwatch(be, vhu_sock_fd(be->sock));
	vhu_sock_free(be->sock);
	be->sock = NULL;
	vhu_be_drop_channel(be);
	vhu_be_inband_end(be);
	be->refused = 0;
	set_deadline(be, false);
	vhu_be_unwatch(be, be->listen_fd);
	take_ticket(be);
}

static void finish_closing(struct vhu_backend *be)
{
	int broken = vhu_be_rings_report(be);

	/* a data thread may have been held up after the connection was given up */
	if (broken && be->close_err != -EDEADLK)
		be->close_err = broken;
	all_passed(be);
	vhu_be_rings_clear(be);
	vhu_mem_free(be->mem);
	be->mem = NULL;
	vhu_dirty_free(be->log);
	be->log = NULL;
	vhu_inflight_area_free(be->inflight);
	be->inflight = NULL;
	be->features = 0;
	be->have_features = false;
	be->protocol_features = 0;
	be->status = 0;
	vhu_store_release(&be->poisoned, false);
	be->phase = PHASE_IDLE;
	if (be->listen_fd >= 0)
		vhu_be_watch(be, be->listen_fd, EPOLLIN);
	else if (!be->connect_path)
		be->phase = PHASE_ENDED;
	else if (!be->ending)
		retry_later(be);
	vhu_be_emit(be, VHU_EVENT_CLOSED, NULL, -1, be->close_why.text);
	if (be->ops.closed)
		be->ops.closed(be->arg, be->close_err, be->close_why.text);
}

/* When the timer says so: connects, or listens again. */
static void try_connect(struct vhu_backend *be)
{
	int fd;

	be->retry_at = 0;
	if (be->listen_fd >= 0 && be->phase != PHASE_CLOSING) {
		vhu_be_watch(be, be->listen_fd, EPOLLIN); /* -EEXIST: it was there all the time */
		return;
	}
	if (be->phase != PHASE_IDLE || be->ending || !be->connect_path)
		return;
	fd = vhu_sock_connect(be->connect_path);
	if (fd < 0 || begin(be, fd) < 0)
		retry_later(be);
}

static void accept_one(struct vhu_backend *be)
{
	int fd = vhu_sock_accept(be->listen_fd);

	if (fd == -EAGAIN)
		return;
	if (fd < 0) {
		/* out of fds, say: the connection stays in the queue, and is looked at again later */
		vhu_be_unwatch(be, be->listen_fd);
		be->retry_ns = RETRY_MAX_MS * MS;
		retry_later(be);
		return;
	}
	if (be->phase != PHASE_IDLE || be->ending) {
		vhu_fd_close(&fd);
		vhu_be_complain(be, "a second connection was refused: the socket has its frontend");
		return;
	}
	begin(be, fd);
}

static void read_messages(struct vhu_backend *be)
{
	struct vhu_reason why = { { 0 } };
	int err = 0;

	for (int i = 0; i < BUDGET && be->phase == PHASE_CONNECTED; i++) {
		err = vhu_sock_recv(be->sock, &be->request, &why);
		if (err <= 0)
			break;
		be->deadline_at = 0;
		be->retry_ns = 0; /* it talks: the next reconnect begins quickly again */
		err = vhu_be_dispatch(be, &why);
		if (err)
			break;
		if (be->phase != PHASE_PARKED)
			continue;
		take_ticket(be);
		if (!has_passed(be)) {
			watch_connection(be, false); /* the rest waits in the socket */
			break;
		}
		all_passed(be);
		be->phase = PHASE_CONNECTED;
		err = vhu_be_finish(be, &why);
		if (err)
			break;
	}
	if (err < 0)
		close_connection(be, err, &why);
}

static void after_parking(struct vhu_backend *be)
{
	struct vhu_reason why = { { 0 } };
	int err;

	all_passed(be);
	be->phase = PHASE_CONNECTED;
	watch_connection(be, true);
	err = vhu_be_finish(be, &why);
	if (err)
		close_connection(be, err, &why);
}

static void drain(int fd)
{
	uint64_t count;
	ssize_t got = read(fd, &count, sizeof(count));

	(void)got; /* non-blocking: what counts is that it is not readable any more */
}

static void check_deadline(struct vhu_backend *be)
{
	struct vhu_reason why;

	if (!be->deadline_at || vhu_now_ns() < be->deadline_at)
		return;
	vhu_refuse(&why, -ETIMEDOUT, "%s for %d s",
		   vhu_sock_has_unsent(be->sock) ? "the peer has not read our replies" :
						   "the peer has not finished a message",
		   STALL_MS / 1000);
	close_connection(be, -ETIMEDOUT, &why);
}

/* Closes the connection if the data side, or a fault under our own hands, says that it has to. */
static bool end_if_broken(struct vhu_backend *be)
{
	int broken = vhu_be_rings_report(be);
	struct vhu_reason why;

	if (!broken)
		return false;
	vhu_refuse(&why, broken,
		   broken == -EFAULT ? "guest memory vanished under us: its file was truncated" :
				       "the call eventfd was made to block us");
	close_connection(be, broken, &why);
	return true;
}

static void process_connection(struct vhu_backend *be)
{
	struct vhu_reason why = { { 0 } };

	if (end_if_broken(be))
		return;
	vhu_be_collect_calls(be);
	if (be->phase == PHASE_PARKED) {
		if (!has_passed(be))
			return;
		after_parking(be);
	}
	if (be->phase == PHASE_CONNECTED && vhu_sock_has_unsent(be->sock)) {
		int err = vhu_sock_flush(be->sock);

		if (err < 0) {
			vhu_refuse(&why, err, "a reply cannot be sent: %s", strerror(-err));
			close_connection(be, err, &why);
			return;
		}
	}
	if (be->phase == PHASE_CONNECTED)
		read_messages(be);
	/* handlers read rings too, and then there may be no data thread to tell of a fault */
	if (be->phase != PHASE_CONNECTED || end_if_broken(be))
		return;
	vhu_be_serve_channel(be);
	set_deadline(be, vhu_sock_is_partial(be->sock) || vhu_sock_has_unsent(be->sock));
	vhu_be_rewatch(be, vhu_sock_fd(be->sock),
		       vhu_sock_has_unsent(be->sock) ? EPOLLIN | EPOLLOUT : EPOLLIN);
	check_deadline(be);
}

int vhu_backend_process(struct vhu_backend *be)
{
	struct epoll_event events[8];
	bool want_accept = false;
	int n;

	do {
		n = epoll_wait(be->epoll_fd, events, VHU_ARRAY_SIZE(events), 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		if (events[i].data.fd == be->wake_fd || events[i].data.fd == be->timer_fd)
			drain(events[i].data.fd);
		else if (events[i].data.fd == be->listen_fd)
			want_accept = true;
	}
	/* the old connection first: its end may be what makes room for the next */
	if (be->phase == PHASE_CONNECTED || be->phase == PHASE_PARKED)
		process_connection(be);
	if (be->phase == PHASE_CLOSING && has_passed(be))
		finish_closing(be);
	if (want_accept && be->phase != PHASE_CLOSING)
		accept_one(be);
	if (be->retry_at && vhu_now_ns() >= be->retry_at)
		try_connect(be);
	return 0;
}

/* ---- made, set up, freed ---- */

static int check_options(const struct vhu_backend_options *o)
{
	const uint64_t served = VHU_BACKEND_PROTOCOL_FEATURES | VHU_MASK(VHU_P_CONFIG_BIT) |
				VHU_MASK(VHU_P_INFLIGHT_SHMFD_BIT) |
				VHU_MASK(VHU_P_INBAND_NOTIFICATIONS_BIT);
	const uint64_t never = VHU_MASK(VHU_F_ACCESS_PLATFORM_BIT) |
			       VHU_MASK(VHU_F_NOTIFICATION_DATA_BIT) |
			       VHU_MASK(VHU_F_RING_RESET_BIT) | VHU_MASK(VHU_F_NOTIFY_ON_EMPTY_BIT);

	if (o->size < sizeof(*o) || !o->domain || (o->ops && o->ops->size < sizeof(*o->ops)))
		return -EINVAL;
	if (!o->nr_rings || o->nr_rings > VHU_MAX_RINGS)
		return -EINVAL;
	if ((o->protocol_features & ~served) || (o->features & never) ||
	    !vhu_be_inband_is_whole(o->protocol_features))
		return -EINVAL;
	return 0;
}

int vhu_backend_new(struct vhu_backend **ret_backend, const struct vhu_backend_options *options)
{
	struct vhu_backend *be;
	int err = check_options(options);

	if (err)
		return err;
	be = calloc(1, sizeof(*be));
	if (!be)
		return -ENOMEM;
	if (options->ops)
		be->ops = *options->ops;
	be->arg = options->arg;
	be->domain = options->domain;
	be->offered = options->features;
	be->offered_protocol = options->protocol_features;
	be->nr_rings = options->nr_rings;
	be->queue_num = options->queue_num;
	be->listen_fd = be->epoll_fd = be->wake_fd = be->timer_fd = be->inband_fd = -1;
	be->rings = calloc(be->nr_rings, sizeof(*be->rings));
	be->queues = calloc(be->nr_rings, sizeof(*be->queues));
	err = -ENOMEM;
	if (!be->rings || !be->queues)
		goto fail;
	be->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	be->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	be->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (be->epoll_fd < 0 || be->wake_fd < 0 || be->timer_fd < 0) {
		err = -errno;
		goto fail;
	}
	vhu_be_rings_init(be);
	err = vhu_be_watch(be, be->wake_fd, EPOLLIN);
	if (!err)
		err = vhu_be_watch(be, be->timer_fd, EPOLLIN);
	if (err)
		goto fail;
	*ret_backend = be;
	return 0;
fail:
	vhu_backend_free(be);
	return err;
}

static bool has_source(const struct vhu_backend *be)
{
	return be->listen_fd >= 0 || be->connect_path || be->phase != PHASE_IDLE;
}

int vhu_backend_listen(struct vhu_backend *backend, const char *path, unsigned int mode,
		       const char *group)
{
	char *copy;
	int fd;

	if (has_source(backend))
		return -EBUSY;
	copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	fd = vhu_sock_listen(path, mode, group);
	if (fd < 0) {
		free(copy);
		return fd;
	}
	backend->listen_path = copy;
	backend->listen_fd = fd;
	return vhu_be_watch(backend, fd, EPOLLIN);
}

int vhu_backend_connect(struct vhu_backend *backend, const char *path)
{
	if (has_source(backend))
		return -EBUSY;
	backend->connect_path = strdup(path);
	if (!backend->connect_path)
		return -ENOMEM;
	try_connect(backend);
	return 0;
}

int vhu_backend_take_fd(struct vhu_backend *backend, int take_fd)
{
	int listening = 0, domain = 0, err;
	socklen_t len = sizeof(listening);

	if (has_source(backend)) {
		vhu_fd_close(&take_fd);
		return -EBUSY;
	}
	if (getsockopt(take_fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0) {
		err = -errno;
		vhu_fd_close(&take_fd);
		return err;
	}
	if (!listening)
		return begin(backend, take_fd);
	len = sizeof(domain);
	if (getsockopt(take_fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0 || domain != AF_UNIX) {
		vhu_fd_close(&take_fd);
		return -EPROTOTYPE;
	}
	err = vhu_fd_nonblock(take_fd);
	if (!err && fcntl(take_fd, F_SETFD, FD_CLOEXEC) < 0)
		err = -errno;
	if (err) {
		vhu_fd_close(&take_fd);
		return err;
	}
	backend->listen_fd = take_fd;
	return vhu_be_watch(backend, take_fd, EPOLLIN);
}

int vhu_backend_fd(const struct vhu_backend *backend)
{
	return backend->epoll_fd;
}

/* The place is free again at once, whatever the connection is still waiting for. */
static void stop_listening(struct vhu_backend *be)
{
	if (be->listen_path)
		unlink(be->listen_path);
	free(be->listen_path);
	be->listen_path = NULL;
	vhu_be_unwatch(be, be->listen_fd);
	vhu_fd_close(&be->listen_fd);
}

int vhu_backend_close(struct vhu_backend *backend)
{
	struct vhu_reason why;

	if (!backend->ending) {
		backend->ending = true;
		backend->retry_at = 0;
		set_timer(backend);
		if (backend->phase == PHASE_CONNECTED || backend->phase == PHASE_PARKED) {
			vhu_refuse(&why, 0, "closed by this program");
			close_connection(backend, 0, &why);
		}
		stop_listening(backend);
	}
	if (backend->phase == PHASE_CLOSING) {
		if (!has_passed(backend))
			return -EINPROGRESS;
		finish_closing(backend);
	}
	return 0;
}

void vhu_backend_free(struct vhu_backend *backend)
{
	if (!backend)
		return;
	while (backend->timer_fd >= 0 && vhu_backend_close(backend) == -EINPROGRESS)
		vhu_domain_wait(backend->domain, backend->ticket);
	stop_listening(backend);
	vhu_fd_close(&backend->epoll_fd);
	vhu_fd_close(&backend->wake_fd);
	vhu_fd_close(&backend->timer_fd);
	free(backend->connect_path);
	free(backend->rings);
	free(backend->queues);
	free(backend);
}

/* ---- what was agreed ---- */

uint64_t vhu_backend_features(const struct vhu_backend *backend)
{
	return backend->features;
}

uint64_t vhu_backend_protocol_features(const struct vhu_backend *backend)
{
	return backend->protocol_features;
}

bool vhu_backend_is_connected(const struct vhu_backend *backend)
{
	return backend->phase == PHASE_CONNECTED || backend->phase == PHASE_PARKED;
}

enum vhu_ring_state vhu_backend_ring_state(const struct vhu_backend *backend, unsigned int ring)
{
	return ring < backend->nr_rings ? backend->rings[ring].state : VHU_RING_STOPPED_DISABLED;
}

struct vhu_queue *vhu_backend_queue(struct vhu_backend *backend, unsigned int ring)
{
	return ring < backend->nr_rings ? &backend->queues[ring] : NULL;
}
