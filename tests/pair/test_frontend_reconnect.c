/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* Backends that leave and come: everything told again, rings that go on, requests that end. */
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "frontend_fixture.h"

#define INFLIGHT VHU_MASK(VHU_P_INFLIGHT_SHMFD_BIT)

static struct lab *running(void **state, const struct front_options *front_options,
			   const struct liar_options *liar_options)
{
	struct lab *lab = lab_up(state, front_options, liar_options);

	front_run(&lab->front);
	return lab;
}

static void come_back(struct lab *lab)
{
	unsigned int back = lab->front.back;

	liar_hang_up(&lab->liar);
	assert_true(check_until(front_pump(), lab->front.back == back + 1));
}

static int start(struct lab *lab)
{
	struct front_done done = { 0 };

	assert_int_equal(vhu_frontend_start(lab->front.fe, front_note_done, &done), 0);
	return front_wait_done(&done);
}

/*
 * ---- What is told ----
 */
static void cut_out(char *text, const char *word)
{
	char *at = strstr(text, word);

	assert_non_null(at);
	memmove(at, at + strlen(word), strlen(at + strlen(word)) + 1);
}

static void everything_is_told_again_in_the_same_order(void **state)
{
	static char once[8192], again[8192];
	struct lab *lab = running(state, &(struct front_options){ .nr_pairs = 2 }, NULL);
	struct liar_ring *r = lab->liar.ring;

	liar_text(&lab->liar, 1, 0, once, sizeof(once));
	/* that one is kept */
	cut_out(once, "GET_INFLIGHT_FD ");
	for (unsigned int turn = 2; turn < 5; turn++) {
		come_back(lab);
		assert_int_equal(lab->liar.connections, turn);
		assert_int_equal(vhu_frontend_state(lab->front.fe), VHU_DEVICE_RUNNING);
		liar_text(&lab->liar, turn, 0, again, sizeof(again));
		assert_string_equal(again, once);
		for (unsigned int i = 0; i < 4; i++) {
			assert_true(r[i].started && r[i].enabled && r[i].call_fd >= 0);
			assert_true(liar_was_kicked(&lab->liar, i));
		}
		assert_int_equal(lab->liar.status, 15);
		assert_int_equal(lab->liar.nr_regions, 2);
	}
	assert_int_equal(lab->front.gone, 3);
	assert_int_equal(lab->front.gone_err, -ECONNRESET);
	assert_int_equal(lab->front.connected, 1);
	assert_int_equal(lab->front.complaints, 0);
}

static void wishes_of_the_meantime_are_told(void **state)
{
	struct lab *lab = running(state, &(struct front_options){ .nr_pairs = 2 }, NULL);
	struct vhu_frontend *fe = lab->front.fe;
	uint64_t count;

	liar_go(&lab->liar);
	assert_true(check_until(front_pump(), lab->front.gone == 1));
	assert_int_equal(vhu_frontend_state(fe), VHU_DEVICE_GONE);
	assert_int_equal(vhu_frontend_enable(fe, 2, 2, false, NULL, NULL), 0);
	assert_int_equal(vhu_frontend_mask(fe, 1, true), 0);
	assert_int_equal(vhu_memory_add(lab->front.memory, UINT64_C(1) << 33, 4096, 0), 0);
	assert_int_equal(vhu_frontend_memory_changed(fe, NULL, NULL), 0);
	/* what only a backend could answer cannot be asked */
	assert_int_equal(vhu_frontend_get_config(fe, 0, 4, NULL, NULL), -ENOTCONN);
	assert_int_equal(vhu_frontend_get_status(fe, NULL, NULL), -ENOTCONN);
	liar_come(&lab->liar);
	assert_true(check_until(front_pump(), lab->front.back == 1));
	front_settle();
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(lab->liar.ring[i].enabled, i < 2);
	assert_int_equal(lab->liar.nr_regions, 3);
	while (read(vhu_frontend_call_fd(fe, 1), &count, sizeof(count)) > 0)
		;
	vhu_frontend_pending(fe, 1);
	liar_call(&lab->liar, 1);
	front_settle();
	assert_true(vhu_frontend_pending(fe, 1));
	assert_true(read(vhu_frontend_call_fd(fe, 1), &count, sizeof(count)) < 0);
}

