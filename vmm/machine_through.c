// SPDX-License-Identifier: MIT
/*
 * An interrupt controller for one device whose calls come by us, so that they can be seen: an attached
 * eventfd is watched by the device thread, which sends the route's message itself. For a machine that
 * is traced; all promises of vmm_irq_ops hold, only the way is longer.
 */

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <vmm/event.h>
#include <vmm/machine_parts.h>

struct vmm_through_route {
	int number;
	bool has_msi;
	struct vmm_msi msi;
};

struct vmm_through_attached {
	int route, eventfd;
	bool is_watched;
};

static const struct vmm_irq *inner(const struct vmm_machine_through *through)
{
	return vmm_kvm_irq(through->device->machine->kvm);
}

static struct vmm_through_route *find_route(struct vmm_machine_through *through, int number)
{
	for (unsigned int i = 0; i < through->nr_routes; i++)
		if (through->routes[i].number == number)
			return &through->routes[i];
	return NULL;
}

static int new_route(void *arg)
{
	struct vmm_machine_through *through = arg;
	struct vmm_through_route *routes;
	int number;

	routes = reallocarray(through->routes, through->nr_routes + 1, sizeof(*routes));
	if (!routes)
		return -ENOMEM;
	through->routes = routes;
	number = inner(through)->ops->new_route(inner(through)->arg);
	if (number >= 0)
		routes[through->nr_routes++] = (struct vmm_through_route){ .number = number };
	return number;
}

static void remove_attached(struct vmm_machine_through *through, unsigned int i)
{
	struct vmm_through_attached *one = &through->attached[i];

	if (one->is_watched)
		vmm_machine_unwatch(through->device->machine, one->eventfd);
	*one = through->attached[--through->nr_attached];
}

static void free_route(void *arg, int number)
{
	struct vmm_machine_through *through = arg;
	struct vmm_through_route *route = find_route(through, number);

	if (!route)
		return;
	for (unsigned int i = through->nr_attached; i-- > 0;)
		if (through->attached[i].route == number)
			remove_attached(through, i);
	*route = through->routes[--through->nr_routes];
	inner(through)->ops->free_route(inner(through)->arg, number);
}

/* A count that is there already makes it readable at once. */
static int watch(struct vmm_machine_through *through, struct vmm_through_attached *one)
{
	int err = 0;

	if (!one->is_watched)
		err = vmm_machine_watch_call(through->device, one->eventfd);
	one->is_watched = !err;
	return err;
}

static int set_route(void *arg, int number, const struct vmm_msi *msi)
{
	struct vmm_machine_through *through = arg;
	struct vmm_through_route *route = find_route(through, number);
	int err = 0;

	if (!route)
		return -EINVAL;
	route->msi = *msi;
	route->has_msi = true;
	for (unsigned int i = 0; !err && i < through->nr_attached; i++)
		if (through->attached[i].route == number)
			err = watch(through, &through->attached[i]);
	return err;
}

static int attach(void *arg, int number, int eventfd)
{
	struct vmm_machine_through *through = arg;
	const struct vmm_through_route *route = find_route(through, number);
	struct vmm_through_attached *all, *one;
	int err;

	if (!route)
		return -EINVAL;
	all = reallocarray(through->attached, through->nr_attached + 1, sizeof(*all));
	if (!all)
		return -ENOMEM;
	through->attached = all;
	one = &all[through->nr_attached];
	*one = (struct vmm_through_attached){ .route = number, .eventfd = eventfd };
	err = route->has_msi ? watch(through, one) : 0;
	if (!err)
		through->nr_attached++;
	return err;
}

static int detach(void *arg, int number, int eventfd)
{
	struct vmm_machine_through *through = arg;

	for (unsigned int i = 0; i < through->nr_attached; i++) {
		const struct vmm_through_attached *one = &through->attached[i];

		if (one->route != number || one->eventfd != eventfd)
			continue;
		remove_attached(through, i);
		return 0;
	}
	return -ENOENT;
}

static int send_msi(void *arg, const struct vmm_msi *msi)
{
	struct vmm_machine_through *through = arg;

	return inner(through)->ops->send(inner(through)->arg, msi);
}

static int set_line(void *arg, unsigned int pin, bool level)
{
	struct vmm_machine_through *through = arg;

	return inner(through)->ops->set_line(inner(through)->arg, pin, level);
}

static const struct vmm_irq_ops through_ops = {
	.new_route = new_route,
	.free_route = free_route,
	.set_route = set_route,
	.attach = attach,
	.detach = detach,
	.send = send_msi,
	.set_line = set_line,
};

void vmm_machine_through_init(struct vmm_machine_through *through,
			      struct vmm_machine_device *device)
{
	*through = (struct vmm_machine_through){
		.irq = { .ops = &through_ops, .arg = through },
		.device = device,
	};
}

void vmm_machine_through_fini(struct vmm_machine_through *through)
{
	free(through->routes);
	free(through->attached);
}

void vmm_machine_through_call(struct vmm_machine_through *through, int eventfd)
{
	const struct vmm_machine_device *device = through->device;
	const struct vmm_virtio *virtio = vmm_virtio_pci_state(device->pci);
	const struct vmm_probe *probe = device->machine->options.probe;

	for (unsigned int i = 0; i < through->nr_attached; i++) {
		const struct vmm_through_attached *one = &through->attached[i];
		const struct vmm_through_route *route = find_route(through, one->route);

		if (one->eventfd != eventfd || !one->is_watched || !route)
			continue;
		if (!vmm_event_clear(eventfd))
			return;
		for (unsigned int queue = 0; queue < virtio->device->nr_queues; queue++)
			if (virtio->queues[queue].call_fd == eventfd)
				vmm_probe(probe, VMM_AT_CALL, virtio->device->name, NULL, queue, 0);
		vmm_probe(probe, VMM_AT_INTERRUPT, virtio->device->name, "msi",
			  route->msi.data & 0xff, route->msi.addr);
		inner(through)->ops->send(inner(through)->arg, &route->msi);
		return;
	}
}
