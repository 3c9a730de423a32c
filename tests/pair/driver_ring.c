/* SPDX-License-Identifier: MIT */
/* The driver's side of a split ring as virtio 1.2, 2.7 has it; knows nothing of frames or messages. */
#include <sys/eventfd.h>
#include <unistd.h>

#include "driver.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpragmas"
/* The detector does not model fences; every access it has to judge here has its own order. */
#pragma GCC diagnostic ignored "-Wtsan"
#endif

/* avail: flags, idx, ring[num], used_event. used: flags, idx, elements of 8 bytes, avail_event. */
enum {
	FLAGS = 0,
	IDX = 1,
	RING = 2
};

static uint16_t load_relaxed(const uint16_t *at)
{
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

static void store_relaxed(uint16_t *at, uint16_t value)
{
	__atomic_store_n(at, value, __ATOMIC_RELAXED);
}

static uint16_t *used_event(const struct drv_ring *ring)
{
	return &ring->avail[RING + ring->num];
}

static uint16_t *avail_event(const struct drv_ring *ring)
{
	return &ring->used[RING + 4 * ring->num];
}

void drv_ring_init(struct drv_ring *ring, struct drv_mem *mem, unsigned int num,
		   unsigned int region)
{
	memset(ring, 0, sizeof(*ring));
	ring->mem = mem;
	ring->num = num;
	ring->desc_gpa = drv_mem_alloc(mem, region, sizeof(struct drv_desc) * num, 16);
	ring->avail_gpa = drv_mem_alloc(mem, region, 6 + 2 * (uint64_t)num, 2);
	ring->used_gpa = drv_mem_alloc(mem, region, 6 + 8 * (uint64_t)num, 4);
	ring->desc = drv_mem_ptr(mem, ring->desc_gpa);
	ring->avail = drv_mem_ptr(mem, ring->avail_gpa);
	ring->used = drv_mem_ptr(mem, ring->used_gpa);
	ring->next = calloc(num, sizeof(*ring->next));
	ring->nr_chain = calloc(num, sizeof(*ring->nr_chain));
	ring->room = calloc(num, sizeof(*ring->room));
	ring->token = calloc(num, sizeof(*ring->token));
	assert_true(ring->next && ring->nr_chain && ring->room && ring->token);
	ring->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ring->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ring->err_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(ring->kick_fd >= 0 && ring->call_fd >= 0 && ring->err_fd >= 0);
	drv_ring_reset(ring);
}

void drv_ring_reset(struct drv_ring *ring)
{
	memset(ring->desc, 0, sizeof(struct drv_desc) * ring->num);
	memset(ring->avail, 0, 6 + 2 * (size_t)ring->num);
	memset(ring->used, 0, 6 + 8 * (size_t)ring->num);
	memset(ring->nr_chain, 0, ring->num * sizeof(*ring->nr_chain));
	for (unsigned int i = 0; i < ring->num; i++)
		ring->next[i] = (uint16_t)(i + 1);
	ring->nr_free = (uint16_t)ring->num;
	ring->free_head = 0;
	ring->avail_idx = 0;
	ring->published = 0;
	ring->used_idx = 0;
	ring->nr_free_slots = ring->nr_slots;
	for (unsigned int i = 0; i < ring->nr_slots; i++)
		ring->free_slot[i] = ring->nr_slots - 1 - i;
}

void drv_ring_slots(struct drv_ring *ring, unsigned int nr_slots, uint32_t slot_size)
{
	ring->nr_slots = nr_slots;
	ring->slot_size = slot_size;
	ring->slots_gpa = drv_mem_alloc(ring->mem, 0, (uint64_t)nr_slots * slot_size, 64);
	ring->indirect_gpa = drv_mem_alloc(
		ring->mem, 0, (uint64_t)nr_slots * DRV_MAX_SEGS * sizeof(struct drv_desc), 16);
	ring->free_slot = calloc(nr_slots, sizeof(*ring->free_slot));
	assert_non_null(ring->free_slot);
	ring->nr_free_slots = nr_slots;
	for (unsigned int i = 0; i < nr_slots; i++)
		ring->free_slot[i] = nr_slots - 1 - i;
}

void drv_ring_free(struct drv_ring *ring)
{
	free(ring->next);
	free(ring->nr_chain);
	free(ring->room);
	free(ring->token);
	free(ring->free_slot);
	if (ring->kick_fd >= 0)
		close(ring->kick_fd);
	if (ring->call_fd >= 0)
		close(ring->call_fd);
	if (ring->err_fd >= 0)
		close(ring->err_fd);
}

void drv_ring_add_head(struct drv_ring *ring, uint16_t head)
{
	/* Plain in Linux; ordered by the index that is published behind it. */
	ring->avail[RING + (ring->avail_idx & (ring->num - 1))] = head;
	ring->avail_idx++;
}

static void fill_desc(struct drv_desc *desc, const struct drv_seg *seg, bool last, uint16_t next)
{
	desc->addr = seg->gpa;
	desc->len = seg->len;
	desc->flags = (uint16_t)((seg->write ? DRV_DESC_WRITE : 0) | (last ? 0 : DRV_DESC_NEXT));
	desc->next = last ? 0 : next;
}

static uint32_t writable(const struct drv_seg *segs, unsigned int nr)
{
	uint32_t sum = 0;

	for (unsigned int i = 0; i < nr; i++)
		sum += segs[i].write ? segs[i].len : 0;
	return sum;
}

int drv_ring_add(struct drv_ring *ring, const struct drv_seg *segs, unsigned int nr, uint32_t token)
{
	uint16_t head = ring->free_head;
	uint16_t at = head;

	if (nr == 0 || nr > ring->nr_free)
		return -ENOSPC;
	for (unsigned int i = 0; i < nr; i++) {
		uint16_t next = ring->next[at];

		fill_desc(&ring->desc[at], &segs[i], i + 1 == nr, next);
		at = next;
	}
	ring->free_head = at;
	ring->nr_free = (uint16_t)(ring->nr_free - nr);
	ring->nr_chain[head] = (uint16_t)nr;
	ring->room[head] = writable(segs, nr);
	ring->token[head] = token;
	drv_ring_add_head(ring, head);
	return head;
}

int drv_ring_add_indirect(struct drv_ring *ring, const struct drv_seg *segs, unsigned int nr,
			  uint64_t table_gpa, uint32_t token)
{
	uint16_t head = ring->free_head;
	struct drv_desc desc;

	if (ring->nr_free == 0)
		return -ENOSPC;
	for (unsigned int i = 0; i < nr; i++) {
		fill_desc(&desc, &segs[i], i + 1 == nr, (uint16_t)(i + 1));
		drv_mem_write(ring->mem, table_gpa + i * sizeof(desc), &desc, sizeof(desc));
	}
	ring->desc[head].addr = table_gpa;
	ring->desc[head].len = (uint32_t)(nr * sizeof(desc));
	ring->desc[head].flags = DRV_DESC_INDIRECT;
	ring->desc[head].next = 0;
	ring->free_head = ring->next[head];
	ring->nr_free--;
	ring->nr_chain[head] = 1;
	ring->room[head] = writable(segs, nr);
	ring->token[head] = token;
	drv_ring_add_head(ring, head);
	return head;
}

void drv_ring_publish(struct drv_ring *ring)
{
	/* pairs with the device's load of avail->idx: descriptors and entries before the index */
	__atomic_store_n(&ring->avail[IDX], ring->avail_idx, __ATOMIC_RELEASE);
}

void drv_ring_kick_always(struct drv_ring *ring)
{
	uint64_t one = 1;

	drv_ring_publish(ring);
	ring->published = ring->avail_idx;
	ring->kicks++;
	assert_int_equal(write(ring->kick_fd, &one, sizeof(one)), sizeof(one));
}

bool drv_ring_kick(struct drv_ring *ring)
{
	uint16_t old = ring->published;
	bool wanted;

	if (ring->kick_anyway) {
		drv_ring_kick_always(ring);
		return true;
	}
	drv_ring_publish(ring);
	/* pairs with the device's fence between arming and looking again */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (ring->event_idx) {
		uint16_t event = load_relaxed(avail_event(ring));

		wanted =
			(uint16_t)(ring->avail_idx - event - 1) < (uint16_t)(ring->avail_idx - old);
	} else {
		wanted = !(load_relaxed(&ring->used[FLAGS]) & DRV_USED_NO_NOTIFY);
	}
	ring->published = ring->avail_idx;
	if (!wanted) {
		ring->kicks_saved++;
		return false;
	}
	drv_ring_kick_always(ring);
	return true;
}

uint16_t drv_ring_used_idx(const struct drv_ring *ring)
{
	/* pairs with the device's store to used->idx: entries and buffers before the index */
	return __atomic_load_n(&ring->used[IDX], __ATOMIC_ACQUIRE);
}

bool drv_ring_has_used(const struct drv_ring *ring)
{
	return drv_ring_used_idx(ring) != ring->used_idx;
}

struct drv_used_elem drv_ring_used_elem(const struct drv_ring *ring, uint16_t idx)
{
	struct drv_used_elem elem;

	memcpy(&elem, &ring->used[RING + 4 * (idx & (ring->num - 1))], sizeof(elem));
	return elem;
}

int drv_ring_pop_used(struct drv_ring *ring, uint32_t *ret_token, uint32_t *ret_len)
{
	struct drv_used_elem elem;
	uint16_t last;

	if (!drv_ring_has_used(ring))
		return 0;
	if ((uint16_t)(drv_ring_used_idx(ring) - ring->used_idx) > ring->num)
		return -EPROTO;
	elem = drv_ring_used_elem(ring, ring->used_idx);
	if (elem.id >= ring->num || ring->nr_chain[elem.id] == 0 || elem.len > ring->room[elem.id])
		return -EPROTO;
	ring->used_idx++;
	last = (uint16_t)elem.id;
	for (unsigned int i = 1; i < ring->nr_chain[elem.id]; i++)
		last = ring->next[last];
	ring->next[last] = ring->free_head;
	ring->free_head = (uint16_t)elem.id;
	ring->nr_free = (uint16_t)(ring->nr_free + ring->nr_chain[elem.id]);
	ring->nr_chain[elem.id] = 0;
	*ret_token = ring->token[elem.id];
	*ret_len = elem.len;
	return 1;
}

void drv_ring_set_used_event(struct drv_ring *ring, uint16_t idx)
{
	store_relaxed(used_event(ring), idx);
	/* pairs with the device's fence between publishing and looking whether to call */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void drv_ring_want_calls(struct drv_ring *ring, bool want)
{
	store_relaxed(&ring->avail[FLAGS], want ? 0 : DRV_AVAIL_NO_INTERRUPT);
	/* Silence by event index: an event that is far away, as Linux does it. */
	drv_ring_set_used_event(ring, (uint16_t)(want ? ring->used_idx : ring->used_idx + 0x8000));
}

uint16_t drv_ring_avail_event(const struct drv_ring *ring)
{
	return load_relaxed(avail_event(ring));
}

uint16_t drv_ring_used_flags(const struct drv_ring *ring)
{
	return load_relaxed(&ring->used[FLAGS]);
}

uint64_t drv_ring_calls(struct drv_ring *ring)
{
	uint64_t count = 0;

	if (read(ring->call_fd, &count, sizeof(count)) != sizeof(count))
		return 0;
	return count;
}
