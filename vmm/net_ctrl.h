/* SPDX-License-Identifier: MIT */
/*
 * The control queue of a network device (virtio 1.2, 5.1.6.5): takes commands out of guest memory,
 * judges and remembers them. Knows nothing of a backend: what has to be done elsewhere is asked for.
 *
 * Under the machine's lock.
 */
#ifndef VMM_NET_CTRL_H
#define VMM_NET_CTRL_H

#include <vhu/local.h>
#include <vmm/virtio_net.h>

struct vmm_net_ctrl;

enum {
	VMM_NET_F_CTRL_RX_EXTRA_BIT = 20,
	VMM_NET_MACS_MAX = 64, /* of a table; what is more counts as all */
};

/* What a command asks of others. */
struct vmm_net_ctrl_ops {
	/* So many queue pairs from now on. 0: done. 1: vmm_net_ctrl_finish() will tell. -errno. */
	int (*set_pairs)(void *arg, unsigned int pairs);
	/* The driver has announced itself. */
	void (*announced)(void *arg);
};

int vmm_net_ctrl_new(struct vmm_net_ctrl **ret_ctrl, struct vhu_memory *memory,
		     const struct vmm_net_ctrl_ops *ops, void *arg);
void vmm_net_ctrl_free(struct vmm_net_ctrl *ctrl);

/* As after a reset: nothing filtered, one pair, this MAC address. Features: what the driver took. */
void vmm_net_ctrl_reset(struct vmm_net_ctrl *ctrl, const uint8_t mac[6], uint64_t features,
			unsigned int max_pairs);
/* Serves the ring until vmm_net_ctrl_stop(). */
int vmm_net_ctrl_start(struct vmm_net_ctrl *ctrl, const struct vhu_local_ring *ring,
		       struct vhu_reason *why);
void vmm_net_ctrl_stop(struct vmm_net_ctrl *ctrl);

/*
 * Serves up to max commands. 0: there is none, a kick will come. 1: there may be more. -EINPROGRESS:
 * one waits for vmm_net_ctrl_finish(). -ENOTCONN: not started. -EPROTO: the ring is broken.
 */
int vmm_net_ctrl_process(struct vmm_net_ctrl *ctrl, unsigned int max, struct vhu_reason *why);
/* What set_pairs() could not do at once is done. */
void vmm_net_ctrl_finish(struct vmm_net_ctrl *ctrl, bool ok);

const struct vmm_net_filter *vmm_net_ctrl_filter(const struct vmm_net_ctrl *ctrl);

#endif
