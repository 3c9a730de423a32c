/* SPDX-License-Identifier: MIT */
/* Frames of the test driver with their virtio-net headers; what they mean is not known here. */
#include "driver.h"

enum {
	GAP = 24, /* unused bytes between the pieces of a frame: nobody may touch them */
};

unsigned int drv_net_hdr_size(const struct drv *drv)
{
	uint64_t bits = VHU_MASK(VHU_F_VERSION_1_BIT) | VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT);

	return drv->features & bits ? 12 : 10;
}

/* Sizes of the pieces of total bytes; the number of them. */
static unsigned int cut_up(const struct drv_layout *layout, size_t total, uint32_t *ret_cut)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; layout && i < layout->nr && total > layout->cut[i]; i++) {
		ret_cut[nr++] = layout->cut[i];
		total -= layout->cut[i];
	}
	if (total)
		ret_cut[nr++] = (uint32_t)total;
	return nr;
}

int drv_net_add(struct drv *drv, unsigned int ring_index, const void *frame, size_t len,
		const struct drv_layout *layout)
{
	static uint8_t bytes[(1 << 17) + sizeof(struct drv_net_hdr)];
	struct drv_ring *ring = &drv->ring[ring_index];
	unsigned int hdr_size = drv_net_hdr_size(drv);
	uint32_t cut[DRV_MAX_SEGS + 1];
	struct drv_seg segs[DRV_MAX_SEGS + 1];
	size_t total = hdr_size + len;
	int head;

	assert_true(total <= sizeof(bytes));
	if (ring->nr_free_slots == 0)
		return -ENOSPC;
	memset(bytes, 0, hdr_size);
	if (layout && layout->hdr)
		memcpy(bytes, layout->hdr, hdr_size);
	memcpy(bytes + hdr_size, frame, len);

	unsigned int nr = cut_up(layout, total, cut);
	uint32_t slot = ring->free_slot[ring->nr_free_slots - 1];
	uint64_t gpa = ring->slots_gpa + (uint64_t)slot * ring->slot_size;
	size_t at = 0;

	assert_true(total + nr * GAP <= ring->slot_size);
	for (unsigned int i = 0; i < nr; i++) {
		segs[i] = (struct drv_seg){ gpa, cut[i], false };
		drv_mem_write(&drv->mem, gpa, bytes + at, cut[i]);
		at += cut[i];
		gpa += cut[i] + GAP;
	}
	if (layout && layout->indirect)
		head = drv_ring_add_indirect(
			ring, segs, nr,
			ring->indirect_gpa + slot * (DRV_MAX_SEGS * sizeof(struct drv_desc)), slot);
	else
		head = drv_ring_add(ring, segs, nr, slot);
	if (head >= 0)
		ring->nr_free_slots--;
	return head;
}

void drv_net_send(struct drv *drv, unsigned int ring, const void *frame, size_t len)
{
	assert_true(drv_net_add(drv, ring, frame, len, NULL) >= 0);
	drv_ring_kick(&drv->ring[ring]);
}

unsigned int drv_net_reap(struct drv *drv, unsigned int ring_index)
{
	struct drv_ring *ring = &drv->ring[ring_index];
	unsigned int nr = 0;
	uint32_t slot, len;
	int ret;

	while ((ret = drv_ring_pop_used(ring, &slot, &len)) > 0) {
		/* A transmitted chain has nothing writable. */
		assert_int_equal(len, 0);
		ring->free_slot[ring->nr_free_slots++] = slot;
		nr++;
	}
	assert_int_equal(ret, 0);
	return nr;
}

unsigned int drv_net_fill(struct drv *drv, unsigned int ring_index, unsigned int max)
{
	struct drv_ring *ring = &drv->ring[ring_index];
	unsigned int nr = 0;

	while (nr < max && ring->nr_free_slots > 0) {
		uint32_t slot = ring->free_slot[ring->nr_free_slots - 1];
		struct drv_seg seg = { ring->slots_gpa + (uint64_t)slot * ring->slot_size,
				       ring->slot_size, true };

		if (drv_ring_add(ring, &seg, 1, slot) < 0)
			break;
		ring->nr_free_slots--;
		nr++;
	}
	drv_ring_kick(ring);
	return nr;
}

