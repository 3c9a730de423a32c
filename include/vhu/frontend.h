/* SPDX-License-Identifier: MIT */
/*
 * The frontend half: one device that a backend serves over a vhost-user socket, as a VMM holds it.
 *
 * A program makes guest memory and a frontend, says where the backend is, and what the device shall
 * be: rings, features, which of them are enabled, masked. Those are wishes: they can be expressed at
 * any time, and what the backend does not know yet is sent. When the backend dies and comes back,
 * the library tells it everything again and the rings go on.
 *
 * Nothing here blocks: requests are queued, one is under way at a time, and its answer has a
 * deadline. The program waits on vhu_frontend_fd() with whatever loop it has and calls
 * vhu_frontend_process(). Small programs call vhu_frontend_wait() instead.
 *
 * What the backend sends is never trusted. A reply of the wrong kind, size or number, an fd that
 * nobody asked for, or silence beyond the deadline cost the connection, and nothing else.
 *
 * Control thread, all of it. Sections are those of the vhost-user specification.
 */
#ifndef VHU_FRONTEND_H
#define VHU_FRONTEND_H

#include <vhu/driver.h>
#include <vhu/memory.h>
#include <vhu/trace.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vhu_frontend;

/* Where a device stands. */
enum vhu_device_state {
	VHU_DEVICE_GONE,     /* no backend; one is looked for */
	VHU_DEVICE_GREETING, /* connected: features and limits are being asked */
	VHU_DEVICE_STOPPED,  /* everything is known, no ring runs */
	VHU_DEVICE_STARTING, /* also again, after the backend came back */
	VHU_DEVICE_RUNNING,
	VHU_DEVICE_STOPPING,
	VHU_DEVICE_FAILED, /* given up: see vhu_frontend_options.give_up */
	VHU_DEVICE_STATE_END,
};
VHU_API const char *vhu_device_state_name(enum vhu_device_state state);

/* All on the control thread, from within vhu_frontend_process(), _wait() or _close(). Any may be
 * NULL. They may call frontend functions, but not vhu_frontend_process(), _wait() or _free(). */
struct vhu_frontend_ops {
	size_t size; /* sizeof(struct vhu_frontend_ops) */

	/* The backend was greeted for the first time: what it offers is known. */
	void (*connected)(void *arg);
	/*
	 * The backend is gone. Rings stand still until it is back. err: -ECONNRESET, it left; -ETIMEDOUT,
	 * it did not answer; -EPROTO, what it said cannot be. With ring drivers
	 * registered (vhu_frontend_ring.driver) their data threads have to leave them alone from the
	 * return of this call until back() was called.
	 */
	void (*gone)(void *arg, int err, const char *reason);
	/*
	 * The backend is back and all is as it was: rings that had been started run, what was in flight
	 * is being served again. Look for used chains at once.
	 */
	void (*back)(void *arg);
	/*
	 * The backend is back, but where its predecessor stood cannot be known (a guest's packed ring, no
	 * in-flight region): the device is stopped, and its guest has to reset it.
	 */
	void (*needs_reset)(void *arg, const char *reason);
	/* CONFIG_CHANGE: read the configuration space again. */
	void (*config_changed)(void *arg);
	/* The backend raised the ring's error eventfd. */
	void (*ring_error)(void *arg, unsigned int ring);
	/* Something was refused, by us or by the backend, and the connection goes on. */
	void (*complaint)(void *arg, const char *text);
	/* Every trace record; it sees messages with their fds. */
	vhu_event_fn *event;
};

struct vhu_frontend_options {
	size_t size;		       /* sizeof(struct vhu_frontend_options) */
	struct vhu_memory *memory;     /* borrowed for the frontend's life */
	unsigned int nr_rings;	       /* 1 to VHU_MAX_RINGS */
	uint64_t features;	       /* acknowledged as far as they are offered */
	uint64_t features_needed;      /* of those: a backend without them is no backend */
	uint64_t protocol_features;    /* the same; see VHU_FRONTEND_PROTOCOL_FEATURES */
	unsigned int reply_timeout_ms; /* 0: 5000 */
	/*
	 * A backend that was refused for what it is (features_needed, a reply that cannot be) is tried
	 * again like one that left; with give_up the device has failed then.
	 */
	bool give_up;
	const struct vhu_frontend_ops *ops; /* copied; NULL: no callbacks */
	void *arg;			    /* for the callbacks */
};

/* What the frontend half can do for any device. */
#define VHU_FRONTEND_PROTOCOL_FEATURES                                                             \
	(VHU_MASK(VHU_P_MQ_BIT) | VHU_MASK(VHU_P_LOG_SHMFD_BIT) | VHU_MASK(VHU_P_RARP_BIT) |       \
	 VHU_MASK(VHU_P_REPLY_ACK_BIT) | VHU_MASK(VHU_P_NET_MTU_BIT) |                             \
	 VHU_MASK(VHU_P_BACKEND_REQ_BIT) | VHU_MASK(VHU_P_CONFIG_BIT) |                            \
	 VHU_MASK(VHU_P_INFLIGHT_SHMFD_BIT) | VHU_MASK(VHU_P_RESET_DEVICE_BIT) |                   \
	 VHU_MASK(VHU_P_CONFIGURE_MEM_SLOTS_BIT) | VHU_MASK(VHU_P_STATUS_BIT))