static void stop_while_nobody_is_there_stops(void **state)
{
	struct lab *lab = running(state, NULL, NULL);
	struct front_done done = { 0 };

	liar_go(&lab->liar);
	assert_true(check_until(front_pump(), lab->front.gone == 1));
	assert_int_equal(vhu_frontend_stop(lab->front.fe, front_note_done, &done), 0);
	assert_int_equal(front_wait_done(&done), 0);
	liar_come(&lab->liar);
	assert_true(check_until(front_pump(), lab->front.back == 1));
	front_settle();
	assert_int_equal(vhu_frontend_state(lab->front.fe), VHU_DEVICE_STOPPED);
	assert_false(lab->liar.ring[0].started || lab->liar.ring[1].started);
	assert_int_equal(start(lab), 0);
	assert_true(lab->liar.ring[0].started && lab->liar.ring[1].started);
}

static void backend_that_was_not_started_is_greeted_again(void **state)
{
	struct lab *lab = lab_up(state, NULL, NULL);

	front_until(&lab->front, VHU_DEVICE_STOPPED);
	come_back(lab);
	assert_int_equal(vhu_frontend_state(lab->front.fe), VHU_DEVICE_STOPPED);
	assert_int_equal(liar_count(&lab->liar, VHU_SET_FEATURES, 0), 0);
	front_run(&lab->front);
}

struct cut {
	unsigned int connection, at, seen;
	bool done;
};

static enum liar_verdict cut_at(void *arg, struct liar *liar, const struct vhu_msg *msg)
{
	struct cut *cut = arg;

	(void)msg;
	if (cut->done || liar->connections != cut->connection || cut->seen++ != cut->at)
		return LIAR_PROPER;
	cut->done = true;
	liar_hang_up(liar);
	return LIAR_HANDLED;
}

static void backend_that_dies_again_while_it_is_told_is_one_absence(void **state)
{
	struct cut cut = { .done = true };

	for (unsigned int at = 0; cut.done; at++) {
		struct lab *lab = running(state, NULL, NULL);

		cut = (struct cut){ .connection = 2, .at = at };
		lab->liar.lie = cut_at;
		lab->liar.lie_arg = &cut;
		/* front's callbacks insist on gone() and back() in turn */
		come_back(lab);
		assert_int_equal(vhu_frontend_state(lab->front.fe), VHU_DEVICE_RUNNING);
		assert_int_equal(lab->liar.connections, cut.done ? 3 : 2);
		assert_int_equal(lab->front.gone, 1);
		assert_int_equal(lab->front.back, 1);
		lab_down(lab);
		assert_true(at > 20 || cut.done);
	}
}

/*
 * ---- Where rings go on ----
 */
static void set_used_index(struct lab *lab, unsigned int ring, uint16_t idx)
{
	uint64_t gpa = liar_gpa(&lab->liar, lab->liar.ring[ring].addr.used);
	uint16_t *used = vhu_memory_ptr(lab->front.memory, gpa, 4);

	assert_non_null(used);
	__atomic_store_n(&used[1], idx, __ATOMIC_RELEASE);
}

static void split_ring_of_a_guest_goes_on_from_its_used_index(void **state)
{
	struct lab *lab = running(state, &(struct front_options){ .guest_rings = true }, NULL);

	set_used_index(lab, 0, 37);
	set_used_index(lab, 1, 65530);
	come_back(lab);
	assert_int_equal(lab->liar.ring[0].base, 37);
	assert_int_equal(lab->liar.ring[1].base, 65530);
	/* without an in-flight region too */
	lab->liar.options.no_protocol_features = INFLIGHT;
	set_used_index(lab, 0, 38);
	come_back(lab);
	assert_int_equal(lab->liar.ring[0].base, 38);
	assert_int_equal(lab->liar.ring[1].base, 65530);
}

static const uint64_t packed = VHU_MASK(VHU_F_VERSION_1_BIT) | VHU_MASK(VHU_F_RING_PACKED_BIT);

static void packed_ring_of_a_guest_needs_an_inflight_region(void **state)
{
	struct lab *lab =
		running(state, &(struct front_options){ .features = packed, .guest_rings = true },
			&(struct liar_options){ .no_protocol_features = INFLIGHT });
	struct front_done reset = { 0 };

	liar_hang_up(&lab->liar);
	assert_true(check_until(front_pump(), lab->front.needs_reset == 1));
	front_settle();
	front_check_reason(&lab->front, "packed|in-flight");
	assert_int_equal(lab->front.back, 0);
	assert_int_equal(lab->liar.connections, 2);
	assert_int_equal(vhu_frontend_state(lab->front.fe), VHU_DEVICE_STOPPED);
	/* nothing was started that nobody can go on with */
	assert_int_equal(liar_count(&lab->liar, VHU_SET_VRING_KICK, 2), 0);
	/* the guest resets its device, and begins anew */
	assert_int_equal(vhu_frontend_reset(lab->front.fe, front_note_done, &reset), 0);
	assert_int_equal(front_wait_done(&reset), 0);
	front_until(&lab->front, VHU_DEVICE_STOPPED);
	assert_int_equal(start(lab), 0);
	assert_int_equal(lab->liar.ring[0].base, 0x80008000);
}

