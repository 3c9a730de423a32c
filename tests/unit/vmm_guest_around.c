/* SPDX-License-Identifier: MIT */
/*
 * What is made up around the driver: a controller of interrupts, whoever serves doorbells, a device.
 * Each fails the test when it is used as its header forbids; see vmm_guest.h.
 */
#include "vmm_guest.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>

#include <cmocka.h>

#include <linux/virtio_config.h>

/* -- the controller -- */

static void send_message(struct guest_irq *irq, const struct vmm_msi *msi)
{
	if (msi->data < GUEST_MESSAGES && msi->addr == GUEST_MSI_BASE + 16 * msi->data)
		irq->nr_messages[msi->data]++;
	else
		irq->nr_other++;
}

static void deliver(struct guest_irq *irq, const struct guest_attached *attached)
{
	eventfd_t count;

	if (!guest_has_count(attached->eventfd) || eventfd_read(attached->eventfd, &count))
		return;
	assert_true(irq->routes[attached->route].is_set);
	assert_true(attached->eventfd < GUEST_FDS);
	irq->nr_delivered[attached->eventfd]++;
	send_message(irq, &irq->routes[attached->route].msi);
}

void guest_irq_run(struct guest_irq *irq)
{
	for (unsigned int i = 0; i < irq->nr_attached; i++)
		deliver(irq, &irq->attached[i]);
}

static struct guest_attached *find_attached(struct guest_irq *irq, int eventfd)
{
	for (unsigned int i = 0; i < irq->nr_attached; i++) {
		if (irq->attached[i].eventfd == eventfd)
			return &irq->attached[i];
	}
	return NULL;
}

bool guest_irq_is_attached(const struct guest_irq *irq, int eventfd)
{
	return find_attached((struct guest_irq *)irq, eventfd);
}

struct vmm_msi guest_irq_message(const struct guest_irq *irq, int eventfd)
{
	const struct guest_attached *attached = find_attached((struct guest_irq *)irq, eventfd);

	assert_non_null(attached);
	return irq->routes[attached->route].msi;
}

unsigned int guest_irq_routes(const struct guest_irq *irq)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < GUEST_ROUTES; i++)
		nr += irq->routes[i].is_used;
	return nr;
}

static int new_route(void *arg)
{
	struct guest_irq *irq = arg;

	if (guest_irq_routes(irq) >= irq->max_routes)
		return -ENOSPC;
	for (int i = 0; i < GUEST_ROUTES; i++) {
		if (irq->routes[i].is_used)
			continue;
		irq->routes[i] = (struct guest_route){ .is_used = true };
		return i;
	}
	return -ENOSPC;
}

static void free_route(void *arg, int route)
{
	struct guest_irq *irq = arg;

	assert_in_range(route, 0, GUEST_ROUTES - 1);
	assert_true(irq->routes[route].is_used);
	for (unsigned int i = 0; i < irq->nr_attached; i++)
		assert_int_not_equal(irq->attached[i].route, route);
	irq->routes[route].is_used = false;
}

static int set_route(void *arg, int route, const struct vmm_msi *msi)
{
	struct guest_irq *irq = arg;

	assert_in_range(route, 0, GUEST_ROUTES - 1);
	assert_true(irq->routes[route].is_used);
	guest_irq_run(irq);
	irq->nr_set_route++;
	if (irq->fail_set_route) {
		irq->fail_set_route--;
		return -EIO;
	}
	irq->routes[route].msi = *msi;
	irq->routes[route].is_set = true;
	return 0;
}

static int attach(void *arg, int route, int eventfd)
{
	struct guest_irq *irq = arg;

	assert_in_range(route, 0, GUEST_ROUTES - 1);
	assert_true(irq->routes[route].is_used);
	assert_true(irq->routes[route].is_set);
	assert_null(find_attached(irq, eventfd));
	assert_true(irq->nr_attached < GUEST_ATTACHED);
	if (irq->fail_attach) {
		irq->fail_attach--;
		return -ENOMEM;
	}
	irq->attached[irq->nr_attached] = (struct guest_attached){ route, eventfd };
	deliver(irq, &irq->attached[irq->nr_attached++]);
	return 0;
}

static int detach(void *arg, int route, int eventfd)
{
	struct guest_irq *irq = arg;
	struct guest_attached *attached = find_attached(irq, eventfd);

	assert_non_null(attached);
	assert_int_equal(attached->route, route);
	deliver(irq, attached);
	*attached = irq->attached[--irq->nr_attached];
	return 0;
}