/* -EINVAL: an option out of range, a protocol feature that the library does not have. */
VHU_API int vhu_frontend_new(struct vhu_frontend **ret_frontend,
			     const struct vhu_frontend_options *options);
/*
 * Where the backend is; one of these, once. connect: tried again for ever, after 5 ms, doubling to
 * 50 ms. listen: see vhu_sock_listen(); the next connection is the backend come back. take_fd: a
 * connected socket; when that ends, the device has failed.
 */
VHU_API int vhu_frontend_connect(struct vhu_frontend *frontend, const char *path);
VHU_API int vhu_frontend_listen(struct vhu_frontend *frontend, const char *path, unsigned int mode,
				const char *group);
VHU_API int vhu_frontend_take_fd(struct vhu_frontend *frontend, int take_fd);

/* One fd for the control thread's loop: readable when vhu_frontend_process() has work. */
VHU_API int vhu_frontend_fd(const struct vhu_frontend *frontend);
/* Does what is to be done, never blocks. 0, or -errno if the frontend itself cannot go on. */
VHU_API int vhu_frontend_process(struct vhu_frontend *frontend);
/*
 * For small programs: processes until all that was asked for is done (the backend greeted, if it was
 * only looked for), for at most timeout_ms; -1: for ever. 0; -ETIMEDOUT; or the error of the first
 * request that failed since the last wait, with its reason in ret_why (may be NULL).
 */
VHU_API int vhu_frontend_wait(struct vhu_frontend *frontend, int timeout_ms,
			      struct vhu_reason *ret_why);
/* Closes the connection and all fds, removes the socket file; no callback. Ring drivers and memory
 * are freed after this. NULL is allowed. */
VHU_API void vhu_frontend_free(struct vhu_frontend *frontend);

VHU_API enum vhu_device_state vhu_frontend_state(const struct vhu_frontend *frontend);
/* What the backend offers; what is agreed: the options' features as far as offered. 0 before that. */
VHU_API uint64_t vhu_frontend_offered(const struct vhu_frontend *frontend);
VHU_API uint64_t vhu_frontend_features(const struct vhu_frontend *frontend);
VHU_API uint64_t vhu_frontend_protocol_features(const struct vhu_frontend *frontend);
/*
 * The answer to GET_QUEUE_NUM; for net most backends count queue pairs, some count rings, so that no
 * index is judged by it. 0 if MQ was not agreed.
 */
VHU_API uint64_t vhu_frontend_queue_num(const struct vhu_frontend *frontend);
/* The answer to GET_MAX_MEM_SLOTS; VHU_MAX_MSG_REGIONS without CONFIGURE_MEM_SLOTS. */
VHU_API unsigned int vhu_frontend_max_mem_slots(const struct vhu_frontend *frontend);
/*
 * A VMM learns late what its guest acknowledged: other features than the options', for the next
 * start. -EINVAL: more than is offered. -EBUSY: not while the device runs.
 */
VHU_API int vhu_frontend_acknowledge(struct vhu_frontend *frontend, uint64_t features);

/*
 * ---- Requests ----
 *
 * Each returns 0 if it was queued. -EINVAL: an argument out of range. -ENOTCONN: no backend.
 * -EOPNOTSUPP: the protocol feature for it is not agreed. -EBUSY: not in this state. -ENOMEM. When it
 * is done, done (NULL: nobody) is called with 0 and the answer; or -EREMOTEIO, the backend refused;
 * -EPROTO, -ETIMEDOUT, -ECONNRESET: the connection ended.
 */
struct vhu_answer {
	uint64_t value;	   /* of a u64 */
	const void *bytes; /* of GET_CONFIG */
	size_t size;
	const char *reason; /* of an error; NULL: none */
};
typedef void vhu_done_fn(void *arg, int err, const struct vhu_answer *answer);

/* ---- Rings ---- */
struct vhu_frontend_ring {
	size_t size;  /* sizeof(struct vhu_frontend_ring) */
	uint32_t num; /* entries; 0: this ring is not used */
	struct vhu_ring_addr addr;
	uint32_t base; /* SET_VRING_BASE at the first start; packed: 0 means that of a new ring */
	/*
	 * The guest's doorbell and interrupt, duplicated by the library. -1: the library makes eventfds
	 * of its own, see vhu_frontend_kick_fd().
	 */
	int kick_fd, call_fd;
	bool polled;   /* no call fd at all: the program looks by itself */
	bool disabled; /* start it without enabling it */
	/*
	 * The ring's driver, if it is one of ours (borrowed): it gives num and addr, gets the kick fd, and
	 * after the backend's death without an in-flight region its chains are submitted again. NULL: a
	 * guest's ring. A split one goes on from its used index then; a packed one cannot be known, and
	 * the start fails: that guest has to reset its device.
	 */
	struct vhu_driver *driver;
};
/* Describes a ring; -EBUSY while it runs. */
VHU_API int vhu_frontend_set_ring(struct vhu_frontend *frontend, unsigned int ring,
				  const struct vhu_frontend_ring *config);
