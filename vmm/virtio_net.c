// SPDX-License-Identifier: MIT
/*
 * The network device: features and configuration, which queue is whose, the link, and the device
 * thread's turn at the control queue.
 */
#include <vmm/virtio_net.h>

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <vmm/net_ctrl.h>
#include <vmm/vhost.h>

/* What the backend has to be able to do, if the guest is to use it. */
#define OF_BACKEND                                                                                 \
	(VHU_MASK(VHU_NET_F_CSUM_BIT) | VHU_MASK(VHU_NET_F_GUEST_CSUM_BIT) |                       \
	 VHU_MASK(VHU_NET_F_GUEST_TSO4_BIT) | VHU_MASK(VHU_NET_F_GUEST_TSO6_BIT) |                 \
	 VHU_MASK(VHU_NET_F_GUEST_ECN_BIT) | VHU_MASK(VHU_NET_F_GUEST_UFO_BIT) |                   \
	 VHU_MASK(VHU_NET_F_HOST_TSO4_BIT) | VHU_MASK(VHU_NET_F_HOST_TSO6_BIT) |                   \
	 VHU_MASK(VHU_NET_F_HOST_ECN_BIT) | VHU_MASK(VHU_NET_F_HOST_UFO_BIT) |                     \
	 VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT) | VHU_MASK(VHU_NET_F_GUEST_USO4_BIT) |                  \
	 VHU_MASK(VHU_NET_F_GUEST_USO6_BIT) | VHU_MASK(VHU_NET_F_HOST_USO_BIT) |                   \
	 VHU_MASK(VHU_F_INDIRECT_DESC_BIT) | VHU_MASK(VHU_F_EVENT_IDX_BIT) |                       \
	 VHU_MASK(VHU_F_VERSION_1_BIT) | VHU_MASK(VHU_F_IN_ORDER_BIT) |                            \
	 VHU_MASK(VHU_F_ORDER_PLATFORM_BIT) | VHU_MASK(VHU_F_RING_PACKED_BIT))

/* Served here, and told to a backend that has a bit for it: some free queues without MQ. */
#define TOLD                                                                                       \
	(VHU_MASK(VHU_NET_F_MQ_BIT) | VHU_MASK(VHU_NET_F_MTU_BIT) |                                \
	 VHU_MASK(VHU_NET_F_GUEST_ANNOUNCE_BIT))

/* 5.1.3.1: they are nothing without a control queue. */
#define BY_CONTROL                                                                                 \
	(VHU_MASK(VHU_NET_F_CTRL_RX_BIT) | VHU_MASK(VMM_NET_F_CTRL_RX_EXTRA_BIT) |                 \
	 VHU_MASK(VHU_NET_F_CTRL_VLAN_BIT) | VHU_MASK(VHU_NET_F_GUEST_ANNOUNCE_BIT) |              \
	 VHU_MASK(VHU_NET_F_MQ_BIT) | VHU_MASK(VHU_NET_F_CTRL_MAC_ADDR_BIT))

#define OURS                                                                                       \
	(VHU_MASK(VHU_NET_F_MAC_BIT) | VHU_MASK(VHU_NET_F_STATUS_BIT) |                            \
	 VHU_MASK(VHU_NET_F_CTRL_VQ_BIT) | VHU_MASK(VHU_NET_F_SPEED_DUPLEX_BIT) | BY_CONTROL)

/* The transport's, whatever we think of them. */
#define OF_TRANSPORT (VHU_MASK(VHU_F_VERSION_1_BIT) | VHU_MASK(VHU_F_ACCESS_PLATFORM_BIT))

enum {
	/* 5.1.4 */
	S_LINK_UP = 1,
	S_ANNOUNCE = 2,
	SPEED_UNKNOWN = -1,
	DUPLEX_UNKNOWN = 0xff,
	MTU_MIN = 68,

	PCI_ETHERNET = 0x020000,
	ID_NETWORK = 1,

	COMMANDS = 64, /* of the control queue in one turn */
};

/* 5.1.4; all of it little endian. */
struct net_config {
	uint8_t mac[6];
	uint16_t status, max_virtqueue_pairs, mtu;
	uint32_t speed;
	uint8_t duplex;
} __attribute__((packed));

