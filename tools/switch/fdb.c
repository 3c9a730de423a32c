// SPDX-License-Identifier: MIT
/*
 * The forwarding database: a hash table of chains, a list for each port in the order of learning,
 * and nothing known of frames, workers or timers.
 *
 * A reader walks a chain without a lock. An entry that is taken out has its key cleared before its
 * value changes, and the reader looks at the key again after reading the value, so it never takes
 * one station's port for another's. A reader whose entry is put into another chain under its feet
 * walks on there and may miss: then one frame is flooded.
 */

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "switch/fdb.h"

enum {
	HOPS_MAX = 64,	     /* a chain is short; this bounds a walk that was led astray */
	REFRESH_MS = 100,    /* seen again sooner is not written down */
	SECOND_CHANCES = 16, /* entries looked at for one that was not used since it was queued */
};

#define KEY_VALID (UINT64_C(1) << 63)
#define VALUE_STATIC (UINT64_C(1) << 47)
#define VALUE_TIME (VALUE_STATIC - 1)
#define VALUE_PORT_SHIFT 48

/* A reference is an index plus one, so that zero is none. */
struct entry {
	_Atomic uint64_t key;	/* with KEY_VALID; 0: free */
	_Atomic uint64_t value; /* port, static, milliseconds */
	_Atomic uint32_t next;	/* in the chain */
	/* Under the lock: */
	uint32_t newer, older; /* in the port's list; newer: in the free list too */
	uint64_t queued_ms;
};

struct port_list {
	uint32_t newest, oldest;
	_Atomic uint32_t count;
};

struct sw_fdb {
	uint64_t seed[2];
	unsigned int size, nr_ports;
	unsigned int nr_buckets; /* a power of two */
	_Atomic uint32_t *bucket;
	struct entry *entry;
	struct port_list *port;
	atomic_flag lock;
	/* Under the lock: */
	uint32_t free;
	unsigned int nr_static, nr_dynamic;
};

__extension__ typedef unsigned __int128 wide;

static unsigned int bucket_of(const struct sw_fdb *fdb, uint64_t key)
{
	wide product = (wide)(key ^ fdb->seed[0]) * (fdb->seed[1] | 1);
	uint64_t mixed = (uint64_t)product ^ (uint64_t)(product >> 64);

	mixed *= UINT64_C(0x9e3779b97f4a7c15);
	return (unsigned int)(mixed >> 32) & (fdb->nr_buckets - 1);
}

static bool try_lock(struct sw_fdb *fdb)
{
	return !atomic_flag_test_and_set_explicit(&fdb->lock, memory_order_acquire);
}

static void lock(struct sw_fdb *fdb)
{
	while (!try_lock(fdb))
		sched_yield();
}

static void unlock(struct sw_fdb *fdb)
{
	atomic_flag_clear_explicit(&fdb->lock, memory_order_release);
}

int sw_fdb_new(struct sw_fdb **ret_fdb, unsigned int size, unsigned int nr_ports,
	       const uint64_t seed[2])
{
	struct sw_fdb *fdb = calloc(1, sizeof(*fdb));

	if (!fdb)
		return -ENOMEM;
	fdb->seed[0] = seed[0];
	fdb->seed[1] = seed[1];
	fdb->size = size;
	fdb->nr_ports = nr_ports;
	fdb->nr_buckets = 16;
	while (fdb->nr_buckets < size)
		fdb->nr_buckets *= 2;
	fdb->bucket = calloc(fdb->nr_buckets, sizeof(*fdb->bucket));
	fdb->entry = calloc(size, sizeof(*fdb->entry));
	fdb->port = calloc(nr_ports, sizeof(*fdb->port));
	if (!fdb->bucket || !fdb->entry || !fdb->port) {
		sw_fdb_free(fdb);
		return -ENOMEM;
	}
	atomic_flag_clear(&fdb->lock);
	for (uint32_t i = 0; i < size; i++)
		fdb->entry[i].newer = i + 1 < size ? i + 2 : 0;
	fdb->free = size ? 1 : 0;
	*ret_fdb = fdb;
	return 0;
}

void sw_fdb_free(struct sw_fdb *fdb)
{
	if (!fdb)
		return;
	free(fdb->bucket);
	free(fdb->entry);
	free(fdb->port);
	free(fdb);
}

