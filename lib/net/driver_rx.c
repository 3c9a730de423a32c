/* SPDX-License-Identifier: MIT */
/*
 * Frames out of a receive ring from the driver's side: gathered from their buffers, judged, and the
 * buffers given back. Knows nothing of ring layouts.
 */
#include <vhu/net_driver.h>

#include <stdlib.h>
#include <string.h>

#include <net/bytes.h>
#include <net/driver.h>
#include <net/parse.h>
#include <net/virtio_hdr.h>

enum {
	IOV_POOL = 4096,
};

struct vhu_net_rx {
	struct vhu_driver *driver;
	uint32_t resets, deaths; /* the driver's, as known here */
	uint64_t judged_as;	 /* features: what the device may send, as the sender's bits */
	uint64_t features;
	uint32_t hdr_len;
	uint32_t pieces;
	uint32_t size; /* of a buffer, header included */
	bool mergeable;
	uint32_t nr, nr_free;
	uint32_t *free;
	/* Used buffers: first those that go back, then those of a frame that is not whole. */
	struct vhu_used *used;
	uint32_t nr_used;
	uint32_t nr_back;
	uint32_t nr_wanted; /* buffers of the frame that is not whole; 0: there is none */
	uint64_t bad;
	uint64_t slot_size;
	uint8_t *slots;
	uint64_t slots_gpa;
	unsigned int nr_iov;
	struct vhu_net_frame frames[VHU_NET_BURST];
	uint8_t heads[VHU_NET_BURST][VHU_NET_HEAD_ROOM + VHU_NET_HEAD_MAX];
	struct iovec iov[IOV_POOL];
};

/*
 * The GUEST_* bits say to the device what the other half says to the driver (5.1.3): a header from
 * the device is judged as one of a sender with these features.
 */
static uint64_t as_sender(uint64_t features)
{
	static const uint8_t rows[][2] = {
		{ VHU_NET_F_GUEST_CSUM_BIT, VHU_NET_F_CSUM_BIT },
		{ VHU_NET_F_GUEST_TSO4_BIT, VHU_NET_F_HOST_TSO4_BIT },
		{ VHU_NET_F_GUEST_TSO6_BIT, VHU_NET_F_HOST_TSO6_BIT },
		{ VHU_NET_F_GUEST_ECN_BIT, VHU_NET_F_HOST_ECN_BIT },
		{ VHU_NET_F_GUEST_UFO_BIT, VHU_NET_F_HOST_UFO_BIT },
		{ VHU_NET_F_GUEST_USO4_BIT, VHU_NET_F_HOST_USO_BIT },
		{ VHU_NET_F_GUEST_USO6_BIT, VHU_NET_F_HOST_USO_BIT },
	};
	uint64_t sender = 0;

	for (size_t i = 0; i < VHU_ARRAY_SIZE(rows); i++)
		if (vhu_has_bit(features, rows[i][0]))
			sender |= VHU_MASK(rows[i][1]);
	return sender;
}

static void free_all(struct vhu_net_rx *rx)
{
	rx->resets = rx->driver->resets;
	rx->deaths = rx->driver->deaths;
	rx->nr_used = 0;
	rx->nr_back = 0;
	rx->nr_wanted = 0;
	rx->nr_free = rx->nr;
	for (uint32_t i = 0; i < rx->nr; i++)
		rx->free[i] = rx->nr - 1 - i;
}

int vhu_net_rx_new(struct vhu_net_rx **ret_rx, const struct vhu_net_ring_options *options)
{
	struct vhu_net_shape shape;
	struct vhu_net_rx *rx;
	int err = vhu_net_judge_options(options, &shape);

	if (err)
		return err;
	rx = calloc(1, sizeof(*rx));
	if (!rx)
		return -ENOMEM;
	rx->features = options->features;
	rx->judged_as = as_sender(options->features);
	rx->mergeable = vhu_has_bit(options->features, VHU_NET_F_MRG_RXBUF_BIT);
	rx->hdr_len = shape.hdr_len;
	rx->pieces = shape.pieces;
	rx->nr = shape.nr_buffers;
	rx->size = shape.hdr_len + shape.frame_max;
	if (rx->mergeable)
		rx->size = options->buffer_size ? options->buffer_size : 2048;
	if (rx->size <= rx->hdr_len || rx->size > VHU_NET_FRAME_MAX + rx->hdr_len)
		err = -EINVAL;
	rx->slot_size = VHU_NET_SLOT_HEAD + (uint64_t)rx->size - rx->hdr_len;
	rx->slot_size += -rx->slot_size % VHU_NET_SLOT_ALIGN;
	rx->free = calloc(rx->nr, sizeof(*rx->free));
	rx->used = calloc(rx->nr, sizeof(*rx->used));
	if (!err && (!rx->free || !rx->used))
		err = -ENOMEM;
	if (!err)
		err = vhu_net_new_ring(options, &shape, &rx->driver);
	if (!err) {
		rx->slots = vhu_memory_alloc(options->memory, rx->nr * rx->slot_size,
					     VHU_NET_SLOT_ALIGN, &rx->slots_gpa);
		err = rx->slots ? 0 : -ENOSPC;
	}
	if (err) {
		vhu_net_rx_free(rx);
		return err;
	}
	free_all(rx);
	*ret_rx = rx;
	return 0;
}

