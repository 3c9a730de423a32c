/* SPDX-License-Identifier: MIT */
/* The program around a backend: its loop, its callbacks and its data side; knows no test. */
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "backend_fixture.h"

/* Written by one side, looked at by the other. */
#define peek(at) __atomic_load_n(at, __ATOMIC_ACQUIRE)
#define poke(at, value) __atomic_store_n(at, value, __ATOMIC_RELEASE)
#define tell(at, nr) __atomic_fetch_add(at, nr, __ATOMIC_RELAXED)

static struct fixture *all_fixtures;

/*
 * ---- Callbacks ----
 */
static void note(struct fixture *fix, const char *text)
{
	size_t at = strlen(fix->texts);

	if (at + strlen(text) + 2 > sizeof(fix->texts)) {
		fix->texts_full = true;
		return;
	}
	strcpy(fix->texts + at, text);
	strcat(fix->texts + at, "\n");
}

static void on_connected(void *arg)
{
	struct fixture *fix = arg;

	fix->connected++;
}

static void on_features(void *arg, uint64_t features)
{
	struct fixture *fix = arg;

	fix->features = features;
}

static void wake(struct fixture *fix)
{
	uint64_t one = 1;

	if (write(fix->wake_fd, &one, sizeof(one)) < 0)
		assert_int_equal(errno, EAGAIN);
}

static void on_queue_started(void *arg, unsigned int ring, int kick_fd)
{
	struct fixture *fix = arg;
	struct fixture_ring *r = &fix->ring[ring];
	struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.u32 = ring };

	r->started++;
	if (r->running && r->kick_fd >= 0 && r->kick_fd != kick_fd)
		epoll_ctl(fix->epoll_fd, EPOLL_CTL_DEL, r->kick_fd, NULL);
	poke(&r->kick_fd, kick_fd);
	if (kick_fd >= 0 && ring % 2 == 1 &&
	    epoll_ctl(fix->epoll_fd, EPOLL_CTL_MOD, kick_fd, &event) < 0)
		assert_return_code(epoll_ctl(fix->epoll_fd, EPOLL_CTL_ADD, kick_fd, &event), errno);
	poke(&r->running, true);
	poke(&r->pending, true);
	wake(fix);
}

static void on_queue_stopped(void *arg, unsigned int ring, int kick_fd)
{
	struct fixture *fix = arg;
	struct fixture_ring *r = &fix->ring[ring];

	r->stopped++;
	assert_true(r->running);
	assert_int_equal(kick_fd, r->kick_fd);
	if (kick_fd >= 0 && ring % 2 == 1)
		assert_return_code(epoll_ctl(fix->epoll_fd, EPOLL_CTL_DEL, kick_fd, NULL), errno);
	poke(&r->running, false);
}

static void on_rarp(void *arg, const uint8_t mac[6])
{
	struct fixture *fix = arg;

	fix->rarps++;
	memcpy(fix->mac, mac, 6);
}

static int on_mtu(void *arg, unsigned int mtu)
{
	struct fixture *fix = arg;

	fix->mtu_calls++;
	fix->mtu = mtu;
	return fix->mtu_answer;
}

static int on_config(void *arg, void *ret_bytes, size_t size)
{
	struct fixture *fix = arg;

	assert_true(size <= sizeof(fix->config));
	memcpy(ret_bytes, fix->config, size);
	return 0;
}

static void on_closed(void *arg, int err, const char *reason)
{
	struct fixture *fix = arg;

	fix->closed++;
	fix->closed_err = err;
	snprintf(fix->closed_reason, sizeof(fix->closed_reason), "%s", reason ? reason : "");
	if (err)
		note(fix, fix->closed_reason);
	for (unsigned int i = 0; i < fix->options.nr_rings; i++)
		assert_false(fix->ring[i].running);
}

static void on_complaint(void *arg, const char *text)
{
	struct fixture *fix = arg;

	fix->complaints++;
	note(fix, text);
}

static void on_event(void *arg, const struct vhu_event *event)
{
	struct fixture *fix = arg;

	fix->events++;
	if (fix->on_event)
		fix->on_event(fix->event_arg, event);
}

static const struct vhu_backend_ops ops = {
	.size = sizeof(struct vhu_backend_ops),
	.connected = on_connected,
	.features = on_features,
	.queue_started = on_queue_started,
	.queue_stopped = on_queue_stopped,
	.rarp = on_rarp,
	.mtu = on_mtu,
	.config = on_config,
	.closed = on_closed,
	.complaint = on_complaint,
	.event = on_event,
};

