/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* Where frontends come from, and what is left when they go. */
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <vhu/sock.h>

#include "backend_fixture.h"

static void works(struct drv *drv)
{
	drv_start(drv);
	drv_net_echo(drv, 1, 0, 5);
}

static void second_connection_is_refused_without_harm_to_the_first(void **state)
{
	struct pair *p = pair_up(state, NULL, NULL);
	struct drv second;

	works(&p->drv);
	for (unsigned int i = 0; i < 5; i++) {
		drv_init(&second, NULL);
		second.pump = fixture_pump;
		if (drv_connect(&second, p->fix.path) == 0) {
			drv_send(&second, VHU_GET_FEATURES, 0, NULL, 0, NULL, 0);
			assert_true(drv_is_closed(&second));
		}
		drv_free(&second);
		drv_net_echo(&p->drv, 1, 100 * i, 5);
		drv_check_in_step(&p->drv);
	}
	assert_int_equal(p->fix.connected, 1);
	assert_int_equal(p->fix.closed, 0);
}

static void next_frontend_is_taken_when_the_first_has_gone(void **state)
{
	struct pair *p = pair_up(state, NULL, NULL);

	works(&p->drv);
	for (unsigned int i = 2; i < 6; i++) {
		fixture_detach(&p->fix, &p->drv);
		p->drv_is_up = false;
		assert_int_equal(p->fix.closed_err, 0);
		assert_false(vhu_backend_is_connected(p->fix.backend));
		assert_int_equal(vhu_backend_features(p->fix.backend), 0);
		assert_int_equal(fixture_state(&p->fix, 1), VHU_RING_STOPPED_DISABLED);
		fixture_attach(&p->fix, &p->drv, NULL);
		p->drv_is_up = true;
		works(&p->drv);
		assert_int_equal(p->fix.connected, i);
	}
	assert_int_equal(p->fix.complaints, 0);
}

static void end_in_mid_message_is_no_orderly_end(void **state)
{
	struct pair *p = pair_up(state, NULL, NULL);
	struct vhu_msg_hdr hdr = { VHU_SET_VRING_NUM, VHU_MSG_VERSION, 8 };

	works(&p->drv);
	drv_send_bytes(&p->drv, &hdr, sizeof(hdr), NULL, 0);
	fixture_settle();
	drv_disconnect(&p->drv);
	assert_true(check_until(fixture_pump(NULL), p->fix.closed == 1));
	assert_true(p->fix.closed_err < 0);
	assert_true(strlen(p->fix.closed_reason) > 0);
}

static void rings_are_stopped_before_the_connection_is_said_to_be_gone(void **state)
{
	struct pair *p = pair_up(state, NULL, NULL);

	works(&p->drv);
	shutdown(p->drv.sock, SHUT_RDWR);
	assert_true(check_until(fixture_pump(NULL), p->fix.closed == 1));
	assert_int_equal(p->fix.ring[0].stopped, 1);
	assert_int_equal(p->fix.ring[1].stopped, 1);
	assert_int_equal(vhu_net_pull(vhu_backend_queue(p->fix.backend, 1), p->fix.burst, 1),
			 -ENOTCONN);
	vhu_net_done(vhu_backend_queue(p->fix.backend, 1), p->fix.burst);
}

static void close_ends_the_connection_and_takes_no_more(void **state)
{
	struct pair *p = pair_up(state, NULL, NULL);
	struct drv other;

	works(&p->drv);
	assert_true(check_until(fixture_pump(NULL), vhu_backend_close(p->fix.backend) == 0));
	assert_int_equal(p->fix.closed, 1);
	assert_true(drv_is_closed(&p->drv));
	drv_init(&other, NULL);
	other.pump = fixture_pump;
	if (drv_connect(&other, p->fix.path) == 0)
		fixture_settle();
	assert_int_equal(p->fix.connected, 1);
	drv_free(&other);
}

static void idle_backend_asks_for_nothing(void **state)
{
	struct pair *p = pair_up(state, NULL, NULL);
	struct pollfd poll_fd;

	works(&p->drv);
	fixture_settle();
	poll_fd = (struct pollfd){ .fd = vhu_backend_fd(p->fix.backend), .events = POLLIN };
	assert_int_equal(poll(&poll_fd, 1, 300), 0);
}

/*
 * ---- Socket files ----
 */