void vhu_net_rx_free(struct vhu_net_rx *rx)
{
	if (!rx)
		return;
	vhu_driver_free(rx->driver);
	free(rx->free);
	free(rx->used);
	free(rx);
}

struct vhu_driver *vhu_net_rx_driver(struct vhu_net_rx *rx)
{
	return rx->driver;
}

static uint64_t buffer_offset(const struct vhu_net_rx *rx, uint32_t buffer)
{
	return buffer * rx->slot_size + VHU_NET_SLOT_HEAD - rx->hdr_len;
}

bool vhu_net_rx_fill(struct vhu_net_rx *rx)
{
	struct vhu_buffer pieces[VHU_NET_PIECES_MAX];

	if (vhu_unlikely(rx->resets != rx->driver->resets))
		free_all(rx);
	while (rx->nr_free) {
		const uint32_t buffer = rx->free[rx->nr_free - 1];
		unsigned int nr = 1;

		pieces[0].gpa = rx->slots_gpa + buffer_offset(rx, buffer);
		pieces[0].len = rx->size;
		if (vhu_unlikely(rx->pieces > 1))
			nr = vhu_net_cut_pieces(pieces[0].gpa, rx->hdr_len, rx->size - rx->hdr_len,
						rx->pieces, pieces);
		/* the ring may have fewer entries than there are buffers */
		if (vhu_driver_add(rx->driver, pieces, 0, nr, buffer))
			break;
		rx->nr_free--;
	}
	return vhu_driver_publish(rx->driver);
}

/* The buffers of the last pull are free; those of a frame that is not whole stay. */
static void recycle(struct vhu_net_rx *rx)
{
	for (uint32_t i = 0; i < rx->nr_back; i++)
		rx->free[rx->nr_free++] = rx->used[i].token;
	rx->nr_used -= rx->nr_back;
	if (vhu_unlikely(rx->nr_used != 0))
		memmove(rx->used, rx->used + rx->nr_back, rx->nr_used * sizeof(*rx->used));
	rx->nr_back = 0;
	rx->nr_iov = 0;
}

/* A segment of UDP over the IP version that was not agreed: one bit of the sender's stands for both. */
static bool is_wrong_uso(const struct vhu_net_rx *rx, const struct vhu_net_frame *frame)
{
	unsigned int bit = VHU_NET_F_GUEST_USO4_BIT;
	uint16_t ethertype;

	if (frame->hdr.gso_type != VHU_NET_GSO_UDP_L4)
		return false;
	vhu_net_l2_len(frame->head, frame->head_len, &ethertype);
	if (ethertype == VHU_ETHERTYPE_IPV6)
		bit = VHU_NET_F_GUEST_USO6_BIT;
	return !vhu_has_bit(rx->features, bit);
}

/* Judges the header that frame->hdr has, and clears what it may not say. */
static bool judge_hdr(const struct vhu_net_rx *rx, struct vhu_net_frame *frame)
{
	if (vhu_net_hdr_check(&frame->hdr, frame->len, rx->judged_as, NULL))
		return false;
	if (vhu_unlikely(is_wrong_uso(rx, frame)))
		return false;
	/* 5.1.6.4.1: DATA_VALID is for those who agreed on GUEST_CSUM; other flags are none */
	frame->hdr.flags &= VHU_NET_HDR_NEEDS_CSUM | VHU_NET_HDR_DATA_VALID;
	if (!vhu_has_bit(rx->features, VHU_NET_F_GUEST_CSUM_BIT))
		frame->hdr.flags = 0;
	return true;
}

