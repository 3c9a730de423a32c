// SPDX-License-Identifier: MIT
/*
 * Interrupts by KVM: routes, irqfds, messages and lines. Knows nothing of who interrupts.
 *
 * The kernel takes its table of routes as a whole: the pins of the PIC and the I/O APIC, which are
 * there from the start, and behind them a GSI for each route that has a message. An irqfd on a GSI
 * that stands for no message would read the eventfd and interrupt nobody; so an eventfd that is attached to such
 * a route waits, with its count, until the route has a message.
 */

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <vmm/kvm_irq.h>
#include <vmm/platform.h>

enum {
	PIC_PINS = 8, /* of each of the two */
	PIN_ENTRIES = 2 * PIC_PINS + VMM_IRQ_PINS,
	FIRST_GSI = VMM_IRQ_PINS,
};

struct vmm_kvm_route {
	bool is_used, has_msi;
	struct vmm_msi msi;
};

struct vmm_kvm_attached {
	int route, eventfd;
	bool is_live; /* the kernel knows */
};

static struct vmm_kvm_route *find_route(struct vmm_kvm_irq *irq, int route)
{
	unsigned int i = (unsigned int)route - FIRST_GSI;

	if (route < FIRST_GSI || i >= irq->nr_routes || !irq->routes[i].is_used)
		return NULL;
	return &irq->routes[i];
}

/* ---- The table ---- */

static void put_pins(struct kvm_irq_routing *table)
{
	for (unsigned int pin = 0; pin < VMM_IRQ_PINS; pin++) {
		struct kvm_irq_routing_entry *entry = &table->entries[table->nr++];

		entry->gsi = pin;
		entry->type = KVM_IRQ_ROUTING_IRQCHIP;
		entry->u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
		entry->u.irqchip.pin = pin;
		if (pin >= 2 * PIC_PINS)
			continue;
		entry = &table->entries[table->nr++];
		entry->gsi = pin;
		entry->type = KVM_IRQ_ROUTING_IRQCHIP;
		entry->u.irqchip.irqchip =
			pin < PIC_PINS ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE;
		entry->u.irqchip.pin = pin % PIC_PINS;
	}
}

static int tell_table(struct vmm_kvm_irq *irq)
{
	size_t nr = PIN_ENTRIES + irq->nr_routes;
	struct kvm_irq_routing *table;
	int err;

	table = calloc(1, sizeof(*table) + nr * sizeof(table->entries[0]));
	if (!table)
		return -ENOMEM;
	put_pins(table);
	for (unsigned int i = 0; i < irq->nr_routes; i++) {
		const struct vmm_kvm_route *route = &irq->routes[i];
		struct kvm_irq_routing_entry *entry = &table->entries[table->nr];

		if (!route->has_msi)
			continue;
		entry->gsi = FIRST_GSI + i;
		entry->type = KVM_IRQ_ROUTING_MSI;
		entry->u.msi.address_lo = (uint32_t)route->msi.addr;
		entry->u.msi.address_hi = (uint32_t)(route->msi.addr >> 32);
		entry->u.msi.data = route->msi.data;
		table->nr++;
	}
	err = ioctl(irq->vm_fd, KVM_SET_GSI_ROUTING, table) < 0 ? -errno : 0;
	free(table);
	return err;
}

/* ---- What is attached ---- */

static int tell_irqfd(struct vmm_kvm_irq *irq, int route, int eventfd, unsigned int flags)
{
	const struct kvm_irqfd request = {
		.fd = (unsigned int)eventfd,
		.gsi = (unsigned int)route,
		.flags = flags,
	};

	return ioctl(irq->vm_fd, KVM_IRQFD, &request) < 0 ? -errno : 0;
}

static struct vmm_kvm_attached *find_attached(struct vmm_kvm_irq *irq, int route, int eventfd)
{
	for (unsigned int i = 0; i < irq->nr_attached; i++)
		if (irq->attached[i].route == route && irq->attached[i].eventfd == eventfd)
			return &irq->attached[i];
	return NULL;
}

static int detach_one(struct vmm_kvm_irq *irq, struct vmm_kvm_attached *one)
{
	int err = 0;

	if (one->is_live)
		err = tell_irqfd(irq, one->route, one->eventfd, KVM_IRQFD_FLAG_DEASSIGN);
	*one = irq->attached[--irq->nr_attached];
	return err;
}

/* Tells the kernel of those that waited for the route's message. */
static int attach_waiting(struct vmm_kvm_irq *irq, int route)
{
	for (unsigned int i = 0; i < irq->nr_attached; i++) {
		struct vmm_kvm_attached *one = &irq->attached[i];
		int err;

		if (one->route != route || one->is_live)
			continue;
		err = tell_irqfd(irq, route, one->eventfd, 0);
		if (err < 0)
			return err;
		one->is_live = true;
	}
	return 0;
}

