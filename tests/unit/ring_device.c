/* SPDX-License-Identifier: MIT */
#include "ring_device.h"

#include <string.h>

enum {
	NEXT = 1,
	WRITE = 2,
	INDIRECT = 4,
	PACKED_AVAIL = 1 << 7,
	PACKED_USED = 1 << 15,
};

uint16_t rdev_get16(const uint8_t *area, uint64_t off)
{
	return __atomic_load_n((const uint16_t *)(const void *)(area + off), __ATOMIC_ACQUIRE);
}

void rdev_set16(uint8_t *area, uint64_t off, uint16_t value)
{
	__atomic_store_n((uint16_t *)(void *)(area + off), value, __ATOMIC_RELEASE);
}

uint32_t rdev_get32(const uint8_t *area, uint64_t off)
{
	return __atomic_load_n((const uint32_t *)(const void *)(area + off), __ATOMIC_ACQUIRE);
}

void rdev_set32(uint8_t *area, uint64_t off, uint32_t value)
{
	__atomic_store_n((uint32_t *)(void *)(area + off), value, __ATOMIC_RELEASE);
}

uint64_t rdev_get64(const uint8_t *area, uint64_t off)
{
	return __atomic_load_n((const uint64_t *)(const void *)(area + off), __ATOMIC_ACQUIRE);
}

uint32_t rdev_random(uint64_t *state, uint32_t below)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((*state >> 33) % below);
}

static bool has(uint64_t features, unsigned int bit)
{
	return features >> bit & 1;
}

void rdev_init(struct rdev *dev, const struct vhu_memory *memory, const struct vhu_driver *driver)
{
	const uint64_t features = vhu_driver_features(driver);
	struct vhu_ring_addr addr;
	uint64_t n;

	memset(dev, 0, sizeof(*dev));
	vhu_driver_addr(driver, &addr);
	dev->memory = memory;
	dev->num = vhu_driver_num(driver);
	dev->packed = has(features, VHU_F_RING_PACKED_BIT);
	dev->event_idx = has(features, VHU_F_EVENT_IDX_BIT);
	dev->in_order = has(features, VHU_F_IN_ORDER_BIT);
	n = dev->num;
	/* 2.7 and 2.8.10: sizes and alignments, as a backend has to translate them */
	assert_int_equal(addr.desc_gpa % 16, 0);
	assert_int_equal(addr.avail_gpa % (dev->packed ? 4 : 2), 0);
	assert_int_equal(addr.used_gpa % 4, 0);
	dev->desc = vhu_memory_ptr(memory, addr.desc_gpa, 16 * n);
	dev->avail = vhu_memory_ptr(memory, addr.avail_gpa, dev->packed ? 4 : 6 + 2 * n);
	dev->used = vhu_memory_ptr(memory, addr.used_gpa, dev->packed ? 4 : 6 + 8 * n);
	assert_non_null(dev->desc);
	assert_non_null(dev->avail);
	assert_non_null(dev->used);
	rdev_start(dev, dev->packed ? 0x80008000u : 0);
}

void rdev_start(struct rdev *dev, uint32_t base)
{
	dev->nr_hidden = 0;
	if (dev->packed) {
		dev->next_avail = base & 0x7fff;
		dev->avail_wrap = base >> 15 & 1;
		dev->next_used = base >> 16 & 0x7fff;
		dev->used_wrap = base >> 31;
		assert_true(dev->next_avail < dev->num && dev->next_used < dev->num);
	} else {
		dev->next_avail = base;
		dev->next_used = rdev_get16(dev->used, 2);
		dev->shown = dev->next_used;
	}
	rdev_set_kicks(dev, false);
}

static bool packed_is_avail(const struct rdev *dev, uint32_t at, bool wrap)
{
	uint16_t flags = rdev_get16(dev->desc, 16ull * at + 14);

	return !!(flags & PACKED_AVAIL) == wrap && !!(flags & PACKED_USED) != wrap;
}

