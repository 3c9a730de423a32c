/* SPDX-License-Identifier: MIT */
/*
 * A transport for devices of vmm/ that has no registers: it does what an order of the guest's comes
 * to, and writes down what the device says. And a network card on it, with a guest's driver.
 */
#ifndef TESTS_PAIR_VMM_GUEST_H
#define TESTS_PAIR_VMM_GUEST_H

#include <vhu/net_driver.h>
#include <vmm/virtio_net.h>

#include "backend_fixture.h"
#include "liar.h"

enum {
	GUEST_GPA = 0x100000,
	GUEST_MEMORY = 32 << 20,
	GUEST_QUEUES = 2 * 8 + 1,
	NIC_PAIRS = 8,
	NIC_FRAME_MAX = 1514,
};

struct guest {
	struct vhu_memory *memory;
	struct vmm_virtio virtio;
	struct vmm_virtio_queue queue[GUEST_QUEUES];

	/* The device, whatever it is. */
	int fd;
	int (*process)(void *arg);
	void *arg;

	unsigned int config_changes, needs_resets, stops;
	bool is_stopping;
	char texts[8192]; /* what the device had to say, one a line */
};

void guest_init(struct guest *guest);
/* The device is there. */
void guest_attach(struct guest *guest, const struct vmm_virtio_device *device, int fd,
		  int (*process)(void *arg), void *arg);
/* Frees transport and memory; the device is gone by then. */
void guest_fini(struct guest *guest);
/* For vmm_say_fn: arg is the guest. */
void guest_hear(void *arg, const char *device, const char *text);
void guest_check_heard(const struct guest *guest, const char *text);

/* One round for the device, every liar and every backend fixture. True if something was done. */
bool guest_pump(struct guest *guest);
/* Fails, with what the device had to say, if cond does not come to hold. */
#define guest_until(guest, cond)                                                                   \
	do {                                                                                       \
		if (!check_until(guest_pump(guest), cond))                                         \
			fail_msg("not so: %s; heard:\n%s", #cond, (guest)->texts);                 \
	} while (0)

/* What the device offers; FEATURES_OK with these: whether it takes them. */
uint64_t guest_offer(const struct guest *guest);
bool guest_accept(struct guest *guest, uint64_t features);
/* A queue's registers, and its driver's doorbell; enabled. */
void guest_set_queue(struct guest *guest, unsigned int i, struct vhu_driver *driver);
void guest_enable(struct guest *guest, unsigned int i);
void guest_driver_ok(struct guest *guest);
/* Asks for a reset and does not wait. */
void guest_ask_reset(struct guest *guest);
/* The same until the status reads 0. */
void guest_reset(struct guest *guest);
void guest_read_config(const struct guest *guest, unsigned int offset, void *to, unsigned int size);
/* Calls of a queue since this was last asked. */
uint64_t guest_calls(const struct guest *guest, unsigned int i);

/* ---- A network card ---- */
struct nic_options {
	struct vmm_net_options net; /* memory, name and say are filled in */
	uint64_t features;	    /* the guest takes these, as far as offered; 0: all */
	uint64_t no_features;
	uint32_t ring_size; /* 0: 64 */
};

struct nic_pair {
	struct vhu_net_tx *tx;
	struct vhu_net_rx *rx;
	uint32_t sent, received;
};

struct nic {
	struct nic_options options;
	struct guest guest;
	struct vmm_net *net;
	struct nic_pair pair[NIC_PAIRS];
	unsigned int nr_pairs; /* with rings */
	struct vhu_driver *control;
	uint64_t command_gpa;
	uint8_t *command;
	uint32_t token;
};

/* Made, not waited for. */
void nic_init(struct nic *nic, const struct nic_options *options);
void nic_free(struct nic *nic);
/* Waits for the backend's greeting. */
void nic_wait(struct nic *nic);
/* Negotiates, makes rings for so many pairs and the control queue, sets DRIVER_OK. */
void nic_start(struct nic *nic, unsigned int pairs);
void nic_negotiate(struct nic *nic);
void nic_make_rings(struct nic *nic, unsigned int pairs);
void nic_drop_rings(struct nic *nic);
/* The link as the guest reads it. */
uint16_t nic_status(const struct nic *nic);
/* Sends nr frames on the pair through a backend that echoes, and waits for the last. */
void nic_echo(struct nic *nic, unsigned int pair, unsigned int nr);
/* The same, but nobody waits: whether something was sent or received. end: of the numbers. */
bool nic_turn(struct nic *nic, unsigned int pair, uint32_t end);
/* Puts a command into the control queue, of len bytes with room for so many of an answer. */
void nic_put_command(struct nic *nic, const void *bytes, uint32_t len, uint32_t room);
/* What came back: the first byte of the answer, or -1: nothing yet. */
int nic_take_answer(struct nic *nic);
/* Both: class, number and data in, the answer out. */
int nic_command(struct nic *nic, uint8_t class, uint8_t number, const void *data, uint32_t len);

#endif