/*
 * ---- Data side ----
 */
static void keep_frame(struct fixture *fix, const struct vhu_net_frame *frame)
{
	size_t at = frame->head_len;

	memcpy(fix->last, frame->head, at);
	for (unsigned int i = 0; i < frame->nr_iov; i++) {
		assert_true(frame->iov[i].iov_len <= sizeof(fix->last) - at);
		memcpy(fix->last + at, frame->iov[i].iov_base, frame->iov[i].iov_len);
		at += frame->iov[i].iov_len;
	}
	assert_int_equal(at, frame->len);
	fix->last_len = at;
	fix->last_hdr = frame->hdr;
}

static void echo(struct fixture *fix, struct vhu_queue *from, struct vhu_queue *to, int nr)
{
	struct vhu_net_frame *frames = vhu_net_burst_frames(fix->burst);

	if (!vhu_queue_trylock(to)) {
		tell(&fix->nr_full, (uint64_t)nr);
		return;
	}
	for (int i = 0; i < nr; i++) {
		int ret = vhu_net_push(to, &frames[i]);

		if (ret < 0)
			tell(&fix->nr_full, 1);
	}
	if (vhu_net_is_poisoned(from))
		vhu_net_rewind(to);
	else
		vhu_net_commit(to);
	vhu_queue_unlock(to);
}

/* One burst of a transmit ring. */
static bool work(struct fixture *fix, unsigned int ring)
{
	struct vhu_queue *queue = vhu_backend_queue(fix->backend, ring);
	struct vhu_net_frame *frames = vhu_net_burst_frames(fix->burst);
	int nr = vhu_net_pull(queue, fix->burst, VHU_NET_BURST);
	bool dropped = false;

	for (unsigned int i = 0; i < VHU_NET_DROP_END; i++) {
		uint32_t drops = vhu_net_burst_drops(fix->burst)[i];

		dropped |= drops > 0;
		tell(&fix->drops[i], drops);
	}
	for (int i = 0; i < nr && fix->options.mode == FIXTURE_SINK; i++)
		keep_frame(fix, &frames[i]);
	/* before anybody can have them back: who has them all finds them all counted */
	if (nr > 0)
		tell(&fix->nr_frames, (uint64_t)nr);
	if (nr > 0 && fix->options.mode == FIXTURE_ECHO)
		echo(fix, queue, vhu_backend_queue(fix->backend, ring - 1), nr);
	vhu_net_done(queue, fix->burst);
	if (nr == -EAGAIN) {
		tell(&fix->nr_again, 1);
		return dropped; /* stays pending: it is looked at again in any case */
	}
	if (nr == -ENOTCONN) {
		poke(&fix->ring[ring].pending, false);
		return false;
	}
	assert_true(nr >= 0);
	if (nr > 0 || dropped)
		return true;
	/* Without a kick fd the ring is polled: it stays pending for ever. */
	poke(&fix->ring[ring].pending, peek(&fix->ring[ring].kick_fd) < 0);
	if (vhu_queue_arm(queue)) {
		poke(&fix->ring[ring].pending, true);
		return true;
	}
	return false;
}

/* Waits up to ms and serves what is there. True if something was done. */
static bool data_round(struct fixture *fix, int ms)
{
	struct epoll_event events[64];
	bool busy = false;
	uint64_t count;

	if (fix->reader)
		vhu_reader_offline(fix->reader);
	int nr = epoll_wait(fix->epoll_fd, events, 64, ms);

	for (int i = 0; i < nr; i++) {
		if (events[i].data.u32 < VHU_MAX_RINGS)
			poke(&fix->ring[events[i].data.u32].pending, true);
		else if (read(fix->wake_fd, &count, sizeof(count)) < 0)
			assert_int_equal(errno, EAGAIN);
	}
	if (fix->reader)
		vhu_reader_online(fix->reader);
	/* looked at online: who sets it and waits for the readers knows that no burst follows */
	if (peek(&fix->hold) || fix->options.mode == FIXTURE_IDLE)
		return false;
	for (unsigned int i = 1; i < fix->options.nr_rings; i += 2) {
		if (!peek(&fix->ring[i].running) || !peek(&fix->ring[i].pending))
			continue;
		busy |= work(fix, i);
		if (fix->reader)
			vhu_reader_quiescent(fix->reader);
	}
	return busy;
}

