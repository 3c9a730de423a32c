/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* Messages over a socket: pieces, fds, full queues, ends; and sockets listened on and connected. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <vhu/sock.h>

struct ends {
	struct vhu_sock *sock; /* under test */
	int raw;	       /* the other end */
	unsigned int fds_before;
};

static unsigned int count_fds(void)
{
	unsigned int nr = 0;
	DIR *dir = opendir("/proc/self/fd");

	assert_non_null(dir);
	while (readdir(dir))
		nr++;
	closedir(dir);
	return nr;
}

static int setup(void **state)
{
	struct ends *e = calloc(1, sizeof(*e));
	int fds[2];

	if (!e)
		return -1;
	*state = e;
	e->fds_before = count_fds();
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), errno);
	assert_int_equal(vhu_sock_new(&e->sock, fds[0], VHU_CHANNEL_MAIN, 0), 0);
	assert_int_equal(vhu_sock_fd(e->sock), fds[0]);
	assert_true(fcntl(fds[0], F_GETFL) & O_NONBLOCK);
	e->raw = fds[1];
	return 0;
}

static int teardown(void **state)
{
	struct ends *e = *state;

	vhu_sock_free(e->sock);
	if (e->raw >= 0)
		close(e->raw);
	/* Whatever the test did: nothing is left. */
	assert_int_equal(count_fds(), e->fds_before);
	free(e);
	return 0;
}

static void put(struct ends *e, const void *bytes, size_t len, int fd, unsigned int nr_fds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(32 * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)bytes, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (nr_fds) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(nr_fds * sizeof(int));
		struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(nr_fds * sizeof(int));
		for (unsigned int i = 0; i < nr_fds; i++)
			memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &fd, sizeof(int));
	}
	assert_int_equal(sendmsg(e->raw, &msg, MSG_NOSIGNAL), len);
}

static void put_msg(struct ends *e, uint32_t request, const void *payload, uint32_t size, int fd,
		    unsigned int nr_fds)
{
	struct vhu_msg_hdr hdr = { request, VHU_MSG_VERSION, size };
	uint8_t bytes[VHU_MSG_HDR_SIZE + VHU_MSG_MAX_PAYLOAD];

	memcpy(bytes, &hdr, sizeof(hdr));
	if (size)
		memcpy(bytes + sizeof(hdr), payload, size);
	put(e, bytes, sizeof(hdr) + size, fd, nr_fds);
}

static void message_in_any_pieces_arrives_whole(void **state)
{
	struct ends *e = *state;
	struct vhu_vring_state ring = { 3, 256 };
	struct vhu_msg_hdr hdr = { VHU_SET_VRING_NUM, VHU_MSG_VERSION, sizeof(ring) };
	uint8_t bytes[20];
	struct vhu_reason why;
	struct vhu_msg msg;

	memcpy(bytes, &hdr, 12);
	memcpy(bytes + 12, &ring, 8);
	for (size_t piece = 1; piece <= sizeof(bytes); piece++) {
		assert_false(vhu_sock_is_partial(e->sock));
		for (size_t at = 0; at < sizeof(bytes); at += piece) {
			size_t len = sizeof(bytes) - at < piece ? sizeof(bytes) - at : piece;

			assert_int_equal(vhu_sock_recv(e->sock, &msg, &why), 0);
			assert_int_equal(vhu_sock_is_partial(e->sock), at > 0);
			put(e, bytes + at, len, -1, 0);
		}
		assert_int_equal(vhu_sock_recv(e->sock, &msg, &why), 1);
		assert_int_equal(msg.hdr.request, VHU_SET_VRING_NUM);
		assert_int_equal(msg.state.index, 3);
		assert_int_equal(msg.state.num, 256);
		assert_int_equal(msg.nr_fds, 0);
	}
	assert_int_equal(vhu_sock_recv(e->sock, &msg, &why), 0);
}

static void messages_behind_each_other_are_told_apart(void **state)
{
	struct ends *e = *state;
	struct vhu_reason why;
	struct vhu_msg msg;

	for (uint64_t i = 0; i < 50; i++)
		put_msg(e, VHU_SET_FEATURES, &i, 8, STDIN_FILENO, 0);
	for (uint64_t i = 0; i < 50; i++) {
		assert_int_equal(vhu_sock_recv(e->sock, &msg, &why), 1);
		assert_int_equal(msg.u64, i);
	}
	assert_int_equal(vhu_sock_recv(e->sock, &msg, &why), 0);
}