/* The reference of a station's entry and its value, or 0. */
static uint32_t find(const struct sw_fdb *fdb, uint64_t key, uint64_t *ret_value)
{
	uint32_t ref =
		atomic_load_explicit(&fdb->bucket[bucket_of(fdb, key)], memory_order_acquire);

	for (unsigned int hops = 0; ref && hops < HOPS_MAX; hops++) {
		const struct entry *e = &fdb->entry[ref - 1];

		if (atomic_load_explicit(&e->key, memory_order_acquire) == key) {
			/* Pairs with the release stores of value: a new value brings the key's
			 * clearing with it. */
			uint64_t value = atomic_load_explicit(&e->value, memory_order_acquire);

			if (atomic_load_explicit(&e->key, memory_order_relaxed) == key) {
				*ret_value = value;
				return ref;
			}
		}
		ref = atomic_load_explicit(&e->next, memory_order_acquire);
	}
	return 0;
}

int sw_fdb_lookup(const struct sw_fdb *fdb, uint64_t key)
{
	uint64_t value;

	if (!find(fdb, key | KEY_VALID, &value))
		return -1;
	return (int)(value >> VALUE_PORT_SHIFT);
}

/* ---- All of this under the lock ---- */

static void list_add(struct sw_fdb *fdb, uint32_t ref, unsigned int port, uint64_t now_ms)
{
	struct entry *e = &fdb->entry[ref - 1];
	struct port_list *list = &fdb->port[port];

	e->queued_ms = now_ms;
	e->newer = 0;
	e->older = list->newest;
	if (list->newest)
		fdb->entry[list->newest - 1].newer = ref;
	else
		list->oldest = ref;
	list->newest = ref;
	atomic_fetch_add_explicit(&list->count, 1, memory_order_relaxed);
	fdb->nr_dynamic++;
}

static void list_del(struct sw_fdb *fdb, uint32_t ref, unsigned int port)
{
	struct entry *e = &fdb->entry[ref - 1];
	struct port_list *list = &fdb->port[port];

	if (e->newer)
		fdb->entry[e->newer - 1].older = e->older;
	else
		list->newest = e->older;
	if (e->older)
		fdb->entry[e->older - 1].newer = e->newer;
	else
		list->oldest = e->newer;
	atomic_fetch_sub_explicit(&list->count, 1, memory_order_relaxed);
	fdb->nr_dynamic--;
}

static void chain_del(struct sw_fdb *fdb, uint32_t ref, uint64_t key)
{
	_Atomic uint32_t *link = &fdb->bucket[bucket_of(fdb, key)];
	uint32_t at;

	while ((at = atomic_load_explicit(link, memory_order_relaxed)) && at != ref)
		link = &fdb->entry[at - 1].next;
	if (at)
		atomic_store_explicit(
			link, atomic_load_explicit(&fdb->entry[ref - 1].next, memory_order_relaxed),
			memory_order_release);
}

static void drop(struct sw_fdb *fdb, uint32_t ref)
{
	struct entry *e = &fdb->entry[ref - 1];
	uint64_t key = atomic_load_explicit(&e->key, memory_order_relaxed);
	uint64_t value = atomic_load_explicit(&e->value, memory_order_relaxed);

	atomic_store_explicit(&e->key, 0, memory_order_release);
	chain_del(fdb, ref, key);
	if (value & VALUE_STATIC)
		fdb->nr_static--;
	else
		list_del(fdb, ref, (unsigned int)(value >> VALUE_PORT_SHIFT));
	e->newer = fdb->free;
	fdb->free = ref;
}

/* Makes room at the cost of this port. Entries that were used since they were queued go first to
 * the end of the queue, so that a station that speaks outlives one that was made up. */
static void evict(struct sw_fdb *fdb, unsigned int port)
{
	struct port_list *list = &fdb->port[port];

	for (int i = 0; i < SECOND_CHANCES; i++) {
		uint32_t ref = list->oldest;
		uint64_t seen =
			atomic_load_explicit(&fdb->entry[ref - 1].value, memory_order_relaxed) &
			VALUE_TIME;

		if (seen <= fdb->entry[ref - 1].queued_ms)
			break;
		list_del(fdb, ref, port);
		list_add(fdb, ref, port, seen);
	}
	drop(fdb, list->oldest);
}