static void *data_thread(void *arg)
{
	struct fixture *fix = arg;
	bool busy = false;

	while (!peek(&fix->quit)) {
		bool some = false;

		for (unsigned int i = 1; i < fix->options.nr_rings; i += 2)
			some |= peek(&fix->ring[i].running) && peek(&fix->ring[i].pending);
		busy = data_round(fix, busy ? 0 : some ? 1 : 100);
	}
	vhu_reader_offline(fix->reader);
	return NULL;
}

/*
 * ---- Life ----
 */
static void make_backend(struct fixture *fix)
{
	const struct fixture_options *o = &fix->options;
	struct vhu_backend_options options = {
		.size = sizeof(options),
		.domain = fix->domain,
		.nr_rings = o->nr_rings,
		.queue_num = o->nr_rings / 2,
		.features = o->features ? o->features : FIXTURE_NET_FEATURES,
		.protocol_features =
			o->protocol_features ? o->protocol_features : VHU_BACKEND_PROTOCOL_FEATURES,
		.ops = &ops,
		.arg = fix,
	};

	if (!o->features && o->protocol_features & VHU_MASK(VHU_P_CONFIG_BIT))
		options.features |= VHU_MASK(VHU_NET_F_MAC_BIT);
	assert_int_equal(vhu_backend_new(&fix->backend, &options), 0);
	if (!o->no_listen)
		assert_int_equal(vhu_backend_listen(fix->backend, fix->path, 0, NULL), 0);
}

void fixture_init(struct fixture *fix, const struct fixture_options *options)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = UINT32_MAX };

	memset(fix, 0, sizeof(*fix));
	if (options)
		fix->options = *options;
	if (!fix->options.nr_rings)
		fix->options.nr_rings = 2;
	for (unsigned int i = 0; i < VHU_MAX_RINGS; i++)
		fix->ring[i].kick_fd = -1;
	strcpy(fix->dir, "/tmp/vhu-test-XXXXXX");
	assert_non_null(mkdtemp(fix->dir));
	snprintf(fix->path, sizeof(fix->path), "%s/sock", fix->dir);
	fix->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	fix->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(fix->epoll_fd >= 0 && fix->wake_fd >= 0);
	assert_return_code(epoll_ctl(fix->epoll_fd, EPOLL_CTL_ADD, fix->wake_fd, &event), errno);
	fix->domain = fix->options.domain;
	if (!fix->domain)
		assert_int_equal(vhu_domain_new(&fix->domain), 0);
	assert_int_equal(vhu_net_burst_new(&fix->burst), 0);
	make_backend(fix);
	fix->next = all_fixtures;
	all_fixtures = fix;
	if (fix->options.threaded) {
		assert_int_equal(vhu_reader_new(&fix->reader, fix->domain), 0);
		assert_int_equal(pthread_create(&fix->thread, NULL, data_thread, fix), 0);
	}
}

static void unlist(struct fixture *fix)
{
	for (struct fixture **at = &all_fixtures; *at; at = &(*at)->next) {
		if (*at == fix) {
			*at = fix->next;
			return;
		}
	}
}

void fixture_free(struct fixture *fix)
{
	assert_true(check_until(fixture_pump(NULL), vhu_backend_close(fix->backend) == 0));
	if (fix->options.threaded) {
		poke(&fix->quit, true);
		wake(fix);
		pthread_join(fix->thread, NULL);
		vhu_reader_free(fix->reader);
	}
	vhu_backend_free(fix->backend);
	/* The socket file has to be gone. */
	assert_int_equal(access(fix->path, F_OK), -1);
	vhu_net_burst_free(fix->burst);
	if (!fix->options.domain)
		vhu_domain_free(fix->domain);
	unlist(fix);
	close(fix->epoll_fd);
	close(fix->wake_fd);
	assert_return_code(rmdir(fix->dir), errno);
}

bool fixture_pump(void *unused)
{
	bool busy = false;

	(void)unused;
	for (struct fixture *fix = all_fixtures; fix; fix = fix->next) {
		struct pollfd p = { .fd = vhu_backend_fd(fix->backend), .events = POLLIN };

		/* Only when it says so: that it does say so is a promise. */
		if (poll(&p, 1, 0) > 0) {
			assert_int_equal(vhu_backend_process(fix->backend), 0);
			busy = true;
		}
		if (!fix->options.threaded)
			busy |= data_round(fix, 0);
	}
	return busy;
}

/* A ring that is looked at again by itself, as one that is started and not yet enabled. */
static bool is_waiting(const struct fixture *fix)
{
	if (peek(&fix->hold) || fix->options.mode == FIXTURE_IDLE)
		return false;
	for (unsigned int i = 1; i < fix->options.nr_rings; i += 2) {
		if (peek(&fix->ring[i].running) && peek(&fix->ring[i].pending) &&
		    fix->ring[i].kick_fd >= 0)
			return true;
	}
	return false;
}

