/* SPDX-License-Identifier: MIT */
/*
 * The receive machine and the send queue of one connected socket. It never looks at what a
 * message means: framing, fds and deadlines only.
 */
#include <vhu/sock.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <base/bits.h>
#include <base/fd.h>

enum {
	MAX_QUEUED = 64
}; /* messages that wait for a peer that does not read */

struct queued {
	struct queued *next;
	uint32_t done, len; /* bytes sent, bytes in all */
	unsigned int nr_fds;
	int fds[VHU_MSG_MAX_FDS];
	uint8_t bytes[];
};

struct vhu_sock {
	int fd;
	enum vhu_channel channel;
	int replies;
	uint32_t have; /* bytes of header and payload that have arrived */
	struct vhu_msg_hdr hdr;
	unsigned int nr_fds;
	int fds[VHU_MSG_MAX_FDS];
	uint8_t *payload; /* hdr.size bytes, from the header's end to the message's; else NULL */
	struct queued *first, **last;
	unsigned int nr_queued;
};

int vhu_sock_new(struct vhu_sock **ret_sock, int take_fd, enum vhu_channel channel, int replies)
{
	struct vhu_sock *sock;
	int domain = 0, type = 0, err;
	socklen_t len = sizeof(domain);

	if (getsockopt(take_fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0) {
		err = -errno;
		goto fail;
	}
	len = sizeof(type);
	if (getsockopt(take_fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0) {
		err = -errno;
		goto fail;
	}
	if (domain != AF_UNIX || type != SOCK_STREAM) {
		err = -EPROTOTYPE;
		goto fail;
	}
	err = vhu_fd_nonblock(take_fd);
	if (err)
		goto fail;
	if (fcntl(take_fd, F_SETFD, FD_CLOEXEC) < 0) {
		err = -errno;
		goto fail;
	}
	sock = calloc(1, sizeof(*sock));
	if (!sock) {
		err = -ENOMEM;
		goto fail;
	}
	sock->fd = take_fd;
	sock->channel = channel;
	sock->replies = replies;
	sock->last = &sock->first;
	*ret_sock = sock;
	return 0;
fail:
	vhu_fd_close(&take_fd);
	return err;
}

static void drop_first(struct vhu_sock *sock)
{
	struct queued *q = sock->first;

	for (unsigned int i = 0; i < q->nr_fds; i++)
		vhu_fd_close(&q->fds[i]);
	sock->first = q->next;
	if (!sock->first)
		sock->last = &sock->first;
	sock->nr_queued--;
	free(q);
}

void vhu_sock_free(struct vhu_sock *sock)
{
	if (!sock)
		return;
	while (sock->first)
		drop_first(sock);
	for (unsigned int i = 0; i < sock->nr_fds; i++)
		vhu_fd_close_foreign(&sock->fds[i]);
	vhu_fd_close(&sock->fd);
	free(sock->payload);
	free(sock);
}

int vhu_sock_fd(const struct vhu_sock *sock)
{
	return sock->fd;
}

void vhu_msg_close_fds(struct vhu_msg *msg)
{
	for (unsigned int i = 0; i < msg->nr_fds; i++)
		vhu_fd_close_foreign(&msg->fds[i]);
	msg->nr_fds = 0;
}

int vhu_msg_take_fd(struct vhu_msg *msg, unsigned int i)
{
	return i < msg->nr_fds ? vhu_fd_take(&msg->fds[i]) : -1;
}

/* Parses the control data before anything is judged, so that each fd has an owner at once. */
static unsigned int collect_fds(struct msghdr *mh, int *ret_fds, unsigned int max)
{
	unsigned int nr = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		size_t bytes;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		bytes = c->cmsg_len - CMSG_LEN(0);
		for (size_t off = 0; off + sizeof(int) <= bytes; off += sizeof(int)) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + off, sizeof(fd));
			if (nr < max)
				ret_fds[nr++] = fd;
			else
				vhu_fd_close_foreign(&fd);
		}
	}
	return nr;
}

