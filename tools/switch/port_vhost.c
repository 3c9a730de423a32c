// SPDX-License-Identifier: MIT
/*
 * Ports whose other end is a vhost-user frontend: a thin layer between the library's backend half
 * and the switch. Ring 2n is a guest's receive ring, ring 2n+1 its transmit ring.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <syslog.h>
#include <unistd.h>

#include "switch/control.h"

struct vhost {
	struct vhu_backend *backend;
	struct sw_watch watch;
	bool was_connected;
	bool is_banned; /* its peer has held up a worker, and with it all other ports */
};

/* virtio 1.2, 5.1.4; all in little-endian order */
enum {
	CONFIG_STATUS = 6,
	CONFIG_MAX_PAIRS = 8,
	CONFIG_MTU = 10,
	CONFIG_SPEED = 12,
	CONFIG_DUPLEX = 16,
	CONFIG_SIZE = 20, /* in whole words */
	STATUS_LINK_UP = 1,
};

/*
 * What QEMU shows a guest is what it offers itself, less the offloads, GUEST_ANNOUNCE, MTU and MQ
 * that are not offered here (7.2 and 10.0 look at UFO, the latter at USO too); control queue and
 * status are its own affair. A frontend that passes on all that it is offered needs them to hang
 * together: MQ and GUEST_ANNOUNCE rest on a control queue that only a frontend can serve, so a port
 * of one queue pair offers none of the three; STATUS and SPEED_DUPLEX rest on a configuration space.
 * Each segmentation rests on the checksum of its direction (virtio 1.2, 5.1.3.1).
 */
static const uint8_t offloads[] = {
	VHU_NET_F_CSUM_BIT,	  VHU_NET_F_HOST_TSO4_BIT,  VHU_NET_F_HOST_TSO6_BIT,
	VHU_NET_F_HOST_ECN_BIT,	  VHU_NET_F_HOST_UFO_BIT,   VHU_NET_F_HOST_USO_BIT,
	VHU_NET_F_GUEST_CSUM_BIT, VHU_NET_F_GUEST_TSO4_BIT, VHU_NET_F_GUEST_TSO6_BIT,
	VHU_NET_F_GUEST_ECN_BIT,  VHU_NET_F_GUEST_UFO_BIT,  VHU_NET_F_GUEST_USO4_BIT,
	VHU_NET_F_GUEST_USO6_BIT,
};

static uint64_t features(const struct sw_spec *spec)
{
	uint64_t ret = VHU_BACKEND_RING_FEATURES | VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT);

	for (size_t i = 0; i < sizeof(offloads); i++)
		ret |= VHU_MASK(offloads[i]);
	if (spec->nr_queues > 1)
		ret |= VHU_MASK(VHU_NET_F_MQ_BIT) | VHU_MASK(VHU_NET_F_CTRL_VQ_BIT) |
		       VHU_MASK(VHU_NET_F_GUEST_ANNOUNCE_BIT);
	if (spec->mtu)
		ret |= VHU_MASK(VHU_NET_F_MTU_BIT);
	if (spec->has_config)
		ret |= VHU_MASK(VHU_NET_F_STATUS_BIT) | VHU_MASK(VHU_NET_F_SPEED_DUPLEX_BIT);
	/* user-mode Linux starts its packed rings where a split one begins, and never finds back */
	if (spec->has_inband)
		ret &= ~VHU_MASK(VHU_F_RING_PACKED_BIT);
	return ret;
}

static uint64_t protocol_features(const struct sw_spec *spec)
{
	uint64_t ret = VHU_BACKEND_PROTOCOL_FEATURES;

	if (spec->has_config)
		ret |= VHU_MASK(VHU_P_CONFIG_BIT);
	if (spec->has_inband)
		ret |= VHU_MASK(VHU_P_INBAND_NOTIFICATIONS_BIT);
	return ret;
}

uint64_t sw_vhost_features(void)
{
	const struct sw_spec plain = { .nr_queues = SW_QUEUES_DEFAULT };

	return features(&plain);
}

uint64_t sw_vhost_protocol_features(void)
{
	const struct sw_spec plain = { .nr_queues = SW_QUEUES_DEFAULT };

	return protocol_features(&plain);
}

/* ---- What the backend tells, on the control thread ---- */

static bool is_rx_ring(unsigned int ring)
{
	return ring & 1;
}

static void on_connected(void *arg)
{
	struct sw_port *port = arg;
	struct vhost *vhost = port->kind;

	vhost->was_connected = true;
	sw_log(port->sw, LOG_INFO, "%s: a frontend has connected", port->spec.name);
}

