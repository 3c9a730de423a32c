/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* timeout: 120 */
/* hostile.md part C, the replies: a backend that lies costs its device, and nobody else anything. */
#include <fcntl.h>
#include <unistd.h>

#include "scene.h"

/*
 * ---- Everything that has an answer, once ----
 */
struct cycle {
	struct front_done start, config, status, set, mtu, rarp, memory, log, enable, log_off, stop,
		reset;
};

static void cycle_is_over(const struct cycle *c)
{
	const struct front_done *done = &c->start;

	for (unsigned int i = 0; i < sizeof(*c) / sizeof(*done); i++) {
		assert_int_equal(done[i].calls, 1);
		if (done[i].err && done[i].err != -EPROTO && done[i].err != -ETIMEDOUT &&
		    done[i].err != -ECONNRESET && done[i].err != -EREMOTEIO &&
		    done[i].err != -ECANCELED)
			fail_msg("request %u ended with %d: %s", i, done[i].err, done[i].reason);
	}
}

static bool all_called(const struct cycle *c)
{
	const struct front_done *done = &c->start;

	for (unsigned int i = 0; i < sizeof(*c) / sizeof(*done); i++) {
		if (!done[i].calls)
			return false;
	}
	return true;
}

/* What is not taken now has come to its end as well. */
static void ask_at(int line, int err, struct front_done *done)
{
	if (!err)
		return;
	if (err != -ENOTCONN)
		fail_msg("line %d: %d", line, err);
	done->err = -ECONNRESET;
	done->calls = 1;
}

#define ask(err, done) ask_at(__LINE__, err, done)

static void run_cycle(struct front *front, struct cycle *c)
{
	static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 7 };
	struct vhu_frontend *fe = front->fe;
	const uint64_t gpa = UINT64_C(1) << 32;

	memset(c, 0, sizeof(*c));
	front_until(front, VHU_DEVICE_STOPPED);
	/* what a lie in the last one left behind */
	if (vhu_frontend_log_sync(fe, NULL, NULL) >= 0)
		assert_int_equal(vhu_frontend_log(fe, false, NULL, NULL), 0);
	front_settle();
	ask(vhu_frontend_start(fe, front_note_done, &c->start), &c->start);
	ask(vhu_frontend_get_config(fe, 8, 16, front_note_done, &c->config), &c->config);
	ask(vhu_frontend_get_status(fe, front_note_done, &c->status), &c->status);
	ask(vhu_frontend_set_config(fe, 0, mac, 6, 0, front_note_done, &c->set), &c->set);
	ask(vhu_frontend_set_mtu(fe, 1500, front_note_done, &c->mtu), &c->mtu);
	ask(vhu_frontend_rarp(fe, mac, front_note_done, &c->rarp), &c->rarp);
	assert_int_equal(vhu_memory_add(front->memory, gpa, 1 << 20, 0), 0);
	ask(vhu_frontend_memory_changed(fe, front_note_done, &c->memory), &c->memory);
	ask(vhu_frontend_log(fe, true, front_note_done, &c->log), &c->log);
	ask(vhu_frontend_enable(fe, 0, 2, true, front_note_done, &c->enable), &c->enable);
	front_wait_done(&c->enable);
	assert_int_equal(vhu_memory_remove(front->memory, gpa), 0);
	ask(vhu_frontend_memory_changed(fe, NULL, NULL), &c->memory);
	ask(vhu_frontend_log(fe, false, front_note_done, &c->log_off), &c->log_off);
	ask(vhu_frontend_stop(fe, front_note_done, &c->stop), &c->stop);
	ask(vhu_frontend_reset(fe, front_note_done, &c->reset), &c->reset);
	assert_true(check_until(front_pump(), all_called(c)));
	cycle_is_over(c);
	front_settle();
}

