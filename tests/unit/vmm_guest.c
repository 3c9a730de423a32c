/* SPDX-License-Identifier: MIT */
/* The driver, and what is made up around it; see vmm_guest.h. */
#include "vmm_guest.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>

#include <cmocka.h>

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

bool guest_has_count(int eventfd)
{
	struct pollfd pollfd = { .fd = eventfd, .events = POLLIN };

	return poll(&pollfd, 1, 0) == 1;
}

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

static struct guest_bell *find_bell(struct guest_bells *bells, uint64_t addr)
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

	assert_null(find_bell(bells, addr));
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
	struct guest_bell *bell = find_bell(bells, addr);

	assert_non_null(bell);
	assert_int_equal(bell->eventfd, eventfd);
	*bell = bells->bells[--bells->nr];
}

static const struct vmm_doorbell_ops bell_ops = { .add = add_bell, .remove = remove_bell };

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

static const struct vmm_virtio_ops device_ops = {
	.features = device_features,
	.accept = device_accept,
	.start = device_start,
	.queue_enabled = device_queue_enabled,
	.stop = device_stop,
	.config_read = device_config_read,
	.config_write = device_config_write,
};

/* -- the driver -- */

unsigned int guest_count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int nr = 0;

	assert_non_null(dir);
	while (readdir(dir))
		nr++;
	closedir(dir);
	return nr;
}

uint64_t guest_read(struct vmm_guest *guest, uint64_t addr, unsigned int size)
{
	uint64_t value = 0;

	vmm_bus_read(guest->mmio, addr, &value, size);
	return value;
}

void guest_write(struct vmm_guest *guest, uint64_t addr, unsigned int size, uint64_t value)
{
	const struct guest_bell *bell = size == 2 ? find_bell(&guest->bells, addr) : NULL;

	if (bell)
		assert_int_equal(eventfd_write(bell->eventfd, 1), 0);
	else
		vmm_bus_write(guest->mmio, addr, &value, size);
}

static uint64_t config_addr(const struct vmm_guest *guest, unsigned int offset)
{
	return GUEST_ECAM + (guest->slot << 15) + offset;
}

uint32_t guest_config_read(struct vmm_guest *guest, unsigned int offset, unsigned int size)
{
	return (uint32_t)guest_read(guest, config_addr(guest, offset), size);
}

void guest_config_write(struct vmm_guest *guest, unsigned int offset, unsigned int size,
			uint32_t value)
{
	guest_write(guest, config_addr(guest, offset), size, value);
}

unsigned int guest_find_cap(struct vmm_guest *guest, uint8_t id, unsigned int n)
{
	unsigned int at = guest_config_read(guest, PCI_CAPABILITY_LIST, 1);

	for (unsigned int i = 0; at && i < 48; i++) {
		assert_true(at >= 0x40 && at % 4 == 0);
		if (guest_config_read(guest, at, 1) == id && !n--)
			return at;
		at = guest_config_read(guest, at + 1, 1);
	}
	assert_int_equal(at, 0);
	return 0;
}

void guest_command(struct vmm_guest *guest, uint16_t set, uint16_t clear)
{
	uint32_t command = guest_config_read(guest, PCI_COMMAND, 2);

	guest_config_write(guest, PCI_COMMAND, 2, (command & ~(uint32_t)clear) | set);
}

void guest_move_bar(struct vmm_guest *guest, uint64_t base)
{
	guest_command(guest, 0, PCI_COMMAND_MEMORY);
	guest_config_write(guest, PCI_BASE_ADDRESS_0, 4, (uint32_t)base);
	guest_config_write(guest, PCI_BASE_ADDRESS_1, 4, (uint32_t)(base >> 32));
	guest_command(guest, PCI_COMMAND_MEMORY, 0);
	guest->bar = base;
}