static void packed_ring_of_a_guest_goes_on_with_its_inflight_region(void **state)
{
	struct lab *lab = running(
		state, &(struct front_options){ .features = packed, .guest_rings = true }, NULL);

	come_back(lab);
	assert_int_equal(vhu_frontend_state(lab->front.fe), VHU_DEVICE_RUNNING);
	assert_int_equal(liar_count(&lab->liar, VHU_SET_INFLIGHT_FD, 2), 1);
}

static void chains_of_a_driver_are_submitted_again(void **state)
{
	struct lab *lab =
		running(state, NULL, &(struct liar_options){ .no_protocol_features = INFLIGHT });
	struct vhu_driver *rx = vhu_net_rx_driver(lab->front.pair[0].rx);
	struct vhu_driver_stats stats;
	uint32_t outstanding = vhu_driver_outstanding(rx);

	assert_int_equal(outstanding, 256);
	come_back(lab);
	vhu_driver_get_stats(rx, &stats);
	assert_int_equal(stats.resubmitted, outstanding);
	assert_int_equal(vhu_driver_outstanding(rx), outstanding);
	assert_int_equal(lab->liar.ring[0].base, 0);
	/* all of them are available again */
	uint64_t gpa = liar_gpa(&lab->liar, lab->liar.ring[0].addr.avail);
	const uint16_t *avail = vhu_memory_ptr(lab->front.memory, gpa, 4);

	assert_int_equal(avail[1], 256);
	assert_true(liar_was_kicked(&lab->liar, 0));
}

static void inflight_region_is_handed_back(void **state)
{
	struct lab *lab = running(state, NULL, NULL);
	struct front_done reset = { 0 };
	const struct liar_record *r = liar_last(&lab->liar, VHU_SET_INFLIGHT_FD);
	const struct vhu_inflight told = r->inflight;
	ino_t ino = r->ino[0];

	assert_int_equal(told.nr_queues, 2);
	assert_int_equal(told.queue_size, 256);
	assert_int_equal(told.mmap_size, 8192);
	for (unsigned int turn = 2; turn < 5; turn++) {
		come_back(lab);
		assert_int_equal(liar_count(&lab->liar, VHU_GET_INFLIGHT_FD, turn), 0);
		assert_int_equal(liar_count(&lab->liar, VHU_SET_INFLIGHT_FD, turn), 1);
		r = liar_last(&lab->liar, VHU_SET_INFLIGHT_FD);
		assert_int_equal(r->ino[0], ino);
		assert_memory_equal(&r->inflight, &told, sizeof(told));
		/* driver's chains are its affair then */
		struct vhu_driver_stats stats;

		vhu_driver_get_stats(vhu_net_rx_driver(lab->front.pair[0].rx), &stats);
		assert_int_equal(stats.resubmitted, 0);
	}
	assert_int_equal(vhu_frontend_reset(lab->front.fe, front_note_done, &reset), 0);
	assert_int_equal(front_wait_done(&reset), 0);
	liar_forget(&lab->liar);
	assert_int_equal(start(lab), 0);
	assert_int_equal(liar_count(&lab->liar, VHU_GET_INFLIGHT_FD, 0), 1);
	assert_int_not_equal(liar_last(&lab->liar, VHU_SET_INFLIGHT_FD)->ino[0], ino);
}

/*
 * ---- Requests under way ----
 */
static enum liar_verdict say_nothing(void *arg, struct liar *liar, const struct vhu_msg *msg)
{
	(void)arg, (void)liar, (void)msg;
	return LIAR_HANDLED;
}

static void ask_much(struct vhu_frontend *fe, struct front_done done[5])
{
	static const uint8_t mac[6];

	memset(done, 0, 5 * sizeof(*done));
	assert_int_equal(vhu_frontend_get_config(fe, 0, 4, front_note_done, &done[0]), 0);
	assert_int_equal(vhu_frontend_get_status(fe, front_note_done, &done[1]), 0);
	assert_int_equal(vhu_frontend_rarp(fe, mac, front_note_done, &done[2]), 0);
	assert_int_equal(vhu_frontend_enable(fe, 0, 1, true, front_note_done, &done[3]), 0);
	assert_int_equal(vhu_frontend_memory_changed(fe, front_note_done, &done[4]), 0);
}

