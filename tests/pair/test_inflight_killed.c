/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* timeout: 300 */
/*
 * A backend in a process of its own, killed with SIGKILL under traffic again and again. The frontend
 * keeps the in-flight region; the driver counts: each chain comes back, none twice, and no more than
 * a burst of frames is seen twice for each death.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "backend_fixture.h"
#include "driver_packed.h"

enum {
	DEATHS = 60,
	SIZE = 256,
	/* frames on their way: what is echoed, also twice, before anybody looks has to find buffers */
	MANY = 96,
	FRAME = 100,
};

struct killed {
	struct drv drv;
	struct dp_ring packed[2];
	bool is_packed;
	char dir[64], path[96];
	pid_t backend;
	int fd;
	struct vhu_inflight desc;
	uint32_t sent, back; /* frames out, their chains back */
	uint32_t seen;	     /* frames that were echoed, also twice */
	uint32_t twice;
	uint32_t next; /* the number of the next frame to be echoed, if it is none twice */
};

/* ---- the backend's process ---- */

static int be_backend(const char *path)
{
	struct fixture fix;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fixture_init(&fix, &(struct fixture_options){
				   .mode = FIXTURE_ECHO,
				   .threaded = true,
				   .no_listen = true,
				   .protocol_features = VHU_BACKEND_PROTOCOL_FEATURES |
							VHU_MASK(VHU_P_INFLIGHT_SHMFD_BIT),
			   });
	/* nobody will come to tidy it up */
	rmdir(fix.dir);
	if (vhu_backend_listen(fix.backend, path, 0, NULL))
		return 1;
	for (;;) {
		if (!fixture_pump(NULL))
			check_pause();
	}
}

static void start_backend(struct killed *k)
{
	char *argv[] = { (char *)(uintptr_t) "backend", k->path, NULL };
	int err = -ENOENT;

	k->backend = fork();
	assert_true(k->backend >= 0);
	if (!k->backend) {
		execv("/proc/self/exe", argv);
		_exit(127);
	}
	assert_true(check_until(false, (err = drv_connect(&k->drv, k->path)) == 0));
}

static void kill_backend(struct killed *k)
{
	int status;

	assert_return_code(kill(k->backend, SIGKILL), errno);
	assert_int_equal(waitpid(k->backend, &status, 0), k->backend);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	k->backend = 0;
	drv_disconnect(&k->drv);
}

/* ---- the frontend ---- */

static void ask_for_region(struct killed *k)
{
	struct vhu_inflight ask = { .nr_queues = 2, .queue_size = SIZE };
	struct vhu_msg reply;

	assert_int_equal(drv_send(&k->drv, VHU_GET_INFLIGHT_FD, 0, &ask, sizeof(ask), NULL, 0), 0);
	assert_int_equal(drv_recv(&k->drv, &reply, CHECK_PATIENCE_MS), 1);
	assert_int_equal(reply.nr_fds, 1);
	k->desc = reply.inflight;
	k->fd = reply.fds[0];
}

static void start_device(struct killed *k)
{
	const uint64_t packed = VHU_MASK(VHU_F_RING_PACKED_BIT);
	struct drv *drv = &k->drv;

	drv_negotiate(drv);
	drv_set_all_features(drv, drv->offered & ~(VHU_MASK(VHU_F_LOG_ALL_BIT) |
						   VHU_MASK(VHU_F_IN_ORDER_BIT) |
						   (k->is_packed ? 0 : packed)));
	if (k->fd < 0)
		ask_for_region(k);
	drv_do(drv, VHU_SET_INFLIGHT_FD, &k->desc, sizeof(k->desc), &k->fd, 1);
	drv_set_mem(drv);
	for (unsigned int i = 0; i < 2; i++) {
		/* first: a ring that is not enabled for a while takes frames and drops them */
		drv_enable_ring(drv, i, true);
		if (k->is_packed) {
			if (!k->packed[i].desc)
				dp_init(&k->packed[i], drv, i, SIZE);
			k->packed[i].event_idx = drv->ring[i].event_idx;
			/* a frontend that knows nothing, as QEMU does of a packed ring */
			dp_start_ring(&k->packed[i], DP_FRESH | (uint32_t)DP_FRESH << 16);
		} else {
			drv_start_ring(drv, i, drv_ring_used_idx(&drv->ring[i]));
		}
	}
	drv_check_in_step(drv);
}

/* ---- the driver ---- */

