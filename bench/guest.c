/* SPDX-License-Identifier: MIT */
/*
 * The guest of the measurements, on libvhu's frontend half. What it does between two bursts is not
 * timed, so it is written for clarity alone.
 */
#include <errno.h>
#include <string.h>

#include "guest.h"

enum {
	GUEST_MEMORY = 96 << 20,
	ETH_LEN = 14,
	IP_LEN = 20,
	TCP_LEN = 20,
	MSS = 1448,
	/* Whole segments, and short enough for OVS, which gives up on a ring for good otherwise. */
	TSO_LEN = ETH_LEN + IP_LEN + TCP_LEN + 45 * MSS,
	/* A buffer of a receive ring, as most drivers make them. */
	BUFFER_SIZE = 2048,
	/* Whole frames of 64 KiB: as many as two bursts need, so that they stay in some cache. */
	LONG_BUFFERS = 64,
};

void guest_load_tso(struct guest_load *load)
{
	load->features |= VHU_MASK(VHU_NET_F_CSUM_BIT) | VHU_MASK(VHU_NET_F_GUEST_CSUM_BIT) |
			  VHU_MASK(VHU_NET_F_HOST_TSO4_BIT) | VHU_MASK(VHU_NET_F_GUEST_TSO4_BIT);
	load->tso = true;
	load->frame_len = TSO_LEN;
	load->num = 2048;
	if (!load->pieces)
		load->pieces = 17;
}

struct vhu_net_hdr guest_frame_hdr(bool tso)
{
	if (!tso)
		return (struct vhu_net_hdr){ 0 };
	return (struct vhu_net_hdr){ .flags = VHU_NET_HDR_NEEDS_CSUM,
				     .gso_type = VHU_NET_GSO_TCPV4,
				     .hdr_len = ETH_LEN + IP_LEN + TCP_LEN,
				     .gso_size = MSS,
				     .csum_start = ETH_LEN + IP_LEN,
				     .csum_offset = 16 };
}

void guest_make_frame(uint8_t *ret_frame, uint32_t len, bool tso)
{
	static const uint8_t start[] = {
		2,    0,    0, 0, 1,  2, 2,    0, 0,  0,  1, 1, 8, 0, /* Ethernet */
		0x45, 0,    0, 0, 0,  0, 0x40, 0, 64, 17, 0, 0,	      /* IPv4, UDP */
		10,   0,    0, 1, 10, 0, 0,    2,		      /* from, to */
		0x30, 0x39, 0, 9, 0,  0, 0,    0,		      /* ports, and UDP's length */
	};
	const uint32_t ip_len = len - ETH_LEN;

	for (uint32_t i = 0; i < len; i++)
		ret_frame[i] = (uint8_t)i;
	memcpy(ret_frame, start, sizeof(start));
	ret_frame[16] = (uint8_t)(ip_len >> 8);
	ret_frame[17] = (uint8_t)ip_len;
	if (tso) {
		ret_frame[23] = 6;
		ret_frame[46] = TCP_LEN / 4 << 4;
		ret_frame[47] = 0x10; /* ACK */
		return;
	}
	ret_frame[38] = (uint8_t)((ip_len - IP_LEN) >> 8);
	ret_frame[39] = (uint8_t)(ip_len - IP_LEN);
}

void guest_swap_frame(uint8_t *frame)
{
	uint8_t mac[6];

	memcpy(mac, frame, 6);
	memcpy(frame, frame + 6, 6);
	memcpy(frame + 6, mac, 6);
}

static int open_rings(struct guest *guest)
{
	const struct guest_load *load = &guest->load;
	const bool mergeable = load->features & VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT);
	const bool is_long = load->frame_len > BUFFER_SIZE;
	struct vhu_net_ring_options o = {
		.size = sizeof(o),
		.memory = guest->memory,
		.num = load->num,
		.features = load->features,
		.frame_max = load->frame_len,
		.buffer_size = BUFFER_SIZE,
	};
	int err;

	o.nr_buffers = is_long && !mergeable ? LONG_BUFFERS : load->num;
	err = vhu_net_rx_new(&guest->rx, &o);
	if (err)
		return err;
	o.nr_buffers = LONG_BUFFERS;
	o.pieces = load->pieces;
	err = vhu_net_tx_new(&guest->tx, &o);
	if (err)
		return err;
	for (unsigned int i = 0; i < 2; i++) {
		struct vhu_driver *driver =
			i ? vhu_net_tx_driver(guest->tx) : vhu_net_rx_driver(guest->rx);
		const struct vhu_frontend_ring ring = {
			.size = sizeof(ring),
			.driver = driver,
			.kick_fd = -1,
			.call_fd = -1,
			.polled = i == 1 || !load->notified,
		};

		err = vhu_frontend_set_ring(guest->fe, i, &ring);
		if (err)
			return err;
	}
	return 0;
}