static int plain_listener(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	strcpy(addr.sun_path, path);
	assert_return_code(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), errno);
	assert_return_code(listen(fd, 8), errno);
	return fd;
}

static struct pair *not_listening(void **state)
{
	struct pair *p = *state;

	fixture_init(&p->fix, &(struct fixture_options){ .no_listen = true });
	p->fix_is_up = true;
	return p;
}

static void connect_pair(struct pair *p)
{
	fixture_attach(&p->fix, &p->drv, NULL);
	p->drv_is_up = true;
}

static void socket_file_of_the_dead_is_replaced(void **state)
{
	struct pair *p = not_listening(state);

	close(plain_listener(p->fix.path));
	assert_int_equal(access(p->fix.path, F_OK), 0);
	assert_int_equal(vhu_backend_listen(p->fix.backend, p->fix.path, 0, NULL), 0);
	connect_pair(p);
	works(&p->drv);
}

static void socket_file_in_use_is_refused(void **state)
{
	struct pair *p = not_listening(state);
	int fd = plain_listener(p->fix.path);
	int client;

	assert_int_equal(vhu_backend_listen(p->fix.backend, p->fix.path, 0, NULL), -EADDRINUSE);
	client = vhu_sock_connect(p->fix.path);
	assert_true(client >= 0);
	close(client);
	close(fd);
	unlink(p->fix.path);
}

static void file_that_is_no_socket_is_left_alone(void **state)
{
	struct pair *p = not_listening(state);
	int fd = open(p->fix.path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	struct stat st;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "data", 4), 4);
	close(fd);
	assert_int_equal(vhu_backend_listen(p->fix.backend, p->fix.path, 0, NULL), -EEXIST);
	assert_return_code(stat(p->fix.path, &st), errno);
	assert_int_equal(st.st_size, 4);
	unlink(p->fix.path);
}

static void socket_file_has_the_mode_that_was_asked_for(void **state)
{
	static const unsigned int modes[] = { 0600, 0660, 0666 };
	struct pair *p = not_listening(state);
	struct stat st;

	for (unsigned int i = 0; i < 3; i++) {
		struct vhu_backend_options options = { .size = sizeof(options),
						       .domain = p->fix.domain,
						       .nr_rings = 2,
						       .queue_num = 1,
						       .features = FIXTURE_NET_FEATURES };
		struct vhu_backend *backend;

		assert_int_equal(vhu_backend_new(&backend, &options), 0);
		assert_int_equal(vhu_backend_listen(backend, p->fix.path, modes[i], NULL), 0);
		assert_return_code(stat(p->fix.path, &st), errno);
		assert_int_equal(st.st_mode & 0777, modes[i]);
		vhu_backend_free(backend);
		assert_int_equal(access(p->fix.path, F_OK), -1);
	}
}

/*
 * ---- As a client ----
 */
