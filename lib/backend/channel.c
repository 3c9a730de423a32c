/* SPDX-License-Identifier: MIT */
/*
 * The channel back: what this side asks of the frontend, and its answers; and in-band notifications,
 * whose calls go that way. Knows nothing of how a call is decided about.
 *
 * In-band, a ring that was sent no call fd has one of our own: the data side raises it as it raises
 * any other, and here it becomes a message. One such message is under way at a time, for all rings,
 * and acknowledged before the next ("Communication": it has to block until it was processed). So the
 * channel never fills up, whoever does not read; what could not be sent stays pending with its ring.
 */
#include <backend/device.h>

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <base/fd.h>

enum {
	BUDGET = 64, /* answers, and rings that call, for each call of process */
	EVENTS = 16,
};

bool vhu_be_has_inband(const struct vhu_backend *be)
{
	return vhu_has_bit(be->protocol_features, VHU_P_INBAND_NOTIFICATIONS_BIT);
}

/* "It is also considered an error to negotiate this feature without" the other two. */
bool vhu_be_inband_is_whole(uint64_t protocol_features)
{
	const uint64_t needed = VHU_MASK(VHU_P_BACKEND_REQ_BIT) | VHU_MASK(VHU_P_REPLY_ACK_BIT);

	return !vhu_has_bit(protocol_features, VHU_P_INBAND_NOTIFICATIONS_BIT) ||
	       (protocol_features & needed) == needed;
}

/*
 * ---- The channel ----
 */
int vhu_be_set_channel(struct vhu_backend *be, int take_fd, struct vhu_reason *why)
{
	struct vhu_sock *channel;
	int err = vhu_sock_new(&channel, take_fd, VHU_CHANNEL_BACKEND, 1);

	if (err)
		return vhu_refuse(why, -EPROTO, "SET_BACKEND_REQ_FD: no Unix stream socket (%s)",
				  strerror(-err));
	err = vhu_be_watch(be, vhu_sock_fd(channel), EPOLLIN);
	if (err) {
		vhu_sock_free(channel);
		return vhu_refuse(why, err, "SET_BACKEND_REQ_FD: %s", strerror(-err));
	}
	vhu_be_drop_channel(be);
	be->channel = channel;
	return 0;
}

/* Out of the poll set first: the peer may hold the same file open, and then closing is not leaving. */
void vhu_be_drop_channel(struct vhu_backend *be)
{
	if (!be->channel)
		return;
	vhu_be_unwatch(be, vhu_sock_fd(be->channel));
	vhu_sock_free(be->channel);
	be->channel = NULL;
	/* nobody knows whether it was read: it is said again on the next channel */
	if (be->asked == VHU_BACKEND_VRING_CALL)
		be->rings[be->asked_ring].call_pending = true;
	else if (be->asked == VHU_BACKEND_VRING_ERR)
		be->rings[be->asked_ring].err_pending = true;
	be->asked = 0;
}

int vhu_backend_config_changed(struct vhu_backend *backend)
{
	struct vhu_msg msg;

	if (!backend->channel || !vhu_has_bit(backend->protocol_features, VHU_P_CONFIG_BIT))
		return -ENOTCONN;
	vhu_msg_init(&msg, VHU_BACKEND_CONFIG_CHANGE, 0, 0);
	vhu_be_emit(backend, VHU_EVENT_REQUEST_OUT, &msg, -1, NULL);
	return vhu_sock_send(backend->channel, &msg);
}

/* What we asked last has been answered; any other answer is one that nobody waits for. */
static void take_answer(struct vhu_backend *be, const struct vhu_msg *msg)
{
	struct ring *ring = &be->rings[be->asked_ring];
	struct vhu_reason why;

	if (!be->asked || msg->hdr.request != be->asked)
		return;
	be->asked = 0;
	if (!msg->u64 || ring->deaf_told)
		return;
	ring->deaf_told = true;
	vhu_refuse(&why, 0, "ring %u: the frontend does not want its %s", be->asked_ring,
		   msg->hdr.request == VHU_BACKEND_VRING_CALL ? "calls" : "errors");
	vhu_be_complain(be, why.text);
}

static void read_channel(struct vhu_backend *be)
{
	struct vhu_reason why = { { 0 } };
	struct vhu_msg msg;

	for (int i = 0; i < BUDGET && be->channel; i++) {
		int got = vhu_sock_recv(be->channel, &msg, &why);

		if (!got)
			return;
		if (got < 0) {
			if (got != -ECONNRESET)
				vhu_be_complain(be, why.text);
			vhu_be_drop_channel(be);
			return;
		}
		vhu_be_emit(be, VHU_EVENT_REPLY_IN, &msg, -1, NULL);
		take_answer(be, &msg);
		vhu_msg_close_fds(&msg);
	}
}

