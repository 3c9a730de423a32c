/* SPDX-License-Identifier: MIT */
/* The program around a frontend: its loop, its callbacks, its rings and frames; knows no test. */
#include <poll.h>
#include <unistd.h>

#include "frontend_fixture.h"

static struct front *all_fronts;

/*
 * ---- Callbacks ----
 */
static void note(struct front *front, const char *text)
{
	size_t at = strlen(front->texts);

	if (at + strlen(text) + 2 > sizeof(front->texts))
		return;
	strcpy(front->texts + at, text);
	strcat(front->texts + at, "\n");
}

static void on_connected(void *arg)
{
	struct front *front = arg;

	front->connected++;
	/* once for the whole life; later ones are back() */
	assert_int_equal(front->connected, 1);
}

static void on_gone(void *arg, int err, const char *reason)
{
	struct front *front = arg;

	assert_false(front->is_gone);
	front->is_gone = true;
	front->gone++;
	front->gone_err = err;
	assert_true(err == 0 || (reason && reason[0]));
	note(front, reason ? reason : "");
}

static void on_back(void *arg)
{
	struct front *front = arg;

	assert_true(front->is_gone);
	front->is_gone = false;
	front->back++;
}

static void on_needs_reset(void *arg, const char *reason)
{
	struct front *front = arg;

	assert_true(front->is_gone);
	front->is_gone = false;
	front->needs_reset++;
	note(front, reason);
}

static void on_config_changed(void *arg)
{
	struct front *front = arg;

	front->config_changed++;
}

static void on_ring_error(void *arg, unsigned int ring)
{
	struct front *front = arg;

	assert_in_range(ring, 0, 2 * FRONT_MAX_PAIRS - 1);
	front->ring_errors[ring]++;
}

static void on_complaint(void *arg, const char *text)
{
	struct front *front = arg;

	front->complaints++;
	note(front, text);
}

static void on_event(void *arg, const struct vhu_event *event)
{
	struct front *front = arg;

	assert_true(event->kind < VHU_EVENT_KIND_END);
	front->events++;
}

static const struct vhu_frontend_ops ops = {
	.size = sizeof(struct vhu_frontend_ops),
	.connected = on_connected,
	.gone = on_gone,
	.back = on_back,
	.needs_reset = on_needs_reset,
	.config_changed = on_config_changed,
	.ring_error = on_ring_error,
	.complaint = on_complaint,
	.event = on_event,
};

/*
 * ---- Life ----
 */
static void make_memory(struct front *front)
{
	const struct front_options *o = &front->options;
	uint64_t gpa = FRONT_GPA;

	assert_int_equal(vhu_memory_new(&front->memory), 0);
	drv_mem_share_mapping(o->share_mapping);
	for (unsigned int i = 0; i < o->nr_regions; i++) {
		assert_int_equal(vhu_memory_add(front->memory, gpa, o->region_size, 0), 0);
		/* the first two touch, before each further one there is a hole */
		gpa += o->region_size + (i ? 0x200000 : 0);
	}
}

void front_init(struct front *front, const struct front_options *options)
{
	struct front_options *o = &front->options;

	memset(front, 0, sizeof(*front));
	if (options)
		*o = *options;
	o->nr_pairs = o->nr_pairs ? o->nr_pairs : 1;
	o->features = o->features ? o->features : FRONT_FEATURES;
	o->protocol_features =
		o->protocol_features ? o->protocol_features : VHU_FRONTEND_PROTOCOL_FEATURES;
	o->protocol_features &= ~o->no_protocol_features;
	o->nr_regions = o->nr_regions ? o->nr_regions : 2;
	o->region_size = o->region_size ? o->region_size : 16 << 20;
	o->ring_size = o->ring_size ? o->ring_size : 256;
	o->frame_max = o->frame_max ? o->frame_max : 1518 + 4;
	o->pieces = o->pieces ? o->pieces : 2;
	o->window = o->window ? o->window : 16;
	strcpy(front->dir, "/tmp/vhu-test-XXXXXX");
	assert_non_null(mkdtemp(front->dir));
	snprintf(front->path, sizeof(front->path), "%s/sock", front->dir);
	make_memory(front);

	const struct vhu_frontend_options fe_options = {
		.size = sizeof(fe_options),
		.memory = front->memory,
		.nr_rings = 2 * o->nr_pairs,
		.features = o->features | o->features_needed,
		.features_needed = o->features_needed,
		.protocol_features = o->protocol_features,
		.reply_timeout_ms = o->reply_timeout_ms,
		.give_up = o->give_up,
		.ops = &ops,
		.arg = front,
	};

	assert_int_equal(vhu_frontend_new(&front->fe, &fe_options), 0);
	if (o->listen)
		assert_int_equal(vhu_frontend_listen(front->fe, front->path, 0, NULL), 0);
	else if (o->connect)
		assert_int_equal(vhu_frontend_connect(front->fe, o->connect), 0);
	front->next = all_fronts;
	all_fronts = front;
}

