/* SPDX-License-Identifier: MIT */
/*
 * The in-flight region: made, adopted, judged, forgotten; and what both layouts of a ring's record
 * have in common. Knows nothing of messages, nor of what a chain carries.
 */
#include <ring/inflight.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <base/fd.h>

typedef unsigned long long ull; /* for printing */

_Static_assert(sizeof(struct vhu_inflight_split_desc) == 16, "layout of others");
_Static_assert(sizeof(struct vhu_inflight_packed_desc) == 32, "layout of others");
_Static_assert(offsetof(struct vhu_inflight_split, desc) == 16, "layout of others");
_Static_assert(offsetof(struct vhu_inflight_packed, used) == 16, "layout of others");
_Static_assert(sizeof(struct vhu_inflight_used) == 8, "stored as one word");
_Static_assert(offsetof(struct vhu_inflight_packed, desc) == 32, "layout of others");

/* ---- the region as a whole ---- */

uint64_t vhu_inflight_stride(bool packed, uint32_t queue_size)
{
	uint64_t bytes = packed ? sizeof(struct vhu_inflight_packed) +
					  queue_size * sizeof(struct vhu_inflight_packed_desc) :
				  sizeof(struct vhu_inflight_split) +
					  queue_size * sizeof(struct vhu_inflight_split_desc);

	return (bytes + VHU_INFLIGHT_ALIGN - 1) & ~(uint64_t)(VHU_INFLIGHT_ALIGN - 1);
}

/* Ring i's part, or NULL if the region does not reach so far. */
static void *part_of(const struct vhu_inflight_area *area, unsigned int i, bool packed)
{
	uint64_t stride = vhu_inflight_stride(packed, area->queue_size);

	if (i >= area->nr_queues || !vhu_range_within(i * stride, stride, area->size))
		return NULL;
	return area->mapping->bytes + i * stride;
}

static struct vhu_inflight_area *new_area(uint32_t nr_queues, uint32_t queue_size)
{
	struct vhu_inflight_area *area = calloc(1, sizeof(*area));

	if (!area)
		return NULL;
	area->fd = -1;
	area->nr_queues = nr_queues;
	area->queue_size = queue_size;
	return area;
}

/* A file that nobody can cut down under us, nor grow at our cost. */
static int make_file(uint64_t size, int *ret_fd)
{
	int fd = memfd_create("vhu-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int err;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
		err = -errno;
		vhu_fd_close(&fd);
		return err;
	}
	*ret_fd = fd;
	return 0;
}

int vhu_inflight_make(struct vhu_inflight_area **ret_area, const struct vhu_mem_owner *owner,
		      uint32_t nr_queues, uint32_t queue_size, bool packed, bool either,
		      struct vhu_reason *why)
{
	uint64_t size = nr_queues * vhu_inflight_stride(packed || either, queue_size);
	struct vhu_inflight_area *area;
	int err;

	if (size > VHU_INFLIGHT_MAX_BYTES)
		return vhu_refuse(why, -EINVAL,
				  "in-flight region: %u queues of %u entries need %llu bytes, at "
				  "most %llu are given",
				  nr_queues, queue_size, (ull)size, (ull)VHU_INFLIGHT_MAX_BYTES);
	area = new_area(nr_queues, queue_size);
	if (!area)
		return vhu_refuse(why, -ENOMEM, "in-flight region: out of memory");
	err = make_file(size, &area->fd);
	if (err) {
		vhu_refuse(why, err, "in-flight region: %llu bytes cannot be had: %s", (ull)size,
			   strerror(-err));
		goto fail;
	}
	err = vhu_mapping_new(&area->mapping, owner, NULL, area->fd, 0, size, "in-flight region",
			      why);
	if (err)
		goto fail;
	area->size = size;
	/* zero is what an empty record of a split ring looks like, and of none other */
	for (unsigned int i = 0; packed && i < nr_queues; i++)
		vhu_inflight_packed_init(part_of(area, i, true), queue_size, 0, true);
	*ret_area = area;
	return 0;
fail:
	vhu_inflight_area_free(area);
	return err;
}