static void check_clean(struct front *front)
{
	struct cycle c;
	const struct front_done *done = &c.start;
	unsigned int gone = front->gone;

	run_cycle(front, &c);
	for (unsigned int i = 0; i < sizeof(c) / sizeof(*done); i++) {
		if (done[i].err)
			fail_msg("an honest backend: request %u: %s", i, done[i].reason);
	}
	assert_int_equal(front->gone, gone);
}

/* Requests whose answers are lied about, each of which is in the cycle or in the greeting. */
static const uint32_t asked[] = {
	VHU_GET_FEATURES,    VHU_GET_PROTOCOL_FEATURES,
	VHU_GET_QUEUE_NUM,   VHU_GET_MAX_MEM_SLOTS,
	VHU_SET_FEATURES,    VHU_ADD_MEM_REG,
	VHU_REM_MEM_REG,     VHU_GET_INFLIGHT_FD,
	VHU_SET_INFLIGHT_FD, VHU_SET_VRING_CALL,
	VHU_SET_VRING_NUM,   VHU_SET_VRING_BASE,
	VHU_SET_VRING_ADDR,  VHU_SET_VRING_ERR,
	VHU_SET_VRING_KICK,  VHU_SET_VRING_ENABLE,
	VHU_SET_STATUS,	     VHU_GET_CONFIG,
	VHU_SET_CONFIG,	     VHU_GET_STATUS,
	VHU_NET_SET_MTU,     VHU_SEND_RARP,
	VHU_SET_LOG_BASE,    VHU_GET_VRING_BASE,
};

/* A lie about a reply: what is sent in its stead. */
struct lie {
	const char *name;
	void (*tell)(struct liar *liar, const uint8_t *bytes, size_t len, const int *fds,
		     unsigned int nr_fds);
	int err;	/* what it costs; 0: nothing */
	bool not_empty; /* no lie where an empty reply has a meaning */
};

struct told {
	uint32_t request; /* the one that is lied about */
	const struct lie *lie;
	unsigned int times;
};

static bool tell(void *arg, struct liar *liar, const void *bytes, size_t len, const int *fds,
		 unsigned int nr_fds)
{
	struct told *told = arg;
	const struct vhu_msg_hdr *hdr = bytes;

	if (!told->lie || hdr->request != told->request || told->times)
		return false;
	told->times++;
	told->lie->tell(liar, bytes, len, fds, nr_fds);
	return true;
}

static void send_hdr(struct liar *liar, const uint8_t *bytes, size_t len, const int *fds,
		     unsigned int nr_fds, struct vhu_msg_hdr hdr)
{
	uint8_t other[VHU_MSG_HDR_SIZE + VHU_MSG_MAX_PAYLOAD + 64] = { 0 };

	memcpy(other, bytes, len);
	memcpy(other, &hdr, sizeof(hdr));
	/* what follows is what the header says, as far as that can be sent */
	if (hdr.size <= VHU_MSG_MAX_PAYLOAD + 32)
		len = VHU_MSG_HDR_SIZE + hdr.size;
	liar_send(liar->sock, other, len, fds, nr_fds);
}

#define hdr_lie(name, change)                                                                      \
	static void name(struct liar *liar, const uint8_t *bytes, size_t len, const int *fds,      \
			 unsigned int nr_fds)                                                      \
	{                                                                                          \
		struct vhu_msg_hdr hdr;                                                            \
                                                                                                   \
		memcpy(&hdr, bytes, sizeof(hdr));                                                  \
		change;                                                                            \
		send_hdr(liar, bytes, len, fds, nr_fds, hdr);                                      \
	}