bool rdev_has_avail(const struct rdev *dev)
{
	if (dev->packed)
		return packed_is_avail(dev, dev->next_avail, dev->avail_wrap);
	return rdev_get16(dev->avail, 2) != (uint16_t)dev->next_avail;
}

static void add_piece(struct rdev_chain *chain, uint64_t gpa, uint32_t len, bool write)
{
	assert_true(chain->nr < RDEV_PIECES);
	/* 2.7.4.2: what the device writes comes last */
	if (chain->nr && chain->piece[chain->nr - 1].write)
		assert_true(write);
	chain->piece[chain->nr++] = (struct rdev_piece){ .gpa = gpa, .len = len, .write = write };
	if (write)
		chain->write_len += len;
}

/* 2.7.5.3 and 2.8.7 */
static void walk_table(const struct rdev *dev, uint64_t gpa, uint32_t len, struct rdev_chain *chain)
{
	const uint8_t *table = vhu_memory_ptr(dev->memory, gpa, len);
	uint32_t i = 0, nr = len / 16;

	chain->indirect = true;
	assert_non_null(table);
	assert_true(nr >= 2 && len % 16 == 0 && nr <= dev->num);
	for (;;) {
		const uint64_t off = 16ull * i;
		uint16_t flags = rdev_get16(table, off + (dev->packed ? 14 : 12));

		assert_int_equal(flags & ~(dev->packed ? WRITE : WRITE | NEXT), 0);
		add_piece(chain, rdev_get64(table, off), rdev_get32(table, off + 8), flags & WRITE);
		if (dev->packed ? i + 1 == nr : !(flags & NEXT))
			break;
		i = dev->packed ? i + 1 : rdev_get16(table, off + 14);
		assert_true(i < nr);
	}
	assert_int_equal(chain->nr, nr);
}

static bool split_pop(struct rdev *dev, struct rdev_chain *chain)
{
	const uint32_t slot = dev->next_avail & (dev->num - 1);
	uint16_t at = rdev_get16(dev->avail, 4 + 2ull * slot), flags;

	chain->id = at;
	do {
		const uint64_t off = 16ull * at;

		assert_true(at < dev->num && chain->entries < dev->num);
		flags = rdev_get16(dev->desc, off + 12);
		chain->entries++;
		if (flags & INDIRECT) {
			assert_int_equal(flags, INDIRECT);
			walk_table(dev, rdev_get64(dev->desc, off), rdev_get32(dev->desc, off + 8),
				   chain);
			break;
		}
		assert_int_equal(flags & ~(NEXT | WRITE), 0);
		add_piece(chain, rdev_get64(dev->desc, off), rdev_get32(dev->desc, off + 8),
			  flags & WRITE);
		if (flags & NEXT) {
			const uint16_t next = rdev_get16(dev->desc, off + 14);

			/* 2.7.5.2 */
			if (dev->in_order)
				assert_int_equal(next, at + 1u == dev->num ? 0 : at + 1);
			at = next;
		}
	} while (flags & NEXT);
	dev->next_avail = (uint16_t)(dev->next_avail + 1);
	return true;
}

static bool packed_pop(struct rdev *dev, struct rdev_chain *chain)
{
	uint16_t flags;

	do {
		const uint64_t off = 16ull * dev->next_avail;

		/* 2.8.6: once the first is available, all of the chain are */
		assert_true(packed_is_avail(dev, dev->next_avail, dev->avail_wrap));
		assert_true(chain->entries < dev->num);
		flags = rdev_get16(dev->desc, off + 14) & (uint16_t) ~(PACKED_AVAIL | PACKED_USED);
		chain->entries++;
		chain->id = rdev_get16(dev->desc, off + 12);
		if (flags & INDIRECT) {
			assert_int_equal(flags, INDIRECT);
			walk_table(dev, rdev_get64(dev->desc, off), rdev_get32(dev->desc, off + 8),
				   chain);
		} else {
			assert_int_equal(flags & ~(NEXT | WRITE), 0);
			add_piece(chain, rdev_get64(dev->desc, off), rdev_get32(dev->desc, off + 8),
				  flags & WRITE);
		}
		if (++dev->next_avail == dev->num) {
			dev->next_avail = 0;
			dev->avail_wrap = !dev->avail_wrap;
		}
	} while (flags & NEXT);
	return true;
}

