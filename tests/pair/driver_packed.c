/* SPDX-License-Identifier: MIT */
/* The driver's side of a packed ring as virtio 1.2, 2.8 has it, and frames in it. */
#include "driver_packed.h"

#include <unistd.h>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpragmas"
/* The detector does not model fences; every access it has to judge here has its own order. */
#pragma GCC diagnostic ignored "-Wtsan"
#endif

static uint32_t index_of(uint16_t pos)
{
	return pos & 0x7fff;
}

uint16_t dp_advance(uint16_t pos, uint32_t n, uint32_t num)
{
	uint32_t index = index_of(pos), wrap = pos & DP_WRAP;

	while (n--) {
		if (++index == num) {
			index = 0;
			wrap ^= DP_WRAP;
		}
	}
	return (uint16_t)(wrap | index);
}

void dp_init(struct dp_ring *ring, struct drv *drv, unsigned int index, uint32_t num)
{
	memset(ring, 0, sizeof(*ring));
	ring->drv = drv;
	ring->index = index;
	ring->num = num;
	ring->desc_gpa = drv_mem_alloc(&drv->mem, 0, 16ull * num, 16);
	ring->driver_gpa = drv_mem_alloc(&drv->mem, 0, 4, 4);
	ring->device_gpa = drv_mem_alloc(&drv->mem, 0, 4, 4);
	ring->desc = drv_mem_ptr(&drv->mem, ring->desc_gpa);
	ring->driver = drv_mem_ptr(&drv->mem, ring->driver_gpa);
	ring->device = drv_mem_ptr(&drv->mem, ring->device_gpa);
	/* Large rings do with fewer chains than places. */
	ring->nr_ids = num < 512 ? num : 512;
	ring->buf_gpa = drv_mem_alloc(&drv->mem, 0, (uint64_t)ring->nr_ids * DP_BUF, 64);
	ring->table_gpa = drv_mem_alloc(&drv->mem, 0, (uint64_t)ring->nr_ids * DP_TABLE, 16);
	ring->nr_chain = calloc(num, sizeof(*ring->nr_chain));
	ring->free_id = calloc(ring->nr_ids, sizeof(*ring->free_id));
	ring->room = calloc(num, sizeof(*ring->room));
	ring->token = calloc(num, sizeof(*ring->token));
	ring->fifo = calloc(num, sizeof(*ring->fifo));
	assert_true(ring->nr_chain && ring->free_id && ring->room && ring->token && ring->fifo);
	dp_reset(ring);
}

void dp_free(struct dp_ring *ring)
{
	free(ring->nr_chain);
	free(ring->free_id);
	free(ring->room);
	free(ring->token);
	free(ring->fifo);
	memset(ring, 0, sizeof(*ring));
}

void dp_reset(struct dp_ring *ring)
{
	memset(ring->desc, 0, 16ull * ring->num);
	*ring->driver = 0;
	*ring->device = 0;
	ring->avail = ring->used = ring->kicked = DP_FRESH;
	ring->nr_free = ring->num;
	memset(ring->nr_chain, 0, ring->num * sizeof(*ring->nr_chain));
	/* the highest ids of the ring, the highest first */
	ring->nr_ids = ring->num < 512 ? ring->num : 512;
	for (uint32_t i = 0; i < ring->nr_ids; i++)
		ring->free_id[i] = (uint16_t)(ring->num - ring->nr_ids + i);
	ring->fifo_in = ring->fifo_out = 0;
	ring->in_batch = 0;
}

void dp_fill_addr(const struct dp_ring *ring, struct vhu_vring_addr *ret_addr)
{
	memset(ret_addr, 0, sizeof(*ret_addr));
	ret_addr->index = ring->index;
	ret_addr->desc = drv_mem_uva(&ring->drv->mem, ring->desc_gpa);
	ret_addr->avail = drv_mem_uva(&ring->drv->mem, ring->driver_gpa);
	ret_addr->used = drv_mem_uva(&ring->drv->mem, ring->device_gpa);
	ret_addr->log = ring->device_gpa;
}