int vhu_inflight_adopt(struct vhu_inflight_area **ret_area, const struct vhu_mem_owner *owner,
		       int fd, const struct vhu_inflight *desc, bool packed, struct vhu_reason *why)
{
	uint64_t need = desc->nr_queues * vhu_inflight_stride(packed, desc->queue_size);
	uint64_t most = desc->nr_queues * vhu_inflight_stride(true, desc->queue_size);
	struct vhu_inflight_area *area;
	int err;

	if (desc->mmap_size < need)
		return vhu_refuse(why, -EPROTO,
				  "in-flight region: size 0x%llx, %u queues of %u entries need "
				  "0x%llx",
				  (ull)desc->mmap_size, desc->nr_queues, desc->queue_size,
				  (ull)need);
	if (desc->mmap_offset % VHU_INFLIGHT_ALIGN)
		return vhu_refuse(why, -EPROTO,
				  "in-flight region: offset 0x%llx, must be aligned to %u",
				  (ull)desc->mmap_offset, VHU_INFLIGHT_ALIGN);
	area = new_area(desc->nr_queues, desc->queue_size);
	if (!area)
		return vhu_refuse(why, -ENOMEM, "in-flight region: out of memory");
	/* what lies beyond what any ring needs is none of ours */
	area->size = vhu_min_u64(desc->mmap_size, most);
	err = vhu_mapping_new(&area->mapping, owner, NULL, fd, desc->mmap_offset, area->size,
			      "in-flight region", why);
	if (err) {
		vhu_inflight_area_free(area);
		return err;
	}
	*ret_area = area;
	return 0;
}

void vhu_inflight_area_free(struct vhu_inflight_area *area)
{
	if (!area)
		return;
	vhu_fd_close(&area->fd);
	vhu_mapping_put(area->mapping);
	free(area);
}

/* The first words are the same in both layouts. */
static int judge_head(const struct vhu_inflight_split *head, unsigned int i, uint32_t queue_size,
		      uint16_t *ret_version, struct vhu_reason *why)
{
	uint16_t version = vhu_read_once(&head->version);
	uint16_t desc_num = vhu_read_once(&head->desc_num);
	uint64_t features = vhu_read_once(&head->features);

	*ret_version = version;
	if (version > VHU_INFLIGHT_VERSION || features)
		return vhu_refuse(why, -EPROTO,
				  "in-flight region: ring %u has version %u, features 0x%llx; only "
				  "version %u without features is known",
				  i, version, (ull)features, VHU_INFLIGHT_VERSION);
	if (version && desc_num != queue_size)
		return vhu_refuse(why, -EPROTO,
				  "in-flight region: ring %u has %u entries, %u were announced", i,
				  desc_num, queue_size);
	return 0;
}

int vhu_inflight_judge(const struct vhu_inflight_area *area, bool packed, struct vhu_reason *why)
{
	uint16_t version;
	int err = 0;

	for (unsigned int i = 0; i < area->nr_queues && !err; i++) {
		const void *part = part_of(area, i, packed);

		if (!part)
			break;
		err = judge_head(part, i, area->queue_size, &version, why);
	}
	return err;
}

void vhu_inflight_forget(const struct vhu_inflight_area *area, bool packed)
{
	for (unsigned int i = 0; i < area->nr_queues; i++) {
		struct vhu_inflight_split *head = part_of(area, i, packed);
		struct vhu_inflight_packed *part = (void *)head;

		if (!head)
			return;
		if (!vhu_read_once(&head->version))
			continue;
		/* first: with version 0 nothing else counts */
		vhu_store_release(&head->version, (uint16_t)0);
		if (packed)
			vhu_inflight_packed_init(part, area->queue_size, 0, true);
		else
			vhu_inflight_split_init(head, area->queue_size,
						vhu_read_once(&head->used_idx));
	}
}

/* ---- one ring's record: begin and end ---- */

static struct vhu_inflight_ring *new_ring(uint32_t num, uint32_t desc_num, bool packed)
{
	struct vhu_inflight_ring *ring = calloc(1, sizeof(*ring));

	if (!ring)
		return NULL;
	ring->num = num;
	ring->desc_num = desc_num;
	ring->taken = calloc(num, sizeof(*ring->taken));
	ring->batch = calloc(num, sizeof(*ring->batch));
	ring->old = calloc(num, sizeof(*ring->old));
	ring->again = calloc(num, sizeof(*ring->again));
	if (!ring->taken || !ring->batch || !ring->old || !ring->again)
		goto fail;
	if (!packed)
		return ring;
	ring->copies = calloc(num, sizeof(*ring->copies));
	ring->entry = calloc(num, sizeof(*ring->entry));
	ring->next = calloc(desc_num, sizeof(*ring->next));
	ring->last = calloc(desc_num, sizeof(*ring->last));
	ring->nr = calloc(desc_num, sizeof(*ring->nr));
	if (ring->copies && ring->entry && ring->next && ring->last && ring->nr)
		return ring;
fail:
	vhu_inflight_ring_free(ring);
	return NULL;
}

void vhu_inflight_ring_free(struct vhu_inflight_ring *ring)
{
	if (!ring)
		return;
	vhu_mapping_put(ring->mapping);
	free(ring->again);
	free(ring->copies);
	free(ring->taken);
	free(ring->old);
	free(ring->batch);
	free(ring->next);
	free(ring->last);
	free(ring->nr);
	free(ring->entry);
	free(ring);
}

