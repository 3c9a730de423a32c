/* SPDX-License-Identifier: MIT */
/* A backend of raw messages for tests: its socket, its records, its proper answers; knows no test. */
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <vhu/frontend.h>

#include "liar.h"

static struct liar *all_liars;

static void drop(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/*
 * ---- Socket ----
 */
void liar_send(int sock, const void *bytes, size_t len, const int *fds, unsigned int nr_fds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(64 * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)bytes, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t sent;

	if (nr_fds) {
		struct cmsghdr *c = &control.align;

		assert_true(nr_fds <= 64);
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(nr_fds * sizeof(int));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nr_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, nr_fds * sizeof(int));
	}
	sent = sendmsg(sock, &msg, MSG_NOSIGNAL);
	if (sent < 0 && (errno == EPIPE || errno == ECONNRESET))
		return;
	assert_int_equal(sent, len);
}

void liar_say(int sock, uint32_t request, uint32_t flags, const void *payload, uint32_t size,
	      const int *fds, unsigned int nr_fds)
{
	uint8_t bytes[VHU_MSG_HDR_SIZE + VHU_MSG_MAX_PAYLOAD];
	struct vhu_msg_hdr hdr = { request, flags, size };

	assert_true(size <= VHU_MSG_MAX_PAYLOAD);
	memcpy(bytes, &hdr, VHU_MSG_HDR_SIZE);
	if (size)
		memcpy(bytes + VHU_MSG_HDR_SIZE, payload, size);
	liar_send(sock, bytes, VHU_MSG_HDR_SIZE + size, fds, nr_fds);
}

void liar_reply(struct liar *liar, const struct vhu_msg *msg, const void *payload, uint32_t size,
		const int *fds, unsigned int nr_fds)
{
	uint8_t bytes[VHU_MSG_HDR_SIZE + VHU_MSG_MAX_PAYLOAD];
	struct vhu_msg_hdr hdr = { msg->hdr.request, VHU_MSG_VERSION | VHU_MSG_REPLY, size };

	memcpy(bytes, &hdr, VHU_MSG_HDR_SIZE);
	if (size)
		memcpy(bytes + VHU_MSG_HDR_SIZE, payload, size);
	if (!liar->twist ||
	    !liar->twist(liar->lie_arg, liar, bytes, VHU_MSG_HDR_SIZE + size, fds, nr_fds))
		liar_send(liar->sock, bytes, VHU_MSG_HDR_SIZE + size, fds, nr_fds);
}

void liar_reply_u64(struct liar *liar, const struct vhu_msg *msg, uint64_t value)
{
	liar_reply(liar, msg, &value, sizeof(value), NULL, 0);
}

/* All of len bytes, with the fds of the first read. 0: nothing there. -ECONNRESET: the end. */
static int receive(int sock, void *to, size_t len, struct vhu_msg *msg)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(VHU_MSG_MAX_FDS * sizeof(int))];
	} control;
	size_t at = 0;

	while (at < len) {
		struct iovec iov = { (uint8_t *)to + at, len - at };
		struct msghdr mh = { .msg_iov = &iov,
				     .msg_iovlen = 1,
				     .msg_control = control.bytes,
				     .msg_controllen = sizeof(control.bytes) };
		ssize_t got = recvmsg(sock, &mh, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

		if (got < 0 && errno == EAGAIN) {
			struct pollfd p = { .fd = sock, .events = POLLIN };

			if (at == 0 && msg)
				return 0;
			assert_int_equal(poll(&p, 1, CHECK_PATIENCE_MS), 1);
			continue;
		}
		if (got <= 0)
			return -ECONNRESET;
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&mh); msg && c; c = CMSG_NXTHDR(&mh, c)) {
			size_t bytes = c->cmsg_len - CMSG_LEN(0);

			assert_int_equal(msg->nr_fds, 0);
			memcpy(msg->fds, CMSG_DATA(c), bytes);
			msg->nr_fds = (unsigned int)(bytes / sizeof(int));
		}
		at += (size_t)got;
	}
	return 1;
}