hdr_lie(other_request,
	hdr.request = hdr.request == VHU_GET_STATUS ? VHU_GET_FEATURES : VHU_GET_STATUS)
	hdr_lie(no_such_request, hdr.request = 4711) hdr_lie(request_0, hdr.request = 0)
		hdr_lie(size_less, hdr.size -= 5) hdr_lie(size_more, hdr.size += 3)
			hdr_lie(size_0, hdr.size = 0) hdr_lie(size_beyond,
							      hdr.size = VHU_MSG_MAX_PAYLOAD + 1)
				hdr_lie(size_huge,
					hdr.size = UINT32_MAX) hdr_lie(no_reply_flag,
								       hdr.flags = VHU_MSG_VERSION)
					hdr_lie(version_0, hdr.flags = VHU_MSG_REPLY)
						hdr_lie(version_2, hdr.flags = VHU_MSG_REPLY | 2)

							static void with_fds(struct liar *liar,
									     const uint8_t *bytes,
									     size_t len,
									     unsigned int nr)
{
	int ends[2], many[64];

	assert_return_code(pipe2(ends, O_CLOEXEC), errno);
	for (unsigned int i = 0; i < nr; i++)
		many[i] = ends[i % 2];
	liar_send(liar->sock, bytes, len, many, nr);
	close(ends[0]);
	close(ends[1]);
}

static void two_fds(struct liar *liar, const uint8_t *bytes, size_t len, const int *fds,
		    unsigned int nr_fds)
{
	(void)fds, (void)nr_fds;
	with_fds(liar, bytes, len, 2);
}

static void eight_fds(struct liar *liar, const uint8_t *bytes, size_t len, const int *fds,
		      unsigned int nr_fds)
{
	(void)fds, (void)nr_fds;
	with_fds(liar, bytes, len, 8);
}

static void many_fds(struct liar *liar, const uint8_t *bytes, size_t len, const int *fds,
		     unsigned int nr_fds)
{
	(void)fds, (void)nr_fds;
	with_fds(liar, bytes, len, 60);
}

static void fds_in_the_middle(struct liar *liar, const uint8_t *bytes, size_t len, const int *fds,
			      unsigned int nr_fds)
{
	liar_send(liar->sock, bytes, 5, fds, nr_fds);
	with_fds(liar, bytes + 5, len - 5, 3);
}

static void silence(struct liar *liar, const uint8_t *bytes, size_t len, const int *fds,
		    unsigned int nr_fds)
{
	(void)liar, (void)bytes, (void)len, (void)fds, (void)nr_fds;
}

static void half_a_header(struct liar *liar, const uint8_t *bytes, size_t len, const int *fds,
			  unsigned int nr_fds)
{
	(void)len;
	liar_send(liar->sock, bytes, 7, fds, nr_fds);
}

static void all_but_a_byte(struct liar *liar, const uint8_t *bytes, size_t len, const int *fds,
			   unsigned int nr_fds)
{
	liar_send(liar->sock, bytes, len - 1, fds, nr_fds);
}

static void cut_off(struct liar *liar, const uint8_t *bytes, size_t len, const int *fds,
		    unsigned int nr_fds)
{
	liar_send(liar->sock, bytes, len - 3, fds, nr_fds);
	liar_hang_up(liar);
}

static void end(struct liar *liar, const uint8_t *bytes, size_t len, const int *fds,
		unsigned int nr_fds)
{
	(void)bytes, (void)len, (void)fds, (void)nr_fds;
	liar_hang_up(liar);
}

/* Looks at each byte by itself. */
static struct front *eager;

static void in_bytes(struct liar *liar, const uint8_t *bytes, size_t len, const int *fds,
		     unsigned int nr_fds)
{
	for (size_t i = 0; i < len; i++) {
		liar_send(liar->sock, bytes + i, 1, fds, i ? 0 : nr_fds);
		assert_int_equal(vhu_frontend_process(eager->fe), 0);
	}
}

static void twice(struct liar *liar, const uint8_t *bytes, size_t len, const int *fds,
		  unsigned int nr_fds)
{
	liar_send(liar->sock, bytes, len, fds, nr_fds);
	liar_send(liar->sock, bytes, len, fds, nr_fds);
}

