/* SPDX-License-Identifier: MIT */
/*
 * The least that a user of libvhu would write as a backend that polls: a sink, a source, an echo, or a
 * wire between two ports. It keeps no account of frames: the frontend does.
 */
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vhu/backend.h>
#include <vhu/net.h>

#include "guest.h"

enum {
	MAX_PORTS = 2,
	/* Visits between two looks at the sockets: what they cost is not to be seen. */
	LOOK_EVERY = 4096,
	PIECE = 4096,
	MAX_PIECES = 17,
};

struct port {
	struct vhu_backend *backend;
	struct vhu_queue *rx, *tx;
};

struct world {
	struct vhu_domain *domain;
	struct vhu_net_burst *burst;
	struct port port[MAX_PORTS];
	unsigned int nr_ports;
	bool sleeps; /* asks for kicks and sleeps, where there is nothing to do */
	int kick_fd[MAX_PORTS];
	struct vhu_net_frame
		frame; /* the source's: the same again and again, as testpmd's txonly */
	struct iovec iov[MAX_PIECES];
	uint8_t bytes[VHU_NET_FRAME_MAX];
};

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
	(void)number;
	ended = 1;
}

static void quieten(struct world *w, unsigned int i)
{
	if (w->sleeps)
		return;
	vhu_queue_disarm(w->port[i].tx);
	vhu_queue_disarm(w->port[i].rx);
}

static struct world *world_of_callbacks;

static void ring_started(void *arg, unsigned int ring, int kick_fd)
{
	const unsigned int i = (unsigned int)(uintptr_t)arg;

	if (ring == 1)
		world_of_callbacks->kick_fd[i] = kick_fd;
	quieten(world_of_callbacks, i);
}

static void ring_stopped(void *arg, unsigned int ring, int kick_fd)
{
	(void)kick_fd;
	if (ring == 1)
		world_of_callbacks->kick_fd[(uintptr_t)arg] = -1;
}

/* ---- What is done at a visit; the count of frames ---- */
static unsigned int sink(struct world *w)
{
	const int nr = vhu_net_pull(w->port[0].tx, w->burst, VHU_NET_BURST);

	vhu_net_done(w->port[0].tx, w->burst);
	return nr > 0 ? (unsigned int)nr : 0;
}

/* How many of nr frames that lie stride apart there was room for. */
static unsigned int push(struct vhu_queue *rx, const struct vhu_net_frame *frames, unsigned int nr,
			 unsigned int stride)
{
	const struct vhu_net_frame *list[VHU_NET_BURST];
	int done;

	for (unsigned int i = 0; i < nr; i++)
		list[i] = &frames[(size_t)i * stride];
	done = vhu_net_push_burst(rx, list, nr);
	return done > 0 ? (unsigned int)done : 0;
}

static unsigned int source(struct world *w)
{
	const unsigned int nr = push(w->port[0].rx, &w->frame, VHU_NET_BURST, 0);

	if (nr)
		vhu_net_commit(w->port[0].rx);
	return nr;
}

/* What has no room is dropped, as testpmd does. */
static unsigned int carry(struct world *w, struct vhu_queue *tx, struct vhu_queue *rx)
{
	const int nr = vhu_net_pull(tx, w->burst, VHU_NET_BURST);

	if (nr > 0) {
		push(rx, vhu_net_burst_frames(w->burst), (unsigned int)nr, 1);
		if (!vhu_net_is_poisoned(tx))
			vhu_net_commit(rx);
	}
	vhu_net_done(tx, w->burst);
	return nr > 0 ? (unsigned int)nr : 0;
}

static unsigned int echo(struct world *w)
{
	return carry(w, w->port[0].tx, w->port[0].rx);
}

static unsigned int forward(struct world *w)
{
	return carry(w, w->port[0].tx, w->port[1].rx) + carry(w, w->port[1].tx, w->port[0].rx);
}

static const struct mode {
	const char *name;
	unsigned int nr_ports;
	unsigned int (*visit)(struct world *w);
} modes[] = {
	{ "sink", 1, sink },
	{ "source", 1, source },
	{ "echo", 1, echo },
	{ "forward", 2, forward },
};

/* ---- Setup and loop ---- */
static void make_source(struct world *w, uint32_t len, bool tso)
{
	uint32_t at = len < VHU_NET_HEAD_MAX ? len : VHU_NET_HEAD_MAX;

	guest_make_frame(w->bytes, len, tso);
	w->frame = (struct vhu_net_frame){ .hdr = guest_frame_hdr(tso),
					   .len = len,
					   .head_len = (uint16_t)at,
					   .head = w->bytes,
					   .iov = w->iov };
	while (at < len) {
		const uint32_t n = len - at < PIECE ? len - at : PIECE;

		w->iov[w->frame.nr_iov++] = (struct iovec){ w->bytes + at, n };
		at += n;
	}
}