void front_free(struct front *front)
{
	unsigned int gone = front->gone, back = front->back;

	for (struct front **at = &all_fronts; *at; at = &(*at)->next) {
		if (*at == front) {
			*at = front->next;
			break;
		}
	}
	vhu_frontend_free(front->fe);
	/* no callback */
	assert_int_equal(front->gone, gone);
	assert_int_equal(front->back, back);
	assert_int_equal(access(front->path, F_OK), -1);
	front->fe = NULL;
	front_drop_rings(front);
	vhu_memory_free(front->memory);
	drv_mem_share_mapping(false);
	assert_return_code(rmdir(front->dir), errno);
}

bool front_pump(void)
{
	bool busy = liar_pump();

	for (struct front *front = all_fronts; front; front = front->next) {
		struct pollfd p = { .fd = vhu_frontend_fd(front->fe), .events = POLLIN };

		/* Only when it says so: that it does say so is a promise. */
		if (poll(&p, 1, 0) > 0) {
			assert_int_equal(vhu_frontend_process(front->fe), 0);
			busy = true;
		}
	}
	return fixture_pump(NULL) || busy;
}

void front_settle(void)
{
	unsigned int idle = 0;

	while (idle < 8) {
		idle = front_pump() ? 0 : idle + 1;
		if (idle)
			check_pause();
	}
}

/*
 * ---- Rings ----
 */
static void describe(struct front *front, unsigned int ring, struct vhu_driver *driver)
{
	struct vhu_frontend_ring config = {
		.size = sizeof(config),
		.kick_fd = -1,
		.call_fd = -1,
		.polled = front->options.polled,
		.driver = driver,
	};

	if (front->options.guest_rings) {
		config.driver = NULL;
		config.num = vhu_driver_num(driver);
		vhu_driver_addr(driver, &config.addr);
	}
	assert_int_equal(vhu_frontend_set_ring(front->fe, ring, &config), 0);
	if (front->options.guest_rings)
		vhu_driver_set_kick_fd(driver, vhu_frontend_kick_fd(front->fe, ring));
}

void front_make_rings(struct front *front)
{
	const struct front_options *o = &front->options;
	struct vhu_net_ring_options options = {
		.size = sizeof(options),
		.memory = front->memory,
		.num = o->ring_size,
		/* before there is a backend, the test knows what it will agree on */
		.features = vhu_frontend_features(front->fe) ? vhu_frontend_features(front->fe) :
							       o->features,
		.frame_max = o->frame_max,
		.buffer_size = o->buffer_size,
		.pieces = o->pieces,
	};

	for (unsigned int i = 0; i < o->nr_pairs; i++) {
		struct front_pair *p = &front->pair[i];

		memset(p, 0, sizeof(*p));
		assert_int_equal(vhu_net_rx_new(&p->rx, &options), 0);
		assert_int_equal(vhu_net_tx_new(&p->tx, &options), 0);
		describe(front, 2 * i, vhu_net_rx_driver(p->rx));
		describe(front, 2 * i + 1, vhu_net_tx_driver(p->tx));
	}
	front->has_rings = true;
}

void front_drop_rings(struct front *front)
{
	for (unsigned int i = 0; front->has_rings && i < front->options.nr_pairs; i++) {
		vhu_net_rx_free(front->pair[i].rx);
		vhu_net_tx_free(front->pair[i].tx);
	}
	front->has_rings = false;
}

void front_until(struct front *front, enum vhu_device_state state)
{
	if (!check_until(front_pump(), vhu_frontend_state(front->fe) == state))
		fail_msg("the device is %s, it should be %s; reasons:\n%s",
			 vhu_device_state_name(vhu_frontend_state(front->fe)),
			 vhu_device_state_name(state), front->texts);
}

void front_run(struct front *front)
{
	struct front_done done = { 0 };

	front_until(front, VHU_DEVICE_STOPPED);
	front_make_rings(front);
	assert_int_equal(vhu_frontend_start(front->fe, front_note_done, &done), 0);
	front_wait_done(&done);
	if (done.err)
		fail_msg("start: %s (%d)", done.reason, done.err);
	assert_int_equal(vhu_frontend_state(front->fe), VHU_DEVICE_RUNNING);
	for (unsigned int i = 0; i < front->options.nr_pairs; i++)
		vhu_net_rx_fill(front->pair[i].rx);
}