/* The eventfds in use, borrowed; -1: none. They stay the same until set_ring. */
VHU_API int vhu_frontend_kick_fd(const struct vhu_frontend *frontend, unsigned int ring);
VHU_API int vhu_frontend_call_fd(const struct vhu_frontend *frontend, unsigned int ring);

/*
 * Data threads of ring drivers keep off them until done was called: the library looks where they
 * stand. Starts all described rings, or none: what was done is undone on an error. In this order: features,
 * call fds, memory, log, in-flight region, for each ring size, base, addresses, err fd, ENABLE, kick
 * fd; then status DRIVER_OK where agreed, and a kick for each ring. Before the backend was greeted:
 * as soon as it is.
 */
VHU_API int vhu_frontend_start(struct vhu_frontend *frontend, vhu_done_fn *done, void *arg);
/* Stops all rings. Their bases are kept for the next start: see vhu_frontend_base(). */
VHU_API int vhu_frontend_stop(struct vhu_frontend *frontend, vhu_done_fn *done, void *arg);
VHU_API uint32_t vhu_frontend_base(const struct vhu_frontend *frontend, unsigned int ring);
/* SET_VRING_ENABLE for rings first to first + nr - 1. */
VHU_API int vhu_frontend_enable(struct vhu_frontend *frontend, unsigned int first, unsigned int nr,
				bool enable, vhu_done_fn *done, void *arg);

/*
 * Masks a ring's interrupt: calls go to an eventfd of the library's. While masked,
 * vhu_frontend_pending() tests and clears whether one came. Unmasked, what came in between is raised
 * on the call fd: no call is lost on the way, one too many may come.
 */
VHU_API int vhu_frontend_mask(struct vhu_frontend *frontend, unsigned int ring, bool mask);
VHU_API bool vhu_frontend_pending(struct vhu_frontend *frontend, unsigned int ring);

/* ---- Memory ---- */
/* Regions were added to or removed from the memory: the backend is told, by slots if agreed. Before
 * a region is removed for good, wait for done. */
VHU_API int vhu_frontend_memory_changed(struct vhu_frontend *frontend, vhu_done_fn *done,
					void *arg);

/*
 * The dirty log, for a VMM that migrates: on, the backend marks each page it writes; a fresh log. -EOPNOTSUPP:
 * the backend offers no LOG_ALL. Done with -EBUSY: it is on.
 */
VHU_API int vhu_frontend_log(struct vhu_frontend *frontend, bool on, vhu_done_fn *done, void *arg);
/*
 * Calls fn for each run of pages marked since the last time, and clears them. The
 * count of pages. -ENOENT: there is no log.
 */
VHU_API int64_t vhu_frontend_log_sync(struct vhu_frontend *frontend,
				      void (*fn)(void *arg, uint64_t gpa, uint64_t len), void *arg);

/* ---- Device ---- */
/* GET_CONFIG: size bytes at offset; the answer has them. SET_CONFIG: flags 0, or 1 in a migration. */
VHU_API int vhu_frontend_get_config(struct vhu_frontend *frontend, uint32_t offset, uint32_t size,
				    vhu_done_fn *done, void *arg);
VHU_API int vhu_frontend_set_config(struct vhu_frontend *frontend, uint32_t offset,
				    const void *bytes, uint32_t size, uint32_t flags,
				    vhu_done_fn *done, void *arg);
/* NET_SET_MTU; told again to each backend that comes. */
VHU_API int vhu_frontend_set_mtu(struct vhu_frontend *frontend, unsigned int mtu, vhu_done_fn *done,
				 void *arg);
/* SEND_RARP. */
VHU_API int vhu_frontend_rarp(struct vhu_frontend *frontend, const uint8_t mac[6],
			      vhu_done_fn *done, void *arg);
/* GET_STATUS, SET_STATUS beyond what start and stop do. */
VHU_API int vhu_frontend_get_status(struct vhu_frontend *frontend, vhu_done_fn *done, void *arg);
VHU_API int vhu_frontend_set_status(struct vhu_frontend *frontend, uint8_t status,
				    vhu_done_fn *done, void *arg);
/*
 * The device as if new: rings stopped and disabled, bases and in-flight region forgotten.
 * RESET_DEVICE, or a status of 0, or by stopping each ring, whatever is agreed.
 */
VHU_API int vhu_frontend_reset(struct vhu_frontend *frontend, vhu_done_fn *done, void *arg);

#ifdef __cplusplus
}
#endif
#endif
