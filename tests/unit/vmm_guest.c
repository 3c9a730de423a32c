/* SPDX-License-Identifier: MIT */
/* The driver; see vmm_guest.h. */
#include "vmm_guest.h"

#include <dirent.h>
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
	const struct guest_bell *bell = size == 2 ? guest_find_bell(&guest->bells, addr) : NULL;

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
	if (record->station == VMM_AT_REGISTER && !strcmp(record->what, "isr")) {
		guest->nr_isr_reads += record->a & 1;
		guest->nr_isr_changes += record->a >> 1 & 1;
	}
}

static void watch_calls(void *arg, bool on)
{
	struct vmm_guest *guest = arg;

	assert_int_not_equal(guest->is_watching, on);
	guest->is_watching = on;
}

struct vmm_virtio_pci_options guest_options(struct vmm_guest *guest)
{
	return (struct vmm_virtio_pci_options){ .host = guest->host,
						.slot = -1,
						.bar_base = GUEST_BAR,
						.irq = &guest->irq.irq,
						.pin = GUEST_PIN,
						.doorbell = &guest_bell_ops,
						.doorbell_arg = &guest->bells,
						.watch_calls = watch_calls,
						.watch_arg = guest,
						.probe = &guest->probe };
}

void guest_new(struct vmm_guest *guest, unsigned int nr_queues, const uint16_t *max_num,
	       unsigned int config_size)
{
	struct vmm_virtio_pci_options options;

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
							   .ops = &guest_device_ops,
							   .arg = &guest->device };
	guest_irq_init(&guest->irq);
	guest->mmio = vmm_bus_new("mmio", &guest->probe);
	guest->port = vmm_bus_new("port", &guest->probe);
	assert_true(guest->mmio && guest->port);
	assert_int_equal(vmm_pci_host_new(&guest->host, guest->mmio, guest->port, GUEST_ECAM), 0);
	options = guest_options(guest);
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
