/* SPDX-License-Identifier: MIT */
/*
 * Inside of a backend: one device, its rings, its connection. Control thread only; the data side
 * sees nothing of this but the queues' published views.
 */
#ifndef VHU_BACKEND_DEVICE_H
#define VHU_BACKEND_DEVICE_H

#include <vhu/backend.h>
#include <vhu/sock.h>

#include <mem/store.h>
#include <ring/inflight.h>
#include <ring/ring.h>

/* What a message can do to a ring; see ring_next[] in rings.c. */
enum ring_action {
	RING_START,
	RING_STOP,
	RING_ENABLE,
	RING_DISABLE,
	RING_ACTION_END
};

/* The control side of one ring. */
struct ring {
	struct vhu_queue *queue; /* one for the backend's life: the pointer is public */
	enum vhu_ring_state state;
	uint32_t num;
	uint32_t base;		 /* as SET_VRING_BASE has it, in the layout that was agreed */
	bool have_addr, running; /* running: a view is published */
	bool base_in_queue;	 /* the position to go on from is the queue's */
	bool fault_told, chain_told;
	uint32_t serial;	    /* of the call fd */
	uint64_t stop_ticket;	    /* passed: no reader holds a view of before the stop */
	struct vhu_vring_addr addr; /* as sent: translated at each start and table change */
	int kick_fd, call_fd, err_fd;
	/*
	 * Whether the frontend said anything of the three, if only that there is none. Of what it
	 * did not say, the fd is our own with in-band notifications; see channel.c.
	 */
	bool kick_said, call_said, err_said;
	bool by_message;		/* VRING_KICK started it: it runs while it is enabled */
	bool call_pending, err_pending; /* to be told on the channel */
	bool deaf_told;
};

/* Something unpublished that readers may still hold. */
struct retired {
	struct retired *next;
	void (*release)(void *what);
	void *what;
};

/* What views are made of besides the ring itself. */
struct device_state {
	const struct vhu_mem *mem;
	const struct vhu_dirty *log;
	uint64_t features;
};

enum phase {
	PHASE_IDLE,	 /* no frontend */
	PHASE_CONNECTED, /* messages are read */
	PHASE_PARKED,	 /* a request waits for readers */
	PHASE_CLOSING,	 /* the connection is gone, readers may still be in a burst */
	PHASE_ENDED,	 /* no more connections will come */
};

struct vhu_backend {
	struct vhu_backend_ops ops;
	void *arg;
	struct vhu_domain *domain;
	uint64_t offered, offered_protocol;
	unsigned int nr_rings, queue_num;
	bool poisoned; /* set by the fault handler, read by the data side */

	/* where frontends come from */
	int epoll_fd, wake_fd, timer_fd;
	int listen_fd;
	char *listen_path;		/* ours to remove */
	char *connect_path;		/* NULL: server or handed-in socket */
	uint64_t retry_ns;		/* the next delay of connecting */
	uint64_t retry_at, deadline_at; /* 0: none */
	bool ending;			/* vhu_backend_close() was called */

	/* the connection */
	enum phase phase;
	struct vhu_sock *sock, *channel;
	uint32_t asked; /* on the channel, and not answered yet: a VHU_BACKEND_*; 0: nothing */
	unsigned int asked_ring, inband_turn;
	int inband_fd; /* polls the rings' own call fds; -1: never agreed */
	uint64_t features, protocol_features, status;
	bool have_features;
	struct vhu_mem *mem;
	struct vhu_dirty *log;
	struct vhu_inflight_area *inflight; /* NULL: nothing is recorded */
	struct ring *rings;
	struct vhu_queue *queues;

	/* what waits for readers */
	uint64_t ticket;
	struct retired *retired;
	bool watching_domain;
	struct vhu_msg request; /* the parked one */
	int refused;		/* it is to be refused when readers have passed */
	struct vhu_reason refused_why;
	int close_err;
	struct vhu_reason close_why;
};

/* device.c */
/* Frees what when all readers have passed the ticket that is taken next. */
VHU_HIDDEN void vhu_be_retire(struct vhu_backend *be, void (*release)(void *what), void *what);
VHU_HIDDEN void vhu_be_retire_fd(struct vhu_backend *be, int *fd);
VHU_HIDDEN void vhu_be_complain(struct vhu_backend *be, const char *text);
/* Of the set that is polled as one. 0 or -errno. */
VHU_HIDDEN int vhu_be_watch(struct vhu_backend *be, int fd, uint32_t events);
VHU_HIDDEN void vhu_be_rewatch(struct vhu_backend *be, int fd, uint32_t events);
VHU_HIDDEN void vhu_be_unwatch(struct vhu_backend *be, int fd);

