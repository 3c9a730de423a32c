/* SPDX-License-Identifier: MIT */
/*
 * Accessors for memory that somebody else writes: each reads or stores once. And named barriers.
 *
 * Guest memory is plain memory to the compiler; these use the __atomic builtins, which work on it
 * as it lies, so that every read is done once and every race is one that was meant.
 */
#ifndef VHU_BASE_ATOMICS_H
#define VHU_BASE_ATOMICS_H

#include <stdint.h>

#define vhu_read_once(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define vhu_write_once(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define vhu_load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define vhu_store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)

/* Store before load: publish then look, arm then look. Each use names its partner. */
static inline void vhu_full_barrier(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

#endif
