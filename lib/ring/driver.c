/* SPDX-License-Identifier: MIT */
/*
 * A ring's driver: its life, kicks and calls, and what happens when the device dies, whatever the
 * layout. Knows nothing of what chains carry.
 *
 * Two halves of one protocol. The side that waits: arm, full barrier, look again, sleep. The side
 * that publishes: publish, full barrier, look whether to notify. Neither may leave a step out.
 */
#include <ring/driver.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <base/fd.h>

enum {
	/* Areas that different sides write lie in cache lines of their own, and their pairs. */
	AREA_ALIGN = 128,
	/* Chains that go through a table are no longer than the longest ring. */
	TABLE_MAX = VHU_MAX_RING_SIZE,
};

static const char *const fault_texts[VHU_DRV_FAULT_END] = {
	[VHU_DRV_OK] = "nothing is wrong (%llu)",
	[VHU_DRV_USED_JUMP] = "used index %llu is ahead of what was made available",
	[VHU_DRV_USED_RANGE] = "used id %llu is not below the ring's size",
	[VHU_DRV_USED_UNKNOWN] = "used id %llu is not outstanding: never added, or used twice",
	[VHU_DRV_USED_EARLY] = "used id %llu was not made available yet",
	[VHU_DRV_USED_LEN] = "used length %llu is more than the chain's writable part",
	[VHU_DRV_USED_BATCH] = "used id %llu ends a batch that reaches beyond the used index",
	[VHU_DRV_KICK_BLOCKED] = "kick eventfd blocks the writer (errno %llu)",
	[VHU_DRV_KICK_FAILED] = "kick eventfd cannot be written (errno %llu)",
};

int vhu_driver_break(struct vhu_driver *d, enum vhu_driver_fault fault, uint64_t value)
{
	if (d->fault)
		return -EPROTO;
	d->fault = fault;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the texts stand in one table of ours */
	return vhu_refuse(&d->reason, -EPROTO, fault_texts[fault], (unsigned long long)value);
#pragma GCC diagnostic pop
}

/*
 * ---- Life ----
 */

/* Bytes of the three areas (virtio 1.2, 2.7.2 and 2.8.13). */
static uint64_t area_size(const struct vhu_driver *d, unsigned int area)
{
	const uint64_t sizes[2][3] = {
		{ 16ull * d->num, 2ull * d->num + 6, 8ull * d->num + 6 },
		{ 16ull * d->num, 4, 4 },
	};

	return sizes[d->packed][area];
}

/* The ring as after vhu_driver_new(), with an empty store. */
static void lay_out(struct vhu_driver *d)
{
	memset(d->desc, 0, area_size(d, 0));
	memset(d->avail, 0, area_size(d, 1));
	memset((void *)(uintptr_t)d->used, 0, area_size(d, 2));
	for (uint32_t i = 0; i < d->num; i++) {
		d->store.chains[i].nr = 0;
		d->store.slots[i].next = (uint16_t)(i + 1 < d->num ? i + 1 : 0);
	}
	d->free_head = 0;
	d->room = d->num - d->nr_kept;
	d->nr_chains = 0;
	d->nr_shown = 0;
	d->seq_next = 0;
	d->seq_shown = 0;
	d->oldest = 0;
	d->batch_left = 0;
	d->seq_oldest = 0;
	d->armed = false;
	d->fault = VHU_DRV_OK;
	if (d->packed)
		vhu_driver_packed_lay(d);
	else
		vhu_driver_split_lay(d);
}

static int new_store(struct vhu_driver_store *store, const struct vhu_driver *d)
{
	store->slots = calloc(d->num, sizeof(*store->slots));
	store->chains = calloc(d->num, sizeof(*store->chains));
	if (d->indirect_max)
		store->tables = calloc((size_t)d->num * d->indirect_max, sizeof(*store->tables));
	if (!store->slots || !store->chains || (d->indirect_max && !store->tables))
		return -ENOMEM;
	return 0;
}

static int new_private(struct vhu_driver *d)
{
	if (new_store(&d->store, d) || new_store(&d->spare, d))
		return -ENOMEM;
	d->kept = calloc(d->num, sizeof(*d->kept));
	d->order = calloc(d->num, sizeof(*d->order));
	d->gather = calloc(d->num, sizeof(*d->gather));
	return d->kept && d->order && d->gather ? 0 : -ENOMEM;
}

