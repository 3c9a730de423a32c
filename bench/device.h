/* SPDX-License-Identifier: MIT */
/*
 * The device side that ring_cost times: the same four deeds by libvhu (device_vhu.c) and by DPDK's
 * librte_vhost (device_dpdk.c), one of them linked in.
 *
 * The timed ones are functions of their own, never inlined: callgrind counts within them by name
 * (--toggle-collect).
 */
#ifndef BENCH_DEVICE_H
#define BENCH_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

enum {
	DEVICE_PORTS = 2,
};

struct device_options {
	uint64_t features; /* that the guest will acknowledge */
	uint32_t frame_len;
	bool tso;
	bool huge;    /* memory of huge pages, where it would have them */
	bool no_free; /* DPDK: mbufs are given back outside of what is timed */
	int cpu;
	unsigned int burst;
};

/* Listens on the sockets of both ports. 0 or -errno. */
int device_open(const struct device_options *options, const char *const paths[DEVICE_PORTS]);
/* Goes on with its sockets, never blocks. 1: all rings run. 0: not yet. -errno. */
int device_look(void);
void device_close(void);

/* Untimed, before each of the timed calls; give: device_give() is next. */
void device_prepare(bool give);

/* Takes a burst from the port's transmit ring and gives its buffers back. The count of frames. */
unsigned int device_take(unsigned int port);
/* Puts a burst of frames of the device's own into the port's receive ring. */
unsigned int device_give(unsigned int port);
/* Takes a burst from one port and puts it into the other. */
unsigned int device_forward(unsigned int from, unsigned int to);

/* Untimed, after each of them. */
void device_clean(void);

#endif
