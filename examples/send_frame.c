/* SPDX-License-Identifier: MIT */
/* A frontend: sends one broadcast frame into whatever switch is behind a vhost-user socket. */
#include <stdio.h>
#include <string.h>
#include <vhu/frontend.h>
#include <vhu/net_driver.h>

static int fail(const char *what, int err, const struct vhu_reason *why)
{
	fprintf(stderr, "%s: %s\n", what, why->text[0] ? why->text : strerror(-err));
	return 1;
}

/* Describes a ring whose driver we are. */
static int use_ring(struct vhu_frontend *fe, unsigned int i, struct vhu_driver *driver)
{
	const struct vhu_frontend_ring ring = {
		.size = sizeof(ring), .driver = driver, .kick_fd = -1, .call_fd = -1
	};

	return vhu_frontend_set_ring(fe, i, &ring);
}

int main(int argc, char **argv)
{
	struct vhu_frontend_options o = { .size = sizeof(o), .nr_rings = 2, .give_up = true };
	struct vhu_net_ring_options ring = { .size = sizeof(ring), .num = 256 };
	struct vhu_reason why = { "" };
	struct vhu_frontend *fe;
	struct vhu_net_rx *rx;
	struct vhu_net_tx *tx;
	uint8_t *frame;
	int err;

	if (argc != 2)
		return fail("usage", 0, &(struct vhu_reason){ "send_frame SOCKET" });
	o.features = VHU_MASK(VHU_F_VERSION_1_BIT) | VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT);
	o.protocol_features = VHU_FRONTEND_PROTOCOL_FEATURES;
	if ((err = vhu_memory_new(&o.memory)) ||
	    (err = vhu_memory_add(o.memory, 0, 4 << 20, 0)) || /* for rings and buffers */
	    (err = vhu_frontend_new(&fe, &o)) || (err = vhu_frontend_connect(fe, argv[1])) ||
	    (err = vhu_frontend_wait(fe, 3000, &why)))
		return fail(argv[1], err, &why);

	/* what the rings look like follows from the features that both sides have */
	ring.memory = o.memory;
	ring.features = vhu_frontend_features(fe);
	if ((err = vhu_net_rx_new(&rx, &ring)) || (err = vhu_net_tx_new(&tx, &ring)) ||
	    (err = use_ring(fe, 0, vhu_net_rx_driver(rx))) ||
	    (err = use_ring(fe, 1, vhu_net_tx_driver(tx))) ||
	    (err = vhu_frontend_start(fe, NULL, NULL)) || (err = vhu_frontend_wait(fe, 3000, &why)))
		return fail("start", err, &why);

	frame = memset(vhu_net_tx_buffer(tx), 0, 60);
	memcpy(frame, "\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01\x88\xb5hello", 19);
	vhu_net_tx_send(tx, NULL, 60);
	vhu_net_tx_publish(tx);
	while (vhu_net_tx_outstanding(tx) && vhu_frontend_state(fe) == VHU_DEVICE_RUNNING) {
		vhu_net_tx_reclaim(tx);
		vhu_frontend_process(fe);
	}
	if (vhu_net_tx_outstanding(tx))
		return fail("send", 0, &(struct vhu_reason){ "the backend left" });
	puts("60 bytes sent and taken");
	vhu_frontend_free(fe); /* before what it was told of */
	vhu_net_tx_free(tx);
	vhu_net_rx_free(rx);
	vhu_memory_free(o.memory);
	return 0;
}
