/* SPDX-License-Identifier: MIT */
/*
 * A pair with an in-flight region, split rings, and backends that die: a death is played by putting
 * region and used rings back to what they were at that moment, after the backend has been freed.
 */
#ifndef TESTS_PAIR_INFLIGHT_FIXTURE_H
#define TESTS_PAIR_INFLIGHT_FIXTURE_H

#include "backend_fixture.h"

#define WITH_INFLIGHT (VHU_BACKEND_PROTOCOL_FEATURES | VHU_MASK(VHU_P_INFLIGHT_SHMFD_BIT))

/* A ring's part of the region, "Inflight I/O tracking", written down a second time. */
struct inflight_entry {
	uint8_t inflight, pad[5];
	uint16_t next;
	uint64_t counter;
};

struct inflight_part {
	uint64_t features;
	uint16_t version, desc_num, last_batch_head, used_idx;
	struct inflight_entry desc[];
};

enum {
	INFLIGHT_SIZE = 16,			      /* of the rings */
	INFLIGHT_PART = 16 + 16 * INFLIGHT_SIZE + 48, /* up to a multiple of 64 */
};

struct inflight_world {
	struct pair *pair;
	struct drv *drv;
	struct fixture *fix;
	int fd;
	struct vhu_inflight desc;
	uint8_t *bytes;
	/* at the moment of death */
	uint8_t region[2 * INFLIGHT_PART];
	uint8_t used[2][6 + 8 * INFLIGHT_SIZE];
	uint32_t number; /* frames sent */
};

/* Where a ring's record lies. */
struct inflight_part *inflight_part(const struct inflight_world *w, unsigned int ring);
/* GET_INFLIGHT_FD with a payload of size bytes: the fd. */
int inflight_get(struct drv *drv, uint16_t queues, uint16_t queue_size, uint32_t size,
		 struct vhu_inflight *ret);
/* SET_INFLIGHT_FD with the region that w has. */
int inflight_set(struct inflight_world *w);
void inflight_hello(struct inflight_world *w);
void inflight_start_rings(struct inflight_world *w, uint16_t base);
/* Connected, features agreed / also with a region in force and rings that run. */
struct inflight_world *inflight_connected(void **state);
void inflight_map(struct inflight_world *w);
struct inflight_world *inflight_running(void **state);
/* Before the pair's end. */
void inflight_end(struct inflight_world *w);
/*
 * A death: what the backend did after remember() never happened, it is gone with bury(), and the next
 * one comes with resume(), or with next_backend() and start_rings(). crash() is all three.
 */
void inflight_remember(struct inflight_world *w);
void inflight_bury(struct inflight_world *w);
void inflight_next_backend(struct inflight_world *w);
void inflight_resume(struct inflight_world *w);
void inflight_crash(struct inflight_world *w);
struct vhu_queue *inflight_queue(const struct inflight_world *w, unsigned int ring);
/* Makes frames available; their numbers go on from those before. */
void inflight_send(struct inflight_world *w, unsigned int nr);
/* Takes up to max frames, which have to be nr, from number first on; gives none back. */
void inflight_take(struct inflight_world *w, unsigned int max, unsigned int nr, uint32_t first);
void inflight_give_back(struct inflight_world *w);
/* All nr that were made available came back, each once: drv_ring_pop_used() sees to that. */
void inflight_all_came_back(struct inflight_world *w, unsigned int nr);
/* Chains of a ring that the region says are in flight. */
unsigned int inflight_nr_marks(const struct inflight_world *w, unsigned int ring);

#endif