static void found(struct vmm_guest *guest, unsigned int at)
{
	uint32_t offset = guest_config_read(guest, at + VIRTIO_PCI_CAP_OFFSET, 4);
	uint32_t length = guest_config_read(guest, at + VIRTIO_PCI_CAP_LENGTH, 4);

	switch (guest_config_read(guest, at + VIRTIO_PCI_CAP_CFG_TYPE, 1)) {
	case VIRTIO_PCI_CAP_COMMON_CFG:
		guest->common = offset;
		guest->common_len = length;
		break;
	case VIRTIO_PCI_CAP_NOTIFY_CFG:
		guest->notify = offset;
		guest->notify_len = length;
		guest->multiplier = guest_config_read(guest, at + VIRTIO_PCI_NOTIFY_CAP_MULT, 4);
		break;
	case VIRTIO_PCI_CAP_ISR_CFG:
		guest->isr = offset;
		guest->isr_len = length;
		break;
	case VIRTIO_PCI_CAP_DEVICE_CFG:
		guest->config = offset;
		guest->config_len = length;
		break;
	case VIRTIO_PCI_CAP_PCI_CFG:
		guest->window_cap = at;
		break;
	default:
		fail_msg("a capability of no known type");
	}
}

static void find_all(struct vmm_guest *guest)
{
	unsigned int at;

	for (unsigned int n = 0; (at = guest_find_cap(guest, PCI_CAP_ID_VNDR, n)); n++)
		found(guest, at);
	guest->msix_cap = guest_find_cap(guest, PCI_CAP_ID_MSIX, 0);
	assert_int_not_equal(guest->msix_cap, 0);
	guest->table = guest_config_read(guest, guest->msix_cap + PCI_MSIX_TABLE, 4);
	guest->pba = guest_config_read(guest, guest->msix_cap + PCI_MSIX_PBA, 4);
	assert_int_equal(guest->table & PCI_MSIX_TABLE_BIR, 0);
	assert_int_equal(guest->pba & PCI_MSIX_PBA_BIR, 0);
}

static void sink(void *arg, const struct vmm_record *record)
{
	struct vmm_guest *guest = arg;

	guest->nr_records[record->station]++;
	guest->last[record->station] = *record;
	if (record->station == VMM_AT_REGISTER && !strcmp(record->what, "isr") && record->a & 1)
		guest->nr_isr_reads++;
}

static void watch_calls(void *arg, bool on)
{
	struct vmm_guest *guest = arg;

	assert_int_not_equal(guest->is_watching, on);
	guest->is_watching = on;
}

void guest_new(struct vmm_guest *guest, unsigned int nr_queues, const uint16_t *max_num,
	       unsigned int config_size)
{
	struct vmm_virtio_pci_options options = { .slot = -1,
						  .bar_base = GUEST_BAR,
						  .irq = &guest->irq.irq,
						  .pin = GUEST_PIN,
						  .doorbell = &bell_ops,
						  .doorbell_arg = &guest->bells,
						  .watch_calls = watch_calls,
						  .watch_arg = guest,
						  .probe = &guest->probe };

	*guest = (struct vmm_guest){ .nr_fds = guest_count_fds(),
				     .probe = { .sink = sink, .arg = guest } };
	assert_true(nr_queues <= GUEST_MAX_QUEUES && config_size <= GUEST_CONFIG);
	memcpy(guest->device.max_num, max_num, nr_queues * sizeof(*max_num));
	guest->device.features = UINT64_C(0x1234500f0) | PACKED;
	guest->device.device = (struct vmm_virtio_device){ .name = "net0",
							   .id = 1,
							   .class_code = 0x020000,
							   .nr_queues = nr_queues,
							   .max_num = guest->device.max_num,
							   .config_size = config_size,
							   .ops = &device_ops,
							   .arg = &guest->device };
	guest_irq_init(&guest->irq);
	guest->mmio = vmm_bus_new("mmio", &guest->probe);
	guest->port = vmm_bus_new("port", &guest->probe);
	assert_true(guest->mmio && guest->port);
	assert_int_equal(vmm_pci_host_new(&guest->host, guest->mmio, guest->port, GUEST_ECAM), 0);
	options.host = guest->host;
	assert_int_equal(vmm_virtio_pci_new(&guest->pci, &guest->device.device, &options), 0);
	guest->virtio = vmm_virtio_pci_state(guest->pci);
	guest->device.virtio = guest->virtio;
	guest->slot = 1;
	guest->bar = GUEST_BAR;
	guest->bar_size = vmm_virtio_pci_bar_size(&guest->device.device);
	find_all(guest);
	guest_command(guest, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0);
}