static void on_queue_started(void *arg, unsigned int ring, int kick_fd)
{
	struct sw_port *port = arg;
	struct sw_queue *queue = &port->queue[ring / 2];

	if (is_rx_ring(ring))
		sw_queue_watch(queue, kick_fd);
	sw_queue_attend(queue, SW_ATTEND_RINGS);
}

static void on_queue_stopped(void *arg, unsigned int ring, int kick_fd)
{
	struct sw_port *port = arg;

	(void)kick_fd;
	if (is_rx_ring(ring))
		sw_queue_unwatch(&port->queue[ring / 2]);
	else
		sw_port_set_up(port, ring / 2, false);
}

static void on_event(void *arg, const struct vhu_event *event)
{
	struct sw_port *port = arg;

	if (event->kind == VHU_EVENT_RING_STATE && event->ring >= 0 &&
	    (unsigned int)event->ring / 2 < port->nr_queues &&
	    !is_rx_ring((unsigned int)event->ring))
		sw_port_set_up(port, (unsigned int)event->ring / 2,
			       event->to == VHU_RING_STARTED_ENABLED);
}

/* The station lives behind this port from now on: said to the table, and to the other switches. */
static void on_rarp(void *arg, const uint8_t mac[6])
{
	struct sw_port *port = arg;

	/* one at a time: the table is searched for it, and a frame is made */
	if (atomic_exchange(&port->rarp, SW_RARP_PENDING | sw_fdb_key(mac, 0)))
		return;
	sw_fdb_forget_mac(port->sw->fdb, mac, &port->spec.vlans);
	sw_queue_attend(&port->queue[0], SW_ATTEND_VISIT);
}

static int on_mtu(void *arg, unsigned int mtu)
{
	struct sw_port *port = arg;

	if (mtu < SW_MTU_MIN || mtu > SW_MTU_MAX || (port->spec.mtu && mtu > port->spec.mtu))
		return -EINVAL;
	atomic_store(&port->mtu, mtu);
	return 0;
}

static void put_le16(uint8_t *p, unsigned int value)
{
	p[0] = (uint8_t)value;
	p[1] = (uint8_t)(value >> 8);
}

static int on_config(void *arg, void *ret_bytes, size_t size)
{
	static const uint8_t duplex[] = {
		[SW_DUPLEX_UNKNOWN] = 0xff,
		[SW_DUPLEX_HALF] = 0,
		[SW_DUPLEX_FULL] = 1,
	};
	const struct sw_port *port = arg;
	const uint32_t speed = port->spec.speed ? port->spec.speed : UINT32_MAX;
	uint8_t config[CONFIG_SIZE] = { 0 };

	put_le16(config + CONFIG_STATUS, STATUS_LINK_UP);
	put_le16(config + CONFIG_MAX_PAIRS, port->nr_queues);
	put_le16(config + CONFIG_MTU, port->spec.mtu);
	put_le16(config + CONFIG_SPEED, speed & 0xffff);
	put_le16(config + CONFIG_SPEED + 2, speed >> 16);
	config[CONFIG_DUPLEX] = duplex[port->spec.duplex];
	memset(ret_bytes, 0, size);
	memcpy(ret_bytes, config, size < sizeof(config) ? size : sizeof(config));
	return 0;
}

static void on_closed(void *arg, int err, const char *reason)
{
	struct sw_port *port = arg;
	struct vhost *vhost = port->kind;

	for (unsigned int i = 0; i < port->nr_queues; i++)
		sw_port_set_up(port, i, false);
	atomic_store(&port->mtu, port->spec.mtu);
	sw_fdb_forget_port(port->sw->fdb, port->slot, false);
	if (err == -EDEADLK)
		vhost->is_banned = true;
	if (!vhost->was_connected)
		return;
	vhost->was_connected = false;
	if (err)
		sw_log(port->sw, LOG_WARNING, "%s: disconnected: %s", port->spec.name,
		       reason ? reason : strerror(-err));
	else
		sw_log(port->sw, LOG_INFO, "%s: the frontend has gone", port->spec.name);
}

static void on_complaint(void *arg, const char *text)
{
	struct sw_port *port = arg;

	sw_log(port->sw, LOG_WARNING, "%s: %s", port->spec.name, text);
}

static void on_features(void *arg, uint64_t agreed)
{
	struct sw_port *port = arg;

	sw_log(port->sw, LOG_DEBUG, "%s: features 0x%llx agreed", port->spec.name,
	       (unsigned long long)agreed);
}

