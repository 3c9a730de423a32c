/* SPDX-License-Identifier: MIT */
/*
 * A block device whose requests a vhost-user backend serves (virtio 1.2, 5.2): what is particular
 * to it is its configuration, which is the backend's. Start, stop and the backend's death are
 * vhost.h. Knows nothing of the transport.
 *
 * Under the machine's lock, all of it, but vmm_blk_fd().
 */
#ifndef VMM_VIRTIO_BLK_H
#define VMM_VIRTIO_BLK_H

#include <vhu/memory.h>
#include <vmm/irq.h>
#include <vmm/text.h>
#include <vmm/virtio.h>

struct vmm_blk;

enum {
	VMM_BLK_MAX_QUEUES = 64,
	VMM_BLK_QUEUE_SIZE = 128, /* unless something else is said */
};

struct vmm_blk_options {
	const char *name;	       /* "blk0"; borrowed */
	struct vhu_memory *memory;     /* the guest's; borrowed */
	const char *path;	       /* of the backend's socket */
	bool server;		       /* the backend connects to us */
	unsigned int queues;	       /* 0: 1 */
	unsigned int queue_size;       /* a power of two, 2 to 32768; 0: VMM_BLK_QUEUE_SIZE */
	bool packed;		       /* packed rings are offered, too */
	uint64_t features_off;	       /* not offered to the guest */
	unsigned int reply_timeout_ms; /* of the backend; 0: libvhu's default */
	bool mask_by_message;	       /* see vmm_blk_irq() */
	const struct vmm_probe *probe; /* borrowed; may be NULL */
	vmm_say_fn *say;	       /* the backend went, came back, was refused; NULL: nobody */
	void *say_arg;
};

/* All as their namesakes of virtio_net.h. */
int vmm_blk_new(struct vmm_blk **ret_blk, const struct vmm_blk_options *options,
		char text[VMM_TEXT]);
void vmm_blk_free(struct vmm_blk *blk);
const struct vmm_virtio_device *vmm_blk_device(struct vmm_blk *blk);
int vmm_blk_attach(struct vmm_blk *blk, struct vmm_virtio *virtio);
const struct vmm_irq *vmm_blk_irq(struct vmm_blk *blk, const struct vmm_irq *irq);
/* Also until the backend's configuration was read. */
int vmm_blk_wait(struct vmm_blk *blk, int timeout_ms, char text[VMM_TEXT]);
int vmm_blk_fd(const struct vmm_blk *blk);
int vmm_blk_process(struct vmm_blk *blk);

#endif
