/* SPDX-License-Identifier: MIT */
/*
 * Inside of a frontend: one device, its rings, its connection, and what has been asked of the
 * backend and not been done yet. Control thread only.
 */
#ifndef VHU_FRONTEND_DEVICE_H
#define VHU_FRONTEND_DEVICE_H

#include <sys/types.h>
#include <vhu/frontend.h>
#include <vhu/sock.h>

#include <base/bits.h>
#include <frontend/job.h>

/* Made-up user addresses: guest address plus this. Where our memory lies is nobody's business. */
#define VHU_FE_UVA_BASE (UINT64_C(1) << 46)

/* virtio 1.2, 2.1 */
enum {
	STATUS_ACKNOWLEDGE = 1,
	STATUS_DRIVER = 2,
	STATUS_DRIVER_OK = 4,
	STATUS_FEATURES_OK = 8,
};

/* What an event of our poll set is about; with a ring's index in the lower half. */
enum source {
	SOURCE_WAKE,
	SOURCE_TIMER,
	SOURCE_LISTEN,
	SOURCE_SOCK,
	SOURCE_CHANNEL,
	SOURCE_MASKED, /* the eventfd that takes calls while a ring is masked */
	SOURCE_ERR,
};

struct fe_ring {
	struct vhu_frontend_ring config; /* its fds are ours; num 0: not used */
	uint32_t base;			 /* to go on from */
	bool enabled;			 /* wished */
	bool masked;			 /* wished */
	bool running;			 /* the backend has it started */
	bool fresh;			 /* base 0 is that of a new ring */
	bool mask_queued;		 /* a job is there that tells of the mask */
	int masked_fd, err_fd;
};

/* A region as the backend was told of it. */
struct told_region {
	uint64_t gpa, size, offset;
	dev_t dev;
	ino_t ino;
};

struct told {
	unsigned int nr;
	struct told_region region[VHU_MAX_MEM_SLOTS];
};

struct vhu_frontend {
	struct vhu_frontend_ops ops;
	void *arg;
	struct vhu_memory *memory;
	unsigned int nr_rings;
	uint64_t wanted, needed, wanted_protocol;
	unsigned int timeout_ms;
	bool give_up;

	/* where the backend is */
	int epoll_fd, wake_fd, timer_fd, listen_fd;
	char *listen_path;  /* ours to remove */
	char *connect_path; /* NULL: server or handed-in socket */
	uint64_t retry_ns;
	uint64_t retry_at, deadline_at; /* 0: none */
	int connect_err;		/* of the last try; 0: it was none */

	/* the connection */
	enum vhu_device_state state;
	struct vhu_sock *sock, *channel;
	uint64_t offered, features, protocol_features, queue_num;
	unsigned int max_slots;
	struct told told;		/* what this backend knows of the memory */
	bool greeted_once, was_greeted; /* ever; on this connection */
	bool is_served; /* the program was told that there is a backend, and not that it has gone */
	bool started_here;    /* this backend has seen a start */
	bool inflight_packed; /* the layout that the in-flight region was made for */
	uint64_t began_at;    /* this connection */
	bool processing;
	bool agreed_fixed; /* a guest or a start went by these features: a later backend has to have them */
	char last_complaint[192];

	/* wishes that outlive a backend */
	bool want_running;
	unsigned int mtu; /* 0: not set */
	struct fe_ring *rings;
	int inflight_fd;
	struct vhu_inflight inflight;

	/* dirty log */
	int log_fd;
	uint8_t *log;
	uint64_t log_size;
	bool log_on;

	/* what was asked: the first is under way */
	struct job *jobs;
	bool awaiting; /* a reply to the current step of the first */
	bool advancing;
	int first_err; /* since the last wait */
	struct vhu_reason first_why;
	int last_err;
	struct vhu_reason last_why; /* why the last connection ended */
};