static void free_store(struct vhu_driver_store *store)
{
	free(store->slots);
	free(store->chains);
	free(store->tables);
}

/* The areas in guest memory. */
static int place(struct vhu_driver *d, struct vhu_memory *memory)
{
	uint64_t tables = (uint64_t)d->num * d->indirect_max * VHU_DRV_DESC_SIZE;

	d->desc = vhu_memory_alloc(memory, area_size(d, 0), AREA_ALIGN, &d->addr.desc_gpa);
	if (!d->desc)
		return -ENOSPC;
	d->avail = vhu_memory_alloc(memory, area_size(d, 1), AREA_ALIGN, &d->addr.avail_gpa);
	if (!d->avail)
		return -ENOSPC;
	d->used = vhu_memory_alloc(memory, area_size(d, 2), AREA_ALIGN, &d->addr.used_gpa);
	if (!d->used)
		return -ENOSPC;
	if (tables) {
		d->indirect = vhu_memory_alloc(memory, tables, AREA_ALIGN, &d->indirect_gpa);
		if (!d->indirect)
			return -ENOSPC;
	}
	return 0;
}

static int judge_options(const struct vhu_driver_options *options)
{
	if (!options || options->size < sizeof(*options) || !options->memory)
		return -EINVAL;
	if (!options->num || options->num > VHU_MAX_RING_SIZE)
		return -EINVAL;
	if (!vhu_has_bit(options->features, VHU_F_RING_PACKED_BIT) &&
	    !vhu_is_power_of_two(options->num))
		return -EINVAL;
	return options->indirect_max > TABLE_MAX ? -EINVAL : 0;
}

int vhu_driver_new(struct vhu_driver **ret_driver, const struct vhu_driver_options *options)
{
	struct vhu_driver *d;
	int err = judge_options(options);

	if (err)
		return err;
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->num = options->num;
	d->chain_max = options->num;
	d->features = options->features;
	d->packed = vhu_has_bit(options->features, VHU_F_RING_PACKED_BIT);
	d->event_idx = vhu_has_bit(options->features, VHU_F_EVENT_IDX_BIT);
	d->in_order = vhu_has_bit(options->features, VHU_F_IN_ORDER_BIT);
	d->kick_fd = -1;
	if (vhu_has_bit(options->features, VHU_F_INDIRECT_DESC_BIT) && options->indirect_max > 1)
		d->indirect_max = options->indirect_max;
	/* 2.7.5.3.1: no chain longer than the ring, in a table or not; packed rings were meant too */
	d->indirect_max = vhu_min_u32(d->indirect_max, d->num);
	/* first: whatever is copied privately has its like there, so that no option asks for too much */
	err = place(d, options->memory);
	if (!err)
		err = new_private(d);
	if (err) {
		vhu_driver_free(d);
		return err;
	}
	lay_out(d);
	*ret_driver = d;
	return 0;
}

void vhu_driver_free(struct vhu_driver *driver)
{
	if (!driver)
		return;
	free_store(&driver->store);
	free_store(&driver->spare);
	free(driver->kept);
	free(driver->order);
	free(driver->gather);
	free(driver);
}

void vhu_driver_addr(const struct vhu_driver *driver, struct vhu_ring_addr *ret_addr)
{
	*ret_addr = driver->addr;
}

uint32_t vhu_driver_num(const struct vhu_driver *driver)
{
	return driver->num;
}

uint64_t vhu_driver_features(const struct vhu_driver *driver)
{
	return driver->features;
}

void vhu_driver_set_kick_fd(struct vhu_driver *driver, int kick_fd)
{
	driver->kick_fd = kick_fd;
}

/*
 * ---- Chains ----
 */

int vhu_driver_add(struct vhu_driver *driver, const struct vhu_buffer *buffers,
		   unsigned int nr_read, unsigned int nr_write, uint32_t token)
{
	if (vhu_unlikely(driver->fault))
		return -EPROTO;
	if (driver->packed)
		return vhu_driver_packed_add(driver, buffers, nr_read, nr_write, token);
	return vhu_driver_split_add(driver, buffers, nr_read, nr_write, token);
}