bool rdev_pop(struct rdev *dev, struct rdev_chain *ret_chain)
{
	ret_chain->nr = 0;
	ret_chain->entries = 0;
	ret_chain->write_len = 0;
	ret_chain->indirect = false;
	if (!rdev_has_avail(dev))
		return false;
	return dev->packed ? packed_pop(dev, ret_chain) : split_pop(dev, ret_chain);
}

void rdev_push(struct rdev *dev, uint32_t id, uint32_t len, uint32_t nr, uint32_t entries)
{
	uint64_t off;
	uint16_t flags;

	if (!dev->packed) {
		off = 4 + 8ull * (dev->next_used & (dev->num - 1));
		rdev_set32(dev->used, off, id);
		rdev_set32(dev->used, off + 4, len);
		dev->next_used = (uint16_t)(dev->next_used + nr);
		dev->nr_hidden += nr;
		return;
	}
	off = 16ull * dev->next_used;
	flags = dev->used_wrap ? PACKED_AVAIL | PACKED_USED : 0;
	/* 2.8.4: with no byte written there is no WRITE, and the length may be anything */
	if (len)
		flags |= WRITE;
	rdev_set32(dev->desc, off + 8, len ? len : 0xdeadbeef);
	rdev_set16(dev->desc, off + 12, (uint16_t)id);
	if (!dev->nr_hidden) {
		dev->shown = dev->next_used;
		dev->shown_wrap = dev->used_wrap;
		dev->withheld = flags;
	} else {
		rdev_set16(dev->desc, off + 14, flags);
	}
	dev->nr_hidden += entries;
	dev->next_used += entries;
	if (dev->next_used >= dev->num) {
		dev->next_used -= dev->num;
		dev->used_wrap = !dev->used_wrap;
	}
}

bool rdev_publish(struct rdev *dev)
{
	uint16_t old = (uint16_t)dev->shown, now = (uint16_t)dev->next_used, event;
	uint32_t nr = dev->nr_hidden, at = dev->shown, word;

	if (!nr)
		return false;
	dev->nr_hidden = 0;
	if (dev->packed) {
		rdev_set16(dev->desc, 16ull * dev->shown + 14, dev->withheld);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		word = rdev_get32(dev->avail, 0);
		if (word >> 16 != 2)
			return word >> 16 == 0;
		assert_true(dev->event_idx);
		for (uint32_t i = 0; i < nr; i++) {
			if ((word & 0x7fff) == at && !!(word & 0x8000) == dev->shown_wrap)
				return true;
			if (++at == dev->num) {
				at = 0;
				dev->shown_wrap = !dev->shown_wrap;
			}
		}
		return false;
	}
	rdev_set16(dev->used, 2, now);
	dev->shown = now;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!dev->event_idx)
		return !(rdev_get16(dev->avail, 0) & 1);
	/* 2.7.7.1: the flags are 0 with EVENT_IDX */
	assert_int_equal(rdev_get16(dev->avail, 0), 0);
	event = rdev_get16(dev->avail, 4 + 2ull * dev->num);
	for (uint32_t i = 0; i < nr; i++)
		if ((uint16_t)(old + i) == event)
			return true;
	return false;
}

void rdev_set_kicks(struct rdev *dev, bool wanted)
{
	if (dev->packed) {
		uint32_t word = 1u << 16;

		if (wanted && dev->event_idx)
			word = 2u << 16 | (dev->avail_wrap ? 0x8000u : 0) | dev->next_avail;
		else if (wanted)
			word = 0;
		rdev_set32(dev->used, 0, word);
	} else if (dev->event_idx) {
		rdev_set16(dev->used, 4 + 8ull * dev->num, (uint16_t)(dev->next_avail - !wanted));
	} else {
		rdev_set16(dev->used, 0, !wanted);
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}