/* What an event of our poll set is about. */
enum source {
	SOURCE_FRONTEND,
	SOURCE_CONTROL, /* the control queue's doorbell; edge triggered and never read: see start_control() */
	SOURCE_AGAIN,
};

/*
 * A driver that learns of the link and is asked to announce itself at the same time does so before
 * it has taken the link into use, and nobody hears it. So it is asked after it has seen the link.
 */
enum announcing {
	NOT,
	WHEN_LINK_WAS_SEEN,
	NEXT,
	NOW, /* the bit is set, until the driver acknowledges it */
};

struct vmm_net {
	struct vmm_net_options o;
	struct vmm_virtio_device device;
	uint16_t max_num[2 * VMM_NET_MAX_PAIRS + 1];
	struct vmm_virtio *virtio;
	struct vmm_vhost *vhost;
	struct vmm_net_ctrl *ctrl;
	int epoll_fd, again_fd;
	bool link;
	enum announcing announcing;
	bool has_started; /* since the last reset */
	int control;	  /* the queue's number in this run; -1: it has none */
	int watched_fd;	  /* its doorbell; -1: none */
	bool control_due; /* there may be something */
};

static bool has_bit(uint64_t set, unsigned int bit)
{
	return set & VHU_MASK(bit);
}

static void come_again(struct vmm_net *net)
{
	uint64_t one = 1;
	ssize_t done = write(net->again_fd, &one, sizeof(one));

	(void)done; /* at its maximum it is readable anyway */
}

/* ---- features and configuration ---- */

static uint64_t features(void *arg)
{
	const struct vmm_net *net = arg;
	uint64_t offered = vmm_vhost_offered(net->vhost) & OF_BACKEND, ours = OURS;
	uint64_t protocol = vhu_frontend_protocol_features(vmm_vhost_frontend(net->vhost));

	if (net->o.queue_pairs == 1)
		ours &= ~VHU_MASK(VHU_NET_F_MQ_BIT);
	/* a backend that was not told would send what the guest does not expect */
	if (net->o.mtu && protocol & VHU_MASK(VHU_P_NET_MTU_BIT))
		ours |= VHU_MASK(VHU_NET_F_MTU_BIT);
	if (!net->o.packed)
		offered &= ~VHU_MASK(VHU_F_RING_PACKED_BIT);
	return (offered | ours) & ~net->o.features_off;
}

static bool accept(void *arg, uint64_t wanted)
{
	if (wanted & ~(features(arg) | OF_TRANSPORT))
		return false;
	return has_bit(wanted, VHU_NET_F_CTRL_VQ_BIT) || !(wanted & BY_CONTROL);
}

static void config_read(void *arg, unsigned int offset, void *data, unsigned int size)
{
	struct vmm_net *net = arg;
	uint16_t status =
		(uint16_t)((net->link ? S_LINK_UP : 0) | (net->announcing == NOW ? S_ANNOUNCE : 0));
	struct net_config config = {
		.status = htole16(status),
		.max_virtqueue_pairs = htole16((uint16_t)net->o.queue_pairs),
		.mtu = htole16(net->o.mtu),
		.speed = htole32((uint32_t)SPEED_UNKNOWN),
		.duplex = DUPLEX_UNKNOWN,
	};

	memcpy(config.mac, vmm_net_ctrl_filter(net->ctrl)->mac, sizeof(config.mac));
	memset(data, 0, size);
	if (offset < sizeof(config))
		memcpy(data, (const uint8_t *)&config + offset,
		       size < sizeof(config) - offset ? size : sizeof(config) - offset);
	if (net->announcing == WHEN_LINK_WAS_SEEN && net->link &&
	    offset <= offsetof(struct net_config, status) &&
	    size > offsetof(struct net_config, status) - offset) {
		net->announcing = NEXT;
		come_again(net);
	}
}

static void config_write(void *arg, unsigned int offset, const void *data, unsigned int size)
{
	/* 5.1.4.1: with VERSION_1 none of it is the driver's to write */
	(void)arg, (void)offset, (void)data, (void)size;
}

/* ---- the control queue ---- */