static void fds_belong_to_their_own_message(void **state)
{
	struct ends *e = *state;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct vhu_reason why;
	struct vhu_msg msg;

	for (uint64_t i = 0; i < 12; i++)
		put_msg(e, i % 3 ? VHU_SET_VRING_KICK : VHU_SET_FEATURES, &i, 8, fd, i % 3 != 0);
	close(fd);
	for (uint64_t i = 0; i < 12; i++) {
		assert_int_equal(vhu_sock_recv(e->sock, &msg, &why), 1);
		assert_int_equal(msg.u64, i);
		assert_int_equal(msg.nr_fds, i % 3 != 0);
		if (msg.nr_fds)
			assert_true(fcntl(msg.fds[0], F_GETFD) & FD_CLOEXEC);
		vhu_msg_close_fds(&msg);
		assert_int_equal(msg.nr_fds, 0);
	}
}

static void fd_that_is_taken_is_the_callers(void **state)
{
	struct ends *e = *state;
	struct vhu_mem_table table = { .nr = 3 };
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct vhu_reason why;
	struct vhu_msg msg;
	int taken;

	put_msg(e, VHU_SET_MEM_TABLE, &table, 8 + 3 * 32, fd, 3);
	close(fd);
	assert_int_equal(vhu_sock_recv(e->sock, &msg, &why), 1);
	assert_int_equal(msg.nr_fds, 3);
	taken = vhu_msg_take_fd(&msg, 1);
	assert_true(taken >= 0);
	assert_int_equal(vhu_msg_take_fd(&msg, 1), -1);
	assert_int_equal(vhu_msg_take_fd(&msg, 3), -1);
	vhu_msg_close_fds(&msg);
	assert_return_code(fcntl(taken, F_GETFD), errno);
	close(taken);
}

static void too_many_fds_are_closed_and_the_stream_is_over(void **state)
{
	struct ends *e = *state;
	uint64_t value = 0;
	struct vhu_reason why = { "" };
	struct vhu_msg msg;

	put_msg(e, VHU_SET_FEATURES, &value, 8, e->raw, VHU_MSG_MAX_FDS + 1);
	assert_int_equal(vhu_sock_recv(e->sock, &msg, &why), -EPROTO);
	assert_true(strlen(why.text) > 0);
	/* None of the nine is left when the socket has gone: teardown() counts. */
}

static void fds_in_mid_message_are_closed_and_the_stream_is_over(void **state)
{
	struct ends *e = *state;
	struct vhu_msg_hdr hdr = { VHU_SET_FEATURES, VHU_MSG_VERSION, 8 };
	struct vhu_reason why = { "" };
	struct vhu_msg msg;

	put(e, &hdr, 5, -1, 0);
	assert_int_equal(vhu_sock_recv(e->sock, &msg, &why), 0);
	put(e, (uint8_t *)&hdr + 5, 7, e->raw, 1);
	int ret = vhu_sock_recv(e->sock, &msg, &why);

	if (ret == 0) {
		uint64_t value = 0;

		put(e, &value, 8, -1, 0);
		ret = vhu_sock_recv(e->sock, &msg, &why);
	}
	assert_int_equal(ret, -EPROTO);
	assert_true(strlen(why.text) > 0);
}

static void header_that_cannot_be_ends_the_stream(void **state)
{
	struct ends *e = *state;
	struct vhu_msg_hdr hdr = { VHU_SET_FEATURES, VHU_MSG_VERSION, VHU_MSG_MAX_PAYLOAD + 1 };
	struct vhu_reason why = { "" };
	struct vhu_msg msg;

	put(e, &hdr, sizeof(hdr), e->raw, 1);
	assert_int_equal(vhu_sock_recv(e->sock, &msg, &why), -EPROTO);
	assert_true(strlen(why.text) > 0);
}