static const struct vhu_backend_ops backend_ops = {
	.size = sizeof(struct vhu_backend_ops),
	.connected = on_connected,
	.features = on_features,
	.queue_started = on_queue_started,
	.queue_stopped = on_queue_stopped,
	.rarp = on_rarp,
	.mtu = on_mtu,
	.config = on_config,
	.closed = on_closed,
	.complaint = on_complaint,
	.event = on_event,
};

/* ---- The port, on the control thread ---- */

static void process(void *arg)
{
	struct sw_port *port = arg;
	struct vhost *vhost = port->kind;
	int ret = vhu_backend_process(vhost->backend);

	/* It would do so again with the next connection: a second or two for everybody each time. */
	if (vhost->is_banned && !vhu_backend_close(vhost->backend))
		ret = -EDEADLK;
	if (ret < 0 && ret != -EINPROGRESS) {
		sw_watch_remove(port->sw, &vhost->watch);
		sw_port_failed(port, ret);
	}
}

static int attach(struct sw_port *port, char *err, size_t size)
{
	const struct sw_spec *spec = &port->spec;
	struct vhost *vhost = port->kind;
	int ret;

	if (spec->fd >= 0)
		ret = vhu_backend_take_fd(vhost->backend, spec->fd);
	else if (spec->is_client)
		ret = vhu_backend_connect(vhost->backend, spec->target);
	else
		ret = vhu_backend_listen(vhost->backend, spec->target, spec->mode,
					 spec->group[0] ? spec->group : NULL);
	if (ret == -EADDRINUSE)
		snprintf(err, size, "%s: a live program listens there already", spec->target);
	else if (ret == -EEXIST)
		snprintf(err, size, "%s: there is a file, and it is no socket", spec->target);
	else if (ret)
		snprintf(err, size, "%s: %s", spec->target, strerror(-ret));
	return ret;
}

static int vhost_open(struct sw_port *port, char *err, size_t size)
{
	struct vhost *vhost = calloc(1, sizeof(*vhost));
	struct vhu_backend_options options = {
		.size = sizeof(options),
		.domain = port->sw->domain,
		.nr_rings = port->nr_queues * 2,
		.queue_num = port->nr_queues,
		.features = features(&port->spec),
		.protocol_features = protocol_features(&port->spec),
		.ops = &backend_ops,
		.arg = port,
	};
	int ret;

	/* From here on it is the switch's, whatever comes. */
	if (!vhost || vhu_backend_new(&vhost->backend, &options)) {
		if (port->spec.fd >= 0)
			close(port->spec.fd);
		free(vhost);
		return -ENOMEM;
	}
	port->kind = vhost;
	for (unsigned int i = 0; i < port->nr_queues; i++) {
		port->queue[i].tx = vhu_backend_queue(vhost->backend, 2 * i);
		port->queue[i].rx = vhu_backend_queue(vhost->backend, 2 * i + 1);
	}
	ret = attach(port, err, size);
	if (!ret)
		ret = sw_watch_add(port->sw, &vhost->watch, vhu_backend_fd(vhost->backend), EPOLLIN,
				   process, port);
	return ret;
}

static int vhost_close(struct sw_port *port)
{
	struct vhost *vhost = port->kind;
	int ret;

	vhost->was_connected = false; /* told to go, so that is no news */
	ret = vhu_backend_close(vhost->backend);
	if (ret == -EINPROGRESS) {
		vhu_backend_process(vhost->backend);
		ret = vhu_backend_close(vhost->backend);
	}
	return ret;
}

static void vhost_free(struct sw_port *port)
{
	struct vhost *vhost = port->kind;

	if (!vhost)
		return;
	sw_watch_remove(port->sw, &vhost->watch);
	vhu_backend_free(vhost->backend);
	free(vhost);
}

static void vhost_info(const struct sw_port *port, struct sw_port_info *info)
{
	const struct vhost *vhost = port->kind;

	if (!vhu_backend_is_connected(vhost->backend))
		info->state = port->spec.is_client ? "connecting" : "listening";
	else
		info->state = info->nr_running ? "running" : "connected";
	info->features = vhu_backend_features(vhost->backend);
	info->protocol_features = vhu_backend_protocol_features(vhost->backend);
}