static const struct lie lies[] = {
	{ "another request's id", other_request, -EPROTO, false },
	{ "an unknown id", no_such_request, -EPROTO, false },
	{ "id 0", request_0, -EPROTO, false },
	{ "5 bytes less", size_less, -EPROTO, false },
	{ "3 bytes more", size_more, -EPROTO, false },
	{ "no payload", size_0, -EPROTO, true },
	{ "a payload beyond the limit", size_beyond, -EPROTO, false },
	{ "a size of 2^32 - 1", size_huge, -EPROTO, false },
	{ "no reply flag", no_reply_flag, -EPROTO, false },
	{ "version 0", version_0, -EPROTO, false },
	{ "version 2", version_2, -EPROTO, false },
	{ "two fds", two_fds, -EPROTO, false },
	{ "eight fds", eight_fds, -EPROTO, false },
	{ "sixty fds", many_fds, -EPROTO, false },
	{ "fds in the middle", fds_in_the_middle, -EPROTO, false },
	{ "half a message, and the end", cut_off, -EPROTO, false },
	{ "the end", end, -ECONNRESET, false },
	{ "the reply twice", twice, -EPROTO, false },
};

static const struct lie silent_lies[] = {
	{ "silence", silence, -ETIMEDOUT, false },
	{ "half a header", half_a_header, -ETIMEDOUT, false },
	{ "all but a byte", all_but_a_byte, -ETIMEDOUT, false },
};

static void one_lie(struct scene *s, uint32_t request, const struct lie *lie)
{
	struct told told = { .request = request, .lie = lie };
	const char *name = vhu_request_row(VHU_CHANNEL_MAIN, request)->name;
	struct front *front = &s->lab.front;
	struct liar *liar = &s->lab.liar;
	unsigned int hangups = liar->hangups, connections = liar->connections;
	struct cycle c;

	liar_forget(liar);
	front_forget_reasons(front);
	liar->twist = tell;
	liar->lie_arg = &told;
	/* from the greeting on */
	liar_hang_up(liar);
	assert_true(check_until(front_pump(), liar->connections > connections));
	run_cycle(front, &c);
	if (!told.times)
		fail_msg("%s: no occasion to lie", name);
	if (lie->err == 0) {
		assert_int_equal(liar->hangups, hangups);
		assert_int_equal(liar->connections, connections + 1);
	} else {
		if (!check_until(front_pump(), liar->connections >= connections + 2))
			fail_msg("%s with %s was taken", name, lie->name);
		if (lie->err == -EPROTO || lie->err == -ETIMEDOUT)
			assert_true(front->texts[0]);
	}
	liar->twist = NULL;
}

static void each_lie(void **state, const struct lie *list, size_t nr)
{
	/* a frontend that listens has whoever comes, at once: one that looks would take its time */
	struct scene *s = scene_begin(state, &(struct front_options){ .listen = true },
				      &(struct liar_options){ .no_listen = true });
	struct tally before;

	s->lab.liar.goes_to = s->lab.front.path;
	front_until(&s->lab.front, VHU_DEVICE_STOPPED);
	front_make_rings(&s->lab.front);
	check_clean(&s->lab.front);
	for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
		for (size_t k = 0; k < nr; k++) {
			bool may_be_empty =
				asked[i] == VHU_GET_CONFIG || asked[i] == VHU_SET_LOG_BASE;

			if (!list[k].not_empty || !may_be_empty)
				one_lie(s, asked[i], &list[k]);
		}
		scene_check_bystander(s);
		check_clean(&s->lab.front);
		/* what is made once and kept has been made by then */
		if (i == 3)
			tally_take(&before);
		if (i > 3) {
			before.heap = SIZE_MAX;
			tally_check(&before);
		}
	}
}

static void no_lie_about_a_reply_is_taken(void **state)
{
	each_lie(state, lies, sizeof(lies) / sizeof(lies[0]));
}

static void silence_is_waited_for_no_longer_than_the_deadline(void **state)
{
	each_lie(state, silent_lies, sizeof(silent_lies) / sizeof(silent_lies[0]));
}

static void reply_may_come_in_bytes(void **state)
{
	static const struct lie slow = { "single bytes", in_bytes, 0, false };

	eager = &((struct scene *)*state)->lab.front;
	each_lie(state, &slow, 1);
}