/*
 * ---- In-band notifications ----
 */
int vhu_be_inband_begin(struct vhu_backend *be)
{
	int err;

	if (be->inband_fd >= 0)
		return 0;
	be->inband_fd = epoll_create1(EPOLL_CLOEXEC);
	if (be->inband_fd < 0)
		return -errno;
	err = vhu_be_watch(be, be->inband_fd, EPOLLIN);
	if (err)
		vhu_fd_close(&be->inband_fd);
	return err;
}

void vhu_be_inband_end(struct vhu_backend *be)
{
	if (be->inband_fd >= 0)
		vhu_be_unwatch(be, be->inband_fd);
	vhu_fd_close(&be->inband_fd);
}

int vhu_be_own_event(int *fd)
{
	*fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return *fd < 0 ? -errno : 0;
}

int vhu_be_own_call(struct vhu_backend *be, unsigned int i)
{
	struct ring *ring = &be->rings[i];
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = i };
	int err;

	if (ring->call_said || ring->call_fd >= 0 || !vhu_be_has_inband(be))
		return 0;
	err = vhu_be_own_event(&ring->call_fd);
	if (err)
		return err;
	if (epoll_ctl(be->inband_fd, EPOLL_CTL_ADD, ring->call_fd, &event) < 0) {
		err = -errno;
		vhu_fd_close(&ring->call_fd);
	}
	return err;
}

void vhu_be_forget_call(struct vhu_backend *be, unsigned int i)
{
	struct ring *ring = &be->rings[i];

	if (!ring->call_said && ring->call_fd >= 0)
		epoll_ctl(be->inband_fd, EPOLL_CTL_DEL, ring->call_fd, NULL);
	vhu_be_retire_fd(be, &ring->call_fd);
	ring->call_pending = false;
}

void vhu_be_disown(struct vhu_backend *be, unsigned int i)
{
	if (!be->rings[i].call_said)
		vhu_be_forget_call(be, i);
	if (!be->rings[i].kick_said)
		vhu_be_retire_fd(be, &be->rings[i].kick_fd);
}

void vhu_be_collect_calls(struct vhu_backend *be)
{
	struct epoll_event events[EVENTS];
	int n = 0;

	if (be->inband_fd >= 0)
		n = epoll_wait(be->inband_fd, events, EVENTS, 0);
	for (int i = 0; i < n; i++) {
		struct ring *ring = &be->rings[events[i].data.u32];
		uint64_t count;

		if (read(ring->call_fd, &count, sizeof(count)) > 0)
			ring->call_pending = true;
	}
}

/* What the ring has to say; 0: nothing. A stopped one keeps silent: it calls anew at its start. */
static uint32_t next_of(const struct ring *ring)
{
	if (!ring->running)
		return 0;
	if (ring->err_pending)
		return VHU_BACKEND_VRING_ERR;
	return ring->call_pending ? VHU_BACKEND_VRING_CALL : 0;
}

/* The rings take turns: one that calls all the time does not silence the others. */
static void say_next(struct vhu_backend *be)
{
	for (unsigned int n = 0; n < be->nr_rings; n++) {
		unsigned int i = (be->inband_turn + n) % be->nr_rings;
		struct ring *ring = &be->rings[i];
		uint32_t request = next_of(ring);
		struct vhu_msg msg;

		if (!request)
			continue;
		vhu_msg_init(&msg, request, VHU_MSG_NEED_REPLY, sizeof(msg.state));
		msg.state.index = i;
		be->asked = request;
		be->asked_ring = i;
		be->inband_turn = i + 1;
		*(request == VHU_BACKEND_VRING_ERR ? &ring->err_pending : &ring->call_pending) =
			false;
		vhu_be_emit(be, VHU_EVENT_REQUEST_OUT, &msg, (int)i, NULL);
		if (vhu_sock_send(be->channel, &msg) < 0)
			vhu_be_drop_channel(be);
		return;
	}
}

void vhu_be_serve_channel(struct vhu_backend *be)
{
	bool unsent = false;

	read_channel(be);
	if (be->channel && vhu_sock_flush(be->channel) < 0)
		vhu_be_drop_channel(be);
	if (be->channel && !be->asked && !vhu_sock_has_unsent(be->channel) && vhu_be_has_inband(be))
		say_next(be);
	if (!be->channel)
		return;
	unsent = vhu_sock_has_unsent(be->channel);
	vhu_be_rewatch(be, vhu_sock_fd(be->channel), unsent ? EPOLLIN | EPOLLOUT : EPOLLIN);
}
