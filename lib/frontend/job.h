/* SPDX-License-Identifier: MIT */
/*
 * What is asked of a backend: jobs, each a list of steps, each step one request. Steps are laid out
 * when the job's turn comes, so that they follow from what is known then.
 */
#ifndef VHU_FRONTEND_JOB_H
#define VHU_FRONTEND_JOB_H

#include <vhu/frontend.h>
#include <vhu/wire.h>

#include <base/bits.h>

struct vhu_frontend;

enum job_kind {
	JOB_GREET,
	JOB_START, /* also again, for a backend that came back */
	JOB_STOP,
	JOB_RESET,
	JOB_MEMORY,
	JOB_LOG_ON,
	JOB_LOG_OFF,
	JOB_ENABLE,
	JOB_REQUEST, /* one step, given when it was asked for */
	JOB_KIND_END,
};

enum {
	STEP_MAY_FAIL = 0x1,	/* refused: a complaint, and on */
	STEP_CALL_MASKED = 0x2, /* SET_VRING_CALL with the eventfd of the masked ring */
	STEP_MASK = 0x4,	/* SET_VRING_CALL because the mask changed */
};

struct step {
	uint8_t request;
	uint8_t flags;
	uint16_t ring; /* or a region's number in the list */
	uint64_t value;
};

struct job {
	struct job *next;
	enum job_kind kind;
	bool begun;	 /* laid out, or being so */
	bool fixed_here; /* START: the features that it goes by were not fixed before */
	bool retried;	 /* START: it had begun with a backend that has died since */
	bool again;	 /* START: after the backend's death; nobody asked for it */
	bool undoing;	 /* START: refused, the steps are those of going back */
	unsigned int nr, at, room;
	struct step *steps;
	struct told *plan; /* the memory's regions that the steps number */
	vhu_done_fn *done;
	void *arg;
	int err;
	struct vhu_reason why;
	struct vhu_answer answer;
	struct vhu_config config; /* to be sent, or received */
	bool enable;
	unsigned int first, count; /* ENABLE: rings */
};

/* Makes a job, with its step if it is one that is known now, and puts it at the queue's end. Sends
 * nothing yet. */
VHU_HIDDEN int vhu_fe_job(struct vhu_frontend *fe, enum job_kind kind, const struct step *step,
			  vhu_done_fn *done, void *arg, struct job **ret_job);
/* The same at the queue's beginning; nothing may be under way. */
VHU_HIDDEN int vhu_fe_job_first(struct vhu_frontend *fe, enum job_kind kind, struct job **ret_job);
VHU_HIDDEN int vhu_fe_add_step(struct job *job, const struct step *step);
/* Sends what can be sent, and ends jobs that are done. -errno: the connection is of no more use. */
VHU_HIDDEN int vhu_fe_advance(struct vhu_frontend *fe, struct vhu_reason *why);
/* A reply has come; judged here. */
VHU_HIDDEN int vhu_fe_reply(struct vhu_frontend *fe, struct vhu_msg *msg, struct vhu_reason *why);
/* A start that still waits for a backend is not wanted any more. */
VHU_HIDDEN void vhu_fe_cancel_start(struct vhu_frontend *fe);
/* The connection is gone: ends the jobs that cannot be done on the next one. all: every one. */
VHU_HIDDEN void vhu_fe_fail_jobs(struct vhu_frontend *fe, int err, bool all,
				 const struct vhu_reason *why);

/* messages.c: what each request says, and what its answer means. */
struct message {
	/* 0: send it. 1: leave it out. */
	int (*fill)(struct vhu_frontend *fe, struct job *job, const struct step *step,
		    struct vhu_msg *msg);
	/* 0, or -EPROTO with a reason. */
	int (*answer)(struct vhu_frontend *fe, struct job *job, const struct step *step,
		      struct vhu_msg *reply, struct vhu_reason *why);
	bool owns_fds; /* what fill put there is closed once it was sent */
};
VHU_HIDDEN const struct message *vhu_fe_message(uint32_t request);

/* plan.c: which steps a job has, and what holds when they are done. */
VHU_HIDDEN int vhu_fe_plan(struct vhu_frontend *fe, struct job *job, struct vhu_reason *why);
/* The steps that go back from a start that was refused. */
VHU_HIDDEN int vhu_fe_plan_undo(struct vhu_frontend *fe, struct job *job);
VHU_HIDDEN void vhu_fe_plan_done(struct vhu_frontend *fe, struct job *job);

#endif