static int receive_msg(int sock, struct vhu_msg *ret_msg)
{
	int ret;

	memset(ret_msg, 0, sizeof(*ret_msg));
	ret = receive(sock, &ret_msg->hdr, VHU_MSG_HDR_SIZE, ret_msg);
	if (ret <= 0)
		return ret;
	assert_true(ret_msg->hdr.size <= VHU_MSG_MAX_PAYLOAD);
	if (ret_msg->hdr.size)
		ret = receive(sock, ret_msg->bytes, ret_msg->hdr.size, NULL);
	return ret;
}

int liar_channel_recv(struct liar *liar, struct vhu_msg *ret_msg, unsigned int ms)
{
	struct pollfd p = { .fd = liar->channel, .events = POLLIN };

	assert_true(liar->channel >= 0);
	return poll(&p, 1, (int)ms) > 0 ? receive_msg(liar->channel, ret_msg) : 0;
}

/*
 * ---- What a backend keeps ----
 */
static int take_fd(struct vhu_msg *msg, unsigned int i)
{
	int fd = -1;

	if (i < msg->nr_fds) {
		fd = msg->fds[i];
		msg->fds[i] = -1;
	}
	return fd;
}

static void forget_memory(struct liar *liar)
{
	for (unsigned int i = 0; i < liar->nr_regions; i++)
		drop(&liar->region[i].fd);
	liar->nr_regions = 0;
}

static void forget(struct liar *liar)
{
	forget_memory(liar);
	for (unsigned int i = 0; i < LIAR_MAX_RINGS; i++) {
		struct liar_ring *r = &liar->ring[i];

		drop(&r->kick_fd);
		drop(&r->call_fd);
		drop(&r->err_fd);
		memset(r, 0, sizeof(*r));
		r->kick_fd = r->call_fd = r->err_fd = -1;
	}
	drop(&liar->log_fd);
	drop(&liar->inflight_fd);
	drop(&liar->channel);
	liar->features = liar->protocol_features = 0;
	liar->status = 0;
	liar->mtu = 0;
}

static struct liar_ring *ring_of(struct liar *liar, const struct vhu_msg *msg)
{
	int ring = vhu_wire_ring(VHU_CHANNEL_MAIN, msg);

	assert_in_range(ring, 0, LIAR_MAX_RINGS - 1);
	return &liar->ring[ring];
}

static void set_ring_fd(struct liar *liar, struct vhu_msg *msg)
{
	struct liar_ring *r = ring_of(liar, msg);
	int *fd = msg->hdr.request == VHU_SET_VRING_KICK ? &r->kick_fd :
		  msg->hdr.request == VHU_SET_VRING_CALL ? &r->call_fd :
							   &r->err_fd;

	drop(fd);
	*fd = take_fd(msg, 0);
	/* exactly one of the two */
	assert_int_equal(*fd < 0, !!(msg->u64 & VHU_VRING_NOFD_MASK));
	if (msg->hdr.request == VHU_SET_VRING_KICK)
		r->started = true;
}

static void set_mem_table(struct liar *liar, struct vhu_msg *msg)
{
	assert_int_equal(msg->nr_fds, msg->mem.nr);
	forget_memory(liar);
	for (unsigned int i = 0; i < msg->mem.nr; i++)
		liar->region[liar->nr_regions++] =
			(struct liar_region){ msg->mem.region[i], take_fd(msg, i) };
}

static void add_region(struct liar *liar, struct vhu_msg *msg)
{
	assert_int_equal(msg->nr_fds, 1);
	assert_true(liar->nr_regions < VHU_MAX_MEM_SLOTS);
	liar->region[liar->nr_regions++] = (struct liar_region){ msg->reg.region, take_fd(msg, 0) };
}

static void remove_region(struct liar *liar, const struct vhu_msg *msg)
{
	for (unsigned int i = 0; i < liar->nr_regions; i++) {
		const struct vhu_region *r = &liar->region[i].wire;

		if (r->gpa != msg->reg.region.gpa)
			continue;
		assert_int_equal(r->size, msg->reg.region.size);
		assert_int_equal(r->uva, msg->reg.region.uva);
		drop(&liar->region[i].fd);
		liar->region[i] = liar->region[--liar->nr_regions];
		return;
	}
	fail_msg("REM_MEM_REG of a region at %#llx that was never added",
		 (unsigned long long)msg->reg.region.gpa);
}

