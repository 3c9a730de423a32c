/* SPDX-License-Identifier: MIT */
/*
 * The backend half: one device that a frontend drives over a vhost-user socket.
 *
 * A program makes a domain, registers one reader for each thread that works on rings, and makes a
 * backend for each device. It waits on vhu_backend_fd() with whatever loop it has and calls
 * vhu_backend_process(). Callbacks say when rings come and go; the data threads then use the
 * queue functions below and those of <vhu/net.h>.
 *
 * What the frontend sends is never trusted: a malformed message closes the connection, content of
 * a ring that cannot be right marks that ring as broken, and memory that vanishes under us is
 * caught by vhu_domain_fault(). In each case the reason is reported, and other devices go on.
 */
#ifndef VHU_BACKEND_H
#define VHU_BACKEND_H

#include <vhu/domain.h>
#include <vhu/queue.h>
#include <vhu/trace.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vhu_backend;

/* All on the control thread, from within vhu_backend_process() or _close(). Any may be NULL. */
struct vhu_backend_ops {
	size_t size; /* sizeof(struct vhu_backend_ops) */

	/* A frontend is there. */
	void (*connected)(void *arg);
	/* SET_FEATURES: the agreed bits. */
	void (*features)(void *arg, uint64_t features);
	/*
	 * The ring can run: poll kick_fd edge-triggered without reading it, look for work at once,
	 * and again after each event. kick_fd is -1 if the ring has to be polled by a timer; it is
	 * borrowed and stays valid until queue_stopped has been called and no reader is in its burst.
	 * Called again when kick fd or call fd changed or the ring was enabled: look for work again.
	 * To look at a receive ring is to call vhu_net_commit(), with nothing pushed: it raises on a
	 * new call fd what the old one may have swallowed.
	 */
	void (*queue_started)(void *arg, unsigned int ring, int kick_fd);
	/* Take kick_fd out of the poll set. The ring's functions do nothing from here on. */
	void (*queue_stopped)(void *arg, unsigned int ring, int kick_fd);
	/* SEND_RARP: announce this station after a migration. */
	void (*rarp)(void *arg, const uint8_t mac[6]);
	/* NET_SET_MTU. 0 or -EINVAL. */
	int (*mtu)(void *arg, unsigned int mtu);
	/* GET_CONFIG: fill size bytes (of at most 256); 0 or -errno. Needs VHU_P_CONFIG offered. */
	int (*config)(void *arg, void *ret_bytes, size_t size);
	/*
	 * The connection is gone, all rings have been stopped. err is 0 for an orderly end. -EDEADLK: the
	 * peer made a call eventfd block a data thread, which only malice does; it will do so again.
	 */
	void (*closed)(void *arg, int err, const char *reason);
	/* Something was refused, or a ring was marked as broken; the connection goes on. */
	void (*complaint)(void *arg, const char *text);
	/* Every trace record; it sees messages with their fds. */
	vhu_event_fn *event;
};

struct vhu_backend_options {
	size_t size;		    /* sizeof(struct vhu_backend_options) */
	struct vhu_domain *domain;  /* borrowed for the backend's life */
	unsigned int nr_rings;	    /* 1 to VHU_MAX_RINGS; for net two a queue pair */
	unsigned int queue_num;	    /* answer to GET_QUEUE_NUM; for net queue pairs */
	uint64_t features;	    /* virtio features offered; see VHU_BACKEND_RING_FEATURES */
	uint64_t protocol_features; /* offered; see VHU_BACKEND_PROTOCOL_FEATURES */
	const struct vhu_backend_ops *ops; /* copied; NULL: no callbacks */
	void *arg;			   /* for the callbacks */
};