static void kick(struct vhu_driver *d)
{
	int err = d->kick_fd >= 0 ? vhu_event_raise(d->kick_fd) : 0;

	if (err == EINTR)
		vhu_driver_break(d, VHU_DRV_KICK_BLOCKED, (uint64_t)err);
	else if (err)
		vhu_driver_break(d, VHU_DRV_KICK_FAILED, (uint64_t)err);
	vhu_driver_count(&d->stats.kicks, 1);
}

/* Notes that all chains are published; how many were not. */
static uint64_t show(struct vhu_driver *d)
{
	uint64_t n = d->seq_next - d->seq_shown;

	d->seq_shown = d->seq_next;
	d->nr_shown += (uint32_t)n;
	vhu_driver_count(&d->stats.added, n);
	return n;
}

bool vhu_driver_publish(struct vhu_driver *driver)
{
	bool wanted;

	if (vhu_unlikely(driver->fault) || driver->seq_shown == driver->seq_next)
		return false;
	show(driver);
	if (driver->packed)
		wanted = vhu_driver_packed_publish(driver);
	else
		wanted = vhu_driver_split_publish(driver);
	if (wanted)
		kick(driver);
	else
		vhu_driver_count(&driver->stats.kicks_suppressed, 1);
	return wanted;
}

uint32_t vhu_driver_free_entries(const struct vhu_driver *driver)
{
	return driver->room;
}

uint32_t vhu_driver_outstanding(const struct vhu_driver *driver)
{
	return driver->nr_chains + driver->nr_kept;
}

static int take_kept(struct vhu_driver *d, struct vhu_used *ret_used)
{
	*ret_used = d->kept[d->kept_first];
	if (++d->kept_first == d->num)
		d->kept_first = 0;
	d->nr_kept--;
	d->room++;
	vhu_driver_count(&d->stats.taken, 1);
	return 1;
}

/* The next used chain of the ring itself. */
static VHU_ALWAYS_INLINE int take_from_ring(struct vhu_driver *d, struct vhu_used *ret_used)
{
	if (vhu_unlikely(d->fault))
		return -EPROTO;
	return d->packed ? vhu_driver_packed_take(d, ret_used) : vhu_driver_split_take(d, ret_used);
}

int vhu_driver_take(struct vhu_driver *driver, struct vhu_used *ret_used)
{
	int got;

	if (vhu_unlikely(driver->nr_kept))
		return take_kept(driver, ret_used);
	got = take_from_ring(driver, ret_used);
	if (vhu_likely(got > 0))
		vhu_driver_count(&driver->stats.taken, 1);
	return got;
}

const char *vhu_driver_fault(const struct vhu_driver *driver)
{
	return driver->fault ? driver->reason.text : NULL;
}

/*
 * ---- Calls ----
 */

static void set_calls(struct vhu_driver *d, bool wanted)
{
	if (d->packed)
		vhu_driver_packed_set_calls(d, wanted);
	else
		vhu_driver_split_set_calls(d, wanted);
	d->armed = wanted;
}

bool vhu_driver_arm(struct vhu_driver *driver)
{
	bool has_used;

	/* a broken ring has something to tell, too: nobody would ever call for it */
	if (vhu_unlikely(driver->nr_kept || driver->fault))
		return true;
	set_calls(driver, true);
	vhu_driver_count(&driver->stats.arms, 1);
	/*
	 * Arm, then look. Pairs with the device's barrier between its store to used->idx (or the
	 * used descriptor's flags) and its load of used_event (avail->flags, the driver area).
	 */
	vhu_full_barrier();
	has_used = driver->packed ? vhu_driver_packed_has_used(driver) :
				    vhu_driver_split_has_used(driver);
	if (has_used)
		set_calls(driver, false);
	return has_used;
}

void vhu_driver_disarm(struct vhu_driver *driver)
{
	if (driver->armed && !driver->fault)
		set_calls(driver, false);
}

/*
 * ---- Another device takes over ----
 */

/* Takes all that is used off the ring, and keeps it. Up to the first lie, if there is one. */
static void keep_used(struct vhu_driver *d)
{
	struct vhu_used used;

	while (take_from_ring(d, &used) > 0) {
		uint32_t at = d->kept_first + d->nr_kept++;

		d->kept[at < d->num ? at : at - d->num] = used;
		/* until it is taken, it stands for one entry: there is always room to keep all */
		d->room--;
	}
}

