/* SPDX-License-Identifier: MIT */
/*
 * The queue of what is asked: one request under way at a time, its answer judged, its deadline
 * kept. Knows neither what requests say nor why they are made.
 */
#include <frontend/device.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <base/fd.h>

static struct job *new_job(enum job_kind kind)
{
	struct job *job = calloc(1, sizeof(*job));

	if (job)
		job->kind = kind;
	return job;
}

int vhu_fe_job_first(struct vhu_frontend *fe, enum job_kind kind, struct job **ret_job)
{
	struct job *job = new_job(kind);

	if (!job)
		return -ENOMEM;
	job->next = fe->jobs;
	fe->jobs = job;
	*ret_job = job;
	return 0;
}

int vhu_fe_add_step(struct job *job, const struct step *step)
{
	if (job->nr == job->room) {
		unsigned int room = job->room ? job->room * 2 : 8;
		struct step *steps = realloc(job->steps, room * sizeof(*steps));

		if (!steps)
			return -ENOMEM;
		job->steps = steps;
		job->room = room;
	}
	job->steps[job->nr++] = *step;
	return 0;
}

static void free_job(struct job *job)
{
	free(job->steps);
	free(job->plan);
	free(job);
}

int vhu_fe_job(struct vhu_frontend *fe, enum job_kind kind, const struct step *step,
	       vhu_done_fn *done, void *arg, struct job **ret_job)
{
	struct job *job = new_job(kind), **last = &fe->jobs;

	if (!job || (step && vhu_fe_add_step(job, step))) {
		free(job);
		return -ENOMEM;
	}
	job->done = done;
	job->arg = arg;
	while (*last)
		last = &(*last)->next;
	*last = job;
	vhu_fe_wake(fe);
	if (ret_job)
		*ret_job = job;
	return 0;
}

/* Tells whoever asked, who may ask for more; the job is in no queue any more. */
static void conclude(struct vhu_frontend *fe, struct job *job)
{
	if (job->nr && job->steps[0].flags & STEP_MASK)
		fe->rings[job->steps[0].ring].mask_queued = false;
	if (job->err && job->kind != JOB_GREET && !job->again && !fe->first_err) {
		fe->first_err = job->err;
		fe->first_why = job->why;
	}
	if (job->err)
		job->answer.reason = job->why.text;
	if (job->done)
		job->done(job->arg, job->err, &job->answer);
	free_job(job);
}

static void end_job(struct vhu_frontend *fe, struct job *job)
{
	struct job **at = &fe->jobs;

	while (*at != job)
		at = &(*at)->next;
	*at = job->next;
	conclude(fe, job);
}

static bool is_end(const struct job *job)
{
	return job->kind == JOB_STOP || job->kind == JOB_RESET;
}

/* True if the job outlives a connection: whoever asked for a start waits for a backend anyway. */
static bool survives(const struct vhu_frontend *fe, const struct job *job)
{
	if (job->kind != JOB_START)
		return is_end(job) && !job->begun;
	if (job->again || job->undoing || !(fe->connect_path || fe->listen_fd >= 0))
		return false;
	/* somebody has thought better of it meanwhile */
	for (const struct job *later = job->next; later; later = later->next) {
		if (is_end(later))
			return false;
	}
	return true;
}

/* It begins anew with the next backend; this one may have touched rings whose kick fd it got. */
static void put_back(struct job *job)
{
	for (unsigned int i = 0; i < job->at; i++)
		job->retried |= job->steps[i].request == VHU_SET_VRING_KICK;
	job->begun = false;
	job->nr = job->at = 0;
}

void vhu_fe_cancel_start(struct vhu_frontend *fe)
{
	struct job *job = fe->jobs;

	while (job && (job->kind != JOB_START || job->begun))
		job = job->next;
	if (!job)
		return;
	job->err = vhu_refuse(&job->why, -ECANCELED, "start: stopped before a backend came");
	end_job(fe, job);
}

