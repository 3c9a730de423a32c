// SPDX-License-Identifier: MIT
/* The device that a backend serves, and how the interface follows it. Knows no command line. */

#include "tap/device.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/tap.h"

enum {
	/* struct virtio_net_config (virtio 1.2, 5.1.4) */
	CONFIG_STATUS = 6,
	CONFIG_MTU = 10,
	CONFIG_SIZE = 12,
	STATUS_LINK_UP = 1,

	MTU_MIN = 68,
	GPA_BASE = 1 << 20, /* some peers take address 0 for none */
	HUGE_PAGE = 2 << 20,
	STOP_MS = 1000,
};
#define RETRY_NS (1 * LOOP_S)
/*
 * A backend that was only started anew costs no carrier: with that the kernel forgets all neighbours
 * and drops what it would send, and to ask for them again can take a second.
 */
#define GRACE_NS (300 * LOOP_MS)

static void lay_and_start(struct device *device);

static bool has(uint64_t features, unsigned int bit)
{
	return features & VHU_MASK(bit);
}

static void give_up(struct device *device, const char *what, const char *why)
{
	log_line(LOG_ERR, device->iface->name, "%s: %s", what, why);
	loop_stop(device->loop, 1);
}

/* ---- Features ---- */

/* What the kernel may leave to us is what a backend takes of a driver: its HOST_* features. */
static uint64_t host_features(uint32_t possible)
{
	uint64_t ret = VHU_MASK(VHU_NET_F_CSUM_BIT) | VHU_MASK(VHU_NET_F_HOST_TSO4_BIT) |
		       VHU_MASK(VHU_NET_F_HOST_TSO6_BIT) | VHU_MASK(VHU_NET_F_HOST_ECN_BIT);

	return possible & VHU_NET_CAP_USO4 ? ret | VHU_MASK(VHU_NET_F_HOST_USO_BIT) : ret;
}

/* And what the kernel takes of us is what a backend may leave to a driver. */
static uint64_t guest_features(uint32_t possible)
{
	uint64_t ret = VHU_MASK(VHU_NET_F_GUEST_CSUM_BIT) | VHU_MASK(VHU_NET_F_GUEST_TSO4_BIT) |
		       VHU_MASK(VHU_NET_F_GUEST_TSO6_BIT) | VHU_MASK(VHU_NET_F_GUEST_ECN_BIT);

	return possible & VHU_NET_CAP_USO4 ? ret | VHU_MASK(VHU_NET_F_GUEST_USO4_BIT) |
						     VHU_MASK(VHU_NET_F_GUEST_USO6_BIT) :
					     ret;
}

static uint64_t wanted_features(const struct device *device)
{
	const struct device_options *options = &device->options;
	uint64_t ret = VHU_MASK(VHU_F_VERSION_1_BIT) | VHU_MASK(VHU_F_EVENT_IDX_BIT) |
		       VHU_MASK(VHU_F_PROTOCOL_FEATURES_BIT) | VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT) |
		       VHU_MASK(VHU_NET_F_STATUS_BIT);

	if (options->offloads)
		ret |= host_features(device->iface->possible) |
		       guest_features(device->iface->possible);
	if (options->packed)
		ret |= VHU_MASK(VHU_F_RING_PACKED_BIT);
	/* A DPDK backend asks its own user for an MTU that it was never told, once this is agreed. */
	if (options->mtu)
		ret |= VHU_MASK(VHU_NET_F_MTU_BIT);
	if (device->iface->nr_queues > 1)
		ret |= VHU_MASK(VHU_NET_F_MQ_BIT);
	return ret;
}

static uint64_t needed_features(const struct device *device)
{
	uint64_t ret = VHU_MASK(VHU_F_VERSION_1_BIT);

	return device->options.packed ? ret | VHU_MASK(VHU_F_RING_PACKED_BIT) : ret;
}

/* Of no use here: a log (nobody migrates), RARP (we announce ourselves), an in-flight region (our
 * own rings know what is missing when a backend dies). */
