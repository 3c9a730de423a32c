/* SPDX-License-Identifier: MIT */
/* What all tests with a hostile peer have in common; it knows no particular attack. */
#include <poll.h>
#include <unistd.h>

#include "hostile.h"

enum {
	ROUNDS = 4,
};

int hostile_setup(void **state)
{
	*state = calloc(1, sizeof(struct hostile));
	return *state ? 0 : -1;
}

int hostile_teardown(void **state)
{
	struct hostile *h = *state;

	if (h->domain) {
		if (h->drv.ring)
			fixture_detach(&h->victim, &h->drv);
		fixture_detach(&h->bystander, &h->other);
		fixture_free(&h->victim);
		fixture_free(&h->bystander);
		vhu_domain_free(h->domain);
	}
	free(h);
	return 0;
}

struct hostile *hostile_begin(void **state, bool started, enum fixture_mode mode,
			      const struct drv_options *options)
{
	struct hostile *h = *state;

	h->started = started;
	if (options)
		h->drv_options = *options;
	assert_int_equal(vhu_domain_new(&h->domain), 0);
	fixture_init(&h->bystander, &(struct fixture_options){ .domain = h->domain });
	fixture_init(&h->victim, &(struct fixture_options){
					 .domain = h->domain,
					 .mode = mode,
					 .nr_rings = options ? options->nr_rings : 0,
					 .protocol_features = VHU_BACKEND_PROTOCOL_FEATURES |
							      VHU_MASK(VHU_P_CONFIG_BIT),
				 });
	fixture_attach(&h->bystander, &h->other, NULL);
	drv_start(&h->other);
	hostile_check_bystander(h);
	return h;
}

void hostile_check_bystander(struct hostile *h)
{
	drv_net_echo(&h->other, 1, h->number, 20);
	h->number += 20;
	drv_check_in_step(&h->other);
	assert_int_equal(h->bystander.closed, 0);
	assert_int_equal(h->bystander.complaints, 0);
	assert_int_equal(h->bystander.nr_full, 0);
}

static void say_hello(struct hostile *h)
{
	if (h->started)
		drv_start(&h->drv);
	else
		drv_negotiate(&h->drv);
	while (fixture_pump(NULL))
		;
}

static void come(struct hostile *h)
{
	fixture_attach(&h->victim, &h->drv, &h->drv_options);
	say_hello(h);
}

static void go(struct hostile *h)
{
	fixture_detach(&h->victim, &h->drv);
	memset(&h->drv, 0, sizeof(h->drv));
}

void hostile_again(struct hostile *h)
{
	drv_disconnect(&h->drv);
	assert_true(check_until(fixture_pump(NULL), h->victim.closed == h->victim.connected));
	for (unsigned int i = 0; i < h->drv.options.nr_rings; i++)
		drv_ring_reset(&h->drv.ring[i]);
	assert_int_equal(drv_connect(&h->drv, h->victim.path), 0);
	say_hello(h);
}

void hostile_rounds(struct hostile *h, void (*attack)(struct hostile *h))
{
	struct tally before;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		/* What is made once and kept has been made by then. */
		if (i == 2)
			tally_take(&before);
		come(h);
		hostile_check_bystander(h);
		attack(h);
		hostile_check_bystander(h);
		go(h);
		h->victim.texts[0] = '\0';
		assert_false(h->victim.texts_full);
	}
	tally_check(&before);
}

void hostile_refused(struct hostile *h, uint32_t request, const void *payload, uint32_t size,
		     const int *fds, unsigned int nr_fds, const char *words)
{
	int ret;

	fixture_forget_reasons(&h->victim);
	ret = drv_ack(&h->drv, request, payload, size, fds, nr_fds);
	if (ret == 0)
		fail_msg("taken, where a refusal with \"%s\" was due", words);
	fixture_check_reason(&h->victim, words);
	if (ret == 1) {
		drv_check_in_step(&h->drv);
		fixture_forget_reasons(&h->victim);
		drv_send(&h->drv, request, 0, payload, size, fds, nr_fds);
		assert_true(drv_is_closed(&h->drv));
		fixture_check_reason(&h->victim, words);
	}
	hostile_again(h);
}

void hostile_closes(struct hostile *h, uint32_t request, uint32_t flags, const void *payload,
		    uint32_t size, const int *fds, unsigned int nr_fds, const char *words)
{
	unsigned int closed = h->victim.closed;

	fixture_forget_reasons(&h->victim);
	drv_send(&h->drv, request, flags, payload, size, fds, nr_fds);
	assert_true(drv_is_closed(&h->drv));
	assert_int_equal(h->victim.closed, closed + 1);
	assert_true(h->victim.closed_err < 0);
	fixture_check_reason(&h->victim, words);
	hostile_again(h);
}

void hostile_ring_is_broken(struct hostile *h, unsigned int ring, const char *words)
{
	struct vhu_queue *queue = vhu_backend_queue(h->victim.backend, ring);
	struct pollfd err = { .fd = h->drv.ring[ring].err_fd, .events = POLLIN };

	assert_true(check_until(fixture_pump(NULL), h->victim.texts[0]));
	fixture_check_reason(&h->victim, words);
	if (ring % 2) {
		assert_int_equal(vhu_net_pull(queue, h->victim.burst, 1), -ENOTCONN);
		vhu_net_done(queue, h->victim.burst);
	} else {
		assert_int_equal(fixture_push(&h->victim, ring, (const uint8_t[60]){ 0 }, 60, NULL),
				 -ENOTCONN);
	}
	/* The frontend is told by the fd of SET_VRING_ERR, and goes on as it likes. */
	assert_int_equal(poll(&err, 1, 1000), 1);
	drv_check_in_step(&h->drv);
	assert_int_equal(h->victim.closed + 1, h->victim.connected);
}

void hostile_ring_works_after_restart(struct hostile *h)
{
	for (unsigned int i = 0; i < 2; i++) {
		drv_stop_ring(&h->drv, i);
		drv_ring_reset(&h->drv.ring[i]);
		drv_start_ring(&h->drv, i, 0);
	}
	fixture_settle();
	hostile_sends(h);
}

void hostile_sends(struct hostile *h)
{
	uint64_t before = fixture_frames(&h->victim);
	uint8_t frame[300];

	drv_net_make(frame, sizeof(frame), ++h->number);
	drv_net_send(&h->drv, 1, frame, sizeof(frame));
	assert_true(check_until(fixture_pump(NULL), fixture_frames(&h->victim) == before + 1));
	assert_int_equal(drv_net_reap(&h->drv, 1), 1);
	if (h->victim.options.mode == FIXTURE_SINK) {
		assert_int_equal(h->victim.last_len, sizeof(frame));
		assert_true(drv_net_verify(h->victim.last, sizeof(frame), h->number));
	}
}