static void fail_job(struct vhu_frontend *fe, struct job *job, int err,
		     const struct vhu_reason *why)
{
	if (!job->err) {
		job->err = err ? err : -ECONNRESET;
		job->why = *why;
	}
	/* a device that was to be stopped and whose backend left is stopped */
	if (is_end(job))
		job->err = 0;
	if (is_end(job) || job->kind == JOB_LOG_ON || job->kind == JOB_LOG_OFF)
		vhu_fe_plan_done(fe, job);
	conclude(fe, job);
}

void vhu_fe_fail_jobs(struct vhu_frontend *fe, int err, bool all, const struct vhu_reason *why)
{
	struct job *job = fe->jobs, *failed = NULL, **kept = &fe->jobs, **end = &failed, *next;

	fe->awaiting = false;
	vhu_fe_set_deadline(fe, false);
	/* sorted first: whoever is told may ask for more, which is for the next backend */
	for (; job; job = next) {
		next = job->next;
		if (!all && survives(fe, job)) {
			put_back(job);
			*kept = job;
			kept = &job->next;
		} else {
			*end = job;
			end = &job->next;
		}
	}
	*kept = *end = NULL;
	while (failed) {
		job = failed;
		failed = job->next;
		fail_job(fe, job, err, why);
	}
}

static int send_step(struct vhu_frontend *fe, struct job *job, const struct step *step,
		     struct vhu_reason *why)
{
	const struct vhu_request_row *row = vhu_request_row(VHU_CHANNEL_MAIN, step->request);
	const struct message *message = vhu_fe_message(step->request);
	struct vhu_msg msg;
	int err;

	vhu_msg_init(&msg, step->request, 0, 0);
	if (message->fill(fe, job, step, &msg))
		return 0;
	/* not while greeting: some acknowledge nothing before SET_FEATURES */
	if (row->reply == VHU_REPLY_ACK && vhu_fe_has(fe, VHU_P_REPLY_ACK_BIT) &&
	    job->kind != JOB_GREET)
		msg.hdr.flags |= VHU_MSG_NEED_REPLY;
	vhu_fe_emit(fe, VHU_EVENT_REQUEST_OUT, &msg, vhu_wire_ring(VHU_CHANNEL_MAIN, &msg), NULL);
	err = vhu_sock_send(fe->sock, &msg);
	if (message->owns_fds)
		vhu_msg_close_fds(&msg);
	if (err)
		return vhu_refuse(why, err, "%s cannot be sent: %s", row->name, strerror(-err));
	if (!vhu_wire_wants_reply(VHU_CHANNEL_MAIN, &msg, fe->protocol_features)) {
		/* what was left out above was not told */
		vhu_fe_memory_told(fe, step);
		return 0;
	}
	fe->awaiting = true;
	vhu_fe_set_deadline(fe, true);
	return 0;
}

/* A job cannot be done: a start goes back first. */
static int refused(struct vhu_frontend *fe, struct job *job, int err)
{
	job->err = err;
	if (job->kind == JOB_START && job->begun && !job->undoing)
		return vhu_fe_plan_undo(fe, job);
	job->at = job->nr;
	return 0;
}

/* Only a start waits for a backend; with nobody there, all else has nobody to tell. */
static bool may_begin(const struct vhu_frontend *fe, const struct job *job)
{
	return job->kind != JOB_START || vhu_fe_is_greeted(fe);
}

static int begin_job(struct vhu_frontend *fe, struct job *job)
{
	int err;

	job->begun =
		true; /* before: planning tells of a new state, and whoever hears it may stop us */
	err = vhu_fe_plan(fe, job, &job->why);
	if (err) {
		if (!job->why.text[0])
			vhu_refuse(&job->why, err, "%s", strerror(-err));
		job->err = err;
		job->nr = job->at = 0;
	}
	return err;
}

/* A job's steps are done. -errno: the backend is none for this device. */
static int finish_job(struct vhu_frontend *fe, struct job *job, struct vhu_reason *why)
{
	const struct vhu_reason reason = job->why;
	bool lost_track = job->again && job->err == -ENODATA;
	int err = 0;

	if (lost_track) {
		fe->want_running = fe->agreed_fixed = false;
		vhu_fe_set_state(fe, VHU_DEVICE_STOPPED);
		fe->is_served = true;
	} else if (job->err && (job->again || job->kind == JOB_GREET)) {
		/* one that will not be greeted, or not take the rings over */
		*why = job->why;
		err = job->err;
	} else {
		vhu_fe_plan_done(fe, job);
	}
	/* a greeting may have put the next start before us in the queue; and callbacks behind us */
	end_job(fe, job);
	if (lost_track && fe->ops.needs_reset)
		fe->ops.needs_reset(fe->arg, reason.text);
	return err;
}

