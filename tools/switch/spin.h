/* SPDX-License-Identifier: MIT */
/*
 * How long an empty ring is worth looking at before one asks to be woken; knows nothing of rings
 * or clocks. The rule is that of KVM's halt polling: work that came soon after one had stopped
 * looking makes the next look longer, work that let itself be waited for makes it shorter.
 */
#ifndef SW_SPIN_H
#define SW_SPIN_H

#include <stdbool.h>
#include <stdint.h>

enum {
	SW_SPIN_FIRST_NS = 10000, /* the shortest but none */
};

struct sw_spin {
	uint32_t len_ns;   /* how long the next look is; 0: none */
	uint64_t since_ns; /* when the ring was found empty; 0: it was not */
};

/* The ring was found empty. True: look again; false: enough. now_ns is never 0. */
static inline bool sw_spin_goes_on(struct sw_spin *spin, uint64_t now_ns)
{
	if (!spin->since_ns)
		spin->since_ns = now_ns;
	return now_ns - spin->since_ns < spin->len_ns;
}

/* There is work in the ring. */
static inline void sw_spin_found(struct sw_spin *spin, uint64_t now_ns, uint32_t max_ns)
{
	uint64_t gap_ns = now_ns - spin->since_ns;

	if (!spin->since_ns)
		return;
	spin->since_ns = 0;
	if (gap_ns > max_ns)
		spin->len_ns = spin->len_ns / 2 < SW_SPIN_FIRST_NS ? 0 : spin->len_ns / 2;
	else if (gap_ns > spin->len_ns)
		spin->len_ns = spin->len_ns ? spin->len_ns * 2 : SW_SPIN_FIRST_NS;
	if (spin->len_ns > max_ns)
		spin->len_ns = max_ns;
}

#endif