static void requests_end_with_the_connection(void **state)
{
	struct lab *lab = running(state, NULL, NULL);
	struct front_done done[5];

	for (unsigned int turn = 0; turn < 2; turn++) {
		lab->liar.lie = say_nothing;
		ask_much(lab->front.fe, done);
		/* the first is under way, or none is */
		if (turn)
			front_settle();
		liar_hang_up(&lab->liar);
		lab->liar.lie = NULL;
		for (unsigned int i = 0; i < 5; i++) {
			assert_int_equal(front_wait_done(&done[i]), -ECONNRESET);
			assert_true(done[i].reason[0]);
		}
		assert_true(check_until(front_pump(), lab->front.back == turn + 1));
		assert_int_equal(vhu_frontend_state(lab->front.fe), VHU_DEVICE_RUNNING);
	}
}

static void stop_whose_backend_leaves_has_stopped(void **state)
{
	struct lab *lab = running(state, NULL, NULL);
	struct front_done done = { 0 };

	lab->liar.lie = say_nothing;
	assert_int_equal(vhu_frontend_stop(lab->front.fe, front_note_done, &done), 0);
	front_settle();
	assert_int_equal(vhu_frontend_state(lab->front.fe), VHU_DEVICE_STOPPING);
	liar_hang_up(&lab->liar);
	lab->liar.lie = NULL;
	assert_int_equal(front_wait_done(&done), 0);
	assert_true(check_until(front_pump(), lab->front.back == 1));
	front_settle();
	assert_int_equal(vhu_frontend_state(lab->front.fe), VHU_DEVICE_STOPPED);
	assert_int_equal(start(lab), 0);
}

struct nested {
	struct lab *lab;
	struct front_done done;
	bool stop;
};

static void ask_again(void *arg, int err, const struct vhu_answer *answer)
{
	struct nested *n = arg;

	(void)answer;
	assert_int_equal(err, -ECONNRESET);
	/* from within: what needs a backend is refused, what does not is taken */
	assert_int_equal(vhu_frontend_get_status(n->lab->front.fe, NULL, NULL), -ENOTCONN);
	if (n->stop)
		assert_int_equal(vhu_frontend_stop(n->lab->front.fe, front_note_done, &n->done), 0);
	else
		assert_int_equal(vhu_frontend_enable(n->lab->front.fe, 0, 1, false, front_note_done,
						     &n->done),
				 0);
}

static void callbacks_may_ask_for_more(void **state)
{
	for (unsigned int stop = 0; stop < 2; stop++) {
		struct lab *lab = running(state, NULL, NULL);
		struct nested n = { .lab = lab, .stop = stop };

		lab->liar.lie = say_nothing;
		assert_int_equal(vhu_frontend_get_config(lab->front.fe, 0, 4, ask_again, &n), 0);
		front_settle();
		liar_hang_up(&lab->liar);
		lab->liar.lie = NULL;
		assert_int_equal(front_wait_done(&n.done), 0);
		assert_true(check_until(front_pump(), lab->front.back == 1));
		front_settle();
		assert_int_equal(vhu_frontend_state(lab->front.fe),
				 stop ? VHU_DEVICE_STOPPED : VHU_DEVICE_RUNNING);
		if (!stop)
			assert_false(lab->liar.ring[0].enabled);
		lab_down(lab);
	}
}

static void frontend_can_be_freed_at_any_time(void **state)
{
	/* after each number of rounds, whatever is under way then */
	for (unsigned int rounds = 0; rounds < 80; rounds++) {
		struct lab *lab = lab_up(state, NULL, NULL);
		struct front_done done[5] = { 0 }, begun = { 0 };
		bool asked = false;

		for (unsigned int i = 0; i < rounds; i++) {
			front_pump();
			if (asked || vhu_frontend_state(lab->front.fe) != VHU_DEVICE_STOPPED)
				continue;
			front_make_rings(&lab->front);
			assert_int_equal(vhu_frontend_start(lab->front.fe, front_note_done, &begun),
					 0);
			ask_much(lab->front.fe, done);
			asked = true;
		}
		unsigned int calls[6] = { begun.calls };

		for (unsigned int i = 0; i < 5; i++)
			calls[1 + i] = done[i].calls;
		lab_down(lab);
		/* no callback */
		assert_int_equal(begun.calls, calls[0]);
		for (unsigned int i = 0; i < 5; i++)
			assert_int_equal(done[i].calls, calls[1 + i]);
	}
}

