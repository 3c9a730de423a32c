/* SPDX-License-Identifier: MIT */
/* A walk as text: a table, or a line of JSON. Knows nothing of where walks come from. */
#ifndef VM_WALK_SHOW_H
#define VM_WALK_SHOW_H

#include <stdbool.h>
#include <stddef.h>
#include <vmm/probe.h>

enum {
	WALK_STATIONS = 24, /* of one walk */
	WALK_WHAT = 96,
	WALK_DEVICE = 16,
	WALK_TEXT = 16384,
};

struct walk_station {
	uint64_t time_ns;
	enum vmm_station at;
	uint64_t a, b;
	char what[WALK_WHAT];
	char device[WALK_DEVICE];
};

/* The stations of one exit, the first is VMM_AT_EXIT, the last VMM_AT_ENTER. */
struct walk_way {
	uint64_t number; /* from 1 */
	int cpu;
	unsigned int nr, nr_dropped;
	struct walk_station stations[WALK_STATIONS];
};

/* How many bytes; no 0 at the end counts. */
size_t walk_show(char text[WALK_TEXT], const struct walk_way *way, bool json);
/* What the device thread did later for a walk of that number. */
size_t walk_show_later(char text[WALK_TEXT], const struct walk_station *station, uint64_t number,
		       uint64_t exit_ns, bool json);

#endif
