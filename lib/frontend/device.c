/* SPDX-License-Identifier: MIT */
/*
 * The life of a frontend: made, connected, lost, connected again, freed; and what its loop does.
 * Knows nothing of single requests.
 */
#include <frontend/device.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <base/fd.h>

#define MS UINT64_C(1000000)

enum {
	RETRY_MIN_MS = 5,
	RETRY_MAX_MS = 50,     /* a socket that nobody listens on costs next to nothing */
	REFUSED_MAX_MS = 1000, /* a backend that will not do is talked to less often */
	LIVED_MS = 1000,
	REPLY_MS = 5000,
	BUDGET = 64, /* messages for each call of process */
};

const char *vhu_device_state_name(enum vhu_device_state state)
{
	static const char *const names[VHU_DEVICE_STATE_END] = {
		[VHU_DEVICE_GONE] = "gone",	  [VHU_DEVICE_GREETING] = "greeting",
		[VHU_DEVICE_STOPPED] = "stopped", [VHU_DEVICE_STARTING] = "starting",
		[VHU_DEVICE_RUNNING] = "running", [VHU_DEVICE_STOPPING] = "stopping",
		[VHU_DEVICE_FAILED] = "failed",
	};

	return (unsigned int)state < VHU_DEVICE_STATE_END ? names[state] : "unknown";
}

/* ---- telling ---- */

void vhu_fe_complain(struct vhu_frontend *fe, const char *text)
{
	if (fe->ops.complaint)
		fe->ops.complaint(fe->arg, text);
}

void vhu_fe_emit(struct vhu_frontend *fe, enum vhu_event_kind kind, const struct vhu_msg *msg,
		 int ring, const char *text)
{
	struct vhu_event event = { .kind = (uint8_t)kind,
				   .ring = (int16_t)ring,
				   .request = msg ? msg->hdr.request : 0,
				   .msg = msg,
				   .text = text };

	if (!fe->ops.event)
		return;
	event.time_ns = vhu_now_ns();
	fe->ops.event(fe->arg, &event);
}

void vhu_fe_set_state(struct vhu_frontend *fe, enum vhu_device_state to)
{
	struct vhu_event event = { .kind = VHU_EVENT_DEVICE_STATE,
				   .from = (uint8_t)fe->state,
				   .to = (uint8_t)to,
				   .ring = -1 };

	if (fe->state == to)
		return;
	fe->state = to;
	if (!fe->ops.event)
		return;
	event.time_ns = vhu_now_ns();
	fe->ops.event(fe->arg, &event);
}

/* ---- poll set and timer ---- */