static void end_between_messages_is_a_reset(void **state)
{
	struct ends *e = *state;
	uint64_t value = 5;
	struct vhu_reason why;
	struct vhu_msg msg;

	put_msg(e, VHU_SET_FEATURES, &value, 8, -1, 0);
	close(e->raw);
	e->raw = -1;
	assert_int_equal(vhu_sock_recv(e->sock, &msg, &why), 1);
	assert_int_equal(vhu_sock_recv(e->sock, &msg, &why), -ECONNRESET);
}

static void end_in_mid_message_is_an_error(void **state)
{
	struct ends *e = *state;
	struct vhu_msg_hdr hdr = { VHU_SET_FEATURES, VHU_MSG_VERSION, 8 };
	struct vhu_reason why = { "" };
	struct vhu_msg msg;

	put(e, &hdr, sizeof(hdr), STDERR_FILENO, 1);
	close(e->raw);
	e->raw = -1;
	int ret = vhu_sock_recv(e->sock, &msg, &why);

	if (ret == 0)
		ret = vhu_sock_recv(e->sock, &msg, &why);
	assert_int_equal(ret, -EPROTO);
	assert_true(strlen(why.text) > 0);
}

static void what_the_socket_does_not_take_waits(void **state)
{
	struct ends *e = *state;
	struct vhu_msg msg;
	unsigned int sent = 0;
	int ret = 0;

	/* Nobody reads: first the socket fills, then the queue, and then it says so. */
	while (sent < 1000000) {
		vhu_msg_init(&msg, VHU_GET_FEATURES, VHU_MSG_REPLY, 8);
		msg.u64 = sent;
		msg.nr_fds = 1;
		msg.fds[0] = STDERR_FILENO; /* stays ours */
		ret = vhu_sock_send(e->sock, &msg);
		if (ret < 0)
			break;
		sent++;
	}
	assert_int_equal(ret, -ENOBUFS);
	assert_true(vhu_sock_has_unsent(e->sock));
	assert_int_equal(vhu_sock_flush(e->sock), 1);
	assert_return_code(fcntl(STDERR_FILENO, F_GETFD), errno);
	/* Now it is read: everything that was taken comes, in order, with its fd. */
	for (unsigned int i = 0; i < sent; i++) {
		union {
			struct cmsghdr align;
			char bytes[CMSG_SPACE(sizeof(int))];
		} control;
		uint8_t bytes[20];
		struct iovec iov = { bytes, sizeof(bytes) };
		struct msghdr hdr = { .msg_iov = &iov,
				      .msg_iovlen = 1,
				      .msg_control = control.bytes,
				      .msg_controllen = sizeof(control.bytes) };
		uint64_t value;
		int fd;

		assert_true(vhu_sock_flush(e->sock) >= 0);
		assert_int_equal(recvmsg(e->raw, &hdr, MSG_DONTWAIT | MSG_CMSG_CLOEXEC),
				 sizeof(bytes));
		memcpy(&value, bytes + 12, 8);
		assert_int_equal(value, i);
		assert_non_null(CMSG_FIRSTHDR(&hdr));
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&hdr)), sizeof(fd));
		close(fd);
	}
	assert_int_equal(vhu_sock_flush(e->sock), 0);
	assert_false(vhu_sock_has_unsent(e->sock));
}

static void waiting_fds_are_closed_with_the_socket(void **state)
{
	struct ends *e = *state;
	struct vhu_msg msg;

	do {
		vhu_msg_init(&msg, VHU_GET_FEATURES, VHU_MSG_REPLY, 8);
		msg.nr_fds = 1;
		msg.fds[0] = STDERR_FILENO;
	} while (vhu_sock_send(e->sock, &msg) == 0);
	/* teardown() counts. */
}

static void peer_that_has_gone_is_told(void **state)
{
	struct ends *e = *state;
	struct vhu_msg msg;
	int ret;

	close(e->raw);
	e->raw = -1;
	vhu_msg_init(&msg, VHU_GET_FEATURES, VHU_MSG_REPLY, 8);
	ret = vhu_sock_send(e->sock, &msg);
	assert_true(ret == -EPIPE || ret == -ECONNRESET);
}

