/* SPDX-License-Identifier: MIT */
/*
 * A serial port with FIFOs (16550A), fast enough never to have to be waited for. Knows nothing of who
 * is at the other end: what the guest sends stands in a queue until it is fetched, what it shall get in
 * another until it reads it. While the first is full the transmitter says that it is busy.
 *
 * Under the machine's lock.
 */
#ifndef VMM_SERIAL_H
#define VMM_SERIAL_H

#include <vmm/bus.h>
#include <vmm/irq.h>

struct vmm_serial;

struct vmm_serial_options {
	struct vmm_bus *port;
	uint64_t base; /* the first of 8 ports */
	const struct vmm_irq *irq;
	unsigned int pin;
	/* There is something to fetch, and was nothing before; or a fetch that took some left some. */
	void (*sent)(void *arg);
	/* There is room for input, and was none before. */
	void (*room)(void *arg);
	void *arg;
};

/* -EEXIST, -ENOMEM. */
int vmm_serial_new(struct vmm_serial **ret_serial, const struct vmm_serial_options *options);
void vmm_serial_free(struct vmm_serial *serial);

/* Takes up to len bytes that the guest sent out of the queue: how many. */
size_t vmm_serial_fetch(struct vmm_serial *serial, void *data, size_t len);
/* Bytes that it takes now. */
size_t vmm_serial_room(const struct vmm_serial *serial);
/* At most that many; what is more is lost. */
void vmm_serial_input(struct vmm_serial *serial, const void *data, size_t len);

#endif