/*
 * ---- Where backends come from ----
 */
static void frontend_listens(void **state)
{
	struct lab *lab = lab_up(state, &(struct front_options){ .listen = true },
				 &(struct liar_options){ .no_listen = true });

	front_settle();
	assert_int_equal(vhu_frontend_state(lab->front.fe), VHU_DEVICE_GONE);
	assert_int_equal(liar_connect(&lab->liar, lab->front.path), 0);
	front_run(&lab->front);
	for (unsigned int turn = 1; turn < 4; turn++) {
		liar_hang_up(&lab->liar);
		assert_true(check_until(front_pump(), lab->front.gone == turn));
		front_settle();
		assert_int_equal(vhu_frontend_state(lab->front.fe), VHU_DEVICE_GONE);
		assert_int_equal(liar_connect(&lab->liar, lab->front.path), 0);
		assert_true(check_until(front_pump(), lab->front.back == turn));
		assert_int_equal(vhu_frontend_state(lab->front.fe), VHU_DEVICE_RUNNING);
		assert_true(lab->liar.ring[1].started);
	}
	/* one source, once */
	assert_int_equal(vhu_frontend_connect(lab->front.fe, "/nowhere"), -EBUSY);
	assert_int_equal(vhu_frontend_listen(lab->front.fe, "/nowhere", 0, NULL), -EBUSY);
}

static void second_backend_is_refused(void **state)
{
	struct lab *lab = lab_up(state, &(struct front_options){ .listen = true },
				 &(struct liar_options){ .no_listen = true });
	struct liar second;
	unsigned int before;

	assert_int_equal(liar_connect(&lab->liar, lab->front.path), 0);
	front_run(&lab->front);
	before = lab->liar.nr_records;
	liar_init(&second, &(struct liar_options){ .no_listen = true });
	assert_int_equal(liar_connect(&second, lab->front.path), 0);
	assert_true(check_until(front_pump(), second.hangups == 1));
	assert_int_equal(second.nr_records, 0);
	assert_int_equal(lab->front.gone, 0);
	assert_int_equal(lab->liar.nr_records, before);
	assert_int_equal(vhu_frontend_state(lab->front.fe), VHU_DEVICE_RUNNING);
	/* once the first has gone there is room */
	liar_hang_up(&lab->liar);
	assert_true(check_until(front_pump(), lab->front.gone == 1));
	assert_int_equal(liar_connect(&second, lab->front.path), 0);
	assert_true(check_until(front_pump(), lab->front.back == 1));
	assert_true(second.ring[0].started);
	liar_free(&second);
}

static void socket_of_the_programs_own_has_no_successor(void **state)
{
	struct lab *lab = lab_up(state, NULL, &(struct liar_options){ .no_listen = true });
	struct front_done done = { 0 };
	int ends[2];

	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), errno);
	liar_take(&lab->liar, ends[1]);
	assert_int_equal(vhu_frontend_take_fd(lab->front.fe, ends[0]), 0);
	front_run(&lab->front);
	assert_int_equal(vhu_frontend_get_status(lab->front.fe, front_note_done, &done), 0);
	liar_hang_up(&lab->liar);
	assert_int_equal(front_wait_done(&done), -ECONNRESET);
	front_until(&lab->front, VHU_DEVICE_FAILED);
	assert_int_equal(lab->front.gone, 1);
	assert_int_equal(vhu_frontend_get_status(lab->front.fe, NULL, NULL), -ENOTCONN);
	/* the fd is the library's, also if it is of no use to it */
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), errno);
	assert_true(vhu_frontend_take_fd(lab->front.fe, ends[0]) < 0);
	close(ends[1]);
	lab_down(lab);

	lab = lab_up(state, NULL, &(struct liar_options){ .no_listen = true });
	assert_return_code(pipe2(ends, 0), errno);
	assert_true(vhu_frontend_take_fd(lab->front.fe, ends[0]) < 0);
	close(ends[1]);
}