static void vhost_count(const struct sw_queue *queue, struct sw_counters *counters)
{
	struct vhu_queue_stats stats;

	vhu_queue_stats(queue->rx, &stats);
	counters->rx_calls += stats.calls;
	counters->rx_calls_suppressed += stats.calls_suppressed;
	vhu_queue_stats(queue->tx, &stats);
	counters->tx_calls += stats.calls;
	counters->tx_calls_suppressed += stats.calls_suppressed;
}

/* ---- Frames, on a worker ---- */

static unsigned int count_drops(const struct sw_worker *worker, struct sw_counters *counters)
{
	const uint32_t *drops = vhu_net_burst_drops(worker->burst);
	unsigned int sum = 0;

	for (int i = 0; i < VHU_NET_DROP_END; i++)
		sum += drops[i];
	if (!sum)
		return 0;
	sw_count(&counters->rx_drop_bad_chain, drops[VHU_NET_DROP_BAD_CHAIN]);
	sw_count(&counters->rx_drop_short, drops[VHU_NET_DROP_SHORT]);
	sw_count(&counters->rx_drop_long, drops[VHU_NET_DROP_LONG]);
	sw_count(&counters->rx_drop_bad_hdr, drops[VHU_NET_DROP_BAD_HDR]);
	sw_count(&counters->rx_drop_disabled, drops[VHU_NET_DROP_DISABLED]);
	return sum;
}

static enum sw_visit vhost_visit(struct sw_worker *worker, struct sw_queue *queue)
{
	unsigned int drops;
	int nr;

	vhu_queue_disarm(queue->rx);
	nr = vhu_net_pull(queue->rx, worker->burst, worker->budget);
	if (nr < 0)
		return nr == -EAGAIN ? SW_VISIT_CLOCK : SW_VISIT_EMPTY;
	drops = count_drops(worker, &queue->counters[worker->index]);
	if (nr > 0)
		sw_forward_burst(&worker->forward, atomic_load(&worker->sw->view), queue,
				 vhu_net_burst_frames(worker->burst), (unsigned int)nr);
	vhu_net_done(queue->rx, worker->burst);
	if (nr > 0 || drops)
		return SW_VISIT_MORE;
	if (atomic_load_explicit(&queue->kick_fd, memory_order_relaxed) < 0 &&
	    atomic_load_explicit(&queue->mode, memory_order_relaxed) != SW_MODE_POLL)
		return SW_VISIT_CLOCK;
	return SW_VISIT_DRY;
}

static bool vhost_arm(struct sw_queue *queue)
{
	return vhu_queue_arm(queue->rx);
}

/*
 * The ring has started, or has got another call file: a call that the old one may have swallowed
 * is raised again by a commit. Nobody waits for receive buffers, so their kicks would be for nothing.
 */
static void vhost_attend(struct sw_queue *queue)
{
	if (!vhu_queue_trylock(queue->tx)) {
		/* who has it may have looked at the ring as it was before: again, soon */
		sw_queue_attend(queue, SW_ATTEND_RINGS);
		return;
	}
	vhu_queue_disarm(queue->tx);
	vhu_net_commit(queue->tx);
	vhu_queue_unlock(queue->tx);
}

static uint32_t vhost_caps(const struct sw_queue *queue)
{
	return vhu_net_queue_caps(queue->tx);
}

static bool vhost_trylock(struct sw_queue *queue)
{
	return vhu_queue_trylock(queue->tx);
}

static void vhost_unlock(struct sw_queue *queue)
{
	vhu_queue_unlock(queue->tx);
}

static int vhost_push(struct sw_queue *queue, const struct vhu_net_frame *frame)
{
	return vhu_net_push(queue->tx, frame);
}

static int vhost_push_burst(struct sw_queue *queue, const struct vhu_net_frame *const *frames,
			    unsigned int nr)
{
	return vhu_net_push_burst(queue->tx, frames, nr);
}

static int vhost_commit(struct sw_queue *queue)
{
	return vhu_net_commit(queue->tx);
}

static void vhost_rewind(struct sw_queue *queue)
{
	vhu_net_rewind(queue->tx);
}

const struct sw_port_ops sw_port_vhost_ops = {
	.kind = "vhost-user",
	.open = vhost_open,
	.close = vhost_close,
	.free = vhost_free,
	.info = vhost_info,
	.count = vhost_count,
	.visit = vhost_visit,
	.arm = vhost_arm,
	.caps = vhost_caps,
	.trylock = vhost_trylock,
	.unlock = vhost_unlock,
	.push = vhost_push,
	.push_burst = vhost_push_burst,
	.commit = vhost_commit,
	.rewind = vhost_rewind,
	.attend = vhost_attend,
};