int vhu_fe_watch(struct vhu_frontend *fe, int fd, enum source source, unsigned int ring)
{
	struct epoll_event event = { .events = EPOLLIN };

	event.data.u64 = (uint64_t)source << 32 | ring;
	return epoll_ctl(fe->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

void vhu_fe_unwatch(struct vhu_frontend *fe, int fd)
{
	if (fd >= 0)
		epoll_ctl(fe->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

static void watch_sock(struct vhu_frontend *fe)
{
	struct epoll_event event = { .events = EPOLLIN };

	event.data.u64 = (uint64_t)SOURCE_SOCK << 32;
	if (vhu_sock_has_unsent(fe->sock))
		event.events |= EPOLLOUT;
	epoll_ctl(fe->epoll_fd, EPOLL_CTL_MOD, vhu_sock_fd(fe->sock), &event);
}

void vhu_fe_wake(struct vhu_frontend *fe)
{
	uint64_t one = 1;
	ssize_t done = write(fe->wake_fd, &one, sizeof(one));

	(void)done; /* at its maximum it is readable anyway */
}

static void drain(int fd)
{
	uint64_t count;
	ssize_t got = read(fd, &count, sizeof(count));

	(void)got; /* non-blocking: what counts is that it is not readable any more */
}

static void set_timer(struct vhu_frontend *fe)
{
	uint64_t at = fe->retry_at;
	struct itimerspec spec = { 0 };

	if (fe->deadline_at && (!at || fe->deadline_at < at))
		at = fe->deadline_at;
	if (at) {
		spec.it_value.tv_sec = (time_t)(at / (1000 * MS));
		spec.it_value.tv_nsec = (long)(at % (1000 * MS));
	}
	timerfd_settime(fe->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

void vhu_fe_set_deadline(struct vhu_frontend *fe, bool wanted)
{
	if (!wanted && !fe->deadline_at)
		return;
	fe->deadline_at = wanted ? vhu_now_ns() + fe->timeout_ms * MS : 0;
	set_timer(fe);
}

static void retry_later(struct vhu_frontend *fe, uint64_t max_ms)
{
	if (!fe->retry_ns)
		fe->retry_ns = RETRY_MIN_MS * MS;
	fe->retry_ns = vhu_min_u64(fe->retry_ns, max_ms * MS);
	fe->retry_at = vhu_now_ns() + fe->retry_ns;
	fe->retry_ns *= 2;
	set_timer(fe);
}

/* ---- connection ---- */

static int begin(struct vhu_frontend *fe, int take_fd)
{
	struct job *greet;
	int err = vhu_sock_new(&fe->sock, take_fd, VHU_CHANNEL_MAIN, 1);

	if (err)
		return err;
	err = vhu_fe_watch(fe, vhu_sock_fd(fe->sock), SOURCE_SOCK, 0);
	if (!err)
		err = vhu_fe_job_first(fe, JOB_GREET, &greet);
	if (err) {
		vhu_sock_free(fe->sock);
		fe->sock = NULL;
		return err;
	}
	err = vhu_fe_rings_renew(fe);
	if (err) {
		struct vhu_reason why;

		vhu_refuse(&why, err, "no eventfds for the rings: %s", strerror(-err));
		vhu_fe_lose(fe, err, true, &why);
		return 0;
	}
	fe->began_at = vhu_now_ns();
	fe->protocol_features = 0;
	fe->offered = 0;
	fe->queue_num = 0;
	fe->max_slots = VHU_MAX_MSG_REGIONS;
	fe->told.nr = 0;
	vhu_fe_set_state(fe, VHU_DEVICE_GREETING);
	vhu_fe_emit(fe, VHU_EVENT_CONNECTED, NULL, -1, NULL);
	vhu_fe_wake(fe);
	return 0;
}

static bool has_next(const struct vhu_frontend *fe)
{
	return fe->connect_path || fe->listen_fd >= 0;
}

/* Whoever was served hears of the end; others only once, however often it is tried in vain. */
static void tell_gone(struct vhu_frontend *fe, bool was_served, int err,
		      const struct vhu_reason *why)
{
	if (was_served) {
		if (fe->ops.gone)
			fe->ops.gone(fe->arg, err, why->text);
		return;
	}
	if (!strcmp(fe->last_complaint, why->text))
		return;
	snprintf(fe->last_complaint, sizeof(fe->last_complaint), "%s", why->text);
	vhu_fe_complain(fe, why->text);
}

void vhu_fe_lose(struct vhu_frontend *fe, int err, bool refused, const struct vhu_reason *why)
{
	bool was_served = fe->is_served;
	bool ends = !has_next(fe) || (refused && fe->give_up);
	/* before the jobs: their callbacks may ask for more, which the next backend gets */
	const struct vhu_reason reason = *why;

	vhu_fe_unwatch(fe, vhu_sock_fd(fe->sock));
	vhu_sock_free(fe->sock);
	fe->sock = NULL;
	vhu_fe_drop_channel(fe);
	fe->was_greeted = fe->is_served = fe->started_here = false;
	if (vhu_now_ns() - fe->began_at > LIVED_MS * MS)
		fe->retry_ns = 0; /* it was of use: the next is looked for at once */
	fe->protocol_features = 0;
	fe->told.nr = 0;
	fe->last_err = err;
	fe->last_why = reason;
	for (unsigned int i = 0; i < fe->nr_rings; i++)
		fe->rings[i].running = false;
	vhu_fe_set_state(fe, ends ? VHU_DEVICE_FAILED : VHU_DEVICE_GONE);
	if (fe->log_on && fe->want_running)
		vhu_fe_log_mark_all(fe);
	vhu_fe_emit(fe, VHU_EVENT_CLOSED, NULL, -1, reason.text);
	vhu_fe_fail_jobs(fe, err, ends, &reason);
	tell_gone(fe, was_served, err, &reason);
	if (ends && fe->listen_fd >= 0)
		vhu_fe_unwatch(fe, fe->listen_fd);
	else if (fe->listen_fd >= 0)
		vhu_fe_watch(fe, fe->listen_fd, SOURCE_LISTEN,
			     0); /* -EEXIST: it was there all the time */
	if (!ends && fe->connect_path)
		retry_later(fe, refused ? REFUSED_MAX_MS : RETRY_MAX_MS);
}

static void try_connect(struct vhu_frontend *fe)
{
	int fd;

	fe->retry_at = 0;
	if (fe->listen_fd >= 0 && fe->state != VHU_DEVICE_FAILED) {
		/* -EEXIST: it was there all the time */
		vhu_fe_watch(fe, fe->listen_fd, SOURCE_LISTEN, 0);
		return;
	}
	if (fe->sock || fe->state == VHU_DEVICE_FAILED)
		return;
	if (!fe->connect_path)
		return;
	fd = vhu_sock_connect(fe->connect_path);
	fe->connect_err = fd < 0 ? fd : 0;
	if (fd < 0 || begin(fe, fd) < 0)
		retry_later(fe, RETRY_MAX_MS);
}

static void accept_one(struct vhu_frontend *fe)
{
	int fd = vhu_sock_accept(fe->listen_fd);

	if (fd == -EAGAIN)
		return;
	if (fd < 0) {
		/* out of fds, say: the connection stays in the queue, and is looked at again later */
		vhu_fe_unwatch(fe, fe->listen_fd);
		fe->retry_ns = REFUSED_MAX_MS * MS;
		retry_later(fe, REFUSED_MAX_MS);
		return;
	}
	if (fe->sock || fe->state == VHU_DEVICE_FAILED) {
		vhu_fd_close(&fd);
		vhu_fe_complain(fe, "a second connection was refused: the device has its backend");
		return;
	}
	begin(fe, fd);
}

static int read_replies(struct vhu_frontend *fe, struct vhu_reason *why)
{
	for (int i = 0; i < BUDGET; i++) {
		struct vhu_msg msg;
		int err = vhu_sock_recv(fe->sock, &msg, why);

		if (err <= 0)
			return err;
		vhu_fe_emit(fe, VHU_EVENT_REPLY_IN, &msg, -1, NULL);
		err = vhu_fe_reply(fe, &msg, why);
		/* whatever nobody took is closed here, on every path */
		vhu_msg_close_fds(&msg);
		if (!err && !vhu_sock_has_unsent(fe->sock))
			err = vhu_fe_advance(fe, why);
		if (err)
			return err;
	}
	vhu_fe_wake(fe); /* there may be more */
	return 0;
}

static int check_deadline(struct vhu_frontend *fe, struct vhu_reason *why)
{
	const struct job *job = fe->jobs;
	const struct vhu_request_row *row;

	if (!fe->deadline_at || vhu_now_ns() < fe->deadline_at)
		return 0;
	row = vhu_request_row(VHU_CHANNEL_MAIN, job->steps[job->at - 1].request);
	return vhu_refuse(why, -ETIMEDOUT, "%s: %s for %u ms", row->name,
			  vhu_sock_has_unsent(fe->sock) ? "not read" : "no answer", fe->timeout_ms);
}

static void process_connection(struct vhu_frontend *fe)
{
	struct vhu_reason why = { { 0 } };
	int err = 0;

	if (vhu_sock_has_unsent(fe->sock)) {
		err = vhu_sock_flush(fe->sock);
		if (err < 0)
			vhu_refuse(&why, err, "a request cannot be sent: %s", strerror(-err));
		else if (!err && !fe->awaiting)
			vhu_fe_set_deadline(fe, false);
	}
	if (err >= 0)
		err = read_replies(fe, &why);
	if (!err && !vhu_sock_has_unsent(fe->sock))
		err = vhu_fe_advance(fe, &why);
	if (!err)
		err = check_deadline(fe, &why);
	if (err) {
		/* it left, or it does not answer; all else is for what it is */
		bool left = err == -ECONNRESET || err == -EPIPE || err == -ETIMEDOUT;

		if (!why.text[0])
			vhu_refuse(&why, err, "the connection: %s", strerror(-err));

		vhu_fe_lose(fe, err == -EPIPE ? -ECONNRESET : err, !left, &why);
		return;
	}
	watch_sock(fe);
}

/* Everything but messages: the events of one round. True if a connection waits. */
static bool sort_events(struct vhu_frontend *fe, const struct epoll_event *events, int n)
{
	bool want_accept = false;

	for (int i = 0; i < n; i++) {
		unsigned int ring = (uint32_t)events[i].data.u64;

		switch ((enum source)(events[i].data.u64 >> 32)) {
		case SOURCE_WAKE:
			drain(fe->wake_fd);
			break;
		case SOURCE_TIMER:
			drain(fe->timer_fd);
			break;
		case SOURCE_LISTEN:
			want_accept = true;
			break;
		case SOURCE_MASKED:
			vhu_fe_ring_forward(fe, ring);
			break;
		case SOURCE_ERR:
			vhu_fe_ring_failed(fe, ring);
			break;
		case SOURCE_SOCK:
		case SOURCE_CHANNEL:
			break;
		}
	}
	return want_accept;
}

static int process(struct vhu_frontend *fe)
{
	struct epoll_event events[16];
	struct vhu_reason why = { { 0 } };
	bool want_accept;
	int n;

	do {
		n = epoll_wait(fe->epoll_fd, events, VHU_ARRAY_SIZE(events), 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	want_accept = sort_events(fe, events, n);
	/* the old connection first: its end may be what makes room for the next */
	if (fe->sock)
		process_connection(fe);
	if (fe->channel)
		vhu_fe_read_channel(fe);
	if (want_accept)
		accept_one(fe);
	if (fe->retry_at && vhu_now_ns() >= fe->retry_at)
		try_connect(fe);
	if (!fe->sock)
		vhu_fe_advance(fe, &why); /* what can be done with nobody there */
	return 0;
}

int vhu_frontend_process(struct vhu_frontend *frontend)
{
	int err;

	if (frontend->processing)
		return -EBUSY; /* from within a callback */
	frontend->processing = true;
	err = process(frontend);
	frontend->processing = false;
	return err;
}

/* ---- waiting ---- */

static bool is_idle(const struct vhu_frontend *fe)
{
	return !fe->jobs && (fe->state == VHU_DEVICE_STOPPED || fe->state == VHU_DEVICE_RUNNING ||
			     fe->state == VHU_DEVICE_FAILED);
}

/* What the wait has to tell, once. */
static int take_result(struct vhu_frontend *fe, int err, struct vhu_reason *ret_why)
{
	struct vhu_reason why = fe->last_why;

	if (fe->first_err) {
		err = fe->first_err;
		why = fe->first_why;
	} else if (!err && fe->state == VHU_DEVICE_FAILED) {
		err = fe->last_err;
	}
	fe->first_err = 0;
	if (err && ret_why) {
		*ret_why = why;
		if (!why.text[0])
			vhu_refuse(ret_why, err, "no backend has answered: %s",
				   strerror(-(fe->connect_err ? fe->connect_err : err)));
	}
	return err;
}

int vhu_frontend_wait(struct vhu_frontend *fe, int timeout_ms, struct vhu_reason *ret_why)
{
	uint64_t end = vhu_now_ns() + (uint64_t)(timeout_ms < 0 ? 0 : timeout_ms) * MS;

	for (;;) {
		struct pollfd pollfd = { .fd = fe->epoll_fd, .events = POLLIN };
		uint64_t now;
		int err = vhu_frontend_process(fe);

		if (err)
			return err;
		if (is_idle(fe))
			return take_result(fe, 0, ret_why);
		now = vhu_now_ns();
		if (timeout_ms >= 0 && now >= end)
			return take_result(fe, -ETIMEDOUT, ret_why);
		if (poll(&pollfd, 1, timeout_ms < 0 ? -1 : (int)((end - now) / MS + 1)) < 0 &&
		    errno != EINTR)
			return -errno;
	}
}

/* ---- made, set up, freed ---- */

static int check_options(const struct vhu_frontend_options *o)
{
	if (o->size < sizeof(*o) || !o->memory || (o->ops && o->ops->size < sizeof(*o->ops)))
		return -EINVAL;
	if (!o->nr_rings || o->nr_rings > VHU_MAX_RINGS)
		return -EINVAL;
	if (o->protocol_features & ~VHU_FRONTEND_PROTOCOL_FEATURES)
		return -EINVAL;
	/* addresses would have to be translated; an eventfd has no room for notification data */
	if (o->features &
	    (VHU_MASK(VHU_F_ACCESS_PLATFORM_BIT) | VHU_MASK(VHU_F_NOTIFICATION_DATA_BIT)))
		return -EINVAL;
	return 0;
}

static int set_up(struct vhu_frontend *fe)
{
	int err;

	fe->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	fe->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	fe->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (fe->epoll_fd < 0 || fe->wake_fd < 0 || fe->timer_fd < 0)
		return -errno;
	err = vhu_fe_watch(fe, fe->wake_fd, SOURCE_WAKE, 0);
	if (!err)
		err = vhu_fe_watch(fe, fe->timer_fd, SOURCE_TIMER, 0);
	return err ? err : vhu_fe_rings_init(fe);
}

int vhu_frontend_new(struct vhu_frontend **ret_frontend, const struct vhu_frontend_options *options)
{
	struct vhu_frontend *fe;
	int err = check_options(options);

	if (err)
		return err;
	fe = calloc(1, sizeof(*fe));
	if (!fe)
		return -ENOMEM;
	if (options->ops)
		fe->ops = *options->ops;
	fe->arg = options->arg;
	fe->memory = options->memory;
	fe->nr_rings = options->nr_rings;
	fe->wanted = options->features;
	fe->needed = options->features_needed;
	fe->wanted_protocol = options->protocol_features;
	fe->timeout_ms = options->reply_timeout_ms ? options->reply_timeout_ms : REPLY_MS;
	fe->give_up = options->give_up;
	fe->epoll_fd = fe->wake_fd = fe->timer_fd = fe->listen_fd = -1;
	fe->inflight_fd = fe->log_fd = -1;
	err = set_up(fe);
	if (err) {
		vhu_frontend_free(fe);
		return err;
	}
	*ret_frontend = fe;
	return 0;
}

static bool has_source(const struct vhu_frontend *fe)
{
	return has_next(fe) || fe->sock || fe->state == VHU_DEVICE_FAILED;
}

int vhu_frontend_connect(struct vhu_frontend *frontend, const char *path)
{
	if (has_source(frontend))
		return -EBUSY;
	frontend->connect_path = strdup(path);
	if (!frontend->connect_path)
		return -ENOMEM;
	try_connect(frontend);
	return 0;
}

int vhu_frontend_listen(struct vhu_frontend *frontend, const char *path, unsigned int mode,
			const char *group)
{
	char *copy;
	int fd;

	if (has_source(frontend))
		return -EBUSY;
	copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	fd = vhu_sock_listen(path, mode, group);
	if (fd < 0) {
		free(copy);
		return fd;
	}
	frontend->listen_path = copy;
	frontend->listen_fd = fd;
	return vhu_fe_watch(frontend, fd, SOURCE_LISTEN, 0);
}

int vhu_frontend_take_fd(struct vhu_frontend *frontend, int take_fd)
{
	if (has_source(frontend)) {
		vhu_fd_close(&take_fd);
		return -EBUSY;
	}
	return begin(frontend, take_fd);
}

void vhu_frontend_free(struct vhu_frontend *frontend)
{
	const struct vhu_reason why = { "closed by this program" };

	if (!frontend)
		return;
	frontend->ops = (struct vhu_frontend_ops){ 0 };
	for (struct job *job = frontend->jobs; job; job = job->next)
		job->done = NULL;
	vhu_fe_drop_channel(frontend);
	vhu_sock_free(frontend->sock);
	frontend->sock = NULL;
	frontend->want_running = false;
	vhu_fe_fail_jobs(frontend, -ECANCELED, true, &why);
	vhu_fe_rings_free(frontend);
	vhu_fe_log_free(frontend);
	if (frontend->listen_path)
		unlink(frontend->listen_path);
	vhu_fd_close(&frontend->inflight_fd);
	vhu_fd_close(&frontend->listen_fd);
	vhu_fd_close(&frontend->epoll_fd);
	vhu_fd_close(&frontend->wake_fd);
	vhu_fd_close(&frontend->timer_fd);
	free(frontend->listen_path);
	free(frontend->connect_path);
	free(frontend);
}
