/* SPDX-License-Identifier: MIT */
/* Messages of the test driver over a raw socket; it must not care whether they make sense. */
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "driver.h"

int drv_connect(struct drv *drv, const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	assert_true(strlen(path) < sizeof(addr.sun_path));
	strcpy(addr.sun_path, path);
	drv->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(drv->sock >= 0);
	if (connect(drv->sock, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		int err = -errno;

		close(drv->sock);
		drv->sock = -1;
		return err;
	}
	return 0;
}

void drv_disconnect(struct drv *drv)
{
	if (drv->sock >= 0)
		close(drv->sock);
	if (drv->channel >= 0)
		close(drv->channel);
	drv->sock = -1;
	drv->channel = -1;
	drv->features = 0;
	drv->protocol_features = 0;
}

int drv_send_bytes(struct drv *drv, const void *bytes, size_t len, const int *fds,
		   unsigned int nr_fds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(64 * sizeof(int))];
	} control = { 0 };
	const uint8_t *at = bytes;
	int64_t end = check_now_ms() + CHECK_PATIENCE_MS;

	assert_true(nr_fds <= 64);
	while (len) {
		struct iovec iov = { (void *)(uintptr_t)at, len };
		struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

		if (nr_fds) {
			struct cmsghdr *cmsg;

			msg.msg_control = control.bytes;
			msg.msg_controllen = CMSG_SPACE(nr_fds * sizeof(int));
			cmsg = CMSG_FIRSTHDR(&msg);
			cmsg->cmsg_level = SOL_SOCKET;
			cmsg->cmsg_type = SCM_RIGHTS;
			cmsg->cmsg_len = CMSG_LEN(nr_fds * sizeof(int));
			memcpy(CMSG_DATA(cmsg), fds, nr_fds * sizeof(int));
		}
		ssize_t n = sendmsg(drv->sock, &msg, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN) {
			if (check_now_ms() > end)
				return -EAGAIN;
			if (!drv->pump || !drv->pump(drv->pump_arg))
				check_pause();
			continue;
		}
		if (n < 0)
			return -errno;
		at += n;
		len -= (size_t)n;
		nr_fds = 0;
	}
	return 0;
}

int drv_send(struct drv *drv, uint32_t request, uint32_t flags, const void *payload, uint32_t size,
	     const int *fds, unsigned int nr_fds)
{
	struct vhu_msg_hdr hdr = { request, VHU_MSG_VERSION | flags, size };
	uint8_t bytes[VHU_MSG_HDR_SIZE + 2 * VHU_MSG_MAX_PAYLOAD];

	assert_true(size <= sizeof(bytes) - VHU_MSG_HDR_SIZE);
	memcpy(bytes, &hdr, VHU_MSG_HDR_SIZE);
	if (size)
		memcpy(bytes + VHU_MSG_HDR_SIZE, payload, size);
	return drv_send_bytes(drv, bytes, VHU_MSG_HDR_SIZE + size, fds, nr_fds);
}

static void take_fds(struct msghdr *control, struct vhu_msg *msg)
{
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(control); cmsg;
	     cmsg = CMSG_NXTHDR(control, cmsg)) {
		assert_int_equal(cmsg->cmsg_type, SCM_RIGHTS);
		size_t nr = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		assert_true(nr <= VHU_MSG_MAX_FDS);
		memcpy(msg->fds, CMSG_DATA(cmsg), nr * sizeof(int));
		msg->nr_fds = (unsigned int)nr;
	}
}