/*
 * Reads up to len bytes to where the message stands. A read never goes past the message's end, and
 * only the one that brings the first byte may bring fds. Bytes read, 0 for "none now", or -errno.
 */
static ssize_t receive(struct vhu_sock *sock, void *to, size_t len, struct vhu_reason *why)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * VHU_MSG_MAX_FDS)];
	} control;
	struct iovec iov = { .iov_base = to, .iov_len = len };
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.space,
			     .msg_controllen = sizeof(control.space) };
	int fds[VHU_MSG_MAX_FDS];
	unsigned int nr;
	ssize_t got;

	do {
		got = recvmsg(sock->fd, &mh, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
	nr = collect_fds(&mh, fds, VHU_ARRAY_SIZE(fds));
	if (sock->have == 0 && got > 0) {
		memcpy(sock->fds, fds, nr * sizeof(fds[0]));
		sock->nr_fds = nr;
	} else if (nr) {
		for (unsigned int i = 0; i < nr; i++)
			vhu_fd_close_foreign(&fds[i]);
		return vhu_refuse(why, -EPROTO, "%u fds came in the middle of a message", nr);
	}
	if (mh.msg_flags & MSG_CTRUNC) {
		const struct vhu_request_row *row = NULL;

		if (sock->have + (uint32_t)got >= VHU_MSG_HDR_SIZE)
			row = vhu_request_row(sock->channel, sock->hdr.request);
		return vhu_refuse(why, -EPROTO, "%s: more fds came than a message may have (%u)",
				  row ? row->name : "message", VHU_MSG_MAX_FDS);
	}
	if (got == 0) {
		if (sock->have)
			return vhu_refuse(why, -EPROTO,
					  "the peer closed after %u bytes of a message",
					  sock->have);
		return vhu_refuse(why, -ECONNRESET, "the peer closed the connection");
	}
	return got;
}

static int check_hdr(struct vhu_sock *sock, struct vhu_reason *why)
{
	bool is_reply = sock->replies < 0 ? !!(sock->hdr.flags & VHU_MSG_REPLY) : sock->replies > 0;

	if (sock->replies < 0) /* whoever takes both kinds judges for itself, but has to follow */
		return sock->hdr.size <= VHU_MSG_MAX_PAYLOAD ?
			       0 :
			       vhu_refuse(why, -EPROTO,
					  "request %u: size %u, at most %u is allowed",
					  sock->hdr.request, sock->hdr.size, VHU_MSG_MAX_PAYLOAD);
	return vhu_wire_check_hdr(sock->channel, &sock->hdr, is_reply, why);
}

/* The header is there: judged, and room made for what follows. Most connections are idle, and hold none. */
static int begin_payload(struct vhu_sock *sock, struct vhu_reason *why)
{
	int err = check_hdr(sock, why);

	if (err || !sock->hdr.size)
		return err;
	sock->payload = malloc(sock->hdr.size);
	return sock->payload ? 0 : vhu_refuse(why, -ENOMEM, "message: out of memory");
}

int vhu_sock_recv(struct vhu_sock *sock, struct vhu_msg *ret_msg, struct vhu_reason *why)
{
	for (;;) {
		uint32_t end = VHU_MSG_HDR_SIZE;
		uint8_t *to = (uint8_t *)&sock->hdr + sock->have;
		ssize_t got;
		int err;

		if (sock->have >= VHU_MSG_HDR_SIZE && sock->hdr.size) {
			end += sock->hdr.size;
			to = sock->payload + (sock->have - VHU_MSG_HDR_SIZE);
		}
		if (sock->have < end) {
			got = receive(sock, to, end - sock->have, why);
			if (got <= 0)
				return (int)got;
			sock->have += (uint32_t)got;
			if (sock->have == VHU_MSG_HDR_SIZE) {
				err = begin_payload(sock, why);
				if (err)
					return err;
				continue;
			}
			if (sock->have < end)
				continue;
		}
		ret_msg->hdr = sock->hdr;
		ret_msg->nr_fds = sock->nr_fds;
		memcpy(ret_msg->fds, sock->fds, sizeof(ret_msg->fds));
		if (sock->hdr.size)
			memcpy(ret_msg->bytes, sock->payload, sock->hdr.size);
		/* what a shorter message leaves of the named fields is zero, never stale */
		if (sock->hdr.size < 64)
			memset(ret_msg->bytes + sock->hdr.size, 0, 64 - sock->hdr.size);
		free(sock->payload);
		sock->payload = NULL;
		sock->nr_fds = 0;
		sock->have = 0;
		return 1;
	}
}

/* Sends what it can. Bytes sent, 0 for "none now", or -errno. */
static ssize_t transmit(struct vhu_sock *sock, const uint8_t *bytes, size_t len, const int *fds,
			unsigned int nr_fds)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * VHU_MSG_MAX_FDS)];
	} control;
	struct iovec iov = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t sent;

	if (nr_fds) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		mh.msg_control = control.space;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * nr_fds);
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * nr_fds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * nr_fds);
	}
	do {
		sent = sendmsg(sock->fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
	return sent;
}

static int enqueue(struct vhu_sock *sock, const uint8_t *bytes, uint32_t len, uint32_t done,
		   const int *fds, unsigned int nr_fds)
{
	struct queued *q;

	if (sock->nr_queued >= MAX_QUEUED)
		return -ENOBUFS;
	q = calloc(1, sizeof(*q) + len);
	if (!q)
		return -ENOMEM;
	memcpy(q->bytes, bytes, len);
	q->len = len;
	q->done = done;
	for (unsigned int i = 0; !done && i < nr_fds; i++) {
		q->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
		if (q->fds[i] < 0) {
			int err = -errno;

			while (i--)
				vhu_fd_close(&q->fds[i]);
			free(q);
			return err;
		}
		q->nr_fds = i + 1;
	}
	*sock->last = q;
	sock->last = &q->next;
	sock->nr_queued++;
	return 0;
}

int vhu_sock_send(struct vhu_sock *sock, const struct vhu_msg *msg)
{
	uint8_t bytes[VHU_MSG_HDR_SIZE + VHU_MSG_MAX_PAYLOAD];
	uint32_t len = VHU_MSG_HDR_SIZE + msg->hdr.size;
	ssize_t sent = 0;
	int err;

	if (msg->hdr.size > VHU_MSG_MAX_PAYLOAD || msg->nr_fds > VHU_MSG_MAX_FDS)
		return -EINVAL;
	memcpy(bytes, &msg->hdr, VHU_MSG_HDR_SIZE);
	memcpy(bytes + VHU_MSG_HDR_SIZE, msg->bytes, msg->hdr.size);
	err = vhu_sock_flush(sock);
	if (err < 0)
		return err;
	if (!sock->first) {
		sent = transmit(sock, bytes, len, msg->fds, msg->nr_fds);
		if (sent < 0)
			return (int)sent;
		if ((uint32_t)sent == len)
			return 0;
	}
	return enqueue(sock, bytes, len, (uint32_t)sent, msg->fds, msg->nr_fds);
}

int vhu_sock_flush(struct vhu_sock *sock)
{
	while (sock->first) {
		struct queued *q = sock->first;
		unsigned int nr_fds = q->done ? 0 : q->nr_fds;
		ssize_t sent = transmit(sock, q->bytes + q->done, q->len - q->done, q->fds, nr_fds);

		if (sent < 0)
			return (int)sent;
		if (sent == 0)
			return 1;
		q->done += (uint32_t)sent;
		if (q->done == q->len)
			drop_first(sock);
	}
	return 0;
}

bool vhu_sock_is_partial(const struct vhu_sock *sock)
{
	return sock->have > 0;
}

bool vhu_sock_has_unsent(const struct vhu_sock *sock)
{
	return sock->first != NULL;
}