/* channel.c */
/* 0, or -errno with a reason: then the old channel is still there. */
VHU_HIDDEN int vhu_be_set_channel(struct vhu_backend *be, int take_fd, struct vhu_reason *why);
VHU_HIDDEN void vhu_be_drop_channel(struct vhu_backend *be);
/* Reads what came, sends what waits. */
VHU_HIDDEN void vhu_be_serve_channel(struct vhu_backend *be);
VHU_HIDDEN bool vhu_be_has_inband(const struct vhu_backend *be);
/* Whether what in-band notifications rest on is there with them. */
VHU_HIDDEN bool vhu_be_inband_is_whole(uint64_t protocol_features);
VHU_HIDDEN int vhu_be_inband_begin(struct vhu_backend *be);
VHU_HIDDEN void vhu_be_inband_end(struct vhu_backend *be);
/* An eventfd that nobody else holds. 0 or -errno. */
VHU_HIDDEN int vhu_be_own_event(int *fd);
/* A call fd of our own for a ring that has none and needs one. 0 or -errno. */
VHU_HIDDEN int vhu_be_own_call(struct vhu_backend *be, unsigned int i);
/* Retires the ring's call fd, whoever's it is. */
VHU_HIDDEN void vhu_be_forget_call(struct vhu_backend *be, unsigned int i);
/* The ring has no fd of our own any more: what is agreed about notifications changes. */
VHU_HIDDEN void vhu_be_disown(struct vhu_backend *be, unsigned int i);
/* Takes note of the calls that were raised; they are sent when the channel is served. */
VHU_HIDDEN void vhu_be_collect_calls(struct vhu_backend *be);

/* dispatch.c */
/* Handles one request; 0, or -errno with a reason if the connection has to be closed. */
VHU_HIDDEN int vhu_be_dispatch(struct vhu_backend *be, struct vhu_reason *why);
/* The second half of a request that was parked. */
VHU_HIDDEN int vhu_be_finish(struct vhu_backend *be, struct vhu_reason *why);
VHU_HIDDEN void vhu_be_emit(struct vhu_backend *be, enum vhu_event_kind kind,
			    const struct vhu_msg *msg, int ring, const char *text);

/* rings.c */
VHU_HIDDEN void vhu_be_rings_init(struct vhu_backend *be);
/* Changes a ring's state by the table, and traces it. */
VHU_HIDDEN void vhu_be_ring_act(struct vhu_backend *be, unsigned int i, enum ring_action action);
/* Whether the ring could run once it is started: its addresses translate. */
VHU_HIDDEN int vhu_be_ring_check(struct vhu_backend *be, unsigned int i, struct vhu_reason *why);
/* Publishes, republishes or unpublishes the ring's view, as its state and addresses ask for. */
VHU_HIDDEN int vhu_be_ring_update(struct vhu_backend *be, unsigned int i, struct vhu_reason *why);
/* New views for all running rings, from a state that is not yet in force: all or none. */
VHU_HIDDEN int vhu_be_rings_rebuild(struct vhu_backend *be, const struct device_state *next,
				    struct vhu_reason *why);
/* Where the ring stands; once readers have passed after a stop. */
VHU_HIDDEN uint32_t vhu_be_ring_base(struct ring *ring);
VHU_HIDDEN void vhu_be_rings_stop(struct vhu_backend *be);
/* Stops and forgets everything about the rings; after readers have passed. */
VHU_HIDDEN void vhu_be_rings_clear(struct vhu_backend *be);
/* Tells of rings that the data side found broken. Not 0 if that has to end the connection: -EFAULT,
 * the device's memory vanished; -EDEADLK, a call eventfd blocked a data thread. */
VHU_HIDDEN int vhu_be_rings_report(struct vhu_backend *be);
VHU_HIDDEN bool vhu_be_any_running(const struct vhu_backend *be);

/*
 * handlers_*.c. A handler starts from a message that its row of the request table has judged. 0:
 * done (reply is sent if the request is one that replies), -errno with a reason: refused, nothing
 * changed. finish runs when all readers have let go of what the handler replaced.
 */
struct handler {
	int (*handle)(struct vhu_backend *be, struct vhu_msg *msg, struct vhu_msg *reply,
		      struct vhu_reason *why);
	void (*finish)(struct vhu_backend *be, const struct vhu_msg *msg, struct vhu_msg *reply);
};
VHU_HIDDEN const struct handler *vhu_be_memory_handler(uint32_t request);
VHU_HIDDEN const struct handler *vhu_be_vring_handler(uint32_t request);
VHU_HIDDEN const struct handler *vhu_be_device_handler(uint32_t request);
VHU_HIDDEN const struct handler *vhu_be_inflight_handler(uint32_t request);

/* handlers_inflight.c: the driver has taken all buffers back; readers have passed. */
VHU_HIDDEN void vhu_be_inflight_forget(struct vhu_backend *be);

#endif
