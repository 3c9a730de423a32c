/* SPDX-License-Identifier: MIT */
/*
 * The stations of the notification path inside the machine: one call where each is passed, seen as
 * the USDT probe vhu:vm_station (its arguments are those of vmm_probe()) and, if somebody asked, as a
 * record. Knows nothing of who looks.
 */
#ifndef VMM_PROBE_H
#define VMM_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In the order in which a doorbell, or a write to the status register, passes them. */
enum vmm_station {
	VMM_AT_EXIT,	 /* a vCPU came back to us. what: mmio, port; a: address, b: value */
	VMM_AT_BUS,	 /* a range was found. what: its name; a: offset, b: size in bytes.
			  * None was: what: the bus's name; a: address */
	VMM_AT_REGISTER, /* of virtio-pci. what: its name; a: value, b: queue selected */
	VMM_AT_STATUS,	 /* device status. a: new, b: old */
	VMM_AT_START,	 /* a device is started, or stopped. what: which; a: rings */
	VMM_AT_MESSAGE,	 /* to or from the backend. what: its text; a: enum vhu_event_kind */
	VMM_AT_RUNNING,	 /* the backend has what it needs, the device runs. a: rings */
	VMM_AT_KICK,	 /* a doorbell's eventfd was written by us. a: queue */
	VMM_AT_CALL,	 /* a call was seen by us. a: queue */
	VMM_AT_INTERRUPT, /* handed to KVM. what: msi, line; a: vector or line, b: address or level */
	VMM_AT_ENTER, /* the vCPU goes back into the guest. what, a, b: as EXIT, with what it read; NULL: it wrote */
	VMM_STATION_END,
};

struct vmm_record {
	uint64_t time_ns; /* CLOCK_MONOTONIC */
	uint8_t station;  /* enum vmm_station */
	int16_t cpu;	  /* the vCPU's number; -1: another thread */
	uint64_t a, b;
	const char *what;   /* NULL: none; valid during the call */
	const char *device; /* "net0"; NULL: none; valid during the call */
};

/* Called on the thread that passes the station, under the machine's lock unless it is EXIT or ENTER. */
typedef void vmm_record_fn(void *arg, const struct vmm_record *record);

struct vmm_probe {
	vmm_record_fn *sink; /* NULL: nobody */
	void *arg;
};

const char *vmm_station_name(enum vmm_station station);

/* Which vCPU this thread is, for its records; -1 from the start. */
void vmm_probe_set_cpu(int cpu);

/* probe may be NULL. */
void vmm_probe(const struct vmm_probe *probe, enum vmm_station station, const char *device,
	       const char *what, uint64_t a, uint64_t b);

#endif
