/* SPDX-License-Identifier: MIT */
/*
 * What the files virtio_pci*.c share: the transport's own state, and what each of them does for the
 * others. Nobody else includes it.
 */
#ifndef VMM_VIRTIO_PCI_INTERNAL_H
#define VMM_VIRTIO_PCI_INTERNAL_H

#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <vmm/msix.h>
#include <vmm/virtio_pci.h>

/* The BAR: each structure begins a page, those before the doorbells at fixed places. */
enum {
	TRANSPORT_BAR = 0,
	COMMON_OFFSET = 0,
	COMMON_SIZE = 60, /* with queue_notify_data and queue_reset, which are 0 */
	ISR_OFFSET = 0x1000,
	DEVICE_OFFSET = 0x2000,
	NOTIFY_OFFSET = 0x3000, /* then MSI-X */
	STRUCTURE_ALIGN = 0x1000,
	NOTIFY_MULTIPLIER = 4,
};

/* What the driver does not see of a queue. */
struct doorbell {
	bool is_served; /* by whoever the options name, at addr */
	uint64_t addr;
};

struct transport_queue {
	struct doorbell doorbell;
	uint16_t vector;
	bool was_called; /* without MSI-X, and the driver has not read the ISR since */
};

struct vmm_virtio_pci {
	struct vmm_virtio virtio;
	struct vmm_virtio_pci_options options;
	struct vmm_pci_device *function;
	struct vmm_msix *msix;
	struct transport_queue *queues;
	uint64_t bar_base;   /* 0: it is nowhere */
	unsigned int window; /* where the PCI-cfg capability is */
	int config_fd;	     /* source of the configuration's vector */
	uint16_t config_vector;
	uint16_t queue_select;
	uint32_t device_feature_select, driver_feature_select;
	uint8_t generation;
	uint8_t isr;
	bool is_line_high, is_watching;
	bool is_resetting; /* the device has been told to stop and has not yet */
};

static inline const char *transport_name(const struct vmm_virtio_pci *pci)
{
	return pci->virtio.device->name;
}

/* Bytes of the BAR from NOTIFY_OFFSET on that are doorbells. */
uint64_t transport_notify_size(const struct vmm_virtio_device *device);
/* A register of the BAR, for the bus and for the PCI-cfg window; offset a multiple of size. */
uint64_t transport_read(struct vmm_virtio_pci *pci, uint64_t offset, unsigned int size);
void transport_write(struct vmm_virtio_pci *pci, uint64_t offset, unsigned int size,
		     uint64_t value);
/* Adds or removes what serves the doorbells, as queues and BAR are now. */
void transport_settle_doorbells(struct vmm_virtio_pci *pci);
void transport_settle_doorbell(struct vmm_virtio_pci *pci, unsigned int queue);

/* virtio_pci_irq.c: line, ISR, vectors. */
void transport_settle_line(struct vmm_virtio_pci *pci);
void transport_settle_watch(struct vmm_virtio_pci *pci);
uint8_t transport_read_isr(struct vmm_virtio_pci *pci);
void transport_msix_switched(void *arg, bool is_on);
void transport_config_changed(struct vmm_virtio *virtio);
/* What stands in the vector register then: number, or none if it cannot be had. */
uint16_t transport_connect(struct vmm_virtio_pci *pci, int eventfd, uint16_t number);
/* No interrupt from now on: nothing is connected, ISR and line are 0. */
void transport_silence(struct vmm_virtio_pci *pci);

/* virtio_pci_status.c: device status. */
uint64_t transport_features(const struct vmm_virtio_pci *pci);
void transport_set_status(struct vmm_virtio_pci *pci, uint8_t value);
void transport_needs_reset(struct vmm_virtio *virtio);
void transport_stopped(struct vmm_virtio *virtio);

/* virtio_pci_regs.c: the common structure; offset + size within COMMON_SIZE + 4. */
uint64_t transport_common_read(struct vmm_virtio_pci *pci, unsigned int offset, unsigned int size);
void transport_common_write(struct vmm_virtio_pci *pci, unsigned int offset, unsigned int size,
			    uint64_t value);
/* As at the start: what the registers of the queues say. */
void transport_clear_queues(struct vmm_virtio_pci *pci);

/* virtio_pci_cap.c: capabilities, and the window through the last of them. */
int transport_add_capabilities(struct vmm_virtio_pci *pci);
void transport_window_reading(struct vmm_virtio_pci *pci, unsigned int offset, unsigned int size);
void transport_window_written(struct vmm_virtio_pci *pci, unsigned int offset, unsigned int size);

static inline struct vmm_virtio_pci *transport_of(struct vmm_virtio *virtio)
{
	return (struct vmm_virtio_pci *)((char *)virtio - offsetof(struct vmm_virtio_pci, virtio));
}

#endif
