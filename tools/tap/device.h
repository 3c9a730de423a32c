/* SPDX-License-Identifier: MIT */
/*
 * The backend's side of vhu tap: the device that it serves, what was agreed with it, and how the
 * interface follows it: carrier, offloads, queues, MTU. It knows nothing of the command line.
 */
#ifndef TAP_DEVICE_H
#define TAP_DEVICE_H

#include <stdbool.h>
#include <vhu/frontend.h>

#include "common/loop.h"
#include "tap/iface.h"
#include "tap/queue.h"

struct device_options {
	const char *path;
	bool server;	   /* listen there */
	unsigned int mode; /* of a listening socket; 0: the umask decides */
	const char *group;
	uint32_t ring_size;
	bool packed;
	bool offloads;
	unsigned int mtu; /* asked for by the user; 0: the backend's */
	bool has_mac;	  /* asked for by the user */
};

struct device {
	struct device_options options;
	struct loop *loop;
	struct iface *iface;
	struct vhu_memory *memory;
	struct vhu_frontend *frontend;
	struct loop_source *source;
	struct loop_source *retry; /* a timer: after a broken ring */
	struct loop_source *grace; /* a timer: the carrier goes down */
	struct queue_set queues;
	unsigned int nr_pairs; /* in use; 0: not yet known */
	uint64_t features;     /* that the rings were made for */
	bool is_running;       /* the rings may be touched */
	bool is_link_down;     /* says the configuration space */
	bool is_restarting;    /* for a broken ring */
	bool must_lay;	       /* stopped, and there is no backend to lay new rings for */
	uint64_t gone_ns;      /* since when there is no backend; 0: there is one, or never was */
};

/*
 * Makes the device; with a server, its socket too. Nothing is read from a backend before
 * device_start(). 0, or -errno with one sentence in err; then free it all the same.
 */
int device_init(struct device *device, const struct device_options *options, struct loop *loop,
		struct iface *iface, char *err, size_t size);
/* Looks for the backend. 0 or -errno. */
int device_start(struct device *device);
/* Gives the rings back in order, if the backend has a moment for that; then everything goes. */
void device_free(struct device *device);

/* The sum over all queues. */
void device_count(const struct device *device, struct queue_counters *ret_counters);

#endif