/* What the message changes. */
static void take(struct liar *liar, struct vhu_msg *msg)
{
	switch (msg->hdr.request) {
	case VHU_SET_FEATURES:
		liar->features = msg->u64;
		break;
	case VHU_SET_PROTOCOL_FEATURES:
		liar->protocol_features = msg->u64;
		break;
	case VHU_SET_MEM_TABLE:
		set_mem_table(liar, msg);
		break;
	case VHU_ADD_MEM_REG:
		add_region(liar, msg);
		break;
	case VHU_REM_MEM_REG:
		remove_region(liar, msg);
		break;
	case VHU_SET_LOG_BASE:
		drop(&liar->log_fd);
		liar->log_fd = take_fd(msg, 0);
		liar->log_size = msg->log.size;
		break;
	case VHU_SET_VRING_NUM:
		ring_of(liar, msg)->num = msg->state.num;
		break;
	case VHU_SET_VRING_ADDR:
		ring_of(liar, msg)->addr = msg->addr;
		break;
	case VHU_SET_VRING_BASE:
		ring_of(liar, msg)->base = msg->state.num;
		break;
	case VHU_SET_VRING_ENABLE:
		ring_of(liar, msg)->enabled = msg->state.num;
		break;
	case VHU_SET_VRING_KICK:
	case VHU_SET_VRING_CALL:
	case VHU_SET_VRING_ERR:
		set_ring_fd(liar, msg);
		break;
	case VHU_SET_BACKEND_REQ_FD:
		drop(&liar->channel);
		liar->channel = take_fd(msg, 0);
		break;
	case VHU_SET_CONFIG:
		memcpy(liar->config + msg->config.offset, msg->config.bytes, msg->config.size);
		break;
	case VHU_SET_INFLIGHT_FD:
		drop(&liar->inflight_fd);
		liar->inflight_fd = take_fd(msg, 0);
		liar->inflight = msg->inflight;
		break;
	case VHU_NET_SET_MTU:
		liar->mtu = (unsigned int)msg->u64;
		break;
	case VHU_SET_STATUS:
		liar->status = (uint8_t)msg->u64;
		break;
	default:
		break;
	}
}

/*
 * ---- Proper answers ----
 */
bool liar_is_asked(const struct liar *liar, const struct vhu_msg *msg)
{
	return vhu_wire_wants_reply(VHU_CHANNEL_MAIN, msg, liar->protocol_features);
}

static void answer_config(struct liar *liar, const struct vhu_msg *msg)
{
	struct vhu_config config = msg->config;

	memcpy(config.bytes, liar->config + config.offset, config.size);
	liar_reply(liar, msg, &config, (uint32_t)offsetof(struct vhu_config, bytes) + config.size,
		   NULL, 0);
}