static int open_ports(struct world *w, char *const *paths, bool tso)
{
	const struct vhu_backend_ops ops = { .size = sizeof(ops),
					     .queue_started = ring_started,
					     .queue_stopped = ring_stopped };
	struct vhu_backend_options o = {
		.size = sizeof(o),
		.nr_rings = 2,
		.queue_num = 1,
		.features = VHU_BACKEND_RING_FEATURES | VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT),
		.protocol_features = VHU_BACKEND_PROTOCOL_FEATURES,
		.ops = &ops,
	};
	int err = vhu_domain_new(&w->domain);

	if (!err)
		err = vhu_net_burst_new(&w->burst);
	if (tso)
		o.features |= VHU_MASK(VHU_NET_F_CSUM_BIT) | VHU_MASK(VHU_NET_F_GUEST_CSUM_BIT) |
			      VHU_MASK(VHU_NET_F_HOST_TSO4_BIT) |
			      VHU_MASK(VHU_NET_F_GUEST_TSO4_BIT);
	o.domain = w->domain;
	world_of_callbacks = w;
	for (unsigned int i = 0; i < w->nr_ports && !err; i++) {
		struct port *port = &w->port[i];

		w->kick_fd[i] = -1;
		o.arg = (void *)(uintptr_t)i;
		err = vhu_backend_new(&port->backend, &o);
		if (err)
			return err;
		port->rx = vhu_backend_queue(port->backend, 0);
		port->tx = vhu_backend_queue(port->backend, 1);
		err = vhu_backend_listen(port->backend, paths[i], 0600, NULL);
	}
	return err;
}

static int look(struct world *w)
{
	for (unsigned int i = 0; i < w->nr_ports; i++) {
		const int err = vhu_backend_process(w->port[i].backend);

		if (err)
			return err;
	}
	return 0;
}

/* Until there is work again; a signal ends it too. */
static void doze(struct world *w)
{
	struct pollfd fds[2 * MAX_PORTS];
	uint64_t kicks;

	for (size_t i = 0; i < w->nr_ports; i++) {
		if (vhu_queue_arm(w->port[i].tx))
			return;
		fds[2 * i] = (struct pollfd){ vhu_backend_fd(w->port[i].backend), POLLIN, 0 };
		fds[2 * i + 1] = (struct pollfd){ w->kick_fd[i], POLLIN, 0 };
	}
	if (poll(fds, (nfds_t)2 * w->nr_ports, -1) < 0)
		return;
	for (size_t i = 0; i < w->nr_ports; i++) {
		if (fds[2 * i + 1].revents && read(w->kick_fd[i], &kicks, sizeof(kicks)) < 0)
			return;
	}
}

static int run(struct world *w, const struct mode *mode)
{
	int err = 0;

	for (unsigned int i = 0; !ended && !err; i++) {
		const bool idle = mode->visit(w) == 0;

		if (i % LOOK_EVERY == 0 || (idle && w->sleeps))
			err = look(w);
		if (idle && w->sleeps)
			doze(w);
	}
	return err;
}

static int usage(void)
{
	fputs("usage: backend sink|source|echo SOCKET [--size BYTES | --tso] [--sleep]\n"
	      "       backend forward SOCKET SOCKET [--tso] [--sleep]\n"
	      "Polls for ever; --sleep: waits for kicks.\n",
	      stderr);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "size", required_argument, NULL, 's' },
						 { "tso", no_argument, NULL, 't' },
						 { "sleep", no_argument, NULL, 'z' },
						 { NULL, 0, NULL, 0 } };
	static struct world w;
	const struct mode *mode = NULL;
	struct guest_load load = { 0 };
	uint32_t len = 64;
	bool tso = false;
	int c, err;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 's')
			len = (uint32_t)strtoul(optarg, NULL, 10);
		else if (c == 't')
			tso = true;
		else if (c == 'z')
			w.sleeps = true;
		else
			return usage();
	}
	for (size_t i = 0; optind < argc && i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strcmp(argv[optind], modes[i].name) == 0)
			mode = &modes[i];
	}
	if (!mode || (unsigned int)(argc - optind - 1) != mode->nr_ports || len < 60 || len > 65535)
		return usage();
	w.nr_ports = mode->nr_ports;
	guest_load_tso(&load);
	make_source(&w, tso ? load.frame_len : len, tso);
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	err = open_ports(&w, argv + optind + 1, tso);
	if (!err)
		err = run(&w, mode);
	if (err)
		fprintf(stderr, "backend: %s\n", strerror(-err));
	for (unsigned int i = 0; i < w.nr_ports; i++)
		vhu_backend_free(w.port[i].backend);
	vhu_net_burst_free(w.burst);
	vhu_domain_free(w.domain);
	return err ? 1 : 0;
}
