/* SPDX-License-Identifier: MIT */
/*
 * A guest's driver for a virtio device on PCI, without a guest: it finds the device in configuration
 * space and speaks to it through the buses alone, as a vCPU's exits would. With it a controller of
 * interrupts, somebody who serves doorbells, and a device, all made up; each of them fails the test
 * when it is used as its header forbids. Written from the specifications (virtio 1.2, 4.1; PCI 3.0, 6).
 */
#ifndef TESTS_UNIT_VMM_GUEST_H
#define TESTS_UNIT_VMM_GUEST_H

#include <vmm/msix.h>
#include <vmm/virtio_pci.h>

enum {
	GUEST_ROUTES = 64,
	GUEST_ATTACHED = 64,
	GUEST_BELLS = 64,
	GUEST_PINS = 24,
	GUEST_FDS = 256,
	GUEST_MAX_QUEUES = 8,
	GUEST_CONFIG = 64, /* bytes of device configuration at most */
	GUEST_PIN = 10,
};

#define GUEST_ECAM UINT64_C(0xe0000000)
#define GUEST_BAR UINT64_C(0xd0000000)

/* Messages for (addr, data) = (MSI_BASE + 16 * n, n) are counted in nr_messages[n]. */
enum {
	GUEST_MESSAGES = 64,
};
#define GUEST_MSI_BASE UINT64_C(0xfee00000)

/* Features by their bits. */
#define VERSION_1 (UINT64_C(1) << 32)
#define PACKED (UINT64_C(1) << 34)

struct guest_irq {
	struct vmm_irq irq;
	struct guest_route {
		bool is_used, is_set;
		struct vmm_msi msi;
	} routes[GUEST_ROUTES];
	unsigned int max_routes;
	struct guest_attached {
		int route, eventfd;
	} attached[GUEST_ATTACHED];
	unsigned int nr_attached;
	uint64_t nr_messages[GUEST_MESSAGES];
	uint64_t nr_other;			  /* messages for anything else */
	unsigned int nr_delivered[GUEST_FDS];	  /* from this eventfd */
	unsigned int fail_attach, fail_set_route; /* so many of the next */
	unsigned int nr_set_route;
	int level[GUEST_PINS];
};

void guest_irq_init(struct guest_irq *irq);
/* What KVM does by itself: each attached eventfd that has a count becomes a message. */
void guest_irq_run(struct guest_irq *irq);
unsigned int guest_irq_routes(const struct guest_irq *irq);
bool guest_irq_is_attached(const struct guest_irq *irq, int eventfd);
/* The message that the eventfd's route stands for; it is attached. */
struct vmm_msi guest_irq_message(const struct guest_irq *irq, int eventfd);

struct guest_bells {
	struct guest_bell {
		uint64_t addr;
		int eventfd;
	} bells[GUEST_BELLS];
	unsigned int nr;
	bool refuse;
};

extern const struct vmm_doorbell_ops guest_bell_ops; /* its arg: struct guest_bells */
/* Whoever serves addr, or NULL. */
struct guest_bell *guest_find_bell(struct guest_bells *bells, uint64_t addr);

extern const struct vmm_virtio_ops guest_device_ops; /* its arg: struct guest_device */

struct guest_device {
	struct vmm_virtio_device device;
	uint16_t max_num[GUEST_MAX_QUEUES];
	uint64_t features, accepted;
	bool refuse;	 /* accept() says no */
	bool is_slow;	 /* stop() says that it will take a while */
	bool says_twice; /* stop() says stopped() and returns true, too */
	bool breaks;	 /* start() says needs_reset() */
	bool is_stopping, is_started;
	unsigned int nr_start, nr_stop, nr_enabled, last_enabled;
	unsigned int nr_config_read, nr_config_write, last_offset, last_size;
	uint8_t config[GUEST_CONFIG];
	struct vmm_virtio *virtio;
};