void dp_start_ring(struct dp_ring *ring, uint32_t base)
{
	struct drv_ring *lent = &ring->drv->ring[ring->index];
	struct vhu_vring_addr addr;

	dp_fill_addr(ring, &addr);
	drv_do_state(ring->drv, VHU_SET_VRING_NUM, ring->index, ring->num);
	drv_do_state(ring->drv, VHU_SET_VRING_BASE, ring->index, base);
	drv_do(ring->drv, VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
	drv_do_vring_fd(ring->drv, VHU_SET_VRING_KICK, ring->index, lent->kick_fd);
	drv_do_vring_fd(ring->drv, VHU_SET_VRING_CALL, ring->index, lent->call_fd);
}

uint32_t dp_stop_ring(struct dp_ring *ring)
{
	struct vhu_vring_state state = { ring->index, 0 };
	struct vhu_msg reply;

	drv_ask(ring->drv, VHU_GET_VRING_BASE, &state, sizeof(state), &reply);
	assert_int_equal(reply.hdr.size, sizeof(state));
	assert_int_equal(reply.state.index, ring->index);
	return reply.state.num;
}

void dp_start(struct drv *drv, struct dp_ring rings[2], uint32_t num, uint64_t with,
	      uint64_t without)
{
	const uint64_t packed = VHU_MASK(VHU_F_RING_PACKED_BIT);
	const uint64_t in_order = VHU_MASK(VHU_F_IN_ORDER_BIT);
	uint64_t features;

	if (!drv->offered)
		drv_negotiate(drv);
	assert_true(drv->offered & packed);
	without |= VHU_MASK(VHU_F_LOG_ALL_BIT) | (in_order & ~with);
	features = drv->offered & ~without;
	assert_int_equal(features & with, with);
	drv_set_all_features(drv, features);
	drv_set_mem(drv);
	for (unsigned int i = 0; i < 2; i++) {
		if (!rings[i].desc)
			dp_init(&rings[i], drv, i, num);
		rings[i].event_idx = features & VHU_MASK(VHU_F_EVENT_IDX_BIT);
		rings[i].in_order = features & in_order;
		dp_start_ring(&rings[i], DP_FRESH | (uint32_t)DP_FRESH << 16);
		drv_enable_ring(drv, i, true);
	}
	drv_check_in_step(drv);
}

/*
 * ---- Available ----
 */
static uint16_t avail_bits(uint16_t pos)
{
	return pos & DP_WRAP ? DP_AVAIL : DP_USED;
}

void dp_put_raw(struct dp_ring *ring, const struct dp_desc *descs, unsigned int nr)
{
	uint16_t pos = ring->avail;

	for (unsigned int i = 0; i < nr; i++) {
		struct dp_desc *d = &ring->desc[index_of(pos)];

		d->addr = descs[i].addr;
		d->len = descs[i].len;
		d->id = descs[i].id;
		if (i)
			d->flags = descs[i].flags | avail_bits(pos);
		pos = dp_advance(pos, 1, ring->num);
	}
	/* pairs with the device's load of these flags: all descriptors before them */
	__atomic_store_n(&ring->desc[index_of(ring->avail)].flags,
			 (uint16_t)(descs[0].flags | avail_bits(ring->avail)), __ATOMIC_RELEASE);
	ring->avail = pos;
}

static int take_id(struct dp_ring *ring, unsigned int nr, uint32_t token, uint32_t room)
{
	uint16_t id;

	if (!ring->nr_ids || ring->nr_free < nr)
		return -ENOSPC;
	id = ring->free_id[--ring->nr_ids];
	ring->nr_free -= nr;
	ring->nr_chain[id] = (uint16_t)nr;
	ring->token[id] = token;
	ring->room[id] = room;
	ring->fifo[ring->fifo_in++ % ring->num] = id;
	return id;
}

static uint32_t writable(const struct drv_seg *segs, unsigned int nr)
{
	uint32_t sum = 0;

	for (unsigned int i = 0; i < nr; i++)
		sum += segs[i].write ? segs[i].len : 0;
	return sum;
}

int dp_put(struct dp_ring *ring, const struct drv_seg *segs, unsigned int nr, uint32_t token)
{
	struct dp_desc descs[DRV_MAX_SEGS + 1];
	int id = take_id(ring, nr, token, writable(segs, nr));

	if (id < 0)
		return id;
	for (unsigned int i = 0; i < nr; i++) {
		bool last = i + 1 == nr;

		/* the id stands in the last one only, 2.8.6 */
		descs[i] = (struct dp_desc){
			.addr = segs[i].gpa,
			.len = segs[i].len,
			.id = last ? (uint16_t)id : 0xdead,
			.flags = (uint16_t)((segs[i].write ? DRV_DESC_WRITE : 0) |
					    (last ? 0 : DRV_DESC_NEXT)),
		};
	}
	dp_put_raw(ring, descs, nr);
	return id;
}

int dp_put_indirect(struct dp_ring *ring, const struct drv_seg *segs, unsigned int nr,
		    uint32_t token)
{
	int id = take_id(ring, 1, token, writable(segs, nr));
	uint64_t table;

	if (id < 0)
		return id;
	table = ring->table_gpa + (uint64_t)id % 512 * DP_TABLE;
	for (unsigned int i = 0; i < nr; i++) {
		/* whatever stands in a table besides WRITE has no meaning, 2.8.7 */
		struct dp_desc d = {
			.addr = segs[i].gpa,
			.len = segs[i].len,
			.id = 0xbeef,
			.flags = (uint16_t)((segs[i].write ? DRV_DESC_WRITE : 0) |
					    (i % 2 ? DRV_DESC_NEXT | DRV_DESC_INDIRECT : DP_USED)),
		};

		drv_mem_write(&ring->drv->mem, table + i * sizeof(d), &d, sizeof(d));
	}
	dp_put_raw(ring,
		   &(struct dp_desc){ table, nr * (uint32_t)sizeof(struct dp_desc), (uint16_t)id,
				      DRV_DESC_INDIRECT },
		   1);
	return id;
}

/*
 * ---- Used ----
 */
bool dp_has_used(const struct dp_ring *ring)
{
	/* pairs with the device's store to these flags: id, length and buffers before them */
	uint16_t flags = __atomic_load_n(&ring->desc[index_of(ring->used)].flags, __ATOMIC_ACQUIRE);
	uint16_t want = ring->used & DP_WRAP ? DP_AVAIL | DP_USED : 0;

	return ring->in_batch ||
	       (ring->nr_free < ring->num && (flags & (DP_AVAIL | DP_USED)) == want);
}

void dp_skip_used(struct dp_ring *ring, unsigned int nr)
{
	ring->used = dp_advance(ring->used, nr, ring->num);
}

struct dp_desc dp_at(const struct dp_ring *ring, uint16_t pos)
{
	return ring->desc[index_of(pos)];
}

static void give_back(struct dp_ring *ring, uint16_t id, uint32_t *ret_token)
{
	dp_skip_used(ring, ring->nr_chain[id]);
	ring->nr_free += ring->nr_chain[id];
	ring->nr_chain[id] = 0;
	ring->free_id[ring->nr_ids++] = id;
	ring->fifo_out++;
	*ret_token = ring->token[id];
}

int dp_pop(struct dp_ring *ring, uint32_t *ret_token, uint32_t *ret_len)
{
	uint16_t next = ring->fifo[ring->fifo_out % ring->num];
	struct dp_desc d;

	if (!dp_has_used(ring))
		return 0;
	if (!ring->in_batch) {
		d = dp_at(ring, ring->used);
		if (d.id >= ring->num || !ring->nr_chain[d.id])
			return -EPROTO;
		/* without WRITE the length has no meaning, 2.8.4 */
		*ret_len = d.flags & DRV_DESC_WRITE ? d.len : 0;
		if (*ret_len > ring->room[d.id])
			return -EPROTO;
		/* this library completes in the order of available, agreed or not */
		ring->in_batch = 1;
		while (ring->fifo[(ring->fifo_out + ring->in_batch - 1) % ring->num] != d.id)
			ring->in_batch++;
		if (ring->in_batch > 1 && !ring->in_order)
			return -EPROTO;
	} else {
		*ret_len = 0;
	}
	ring->in_batch--;
	give_back(ring, next, ret_token);
	return 1;
}

/*
 * ---- Notification ----
 */
void dp_kick_always(struct dp_ring *ring)
{
	uint64_t one = 1;

	ring->kicked = ring->avail;
	ring->kicks++;
	assert_int_equal(write(ring->drv->ring[ring->index].kick_fd, &one, sizeof(one)),
			 sizeof(one));
}

uint32_t dp_device_event(const struct dp_ring *ring)
{
	return __atomic_load_n(ring->device, __ATOMIC_RELAXED);
}

bool dp_kick(struct dp_ring *ring)
{
	uint16_t old = ring->kicked;
	uint32_t event;
	bool wanted;

	/* pairs with the device's fence between arming and looking again */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	event = dp_device_event(ring);
	wanted = event >> 16 == DP_ENABLE;
	if (event >> 16 == DP_DESC) {
		/* step by step, so that nothing is reckoned as the device reckons it */
		for (uint16_t pos = old; pos != ring->avail; pos = dp_advance(pos, 1, ring->num))
			wanted |= pos == (uint16_t)event;
	}
	ring->kicked = ring->avail;
	if (!wanted) {
		ring->kicks_saved++;
		return false;
	}
	dp_kick_always(ring);
	return true;
}

void dp_set_event(struct dp_ring *ring, uint16_t off_wrap, uint16_t flags)
{
	__atomic_store_n(ring->driver, (uint32_t)flags << 16 | off_wrap, __ATOMIC_RELAXED);
	/* pairs with the device's fence between publishing and looking whether to call */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void dp_want_calls(struct dp_ring *ring, bool want)
{
	if (!want)
		dp_set_event(ring, 0, DP_DISABLE);
	else if (ring->event_idx)
		dp_set_event(ring, ring->used, DP_DESC);
	else
		dp_set_event(ring, 0, DP_ENABLE);
}

uint64_t dp_calls(struct dp_ring *ring)
{
	return drv_ring_calls(&ring->drv->ring[ring->index]);
}

/*
 * ---- Frames ----
 */
int dp_net_add(struct dp_ring *ring, const void *frame, size_t len, const struct drv_layout *layout)
{
	unsigned int hdr_size = drv_net_hdr_size(ring->drv), nr = 0;
	uint8_t bytes[DP_BUF] = { 0 };
	struct drv_seg segs[DRV_MAX_SEGS + 1];
	size_t total = hdr_size + len, at = 0;
	uint16_t id;

	if (!ring->nr_ids)
		return -ENOSPC;
	assert_true(total <= sizeof(bytes));
	memcpy(bytes + hdr_size, frame, len);
	id = ring->free_id[ring->nr_ids - 1];
	uint64_t gpa = ring->buf_gpa + (uint64_t)id % 512 * DP_BUF;

	for (unsigned int i = 0; layout && i < layout->nr && total - at > layout->cut[i]; i++) {
		segs[nr++] = (struct drv_seg){ gpa + at, layout->cut[i], false };
		at += layout->cut[i];
	}
	segs[nr++] = (struct drv_seg){ gpa + at, (uint32_t)(total - at), false };
	if (ring->nr_free < (layout && layout->indirect ? 1 : nr))
		return -ENOSPC;
	drv_mem_write(&ring->drv->mem, gpa, bytes, total);
	if (layout && layout->indirect)
		return dp_put_indirect(ring, segs, nr, id);
	return dp_put(ring, segs, nr, id);
}

unsigned int dp_net_reap(struct dp_ring *ring)
{
	uint32_t token, len;
	unsigned int nr = 0;
	int ret;

	while ((ret = dp_pop(ring, &token, &len)) > 0) {
		assert_int_equal(len, 0);
		nr++;
	}
	assert_int_equal(ret, 0);
	return nr;
}

unsigned int dp_net_fill(struct dp_ring *ring, unsigned int max, uint32_t size)
{
	unsigned int nr = 0;

	while (nr < max && ring->nr_ids) {
		uint16_t id = ring->free_id[ring->nr_ids - 1];
		struct drv_seg seg = { ring->buf_gpa + (uint64_t)id % 512 * DP_BUF, size, true };

		if (dp_put(ring, &seg, 1, id) < 0)
			break;
		nr++;
	}
	dp_kick(ring);
	return nr;
}

int dp_net_receive(struct dp_ring *ring, uint8_t *frame, size_t room, size_t *ret_len)
{
	unsigned int hdr_size = drv_net_hdr_size(ring->drv), nr = 1;
	struct drv_net_hdr hdr = { 0 };
	size_t at = 0;

	for (unsigned int i = 0; i < nr; i++) {
		uint32_t id, len, skip = i ? 0 : hdr_size;
		int ret = dp_pop(ring, &id, &len);

		if (ret <= 0)
			return ret || !i ? ret : -EBADMSG; /* a part of a frame was published */
		uint64_t gpa = ring->buf_gpa + (uint64_t)id % 512 * DP_BUF;

		if (len < skip || len - skip > room - at)
			return -EMSGSIZE;
		if (!i) {
			drv_mem_read(&ring->drv->mem, gpa, &hdr, hdr_size);
			nr = hdr.num_buffers;
		}
		drv_mem_read(&ring->drv->mem, gpa + skip, frame + at, len - skip);
		at += len - skip;
	}
	*ret_len = at;
	return 1;
}