int drv_net_receive(struct drv *drv, unsigned int ring_index, uint8_t *frame, size_t room,
		    size_t *ret_len, struct drv_net_hdr *ret_hdr)
{
	struct drv_ring *ring = &drv->ring[ring_index];
	unsigned int hdr_size = drv_net_hdr_size(drv);
	bool mergeable = drv->features & VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT);
	struct drv_net_hdr hdr = { 0 };
	unsigned int nr_buffers = 1;
	size_t at = 0;

	for (unsigned int i = 0; i < nr_buffers; i++) {
		uint32_t slot, len;
		uint32_t skip = i == 0 ? hdr_size : 0;
		int ret = drv_ring_pop_used(ring, &slot, &len);

		if (ret == 0)
			return i == 0 ? 0 : -EBADMSG; /* a part of a frame was published */
		if (ret < 0)
			return ret;
		uint64_t gpa = ring->slots_gpa + (uint64_t)slot * ring->slot_size;

		ring->free_slot[ring->nr_free_slots++] = slot;
		if (len < skip || len > ring->slot_size || len - skip > room - at)
			return -EMSGSIZE;
		if (i == 0) {
			drv_mem_read(&drv->mem, gpa, &hdr, hdr_size);
			/* virtio 1.2, 5.1.6.4: 1 unless buffers were merged */
			if (hdr_size == 12 &&
			    (hdr.num_buffers == 0 || (!mergeable && hdr.num_buffers != 1)))
				return -ENOMSG;
			nr_buffers = mergeable ? hdr.num_buffers : 1;
		}
		drv_mem_read(&drv->mem, gpa + skip, frame + at, len - skip);
		at += len - skip;
	}
	*ret_len = at;
	if (ret_hdr)
		*ret_hdr = hdr;
	return 1;
}

static uint32_t mix(uint32_t x)
{
	x ^= x >> 16;
	x *= UINT32_C(0x7feb352d);
	x ^= x >> 15;
	x *= UINT32_C(0x846ca68b);
	return x ^ x >> 16;
}

void drv_net_make(uint8_t *frame, size_t len, uint32_t number)
{
	static const uint8_t start[14] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5 };
	uint32_t word = mix(number + 1);

	for (size_t i = 0; i < len; i++) {
		if (i % 4 == 0)
			word = word * 1664525 + 1013904223;
		frame[i] = i < sizeof(start) ? start[i] : (uint8_t)(word >> (8 * (i % 4)));
	}
	if (len >= sizeof(start) + 4)
		memcpy(frame + sizeof(start), &number, 4);
}

bool drv_net_verify(const uint8_t *frame, size_t len, uint32_t number)
{
	static uint8_t want[1 << 17];

	assert_true(len <= sizeof(want));
	drv_net_make(want, len, number);
	return memcmp(frame, want, len) == 0;
}

void drv_net_echo(struct drv *drv, unsigned int tx_ring, uint32_t first, unsigned int nr)
{
	unsigned int rx_ring = tx_ring - 1;
	uint8_t frame[1514], back[4096];
	size_t len;
	int ret;

	drv_net_fill(drv, rx_ring, drv->ring[rx_ring].num);
	for (unsigned int i = 0; i < nr; i++) {
		size_t size = 60 + (first + i) * 37 % (sizeof(frame) - 60);

		drv_net_make(frame, size, first + i);
		drv_net_send(drv, tx_ring, frame, size);
		assert_true(check_until(drv->pump(drv->pump_arg),
					drv_ring_has_used(&drv->ring[rx_ring])));
		ret = drv_net_receive(drv, rx_ring, back, sizeof(back), &len, NULL);
		assert_int_equal(ret, 1);
		assert_int_equal(len, size);
		assert_true(drv_net_verify(back, len, first + i));
		assert_true(check_until(drv->pump(drv->pump_arg),
					drv_ring_has_used(&drv->ring[tx_ring])));
		assert_int_equal(drv_net_reap(drv, tx_ring), 1);
		drv_net_fill(drv, rx_ring, drv->ring[rx_ring].num);
	}
}
