/* SPDX-License-Identifier: MIT */
/*
 * Messages over one connected Unix stream socket: the receive machine and the send queue, and
 * sockets made, listened on and connected. It never looks at what a message means.
 *
 * One thread at a time for one vhu_sock. No call blocks.
 */
#ifndef VHU_SOCK_H
#define VHU_SOCK_H

#include <vhu/wire.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vhu_sock;

/*
 * Takes a connected stream socket and makes it non-blocking. channel says whose request numbers
 * arrive here; replies tells whether arriving messages are replies (the side that asks) or requests.
 * With replies < 0 both kinds may come. -ENOTSOCK, -EPROTOTYPE (no Unix stream socket), -ENOMEM.
 */
VHU_API int vhu_sock_new(struct vhu_sock **ret_sock, int take_fd, enum vhu_channel channel,
			 int replies);
/* Closes the socket and every fd of messages not handed out or not yet sent. NULL is allowed. */
VHU_API void vhu_sock_free(struct vhu_sock *sock);

VHU_API int vhu_sock_fd(const struct vhu_sock *sock);

/*
 * The next whole message. 1: ret_msg holds it, and its fds are the caller's. 0: none yet.
 * -ECONNRESET: the peer has gone between messages. -EPROTO: gone or wrong in mid-message, too
 * many fds, fds in the wrong place, a header that cannot be: why says what; the socket is of no
 * further use.
 */
VHU_API int vhu_sock_recv(struct vhu_sock *sock, struct vhu_msg *ret_msg, struct vhu_reason *why);

/*
 * Queues a message and sends what the socket takes. The fds are duplicated if they have to wait:
 * they stay the caller's. -ENOBUFS: the peer has not read for so long that the queue is full.
 * -EPIPE or -ECONNRESET: it has gone.
 */
VHU_API int vhu_sock_send(struct vhu_sock *sock, const struct vhu_msg *msg);
/* Sends what waits. 0: all gone. 1: some left, wait for POLLOUT. */
VHU_API int vhu_sock_flush(struct vhu_sock *sock);

/* True if a message has begun to arrive or waits to be sent: the caller sets a deadline then. */
VHU_API bool vhu_sock_is_partial(const struct vhu_sock *sock);
VHU_API bool vhu_sock_has_unsent(const struct vhu_sock *sock);

/* Closes all fds of a message and empties its list. */
VHU_API void vhu_msg_close_fds(struct vhu_msg *msg);
/* Takes fd number i out of the message: the caller owns it now. -1 if there is none. */
VHU_API int vhu_msg_take_fd(struct vhu_msg *msg, unsigned int i);

/*
 * Makes a listening socket. A socket file of a dead process is replaced; -EADDRINUSE if somebody
 * listens on it, -EEXIST if the path is something else than a socket. mode 0 leaves the process's
 * umask in charge; group NULL leaves the group. Returns the fd.
 */
VHU_API int vhu_sock_listen(const char *path, unsigned int mode, const char *group);
/* Accepts one connection, close-on-exec and non-blocking. -EAGAIN if there is none. */
VHU_API int vhu_sock_accept(int listen_fd);
/* Connects. Returns the fd or -errno (-ENOENT, -ECONNREFUSED, -EAGAIN: nobody there now). */
VHU_API int vhu_sock_connect(const char *path);

#ifdef __cplusplus
}
#endif
#endif