int guest_open(struct guest *guest, const struct guest_load *load, const char *path)
{
	struct vhu_frontend_options o = {
		.size = sizeof(o),
		.nr_rings = 2,
		.features = load->features | VHU_MASK(VHU_F_PROTOCOL_FEATURES_BIT),
		.features_needed = load->features,
		.protocol_features =
			VHU_FRONTEND_PROTOCOL_FEATURES & ~VHU_MASK(VHU_P_INFLIGHT_SHMFD_BIT),
		.give_up = true,
	};
	int err;

	*guest = (struct guest){ .load = *load };
	err = vhu_memory_new(&guest->memory);
	if (!err)
		err = vhu_memory_add(guest->memory, 0, load->memory ? load->memory : GUEST_MEMORY,
				     0);
	o.memory = guest->memory;
	if (!err)
		err = vhu_frontend_new(&guest->fe, &o);
	if (!err && load->listens)
		err = vhu_frontend_listen(guest->fe, path, 0600, NULL);
	else if (!err)
		err = vhu_frontend_connect(guest->fe, path);
	if (!err)
		err = open_rings(guest);
	if (!err)
		err = vhu_frontend_start(guest->fe, NULL, NULL);
	if (err)
		guest_close(guest);
	return err;
}

int guest_look(struct guest *guest)
{
	const int err = vhu_frontend_process(guest->fe);

	if (err)
		return err;
	switch (vhu_frontend_state(guest->fe)) {
	case VHU_DEVICE_RUNNING:
		return 1;
	case VHU_DEVICE_FAILED:
		return -EPROTO;
	default:
		return 0;
	}
}

void guest_close(struct guest *guest)
{
	vhu_frontend_free(guest->fe);
	vhu_net_tx_free(guest->tx);
	vhu_net_rx_free(guest->rx);
	vhu_memory_free(guest->memory);
	*guest = (struct guest){ 0 };
}

bool guest_send(struct guest *guest)
{
	return guest_send_some(guest, guest->load.burst);
}

bool guest_send_some(struct guest *guest, unsigned int nr)
{
	const struct guest_load *load = &guest->load;
	const struct vhu_net_hdr hdr = guest_frame_hdr(load->tso);

	for (unsigned int i = 0; i < nr; i++) {
		uint8_t *frame = vhu_net_tx_buffer(guest->tx);

		if (!frame)
			goto full;
		/* Its content stays from the first time on. */
		if (frame[12] == 0) {
			guest_make_frame(frame, load->frame_len, load->tso);
			frame[4] = frame[10] = load->pair;
			if (load->station)
				guest_swap_frame(frame);
		}
		frame[18] = (uint8_t)i; /* the last that a driver writes is in the headers */
		if (vhu_net_tx_send(guest->tx, load->tso ? &hdr : NULL, load->frame_len) != 0)
			goto full;
	}
	vhu_net_tx_publish(guest->tx);
	return true;
full:
	vhu_net_tx_publish(guest->tx);
	return false;
}

unsigned int guest_reclaim(struct guest *guest)
{
	return vhu_net_tx_reclaim(guest->tx);
}

int guest_receive(struct guest *guest)
{
	int sum = 0, nr;

	while ((nr = vhu_net_rx_pull(guest->rx, VHU_NET_BURST)) > 0) {
		sum += nr;
		vhu_net_rx_done(guest->rx);
	}
	return nr < 0 || vhu_net_rx_bad(guest->rx) ? -EPROTO : sum;
}

void guest_fill(struct guest *guest)
{
	vhu_net_rx_fill(guest->rx);
}

bool guest_arm(struct guest *guest)
{
	return !vhu_driver_arm(vhu_net_rx_driver(guest->rx));
}
