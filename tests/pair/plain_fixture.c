/* SPDX-License-Identifier: MIT */
/* What the tests of plain chains have in common; it knows no test. */
#include "plain_fixture.h"

struct plain_lane plain;
uint8_t plain_bytes[PLAIN_FRAMES][PLAIN_ROOM];
struct vhu_net_frame plain_frame[PLAIN_FRAMES];
const struct vhu_net_frame *plain_ptrs[PLAIN_FRAMES];
static struct iovec iov_of[PLAIN_FRAMES][2];

void plain_begin(void **state, bool packed, unsigned int index, uint32_t num, uint64_t with)
{
	const struct fixture_options idle = { .mode = FIXTURE_IDLE };

	if (packed) {
		packed_running(state, &idle, num, with, 0);
	} else {
		p = pair_up(state, &idle,
			    &(struct drv_options){ .need_reply = true, .ring_size = num });
		drv_start(&p->drv);
	}
	fixture_settle();
	plain.split = packed ? NULL : &p->drv.ring[index];
	plain.packed = packed ? (index ? tx : rx) : NULL;
	plain.queue = vhu_backend_queue(p->fix.backend, index);
}

void plain_frame_make(unsigned int i, uint32_t len, uint32_t number)
{
	uint32_t head = len < 144 ? len : 144, part = (len - head) / 3;
	uint8_t *bytes = plain_bytes[i];

	drv_net_make(bytes, len, number);
	iov_of[i][0] = (struct iovec){ bytes + head, part };
	iov_of[i][1] = (struct iovec){ bytes + head + part, len - head - part };
	plain_frame[i] = (struct vhu_net_frame){ .len = len,
						 .head_len = (uint16_t)head,
						 .nr_iov = len > head ? 2 : 0,
						 .head = bytes,
						 .iov = iov_of[i] };
	plain_ptrs[i] = &plain_frame[i];
}