static void pairs_done(void *arg, int err, const struct vhu_answer *answer)
{
	struct vmm_net *net = arg;

	(void)answer;
	/* a backend that went will hear of it from us when it is back: only a refusal is one */
	vmm_net_ctrl_finish(net->ctrl, err != -EREMOTEIO);
	net->control_due = true;
}

static int set_pairs(void *arg, unsigned int pairs)
{
	struct vmm_net *net = arg;
	int err = vmm_vhost_serve(net->vhost, 2 * pairs, pairs_done, net);

	return err ? err : 1;
}

static void announced(void *arg)
{
	struct vmm_net *net = arg;

	net->announcing = NOT;
}

static const struct vmm_net_ctrl_ops ctrl_ops = { .set_pairs = set_pairs, .announced = announced };

static void stop_control(struct vmm_net *net)
{
	if (net->watched_fd >= 0)
		epoll_ctl(net->epoll_fd, EPOLL_CTL_DEL, net->watched_fd, NULL);
	net->watched_fd = -1;
	vmm_net_ctrl_stop(net->ctrl);
}

/*
 * The doorbell's count belongs to whoever rings it: it is not read, so that it cannot be made an
 * attack; an edge is what counts.
 */
static void start_control(struct vmm_net *net)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.u32 = SOURCE_CONTROL };
	const struct vmm_virtio_queue *q = &net->virtio->queues[net->control];
	struct vhu_local_ring ring = { .size = sizeof(ring),
				       .num = q->num,
				       .addr = { q->desc, q->driver, q->device },
				       .features = net->virtio->features,
				       .call_fd = q->call_fd };
	struct vhu_reason why;
	char text[VMM_TEXT];
	int err = vmm_net_ctrl_start(net->ctrl, &ring, &why);

	if (!err && epoll_ctl(net->epoll_fd, EPOLL_CTL_ADD, q->kick_fd, &event) < 0)
		err = vhu_refuse(&why, -errno, "its doorbell: %s", strerror(errno));
	if (err) {
		snprintf(text, sizeof(text), "control queue: %.170s", why.text);
		vmm_vhost_fail(net->vhost, text);
		return;
	}
	net->watched_fd = q->kick_fd;
	net->control_due = true;
	come_again(net); /* it is the device thread that serves it */
}

static void serve_control(struct vmm_net *net)
{
	struct vhu_reason why = { .text = "" };
	char text[VMM_TEXT];
	int got;

	if (!net->control_due)
		return;
	net->control_due = false;
	got = vmm_net_ctrl_process(net->ctrl, COMMANDS, &why);
	if (got == 1) {
		net->control_due = true;
		come_again(net);
	} else if (got == -EPROTO) {
		snprintf(text, sizeof(text), "control queue: %.170s", why.text);
		stop_control(net);
		vmm_vhost_fail(net->vhost, text);
	}
}

/* ---- orders of the transport ---- */

static void start(void *arg)
{
	struct vmm_net *net = arg;
	uint64_t agreed = net->virtio->features;
	unsigned int pairs = has_bit(agreed, VHU_NET_F_MQ_BIT) ? net->o.queue_pairs : 1;
	uint64_t told = agreed & (OF_BACKEND | (TOLD & vmm_vhost_offered(net->vhost)));

	vmm_net_ctrl_reset(net->ctrl, net->o.mac, agreed, pairs);
	net->has_started = true;
	/* 5.1.2: the last one, of as many as there are with what was agreed */
	net->control = has_bit(agreed, VHU_NET_F_CTRL_VQ_BIT) ? (int)(2 * pairs) : -1;
	vmm_vhost_start(net->vhost, told, 2 * pairs, 2);
	if (net->control >= 0 && net->virtio->queues[net->control].is_enabled)
		start_control(net);
}

static void queue_enabled(void *arg, unsigned int queue)
{
	struct vmm_net *net = arg;

	if ((int)queue == net->control)
		start_control(net);
	else
		vmm_vhost_queue_enabled(net->vhost, queue);
}

static bool stop(void *arg)
{
	struct vmm_net *net = arg;

	stop_control(net);
	net->control = -1;
	net->announcing = NOT;
	net->has_started = false;
	vmm_net_ctrl_reset(net->ctrl, net->o.mac, 0, 1);
	return vmm_vhost_stop(net->vhost);
}

