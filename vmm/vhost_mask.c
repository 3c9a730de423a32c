// SPDX-License-Identifier: MIT
/* Passes on what is asked of an interrupt controller, and tells the backend what is masked. */
#include <vmm/vhost_mask.h>

static void tell(const struct vmm_vhost_mask *mask, int eventfd, bool is_masked)
{
	for (unsigned int i = 0; mask->virtio && i < mask->nr_rings; i++) {
		if (mask->virtio->queues[i].call_fd == eventfd)
			vhu_frontend_mask(mask->fe, i, is_masked);
	}
}

static int mask_new_route(void *arg)
{
	const struct vmm_irq *irq = ((struct vmm_vhost_mask *)arg)->inner;

	return irq->ops->new_route(irq->arg);
}

static void mask_free_route(void *arg, int route)
{
	const struct vmm_irq *irq = ((struct vmm_vhost_mask *)arg)->inner;

	irq->ops->free_route(irq->arg, route);
}

static int mask_set_route(void *arg, int route, const struct vmm_msi *msi)
{
	const struct vmm_irq *irq = ((struct vmm_vhost_mask *)arg)->inner;

	return irq->ops->set_route(irq->arg, route, msi);
}

static int mask_attach(void *arg, int route, int eventfd)
{
	struct vmm_vhost_mask *mask = arg;
	int err = mask->inner->ops->attach(mask->inner->arg, route, eventfd);

	if (!err)
		tell(mask, eventfd, false);
	return err;
}

static int mask_detach(void *arg, int route, int eventfd)
{
	struct vmm_vhost_mask *mask = arg;

	tell(mask, eventfd, true);
	return mask->inner->ops->detach(mask->inner->arg, route, eventfd);
}

static int mask_send(void *arg, const struct vmm_msi *msi)
{
	const struct vmm_irq *irq = ((struct vmm_vhost_mask *)arg)->inner;

	return irq->ops->send(irq->arg, msi);
}

static int mask_set_line(void *arg, unsigned int pin, bool level)
{
	const struct vmm_irq *irq = ((struct vmm_vhost_mask *)arg)->inner;

	return irq->ops->set_line(irq->arg, pin, level);
}

static const struct vmm_irq_ops mask_ops = {
	.new_route = mask_new_route,
	.free_route = mask_free_route,
	.set_route = mask_set_route,
	.attach = mask_attach,
	.detach = mask_detach,
	.send = mask_send,
	.set_line = mask_set_line,
};

const struct vmm_irq *vmm_vhost_mask_irq(struct vmm_vhost_mask *mask, const struct vmm_irq *inner)
{
	mask->inner = inner;
	mask->irq = (struct vmm_irq){ .ops = &mask_ops, .arg = mask };
	return &mask->irq;
}
