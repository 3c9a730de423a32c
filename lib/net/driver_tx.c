/* SPDX-License-Identifier: MIT */
/*
 * Frames into a transmit ring from the driver's side, and the buffers that they travel in. Knows
 * nothing of ring layouts, nor of what the frames say.
 */
#include <vhu/net_driver.h>

#include <stdlib.h>
#include <string.h>

#include <net/driver.h>
#include <net/virtio_hdr.h>

enum {
	NONE = -1
};

struct vhu_net_tx {
	struct vhu_driver *driver;
	uint32_t resets; /* the driver's, as known here */
	uint32_t hdr_len;
	uint32_t frame_max;
	uint32_t pieces;
	uint32_t entries; /* of the ring, for one frame */
	int32_t current;  /* handed out and not sent, or NONE */
	uint32_t nr, nr_free;
	uint32_t *free;
	uint64_t slot_size;
	uint8_t *slots; /* each: VHU_NET_SLOT_HEAD bytes, the header at their end, the frame */
	uint64_t slots_gpa;
};

static void free_all(struct vhu_net_tx *tx)
{
	tx->resets = tx->driver->resets;
	tx->current = NONE;
	tx->nr_free = tx->nr;
	for (uint32_t i = 0; i < tx->nr; i++)
		tx->free[i] = tx->nr - 1 - i;
}

int vhu_net_tx_new(struct vhu_net_tx **ret_tx, const struct vhu_net_ring_options *options)
{
	struct vhu_net_shape shape;
	struct vhu_net_tx *tx;
	int err = vhu_net_judge_options(options, &shape);

	if (err)
		return err;
	tx = calloc(1, sizeof(*tx));
	if (!tx)
		return -ENOMEM;
	tx->hdr_len = shape.hdr_len;
	tx->frame_max = shape.frame_max;
	tx->pieces = shape.pieces;
	tx->entries = shape.entries;
	tx->nr = shape.nr_buffers;
	tx->slot_size = VHU_NET_SLOT_HEAD + shape.frame_max;
	tx->slot_size += -tx->slot_size % VHU_NET_SLOT_ALIGN;
	tx->free = calloc(tx->nr, sizeof(*tx->free));
	err = tx->free ? vhu_net_new_ring(options, &shape, &tx->driver) : -ENOMEM;
	if (!err) {
		tx->slots = vhu_memory_alloc(options->memory, tx->nr * tx->slot_size,
					     VHU_NET_SLOT_ALIGN, &tx->slots_gpa);
		err = tx->slots ? 0 : -ENOSPC;
	}
	if (err) {
		vhu_net_tx_free(tx);
		return err;
	}
	free_all(tx);
	*ret_tx = tx;
	return 0;
}

void vhu_net_tx_free(struct vhu_net_tx *tx)
{
	if (!tx)
		return;
	vhu_driver_free(tx->driver);
	free(tx->free);
	free(tx);
}

struct vhu_driver *vhu_net_tx_driver(struct vhu_net_tx *tx)
{
	return tx->driver;
}

static uint8_t *frame_of(const struct vhu_net_tx *tx, uint32_t slot)
{
	return tx->slots + slot * tx->slot_size + VHU_NET_SLOT_HEAD;
}

uint32_t vhu_net_tx_reclaim(struct vhu_net_tx *tx)
{
	struct vhu_used used;
	uint32_t n = 0;

	if (vhu_unlikely(tx->resets != tx->driver->resets))
		free_all(tx);
	for (; vhu_driver_take(tx->driver, &used) > 0; n++)
		tx->free[tx->nr_free++] = used.token;
	return n;
}

uint8_t *vhu_net_tx_buffer(struct vhu_net_tx *tx)
{
	if (vhu_unlikely(tx->resets != tx->driver->resets))
		free_all(tx);
	if (vhu_unlikely(tx->driver->fault))
		return NULL;
	if (tx->current == NONE) {
		if (!tx->nr_free || tx->driver->room < tx->entries)
			vhu_net_tx_reclaim(tx);
		if (!tx->nr_free || tx->driver->room < tx->entries)
			return NULL;
		tx->current = (int32_t)tx->free[--tx->nr_free];
	}
	return frame_of(tx, (uint32_t)tx->current);
}

/* A frame of len bytes whose header is at gpa, in as many pieces as were asked for. */
static int add_pieces(struct vhu_net_tx *tx, uint64_t gpa, uint32_t len, uint32_t slot)
{
	struct vhu_buffer pieces[VHU_NET_PIECES_MAX];
	unsigned int nr = vhu_net_cut_pieces(gpa, tx->hdr_len, len, tx->pieces, pieces);

	return vhu_driver_add(tx->driver, pieces, nr, 0, slot);
}

int vhu_net_tx_send(struct vhu_net_tx *tx, const struct vhu_net_hdr *hdr, uint32_t len)
{
	const struct vhu_net_hdr nothing = { 0 };
	struct vhu_virtio_net_hdr raw;
	const uint32_t slot = (uint32_t)tx->current;
	struct vhu_buffer whole;
	int err;

	if (vhu_unlikely(tx->driver->fault))
		return -EPROTO;
	if (vhu_unlikely(tx->current == NONE || tx->resets != tx->driver->resets))
		return -ENOSPC;
	if (vhu_unlikely(!len || len > tx->frame_max))
		return -EMSGSIZE;
	/* 5.1.6.2.1: num_buffers is zero */
	vhu_virtio_hdr_pack(hdr ? hdr : &nothing, 0, &raw);
	if (vhu_likely(tx->hdr_len == sizeof(raw)))
		memcpy(frame_of(tx, slot) - sizeof(raw), &raw, sizeof(raw));
	else
		memcpy(frame_of(tx, slot) - tx->hdr_len, &raw, tx->hdr_len);
	whole.gpa = tx->slots_gpa + slot * tx->slot_size + VHU_NET_SLOT_HEAD - tx->hdr_len;
	whole.len = tx->hdr_len + len;
	if (vhu_likely(tx->pieces == 1))
		err = vhu_driver_add(tx->driver, &whole, 1, 0, slot);
	else
		err = add_pieces(tx, whole.gpa, len, slot);
	if (vhu_likely(!err))
		tx->current = NONE;
	return err;
}

bool vhu_net_tx_publish(struct vhu_net_tx *tx)
{
	return vhu_driver_publish(tx->driver);
}

uint32_t vhu_net_tx_outstanding(const struct vhu_net_tx *tx)
{
	return vhu_driver_outstanding(tx->driver);
}
