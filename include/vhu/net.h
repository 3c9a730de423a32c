/* SPDX-License-Identifier: MIT */
/*
 * virtio-net for a backend: bursts of frames out of a transmit ring and into a receive ring, and
 * what makes a frame fit for a receiver that agreed on fewer offloads than the sender.
 *
 * Experimental. Data thread, reader online. The specification is virtio 1.2, section 5.1.6.
 */
#ifndef VHU_NET_H
#define VHU_NET_H

#include <sys/uio.h>
#include <vhu/queue.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
	VHU_NET_HDR_NEEDS_CSUM = 1,
	VHU_NET_HDR_DATA_VALID = 2,

	VHU_NET_GSO_NONE = 0,
	VHU_NET_GSO_TCPV4 = 1,
	VHU_NET_GSO_UDP = 3,
	VHU_NET_GSO_TCPV6 = 4,
	VHU_NET_GSO_UDP_L4 = 5,
	VHU_NET_GSO_ECN = 0x80,

	VHU_NET_BURST = 32,	/* frames in a burst */
	VHU_NET_HEAD_MAX = 256, /* bytes of a frame that are copied before they are judged */
	VHU_NET_HEAD_ROOM = 16, /* free bytes before a pulled frame's head */
	VHU_NET_FRAME_MAX = 65536 + 22, /* Ethernet and two VLAN tags on a 64 KiB packet */
	VHU_NET_IOV_MAX = 1024,		/* pieces of one frame */
};

/* virtio_net_hdr of a frame, in host byte order and judged; num_buffers is the rings' affair. */
struct vhu_net_hdr {
	uint8_t flags;
	uint8_t gso_type;
	uint16_t hdr_len;
	uint16_t gso_size;
	uint16_t csum_start;
	uint16_t csum_offset;
};

/*
 * A frame: Ethernet header first, no FCS. The first head_len bytes are a private copy (all of a
 * short frame; at least the Ethernet, IP and TCP headers of any sane one), so what was judged is
 * what the receiver gets. The rest still lies where the sender put it, nr_iov pieces that may
 * change under our eyes.
 */
struct vhu_net_frame {
	struct vhu_net_hdr hdr;
	uint32_t len;	   /* head_len + the sum of iov */
	uint16_t head_len; /* at most VHU_NET_HEAD_MAX */
	uint16_t nr_iov;
	const uint8_t *head;
	const struct iovec *iov;
};

/* Why a frame in a transmit ring was taken and dropped. */
enum vhu_net_drop {
	VHU_NET_DROP_BAD_CHAIN, /* loop, bad address, writable part: virtio 1.2, 2.7.5 */
	VHU_NET_DROP_SHORT,	/* no whole Ethernet header behind the net header */
	VHU_NET_DROP_LONG,	/* longer than VHU_NET_FRAME_MAX, or in too many pieces */
	VHU_NET_DROP_BAD_HDR,	/* checksum or segmentation fields that cannot be */
	VHU_NET_DROP_DISABLED,	/* the ring is started and disabled */
	VHU_NET_DROP_END,
};
VHU_API const char *vhu_net_drop_name(enum vhu_net_drop drop);

/* Frames pulled together, with the room for their heads and pieces. */
struct vhu_net_burst;
VHU_API int vhu_net_burst_new(struct vhu_net_burst **ret_burst);
VHU_API void vhu_net_burst_free(struct vhu_net_burst *burst);
VHU_API struct vhu_net_frame *vhu_net_burst_frames(struct vhu_net_burst *burst);
/* Frames dropped in the last pull, by cause. */
VHU_API const uint32_t *vhu_net_burst_drops(const struct vhu_net_burst *burst);

/*
 * Takes up to max (at most VHU_NET_BURST) frames from a transmit ring. The count; the frames are in
 * vhu_net_burst_frames() and are borrowed until vhu_net_done(). 0: nothing there (frames that were
 * dropped count as taken: look at the drops). -EAGAIN: the ring is started but not enabled for a
 * moment only; look again in some milliseconds, no kick will tell. -ENOTCONN: not running, or
 * marked as broken.
 * Each pull is followed by vhu_net_done() before the next, also after 0.
 */