static const struct vmm_virtio_ops virtio_ops = {
	.features = features,
	.accept = accept,
	.start = start,
	.queue_enabled = queue_enabled,
	.stop = stop,
	.config_read = config_read,
	.config_write = config_write,
};

/* ---- the backend's news ---- */

/* The network has to learn anew where the guest is: it says so itself, or the backend for it. */
static void announce(struct vmm_net *net)
{
	if (has_bit(net->virtio->features, VHU_NET_F_GUEST_ANNOUNCE_BIT))
		net->announcing = WHEN_LINK_WAS_SEEN;
	else /* refused where the backend has no such message: then nobody does */
		vhu_frontend_rarp(vmm_vhost_frontend(net->vhost),
				  vmm_net_ctrl_filter(net->ctrl)->mac, NULL, NULL);
}

static void changed(void *arg)
{
	struct vmm_net *net = arg;
	bool link = vmm_vhost_is_up(net->vhost);

	if (net->link == link)
		return;
	net->link = link;
	net->announcing = NOT;
	if (!net->virtio)
		return;
	if (link && net->has_started)
		announce(net);
	vmm_virtio_config_changed(net->virtio);
}

static const struct vmm_vhost_ops vhost_ops = { .changed = changed };

/* ---- the device thread ---- */

int vmm_net_fd(const struct vmm_net *net)
{
	return net->epoll_fd;
}