static void deadline_is_the_one_that_was_asked_for(void **state)
{
	struct scene *s =
		scene_begin(state, &(struct front_options){ .reply_timeout_ms = 400 }, NULL);
	struct told told = { VHU_GET_STATUS, &silent_lies[0], 0 };
	struct front_done done = { 0 };
	int64_t began;

	front_run(&s->lab.front);
	s->lab.liar.twist = tell;
	s->lab.liar.lie_arg = &told;
	began = check_now_ms();
	assert_int_equal(vhu_frontend_get_status(s->lab.front.fe, front_note_done, &done), 0);
	assert_int_equal(front_wait_done(&done), -ETIMEDOUT);
	assert_true(check_now_ms() - began >= 390);
	assert_int_equal(s->lab.front.gone_err, -ETIMEDOUT);
	front_check_reason(&s->lab.front, "GET_STATUS|400 ms");
	assert_true(check_until(front_pump(), s->lab.front.back == 1));
	front_until(&s->lab.front, VHU_DEVICE_RUNNING);
}

/*
 * ---- What nobody asked for ----
 */
static void unasked(struct scene *s, uint32_t request, uint32_t flags, uint32_t size)
{
	static const uint8_t zero[64];
	unsigned int gone = s->lab.front.gone, back = s->lab.front.back;

	liar_say(s->lab.liar.sock, request, flags, zero, size, NULL, 0);
	assert_true(check_until(front_pump(), s->lab.front.gone == gone + 1));
	assert_int_equal(s->lab.front.gone_err, -EPROTO);
	assert_true(check_until(front_pump(), s->lab.front.back == back + 1));
	front_until(&s->lab.front, VHU_DEVICE_RUNNING);
}

static void what_nobody_asked_for_ends_the_connection(void **state)
{
	struct scene *s = scene_begin(state, NULL, NULL);
	const uint32_t reply = VHU_MSG_VERSION | VHU_MSG_REPLY;

	front_run(&s->lab.front);
	front_settle();
	unasked(s, VHU_GET_FEATURES, reply, 8);
	unasked(s, VHU_SET_VRING_KICK, reply, 8);
	unasked(s, VHU_GET_VRING_BASE, reply, 8);
	unasked(s, 200, reply, 8);
	/* a request on the channel for replies, known or not */
	unasked(s, VHU_BACKEND_CONFIG_CHANGE, VHU_MSG_VERSION, 0);
	unasked(s, VHU_SET_MEM_TABLE, VHU_MSG_VERSION | VHU_MSG_NEED_REPLY, 40);
	front_check_reason(&s->lab.front, "none was asked for");
}

static void dribble_that_nobody_asked_for_keeps_nobody_waiting(void **state)
{
	struct scene *s = scene_begin(state, NULL, NULL);
	struct front_done done = { 0 };
	uint32_t begin = VHU_GET_FEATURES;

	front_run(&s->lab.front);
	liar_send(s->lab.liar.sock, &begin, sizeof(begin), NULL, 0);
	front_settle();
	/* with the next request its answer cannot be told from that, and there is an end */
	assert_int_equal(vhu_frontend_get_status(s->lab.front.fe, front_note_done, &done), 0);
	assert_true(front_wait_done(&done) < 0);
	assert_true(check_until(front_pump(), s->lab.front.back == 1));
	front_until(&s->lab.front, VHU_DEVICE_RUNNING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scene_test(no_lie_about_a_reply_is_taken),
		scene_test(silence_is_waited_for_no_longer_than_the_deadline),
		scene_test(reply_may_come_in_bytes),
		scene_test(deadline_is_the_one_that_was_asked_for),
		scene_test(what_nobody_asked_for_ends_the_connection),
		scene_test(dribble_that_nobody_asked_for_keeps_nobody_waiting),
	};

	return cmocka_run_group_tests_name("hostile_backend", tests, NULL, NULL);
}