VHU_API int vhu_net_pull(struct vhu_queue *queue, struct vhu_net_burst *burst, unsigned int max);
/*
 * True if the memory behind the frames of this burst vanished: nothing of them may be published.
 * Ask before vhu_net_commit() on the receivers.
 */
VHU_API bool vhu_net_is_poisoned(const struct vhu_queue *queue);
/* Gives the buffers of the last pull back, in order, and calls the driver if it asked for that. */
VHU_API void vhu_net_done(struct vhu_queue *queue, struct vhu_net_burst *burst);

/*
 * Copies one frame into a receive ring. 0: done, not yet published. -ENOSPC: not enough buffers
 * now. -EMSGSIZE: no single buffer of this ring takes it. -EAGAIN: its buffers are made of so many
 * pieces that it takes no more before a commit. -ENOTCONN: not running, not enabled, or
 * marked as broken. The frame has to fit what the receiver agreed on: see vhu_net_caps().
 */
VHU_API int vhu_net_push(struct vhu_queue *queue, const struct vhu_net_frame *frame);
/*
 * The same for nr frames in their order, which costs less than one by one. The number pushed; if that
 * is less than nr, vhu_net_push() of the next frame tells why. The error as above if not even the
 * first was pushed.
 */
VHU_API int vhu_net_push_burst(struct vhu_queue *queue, const struct vhu_net_frame *const *frames,
			       unsigned int nr);
/*
 * Publishes what was pushed since the last commit, and calls the driver if it asked for that.
 * -EFAULT: the receiver's memory vanished, nothing was published.
 */
VHU_API int vhu_net_commit(struct vhu_queue *queue);
/* Takes back what was pushed since the last commit; what was pulled and is not done comes again. */
VHU_API void vhu_net_rewind(struct vhu_queue *queue);

/* What a receiver takes whole, as flags. */
enum {
	VHU_NET_CAP_CSUM = 0x1, /* a checksum still to be completed */
	VHU_NET_CAP_TSO4 = 0x2,
	VHU_NET_CAP_TSO6 = 0x4,
	VHU_NET_CAP_ECN = 0x8, /* TSO with CWR set */
	VHU_NET_CAP_UFO = 0x10,
	VHU_NET_CAP_USO4 = 0x20,
	VHU_NET_CAP_USO6 = 0x40,
};
/* From the GUEST_* bits of the agreed features. */
VHU_API uint32_t vhu_net_caps(uint64_t features);
/* The same for a running receive ring. 0 if it does not run. */
VHU_API uint32_t vhu_net_queue_caps(const struct vhu_queue *queue);

/*
 * Judges hdr against the frame and the features that its sender agreed on: checksum within the
 * frame, a known and agreed gso type, gso_size not zero, the checksum flag there with gso. 0, or
 * -EPROTO with a reason.
 */
VHU_API int vhu_net_hdr_check(const struct vhu_net_hdr *hdr, uint32_t len, uint64_t features,
			      struct vhu_reason *why);

/* True if the frame can be pushed to a receiver with these caps as it is. */
VHU_API bool vhu_net_fits(const struct vhu_net_frame *frame, uint32_t caps);

/*
 * Makes frames that fit caps out of one that does not: completes the checksum, cuts TCP over IPv4
 * or IPv6 (with VLAN tags and IPv6 extension headers) into segments of gso_size, and calls emit for
 * each. emit's frame is valid during the call; a negative result of emit ends the work and is
 * returned. 0: all emitted. -EPROTO: the headers are not what the header says; nothing was emitted.
 * -EOPNOTSUPP: a gso type that cannot be cut here.
 */
VHU_API int vhu_net_fit(const struct vhu_net_frame *frame, uint32_t caps,
			int (*emit)(void *arg, const struct vhu_net_frame *frame), void *arg);

#ifdef __cplusplus
}
#endif
#endif