void fixture_settle(void)
{
	int64_t end = check_now_ms() + CHECK_PATIENCE_MS;

	for (unsigned int quiet = 0; quiet < 4; quiet++) {
		bool waiting = false;

		while (fixture_pump(NULL))
			assert_true(check_now_ms() < end);
		for (struct fixture *fix = all_fixtures; fix; fix = fix->next)
			waiting |= is_waiting(fix);
		if (waiting)
			quiet = 0;
		assert_true(check_now_ms() < end);
		check_sleep_ms(1);
	}
}

void fixture_attach(struct fixture *fix, struct drv *drv, const struct drv_options *options)
{
	drv_init(drv, options);
	drv->pump = fixture_pump;
	assert_int_equal(drv_connect(drv, fix->path), 0);
}

void fixture_detach(struct fixture *fix, struct drv *drv)
{
	drv_disconnect(drv);
	assert_true(check_until(fixture_pump(NULL), fix->closed == fix->connected));
	fixture_settle();
	drv_free(drv);
}

int fixture_push(struct fixture *fix, unsigned int ring, const uint8_t *frame, size_t len,
		 const struct vhu_net_hdr *hdr)
{
	struct vhu_queue *queue = vhu_backend_queue(fix->backend, ring);
	uint8_t head[VHU_NET_HEAD_ROOM + VHU_NET_HEAD_MAX];
	size_t head_len = len < VHU_NET_HEAD_MAX ? len : VHU_NET_HEAD_MAX;
	struct iovec iov = { (void *)(uintptr_t)(frame + head_len), len - head_len };
	struct vhu_net_frame f = {
		.len = (uint32_t)len,
		.head_len = (uint16_t)head_len,
		.nr_iov = len > head_len,
		.head = head + VHU_NET_HEAD_ROOM,
		.iov = &iov,
	};
	int ret;

	memcpy(head + VHU_NET_HEAD_ROOM, frame, head_len);
	if (hdr)
		f.hdr = *hdr;
	assert_true(vhu_queue_trylock(queue));
	ret = vhu_net_push(queue, &f);
	if (ret == 0)
		ret = vhu_net_commit(queue);
	vhu_queue_unlock(queue);
	return ret;
}

static bool line_has_all(const char *line, size_t len, const char *words)
{
	while (*words) {
		size_t n = strcspn(words, "|");

		if (!memmem(line, len, words, n))
			return false;
		words += n;
		words += *words == '|';
	}
	return true;
}

void fixture_check_reason(const struct fixture *fix, const char *words)
{
	const char *line = fix->texts;

	while (*line) {
		size_t n = strcspn(line, "\n");

		if (line_has_all(line, n, words))
			return;
		line += n + 1;
	}
	fail_msg("no reason with \"%s\" in:\n%s", words, fix->texts);
}

void fixture_forget_reasons(struct fixture *fix)
{
	fix->texts[0] = '\0';
}

enum vhu_ring_state fixture_state(const struct fixture *fix, unsigned int ring)
{
	return vhu_backend_ring_state(fix->backend, ring);
}

uint64_t fixture_frames(const struct fixture *fix)
{
	return peek(&fix->nr_frames);
}

uint64_t fixture_drops(const struct fixture *fix, enum vhu_net_drop drop)
{
	return peek(&fix->drops[drop]);
}

/*
 * ---- Pairs ----
 */
int pair_setup(void **state)
{
	struct pair *pair = calloc(1, sizeof(*pair));

	*state = pair;
	if (!pair)
		return -1;
	tally_take(&pair->before);
	return 0;
}

int pair_teardown(void **state)
{
	struct pair *pair = *state;

	if (pair->drv_is_up)
		fixture_detach(&pair->fix, &pair->drv);
	if (pair->fix_is_up)
		fixture_free(&pair->fix);
	pair->before.heap = SIZE_MAX;
	tally_check(&pair->before);
	free(pair);
	return 0;
}

struct pair *pair_up(void **state, const struct fixture_options *fix_options,
		     const struct drv_options *drv_options)
{
	struct pair *pair = *state;

	fixture_init(&pair->fix, fix_options);
	pair->fix_is_up = true;
	fixture_attach(&pair->fix, &pair->drv, drv_options);
	pair->drv_is_up = true;
	return pair;
}