/* Makes a frame of the nr used buffers. False: it cannot be. One buffer has a body of its own. */
static VHU_ALWAYS_INLINE bool make_frame(struct vhu_net_rx *rx, unsigned int i,
					 const struct vhu_used *used, uint32_t nr)
{
	struct vhu_net_frame *frame = &rx->frames[i];
	uint8_t *head = rx->heads[i] + VHU_NET_HEAD_ROOM;
	struct iovec *iov = &rx->iov[rx->nr_iov];
	struct vhu_virtio_net_hdr raw;
	uint64_t len = 0;
	uint32_t head_len = 0, off = rx->hdr_len;

	for (uint32_t k = 0; k < nr; k++)
		len += used[k].len;
	if (len < rx->hdr_len + VHU_ETH_LEN || len - rx->hdr_len > VHU_NET_FRAME_MAX)
		return false;
	if (nr > VHU_NET_IOV_MAX)
		return false;
	memcpy(&raw, rx->slots + buffer_offset(rx, used[0].token), rx->hdr_len);
	vhu_virtio_hdr_unpack(&raw, &frame->hdr);
	frame->len = (uint32_t)len - rx->hdr_len;
	frame->head = head;
	frame->iov = iov;
	for (uint32_t k = 0; k < nr; k++, off = 0) {
		uint8_t *at = rx->slots + buffer_offset(rx, used[k].token) + off;
		uint32_t left = used[k].len - off;
		uint32_t part = vhu_min_u32(left, VHU_NET_HEAD_MAX - head_len);

		memcpy(head + head_len, at, part);
		head_len += part;
		if (left > part) {
			iov->iov_base = at + part;
			iov->iov_len = left - part;
			iov++;
		}
	}
	frame->head_len = (uint16_t)head_len;
	frame->nr_iov = (uint16_t)(iov - frame->iov);
	if (!judge_hdr(rx, frame))
		return false;
	rx->nr_iov += frame->nr_iov;
	return true;
}

/*
 * How many buffers the frame has that begins in this one. 0: that cannot be known.
 */
static uint32_t read_wanted(const struct vhu_net_rx *rx, const struct vhu_used *used)
{
	const uint8_t *at = rx->slots + buffer_offset(rx, used->token);
	uint16_t wanted;

	if (used->len < rx->hdr_len)
		return 0;
	if (!rx->mergeable)
		return 1;
	wanted = vhu_read_once(
		(const uint16_t *)(const void *)(at +
						 offsetof(struct vhu_virtio_net_hdr, num_buffers)));
	/* more than there are would be waited for in vain */
	return wanted <= rx->nr ? wanted : 0;
}

/* What a device that died left of a frame: nobody will send the rest. */
static void drop_rest(struct vhu_net_rx *rx)
{
	if (rx->deaths == rx->driver->deaths || rx->driver->nr_kept)
		return;
	rx->deaths = rx->driver->deaths;
	if (!rx->nr_wanted)
		return;
	rx->nr_wanted = 0;
	rx->nr_back = rx->nr_used;
	rx->bad++;
}

int vhu_net_rx_pull(struct vhu_net_rx *rx, unsigned int max)
{
	unsigned int nr = 0;
	int got = 0;

	if (vhu_unlikely(rx->resets != rx->driver->resets))
		free_all(rx);
	recycle(rx);
	max = vhu_min_u32(max, VHU_NET_BURST);
	while (nr < max && rx->nr_iov <= IOV_POOL - VHU_NET_IOV_MAX) {
		const struct vhu_used *used;
		bool good;

		if (vhu_unlikely(rx->deaths != rx->driver->deaths))
			drop_rest(rx);
		got = vhu_driver_take(rx->driver, &rx->used[rx->nr_used]);
		if (got <= 0)
			break;
		if (!rx->nr_wanted)
			rx->nr_wanted = read_wanted(rx, &rx->used[rx->nr_used]);
		rx->nr_used++;
		/* a buffer whose header is none is a bad frame of its own */
		if (rx->nr_used - rx->nr_back < rx->nr_wanted)
			continue;
		used = rx->used + rx->nr_back;
		if (vhu_likely(rx->nr_wanted == 1))
			good = make_frame(rx, nr, used, 1);
		else
			good = rx->nr_wanted && make_frame(rx, nr, used, rx->nr_wanted);
		if (vhu_likely(good))
			nr++;
		else
			rx->bad++;
		rx->nr_back = rx->nr_used;
		rx->nr_wanted = 0;
	}
	return got < 0 && !nr ? got : (int)nr;
}

const struct vhu_net_frame *vhu_net_rx_frames(const struct vhu_net_rx *rx)
{
	return rx->frames;
}

bool vhu_net_rx_done(struct vhu_net_rx *rx)
{
	if (vhu_unlikely(rx->resets != rx->driver->resets))
		free_all(rx);
	recycle(rx);
	return vhu_net_rx_fill(rx);
}

uint64_t vhu_net_rx_bad(const struct vhu_net_rx *rx)
{
	return rx->bad;
}
