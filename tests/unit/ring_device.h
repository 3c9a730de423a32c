/* SPDX-License-Identifier: MIT */
/*
 * The device's side of one ring, for tests of the driver's side: written from the specification
 * (virtio 1.2, 2.7 and 2.8) without libvhu's rings, obedient unless a test makes it lie.
 */
#ifndef TESTS_UNIT_RING_DEVICE_H
#define TESTS_UNIT_RING_DEVICE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <vhu/driver.h>

enum {
	RDEV_PIECES = 8,
};

struct rdev_piece {
	uint64_t gpa;
	uint32_t len;
	bool write;
};

struct rdev_chain {
	uint16_t id;
	uint16_t entries; /* of the ring */
	bool indirect;
	uint32_t nr;
	uint32_t write_len;
	struct rdev_piece piece[RDEV_PIECES];
};

struct rdev {
	const struct vhu_memory *memory;
	bool packed, event_idx, in_order;
	uint32_t num;
	uint8_t *desc, *avail, *used; /* packed: avail is the driver's area, used the device's */
	uint32_t next_avail, next_used;
	bool avail_wrap, used_wrap;
	/* What was used since the last publication. */
	uint32_t shown; /* split: index; packed: position of the first descriptor */
	bool shown_wrap;
	uint32_t nr_hidden; /* split: elements; packed: descriptors skipped over */
	uint16_t withheld;
};

/* A ring that is new, or (base from vhu_driver_base()) one that is taken over. */
void rdev_init(struct rdev *dev, const struct vhu_memory *memory, const struct vhu_driver *driver);
void rdev_start(struct rdev *dev, uint32_t base);

/* The next available chain, judged by the driver's duties. False: none. */
bool rdev_has_avail(const struct rdev *dev);
bool rdev_pop(struct rdev *dev, struct rdev_chain *ret_chain);
/* Uses chains: one element that stands for nr chains of so many entries in all. */
void rdev_push(struct rdev *dev, uint32_t id, uint32_t len, uint32_t nr, uint32_t entries);
/* Makes it visible. True if the driver asked for a call. */
bool rdev_publish(struct rdev *dev);
/* Asks for kicks from the next available chain on, or not at all. */
void rdev_set_kicks(struct rdev *dev, bool wanted);

/* 16-bit words of the shared areas, at byte offset off. */
uint16_t rdev_get16(const uint8_t *area, uint64_t off);
void rdev_set16(uint8_t *area, uint64_t off, uint16_t value);
uint32_t rdev_get32(const uint8_t *area, uint64_t off);
void rdev_set32(uint8_t *area, uint64_t off, uint32_t value);
uint64_t rdev_get64(const uint8_t *area, uint64_t off);

/* Numbers that look random and are the same in each run. */
uint32_t rdev_random(uint64_t *state, uint32_t below);

#endif
