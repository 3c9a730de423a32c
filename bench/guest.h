/* SPDX-License-Identifier: MIT */
/*
 * A guest for measurements: a device driven over a vhost-user socket, with frames that are sent and
 * taken in bursts. It knows nothing of the backend behind the socket, nor of clocks.
 */
#ifndef BENCH_GUEST_H
#define BENCH_GUEST_H

#include <vhu/frontend.h>
#include <vhu/net_driver.h>

/* What a row of the table measures. */
struct guest_load {
	uint64_t features;  /* the guest acknowledges these, and fails if one is not offered */
	uint32_t num;	    /* entries of a ring */
	uint32_t frame_len; /* of each frame, no FCS */
	uint32_t pieces;    /* descriptors of a frame that is sent */
	bool tso;	    /* the frames are TCP to be segmented */
	uint8_t station;    /* 0 or 1: whose address they are from; they are for the other's */
	uint8_t pair;	 /* several pairs of stations on one switch have addresses of their own */
	uint32_t memory; /* bytes that the guest has; 0: as many as all of this may need */
	bool notified;	 /* the receive ring has a call fd, and the guest waits for it */
	bool listens;	 /* at its socket; else it connects */
	unsigned int burst; /* frames at once */
};

struct guest {
	struct guest_load load;
	struct vhu_memory *memory;
	struct vhu_frontend *fe;
	struct vhu_net_tx *tx;
	struct vhu_net_rx *rx;
	const char *fault; /* why guest_look() said that it failed */
};

/* Frames of 64 KiB for TCP segmentation, page by page as a guest's kernel has them, and rings for them. */
void guest_load_tso(struct guest_load *load);

/* A frame of len bytes as all guests here send it: UDP, or TCP with tso, over IPv4. */
void guest_make_frame(uint8_t *ret_frame, uint32_t len, bool tso);
/* Exchanges source and destination of a frame. */
void guest_swap_frame(uint8_t *frame);
/* The virtio-net header that goes with it. */
struct vhu_net_hdr guest_frame_hdr(bool tso);

/* 0 or -errno. The backend's socket need not be there yet. */
int guest_open(struct guest *guest, const struct guest_load *load, const char *path);
/* Goes on with the start, never blocks. 1: the device runs. 0: not yet. -errno: it never will. */
int guest_look(struct guest *guest);
void guest_close(struct guest *guest);

/* Sends a burst, or as many frames as are given. False: there is no room for all. */
bool guest_send(struct guest *guest);
bool guest_send_some(struct guest *guest, unsigned int nr);
/* Takes back what the backend is done with. The count of frames. */
unsigned int guest_reclaim(struct guest *guest);
/* Takes what was received and gives the buffers back. The count of frames, or -EPROTO. */
int guest_receive(struct guest *guest);
/* Gives the device all free buffers. */
void guest_fill(struct guest *guest);
/* Asks for a call with the next frame. False: there is one already. */
bool guest_arm(struct guest *guest);

#endif