static int compare_order(const void *a, const void *b)
{
	const struct vhu_driver_order *x = a, *y = b;

	return (x->seq > y->seq) - (x->seq < y->seq);
}

/* The outstanding chains in the order in which they were added. Their number. */
static uint32_t put_in_order(struct vhu_driver *d)
{
	uint32_t nr = 0;

	for (uint32_t id = 0; id < d->num; id++)
		if (d->store.chains[id].nr)
			d->order[nr++] = (struct vhu_driver_order){
				.seq = d->store.chains[id].seq,
				.id = (uint16_t)id,
			};
	qsort(d->order, nr, sizeof(*d->order), compare_order);
	return nr;
}

uint32_t vhu_driver_base(struct vhu_driver *driver)
{
	uint32_t base = driver->last_used;

	if (!driver->fault)
		keep_used(driver);
	if (!driver->fault) {
		uint32_t nr = put_in_order(driver);

		if (driver->packed)
			vhu_driver_packed_rewrite(driver, nr);
		else
			vhu_driver_split_rewrite(driver, nr);
		base = driver->last_used;
		driver->deaths++;
		/* the place to be called at moved with it */
		if (driver->armed)
			set_calls(driver, true);
	}
	if (driver->packed) {
		base |= driver->used_wrap ? 0x8000u : 0;
		base |= base << 16;
	}
	return base;
}

/* Adds a chain of the spare store to the ring, which has room for it. */
static void add_again(struct vhu_driver *d, uint16_t id)
{
	const struct vhu_driver_chain *chain = &d->spare.chains[id];
	const struct vhu_buffer *buffers = d->gather;

	if (vhu_driver_is_indirect(chain)) {
		buffers = vhu_driver_table_copy(&d->spare, d->indirect_max, id);
	} else {
		uint16_t at = id;

		for (uint32_t i = 0; i < chain->nr; i++) {
			const struct vhu_driver_slot *slot = &d->spare.slots[at];

			d->gather[i] = (struct vhu_buffer){ .gpa = slot->gpa, .len = slot->len };
			at = slot->next;
		}
	}
	if (d->packed)
		vhu_driver_packed_add(d, buffers, chain->nr_read, chain->nr_write, chain->token);
	else
		vhu_driver_split_add(d, buffers, chain->nr_read, chain->nr_write, chain->token);
}

void vhu_driver_resubmit(struct vhu_driver *driver)
{
	const bool armed = driver->armed;
	const uint64_t nr_new = driver->seq_next - driver->seq_shown;
	struct vhu_driver_store old;
	uint32_t nr;

	/* a lie breaks the ring once more, which ends with lay_out() */
	driver->fault = VHU_DRV_OK;
	keep_used(driver);
	nr = put_in_order(driver);
	old = driver->store;
	driver->store = driver->spare;
	driver->spare = old;
	lay_out(driver);
	for (uint32_t i = 0; i < nr; i++)
		add_again(driver, driver->order[i].id);
	if (nr) {
		show(driver);
		if (driver->packed)
			vhu_driver_packed_show(driver);
		else
			vhu_driver_split_show(driver);
	}
	/* those that were published before are not new */
	vhu_write_once(&driver->stats.added, driver->stats.added - (nr - nr_new));
	vhu_driver_count(&driver->stats.resubmitted, nr - nr_new);
	driver->deaths++;
	if (armed)
		set_calls(driver, true);
}

void vhu_driver_reset(struct vhu_driver *driver)
{
	driver->nr_kept = 0;
	driver->kept_first = 0;
	driver->resets++;
	lay_out(driver);
}

void vhu_driver_get_stats(const struct vhu_driver *driver, struct vhu_driver_stats *ret_stats)
{
	const struct vhu_driver_stats *s = &driver->stats;

	ret_stats->added = vhu_read_once(&s->added);
	ret_stats->taken = vhu_read_once(&s->taken);
	ret_stats->kicks = vhu_read_once(&s->kicks);
	ret_stats->kicks_suppressed = vhu_read_once(&s->kicks_suppressed);
	ret_stats->arms = vhu_read_once(&s->arms);
	ret_stats->resubmitted = vhu_read_once(&s->resubmitted);
}