/* Begins a record where there is none. */
static void begin_anew(struct vhu_inflight_ring *ring, const struct vhu_inflight_at *at)
{
	uint16_t *version = ring->packed ? &ring->packed->version : &ring->split->version;

	if (ring->packed) {
		vhu_inflight_packed_init(ring->packed, ring->desc_num, at->used, at->used_wrap);
		vhu_inflight_packed_mirror(ring, at->used, at->used_wrap);
	} else {
		vhu_inflight_split_init(ring->split, ring->desc_num, at->used);
	}
	/* last: until it is there this is no record, and the next backend begins it anew */
	vhu_store_release(version, (uint16_t)VHU_INFLIGHT_VERSION);
}

int vhu_inflight_start(struct vhu_inflight_ring **ret_ring, const struct vhu_inflight_area *area,
		       unsigned int i, bool packed, uint32_t num,
		       const struct vhu_inflight_driver *driver, struct vhu_inflight_at *at,
		       struct vhu_reason *why)
{
	void *part = part_of(area, i, packed);
	struct vhu_inflight_ring *ring;
	struct vhu_reason inner;
	uint16_t version;
	int err;

	*ret_ring = NULL;
	if (!part || num > area->queue_size)
		return 0;
	err = judge_head(part, i, area->queue_size, &version, why);
	if (err)
		return err;
	ring = new_ring(num, area->queue_size, packed);
	if (!ring)
		return vhu_refuse(why, -ENOMEM, "in-flight region: out of memory");
	ring->mapping = area->mapping;
	ring->mapping->refs++;
	ring->packed = packed ? part : NULL;
	ring->split = packed ? NULL : part;
	if (!version)
		begin_anew(ring, at);
	else if (packed)
		err = vhu_inflight_packed_recover(ring, driver, at, &inner);
	else
		err = vhu_inflight_split_recover(ring, driver, at, &inner);
	if (err) {
		vhu_inflight_ring_free(ring);
		return vhu_refuse(why, err, "in-flight region: ring %u, %.150s", i, inner.text);
	}
	*ret_ring = ring;
	return 0;
}

void vhu_inflight_told(struct vhu_inflight_ring *ring)
{
	if (ring->left)
		return;
	vhu_store_release(ring->packed ? &ring->packed->version : &ring->split->version,
			  (uint16_t)0);
}

/* ---- taken, given back, returned: what is common ---- */

static int by_counter(const void *left, const void *right)
{
	const struct vhu_inflight_again *a = left, *b = right;

	if (a->counter != b->counter)
		return a->counter < b->counter ? -1 : 1;
	return a->id < b->id ? -1 : a->id > b->id;
}

void vhu_inflight_sort(struct vhu_inflight_ring *ring)
{
	qsort(ring->again, ring->nr_again, sizeof(*ring->again), by_counter);
	if (ring->nr_again)
		ring->counter = ring->again[ring->nr_again - 1].counter + 1;
}

const struct vhu_inflight_again *vhu_inflight_take_again(struct vhu_inflight_ring *ring)
{
	const struct vhu_inflight_again *again = &ring->again[ring->at_again++];

	/* the region says already that it is in flight */
	ring->old[again->id] = 1;
	ring->taken[ring->nr_taken++] = again->id;
	return again;
}

void vhu_inflight_untake(struct vhu_inflight_ring *ring, uint32_t n)
{
	/*
	 * Newest first: if we are stopped in between, those that are left are the oldest, and the
	 * next backend goes on behind them.
	 */
	for (n = vhu_min_u32(n, ring->nr_taken); n; n--) {
		uint16_t id = ring->taken[--ring->nr_taken];

		if (ring->old[id]) {
			ring->old[id] = 0;
			ring->at_again--;
		} else if (ring->packed) {
			vhu_inflight_packed_untake(ring, id);
		} else {
			vhu_store_release(&ring->split->desc[id].inflight, (uint8_t)0);
		}
	}
}

void vhu_inflight_returned(struct vhu_inflight_ring *ring, uint16_t used_idx)
{
	for (uint32_t i = 0; i < ring->nr_batch; i++) {
		uint16_t id = ring->batch[i];

		if (ring->old[id])
			ring->left -= ring->packed ? ring->nr[ring->entry[id]] : 1u;
		ring->old[id] = 0;
		/*
		 * Until the end of this function the region tells the next backend, by an index that
		 * is not that of the ring, that these marks are not to be believed.
		 */
		if (ring->packed)
			vhu_store_release(&ring->packed->desc[ring->entry[id]].inflight,
					  (uint8_t)0);
		else
			vhu_store_release(&ring->split->desc[id].inflight, (uint8_t)0);
	}
	ring->nr_batch = 0;
	ring->nr_taken = 0;
	if (ring->packed)
		vhu_inflight_packed_returned(ring);
	else
		vhu_store_release(&ring->split->used_idx, used_idx);
}