static uint64_t wanted_protocol(void)
{
	return VHU_FRONTEND_PROTOCOL_FEATURES &
	       ~(VHU_MASK(VHU_P_LOG_SHMFD_BIT) | VHU_MASK(VHU_P_RARP_BIT) |
		 VHU_MASK(VHU_P_INFLIGHT_SHMFD_BIT));
}

static uint32_t host_caps(uint64_t features)
{
	uint32_t caps = 0;

	if (has(features, VHU_NET_F_CSUM_BIT))
		caps |= VHU_NET_CAP_CSUM;
	if (has(features, VHU_NET_F_HOST_TSO4_BIT))
		caps |= VHU_NET_CAP_TSO4;
	if (has(features, VHU_NET_F_HOST_TSO6_BIT))
		caps |= VHU_NET_CAP_TSO6;
	if (has(features, VHU_NET_F_HOST_ECN_BIT))
		caps |= VHU_NET_CAP_ECN;
	if (has(features, VHU_NET_F_HOST_USO_BIT))
		caps |= VHU_NET_CAP_USO4 | VHU_NET_CAP_USO6;
	return caps;
}

static const char *offload_text(char *text, size_t size, uint32_t caps)
{
	snprintf(text, size, "%s%s%s%s%s", caps ? "" : "none",
		 caps & VHU_NET_CAP_CSUM ? "checksums" : "", caps & VHU_NET_CAP_TSO4 ? "+TSO4" : "",
		 caps & VHU_NET_CAP_TSO6 ? "+TSO6" : "", caps & VHU_NET_CAP_USO4 ? "+USO" : "");
	return text;
}

/* ---- Up and down ---- */

/* So that switches learn at once where this station is now (RFC 903, as hypervisors do it). */
static void announce(struct device *device)
{
	uint8_t frame[60] = {
		[12] = 0x80, 0x35, /* RARP */
		0,	     1,	   /* Ethernet */
		0x08,	     0,	   /* IPv4 */
		6,	     4,	   /* bytes of an address */
		0,	     3,	   /* reverse request */
	};
	uint8_t mac[6];

	if (tapfd_get_mac(device->iface->queue[0].fd, mac))
		return;
	memset(frame, 0xff, 6);
	memcpy(frame + 6, mac, 6);
	memcpy(frame + 22, mac, 6);
	memcpy(frame + 32, mac, 6);
	queue_send_own(&device->queues.queue[0], frame, sizeof(frame));
}

static void follow_carrier(struct device *device)
{
	loop_set_timer(device->grace, 0, 0);
	iface_set_carrier(device->iface, device->is_running && !device->is_link_down);
}

static void on_grace_over(void *arg)
{
	follow_carrier(arg);
}

static void go_up(struct device *device)
{
	device->is_running = true;
	device->gone_ns = 0;
	for (unsigned int i = 0; i < device->nr_pairs; i++)
		queue_run(&device->queues.queue[i]);
	follow_carrier(device);
	announce(device);
}

static void go_down(struct device *device)
{
	if (device->is_running)
		loop_set_timer(device->grace, GRACE_NS, 0);
	device->is_running = false;
	for (unsigned int i = 0; i < device->nr_pairs; i++)
		queue_halt(&device->queues.queue[i]);
}

/* ---- A ring that cannot be followed ---- */

/* Also if it has gone meanwhile; what the next one agrees on is not known yet then. */
static void on_stopped(void *arg, int err, const struct vhu_answer *answer)
{
	struct device *device = arg;

	(void)err;
	(void)answer;
	if (vhu_frontend_state(device->frontend) == VHU_DEVICE_STOPPED)
		lay_and_start(device);
	else
		device->must_lay = true;
}

static void on_retry(void *arg)
{
	struct device *device = arg;
	int err = vhu_frontend_stop(device->frontend, on_stopped, device);

	if (err)
		give_up(device, "the device cannot be stopped", strerror(-err));
}