int vmm_net_process(struct vmm_net *net)
{
	struct epoll_event events[4];
	uint64_t count;
	int n, err;

	do {
		n = epoll_wait(net->epoll_fd, events, 4, 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		if (events[i].data.u32 == SOURCE_CONTROL)
			net->control_due = true;
		if (events[i].data.u32 == SOURCE_AGAIN &&
		    read(net->again_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
			return -errno;
	}
	err = vmm_vhost_process(net->vhost);
	serve_control(net);
	if (net->announcing == NEXT) {
		net->announcing = NOW;
		vmm_virtio_config_changed(net->virtio);
	}
	return err;
}

int vmm_net_wait(struct vmm_net *net, int timeout_ms, char text[VMM_TEXT])
{
	int err = vmm_vhost_wait(net->vhost, timeout_ms, text);

	if (err)
		return err;
	/* most count queue pairs; those that count rings have more of them */
	return vmm_vhost_has_queues(net->vhost, net->o.queue_pairs, "queue pairs", text);
}

/* ---- made and freed ---- */

static int judge(struct vmm_net_options *o, char text[VMM_TEXT])
{
	if (!o->queue_pairs)
		o->queue_pairs = 1;
	if (!o->queue_size)
		o->queue_size = VMM_NET_QUEUE_SIZE;
	if (o->queue_pairs > VMM_NET_MAX_PAIRS) {
		snprintf(text, VMM_TEXT, "%u queue pairs, must be 1 to %d", o->queue_pairs,
			 VMM_NET_MAX_PAIRS);
		return -EINVAL;
	}
	if (o->mtu && o->mtu < MTU_MIN) {
		snprintf(text, VMM_TEXT, "mtu %u, must be at least %d", o->mtu, MTU_MIN);
		return -EINVAL;
	}
	if (o->has_mac && o->mac[0] & 1) {
		snprintf(text, VMM_TEXT, "the MAC address is one of a group");
		return -EINVAL;
	}
	return vmm_vhost_judge_queue_size(o->queue_size, text);
}

/* Of a device that was given none: the same each time, and another for each device and socket. */
static void make_mac(struct vmm_net_options *o)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
	const char *const parts[] = { o->name, "/", o->path };

	for (unsigned int i = 0; i < 3; i++) {
		for (const char *c = parts[i]; *c; c++)
			hash = (hash ^ (uint8_t)*c) * UINT64_C(0x100000001b3);
	}
	for (unsigned int i = 0; i < sizeof(o->mac); i++)
		o->mac[i] = (uint8_t)(hash >> (8 * i));
	/* one of those that nobody assigns, and not a group's */
	o->mac[0] = (uint8_t)((o->mac[0] | 2) & ~1u);
}

static int watch(struct vmm_net *net, int fd, enum source source)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = source };

	return epoll_ctl(net->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int set_up(struct vmm_net *net, char text[VMM_TEXT])
{
	const struct vmm_vhost_options vo = {
		.name = net->o.name,
		.memory = net->o.memory,
		.path = net->o.path,
		.server = net->o.server,
		.nr_rings = 2 * net->o.queue_pairs,
		.features = OF_BACKEND | TOLD,
		.protocol_features = VHU_FRONTEND_PROTOCOL_FEATURES &
				     ~(VHU_MASK(VHU_P_CONFIG_BIT) | VHU_MASK(VHU_P_LOG_SHMFD_BIT)),
		.reply_timeout_ms = net->o.reply_timeout_ms,
		.mask_by_message = net->o.mask_by_message,
		.probe = net->o.probe,
		.say = net->o.say,
		.say_arg = net->o.say_arg,
		.ops = &vhost_ops,
		.arg = net,
	};
	int err = vmm_net_ctrl_new(&net->ctrl, net->o.memory, &ctrl_ops, net);

	if (err) {
		snprintf(text, VMM_TEXT, "out of memory");
		return err;
	}
	vmm_net_ctrl_reset(net->ctrl, net->o.mac, 0, 1);
	net->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	net->again_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (net->epoll_fd < 0 || net->again_fd < 0) {
		err = -errno;
		snprintf(text, VMM_TEXT, "file descriptors: %s", strerror(-err));
		return err;
	}
	err = vmm_vhost_new(&net->vhost, &vo, text);
	if (err)
		return err;
	err = watch(net, net->again_fd, SOURCE_AGAIN);
	if (!err)
		err = watch(net, vmm_vhost_fd(net->vhost), SOURCE_FRONTEND);
	if (!err && net->o.mtu)
		err = vhu_frontend_set_mtu(vmm_vhost_frontend(net->vhost), net->o.mtu, NULL, NULL);
	if (err)
		snprintf(text, VMM_TEXT, "%s", strerror(-err));
	return err;
}

int vmm_net_new(struct vmm_net **ret_net, const struct vmm_net_options *options,
		char text[VMM_TEXT])
{
	struct vmm_net_options o = *options;
	struct vmm_net *net;
	int err = judge(&o, text);

	if (err)
		return err;
	if (!o.has_mac)
		make_mac(&o);
	net = calloc(1, sizeof(*net));
	if (!net) {
		snprintf(text, VMM_TEXT, "out of memory");
		return -ENOMEM;
	}
	net->o = o;
	net->epoll_fd = net->again_fd = net->watched_fd = net->control = -1;
	for (unsigned int i = 0; i <= 2 * o.queue_pairs; i++)
		net->max_num[i] = (uint16_t)o.queue_size;
	net->device = (struct vmm_virtio_device){
		.name = o.name,
		.id = ID_NETWORK,
		.class_code = PCI_ETHERNET,
		.nr_queues = 2 * o.queue_pairs + 1,
		.max_num = net->max_num,
		.config_size = sizeof(struct net_config),
		.ops = &virtio_ops,
		.arg = net,
	};
	err = set_up(net, text);
	if (err) {
		vmm_net_free(net);
		return err;
	}
	*ret_net = net;
	return 0;
}

void vmm_net_free(struct vmm_net *net)
{
	if (!net)
		return;
	vmm_net_ctrl_free(net->ctrl);
	vmm_vhost_free(net->vhost);
	if (net->epoll_fd >= 0)
		close(net->epoll_fd);
	if (net->again_fd >= 0)
		close(net->again_fd);
	free(net);
}

const struct vmm_virtio_device *vmm_net_device(struct vmm_net *net)
{
	return &net->device;
}

int vmm_net_attach(struct vmm_net *net, struct vmm_virtio *virtio)
{
	net->virtio = virtio;
	vmm_vhost_attach(net->vhost, virtio);
	return 0;
}

const struct vmm_irq *vmm_net_irq(struct vmm_net *net, const struct vmm_irq *irq)
{
	return vmm_vhost_irq(net->vhost, irq);
}

bool vmm_net_link_is_up(const struct vmm_net *net)
{
	return net->link;
}

void vmm_net_get_filter(const struct vmm_net *net, struct vmm_net_filter *ret_filter)
{
	*ret_filter = *vmm_net_ctrl_filter(net->ctrl);
}
