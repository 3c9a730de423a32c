/* SPDX-License-Identifier: MIT */
/*
 * A network device whose frames a vhost-user backend takes and gives (virtio 1.2, 5.1): what is
 * particular to it are its configuration, its queue pairs, and the control queue, which is served
 * here. Start, stop and the backend's death are vhost.h. Knows nothing of the transport.
 *
 * Filters (receive mode, MAC table, VLANs) are accepted and remembered; nothing is filtered here,
 * which the specification allows (5.1.6.5.1: best effort).
 *
 * Under the machine's lock, all of it, but vmm_net_fd().
 */
#ifndef VMM_VIRTIO_NET_H
#define VMM_VIRTIO_NET_H

#include <vhu/memory.h>
#include <vmm/irq.h>
#include <vmm/text.h>
#include <vmm/virtio.h>

struct vmm_net;

enum {
	VMM_NET_MAX_PAIRS = 64,
	VMM_NET_QUEUE_SIZE = 256, /* unless something else is said */
};

struct vmm_net_options {
	const char *name;	   /* "net0"; borrowed */
	struct vhu_memory *memory; /* the guest's; borrowed */
	const char *path;	   /* of the backend's socket */
	bool server;		   /* the backend connects to us */
	bool has_mac;		   /* otherwise a MAC address is made from name and path */
	uint8_t mac[6];
	unsigned int queue_pairs;      /* 0: 1 */
	unsigned int queue_size;       /* a power of two, 2 to 32768; 0: VMM_NET_QUEUE_SIZE */
	bool packed;		       /* packed rings are offered, too */
	uint16_t mtu;		       /* told to guest and backend; 0: nothing is said about it */
	uint64_t features_off;	       /* not offered to the guest */
	unsigned int reply_timeout_ms; /* of the backend; 0: libvhu's default */
	/* Calls of masked vectors are kept back at the backend, too: see vmm_net_irq(). */
	bool mask_by_message;
	const struct vmm_probe *probe; /* borrowed; may be NULL */
	vmm_say_fn *say;	       /* the backend went, came back, was refused; NULL: nobody */
	void *say_arg;
};

/* -EINVAL, -ENOMEM, or that of the socket; text says why. Nothing blocks. */
int vmm_net_new(struct vmm_net **ret_net, const struct vmm_net_options *options,
		char text[VMM_TEXT]);
/* The transport is freed before. NULL is allowed. */
void vmm_net_free(struct vmm_net *net);

/* What the transport is made with; valid for the device's life. */
const struct vmm_virtio_device *vmm_net_device(struct vmm_net *net);
/* Its transport, before the guest runs. 0 or -errno. */
int vmm_net_attach(struct vmm_net *net, struct vmm_virtio *virtio);
/*
 * The interrupt controller that the device's transport is to have: irq itself, or, with
 * mask_by_message, one that also asks the backend not to call (SET_VRING_CALL). Before the
 * transport is made. The result is valid for the device's life.
 */
const struct vmm_irq *vmm_net_irq(struct vmm_net *net, const struct vmm_irq *irq);

/*
 * Blocks until the backend was greeted the first time: only then is it known what can be offered, so
 * it has to be before the guest's first look. For at most timeout_ms; -1: for ever. -ETIMEDOUT, or
 * why the backend is of no use; text says it.
 */
int vmm_net_wait(struct vmm_net *net, int timeout_ms, char text[VMM_TEXT]);

/* One fd for the device thread's loop, level triggered: readable, vmm_net_process() has work. */
int vmm_net_fd(const struct vmm_net *net);
/* Does it; never blocks. 0, or -errno if the device cannot go on. */
int vmm_net_process(struct vmm_net *net);

/* What the guest is told of the link. */
bool vmm_net_link_is_up(const struct vmm_net *net);

/* What the guest asked for by the control queue, for whoever looks. */
struct vmm_net_filter {
	bool promisc, allmulti, alluni, nomulti, nouni, nobcast;
	uint8_t mac[6];
	uint32_t nr_unicast, nr_multicast; /* addresses in the tables; 0xffffffff: too many, all */
	uint32_t nr_vlans;
	unsigned int pairs; /* in use */
};
void vmm_net_get_filter(const struct vmm_net *net, struct vmm_net_filter *ret_filter);

#endif
