/* SPDX-License-Identifier: MIT */
/*
 * virtio-net from the driver's side: frames into a transmit ring and out of a receive ring, with
 * the buffers that they travel in (virtio 1.2, 5.1.6). Stands on <vhu/driver.h>.
 *
 * Experimental. One thread at a time for one ring (its data thread).
 */
#ifndef VHU_NET_DRIVER_H
#define VHU_NET_DRIVER_H

#include <vhu/driver.h>
#include <vhu/net.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vhu_net_tx;
struct vhu_net_rx;

struct vhu_net_ring_options {
	size_t size;		   /* sizeof(struct vhu_net_ring_options) */
	struct vhu_memory *memory; /* ring and buffers are allocated there */
	uint32_t num;		   /* entries of the ring */
	uint64_t features;	   /* agreed */
	uint32_t frame_max;	   /* the longest frame, at most VHU_NET_FRAME_MAX; 0: 1518 + 4 */
	/*
	 * Buffers. Transmit: slots for whole frames, 0: num (fewer if a frame takes several entries).
	 * Receive: 0: num.
	 */
	uint32_t nr_buffers;
	/*
	 * Bytes of a receive buffer with MRG_RXBUF, the net header included, 0: 2048; without, a buffer
	 * takes frame_max and the header. Transmit does not look at it.
	 */
	uint32_t buffer_size;
	/*
	 * Pieces that a buffer is cut into: 1, net header and frame in one; 2, the header apart, as Linux
	 * does without ANY_LAYOUT; more, the frame cut too, into equal parts. 0: 1. At most 64 and num.
	 * Goes through an indirect table if INDIRECT_DESC was agreed and this is above 1.
	 */
	uint32_t pieces;
};

/* ---- Transmit ---- */
VHU_API int vhu_net_tx_new(struct vhu_net_tx **ret_tx, const struct vhu_net_ring_options *options);
VHU_API void vhu_net_tx_free(struct vhu_net_tx *tx);
VHU_API struct vhu_driver *vhu_net_tx_driver(struct vhu_net_tx *tx);
/*
 * A free buffer, of frame_max bytes, to write a frame into; the same again until it is sent. Takes
 * used buffers back where none is left. NULL: all are on their way (arm and wait), or the ring is
 * broken.
 */
VHU_API uint8_t *vhu_net_tx_buffer(struct vhu_net_tx *tx);
/*
 * Adds the frame of len bytes that lies in that buffer. hdr NULL: nothing asked of the device. 0,
 * -ENOSPC (no vhu_net_tx_buffer() before this), -EMSGSIZE (none, or more than frame_max), -EPROTO:
 * the ring is broken.
 */
VHU_API int vhu_net_tx_send(struct vhu_net_tx *tx, const struct vhu_net_hdr *hdr, uint32_t len);
/* Publishes what was added, and kicks if the device asked for that. True if it was kicked. */
VHU_API bool vhu_net_tx_publish(struct vhu_net_tx *tx);
/* Takes back what the device has used. The count of frames. */
VHU_API uint32_t vhu_net_tx_reclaim(struct vhu_net_tx *tx);
/* Frames on their way. */
VHU_API uint32_t vhu_net_tx_outstanding(const struct vhu_net_tx *tx);

/* ---- Receive ---- */
VHU_API int vhu_net_rx_new(struct vhu_net_rx **ret_rx, const struct vhu_net_ring_options *options);
VHU_API void vhu_net_rx_free(struct vhu_net_rx *rx);
VHU_API struct vhu_driver *vhu_net_rx_driver(struct vhu_net_rx *rx);
/* Gives the device all free buffers, and kicks it if it asked for that. True if it was kicked. */
VHU_API bool vhu_net_rx_fill(struct vhu_net_rx *rx);
/*
 * Takes up to max (at most VHU_NET_BURST) received frames. The count; they are borrowed until
 * vhu_net_rx_done(). A frame's head is a private copy as in struct vhu_net_frame, the rest lies in
 * the buffers, where the device could still write. -EPROTO: the ring is broken. A frame that cannot
 * be (too short for its header, more buffers than there are, longer than VHU_NET_FRAME_MAX, offloads
 * that were not agreed) is dropped and counted. Of a frame whose buffers have not all come, the first
 * ones are kept for the next pull.
 */
VHU_API int vhu_net_rx_pull(struct vhu_net_rx *rx, unsigned int max);
VHU_API const struct vhu_net_frame *vhu_net_rx_frames(const struct vhu_net_rx *rx);
/* Gives the buffers of the last pull back to the device, as vhu_net_rx_fill() does. */
VHU_API bool vhu_net_rx_done(struct vhu_net_rx *rx);
/* Frames that were dropped because they could not be. */
VHU_API uint64_t vhu_net_rx_bad(const struct vhu_net_rx *rx);

#ifdef __cplusplus
}
#endif
#endif
