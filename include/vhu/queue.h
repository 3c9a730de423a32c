/* SPDX-License-Identifier: MIT */
/*
 * A ring as a device's data side holds it: notification in both directions, and counters. The
 * driver's side is <vhu/driver.h>.
 *
 * Experimental. Data thread, reader online.
 */
#ifndef VHU_QUEUE_H
#define VHU_QUEUE_H

#include <vhu/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vhu_queue;

/* Counters, written by the data thread, readable from any. */
struct vhu_queue_stats {
	uint64_t chains;	   /* taken from the available ring */
	uint64_t bad_chains;	   /* returned unused: the walk was refused */
	uint64_t calls;		   /* call eventfd written */
	uint64_t calls_suppressed; /* the driver had asked for silence */
	uint64_t arms;		   /* times that kicks were asked for */
};
VHU_API void vhu_queue_stats(const struct vhu_queue *queue, struct vhu_queue_stats *ret_stats);

/*
 * Asks for kicks and looks once more. True: there is work already (the ring is disarmed again), do
 * it. False: a kick will come. arm, then sleep; never sleep without.
 */
VHU_API bool vhu_queue_arm(struct vhu_queue *queue);
/* Asks the driver not to kick; a hint. */
VHU_API void vhu_queue_disarm(struct vhu_queue *queue);
/* True if the ring is started (its view is published); it may still be disabled. */
VHU_API bool vhu_queue_is_running(const struct vhu_queue *queue);

/* A ring that several threads push into is taken for a burst. False: somebody has it. */
VHU_API bool vhu_queue_trylock(struct vhu_queue *queue);
VHU_API void vhu_queue_unlock(struct vhu_queue *queue);

#ifdef __cplusplus
}
#endif
#endif
