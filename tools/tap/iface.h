/* SPDX-License-Identifier: MIT */
/*
 * The kernel's side of vhu tap: one interface with its queues, perhaps in another network
 * namespace. It knows nothing of backends and of frames.
 */
#ifndef TAP_IFACE_H
#define TAP_IFACE_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	TAP_QUEUES_MAX = 128, /* two rings each: VHU_MAX_RINGS */
	TAP_ERR_MAX = 512,
};

struct iface_options {
	const char *name;
	const char *netns; /* a name of ip netns, or a path; NULL: this one */
	unsigned int nr_queues;
	unsigned int mtu;   /* 0: as it is */
	const uint8_t *mac; /* NULL: as it is */
	bool up;
};

struct iface {
	char name[IFNAMSIZ];
	unsigned int nr_queues;
	uint32_t possible; /* offloads that the kernel can pass on, VHU_NET_CAP_* */
	struct {
		int fd;
		bool is_attached;
	} queue[TAP_QUEUES_MAX];

	int control_fd; /* for questions in the namespace of the interface */
	int setter_fd;	/* to the process that may set the MTU; -1: there is none */
};

/* Everything that wants a privilege. 0, or -errno with one sentence in err; then all is closed. */
int iface_open(struct iface *iface, const struct iface_options *options, char *err, size_t size);
/* An interface that is not persistent is gone then. */
void iface_close(struct iface *iface);

/* The kernel uses the first nr queues from now on. */
int iface_use_queues(struct iface *iface, unsigned int nr);
void iface_set_carrier(struct iface *iface, bool is_up);
/* 0: it cannot be known. */
unsigned int iface_mtu(const struct iface *iface);

/*
 * Starts a process that keeps the right to set this interface's MTU, and can do nothing else for
 * us: what a backend wants is known only when the rights were given up. Nothing happens without
 * that right. Before there are threads and fds that nobody else may have.
 */
void iface_keep_setter(struct iface *iface);
/* -EPERM: there is no such process. */
int iface_set_mtu(struct iface *iface, unsigned int mtu);

#endif