/*
 * ---- Requests ----
 */
void front_note_done(void *arg, int err, const struct vhu_answer *answer)
{
	struct front_done *done = arg;

	done->calls++;
	assert_int_equal(done->calls, 1);
	done->err = err;
	if (err) {
		snprintf(done->reason, sizeof(done->reason), "%s",
			 answer && answer->reason ? answer->reason : "");
		return;
	}
	assert_non_null(answer);
	done->value = answer->value;
	done->size = answer->size;
	assert_true(answer->size <= sizeof(done->bytes));
	if (answer->size)
		memcpy(done->bytes, answer->bytes, answer->size);
}

int front_wait_done(const struct front_done *done)
{
	assert_true(check_until(front_pump(), done->calls > 0));
	return done->err;
}

static bool line_has_all(const char *line, size_t len, const char *words)
{
	while (*words) {
		size_t n = strcspn(words, "|");

		if (!memmem(line, len, words, n))
			return false;
		words += n;
		words += *words == '|';
	}
	return true;
}

void front_check_reason(const struct front *front, const char *words)
{
	const char *line = front->texts;

	while (*line) {
		size_t n = strcspn(line, "\n");

		if (line_has_all(line, n, words))
			return;
		line += n + 1;
	}
	fail_msg("no reason with \"%s\" in:\n%s", words, front->texts);
}

void front_forget_reasons(struct front *front)
{
	front->texts[0] = '\0';
}

/*
 * ---- Frames ----
 */
size_t front_frame_size(const struct front *front, uint32_t number)
{
	uint32_t x = number * UINT32_C(2654435761);

	return 18 + (x >> 8) % (front->options.frame_max - 17);
}

bool front_send(struct front *front, unsigned int pair, uint32_t end, unsigned int window)
{
	struct front_pair *p = &front->pair[pair];
	uint32_t before = p->sent;

	while (p->sent < end && p->sent - p->received < window) {
		size_t size = front_frame_size(front, p->sent);
		uint8_t *at = vhu_net_tx_buffer(p->tx);

		if (!at)
			break;
		drv_net_make(at, size, p->sent);
		assert_int_equal(vhu_net_tx_send(p->tx, NULL, (uint32_t)size), 0);
		p->sent++;
		if (p->sent % 7 == 0)
			vhu_net_tx_publish(p->tx);
	}
	if (p->sent == before)
		return false;
	vhu_net_tx_publish(p->tx);
	return true;
}

/* The frame's head and pieces in a row. */
static size_t gather(const struct vhu_net_frame *frame, uint8_t *to, size_t room)
{
	size_t at = frame->head_len;

	assert_true(at <= room);
	memcpy(to, frame->head, at);
	for (unsigned int i = 0; i < frame->nr_iov; i++) {
		assert_true(frame->iov[i].iov_len <= room - at);
		memcpy(to + at, frame->iov[i].iov_base, frame->iov[i].iov_len);
		at += frame->iov[i].iov_len;
	}
	assert_int_equal(at, frame->len);
	return at;
}

/* What drv_net_make() wrote behind the Ethernet header. */
static uint32_t number_of(const uint8_t *frame, size_t len)
{
	uint32_t number = UINT32_MAX;

	if (len >= 18)
		memcpy(&number, frame + 14, 4);
	return number;
}

bool front_receive(struct front *front, unsigned int pair)
{
	static uint8_t bytes[VHU_NET_FRAME_MAX];
	struct front_pair *p = &front->pair[pair];
	int nr = vhu_net_rx_pull(p->rx, VHU_NET_BURST);

	if (nr < 0)
		fail_msg("receive ring broken: %s", vhu_driver_fault(vhu_net_rx_driver(p->rx)));
	for (int i = 0; i < nr; i++) {
		size_t len = gather(&vhu_net_rx_frames(p->rx)[i], bytes, sizeof(bytes));

		if (len != front_frame_size(front, p->received) ||
		    !drv_net_verify(bytes, len, p->received))
			fail_msg("pair %u: a frame of %zu bytes (number %u) is not number %u, "
				 "which has %zu",
				 pair, len, number_of(bytes, len), p->received,
				 front_frame_size(front, p->received));
		p->received++;
	}
	vhu_net_rx_done(p->rx);
	return nr > 0;
}