/* What the rings of this library can do whatever the device is. */
#define VHU_BACKEND_RING_FEATURES                                                                  \
	(VHU_MASK(VHU_F_VERSION_1_BIT) | VHU_MASK(VHU_F_INDIRECT_DESC_BIT) |                       \
	 VHU_MASK(VHU_F_EVENT_IDX_BIT) | VHU_MASK(VHU_F_ANY_LAYOUT_BIT) |                          \
	 VHU_MASK(VHU_F_RING_PACKED_BIT) | VHU_MASK(VHU_F_IN_ORDER_BIT) |                          \
	 VHU_MASK(VHU_F_LOG_ALL_BIT) | VHU_MASK(VHU_F_PROTOCOL_FEATURES_BIT))
/*
 * What the backend half serves for any net device. Three can be added: CONFIG; INFLIGHT_SHMFD,
 * with which chains taken and not yet returned survive this process: the next backend that gets the
 * region from the frontend hands them out again, in their order, before any new one; and
 * INBAND_NOTIFICATIONS (with BACKEND_REQ and REPLY_ACK), for a frontend that sends no kick and call
 * fds but messages. To the program it is all the same: the library has fds of its own for such a
 * ring. QEMU takes the bit and cannot do it: offer it only where such a frontend is expected.
 */
#define VHU_BACKEND_PROTOCOL_FEATURES                                                              \
	(VHU_MASK(VHU_P_MQ_BIT) | VHU_MASK(VHU_P_LOG_SHMFD_BIT) | VHU_MASK(VHU_P_RARP_BIT) |       \
	 VHU_MASK(VHU_P_REPLY_ACK_BIT) | VHU_MASK(VHU_P_NET_MTU_BIT) |                             \
	 VHU_MASK(VHU_P_BACKEND_REQ_BIT) | VHU_MASK(VHU_P_RESET_DEVICE_BIT) |                      \
	 VHU_MASK(VHU_P_CONFIGURE_MEM_SLOTS_BIT) | VHU_MASK(VHU_P_STATUS_BIT))

/* -EINVAL: an option out of range or a feature that the library does not have. */
VHU_API int vhu_backend_new(struct vhu_backend **ret_backend,
			    const struct vhu_backend_options *options);
/*
 * Where frontends come from; one of these, once. listen: see vhu_sock_listen(). connect: tried
 * again for ever, after 10 ms, doubling to 1 s. take_fd: a listening or a connected socket.
 */
VHU_API int vhu_backend_listen(struct vhu_backend *backend, const char *path, unsigned int mode,
			       const char *group);
VHU_API int vhu_backend_connect(struct vhu_backend *backend, const char *path);
VHU_API int vhu_backend_take_fd(struct vhu_backend *backend, int take_fd);

/* One fd for the control thread's loop: readable when vhu_backend_process() has work. */
VHU_API int vhu_backend_fd(const struct vhu_backend *backend);
/* Does what is to be done, never blocks. 0, or -errno if the backend itself cannot go on. */
VHU_API int vhu_backend_process(struct vhu_backend *backend);

/*
 * Ends the connection, removes the socket file, and takes no more. 0: done, it may be freed. -EINPROGRESS: readers are still
 * in a burst; go on calling vhu_backend_process() and then this again.
 */
VHU_API int vhu_backend_close(struct vhu_backend *backend);
/* Frees it, closing it before and waiting for readers if it was not closed. NULL is allowed. */
VHU_API void vhu_backend_free(struct vhu_backend *backend);

/* Tells the frontend that the configuration space changed (CONFIG_CHANGE), if it listens. */
VHU_API int vhu_backend_config_changed(struct vhu_backend *backend);

/* What was agreed; 0 before SET_FEATURES. Control thread. */
VHU_API uint64_t vhu_backend_features(const struct vhu_backend *backend);
VHU_API uint64_t vhu_backend_protocol_features(const struct vhu_backend *backend);
VHU_API bool vhu_backend_is_connected(const struct vhu_backend *backend);
VHU_API enum vhu_ring_state vhu_backend_ring_state(const struct vhu_backend *backend,
						   unsigned int ring);

/* The ring's data side. The same pointer for the backend's whole life. NULL: no such ring. */
VHU_API struct vhu_queue *vhu_backend_queue(struct vhu_backend *backend, unsigned int ring);

#ifdef __cplusplus
}
#endif
#endif