static void backend_is_looked_for_without_haste(void **state)
{
	struct lab *lab = lab_up(state, NULL, &(struct liar_options){ .no_listen = true });
	struct pollfd p = { vhu_frontend_fd(lab->front.fe), POLLIN, 0 };
	int64_t end = check_now_ms() + 500;
	unsigned int wakes = 0;

	assert_int_equal(vhu_frontend_connect(lab->front.fe, lab->liar.path), 0);
	while (check_now_ms() < end) {
		if (poll(&p, 1, 20) > 0) {
			wakes++;
			assert_int_equal(vhu_frontend_process(lab->front.fe), 0);
		}
	}
	/* after 5, 10, 20, 40, and then every 50 ms */
	assert_in_range(wakes, 1, 30);
	liar_come(&lab->liar);
	front_run(&lab->front);
	/* a device that runs and has nothing to do sleeps */
	front_settle();
	assert_int_equal(poll(&p, 1, 100), 0);
}

static void backend_that_says_nothing_is_given_up_for_the_next(void **state)
{
	struct lab *lab = lab_up(
		state, &(struct front_options){ .reply_timeout_ms = FRONT_PATIENCE_MS }, NULL);

	lab->liar.lie = say_nothing;
	assert_true(check_until(front_pump(), lab->liar.connections == 3));
	front_check_reason(&lab->front, "GET_FEATURES");
	assert_int_equal(lab->front.connected, 0);
	/* nobody was served, so nobody has gone */
	assert_int_equal(lab->front.gone, 0);
	lab->liar.lie = NULL;
	front_run(&lab->front);
	assert_int_equal(lab->front.connected, 1);
}

static enum liar_verdict refuse_memory(void *arg, struct liar *liar, const struct vhu_msg *msg)
{
	(void)arg;
	if (msg->hdr.request != VHU_ADD_MEM_REG || !liar_is_asked(liar, msg))
		return LIAR_PROPER;
	liar_reply_u64(liar, msg, 1);
	return LIAR_HANDLED;
}

static void backend_that_takes_nothing_over_is_tried_less_and_less(void **state)
{
	struct lab *lab = running(state, NULL, NULL);
	int64_t end;

	lab->liar.lie = refuse_memory;
	liar_hang_up(&lab->liar);
	end = check_now_ms() + 700;
	while (check_now_ms() < end) {
		front_pump();
		check_pause();
	}
	/* after 5, 10, 20, 40, 80, 160, 320 ms: the first came before */
	assert_in_range(lab->liar.connections, 3, 10);
	assert_int_equal(lab->front.gone, 1);
	assert_int_equal(lab->front.complaints, 1);
	front_check_reason(&lab->front, "ADD_MEM_REG");
	lab->liar.lie = NULL;
	assert_true(check_until(front_pump(), lab->front.back == 1));
	front_until(&lab->front, VHU_DEVICE_RUNNING);
}

static void coming_and_going_leaves_nothing_behind(void **state)
{
	struct lab *lab = running(state, NULL, NULL);
	struct tally before;

	for (unsigned int i = 0; i < 60; i++) {
		if (i == 20)
			tally_take(&before);
		liar_forget(&lab->liar);
		come_back(lab);
	}
	front_settle();
	tally_check(&before);
	assert_int_equal(lab->front.complaints, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		lab_test(everything_is_told_again_in_the_same_order),
		lab_test(wishes_of_the_meantime_are_told),
		lab_test(stop_while_nobody_is_there_stops),
		lab_test(backend_that_was_not_started_is_greeted_again),
		lab_test(backend_that_dies_again_while_it_is_told_is_one_absence),
		lab_test(split_ring_of_a_guest_goes_on_from_its_used_index),
		lab_test(packed_ring_of_a_guest_needs_an_inflight_region),
		lab_test(packed_ring_of_a_guest_goes_on_with_its_inflight_region),
		lab_test(chains_of_a_driver_are_submitted_again),
		lab_test(inflight_region_is_handed_back),
		lab_test(requests_end_with_the_connection),
		lab_test(stop_whose_backend_leaves_has_stopped),
		lab_test(callbacks_may_ask_for_more),
		lab_test(frontend_can_be_freed_at_any_time),
		lab_test(frontend_listens),
		lab_test(second_backend_is_refused),
		lab_test(socket_of_the_programs_own_has_no_successor),
		lab_test(backend_is_looked_for_without_haste),
		lab_test(backend_that_says_nothing_is_given_up_for_the_next),
		lab_test(backend_that_takes_nothing_over_is_tried_less_and_less),
		lab_test(coming_and_going_leaves_nothing_behind),
	};

	return cmocka_run_group_tests_name("frontend_reconnect", tests, NULL, NULL);
}