/* The first job whose turn can come: with no backend, those that a start keeps waiting go on. */
static struct job *next_job(const struct vhu_frontend *fe)
{
	struct job *job = fe->jobs;

	while (job && !job->begun && !may_begin(fe, job))
		job = job->next;
	return job;
}

static int advance(struct vhu_frontend *fe, struct vhu_reason *why)
{
	struct job *job;

	while (!fe->awaiting && (job = next_job(fe))) {
		int err;

		if (!job->begun)
			begin_job(fe, job);
		if (job->at < job->nr) {
			const struct step step = job->steps[job->at++];

			err = send_step(fe, job, &step, why);
			if (err)
				return err;
			/* a backend that does not read is waited for like one that does not answer */
			if (vhu_sock_has_unsent(fe->sock)) {
				vhu_fe_set_deadline(fe, true);
				return 0;
			}
			continue;
		}
		if (job->kind == JOB_GREET && !job->err) {
			unsigned int nr = job->nr;

			err = vhu_fe_plan(fe, job, why);
			if (err)
				return err;
			if (job->nr > nr)
				continue;
		}
		err = finish_job(fe, job, why);
		if (err)
			return err;
	}
	return 0;
}

int vhu_fe_advance(struct vhu_frontend *fe, struct vhu_reason *why)
{
	int err;

	if (fe->advancing)
		return 0;
	fe->advancing = true;
	err = advance(fe, why);
	fe->advancing = false;
	return err;
}

/* A plain acknowledgement. */
static int take_ack(struct vhu_frontend *fe, struct job *job, const struct step *step,
		    const struct vhu_msg *reply)
{
	const struct vhu_request_row *row = vhu_request_row(VHU_CHANNEL_MAIN, step->request);
	struct vhu_reason why;

	/* SET_LOG_BASE has replies of two kinds, and neither says that it failed */
	if (row->reply != VHU_REPLY_ACK || !reply->u64) {
		vhu_fe_memory_told(fe, step);
		return 0;
	}
	if (row->flags & VHU_ROW_RING)
		vhu_refuse(&why, 0, "%s: refused by the backend for ring %u (answer %llu)",
			   row->name, step->ring, (unsigned long long)reply->u64);
	else
		vhu_refuse(&why, 0, "%s: refused by the backend (answer %llu)", row->name,
			   (unsigned long long)reply->u64);
	if (step->flags & STEP_MAY_FAIL) {
		vhu_fe_complain(fe, why.text);
		return 0;
	}
	job->why = why;
	return refused(fe, job, -EREMOTEIO);
}

int vhu_fe_reply(struct vhu_frontend *fe, struct vhu_msg *msg, struct vhu_reason *why)
{
	const struct vhu_request_row *row = vhu_request_row(VHU_CHANNEL_MAIN, msg->hdr.request);
	struct job *job = fe->jobs;
	const struct message *message;
	struct step step;
	int err;

	if (!fe->awaiting)
		return vhu_refuse(why, -EPROTO, "a reply came (%s), and none was asked for",
				  row ? row->name : "unknown request");
	step = job->steps[job->at - 1];
	if (msg->hdr.request != step.request)
		return vhu_refuse(why, -EPROTO, "%s reply: a reply to request %u (%s) came",
				  vhu_request_row(VHU_CHANNEL_MAIN, step.request)->name,
				  msg->hdr.request, row ? row->name : "unknown");
	err = vhu_wire_check(VHU_CHANNEL_MAIN, msg, true, fe->protocol_features, fe->nr_rings, why);
	if (err)
		return -EPROTO;
	fe->awaiting = false;
	vhu_fe_set_deadline(fe, false);
	message = vhu_fe_message(step.request);
	if (message->answer)
		return message->answer(fe, job, &step, msg, why);
	return take_ack(fe, job, &step, msg);
}