/* device.c */
VHU_HIDDEN void vhu_fe_complain(struct vhu_frontend *fe, const char *text);
VHU_HIDDEN void vhu_fe_emit(struct vhu_frontend *fe, enum vhu_event_kind kind,
			    const struct vhu_msg *msg, int ring, const char *text);
VHU_HIDDEN void vhu_fe_set_state(struct vhu_frontend *fe, enum vhu_device_state to);
/* The connection is of no further use. refused: for what the backend is, not because it left. */
VHU_HIDDEN void vhu_fe_lose(struct vhu_frontend *fe, int err, bool refused,
			    const struct vhu_reason *why);
VHU_HIDDEN int vhu_fe_watch(struct vhu_frontend *fe, int fd, enum source source, unsigned int ring);
VHU_HIDDEN void vhu_fe_unwatch(struct vhu_frontend *fe, int fd);
/* A reply is awaited from now on / no more. */
VHU_HIDDEN void vhu_fe_set_deadline(struct vhu_frontend *fe, bool wanted);
VHU_HIDDEN void vhu_fe_wake(struct vhu_frontend *fe);

static inline bool vhu_fe_has(const struct vhu_frontend *fe, enum vhu_protocol_bit bit)
{
	return vhu_has_bit(fe->protocol_features, bit);
}

static inline bool vhu_fe_is_greeted(const struct vhu_frontend *fe)
{
	return fe->was_greeted;
}

/* rings.c */
VHU_HIDDEN int vhu_fe_rings_init(struct vhu_frontend *fe);
VHU_HIDDEN void vhu_fe_rings_free(struct vhu_frontend *fe);
/* For a new backend: eventfds that the old one does not hold. */
VHU_HIDDEN int vhu_fe_rings_renew(struct vhu_frontend *fe);
/* Before a start: where the ring goes on from. again: the backend that served it has died. */
VHU_HIDDEN int vhu_fe_ring_prepare(struct vhu_frontend *fe, unsigned int i, bool again,
				   struct vhu_reason *why);
/* A device that never ran to its orderly stop: what its bases are. */
VHU_HIDDEN void vhu_fe_rings_forget_backend(struct vhu_frontend *fe);
/* Calls that came while the ring was masked go on to the call fd. */
VHU_HIDDEN void vhu_fe_ring_forward(struct vhu_frontend *fe, unsigned int i);
VHU_HIDDEN void vhu_fe_ring_failed(struct vhu_frontend *fe, unsigned int i);
VHU_HIDDEN void vhu_fe_kick(struct vhu_frontend *fe, unsigned int i);
/* As if the backend had called. */
VHU_HIDDEN void vhu_fe_call(struct vhu_frontend *fe, unsigned int i);

/* memory.c */
/* The memory's regions as they are now. */
VHU_HIDDEN int vhu_fe_memory_now(struct vhu_frontend *fe, struct told *ret_now,
				 struct vhu_reason *why);
VHU_HIDDEN int vhu_fe_memory_plan(struct vhu_frontend *fe, struct job *job, struct vhu_reason *why);
/* After the steps of a plan were done. */
VHU_HIDDEN void vhu_fe_memory_told(struct vhu_frontend *fe, const struct step *step);

/* log.c */
VHU_HIDDEN int vhu_fe_log_make(struct vhu_frontend *fe);
VHU_HIDDEN void vhu_fe_log_free(struct vhu_frontend *fe);
/* False if memory was added that the log has no bits for. */
VHU_HIDDEN bool vhu_fe_log_reaches(const struct vhu_frontend *fe);
/* All pages count as written: a backend died between a store and its mark. */
VHU_HIDDEN void vhu_fe_log_mark_all(struct vhu_frontend *fe);

/* channel.c */
VHU_HIDDEN void vhu_fe_read_channel(struct vhu_frontend *fe);
VHU_HIDDEN void vhu_fe_drop_channel(struct vhu_frontend *fe);

#endif
