/* SPDX-License-Identifier: MIT */
/* Deaths and what is around them; what a next backend makes of them is not known here. */
#include <sys/mman.h>
#include <unistd.h>

#include "inflight_fixture.h"

struct inflight_part *inflight_part(const struct inflight_world *w, unsigned int ring)
{
	return (struct inflight_part *)(void *)(w->bytes + (size_t)ring * INFLIGHT_PART);
}

/* ---- messages ---- */

int inflight_get(struct drv *drv, uint16_t queues, uint16_t queue_size, uint32_t size,
		 struct vhu_inflight *ret)
{
	struct vhu_inflight ask = { .nr_queues = queues, .queue_size = queue_size };
	struct vhu_msg reply;

	assert_int_equal(drv_send(drv, VHU_GET_INFLIGHT_FD, 0, &ask, size, NULL, 0), 0);
	assert_int_equal(drv_recv(drv, &reply, CHECK_PATIENCE_MS), 1);
	assert_int_equal(reply.hdr.request, VHU_GET_INFLIGHT_FD);
	assert_int_equal(reply.hdr.flags, VHU_MSG_VERSION | VHU_MSG_REPLY);
	assert_int_equal(reply.hdr.size, size);
	assert_int_equal(reply.nr_fds, 1);
	memcpy(ret, &reply.inflight, sizeof(*ret));
	return reply.fds[0];
}

int inflight_set(struct inflight_world *w)
{
	return drv_ack(w->drv, VHU_SET_INFLIGHT_FD, &w->desc, sizeof(w->desc), &w->fd, 1);
}

/* Everything up to the region: what QEMU says before GET_INFLIGHT_FD. */
void inflight_hello(struct inflight_world *w)
{
	const uint64_t without = VHU_MASK(VHU_F_LOG_ALL_BIT) | VHU_MASK(VHU_F_RING_PACKED_BIT) |
				 VHU_MASK(VHU_F_IN_ORDER_BIT);
	struct drv *drv = w->drv;

	drv_negotiate(drv);
	assert_true(drv->protocol_features & VHU_MASK(VHU_P_INFLIGHT_SHMFD_BIT));
	drv_set_features(drv, drv->offered & ~without);
}

void inflight_start_rings(struct inflight_world *w, uint16_t base)
{
	drv_set_mem(w->drv);
	for (unsigned int i = 0; i < 2; i++) {
		drv_enable_ring(w->drv, i, true);
		drv_start_ring(w->drv, i, base);
	}
	drv_check_in_step(w->drv);
}

static const struct fixture_options fix_options = { .mode = FIXTURE_IDLE,
						    .protocol_features = WITH_INFLIGHT };

struct inflight_world *inflight_connected(void **state)
{
	struct inflight_world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->fd = -1;
	w->pair = pair_up(state, &fix_options,
			  &(struct drv_options){ .ring_size = INFLIGHT_SIZE, .need_reply = true });
	w->drv = &w->pair->drv;
	w->fix = &w->pair->fix;
	inflight_hello(w);
	return w;
}

void inflight_map(struct inflight_world *w)
{
	w->bytes = mmap(NULL, (size_t)w->desc.mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED, w->fd,
			(off_t)w->desc.mmap_offset);
	assert_true(w->bytes != MAP_FAILED);
}

struct inflight_world *inflight_running(void **state)
{
	struct inflight_world *w = inflight_connected(state);

	w->fd = inflight_get(w->drv, 2, INFLIGHT_SIZE, sizeof(w->desc), &w->desc);
	inflight_map(w);
	assert_int_equal(inflight_set(w), 0);
	inflight_start_rings(w, 0);
	return w;
}

void inflight_end(struct inflight_world *w)
{
	if (w->bytes)
		munmap(w->bytes, (size_t)w->desc.mmap_size);
	if (w->fd >= 0)
		close(w->fd);
	free(w);
}

/* ---- death ---- */

void inflight_remember(struct inflight_world *w)
{
	memcpy(w->region, w->bytes, sizeof(w->region));
	for (unsigned int i = 0; i < 2; i++)
		memcpy(w->used[i], w->drv->ring[i].used, sizeof(w->used[i]));
}

/* The backend is gone, and what it did after inflight_remember() never happened. */
void inflight_bury(struct inflight_world *w)
{
	drv_disconnect(w->drv);
	assert_true(check_until(fixture_pump(NULL), w->fix->closed == w->fix->connected));
	fixture_free(w->fix);
	w->pair->fix_is_up = false;
	memcpy(w->bytes, w->region, sizeof(w->region));
	for (unsigned int i = 0; i < 2; i++)
		memcpy(w->drv->ring[i].used, w->used[i], sizeof(w->used[i]));
}

void inflight_next_backend(struct inflight_world *w)
{
	fixture_init(w->fix, &fix_options);
	w->pair->fix_is_up = true;
	assert_int_equal(drv_connect(w->drv, w->fix->path), 0);
	inflight_hello(w);
	assert_int_equal(inflight_set(w), 0);
}

/* As the frontend knows it after a crash: from the used index. */
void inflight_resume(struct inflight_world *w)
{
	inflight_next_backend(w);
	inflight_start_rings(w, 0);
}

void inflight_crash(struct inflight_world *w)
{
	inflight_remember(w);
	inflight_bury(w);
	inflight_resume(w);
}

/* ---- traffic ---- */

struct vhu_queue *inflight_queue(const struct inflight_world *w, unsigned int ring)
{
	return vhu_backend_queue(w->fix->backend, ring);
}

void inflight_send(struct inflight_world *w, unsigned int nr)
{
	uint8_t frame[64];

	for (unsigned int i = 0; i < nr; i++) {
		drv_net_make(frame, sizeof(frame), w->number++);
		assert_true(drv_net_add(w->drv, 1, frame, sizeof(frame), NULL) >= 0);
	}
	drv_ring_publish(&w->drv->ring[1]);
}

void inflight_take(struct inflight_world *w, unsigned int max, unsigned int nr, uint32_t first)
{
	const struct vhu_net_frame *frames = vhu_net_burst_frames(w->fix->burst);

	assert_int_equal(vhu_net_pull(inflight_queue(w, 1), w->fix->burst, max), nr);
	for (unsigned int i = 0; i < nr; i++) {
		assert_int_equal(frames[i].len, 64);
		assert_true(drv_net_verify(frames[i].head, 64, first + i));
	}
}

void inflight_give_back(struct inflight_world *w)
{
	vhu_net_done(inflight_queue(w, 1), w->fix->burst);
}

void inflight_all_came_back(struct inflight_world *w, unsigned int nr)
{
	assert_int_equal(drv_net_reap(w->drv, 1), nr);
	assert_int_equal(w->drv->ring[1].nr_free_slots, w->drv->ring[1].nr_slots);
	assert_int_equal(w->drv->ring[1].used_idx, w->drv->ring[1].avail_idx);
}

unsigned int inflight_nr_marks(const struct inflight_world *w, unsigned int ring)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < INFLIGHT_SIZE; i++)
		nr += inflight_part(w, ring)->desc[i].inflight;
	return nr;
}