static unsigned int greediest(const struct sw_fdb *fdb)
{
	unsigned int best = 0;

	for (unsigned int i = 1; i < fdb->nr_ports; i++)
		if (sw_fdb_count(fdb, i) > sw_fdb_count(fdb, best))
			best = i;
	return best;
}

/* Room for one more entry of this port, at the cost of whoever has more than a fair share. */
static bool make_room(struct sw_fdb *fdb, unsigned int port, unsigned int shares)
{
	unsigned int share;

	if (fdb->free)
		return true;
	if (!fdb->nr_dynamic)
		return false;
	share = (fdb->size - fdb->nr_static) / (shares ? shares : 1);
	if (sw_fdb_count(fdb, port) >= (share ? share : 1))
		evict(fdb, port);
	else
		evict(fdb, greediest(fdb));
	return true;
}

static uint32_t insert(struct sw_fdb *fdb, uint64_t key, uint64_t value)
{
	uint32_t ref = fdb->free;
	struct entry *e = &fdb->entry[ref - 1];
	_Atomic uint32_t *head = &fdb->bucket[bucket_of(fdb, key)];

	fdb->free = e->newer;
	atomic_store_explicit(&e->value, value, memory_order_release);
	atomic_store_explicit(&e->next, atomic_load_explicit(head, memory_order_relaxed),
			      memory_order_release);
	atomic_store_explicit(&e->key, key, memory_order_release);
	atomic_store_explicit(head, ref, memory_order_release);
	return ref;
}

/* ---- Up to here ---- */

static enum sw_learn learn_slowly(struct sw_fdb *fdb, uint64_t key, unsigned int port,
				  unsigned int shares, uint64_t now_ms)
{
	uint64_t fresh = (uint64_t)port << VALUE_PORT_SHIFT | (now_ms & VALUE_TIME);
	enum sw_learn ret = SW_LEARN_NOTHING;
	uint64_t value;
	uint32_t ref;

	if (!try_lock(fdb))
		return SW_LEARN_NOTHING;
	ref = find(fdb, key, &value); /* another worker may have been here meanwhile */
	if (ref && !(value & VALUE_STATIC) && value >> VALUE_PORT_SHIFT != port) {
		list_del(fdb, ref, (unsigned int)(value >> VALUE_PORT_SHIFT));
		atomic_store_explicit(&fdb->entry[ref - 1].value, fresh, memory_order_release);
		list_add(fdb, ref, port, now_ms & VALUE_TIME);
		ret = SW_LEARN_MOVED;
	} else if (!ref && make_room(fdb, port, shares)) {
		list_add(fdb, insert(fdb, key, fresh), port, now_ms & VALUE_TIME);
		ret = fdb->nr_dynamic == 1 ? SW_LEARN_FIRST : SW_LEARN_NEW;
	}
	unlock(fdb);
	return ret;
}

enum sw_learn sw_fdb_learn(struct sw_fdb *fdb, uint64_t key, unsigned int port, unsigned int shares,
			   uint64_t now_ms)
{
	uint64_t value, fresh;
	uint32_t ref;

	key |= KEY_VALID;
	ref = find(fdb, key, &value);
	if (!ref)
		return learn_slowly(fdb, key, port, shares, now_ms);
	if (value & VALUE_STATIC)
		return SW_LEARN_NOTHING;
	if (value >> VALUE_PORT_SHIFT != port)
		return learn_slowly(fdb, key, port, shares, now_ms);
	if (now_ms >= (value & VALUE_TIME) + REFRESH_MS) {
		fresh = (uint64_t)port << VALUE_PORT_SHIFT | (now_ms & VALUE_TIME);
		/* Only if it is still what was looked at: it may just have moved. */
		atomic_compare_exchange_strong_explicit(&fdb->entry[ref - 1].value, &value, fresh,
							memory_order_acq_rel, memory_order_relaxed);
	}
	return SW_LEARN_NOTHING;
}