struct vmm_guest {
	struct vmm_bus *mmio, *port;
	struct vmm_pci_host *host;
	struct guest_irq irq;
	struct guest_bells bells;
	struct guest_device device;
	struct vmm_virtio_pci *pci;
	struct vmm_virtio *virtio;
	struct vmm_probe probe;
	unsigned int nr_records[VMM_STATION_END];
	struct vmm_record last[VMM_STATION_END];
	/* Reads of the ISR that said that a queue had called, or that the configuration had changed. */
	unsigned int nr_isr_reads, nr_isr_changes;
	bool is_watching;
	unsigned int nr_fds; /* that the process had before */
	/* What the driver found. */
	unsigned int slot;
	uint64_t bar, bar_size;
	unsigned int msix_cap, window_cap;
	uint32_t common, notify, isr, config, table, pba;
	uint32_t common_len, notify_len, isr_len, config_len, multiplier;
};

/* queues of max_num[i] each; a config of config_size. The driver has found it and mapped its BAR. */
void guest_new(struct vmm_guest *guest, unsigned int nr_queues, const uint16_t *max_num,
	       unsigned int config_size);
/* The same with these, and a configuration of 0xa0, 0xa1, ... */
enum {
	NR_QUEUES = 3,
	CONFIG_SIZE = 13,
};
extern const uint16_t guest_max_num[NR_QUEUES];
void guest_open(struct vmm_guest *guest);
/* What it would take to put another device beside it. */
struct vmm_virtio_pci_options guest_options(struct vmm_guest *guest);
/* Fails the test if anything was left behind. */
void guest_free(struct vmm_guest *guest);

unsigned int guest_count_fds(void);
/* Count of an eventfd, which is left as it is. */
bool guest_has_count(int eventfd);

uint64_t guest_read(struct vmm_guest *guest, uint64_t addr, unsigned int size);
/* A write that somebody serves as a doorbell does not reach the bus. */
void guest_write(struct vmm_guest *guest, uint64_t addr, unsigned int size, uint64_t value);
uint32_t guest_config_read(struct vmm_guest *guest, unsigned int offset, unsigned int size);
void guest_config_write(struct vmm_guest *guest, unsigned int offset, unsigned int size,
			uint32_t value);
/* Where the n-th capability of that id begins (from 0), or 0. */
unsigned int guest_find_cap(struct vmm_guest *guest, uint8_t id, unsigned int n);
void guest_move_bar(struct vmm_guest *guest, uint64_t base);
void guest_command(struct vmm_guest *guest, uint16_t set, uint16_t clear);

/* Registers of the common structure: offset of VIRTIO_PCI_COMMON_*, at their natural width. */
uint32_t guest_get(struct vmm_guest *guest, unsigned int offset);
void guest_set(struct vmm_guest *guest, unsigned int offset, uint32_t value);
uint8_t guest_status(struct vmm_guest *guest);
void guest_set_status(struct vmm_guest *guest, uint8_t status);
/* Acknowledged, driver, features, FEATURES_OK: what the status reads then. */
uint8_t guest_negotiate(struct vmm_guest *guest, uint64_t features);
/* Areas somewhere, the vector, and enabled. */
void guest_enable_queue(struct vmm_guest *guest, unsigned int queue, uint16_t vector);
/* All of that for all queues, each with its own vector (the configuration has 0), and DRIVER_OK. */
void guest_start(struct vmm_guest *guest);
void guest_kick(struct vmm_guest *guest, unsigned int queue);
/* The backend calls; and what KVM does then. */
void guest_call(struct vmm_guest *guest, unsigned int queue);
/* What a loop does that watches the call eventfds. */
void guest_watch(struct vmm_guest *guest);

/* MSI-X: enable and function mask; a vector's entry (message n: see above), and its mask. */
void guest_msix_control(struct vmm_guest *guest, bool enable, bool mask);
void guest_msix_entry(struct vmm_guest *guest, unsigned int vector, unsigned int message,
		      bool mask);
void guest_msix_mask(struct vmm_guest *guest, unsigned int vector, bool mask);
bool guest_msix_pending(struct vmm_guest *guest, unsigned int vector);

#endif
