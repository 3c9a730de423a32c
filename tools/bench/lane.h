/* SPDX-License-Identifier: MIT */
/*
 * One queue pair of a connection, whichever half we play: frames in bursts, in and out. It knows
 * nothing of sockets, and nothing of why frames are sent.
 */
#ifndef BENCH_LANE_H
#define BENCH_LANE_H

#include <stdbool.h>
#include <stdint.h>
#include <vhu/net_driver.h>
#include <vhu/queue.h>

#include "bench/traffic.h"

/* Frames of one direction. */
struct lane_count {
	uint64_t frames, bytes;
	uint64_t first_ns, last_ns; /* when they passed, as coarse as the loop looks at its clock */
};

struct lane {
	bool is_device;
	bool is_up; /* its rings may be touched */
	unsigned int index;
	uint64_t features; /* agreed */

	/* Driver. */
	struct vhu_net_tx *tx;
	struct vhu_net_rx *rx;
	/* Device. */
	struct vhu_queue *in, *out;
	struct vhu_net_burst *burst;
	uint8_t *stage; /* where a frame is made */

	uint32_t out_caps; /* what the other side takes whole */
	uint32_t out_max;  /* the longest frame that a driver's buffer takes */
	bool in_armed, out_armed;
	bool out_dirty; /* something waits for lane_flush() */
	bool out_full;	/* there was no room at the last visit */

	/* The burst that was taken, and how far it is done with. */
	const struct vhu_net_frame *frames;
	unsigned int nr, done;
	unsigned int skip; /* frames that come again, and were done with before */

	/* A frame that was made and had no room yet. */
	uint32_t made_len;
	struct vhu_net_hdr made_hdr;
	struct traffic_flow flow;

	struct lane_count sent, received;
	uint64_t sent_cells; /* of the flow, in frames that were sent */
	uint64_t dropped;    /* had no room where they were to go */
	uint64_t refused;    /* could not be, or did not fit */
};

enum {
	LANE_BURST = VHU_NET_BURST,
};

/*
 * Takes the next burst: its frames are in lane->frames until lane_done(). The count; 0: nothing;
 * -EAGAIN: look again in some milliseconds; -EPROTO: the ring is broken.
 */
int lane_pull(struct lane *lane);
/* Gives the burst back. */
void lane_done(struct lane *lane);
/*
 * Device: as if the burst had not been taken. It comes again, and what was sent on already is passed
 * over, unless the rings were stopped meanwhile: then rather twice than never.
 */
void lane_put_back(struct lane *lane);

/* Makes and sends the flow's next frame. Its length; 0: no room now, or not running. */
uint32_t lane_send_own(struct lane *lane);
/*
 * Sends a frame of another lane's burst on, changed so that it fits if need be. 0; -ENOSPC: no room
 * now; other errors: it cannot be sent.
 */
int lane_send_on(struct lane *lane, const struct vhu_net_frame *frame, bool swap);
/* Publishes what was sent. from: whose frames they were, or NULL. */
void lane_flush(struct lane *lane, const struct lane *from);

/* Asks to be told of frames that come, or of room. True: there is some already. */
bool lane_arm_in(struct lane *lane);
bool lane_arm_out(struct lane *lane);
/* Asks for silence again. */
void lane_disarm(struct lane *lane);

/* Frames that the device has not given back yet; 0 where we are the device. */
uint32_t lane_on_the_way(struct lane *lane);

#endif