static int send_now(void *arg, const struct vmm_msi *msi)
{
	send_message(arg, msi);
	return 0;
}

static int set_line(void *arg, unsigned int pin, bool level)
{
	struct guest_irq *irq = arg;

	assert_true(pin < GUEST_PINS);
	irq->level[pin] += level ? 1 : -1;
	/* One device is on it. */
	assert_in_range(irq->level[pin], 0, 1);
	return 0;
}

static const struct vmm_irq_ops irq_ops = {
	.new_route = new_route,
	.free_route = free_route,
	.set_route = set_route,
	.attach = attach,
	.detach = detach,
	.send = send_now,
	.set_line = set_line,
};

void guest_irq_init(struct guest_irq *irq)
{
	*irq = (struct guest_irq){ .irq = { .ops = &irq_ops, .arg = irq },
				   .max_routes = GUEST_ROUTES };
}

/* -- doorbells -- */

struct guest_bell *guest_find_bell(struct guest_bells *bells, uint64_t addr)
{
	for (unsigned int i = 0; i < bells->nr; i++) {
		if (bells->bells[i].addr == addr)
			return &bells->bells[i];
	}
	return NULL;
}

static bool add_bell(void *arg, uint64_t addr, int eventfd)
{
	struct guest_bells *bells = arg;

	assert_null(guest_find_bell(bells, addr));
	for (unsigned int i = 0; i < bells->nr; i++)
		assert_int_not_equal(bells->bells[i].eventfd, eventfd);
	if (bells->refuse)
		return false;
	assert_true(bells->nr < GUEST_BELLS);
	bells->bells[bells->nr++] = (struct guest_bell){ addr, eventfd };
	return true;
}

static void remove_bell(void *arg, uint64_t addr, int eventfd)
{
	struct guest_bells *bells = arg;
	struct guest_bell *bell = guest_find_bell(bells, addr);

	assert_non_null(bell);
	assert_int_equal(bell->eventfd, eventfd);
	*bell = bells->bells[--bells->nr];
}

const struct vmm_doorbell_ops guest_bell_ops = { .add = add_bell, .remove = remove_bell };

/* -- the device -- */

static uint64_t device_features(void *arg)
{
	const struct guest_device *device = arg;

	return device->features;
}

static bool device_accept(void *arg, uint64_t features)
{
	struct guest_device *device = arg;

	device->accepted = features;
	return !device->refuse;
}

static void device_start(void *arg)
{
	struct guest_device *device = arg;

	assert_false(device->is_started);
	assert_true(device->virtio->status & VIRTIO_CONFIG_S_DRIVER_OK);
	device->is_started = true;
	device->nr_start++;
	if (device->breaks)
		vmm_virtio_needs_reset(device->virtio);
}

static void device_queue_enabled(void *arg, unsigned int queue)
{
	struct guest_device *device = arg;

	assert_true(device->is_started);
	assert_true(device->virtio->queues[queue].is_enabled);
	device->nr_enabled++;
	device->last_enabled = queue;
}

static bool device_stop(void *arg)
{
	struct guest_device *device = arg;

	assert_false(device->is_stopping);
	device->is_started = false;
	device->nr_stop++;
	device->is_stopping = device->is_slow;
	if (device->says_twice)
		vmm_virtio_stopped(device->virtio);
	return !device->is_slow;
}

static void device_config_read(void *arg, unsigned int offset, void *data, unsigned int size)
{
	struct guest_device *device = arg;

	assert_true(size && offset + size <= device->device.config_size);
	memcpy(data, device->config + offset, size);
	device->nr_config_read++;
}

static void device_config_write(void *arg, unsigned int offset, const void *data, unsigned int size)
{
	struct guest_device *device = arg;

	assert_true(size && offset + size <= device->device.config_size);
	memcpy(device->config + offset, data, size);
	device->nr_config_write++;
	device->last_offset = offset;
	device->last_size = size;
}

const struct vmm_virtio_ops guest_device_ops = {
	.features = device_features,
	.accept = device_accept,
	.start = device_start,
	.queue_enabled = device_queue_enabled,
	.stop = device_stop,
	.config_read = device_config_read,
	.config_write = device_config_write,
};
