/* SPDX-License-Identifier: MIT */
/*
 * Prints each access's way through the machine: the stations between a vCPU's exit and its return,
 * and what the device thread does for it later, with microseconds since the exit. Knows nothing of
 * how a station is passed.
 */
#ifndef VM_WALK_H
#define VM_WALK_H

#include <stdbool.h>
#include <vmm/probe.h>

#include "common/loop.h"

struct walk;

/* Shown on fd (borrowed), as JSON, a line each, or as tables. all: those that only read, too, and
 * those to no device. 0 or -errno. */
int walk_new(struct walk **ret_walk, struct loop *loop, int fd, bool json, bool all);
/* The machine has gone before. NULL is allowed. */
void walk_free(struct walk *walk);
/* What the machine is made with. */
const struct vmm_probe *walk_probe(const struct walk *walk);

#endif