unsigned int sw_fdb_age(struct sw_fdb *fdb, uint64_t now_ms, uint64_t age_ms,
			uint64_t *ret_oldest_ms)
{
	uint64_t oldest = UINT64_MAX;
	unsigned int left;

	lock(fdb);
	for (uint32_t ref = 1; ref <= fdb->size; ref++) {
		struct entry *e = &fdb->entry[ref - 1];
		uint64_t value = atomic_load_explicit(&e->value, memory_order_relaxed);

		if (!atomic_load_explicit(&e->key, memory_order_relaxed) || value & VALUE_STATIC)
			continue;
		value &= VALUE_TIME;
		if (now_ms >= value && now_ms - value >= age_ms)
			drop(fdb, ref);
		else if (value < oldest)
			oldest = value;
	}
	left = fdb->nr_dynamic;
	unlock(fdb);
	if (left)
		*ret_oldest_ms = oldest;
	return left;
}

void sw_fdb_forget_port(struct sw_fdb *fdb, int port, bool with_static)
{
	lock(fdb);
	for (uint32_t ref = 1; ref <= fdb->size; ref++) {
		struct entry *e = &fdb->entry[ref - 1];
		uint64_t value = atomic_load_explicit(&e->value, memory_order_relaxed);

		if (!atomic_load_explicit(&e->key, memory_order_relaxed))
			continue;
		if (value & VALUE_STATIC && !with_static)
			continue;
		if (port < 0 || value >> VALUE_PORT_SHIFT == (uint64_t)port)
			drop(fdb, ref);
	}
	unlock(fdb);
}

int sw_fdb_set_static(struct sw_fdb *fdb, uint64_t key, unsigned int port)
{
	uint64_t fresh = (uint64_t)port << VALUE_PORT_SHIFT | VALUE_STATIC;
	uint64_t value;
	uint32_t ref;
	int ret = 0;

	key |= KEY_VALID;
	lock(fdb);
	ref = find(fdb, key, &value);
	if (ref && !(value & VALUE_STATIC)) {
		drop(fdb, ref);
		ref = 0;
	}
	if (ref) {
		atomic_store_explicit(&fdb->entry[ref - 1].value, fresh, memory_order_release);
	} else if (fdb->free || fdb->nr_dynamic) {
		if (!fdb->free)
			evict(fdb, greediest(fdb));
		insert(fdb, key, fresh);
		fdb->nr_static++;
	} else {
		ret = -ENOSPC;
	}
	unlock(fdb);
	return ret;
}

int sw_fdb_remove(struct sw_fdb *fdb, uint64_t key)
{
	uint64_t value;
	uint32_t ref;

	lock(fdb);
	ref = find(fdb, key | KEY_VALID, &value);
	if (ref)
		drop(fdb, ref);
	unlock(fdb);
	return ref ? 0 : -ENOENT;
}

void sw_fdb_forget_mac(struct sw_fdb *fdb, const uint8_t mac[6], const struct sw_vlans *vlans)
{
	const uint64_t address = (UINT64_C(1) << 48) - 1;
	const uint64_t wanted = sw_fdb_key(mac, 0);

	lock(fdb);
	for (uint32_t ref = 1; ref <= fdb->size; ref++) {
		struct entry *e = &fdb->entry[ref - 1];
		uint64_t key = atomic_load_explicit(&e->key, memory_order_relaxed);
		uint64_t value = atomic_load_explicit(&e->value, memory_order_relaxed);

		if (key && (key & address) == wanted && !(value & VALUE_STATIC) &&
		    sw_vlans_has(vlans, (unsigned int)(key >> 48 & 0xfff)))
			drop(fdb, ref);
	}
	unlock(fdb);
}

unsigned int sw_fdb_count(const struct sw_fdb *fdb, unsigned int port)
{
	return atomic_load_explicit(&fdb->port[port].count, memory_order_relaxed);
}

bool sw_fdb_row(const struct sw_fdb *fdb, unsigned int i, struct sw_fdb_row *ret_row)
{
	const struct entry *e = &fdb->entry[i];
	uint64_t key = atomic_load_explicit(&e->key, memory_order_acquire);
	uint64_t value = atomic_load_explicit(&e->value, memory_order_acquire);

	if (!key || atomic_load_explicit(&e->key, memory_order_relaxed) != key)
		return false;
	ret_row->key = key & ~KEY_VALID;
	ret_row->port = (unsigned int)(value >> VALUE_PORT_SHIFT);
	ret_row->is_static = value & VALUE_STATIC;
	ret_row->seen_ms = value & VALUE_TIME;
	return true;
}

unsigned int sw_fdb_size(const struct sw_fdb *fdb)
{
	return fdb->size;
}