/* ---- vmm_irq_ops ---- */

static int new_route(void *arg)
{
	struct vmm_kvm_irq *irq = arg;
	struct vmm_kvm_route *routes;
	unsigned int i = 0;

	while (i < irq->nr_routes && irq->routes[i].is_used)
		i++;
	if (i == irq->max_routes)
		return -ENOSPC;
	if (i == irq->nr_routes) {
		routes = reallocarray(irq->routes, i + 1, sizeof(*routes));
		if (!routes)
			return -ENOMEM;
		irq->routes = routes;
		irq->nr_routes++;
	}
	irq->routes[i] = (struct vmm_kvm_route){ .is_used = true };
	return (int)i + FIRST_GSI;
}

static void free_route(void *arg, int number)
{
	struct vmm_kvm_irq *irq = arg;
	struct vmm_kvm_route *route = find_route(irq, number);
	bool was_told;

	if (!route)
		return;
	for (unsigned int i = irq->nr_attached; i-- > 0;)
		if (irq->attached[i].route == number)
			detach_one(irq, &irq->attached[i]);
	was_told = route->has_msi;
	*route = (struct vmm_kvm_route){ 0 };
	if (was_told)
		tell_table(irq);
}

static int set_route(void *arg, int number, const struct vmm_msi *msi)
{
	struct vmm_kvm_irq *irq = arg;
	struct vmm_kvm_route *route = find_route(irq, number);
	struct vmm_kvm_route before;
	int err;

	if (!route)
		return -EINVAL;
	if (route->has_msi && route->msi.addr == msi->addr && route->msi.data == msi->data)
		return 0;
	before = *route;
	route->has_msi = true;
	route->msi = *msi;
	err = tell_table(irq);
	if (err < 0) {
		*route = before;
		return err;
	}
	return attach_waiting(irq, number);
}

static int attach(void *arg, int number, int eventfd)
{
	struct vmm_kvm_irq *irq = arg;
	const struct vmm_kvm_route *route = find_route(irq, number);
	struct vmm_kvm_attached *all = irq->attached;
	int err = 0;

	if (!route)
		return -EINVAL;
	if (find_attached(irq, number, eventfd))
		return -EBUSY;
	if (irq->nr_attached == irq->room_attached) {
		unsigned int room = irq->room_attached ? 2 * irq->room_attached : 16;

		all = reallocarray(irq->attached, room, sizeof(*all));
		if (!all)
			return -ENOMEM;
		irq->attached = all;
		irq->room_attached = room;
	}
	/* With a count in it the kernel interrupts at once: it polls what it is given. */
	if (route->has_msi)
		err = tell_irqfd(irq, number, eventfd, 0);
	if (err < 0)
		return err;
	all[irq->nr_attached++] = (struct vmm_kvm_attached){
		.route = number,
		.eventfd = eventfd,
		.is_live = route->has_msi,
	};
	return 0;
}

static int detach(void *arg, int number, int eventfd)
{
	struct vmm_kvm_irq *irq = arg;
	struct vmm_kvm_attached *one = find_attached(irq, number, eventfd);

	return one ? detach_one(irq, one) : -ENOENT;
}

static int send_msi(void *arg, const struct vmm_msi *msi)
{
	struct vmm_kvm_irq *irq = arg;
	const struct kvm_msi request = {
		.address_lo = (uint32_t)msi->addr,
		.address_hi = (uint32_t)(msi->addr >> 32),
		.data = msi->data,
	};

	return ioctl(irq->vm_fd, KVM_SIGNAL_MSI, &request) < 0 ? -errno : 0;
}

static int set_line(void *arg, unsigned int pin, bool level)
{
	struct vmm_kvm_irq *irq = arg;
	const struct kvm_irq_level request = { .irq = pin, .level = level };

	if (pin >= VMM_IRQ_PINS)
		return -EINVAL;
	return ioctl(irq->vm_fd, KVM_IRQ_LINE, &request) < 0 ? -errno : 0;
}

static const struct vmm_irq_ops irq_ops = {
	.new_route = new_route,
	.free_route = free_route,
	.set_route = set_route,
	.attach = attach,
	.detach = detach,
	.send = send_msi,
	.set_line = set_line,
};

int vmm_kvm_irq_init(struct vmm_kvm_irq *irq, int vm_fd, unsigned int max)
{
	if (max <= PIN_ENTRIES)
		return -ENOSPC;
	*irq = (struct vmm_kvm_irq){
		.irq = { .ops = &irq_ops, .arg = irq },
		.vm_fd = vm_fd,
		.max_routes = max - PIN_ENTRIES,
	};
	return tell_table(irq);
}

void vmm_kvm_irq_fini(struct vmm_kvm_irq *irq)
{
	while (irq->nr_attached)
		detach_one(irq, &irq->attached[irq->nr_attached - 1]);
	free(irq->routes);
	free(irq->attached);
}