/* Called from within the work on a ring: what is to be done is done later, and not too often. */
static void on_broken(void *arg, const char *reason)
{
	struct device *device = arg;

	if (device->is_restarting)
		return;
	log_line(LOG_WARNING, device->iface->name, "the backend broke a ring: %s; starting anew",
		 reason);
	device->is_restarting = true;
	loop_set_timer(device->retry, RETRY_NS, 0);
}

static void on_vanished(void *arg)
{
	give_up(arg, "the interface", "it was removed");
}

static const struct queue_ops queue_ops = { .broken = on_broken, .vanished = on_vanished };

/* ---- Start ---- */

static void on_started(void *arg, int err, const struct vhu_answer *answer)
{
	struct device *device = arg;
	char host[48], guest[48];

	device->is_restarting = false;
	if (err) {
		give_up(device, "the device cannot be started",
			answer->reason ? answer->reason : strerror(-err));
		return;
	}
	go_up(device);
	log_line(LOG_INFO, device->iface->name,
		 "running: %u queue%s, %s rings of %u; offloads to the backend: %s, from it: %s",
		 device->nr_pairs, device->nr_pairs == 1 ? "" : "s",
		 has(device->features, VHU_F_RING_PACKED_BIT) ? "packed" : "split",
		 device->options.ring_size,
		 offload_text(host, sizeof(host), host_caps(device->features)),
		 offload_text(guest, sizeof(guest), vhu_net_caps(device->features)));
}

/* Queue pairs that this backend has for us. Most count pairs in their answer. */
static unsigned int count_pairs(const struct device *device)
{
	uint64_t offered = vhu_frontend_queue_num(device->frontend);
	unsigned int nr = device->iface->nr_queues;

	if (nr > 1 && (!has(device->features, VHU_NET_F_MQ_BIT) || !offered))
		return 1;
	return offered && offered < nr ? (unsigned int)offered : nr;
}

