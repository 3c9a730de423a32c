/* SPDX-License-Identifier: MIT */
/*
 * A virtio device whose rings a vhost-user backend serves: what the transport orders (start, one
 * queue more, reset) and what becomes of the backend (late, refusing, gone, back) put in order.
 * Knows nothing of what kind of device it is, nor of the transport.
 *
 * Under the machine's lock, all of it.
 */
#ifndef VMM_VHOST_H
#define VMM_VHOST_H

#include <vhu/frontend.h>
#include <vmm/irq.h>
#include <vmm/text.h>
#include <vmm/virtio.h>

struct vmm_vhost;

/* What the device on top is told, from within vmm_vhost_process() or an order. Any may be NULL. */
struct vmm_vhost_ops {
	/* A backend has come: vmm_vhost_offered() is what it offers, requests can be made. */
	void (*greeted)(void *arg);
	/* vmm_vhost_is_up() has changed. */
	void (*changed)(void *arg);
	/* The backend says that its configuration space changed. */
	void (*config_changed)(void *arg);
};

struct vmm_vhost_options {
	const char *name;	   /* "net0"; borrowed */
	struct vhu_memory *memory; /* borrowed */
	const char *path;
	bool server;
	unsigned int nr_rings; /* the device's queues 0 to nr_rings - 1 can be the backend's */
	uint64_t features;     /* which of the backend's may be used; VERSION_1 is needed */
	uint64_t protocol_features;
	unsigned int reply_timeout_ms;
	bool mask_by_message;
	const struct vmm_probe *probe;
	vmm_say_fn *say;
	void *say_arg;
	const struct vmm_vhost_ops *ops; /* borrowed */
	void *arg;
};

int vmm_vhost_new(struct vmm_vhost **ret_vhost, const struct vmm_vhost_options *options,
		  char text[VMM_TEXT]);
void vmm_vhost_free(struct vmm_vhost *vhost);
void vmm_vhost_attach(struct vmm_vhost *vhost, struct vmm_virtio *virtio);
/* See vmm_net_irq(). */
const struct vmm_irq *vmm_vhost_irq(struct vmm_vhost *vhost, const struct vmm_irq *irq);
/* See vmm_net_wait(); also until the requests are done that greeted() makes. */
int vmm_vhost_wait(struct vmm_vhost *vhost, int timeout_ms, char text[VMM_TEXT]);
/* Whether the backend has that many queues, or pairs (what), as it told: -EOPNOTSUPP with a text. */
int vmm_vhost_has_queues(const struct vmm_vhost *vhost, unsigned int nr, const char *what,
			 char text[VMM_TEXT]);
/* -EINVAL with a text: no size that a split and a packed ring can have both. */
int vmm_vhost_judge_queue_size(unsigned int size, char text[VMM_TEXT]);
int vmm_vhost_fd(const struct vmm_vhost *vhost);
int vmm_vhost_process(struct vmm_vhost *vhost);

/* For requests of the device's own, and what is agreed. */
struct vhu_frontend *vmm_vhost_frontend(const struct vmm_vhost *vhost);
/* Of the features that may be used; while there is no backend: what the last one offered. */
uint64_t vmm_vhost_offered(const struct vmm_vhost *vhost);
/* A backend is there which was told of all that runs, and nothing keeps the device from running. */
bool vmm_vhost_is_up(const struct vmm_vhost *vhost);

/*
 * Have the enabled ones of queues 0 to nr_rings - 1 served, with these features; the first
 * nr_served of them at once, the others when vmm_vhost_serve() says so. If it cannot be, the device
 * needs a reset.
 */
void vmm_vhost_start(struct vmm_vhost *vhost, uint64_t features, unsigned int nr_rings,
		     unsigned int nr_served);
/* Queue was enabled after the start. */
void vmm_vhost_queue_enabled(struct vmm_vhost *vhost, unsigned int queue);
/*
 * From now on the first nr_served are. 0: done tells when the backend has done it; if it goes
 * meanwhile its successor is told. Otherwise -errno.
 */
int vmm_vhost_serve(struct vmm_vhost *vhost, unsigned int nr_served, vhu_done_fn *done, void *arg);
/* As vmm_virtio_ops.stop(): false, then vmm_virtio_stopped() is called later. */
bool vmm_vhost_stop(struct vmm_vhost *vhost);
/* The device cannot go on before it was reset. text: for whoever looks after the machine. */
void vmm_vhost_fail(struct vmm_vhost *vhost, const char *text);

#endif