/* Asks for calls of all rings that are waited for. True: there is something already. */
static bool arm(struct front *front)
{
	bool some = false;

	for (unsigned int i = 0; i < front->options.nr_pairs; i++) {
		struct front_pair *p = &front->pair[i];

		some |= vhu_driver_arm(vhu_net_rx_driver(p->rx));
		if (!vhu_net_tx_buffer(p->tx))
			some |= vhu_driver_arm(vhu_net_tx_driver(p->tx));
	}
	return some;
}

/* Sleeps as a guest does; that it is woken is a promise. */
static void wait_for_call(struct front *front)
{
	struct pollfd fds[2 * FRONT_MAX_PAIRS];
	unsigned int nr = 2 * front->options.nr_pairs;
	int64_t end = check_now_ms() + CHECK_PATIENCE_MS;
	uint64_t count;
	int ready = 0;

	if (arm(front))
		return;
	for (unsigned int i = 0; i < nr; i++)
		fds[i] = (struct pollfd){ vhu_frontend_call_fd(front->fe, i), POLLIN, 0 };
	while ((ready = poll(fds, nr, 20)) == 0) {
		front_pump();
		if (check_now_ms() >= end)
			fail_msg("no call came");
	}
	for (unsigned int i = 0; i < nr; i++) {
		if (fds[i].revents && read(fds[i].fd, &count, sizeof(count)) < 0)
			assert_int_equal(errno, EAGAIN);
	}
}

void front_echo(struct front *front, unsigned int nr, bool by_calls)
{
	int64_t give_up = check_now_ms() + CHECK_PATIENCE_MS;
	uint32_t end[FRONT_MAX_PAIRS], mark = 0;
	bool all = false;

	for (unsigned int i = 0; i < front->options.nr_pairs; i++)
		end[i] = front->pair[i].sent + nr;
	while (!all) {
		bool busy = false;

		all = true;
		for (unsigned int i = 0; i < front->options.nr_pairs; i++) {
			busy |= front_send(front, i, end[i], front->options.window);
			busy |= front_receive(front, i);
			all &= front->pair[i].received == end[i];
		}
		if (busy)
			give_up = check_now_ms() + CHECK_PATIENCE_MS;
		if (front->meddle && !all && front->pair[0].received >= mark) {
			mark = front->pair[0].received + 40;
			front->turn++;
			front->meddle(front);
		}
		if (check_now_ms() >= give_up)
			fail_msg("%u of %u frames came back", front->pair[0].received, end[0]);
		if (by_calls && !busy && !all)
			wait_for_call(front);
		if (!by_calls && !front_pump() && !busy)
			check_pause();
	}
}

/*
 * ---- Labs ----
 */
int lab_setup(void **state)
{
	struct lab *lab = calloc(1, sizeof(*lab));

	*state = lab;
	return lab ? 0 : -1;
}

void lab_down(struct lab *lab)
{
	if (lab->front_is_up)
		front_free(&lab->front);
	if (lab->liar_is_up)
		liar_free(&lab->liar);
	if (lab->liar_is_up || lab->front_is_up) {
		lab->before.heap = SIZE_MAX;
		tally_check(&lab->before);
	}
	lab->front_is_up = lab->liar_is_up = false;
}

int lab_teardown(void **state)
{
	struct lab *lab = *state;

	lab_down(lab);
	free(lab);
	return 0;
}

struct lab *lab_up(void **state, const struct front_options *front_options,
		   const struct liar_options *liar_options)
{
	struct lab *lab = *state;
	struct front_options options = { 0 };

	tally_take(&lab->before);
	liar_init(&lab->liar, liar_options);
	lab->liar_is_up = true;
	if (front_options)
		options = *front_options;
	if (!options.connect && !lab->liar.options.no_listen)
		options.connect = lab->liar.path;
	front_init(&lab->front, &options);
	lab->front_is_up = true;
	return lab;
}

void lab_check_order(const struct lab *lab, unsigned int first, const char *words)
{
	static char text[1 << 16];
	const char *at = text;

	liar_text(&lab->liar, lab->liar.connections, first, text, sizeof(text));
	while (*words) {
		size_t n = strcspn(words, " "), len = 0;

		for (; *at; at += len + (at[len] == ' ')) {
			len = strcspn(at, " ");
			if (len == n && !memcmp(at, words, n))
				break;
		}
		if (!*at)
			fail_msg("%.*s did not come where it should in: %s", (int)n, words, text);
		at += len + (at[len] == ' ');
		words += n + (words[n] == ' ');
	}
}