static int accept_soon(int listener)
{
	int fd = -1;

	assert_true(check_until(
		fixture_pump(NULL),
		(fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0));
	return fd;
}

static void client_comes_when_the_server_does_and_comes_back(void **state)
{
	struct pair *p = not_listening(state);
	int listener;

	assert_int_equal(vhu_backend_connect(p->fix.backend, p->fix.path), 0);
	for (unsigned int i = 1; i < 4; i++) {
		fixture_settle();
		check_sleep_ms(50);
		assert_int_equal(p->fix.connected, i - 1);
		listener = plain_listener(p->fix.path);
		drv_init(&p->drv, NULL);
		p->drv_is_up = true;
		p->drv.pump = fixture_pump;
		p->drv.sock = accept_soon(listener);
		works(&p->drv);
		assert_int_equal(p->fix.connected, i);
		/* The server dies, its file stays for a while. */
		close(listener);
		fixture_detach(&p->fix, &p->drv);
		p->drv_is_up = false;
		unlink(p->fix.path);
	}
}

static void client_tries_at_growing_distances(void **state)
{
	struct pair *p = not_listening(state);
	struct pollfd poll_fd = { .fd = vhu_backend_fd(p->fix.backend), .events = POLLIN };
	unsigned int tries = 0;
	int64_t end = check_now_ms() + 1500;

	assert_int_equal(vhu_backend_connect(p->fix.backend, p->fix.path), 0);
	while (check_now_ms() < end) {
		if (poll(&poll_fd, 1, 10) <= 0)
			continue;
		assert_int_equal(vhu_backend_process(p->fix.backend), 0);
		tries++;
	}
	/* After 10, 30, 70, 150, 310, 630, 1270 ms: a machine that stutters makes fewer. */
	assert_in_range(tries, 3, 9);
}

static void client_never_waits_longer_than_a_second(void **state)
{
	struct pair *p = not_listening(state);
	int64_t begin, took;
	int listener;

	assert_int_equal(vhu_backend_connect(p->fix.backend, p->fix.path), 0);
	/* Doubling for ever it would try after 2550 ms and then after 5110 ms. */
	for (begin = check_now_ms(); check_now_ms() < begin + 2700;) {
		fixture_pump(NULL);
		check_sleep_ms(5);
	}
	listener = plain_listener(p->fix.path);
	begin = check_now_ms();
	close(accept_soon(listener));
	took = check_now_ms() - begin;
	assert_true(took < 1500);
	close(listener);
	unlink(p->fix.path);
}

/*
 * ---- Sockets handed in ----
 */
static void connected_socket_is_taken(void **state)
{
	struct pair *p = not_listening(state);
	int fds[2];

	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), errno);
	assert_int_equal(vhu_backend_take_fd(p->fix.backend, fds[1]), 0);
	drv_init(&p->drv, NULL);
	p->drv_is_up = true;
	p->drv.pump = fixture_pump;
	p->drv.sock = fds[0];
	works(&p->drv);
	drv_disconnect(&p->drv);
	assert_true(check_until(fixture_pump(NULL), p->fix.closed == 1));
	fixture_settle();
	assert_int_equal(p->fix.connected, 1);
}

static void listening_socket_is_taken(void **state)
{
	struct pair *p = not_listening(state);

	assert_int_equal(vhu_backend_take_fd(p->fix.backend, plain_listener(p->fix.path)), 0);
	for (unsigned int i = 1; i < 4; i++) {
		connect_pair(p);
		works(&p->drv);
		assert_int_equal(p->fix.connected, i);
		fixture_detach(&p->fix, &p->drv);
		p->drv_is_up = false;
	}
	/* Somebody else made the file: it is his to remove, or already gone. */
	unlink(p->fix.path);
}

static void other_fds_are_refused_and_closed(void **state)
{
	struct sockaddr_in loopback = { .sin_family = AF_INET,
					.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct pair *p = not_listening(state);
	struct tally before;
	int fds[2];

	tally_take(&before);
	before.heap = SIZE_MAX;
	assert_return_code(pipe2(fds, O_CLOEXEC), errno);
	assert_true(vhu_backend_take_fd(p->fix.backend, fds[0]) < 0);
	close(fds[1]);
	tally_check(&before);
	assert_return_code(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), errno);
	assert_true(vhu_backend_take_fd(p->fix.backend, fds[0]) < 0);
	close(fds[1]);
	tally_check(&before);
	assert_true(vhu_backend_take_fd(p->fix.backend, socket(AF_INET, SOCK_STREAM, 0)) < 0);
	tally_check(&before);
	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	assert_return_code(bind(fds[0], (struct sockaddr *)&loopback, sizeof(loopback)), errno);
	assert_return_code(listen(fds[0], 1), errno);
	assert_true(vhu_backend_take_fd(p->fix.backend, fds[0]) < 0);
	tally_check(&before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		pair_test(second_connection_is_refused_without_harm_to_the_first),
		pair_test(next_frontend_is_taken_when_the_first_has_gone),
		pair_test(end_in_mid_message_is_no_orderly_end),
		pair_test(rings_are_stopped_before_the_connection_is_said_to_be_gone),
		pair_test(close_ends_the_connection_and_takes_no_more),
		pair_test(idle_backend_asks_for_nothing),
		pair_test(socket_file_of_the_dead_is_replaced),
		pair_test(socket_file_in_use_is_refused),
		pair_test(file_that_is_no_socket_is_left_alone),
		pair_test(socket_file_has_the_mode_that_was_asked_for),
		pair_test(client_comes_when_the_server_does_and_comes_back),
		pair_test(client_tries_at_growing_distances),
		pair_test(client_never_waits_longer_than_a_second),
		pair_test(connected_socket_is_taken),
		pair_test(listening_socket_is_taken),
		pair_test(other_fds_are_refused_and_closed),
	};

	return cmocka_run_group_tests_name("connection", tests, NULL, NULL);
}
