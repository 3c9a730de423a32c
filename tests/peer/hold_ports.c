/* SPDX-License-Identifier: MIT */
/*
 * Many virtual machines in one process: connects to sockets DIR/0 to DIR/N-1, runs a queue pair on
 * each, and stands still until it is told otherwise on standard input. It must not know who serves the sockets.
 *
 * usage: hold_ports DIR N
 *	more N		connects to the next N sockets of the folder
 *	send I J	a frame from the station behind port I to that behind port J (-1: to all)
 *	take J I	waits for a frame from station I at port J
 * Each is answered by one line: "ready N", "sent", "taken", or "lost".
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <vhu/frontend.h>
#include <vhu/net_driver.h>

enum {
	WAIT_MS = 20000,
	MEMORY_SIZE = 128 << 10,
	FRAME_LEN = 60,
};

struct port {
	struct vhu_memory *memory;
	struct vhu_frontend *frontend;
	struct vhu_net_rx *rx;
	struct vhu_net_tx *tx;
};

static void die(const char *what, int err, const struct vhu_reason *why)
{
	fprintf(stderr, "hold_ports: %s: %s %s\n", what, strerror(-err), why ? why->text : "");
	exit(1);
}

static void use_ring(struct port *port, unsigned int i, struct vhu_driver *driver)
{
	const struct vhu_frontend_ring ring = {
		.size = sizeof(ring), .driver = driver, .kick_fd = -1, .call_fd = -1
	};
	int err = vhu_frontend_set_ring(port->frontend, i, &ring);

	if (err)
		die("ring", err, NULL);
}

static void connect_port(struct port *port, const char *path)
{
	struct vhu_frontend_options options = {
		.size = sizeof(options),
		.nr_rings = 2,
		.give_up = true,
		.features = VHU_MASK(VHU_F_VERSION_1_BIT) | VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT) |
			    VHU_MASK(VHU_F_EVENT_IDX_BIT),
		.protocol_features = VHU_FRONTEND_PROTOCOL_FEATURES,
	};
	struct vhu_net_ring_options ring = { .size = sizeof(ring), .num = 256, .nr_buffers = 16 };
	struct vhu_reason why = { "" };
	int err;

	if ((err = vhu_memory_new(&port->memory)) ||
	    (err = vhu_memory_add(port->memory, 0, MEMORY_SIZE, 0)))
		die("memory", err, NULL);
	options.memory = port->memory;
	if ((err = vhu_frontend_new(&port->frontend, &options)) ||
	    (err = vhu_frontend_connect(port->frontend, path)) ||
	    (err = vhu_frontend_wait(port->frontend, WAIT_MS, &why)))
		die(path, err, &why);
	ring.memory = port->memory;
	ring.features = vhu_frontend_features(port->frontend);
	if ((err = vhu_net_rx_new(&port->rx, &ring)) || (err = vhu_net_tx_new(&port->tx, &ring)))
		die("rings", err, NULL);
	use_ring(port, 0, vhu_net_rx_driver(port->rx));
	use_ring(port, 1, vhu_net_tx_driver(port->tx));
	vhu_net_rx_fill(port->rx);
	if ((err = vhu_frontend_start(port->frontend, NULL, NULL)) ||
	    (err = vhu_frontend_wait(port->frontend, WAIT_MS, &why)))
		die("start", err, &why);
}

static void put_station(uint8_t *mac, int station)
{
	const uint8_t bytes[6] = { 2, 0, 0, 0, (uint8_t)(station >> 8), (uint8_t)station };

	if (station < 0)
		memset(mac, 0xff, 6);
	else
		memcpy(mac, bytes, 6);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void pause_shortly(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

static bool send_frame(struct port *port, int from, int to)
{
	uint64_t end = now_ms() + WAIT_MS;
	uint8_t *frame = vhu_net_tx_buffer(port->tx);

	if (!frame)
		return false;
	memset(frame, 0, FRAME_LEN);
	put_station(frame, to);
	put_station(frame + 6, from);
	memcpy(frame + 12, "\x88\xb5", 2);
	vhu_net_tx_send(port->tx, NULL, FRAME_LEN);
	vhu_net_tx_publish(port->tx);
	for (; vhu_net_tx_outstanding(port->tx) && now_ms() < end; pause_shortly())
		vhu_net_tx_reclaim(port->tx);
	return !vhu_net_tx_outstanding(port->tx);
}

/* Drops what comes from others. */
static bool take_frame(struct port *port, int from)
{
	uint64_t end = now_ms() + WAIT_MS;
	bool found = false;
	uint8_t mac[6];

	put_station(mac, from);
	for (; !found && now_ms() < end; pause_shortly()) {
		int nr = vhu_net_rx_pull(port->rx, VHU_NET_BURST);
		const struct vhu_net_frame *frames = vhu_net_rx_frames(port->rx);

		for (int i = 0; i < nr; i++)
			if (!memcmp(frames[i].head + 6, mac, 6))
				found = true;
		vhu_net_rx_done(port->rx);
	}
	return found;
}

/* Connects until there are nr ports. */
static struct port *grow(struct port *ports, int have, int nr, const char *dir)
{
	ports = realloc(ports, (size_t)nr * sizeof(*ports));
	if (!ports)
		die("ports", -ENOMEM, NULL);
	for (int i = have; i < nr; i++) {
		char path[108];

		snprintf(path, sizeof(path), "%s/%d", dir, i);
		connect_port(&ports[i], path);
	}
	printf("ready %d\n", nr);
	fflush(stdout);
	return ports;
}

int main(int argc, char **argv)
{
	struct rlimit files = { .rlim_cur = 1 << 20, .rlim_max = 1 << 20 };
	struct port *ports;
	char line[100];
	int nr, a, b;

	if (argc != 3 || atoi(argv[2]) < 1) {
		fputs("usage: hold_ports DIR N\n", stderr);
		return 2;
	}
	if (setrlimit(RLIMIT_NOFILE, &files)) {
		getrlimit(RLIMIT_NOFILE, &files);
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	nr = atoi(argv[2]);
	ports = grow(NULL, 0, nr, argv[1]);
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "more %d", &a) == 1 && a > 0) {
			ports = grow(ports, nr, nr + a, argv[1]);
			nr += a;
		} else if (sscanf(line, "send %d %d", &a, &b) == 2 && a >= 0 && a < nr) {
			puts(send_frame(&ports[a], a, b) ? "sent" : "lost");
		} else if (sscanf(line, "take %d %d", &a, &b) == 2 && a >= 0 && a < nr) {
			puts(take_frame(&ports[a], b) ? "taken" : "lost");
		} else {
			fputs("hold_ports: no such command\n", stderr);
			return 2;
		}
		fflush(stdout);
	}
	return 0;
}
