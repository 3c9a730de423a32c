/* SPDX-License-Identifier: MIT */
/*
 * From a burst of frames to their destinations: learns, looks up, floods, and copies each frame
 * once. It knows ports by their operations only.
 */
#ifndef SW_FORWARD_H
#define SW_FORWARD_H

#include "switch/fdb.h"
#include "switch/frame.h"
#include "switch/port.h"

enum {
	SW_DESTS_MAX = 256,    /* queues that one burst may touch before it publishes */
	SW_RETRY_NS = 50000,   /* how long a full receive ring is waited for */
	SW_WAITS_NS = 1000000, /* all waits for one in a burst: a frame may be cut into thousands */
	/* Frames that one who let that pass has to take before it is waited for again; doubled each time. */
	SW_OWED_MIN = 32,
	SW_OWED_MAX = 4096,
	SW_LOCK_TRIES = 40, /* rounds past destinations that another worker holds */
};

/*
 * A queue that this burst has frames for. They are put into its ring together, at the burst's end, so
 * that its lock is held no longer than that takes.
 */
struct sw_dest {
	struct sw_queue *queue;
	struct sw_touch *touch;
	struct sw_counters *counters;
	uint32_t caps;
	bool is_held;		 /* its lock is ours */
	unsigned int nr_waiting; /* frames of the burst as they came, not pushed yet */
	uint64_t frames;	 /* pushed and not yet published */
	uint64_t bytes;
	uint64_t waited_ns; /* for room in it */
	const struct vhu_net_frame *waiting[VHU_NET_BURST];
};

/* A worker's own. */
struct sw_forward {
	unsigned int worker;
	struct sw_fdb *fdb;
	void (*aging)(void *arg); /* the first dynamic entry was made */
	void *arg;
	uint64_t now_ms;
	uint64_t burst; /* number of the present one */

	/* The present burst's. */
	const struct sw_view *view;
	struct sw_queue *from;
	struct sw_counters *counters;
	bool is_spoilt;	      /* the sender's memory has vanished */
	uint64_t source;      /* the last frame's, as it was learnt; 0: none */
	uint64_t station;     /* the last frame's destination, as it was looked up; 0: none */
	struct sw_port *port; /* what that gave */
	struct sw_dest
		*same; /* where a frame with the Ethernet header at same_head goes; NULL: unknown */
	const uint8_t *same_head;
	unsigned int nr_dests;
	struct sw_dest dest[SW_DESTS_MAX];

	/* The present frame's. */
	const struct vhu_net_frame *frame;
	struct sw_judged judged;
	struct vhu_net_frame variant[2];
	int8_t variant_state[2]; /* 0: not made yet, 1: made, -1: cannot be made */
	struct sw_space space[2];
};

/* Forwards frames that came from this queue. They may be published when it returns. */
void sw_forward_burst(struct sw_forward *fwd, const struct sw_view *view, struct sw_queue *from,
		      const struct vhu_net_frame *frames, unsigned int nr_frames);

#endif