static void other_fds_are_refused_and_closed(void **state)
{
	struct ends *e = *state;
	struct vhu_sock *sock = e->sock;
	int fds[2];

	assert_int_equal(vhu_sock_new(&sock, open("/dev/null", O_RDWR | O_CLOEXEC),
				      VHU_CHANNEL_MAIN, 0),
			 -ENOTSOCK);
	assert_return_code(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), errno);
	assert_int_equal(vhu_sock_new(&sock, fds[0], VHU_CHANNEL_MAIN, 0), -EPROTOTYPE);
	close(fds[1]);
	assert_int_equal(vhu_sock_new(&sock, socket(AF_INET, SOCK_STREAM, 0), VHU_CHANNEL_MAIN, 0),
			 -EPROTOTYPE);
	assert_ptr_equal(sock, e->sock);
	vhu_sock_free(NULL);
}

/*
 * ---- Paths ----
 */
static void make_path(char *dir, char *path, size_t size)
{
	strcpy(dir, "/tmp/vhu-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, size, "%s/sock", dir);
}

static void listens_and_connects(void **state)
{
	char dir[32], path[64];
	int listener, client, server;

	(void)state;
	make_path(dir, path, sizeof(path));
	assert_int_equal(vhu_sock_connect(path), -ENOENT);
	listener = vhu_sock_listen(path, 0600, NULL);
	assert_true(listener >= 0);
	struct stat st;

	assert_return_code(stat(path, &st), errno);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(vhu_sock_accept(listener), -EAGAIN);
	client = vhu_sock_connect(path);
	assert_true(client >= 0);
	server = vhu_sock_accept(listener);
	assert_true(server >= 0);
	assert_true(fcntl(server, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(server, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(client, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(listener, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(write(client, "x", 1), 1);
	char byte;

	assert_int_equal(read(server, &byte, 1), 1);
	assert_int_equal(vhu_sock_listen(path, 0, NULL), -EADDRINUSE);
	close(server);
	close(client);
	close(listener);
	assert_int_equal(vhu_sock_connect(path), -ECONNREFUSED);
	/* The file of the dead is replaced. */
	listener = vhu_sock_listen(path, 0, NULL);
	assert_true(listener >= 0);
	close(listener);
	unlink(path);
	rmdir(dir);
}

static void file_that_is_no_socket_is_left_alone(void **state)
{
	char dir[32], path[64];
	struct stat st;
	int fd;

	(void)state;
	make_path(dir, path, sizeof(path));
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "data", 4), 4);
	close(fd);
	assert_int_equal(vhu_sock_listen(path, 0, NULL), -EEXIST);
	assert_return_code(stat(path, &st), errno);
	assert_int_equal(st.st_size, 4);
	unlink(path);
	rmdir(dir);
}

static void path_too_long_is_refused(void **state)
{
	char path[300];

	(void)state;
	memset(path, 'a', sizeof(path) - 1);
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	assert_true(vhu_sock_listen(path, 0, NULL) < 0);
	assert_true(vhu_sock_connect(path) < 0);
	assert_true(vhu_sock_listen("/nonexistent/folder/sock", 0, NULL) < 0);
	assert_true(vhu_sock_listen("", 0, NULL) < 0);
}

#define sock_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		sock_test(message_in_any_pieces_arrives_whole),
		sock_test(messages_behind_each_other_are_told_apart),
		sock_test(fds_belong_to_their_own_message),
		sock_test(fd_that_is_taken_is_the_callers),
		sock_test(too_many_fds_are_closed_and_the_stream_is_over),
		sock_test(fds_in_mid_message_are_closed_and_the_stream_is_over),
		sock_test(header_that_cannot_be_ends_the_stream),
		sock_test(end_between_messages_is_a_reset),
		sock_test(end_in_mid_message_is_an_error),
		sock_test(what_the_socket_does_not_take_waits),
		sock_test(waiting_fds_are_closed_with_the_socket),
		sock_test(peer_that_has_gone_is_told),
		sock_test(other_fds_are_refused_and_closed),
		cmocka_unit_test(listens_and_connects),
		cmocka_unit_test(file_that_is_no_socket_is_left_alone),
		cmocka_unit_test(path_too_long_is_refused),
	};

	return cmocka_run_group_tests_name("sock", tests, NULL, NULL);
}
