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

int vhu_fe_job(struct vhu_frontend *fe, enum job_kind kind, vhu_done_fn *done, void *arg,
	       struct job **ret_job)
{
	struct job *job = new_job(kind), **last = &fe->jobs;

	if (!job)
		return -ENOMEM;
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

/* Takes a job out of the queue and tells whoever asked. */
static void end_job(struct vhu_frontend *fe, struct job *job)
{
	struct job **at = &fe->jobs;

	while (*at != job)
		at = &(*at)->next;
	*at = job->next;
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

/* True if the job outlives a connection: whoever asked for a start waits for a backend anyway. */
static bool survives(const struct vhu_frontend *fe, const struct job *job)
{
	if (job->kind == JOB_START)
		return !job->again && !job->undoing &&
		       (fe->connect_path || fe->listen_path || fe->listen_fd >= 0);
	return (job->kind == JOB_STOP || job->kind == JOB_RESET) && !job->begun;
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

void vhu_fe_fail_jobs(struct vhu_frontend *fe, int err, bool all, const struct vhu_reason *why)
{
	struct job *job = fe->jobs, *next;

	fe->awaiting = false;
	vhu_fe_set_deadline(fe, false);
	for (; job; job = next) {
		next = job->next;
		if (!all && survives(fe, job)) {
			job->retried |= job->begun;
			job->begun = false;
			job->nr = job->at = 0;
			continue;
		}
		if (!job->err) {
			job->err = err ? err : -ECONNRESET;
			job->why = *why;
		}
		/* a device that was to be stopped and whose backend left is stopped */
		if (job->kind == JOB_STOP || job->kind == JOB_RESET) {
			job->err = 0;
			vhu_fe_plan_done(fe, job);
		}
		end_job(fe, job);
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
	/* not before the backend knows that it was agreed */
	if (row->reply == VHU_REPLY_ACK && vhu_fe_has(fe, VHU_P_REPLY_ACK_BIT) &&
	    step->request != VHU_SET_PROTOCOL_FEATURES)
		msg.hdr.flags |= VHU_MSG_NEED_REPLY;
	vhu_fe_emit(fe, VHU_EVENT_REQUEST_OUT, &msg, vhu_wire_ring(VHU_CHANNEL_MAIN, &msg), NULL);
	err = vhu_sock_send(fe->sock, &msg);
	if (message->owns_fds)
		vhu_msg_close_fds(&msg);
	if (err)
		return vhu_refuse(why, err, "%s cannot be sent: %s", row->name, strerror(-err));
	if (!vhu_wire_wants_reply(VHU_CHANNEL_MAIN, &msg, fe->protocol_features))
		return 0;
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
	int err = vhu_fe_plan(fe, job, &job->why);

	if (err) {
		if (!job->why.text[0])
			vhu_refuse(&job->why, err, "%s", strerror(-err));
		job->err = err;
		job->nr = job->at = 0;
	}
	job->begun = true;
	return err;
}

/* The first job's steps are done. -errno: it was a start again, and without it there is no device. */
static int finish_job(struct vhu_frontend *fe, struct job *job, struct vhu_reason *why)
{
	int err = 0;

	if (job->kind == JOB_START && job->again && job->err == -ENODATA) {
		fe->want_running = fe->agreed_fixed = false;
		vhu_fe_set_state(fe, VHU_DEVICE_STOPPED);
		if (fe->ops.needs_reset)
			fe->ops.needs_reset(fe->arg, job->why.text);
	} else if (job->err && (job->again || job->kind == JOB_GREET)) {
		/* a backend that will not be greeted, or not take the rings over, is none */
		*why = job->why;
		err = job->err;
	} else {
		vhu_fe_plan_done(fe, job);
	}
	/* a greeting may have put the next start before us in the queue; and callbacks behind us */
	end_job(fe, job);
	return err;
}

static int advance(struct vhu_frontend *fe, struct vhu_reason *why)
{
	while (fe->jobs && !fe->awaiting) {
		struct job *job = fe->jobs;
		int err;

		if (!job->begun) {
			if (!may_begin(fe, job))
				return 0;
			begin_job(fe, job);
		}
		if (job->at < job->nr) {
			const struct step step = job->steps[job->at++];

			err = send_step(fe, job, &step, why);
			if (err)
				return err;
			if (!fe->awaiting)
				vhu_fe_memory_told(fe, &step);
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