/* Reads exactly len bytes. 1, 0 if nothing came in time, or -errno. */
static int read_all(struct drv *drv, struct vhu_msg *msg, void *to, size_t len, int64_t end)
{
	uint8_t *at = to;

	while (len) {
		union {
			struct cmsghdr align;
			char bytes[CMSG_SPACE(VHU_MSG_MAX_FDS * sizeof(int))];
		} control;
		struct iovec iov = { at, len };
		struct msghdr hdr = {
			.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = control.bytes,
			.msg_controllen = sizeof(control.bytes),
		};
		ssize_t n = recvmsg(drv->sock, &hdr, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

		if (n > 0) {
			take_fds(&hdr, msg);
			at += n;
			len -= (size_t)n;
			continue;
		}
		if (n == 0)
			return -ECONNRESET;
		if (errno != EAGAIN)
			return -errno;
		bool busy = drv->pump && drv->pump(drv->pump_arg);

		if (busy)
			continue;
		if (check_now_ms() >= end)
			return 0;
		check_pause();
	}
	return 1;
}

int drv_recv(struct drv *drv, struct vhu_msg *ret_msg, unsigned int ms)
{
	int64_t end = check_now_ms() + ms;
	int ret;

	ret_msg->nr_fds = 0;
	ret = read_all(drv, ret_msg, &ret_msg->hdr, VHU_MSG_HDR_SIZE, end);
	if (ret <= 0)
		return ret == -EPIPE ? -ECONNRESET : ret;
	assert_true(ret_msg->hdr.size <= VHU_MSG_MAX_PAYLOAD);
	if (ret_msg->hdr.size == 0)
		return 1;
	ret = read_all(drv, ret_msg, ret_msg->bytes, ret_msg->hdr.size, end + CHECK_PATIENCE_MS);
	assert_int_equal(ret, 1);
	return 1;
}

bool drv_is_closed(struct drv *drv)
{
	struct vhu_msg msg;
	int ret;

	do
		ret = drv_recv(drv, &msg, CHECK_PATIENCE_MS);
	while (ret == 1);
	return ret == -ECONNRESET;
}

static void check_reply_hdr(const struct vhu_msg *msg, uint32_t request)
{
	assert_int_equal(msg->hdr.request, request);
	/* NEED_REPLY has no meaning in a reply: it should not be there. */
	assert_int_equal(msg->hdr.flags, VHU_MSG_VERSION | VHU_MSG_REPLY);
}

int drv_ack(struct drv *drv, uint32_t request, const void *payload, uint32_t size, const int *fds,
	    unsigned int nr_fds)
{
	struct vhu_msg msg;
	int ret = drv_send(drv, request, VHU_MSG_NEED_REPLY, payload, size, fds, nr_fds);

	if (ret == -EPIPE || ret == -ECONNRESET)
		return -ECONNRESET;
	assert_int_equal(ret, 0);
	ret = drv_recv(drv, &msg, CHECK_PATIENCE_MS);
	if (ret == -ECONNRESET)
		return ret;
	assert_int_equal(ret, 1);
	check_reply_hdr(&msg, request);
	assert_int_equal(msg.hdr.size, 8);
	assert_int_equal(msg.nr_fds, 0);
	return msg.u64 ? 1 : 0;
}

void drv_do(struct drv *drv, uint32_t request, const void *payload, uint32_t size, const int *fds,
	    unsigned int nr_fds)
{
	if (drv->options.need_reply && drv->protocol_features & VHU_MASK(VHU_P_REPLY_ACK_BIT)) {
		assert_int_equal(drv_ack(drv, request, payload, size, fds, nr_fds), 0);
		return;
	}
	assert_int_equal(drv_send(drv, request, 0, payload, size, fds, nr_fds), 0);
}

void drv_do_u64(struct drv *drv, uint32_t request, uint64_t value)
{
	drv_do(drv, request, &value, sizeof(value), NULL, 0);
}

void drv_do_state(struct drv *drv, uint32_t request, uint32_t index, uint32_t num)
{
	struct vhu_vring_state state = { index, num };

	drv_do(drv, request, &state, sizeof(state), NULL, 0);
}

void drv_do_vring_fd(struct drv *drv, uint32_t request, uint32_t index, int fd)
{
	uint64_t value = index | (fd < 0 ? VHU_VRING_NOFD_MASK : 0);

	drv_do(drv, request, &value, sizeof(value), &fd, fd < 0 ? 0 : 1);
}

void drv_ask(struct drv *drv, uint32_t request, const void *payload, uint32_t size,
	     struct vhu_msg *ret_reply)
{
	/* QEMU sets no NEED_REPLY here, others do: it has to make no difference. */
	uint32_t flags = drv->options.need_reply ? VHU_MSG_NEED_REPLY : 0;

	assert_int_equal(drv_send(drv, request, flags, payload, size, NULL, 0), 0);
	assert_int_equal(drv_recv(drv, ret_reply, CHECK_PATIENCE_MS), 1);
	check_reply_hdr(ret_reply, request);
	assert_int_equal(ret_reply->nr_fds, 0);
}

uint64_t drv_ask_u64(struct drv *drv, uint32_t request)
{
	struct vhu_msg reply;

	drv_ask(drv, request, NULL, 0, &reply);
	assert_int_equal(reply.hdr.size, 8);
	return reply.u64;
}

void drv_check_in_step(struct drv *drv)
{
	struct vhu_msg msg;

	assert_int_equal(drv_ask_u64(drv, VHU_GET_FEATURES), drv->offered);
	/* An answer too many would be there already: they come in order. */
	while (drv->pump && drv->pump(drv->pump_arg))
		;
	assert_int_equal(drv_recv(drv, &msg, 0), 0);
}