const uint16_t guest_max_num[NR_QUEUES] = { 256, 1024, 64 };

void guest_open(struct vmm_guest *guest)
{
	guest_new(guest, NR_QUEUES, guest_max_num, CONFIG_SIZE);
	for (unsigned int i = 0; i < CONFIG_SIZE; i++)
		guest->device.config[i] = (uint8_t)(0xa0 + i);
}

void guest_free(struct vmm_guest *guest)
{
	vmm_virtio_pci_free(guest->pci);
	vmm_pci_host_free(guest->host);
	vmm_bus_free(guest->mmio);
	vmm_bus_free(guest->port);
	assert_int_equal(guest->bells.nr, 0);
	assert_int_equal(guest->irq.nr_attached, 0);
	assert_int_equal(guest_irq_routes(&guest->irq), 0);
	assert_int_equal(guest->irq.level[GUEST_PIN], 0);
	assert_false(guest->is_watching);
	assert_int_equal(guest_count_fds(), guest->nr_fds);
}

static unsigned int width(unsigned int offset)
{
	switch (offset) {
	case VIRTIO_PCI_COMMON_STATUS:
	case VIRTIO_PCI_COMMON_CFGGENERATION:
		return 1;
	case VIRTIO_PCI_COMMON_MSIX:
	case VIRTIO_PCI_COMMON_NUMQ:
	case VIRTIO_PCI_COMMON_Q_SELECT:
	case VIRTIO_PCI_COMMON_Q_SIZE:
	case VIRTIO_PCI_COMMON_Q_MSIX:
	case VIRTIO_PCI_COMMON_Q_ENABLE:
	case VIRTIO_PCI_COMMON_Q_NOFF:
	case VIRTIO_PCI_COMMON_Q_NDATA:
	case VIRTIO_PCI_COMMON_Q_RESET:
		return 2;
	default:
		return 4;
	}
}

uint32_t guest_get(struct vmm_guest *guest, unsigned int offset)
{
	return (uint32_t)guest_read(guest, guest->bar + guest->common + offset, width(offset));
}

void guest_set(struct vmm_guest *guest, unsigned int offset, uint32_t value)
{
	guest_write(guest, guest->bar + guest->common + offset, width(offset), value);
}

uint8_t guest_status(struct vmm_guest *guest)
{
	return (uint8_t)guest_get(guest, VIRTIO_PCI_COMMON_STATUS);
}

void guest_set_status(struct vmm_guest *guest, uint8_t status)
{
	guest_set(guest, VIRTIO_PCI_COMMON_STATUS, status);
}

uint8_t guest_negotiate(struct vmm_guest *guest, uint64_t features)
{
	guest_set_status(guest, 0);
	guest_set_status(guest, 1);
	guest_set_status(guest, 3);
	for (uint32_t i = 0; i < 2; i++) {
		guest_set(guest, VIRTIO_PCI_COMMON_GFSELECT, i);
		guest_set(guest, VIRTIO_PCI_COMMON_GF, (uint32_t)(features >> (32 * i)));
	}
	guest_set_status(guest, 0xb);
	return guest_status(guest);
}

