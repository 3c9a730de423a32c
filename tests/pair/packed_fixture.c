/* SPDX-License-Identifier: MIT */
/* What the tests of packed rings have in common; it knows no test. */
#include "packed_fixture.h"

struct pair *p;
struct dp_ring *rx, *tx;
static struct dp_ring rings[2];

int packed_setup(void **state)
{
	memset(rings, 0, sizeof(rings));
	rx = &rings[0];
	tx = &rings[1];
	return pair_setup(state);
}

int packed_teardown(void **state)
{
	int ret = pair_teardown(state);

	dp_free(rx);
	dp_free(tx);
	drv_mem_share_mapping(false);
	return ret;
}

void packed_running(void **state, const struct fixture_options *options, uint32_t num,
		    uint64_t with, uint64_t without)
{
	p = pair_up(state, options, &(struct drv_options){ .need_reply = true });
	dp_start(&p->drv, rings, num, with, without);
}

void packed_mode(void **state, enum fixture_mode mode, uint32_t num)
{
	packed_running(state, &(struct fixture_options){ .mode = mode }, num, 0, 0);
}

void packed_again(void **state)
{
	packed_teardown(state);
	packed_setup(state);
}

uint32_t packed_base(uint16_t pos)
{
	return (uint32_t)pos << 16 | pos;
}

uint16_t packed_avail_flags(uint16_t pos)
{
	return pos & DP_WRAP ? DP_AVAIL : DP_USED;
}

uint16_t packed_used_flags(uint16_t pos, bool written)
{
	return (uint16_t)((pos & DP_WRAP ? DP_AVAIL | DP_USED : 0) |
			  (written ? DRV_DESC_WRITE : 0));
}

void packed_pull_all(void)
{
	struct vhu_queue *queue = vhu_backend_queue(p->fix.backend, 1);
	bool more = true;

	while (more) {
		int nr = vhu_net_pull(queue, p->fix.burst, 32);

		assert_true(nr >= 0);
		more = nr > 0;
		for (unsigned int i = 0; i < VHU_NET_DROP_END; i++)
			more |= vhu_net_burst_drops(p->fix.burst)[i] > 0;
		vhu_net_done(queue, p->fix.burst);
	}
}

void packed_push(const uint8_t *bytes, size_t len)
{
	struct vhu_queue *queue = vhu_backend_queue(p->fix.backend, 0);
	uint8_t head[VHU_NET_HEAD_ROOM + VHU_NET_HEAD_MAX];
	size_t part = len < VHU_NET_HEAD_MAX ? len : VHU_NET_HEAD_MAX;
	struct iovec iov = { (void *)(uintptr_t)(bytes + part), len - part };
	struct vhu_net_frame frame = { .len = (uint32_t)len,
				       .head_len = (uint16_t)part,
				       .nr_iov = len > part,
				       .head = head + VHU_NET_HEAD_ROOM,
				       .iov = &iov };

	memcpy(head + VHU_NET_HEAD_ROOM, bytes, part);
	assert_int_equal(vhu_net_push(queue, &frame), 0);
}
