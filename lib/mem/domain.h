/* SPDX-License-Identifier: MIT */
/*
 * Inside of a domain: what the fault guard needs. Knows nothing of devices.
 */
#ifndef VHU_MEM_DOMAIN_H
#define VHU_MEM_DOMAIN_H

#include <pthread.h>
#include <vhu/domain.h>

#include <base/bits.h>

/* One mapping that may fault. Slots are never freed while the domain lives, only reused. */
struct vhu_fault_slot {
	uint32_t seq;	 /* atomic: odd while the rest changes */
	uintptr_t start; /* 0: free */
	size_t len;
	bool *poisoned; /* set when the mapping faulted */
};

struct vhu_fault_chunk {
	struct vhu_fault_chunk *next;
	struct vhu_fault_slot slot[63];
};

struct vhu_domain {
	uint64_t epoch; /* atomic */
	int event_fd;
	pthread_mutex_t lock; /* readers and the taking of slots */
	struct vhu_reader *readers;
	struct vhu_fault_chunk *chunks; /* atomic: walked by the signal handler */
};

struct vhu_reader {
	/* atomic: 0 while offline, else the newest epoch seen while holding nothing */
	_Alignas(64) uint64_t seen;
	struct vhu_domain *domain;
	struct vhu_reader *next;
};

/* Guards [start, start + len): a fault there sets *poisoned. */
VHU_HIDDEN int vhu_fault_guard(struct vhu_domain *domain, void *start, size_t len, bool *poisoned,
			       struct vhu_fault_slot **ret_slot);
VHU_HIDDEN void vhu_fault_unguard(struct vhu_fault_slot *slot);

#endif