void guest_enable_queue(struct vmm_guest *guest, unsigned int queue, uint16_t vector)
{
	uint32_t base = 0x100000 * (queue + 1);

	guest_set(guest, VIRTIO_PCI_COMMON_Q_SELECT, queue);
	guest_set(guest, VIRTIO_PCI_COMMON_Q_MSIX, vector);
	guest_set(guest, VIRTIO_PCI_COMMON_Q_DESCLO, base);
	guest_set(guest, VIRTIO_PCI_COMMON_Q_DESCHI, 1);
	guest_set(guest, VIRTIO_PCI_COMMON_Q_AVAILLO, base + 0x40000);
	guest_set(guest, VIRTIO_PCI_COMMON_Q_AVAILHI, 2);
	guest_set(guest, VIRTIO_PCI_COMMON_Q_USEDLO, base + 0x80000);
	guest_set(guest, VIRTIO_PCI_COMMON_Q_USEDHI, 3);
	guest_set(guest, VIRTIO_PCI_COMMON_Q_ENABLE, 1);
}

void guest_start(struct vmm_guest *guest)
{
	unsigned int nr_queues = guest->device.device.nr_queues;

	assert_int_equal(guest_negotiate(guest, VERSION_1), 0xb);
	guest_msix_control(guest, true, false);
	guest_set(guest, VIRTIO_PCI_COMMON_MSIX, 0);
	guest_msix_entry(guest, 0, 0, false);
	for (unsigned int i = 0; i < nr_queues; i++) {
		guest_enable_queue(guest, i, (uint16_t)(i + 1));
		guest_msix_entry(guest, i + 1, i + 1, false);
	}
	guest_set_status(guest, 0xf);
	assert_int_equal(guest_status(guest), 0xf);
}

void guest_kick(struct vmm_guest *guest, unsigned int queue)
{
	guest_write(guest, guest->bar + guest->notify + queue * guest->multiplier, 2, queue);
}

void guest_call(struct vmm_guest *guest, unsigned int queue)
{
	assert_int_equal(eventfd_write(guest->virtio->queues[queue].call_fd, 1), 0);
	guest_irq_run(&guest->irq);
}

void guest_watch(struct vmm_guest *guest)
{
	for (unsigned int i = 0; guest->is_watching && i < guest->device.device.nr_queues; i++) {
		eventfd_t count;

		if (!eventfd_read(guest->virtio->queues[i].call_fd, &count))
			vmm_virtio_pci_called(guest->pci, i);
	}
	guest_irq_run(&guest->irq);
}

void guest_msix_control(struct vmm_guest *guest, bool enable, bool mask)
{
	guest_config_write(guest, guest->msix_cap + PCI_MSIX_FLAGS, 2,
			   (enable ? PCI_MSIX_FLAGS_ENABLE : 0) |
				   (mask ? PCI_MSIX_FLAGS_MASKALL : 0));
	guest_irq_run(&guest->irq);
}

static uint64_t entry_addr(const struct vmm_guest *guest, unsigned int vector)
{
	return guest->bar + guest->table + vector * PCI_MSIX_ENTRY_SIZE;
}

void guest_msix_entry(struct vmm_guest *guest, unsigned int vector, unsigned int message, bool mask)
{
	uint64_t entry = entry_addr(guest, vector);

	guest_write(guest, entry + PCI_MSIX_ENTRY_VECTOR_CTRL, 4, 1);
	guest_write(guest, entry, 8, GUEST_MSI_BASE + 16 * message);
	guest_write(guest, entry + PCI_MSIX_ENTRY_DATA, 4, message);
	guest_write(guest, entry + PCI_MSIX_ENTRY_VECTOR_CTRL, 4, mask);
	guest_irq_run(&guest->irq);
}

void guest_msix_mask(struct vmm_guest *guest, unsigned int vector, bool mask)
{
	guest_write(guest, entry_addr(guest, vector) + PCI_MSIX_ENTRY_VECTOR_CTRL, 4, mask);
	guest_irq_run(&guest->irq);
}

bool guest_msix_pending(struct vmm_guest *guest, unsigned int vector)
{
	uint64_t bits = guest_read(guest, guest->bar + guest->pba + vector / 64 * 8, 8);

	return bits >> (vector % 64) & 1;
}