static bool send_one(struct killed *k)
{
	uint8_t frame[FRAME];

	drv_net_make(frame, sizeof(frame), k->sent);
	if ((k->is_packed ? dp_net_add(&k->packed[1], frame, sizeof(frame), NULL) :
			    drv_net_add(&k->drv, 1, frame, sizeof(frame), NULL)) < 0)
		return false;
	k->sent++;
	return true;
}

static bool receive_one(struct killed *k)
{
	uint8_t frame[2048];
	uint32_t number;
	size_t len;
	int ret = k->is_packed ? dp_net_receive(&k->packed[0], frame, sizeof(frame), &len) :
				 drv_net_receive(&k->drv, 0, frame, sizeof(frame), &len, NULL);

	assert_true(ret >= 0);
	if (!ret)
		return false;
	assert_int_equal(len, FRAME);
	memcpy(&number, frame + 14, sizeof(number));
	assert_true(drv_net_verify(frame, len, number));
	k->seen++;
	if (number < k->next)
		k->twice++;
	else
		k->next = number + 1;
	return true;
}

static void kick_all(struct killed *k)
{
	if (k->is_packed) {
		dp_net_fill(&k->packed[0], SIZE, DP_BUF);
		dp_kick_always(&k->packed[0]);
		dp_kick_always(&k->packed[1]);
	} else {
		drv_net_fill(&k->drv, 0, SIZE);
		drv_ring_kick_always(&k->drv.ring[0]);
		drv_ring_kick_always(&k->drv.ring[1]);
	}
}

/* One round of traffic; sends no more than up to limit frames in all. */
static void round_of_traffic(struct killed *k, uint32_t limit)
{
	/* fewer on their way than there are buffers: none is dropped for want of one, and these first,
	 * as the backend may be looking all the time */
	kick_all(k);
	while (k->sent < limit && k->sent - k->back < MANY / 3 && send_one(k))
		;
	kick_all(k);
	while (receive_one(k))
		;
	k->back += k->is_packed ? dp_net_reap(&k->packed[1]) : drv_net_reap(&k->drv, 1);
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Sleeping would be too coarse. */
static void spin(uint64_t us)
{
	uint64_t end = now_us() + us;

	while (now_us() < end)
		;
}

static void killed_again_and_again(bool is_packed)
{
	struct killed *k = calloc(1, sizeof(*k));
	uint32_t word = is_packed ? 7 : 3;

	assert_non_null(k);
	k->fd = -1;
	k->is_packed = is_packed;
	strcpy(k->dir, "/tmp/vhu-test-XXXXXX");
	assert_non_null(mkdtemp(k->dir));
	snprintf(k->path, sizeof(k->path), "%s/sock", k->dir);
	drv_init(&k->drv, &(struct drv_options){ .ring_size = SIZE, .nr_slots = SIZE });
	start_backend(k);
	start_device(k);
	for (unsigned int i = 0; i < DEATHS; i++) {
		uint32_t wait = (word = word * 1664525 + 1013904223) >> 24;
		uint32_t until = k->back + wait;

		assert_true(
			check_until((round_of_traffic(k, UINT32_MAX), false), k->back >= until));
		/* in the midst of the next bursts */
		while (k->sent - k->back < MANY && send_one(k))
			;
		kick_all(k);
		spin(wait % 64 * 4);
		kill_backend(k);
		start_backend(k);
		start_device(k);
	}
	/* whatever is still on its way comes to its end */
	assert_true(check_until((round_of_traffic(k, k->sent), false), k->back == k->sent));
	assert_int_equal(k->next, k->sent);
	/* each was seen, and those that were seen twice were of the burst under way at a death */
	assert_int_equal(k->seen, k->sent + k->twice);
	assert_true(k->twice <= DEATHS * VHU_NET_BURST);
	print_message("# %u frames, %u deaths, %u frames seen twice\n", k->sent, DEATHS, k->twice);
	kill_backend(k);
	if (is_packed) {
		dp_free(&k->packed[0]);
		dp_free(&k->packed[1]);
	}
	drv_free(&k->drv);
	close(k->fd);
	unlink(k->path);
	rmdir(k->dir);
	free(k);
}

static void split_rings_lose_nothing_by_a_kill(void **state)
{
	(void)state;
	killed_again_and_again(false);
}

static void packed_rings_lose_nothing_by_a_kill(void **state)
{
	(void)state;
	killed_again_and_again(true);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split_rings_lose_nothing_by_a_kill),
		cmocka_unit_test(packed_rings_lose_nothing_by_a_kill),
	};

	if (argc == 2 && !strcmp(argv[0], "backend"))
		return be_backend(argv[1]);
	return cmocka_run_group_tests_name("in flight, killed", tests, NULL, NULL);
}