static void answer_inflight(struct liar *liar, const struct vhu_msg *msg)
{
	struct vhu_inflight inflight = msg->inflight;
	int fd = memfd_create("liar-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	inflight.mmap_size = UINT64_C(4096) * msg->inflight.nr_queues;
	inflight.mmap_offset = 0;
	assert_true(fd >= 0);
	assert_return_code(ftruncate(fd, (off_t)inflight.mmap_size), errno);
	liar_reply(liar, msg, &inflight, sizeof(inflight), &fd, 1);
	close(fd);
}

static void answer_base(struct liar *liar, const struct vhu_msg *msg)
{
	struct liar_ring *r = ring_of(liar, msg);
	struct vhu_vring_state state = { msg->state.index, r->base };

	r->started = false;
	drop(&r->kick_fd);
	drop(&r->call_fd);
	liar_reply(liar, msg, &state, sizeof(state), NULL, 0);
}

static void answer(struct liar *liar, const struct vhu_msg *msg)
{
	const struct liar_options *o = &liar->options;

	switch (msg->hdr.request) {
	case VHU_GET_FEATURES:
		liar_reply_u64(liar, msg, o->features & ~o->no_features);
		return;
	case VHU_GET_PROTOCOL_FEATURES:
		liar_reply_u64(liar, msg, o->protocol_features & ~o->no_protocol_features);
		return;
	case VHU_GET_QUEUE_NUM:
		liar_reply_u64(liar, msg, o->queue_num);
		return;
	case VHU_GET_MAX_MEM_SLOTS:
		liar_reply_u64(liar, msg, o->max_slots);
		return;
	case VHU_GET_STATUS:
		liar_reply_u64(liar, msg, liar->status);
		return;
	case VHU_GET_CONFIG:
		answer_config(liar, msg);
		return;
	case VHU_GET_INFLIGHT_FD:
		answer_inflight(liar, msg);
		return;
	case VHU_GET_VRING_BASE:
		answer_base(liar, msg);
		return;
	case VHU_SET_LOG_BASE:
		if (!liar_is_asked(liar, msg))
			return;
		if (o->empty_log_reply && liar->protocol_features & VHU_MASK(VHU_P_LOG_SHMFD_BIT))
			liar_reply(liar, msg, NULL, 0, NULL, 0);
		else if (o->whole_log_reply)
			liar_reply(liar, msg, &msg->log, sizeof(msg->log), NULL, 0);
		else
			liar_reply_u64(liar, msg, 0);
		return;
	default:
		if (liar_is_asked(liar, msg))
			liar_reply_u64(liar, msg, 0);
		return;
	}
}

static void record(struct liar *liar, const struct vhu_msg *msg)
{
	struct liar_record *r = &liar->record[liar->nr_records];
	struct stat st;

	assert_true(liar->nr_records < LIAR_MAX_RECORDS);
	r->hdr = msg->hdr;
	r->connection = liar->connections;
	r->nr_fds = msg->nr_fds;
	for (unsigned int i = 0; i < msg->nr_fds; i++) {
		assert_return_code(fstat(msg->fds[i], &st), errno);
		r->ino[i] = st.st_ino;
	}
	memcpy(r->bytes, msg->bytes, sizeof(r->bytes));
	__atomic_store_n(&liar->nr_records, liar->nr_records + 1, __ATOMIC_RELEASE);
}

/* A frontend that says what it must not is a failure whatever the test is. */
static void judge(struct liar *liar, const struct vhu_msg *msg)
{
	struct vhu_reason why = { "" };
	int err = vhu_wire_check(VHU_CHANNEL_MAIN, msg, false, liar->protocol_features,
				 LIAR_MAX_RINGS, &why);

	if (err)
		fail_msg("the frontend sent what cannot be: %s", why.text);
	if (msg->hdr.flags & VHU_MSG_NEED_REPLY)
		assert_true(liar->protocol_features & VHU_MASK(VHU_P_REPLY_ACK_BIT));
}

static bool serve(struct liar *liar)
{
	struct vhu_msg msg;
	int ret = receive_msg(liar->sock, &msg);

	if (ret == 0)
		return false;
	if (ret < 0) {
		liar->hangups++;
		drop(&liar->sock);
		return true;
	}
	judge(liar, &msg);
	record(liar, &msg);
	/* a lie may hang up: what was told last is kept until somebody else comes */
	enum liar_verdict verdict = liar->lie ? liar->lie(liar->lie_arg, liar, &msg) : LIAR_PROPER;

	take(liar, &msg);
	if (verdict == LIAR_PROPER && liar->sock >= 0)
		answer(liar, &msg);
	for (unsigned int i = 0; i < msg.nr_fds; i++)
		drop(&msg.fds[i]);
	return true;
}

static bool accept_one(struct liar *liar)
{
	int sock = accept4(liar->listen_fd, NULL, NULL, SOCK_CLOEXEC);

	if (sock < 0)
		return false;
	liar_take(liar, sock);
	return true;
}

static bool pump_one(struct liar *liar)
{
	bool busy = false;

	if (liar->sock < 0 && liar->listen_fd >= 0)
		busy = accept_one(liar);
	else if (liar->sock < 0 && liar->goes_to)
		busy = liar_connect(liar, liar->goes_to) == 0;
	while (liar->sock >= 0 && serve(liar))
		busy = true;
	return busy;
}

bool liar_pump(void)
{
	bool busy = false;

	for (struct liar *liar = all_liars; liar; liar = liar->next) {
		if (!liar->threaded)
			busy |= pump_one(liar);
	}
	return busy;
}

/*
 * ---- Life ----
 */
void liar_come(struct liar *liar)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	liar->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(liar->listen_fd >= 0);
	strcpy(addr.sun_path, liar->path);
	assert_return_code(bind(liar->listen_fd, (void *)&addr, sizeof(addr)), errno);
	assert_return_code(listen(liar->listen_fd, 4), errno);
}