static int make_memory(struct device *device, const struct queue_rings *rings)
{
	uint64_t size = queue_memory(rings) * device->nr_pairs;
	int err;

	if (vhu_memory_count(device->memory)) {
		err = vhu_memory_remove(device->memory, GPA_BASE);
		if (err)
			return err;
	}
	vhu_memory_alloc_reset(device->memory);
	size = (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
	return vhu_memory_add(device->memory, GPA_BASE, size, 0);
}

static int lay_pair(struct device *device, const struct queue_rings *rings, unsigned int i)
{
	struct queue *queue = &device->queues.queue[i];
	struct vhu_frontend_ring config = { .size = sizeof(config), .kick_fd = -1, .call_fd = -1 };
	int err = queue_lay_rings(queue, rings);

	if (err)
		return err;
	/* virtio 1.2, 5.1.2: receiveq, then transmitq. */
	config.driver = vhu_net_rx_driver(queue->rx);
	err = vhu_frontend_set_ring(device->frontend, 2 * i, &config);
	config.driver = vhu_net_tx_driver(queue->tx);
	if (!err)
		err = vhu_frontend_set_ring(device->frontend, 2 * i + 1, &config);
	if (err)
		return err;
	return queue_watch(queue, device->iface->queue[i].fd,
			   vhu_frontend_call_fd(device->frontend, 2 * i),
			   vhu_frontend_call_fd(device->frontend, 2 * i + 1));
}

/* The frontend knows the drivers of its rings: it lets go of them first. */
static void drop_rings(struct device *device)
{
	const struct vhu_frontend_ring none = { .size = sizeof(none),
						.kick_fd = -1,
						.call_fd = -1 };

	for (unsigned int i = 0; i < device->queues.nr; i++) {
		struct queue *queue = &device->queues.queue[i];

		queue_unwatch(queue);
		if (!queue->tx)
			continue;
		vhu_frontend_set_ring(device->frontend, 2 * i, &none);
		vhu_frontend_set_ring(device->frontend, 2 * i + 1, &none);
		queue_free_rings(queue);
	}
}

static int lay_rings(struct device *device)
{
	struct queue_rings rings = {
		.memory = device->memory,
		.features = device->features,
		.num = device->options.ring_size,
	};
	int err;

	drop_rings(device);
	err = make_memory(device, &rings);
	if (!err)
		err = iface_use_queues(device->iface, device->nr_pairs);
	if (!err)
		err = tapfd_set_offloads(device->iface->queue[0].fd, host_caps(rings.features));
	for (unsigned int i = 0; i < device->nr_pairs && !err; i++)
		err = lay_pair(device, &rings, i);
	return err;
}

static void lay_and_start(struct device *device)
{
	int err;

	go_down(device);
	device->must_lay = false;
	device->features = vhu_frontend_features(device->frontend);
	device->nr_pairs = count_pairs(device);
	err = lay_rings(device);
	if (!err)
		err = vhu_frontend_start(device->frontend, on_started, device);
	if (err)
		give_up(device, "the rings cannot be made", strerror(-err));
}

/* ---- Configuration space ---- */

static unsigned int get_le16(const uint8_t *p)
{
	return p[0] | (unsigned int)p[1] << 8;
}

/* The interface's own MTU is the user's affair unless the backend has a wish and the user none. */
static void follow_mtu(struct device *device, unsigned int mtu)
{
	int err;

	if (device->options.mtu || mtu < MTU_MIN || mtu == iface_mtu(device->iface))
		return;
	err = iface_set_mtu(device->iface, mtu);
	if (!err)
		log_line(LOG_INFO, device->iface->name, "mtu %u, as the backend says", mtu);
	else
		log_line(LOG_WARNING, device->iface->name,
			 "the backend's mtu is %u, that of the interface %u stays: %s", mtu,
			 iface_mtu(device->iface), strerror(-err));
}

static void on_config(void *arg, int err, const struct vhu_answer *answer)
{
	struct device *device = arg;
	uint64_t offered = vhu_frontend_offered(device->frontend);
	const uint8_t *config;

	if (err || answer->size < CONFIG_SIZE)
		return;
	config = answer->bytes;
	if (has(offered, VHU_NET_F_MTU_BIT))
		follow_mtu(device, get_le16(config + CONFIG_MTU));
	if (has(offered, VHU_NET_F_STATUS_BIT)) {
		bool is_down = !(get_le16(config + CONFIG_STATUS) & STATUS_LINK_UP);

		if (is_down != device->is_link_down)
			log_line(LOG_INFO, device->iface->name, "the backend says: link %s",
				 is_down ? "down" : "up");
		device->is_link_down = is_down;
		if (device->is_running)
			follow_carrier(device);
	}
}

static void read_config(struct device *device)
{
	/* Refused where it was not agreed: then there is nothing to follow. */
	vhu_frontend_get_config(device->frontend, 0, CONFIG_SIZE, on_config, device);
}

/* ---- What the library tells ---- */

static void on_connected(void *arg)
{
	struct device *device = arg;

	log_line(LOG_INFO, device->iface->name, "the backend is there");
	read_config(device);
	if (device->options.mtu)
		vhu_frontend_set_mtu(device->frontend, device->options.mtu, NULL, NULL);
	lay_and_start(device);
}

static void on_gone(void *arg, int err, const char *reason)
{
	struct device *device = arg;

	(void)err;
	go_down(device);
	/* What a configuration space said is over with the one who said it. */
	device->is_link_down = false;
	/* To go on with the next one mends a broken ring too. */
	loop_set_timer(device->retry, 0, 0);
	device->is_restarting = false;
	if (!device->gone_ns)
		device->gone_ns = loop_now_ns();
	log_line(LOG_WARNING, device->iface->name, "the backend is gone: %s; %s",
		 reason ? reason : "no reason known",
		 device->options.server ? "waiting for it" : "trying again");
}

static void on_back(void *arg)
{
	struct device *device = arg;
	uint64_t ms = device->gone_ns ? (loop_now_ns() - device->gone_ns) / LOOP_MS : 0;

	if (device->must_lay) {
		lay_and_start(device);
		return;
	}
	go_up(device);
	log_line(LOG_INFO, device->iface->name, "the backend is back after %llu ms",
		 (unsigned long long)ms);
	read_config(device);
}

static void on_config_changed(void *arg)
{
	read_config(arg);
}

static void on_complaint(void *arg, const char *text)
{
	struct device *device = arg;

	log_line(LOG_WARNING, device->iface->name, "%s", text);
}

static const struct vhu_frontend_ops frontend_ops = {
	.size = sizeof(frontend_ops),
	.connected = on_connected,
	.gone = on_gone,
	.back = on_back,
	.config_changed = on_config_changed,
	.complaint = on_complaint,
};

static void on_frontend(void *arg, uint32_t events)
{
	struct device *device = arg;
	int err = vhu_frontend_process(device->frontend);

	(void)events;
	if (err)
		give_up(device, "cannot go on", strerror(-err));
	else if (vhu_frontend_state(device->frontend) == VHU_DEVICE_FAILED)
		give_up(device, "cannot go on", "the device has failed");
}

/* ---- Life ---- */

static int find_backend(struct device *device, char *err, size_t size)
{
	const struct device_options *options = &device->options;
	int ret;

	if (options->server)
		ret = vhu_frontend_listen(device->frontend, options->path, options->mode,
					  options->group);
	else
		ret = vhu_frontend_connect(device->frontend, options->path);
	if (ret)
		snprintf(err, size, "%s: %s", options->path, strerror(-ret));
	return ret;
}

static int make_frontend(struct device *device)
{
	const struct vhu_frontend_options options = {
		.size = sizeof(options),
		.memory = device->memory,
		.nr_rings = 2 * device->iface->nr_queues,
		.features = wanted_features(device),
		.features_needed = needed_features(device),
		.protocol_features = wanted_protocol(),
		.ops = &frontend_ops,
		.arg = device,
	};

	return vhu_frontend_new(&device->frontend, &options);
}

int device_init(struct device *device, const struct device_options *options, struct loop *loop,
		struct iface *iface, char *err, size_t size)
{
	int ret;

	*device = (struct device){ .options = *options, .loop = loop, .iface = iface };
	ret = queue_set_init(&device->queues, loop, iface->nr_queues, &queue_ops, device);
	if (!ret)
		ret = loop_add_timer(loop, on_retry, device, &device->retry);
	if (!ret)
		ret = loop_add_timer(loop, on_grace_over, device, &device->grace);
	if (!ret)
		ret = vhu_memory_new(&device->memory);
	if (!ret)
		ret = make_frontend(device);
	if (ret) {
		snprintf(err, size, "the device: %s", strerror(-ret));
		return ret;
	}
	return find_backend(device, err, size);
}

int device_start(struct device *device)
{
	return loop_add_fd(device->loop, vhu_frontend_fd(device->frontend), EPOLLIN, on_frontend,
			   device, &device->source);
}

void device_free(struct device *device)
{
	if (device->frontend && device->is_running) {
		go_down(device);
		if (!vhu_frontend_stop(device->frontend, NULL, NULL))
			vhu_frontend_wait(device->frontend, STOP_MS, NULL);
	}
	loop_remove(device->source);
	loop_remove(device->retry);
	loop_remove(device->grace);
	for (unsigned int i = 0; i < device->queues.nr; i++)
		queue_unwatch(&device->queues.queue[i]);
	/* The frontend knows the drivers of its rings. */
	vhu_frontend_free(device->frontend);
	queue_set_free(&device->queues);
	vhu_memory_free(device->memory);
}

void device_count(const struct device *device, struct queue_counters *ret_counters)
{
	struct queue_counters sum = { 0 };

	for (unsigned int i = 0; i < device->queues.nr; i++) {
		const struct queue_counters *counters = &device->queues.queue[i].counters;

		sum.sent_frames += counters->sent_frames;
		sum.sent_bytes += counters->sent_bytes;
		sum.received_frames += counters->received_frames;
		sum.received_bytes += counters->received_bytes;
		sum.drop_header += counters->drop_header;
		sum.drop_long += counters->drop_long;
		sum.drop_bad += counters->drop_bad;
		sum.drop_down += counters->drop_down;
		sum.drop_refused += counters->drop_refused;
	}
	*ret_counters = sum;
}
