/* SPDX-License-Identifier: MIT */
/*
 * Where a virtio device and its transport meet: what each asks of the other. Neither knows more of
 * the other than this; the transport here is virtio_pci.h, devices are vhost.h and what is built on
 * it.
 *
 * Under the machine's lock, all of it.
 */
#ifndef VMM_VIRTIO_H
#define VMM_VIRTIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vmm/probe.h>

struct vmm_virtio;

enum {
	VMM_VIRTIO_MAX_QUEUES =
		1025, /* as many as MSI-X and MQ could ever want: 512 pairs, control */
};

/* The registers of a queue as the driver left them, and its two eventfds, which are the transport's
 * and stay the same for the device's life. */
struct vmm_virtio_queue {
	uint16_t max_num; /* what the device offers */
	uint16_t num;
	bool is_enabled; /* frozen from here on, until a reset */
	uint64_t desc, driver,
		device; /* guest addresses: descriptor, driver (avail), device (used) area */
	int kick_fd;	/* the doorbell: written by KVM or by the transport */
	int call_fd;	/* written by whoever serves the queue, or by vmm_virtio_call() */
};

/* What a device does. arg is its own. */
struct vmm_virtio_ops {
	/* What it offers now; VERSION_1 and ACCESS_PLATFORM are the transport's. */
	uint64_t (*features)(void *arg);
	/* The driver wants these. False: FEATURES_OK stays clear. */
	bool (*accept)(void *arg, uint64_t features);
	/*
	 * DRIVER_OK: serve the enabled queues. Kicks that come before it is ready wait in their eventfds.
	 * A queue that is enabled later is told of by queue_enabled().
	 */
	void (*start)(void *arg);
	void (*queue_enabled)(void *arg, unsigned int queue);
	/*
	 * The driver resets the device: let go of all queues and guest memory. True: done. False:
	 * vmm_virtio_stopped() is called when it is; until then the status register does not read 0.
	 * Also called when start() never was.
	 */
	bool (*stop)(void *arg);
	/* Device configuration, offset + size within config_size. */
	void (*config_read)(void *arg, unsigned int offset, void *data, unsigned int size);
	void (*config_write)(void *arg, unsigned int offset, const void *data, unsigned int size);
};

/* What a device is. */
struct vmm_virtio_device {
	const char *name;	 /* "net0" */
	uint16_t id;		 /* virtio 1.2, 5: 1 network, 2 block */
	uint32_t class_code;	 /* of PCI */
	unsigned int nr_queues;	 /* the last of its kind included (control) */
	const uint16_t *max_num; /* of each queue */
	unsigned int config_size;
	const struct vmm_virtio_ops *ops;
	void *arg;
};

/* What the transport does for its device. */
struct vmm_virtio_transport_ops {
	/* The driver shall look at the device configuration: the generation changes, it interrupts. */
	void (*config_changed)(struct vmm_virtio *virtio);
	/* NEEDS_RESET is set, and told as a change of the configuration, if DRIVER_OK is. */
	void (*needs_reset)(struct vmm_virtio *virtio);
	/* See vmm_virtio_ops.stop(). */
	void (*stopped)(struct vmm_virtio *virtio);
};

/* The state that both see. The transport owns it, and is the only one to write. */
struct vmm_virtio {
	const struct vmm_virtio_device *device;
	const struct vmm_virtio_transport_ops *transport;
	const struct vmm_probe *probe;
	uint64_t features; /* what the driver wrote; final once FEATURES_OK is set */
	uint8_t status;
	struct vmm_virtio_queue *queues; /* device->nr_queues of them */
};

static inline void vmm_virtio_config_changed(struct vmm_virtio *virtio)
{
	virtio->transport->config_changed(virtio);
}

static inline void vmm_virtio_needs_reset(struct vmm_virtio *virtio)
{
	virtio->transport->needs_reset(virtio);
}

static inline void vmm_virtio_stopped(struct vmm_virtio *virtio)
{
	virtio->transport->stopped(virtio);
}

#endif