void liar_go(struct liar *liar)
{
	liar_hang_up(liar);
	if (liar->listen_fd >= 0)
		unlink(liar->path);
	drop(&liar->listen_fd);
}

void liar_init(struct liar *liar, const struct liar_options *options)
{
	struct liar_options *o = &liar->options;

	memset(liar, 0, sizeof(*liar));
	if (options)
		*o = *options;
	o->features = o->features ? o->features : LIAR_FEATURES;
	o->protocol_features =
		o->protocol_features ? o->protocol_features : VHU_FRONTEND_PROTOCOL_FEATURES;
	o->queue_num = o->queue_num ? o->queue_num : 8;
	o->max_slots = o->max_slots ? o->max_slots : 16;
	liar->record = calloc(LIAR_MAX_RECORDS, sizeof(*liar->record));
	assert_non_null(liar->record);
	liar->listen_fd = liar->sock = liar->channel = -1;
	liar->log_fd = liar->inflight_fd = -1;
	for (unsigned int i = 0; i < LIAR_MAX_RINGS; i++)
		liar->ring[i].kick_fd = liar->ring[i].call_fd = liar->ring[i].err_fd = -1;
	strcpy(liar->dir, "/tmp/vhu-test-XXXXXX");
	assert_non_null(mkdtemp(liar->dir));
	snprintf(liar->path, sizeof(liar->path), "%s/sock", liar->dir);
	if (!o->no_listen)
		liar_come(liar);
	liar->next = all_liars;
	all_liars = liar;
}

void liar_free(struct liar *liar)
{
	if (liar->threaded)
		liar_end_thread(liar);
	for (struct liar **at = &all_liars; *at; at = &(*at)->next) {
		if (*at == liar) {
			*at = liar->next;
			break;
		}
	}
	liar_go(liar);
	forget(liar);
	free(liar->record);
	assert_return_code(rmdir(liar->dir), errno);
}

void liar_take(struct liar *liar, int take_fd)
{
	assert_int_equal(liar->sock, -1);
	forget(liar);
	liar->sock = take_fd;
	liar->connections++;
}

int liar_connect(struct liar *liar, const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(sock >= 0);
	assert_true(strlen(path) < sizeof(addr.sun_path));
	strcpy(addr.sun_path, path);
	if (connect(sock, (void *)&addr, sizeof(addr)) < 0) {
		int err = -errno;

		close(sock);
		return err;
	}
	liar_take(liar, sock);
	return 0;
}

void liar_hang_up(struct liar *liar)
{
	drop(&liar->sock);
	drop(&liar->channel);
}

static void *serve_on(void *arg)
{
	struct liar *liar = arg;

	while (!__atomic_load_n(&liar->quit, __ATOMIC_ACQUIRE)) {
		if (!pump_one(liar))
			check_pause();
	}
	return NULL;
}

void liar_begin_thread(struct liar *liar)
{
	liar->threaded = true;
	liar->quit = false;
	assert_int_equal(pthread_create(&liar->thread, NULL, serve_on, liar), 0);
}

void liar_end_thread(struct liar *liar)
{
	__atomic_store_n(&liar->quit, true, __ATOMIC_RELEASE);
	pthread_join(liar->thread, NULL);
	liar->threaded = false;
}
