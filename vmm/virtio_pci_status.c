// SPDX-License-Identifier: MIT
/*
 * The device status of the transport (virtio 1.2, 2.1 and 3.1): which bits may be set when, what
 * follows, and the way back. Knows nothing of the other registers but that they are cleared.
 */

#include <vmm/event.h>
#include <vmm/virtio_pci_internal.h>

enum {
	DRIVER_BITS = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
		      VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK |
		      VIRTIO_CONFIG_S_FAILED,
};

#define BIT64(nr) (UINT64_C(1) << (nr))

/* What asks for more of a transport than there is here, whatever a device says: addresses through an
 * IOMMU, SR-IOV (37), notification data and its registers (38, 39), queue_reset (40), queues for
 * administration (41). */
#define NOT_HERE                                                                                   \
	(BIT64(VIRTIO_F_ACCESS_PLATFORM) | BIT64(37) | BIT64(38) | BIT64(39) | BIT64(40) |         \
	 BIT64(41))

uint64_t transport_features(const struct vmm_virtio_pci *pci)
{
	const struct vmm_virtio_device *device = pci->virtio.device;

	return (device->ops->features(device->arg) & ~NOT_HERE) | BIT64(VIRTIO_F_VERSION_1);
}

static bool are_features_ok(const struct vmm_virtio_pci *pci)
{
	const struct vmm_virtio_device *device = pci->virtio.device;
	uint64_t features = pci->virtio.features;

	if (!(features & BIT64(VIRTIO_F_VERSION_1)) || features & ~transport_features(pci))
		return false;
	return device->ops->accept(device->arg, features);
}

static void change(struct vmm_virtio_pci *pci, uint8_t status)
{
	uint8_t old = pci->virtio.status;

	if (status == old)
		return;
	pci->virtio.status = status;
	vmm_probe(pci->virtio.probe, VMM_AT_STATUS, transport_name(pci), NULL, status, old);
}

/* What becomes of status when the driver wants the bits of value: each needs the one before it. */
static uint8_t climb(const struct vmm_virtio_pci *pci, uint8_t value)
{
	static const uint8_t steps[] = { VIRTIO_CONFIG_S_ACKNOWLEDGE, VIRTIO_CONFIG_S_DRIVER,
					 VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_DRIVER_OK };
	uint8_t status = pci->virtio.status;

	for (unsigned int i = 0; i < sizeof(steps) && value & steps[i]; i++) {
		if (status & steps[i])
			continue;
		if (steps[i] == VIRTIO_CONFIG_S_FEATURES_OK && !are_features_ok(pci))
			break;
		status |= steps[i];
	}
	return status;
}

static void finish_reset(struct vmm_virtio_pci *pci)
{
	unsigned int nr_queues = pci->virtio.status ? pci->virtio.device->nr_queues : 0;

	pci->is_resetting = false;
	pci->virtio.features = 0;
	pci->device_feature_select = 0;
	pci->driver_feature_select = 0;
	pci->queue_select = 0;
	transport_clear_queues(pci);
	/* What was rung or called was for rings that are no more (with status 0 nothing was). */
	for (unsigned int i = 0; i < nr_queues; i++) {
		vmm_event_clear(pci->virtio.queues[i].kick_fd);
		vmm_event_clear(pci->virtio.queues[i].call_fd);
	}
	vmm_event_clear(pci->config_fd);
	change(pci, 0);
}

static void reset(struct vmm_virtio_pci *pci)
{
	const struct vmm_virtio_device *device = pci->virtio.device;

	pci->is_resetting = true;
	transport_settle_doorbells(pci);
	transport_silence(pci);
	/* With status 0 the device was told of nothing since it stopped the last time. */
	if (pci->virtio.status && !device->ops->stop(device->arg))
		return;
	transport_stopped(&pci->virtio);
}

void transport_stopped(struct vmm_virtio *virtio)
{
	struct vmm_virtio_pci *pci = transport_of(virtio);

	/* A device may say so from within its stop(), and return true all the same. */
	if (pci->is_resetting)
		finish_reset(pci);
}

void transport_set_status(struct vmm_virtio_pci *pci, uint8_t value)
{
	const struct vmm_virtio_device *device = pci->virtio.device;
	uint8_t old = pci->virtio.status, status;

	if (!value) {
		reset(pci);
		return;
	}
	/* 2.1.1: bits are cleared by a reset alone, and after FAILED nothing else may come. */
	if (old & DRIVER_BITS & ~value || old & VIRTIO_CONFIG_S_FAILED)
		return;
	if (value & VIRTIO_CONFIG_S_FAILED) {
		change(pci, old | VIRTIO_CONFIG_S_FAILED);
		return;
	}
	/* What is broken is not started. */
	if (old & VIRTIO_CONFIG_S_NEEDS_RESET)
		return;
	status = climb(pci, value);
	/* The device may have said meanwhile that it is broken. */
	change(pci, pci->virtio.status | status);
	if (pci->virtio.status & ~old & VIRTIO_CONFIG_S_DRIVER_OK) {
		transport_settle_watch(pci);
		device->ops->start(device->arg);
	}
}

void transport_needs_reset(struct vmm_virtio *virtio)
{
	struct vmm_virtio_pci *pci = transport_of(virtio);

	/* Not while it is being reset, nor after: the driver waits for a status of 0. */
	if (pci->is_resetting || !virtio->status || virtio->status & VIRTIO_CONFIG_S_NEEDS_RESET)
		return;
	change(pci, virtio->status | VIRTIO_CONFIG_S_NEEDS_RESET);
	transport_config_changed(virtio);
}
