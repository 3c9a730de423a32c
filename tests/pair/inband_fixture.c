/* SPDX-License-Identifier: MIT */
/* A frontend as user-mode Linux is one, on the driver of the tests: it sends no fds but those of its memory and the channel. */
#include <sys/socket.h>
#include <unistd.h>

#include "inband_fixture.h"

void inband_set_channel(struct pair *p, int *ret_other)
{
	int pair[2];

	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), errno);
	drv_do(&p->drv, VHU_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1);
	if (ret_other)
		*ret_other = pair[1];
	else
		close(pair[1]);
	if (p->drv.channel >= 0)
		close(p->drv.channel);
	p->drv.channel = pair[0];
}

void inband_set_ring(struct pair *p, unsigned int ring)
{
	struct vhu_vring_addr addr;

	drv_fill_addr(&p->drv, ring, &addr);
	drv_do_state(&p->drv, VHU_SET_VRING_NUM, ring, p->drv.ring[ring].num);
	drv_do_state(&p->drv, VHU_SET_VRING_BASE, ring, p->drv.ring[ring].avail_idx);
	drv_do(&p->drv, VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
}

void inband_agree(struct pair *p)
{
	struct drv *drv = &p->drv;

	drv_do(drv, VHU_SET_OWNER, NULL, 0, NULL, 0);
	drv->offered = drv_ask_u64(drv, VHU_GET_FEATURES);
	drv->protocol_offered = drv_ask_u64(drv, VHU_GET_PROTOCOL_FEATURES);
	assert_true(drv->protocol_offered & INBAND);
	drv_do_u64(drv, VHU_SET_PROTOCOL_FEATURES, drv->protocol_offered);
	drv->protocol_features = drv->protocol_offered;
}

struct pair *inband_agreed(void **state, const struct fixture_options *options)
{
	struct fixture_options with = options ? *options : (struct fixture_options){ 0 };
	struct pair *p;

	with.protocol_features = VHU_BACKEND_PROTOCOL_FEATURES | INBAND;
	p = pair_up(state, &with, &(struct drv_options){ .need_reply = true });
	inband_agree(p);
	return p;
}

/* All but the kicks, and the channel. */
void inband_prepare(struct pair *p)
{
	drv_set_features(&p->drv, p->drv.offered & ~VHU_MASK(VHU_F_LOG_ALL_BIT));
	drv_set_mem(&p->drv);
	for (unsigned int i = 0; i < 2; i++) {
		inband_set_ring(p, i);
		drv_enable_ring(&p->drv, i, true);
	}
	drv_check_in_step(&p->drv);
}

struct pair *inband_prepared(void **state, const struct fixture_options *options)
{
	struct pair *p = inband_agreed(state, options);

	inband_prepare(p);
	return p;
}

void inband_kick(struct pair *p, unsigned int ring)
{
	drv_ring_publish(&p->drv.ring[ring]);
	drv_do_state(&p->drv, VHU_VRING_KICK, ring, 0);
}

void inband_put_frames(struct pair *p, unsigned int nr)
{
	uint8_t frame[100];

	for (unsigned int i = 0; i < nr; i++) {
		drv_net_make(frame, sizeof(frame), i);
		assert_true(drv_net_add(&p->drv, TX, frame, sizeof(frame), NULL) >= 0);
	}
	drv_ring_publish(&p->drv.ring[TX]);
}

void inband_send_frames(struct pair *p, unsigned int nr)
{
	uint64_t before = fixture_frames(&p->fix);

	inband_put_frames(p, nr);
	inband_kick(p, TX);
	assert_true(check_until(fixture_pump(NULL), fixture_frames(&p->fix) == before + nr));
	fixture_settle();
	assert_int_equal(drv_net_reap(&p->drv, TX), nr);
	/* the next one, too, is to be called for */
	drv_ring_want_calls(&p->drv.ring[TX], true);
}

const struct fixture_options inband_sink = { .mode = FIXTURE_SINK };

static int inband_channel_recv(struct pair *p, struct vhu_msg *ret_msg)
{
	struct drv channel = { .sock = p->drv.channel, .pump = fixture_pump };

	fixture_settle();
	return drv_recv(&channel, ret_msg, 0);
}

void inband_is_told(struct pair *p, uint32_t request, unsigned int ring)
{
	struct vhu_msg msg;

	assert_true(check_until(fixture_pump(NULL), inband_channel_recv(p, &msg) == 1));
	assert_int_equal(msg.hdr.request, request);
	assert_int_equal(msg.hdr.flags, VHU_MSG_VERSION | VHU_MSG_NEED_REPLY);
	assert_int_equal(msg.hdr.size, sizeof(msg.state));
	assert_int_equal(msg.state.index, ring);
	assert_int_equal(msg.state.num, 0);
	assert_int_equal(msg.nr_fds, 0);
}

void inband_is_silent(struct pair *p)
{
	struct vhu_msg msg;

	assert_int_equal(inband_channel_recv(p, &msg), 0);
}

void inband_answer(struct pair *p, uint32_t request, uint64_t value)
{
	struct drv channel = { .sock = p->drv.channel, .pump = fixture_pump };

	assert_int_equal(drv_send(&channel, request, VHU_MSG_REPLY, &value, sizeof(value), NULL, 0),
			 0);
	fixture_settle();
}

/* A ring's start makes a call, for what may have been missed in an earlier life of it. */
void inband_hear_start(struct pair *p)
{
	struct vhu_msg msg;

	while (inband_channel_recv(p, &msg) == 1) {
		assert_int_equal(msg.hdr.request, VHU_BACKEND_VRING_CALL);
		inband_answer(p, VHU_BACKEND_VRING_CALL, 0);
	}
}

/* Both rings run, the channel is there. */
struct pair *inband_running(void **state, const struct fixture_options *options)
{
	struct pair *p = inband_prepared(state, options);

	inband_set_channel(p, NULL);
	for (unsigned int i = 0; i < 2; i++) {
		drv_ring_want_calls(&p->drv.ring[i], true);
		inband_kick(p, i);
	}
	inband_hear_start(p);
	return p;
}

/* The connection is as it was. */
void inband_goes_on(struct pair *p)
{
	drv_check_in_step(&p->drv);
	assert_int_equal(p->fix.closed, 0);
}

/* With an acknowledgement it is refused, without one the connection ends. */
void inband_refused(struct pair *p, uint32_t request, const void *payload, uint32_t size,
		    const char *words)
{
	fixture_forget_reasons(&p->fix);
	assert_int_equal(drv_ack(&p->drv, request, payload, size, NULL, 0), 1);
	fixture_check_reason(&p->fix, words);
	inband_goes_on(p);
}
