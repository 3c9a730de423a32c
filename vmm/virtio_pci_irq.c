// SPDX-License-Identifier: MIT
/*
 * How the transport interrupts: ISR and line without MSI-X, vectors with it, and that nothing is lost
 * between the two. Knows nothing of registers other than these.
 */

#include <vmm/event.h>
#include <vmm/virtio_pci_internal.h>

#include <linux/pci_regs.h>

enum {
	ISR_QUEUE = 1,
	ISR_CONFIG = VIRTIO_PCI_ISR_CONFIG,
};

static bool is_running(const struct vmm_virtio_pci *pci)
{
	return pci->virtio.status & VIRTIO_CONFIG_S_DRIVER_OK && !pci->is_resetting;
}

/* virtio 1.2, 4.1.4.5.1. */
void transport_settle_line(struct vmm_virtio_pci *pci)
{
	const struct vmm_irq *irq = pci->options.irq;
	bool asks = pci->isr && !vmm_msix_is_on(pci->msix);
	bool is_high = asks && !vmm_pci_intx_off(pci->function);
	uint32_t status =
		vmm_pci_get(pci->function, PCI_STATUS, 2) & ~(uint32_t)PCI_STATUS_INTERRUPT;

	vmm_pci_set(pci->function, PCI_STATUS, 2, status | (asks ? PCI_STATUS_INTERRUPT : 0));
	if (is_high == pci->is_line_high)
		return;
	pci->is_line_high = is_high;
	irq->ops->set_line(irq->arg, pci->options.pin, is_high);
	vmm_probe(pci->virtio.probe, VMM_AT_INTERRUPT, transport_name(pci), "line",
		  pci->options.pin, is_high);
}

void transport_settle_watch(struct vmm_virtio_pci *pci)
{
	bool watch = is_running(pci) && !vmm_msix_is_on(pci->msix);

	if (watch == pci->is_watching)
		return;
	pci->is_watching = watch;
	if (pci->options.watch_calls)
		pci->options.watch_calls(pci->options.watch_arg, watch);
}

static void forget_calls(struct vmm_virtio_pci *pci)
{
	for (unsigned int i = 0; i < pci->virtio.device->nr_queues; i++)
		pci->queues[i].was_called = false;
}

uint8_t transport_read_isr(struct vmm_virtio_pci *pci)
{
	uint8_t isr = pci->isr;

	pci->isr = 0;
	/* The driver knows: it need not be told again when MSI-X is switched on. */
	if (isr & ISR_QUEUE)
		forget_calls(pci);
	if (isr & ISR_CONFIG && !vmm_msix_is_on(pci->msix))
		vmm_event_clear(pci->config_fd);
	transport_settle_line(pci);
	return isr;
}

void transport_msix_switched(void *arg, bool is_on)
{
	struct vmm_virtio_pci *pci = arg;

	/* Calls that were read for a line which the driver did not look at go to their vectors. */
	for (unsigned int i = 0; is_on && i < pci->virtio.device->nr_queues; i++) {
		if (pci->queues[i].was_called)
			vmm_msix_signal(pci->msix, pci->virtio.queues[i].call_fd);
		pci->queues[i].was_called = false;
	}
	if (is_on)
		pci->isr &= (uint8_t)~ISR_QUEUE;
	transport_settle_line(pci);
	transport_settle_watch(pci);
}

void transport_config_changed(struct vmm_virtio *virtio)
{
	struct vmm_virtio_pci *pci = transport_of(virtio);

	pci->generation++;
	/* Before, the driver has not read what has changed. */
	if (!is_running(pci))
		return;
	pci->isr |= ISR_CONFIG;
	vmm_msix_signal(pci->msix, pci->config_fd);
	transport_settle_line(pci);
}

void vmm_virtio_pci_called(struct vmm_virtio_pci *pci, unsigned int queue)
{
	if (queue >= pci->virtio.device->nr_queues || !is_running(pci))
		return;
	vmm_probe(pci->virtio.probe, VMM_AT_CALL, transport_name(pci), NULL, queue, 0);
	/* Read while MSI-X was being switched on: back to where it is one of its vector's. */
	if (vmm_msix_is_on(pci->msix)) {
		vmm_msix_signal(pci->msix, pci->virtio.queues[queue].call_fd);
		return;
	}
	pci->queues[queue].was_called = true;
	pci->isr |= ISR_QUEUE;
	transport_settle_line(pci);
}

/* virtio 1.2, 4.1.5.1.2.1: the driver reads back whether it got what it asked for. */
uint16_t transport_connect(struct vmm_virtio_pci *pci, int eventfd, uint16_t number)
{
	return vmm_msix_connect(pci->msix, eventfd, number) ? VMM_MSIX_NO_VECTOR : number;
}

void transport_silence(struct vmm_virtio_pci *pci)
{
	for (unsigned int i = 0; i < pci->virtio.device->nr_queues; i++) {
		vmm_msix_disconnect(pci->msix, pci->virtio.queues[i].call_fd);
		pci->queues[i].vector = VMM_MSIX_NO_VECTOR;
	}
	vmm_msix_disconnect(pci->msix, pci->config_fd);
	pci->config_vector = VMM_MSIX_NO_VECTOR;
	forget_calls(pci);
	pci->isr = 0;
	transport_settle_line(pci);
	transport_settle_watch(pci);
}
