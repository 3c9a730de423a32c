/* SPDX-License-Identifier: MIT */
/* A backend in one thread: every frame that the guest sends comes back to it. */
#include <poll.h>
#include <stdio.h>
#include <unistd.h>
#include <vhu/backend.h>
#include <vhu/net.h>

static int kick_fd = -1; /* of ring 1, the guest's transmit ring; ring 0 is its receive ring */

static void ring_started(void *arg, unsigned int ring, int fd)
{
	(void)arg;
	kick_fd = ring == 1 ? fd : kick_fd;
}

static void ring_stopped(void *arg, unsigned int ring, int fd)
{
	(void)arg, (void)fd;
	kick_fd = ring == 1 ? -1 : kick_fd;
}

int main(int argc, char **argv)
{
	const struct vhu_backend_ops ops = { .size = sizeof(ops),
					     .queue_started = ring_started,
					     .queue_stopped = ring_stopped };
	struct vhu_backend_options o = { .size = sizeof(o), .nr_rings = 2, .ops = &ops };
	struct vhu_backend *backend;
	struct vhu_net_burst *burst;
	struct vhu_queue *rx, *tx;

	o.features = VHU_BACKEND_RING_FEATURES | VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT);
	o.protocol_features = VHU_BACKEND_PROTOCOL_FEATURES;
	if (argc != 2 || vhu_domain_new(&o.domain) || vhu_net_burst_new(&burst) ||
	    vhu_backend_new(&backend, &o) || vhu_backend_listen(backend, argv[1], 0, NULL))
		return fprintf(stderr, "usage: echo_backend SOCKET (that nobody listens on)\n"), 1;
	rx = vhu_backend_queue(backend, 0);
	tx = vhu_backend_queue(backend, 1);
	for (;;) {
		struct pollfd fds[] = { { vhu_backend_fd(backend), POLLIN, 0 },
					{ kick_fd, POLLIN, 0 } };
		uint64_t kicks;

		if (poll(fds, 2, -1) < 0 || vhu_backend_process(backend) < 0)
			return 1;
		if (kick_fd >= 0 && fds[1].revents && read(kick_fd, &kicks, 8) < 0)
			continue;
		do { /* what finds no buffer in the receive ring is dropped, as on any wire */
			int nr = vhu_net_pull(tx, burst, VHU_NET_BURST);

			for (int i = 0; i < nr; i++)
				vhu_net_push(rx, &vhu_net_burst_frames(burst)[i]);
			vhu_net_commit(rx);
			vhu_net_done(tx, burst);
		} while (vhu_queue_arm(tx)); /* asks for a kick; true: there is more already */
	}
}
