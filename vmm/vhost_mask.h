/* SPDX-License-Identifier: MIT */
/*
 * Masking by message: an interrupt controller in front of the machine's, which masks at the backend,
 * too, what is detached (SET_VRING_CALL). Knows nothing of vectors, nor of the device.
 *
 * What the backend raises while masked is in an eventfd of the frontend's, and comes to the call
 * eventfd when it is unmasked: none is lost, but until then no count of the call eventfd tells of it,
 * so that a pending bit may read 0. MSI-X is not switched off while the device runs.
 *
 * Under the machine's lock.
 */
#ifndef VMM_VHOST_MASK_H
#define VMM_VHOST_MASK_H

#include <vhu/frontend.h>
#include <vmm/irq.h>
#include <vmm/virtio.h>

struct vmm_vhost_mask {
	struct vhu_frontend *fe;
	const struct vmm_virtio *virtio; /* NULL: nothing is masked yet */
	unsigned int nr_rings;
	const struct vmm_irq *inner;
	struct vmm_irq irq;
};

/* The controller in front of inner, which is borrowed; valid as long as the mask. */
const struct vmm_irq *vmm_vhost_mask_irq(struct vmm_vhost_mask *mask, const struct vmm_irq *inner);

#endif
