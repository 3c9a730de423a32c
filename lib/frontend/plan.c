/* SPDX-License-Identifier: MIT */
/*
 * Which steps each kind of job has, from what is known when its turn comes, and what holds once
 * they are done. Sends nothing.
 */
#include <frontend/device.h>

#include <errno.h>

#include <base/fd.h>

static int add(struct job *job, uint8_t request, unsigned int ring, uint64_t value, uint8_t flags)
{
	const struct step step = {
		.request = request, .flags = flags, .ring = (uint16_t)ring, .value = value
	};

	return vhu_fe_add_step(job, &step);
}

/*
 * Without acknowledgements nobody tells when the last request has been looked at; any reply to a
 * later one does, since they are served in order.
 */
static int add_fence(const struct vhu_frontend *fe, struct job *job)
{
	return vhu_fe_has(fe, VHU_P_REPLY_ACK_BIT) ? 0 : add(job, VHU_GET_FEATURES, 0, 0, 0);
}

static bool is_used(const struct vhu_frontend *fe, unsigned int i)
{
	return fe->rings[i].config.num != 0;
}

/* ---- greeting: grows by what the answers say ---- */

static int plan_greet(struct vhu_frontend *fe, struct job *job)
{
	(void)fe;
	return add(job, VHU_GET_FEATURES, 0, 0, 0);
}

static int greet_protocol(struct vhu_frontend *fe, struct job *job)
{
	int err = add(job, VHU_SET_PROTOCOL_FEATURES, 0, fe->protocol_features, 0);

	if (!err && vhu_fe_has(fe, VHU_P_MQ_BIT))
		err = add(job, VHU_GET_QUEUE_NUM, 0, 0, 0);
	if (!err && vhu_fe_has(fe, VHU_P_CONFIGURE_MEM_SLOTS_BIT))
		err = add(job, VHU_GET_MAX_MEM_SLOTS, 0, 0, 0);
	return err;
}

/* What every backend gets told once its features are known. */
static int greet_rest(struct vhu_frontend *fe, struct job *job)
{
	int err = add(job, VHU_SET_OWNER, 0, 0, 0);

	if (!err && vhu_fe_has(fe, VHU_P_BACKEND_REQ_BIT))
		err = add(job, VHU_SET_BACKEND_REQ_FD, 0, 0, STEP_MAY_FAIL);
	/* when this is answered all has been looked at: the device is as it is believed to be */
	if (!err)
		err = add(job, VHU_GET_FEATURES, 0, 0, 0);
	return err;
}

static int greet_more(struct vhu_frontend *fe, struct job *job)
{
	const uint8_t last = job->steps[job->nr - 1].request;
	int err;

	if (job->nr == 1 && vhu_has_bit(fe->offered, VHU_F_PROTOCOL_FEATURES_BIT))
		return add(job, VHU_GET_PROTOCOL_FEATURES, 0, 0, 0);
	if (job->nr == 1)
		return greet_rest(fe, job);
	if (last != VHU_GET_PROTOCOL_FEATURES)
		return 0;
	err = greet_protocol(fe, job);
	return err ? err : greet_rest(fe, job);
}

/* This backend will do: its end will be told. */
static void serve(struct vhu_frontend *fe)
{
	fe->is_served = true;
	fe->last_complaint[0] = 0;
}

static void greet_done(struct vhu_frontend *fe)
{
	struct job *again;

	fe->was_greeted = true;
	vhu_fe_set_state(fe, VHU_DEVICE_STOPPED);
	if (fe->want_running && !vhu_fe_job_first(fe, JOB_START, &again)) {
		again->again = true;
		return;
	}
	/* a start that begins anew lays rings out: back() comes when that is done */
	if (fe->jobs->next && fe->jobs->next->retried)
		return;
	serve(fe);
	if (fe->greeted_once) {
		if (fe->ops.back)
			fe->ops.back(fe->arg);
		return;
	}
	fe->greeted_once = true;
	if (fe->ops.connected)
		fe->ops.connected(fe->arg);
}

/* ---- start ---- */

static int start_ring(struct vhu_frontend *fe, struct job *job, unsigned int i)
{
	const struct fe_ring *ring = &fe->rings[i];
	int err = add(job, VHU_SET_VRING_NUM, i, 0, 0);

	if (!err)
		err = add(job, VHU_SET_VRING_BASE, i, 0, 0);
	if (!err)
		err = add(job, VHU_SET_VRING_ADDR, i, 0, 0);
	if (!err)
		err = add(job, VHU_SET_VRING_ERR, i, 0, 0);
	/*
	 * Before the kick fd: what stands in a ring that runs and is not enabled is taken and dropped. Also
	 * that it is not enabled: a backend keeps the bit over a stop.
	 */
	if (!err && vhu_has_bit(fe->features, VHU_F_PROTOCOL_FEATURES_BIT))
		err = add(job, VHU_SET_VRING_ENABLE, i, ring->enabled, 0);
	if (!err)
		err = add(job, VHU_SET_VRING_KICK, i, 0, 0);
	if (!err && !ring->masked)
		err = add(job, VHU_SET_VRING_CALL, i, 0, 0);
	return err;
}

static int start_device(struct vhu_frontend *fe, struct job *job, struct vhu_reason *why)
{
	int err = add(job, VHU_SET_FEATURES, 0, 0, 0);

	if (!err && vhu_fe_has(fe, VHU_P_STATUS_BIT))
		err = add(job, VHU_SET_STATUS, 0,
			  STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK, 0);
	/*
	 * A backend may start the ring by its kick fd: the call fd has to be there by then. And this
	 * early, since some make a ring with the first message about it, which SET_INFLIGHT_FD is not.
	 */
	for (unsigned int i = 0; i < fe->nr_rings && !err; i++) {
		if (is_used(fe, i))
			err = add(job, VHU_SET_VRING_CALL, i, 0, STEP_CALL_MASKED);
	}
	if (!err)
		err = vhu_fe_memory_plan(fe, job, why);
	if (!err && fe->log_on)
		err = add(job, VHU_SET_LOG_BASE, 0, 0, 0);
	if (!err && fe->mtu && vhu_fe_has(fe, VHU_P_NET_MTU_BIT))
		err = add(job, VHU_NET_SET_MTU, 0, fe->mtu, STEP_MAY_FAIL);
	if (!err && vhu_fe_has(fe, VHU_P_INFLIGHT_SHMFD_BIT)) {
		err = add(job, VHU_GET_INFLIGHT_FD, 0, 0, 0);
		if (!err)
			err = add(job, VHU_SET_INFLIGHT_FD, 0, 0, 0);
	}
	return err;
}

static int plan_start(struct vhu_frontend *fe, struct job *job, struct vhu_reason *why)
{
	unsigned int used = 0;
	int err;

	vhu_fe_set_state(fe, VHU_DEVICE_STARTING);
	job->fixed_here = !fe->agreed_fixed;
	fe->agreed_fixed = fe->started_here = true;
	/* the region's layout is the ring's */
	if (!vhu_fe_has(fe, VHU_P_INFLIGHT_SHMFD_BIT) ||
	    fe->inflight_packed != vhu_has_bit(fe->features, VHU_F_RING_PACKED_BIT))
		vhu_fd_close(&fe->inflight_fd);
	fe->inflight_packed = vhu_has_bit(fe->features, VHU_F_RING_PACKED_BIT);
	for (unsigned int i = 0; i < fe->nr_rings; i++) {
		if (!is_used(fe, i))
			continue;
		used++;
		err = vhu_fe_ring_prepare(fe, i, job->again || job->retried, why);
		if (err)
			return err;
	}
	if (!used)
		return vhu_refuse(why, -EINVAL, "start: no ring was described");
	err = start_device(fe, job, why);
	for (unsigned int i = 0; i < fe->nr_rings && !err; i++) {
		if (is_used(fe, i))
			err = start_ring(fe, job, i);
	}
	if (!err && vhu_fe_has(fe, VHU_P_STATUS_BIT))
		err = add(job, VHU_SET_STATUS, 0,
			  STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK |
				  STATUS_DRIVER_OK,
			  0);
	return err ? err : add_fence(fe, job);
}

static void start_done(struct vhu_frontend *fe, const struct job *job)
{
	bool again = job->again || job->retried;

	fe->want_running = true;
	for (unsigned int i = 0; i < fe->nr_rings; i++) {
		if (!is_used(fe, i))
			continue;
		fe->rings[i].running = true;
		/* "a frontend should raise the kick itself": some start the ring by it */
		vhu_fe_kick(fe, i);
		/* the one that died may have used chains without having come to the call */
		if (again)
			vhu_fe_call(fe, i);
	}
	vhu_fe_set_state(fe, VHU_DEVICE_RUNNING);
	serve(fe);
	if (again && fe->ops.back)
		fe->ops.back(fe->arg);
}

/* ---- stop, and going back from a start ---- */

static int stop_rings(struct vhu_frontend *fe, struct job *job)
{
	int err = 0;

	for (unsigned int i = 0; i < fe->nr_rings && !err; i++) {
		if (fe->rings[i].running)
			err = add(job, VHU_GET_VRING_BASE, i, 0, 0);
	}
	return err;
}

static int plan_stop(struct vhu_frontend *fe, struct job *job)
{
	int err;

	if (fe->state != VHU_DEVICE_RUNNING)
		return 0;
	vhu_fe_set_state(fe, VHU_DEVICE_STOPPING);
	err = stop_rings(fe, job);
	if (!err && vhu_fe_has(fe, VHU_P_STATUS_BIT))
		err = add(job, VHU_SET_STATUS, 0, 0, 0);
	return err;
}

int vhu_fe_plan_undo(struct vhu_frontend *fe, struct job *job)
{
	/* a ring for which the kick fd was sent may run; to stop one that does not is harmless */
	for (unsigned int k = 0; k < job->at; k++) {
		if (job->steps[k].request == VHU_SET_VRING_KICK)
			fe->rings[job->steps[k].ring].running = true;
	}
	job->undoing = true;
	job->nr = job->at = 0;
	if (stop_rings(fe, job))
		return -ENOMEM;
	if (vhu_fe_has(fe, VHU_P_STATUS_BIT))
		return add(job, VHU_SET_STATUS, 0, 0, STEP_MAY_FAIL);
	return 0;
}

static void stop_done(struct vhu_frontend *fe)
{
	if (fe->state == VHU_DEVICE_STOPPING || fe->state == VHU_DEVICE_STARTING)
		vhu_fe_set_state(fe, VHU_DEVICE_STOPPED);
	else if (fe->want_running)
		vhu_fe_rings_forget_backend(fe);
	fe->want_running = false;
}

static int disable_rings(const struct vhu_frontend *fe, struct job *job)
{
	int err = 0;

	if (!vhu_has_bit(fe->features, VHU_F_PROTOCOL_FEATURES_BIT))
		return 0;
	for (unsigned int i = 0; i < fe->nr_rings && !err; i++) {
		if (is_used(fe, i))
			err = add(job, VHU_SET_VRING_ENABLE, i, 0, 0);
	}
	return err;
}

/* Rings first: not every backend stops them by RESET_DEVICE. */
static int plan_reset(struct vhu_frontend *fe, struct job *job)
{
	int err;

	if (fe->state == VHU_DEVICE_RUNNING)
		vhu_fe_set_state(fe, VHU_DEVICE_STOPPING);
	if (!vhu_fe_is_greeted(fe) || !fe->started_here)
		return 0; /* as new as can be */
	err = stop_rings(fe, job);
	if (!err && vhu_fe_has(fe, VHU_P_RESET_DEVICE_BIT)) {
		err = add(job, VHU_RESET_DEVICE, 0, 0, 0);
		return err ? err : add_fence(fe, job);
	}
	if (!err)
		err = disable_rings(fe, job);
	if (!err && vhu_fe_has(fe, VHU_P_STATUS_BIT))
		err = add(job, VHU_SET_STATUS, 0, 0, 0);
	return err ? err : add_fence(fe, job);
}

static void reset_done(struct vhu_frontend *fe)
{
	stop_done(fe);
	for (unsigned int i = 0; i < fe->nr_rings; i++) {
		fe->rings[i].running = false;
		fe->rings[i].base = 0;
		fe->rings[i].fresh = true;
	}
	fe->agreed_fixed = false;
	vhu_fd_close(&fe->inflight_fd);
}

/* ---- the rest ---- */

static int plan_enable(struct vhu_frontend *fe, struct job *job)
{
	int err = 0;

	if (fe->state != VHU_DEVICE_RUNNING)
		return 0; /* the start will tell */
	for (unsigned int i = job->first; i < job->first + job->count && !err; i++) {
		if (is_used(fe, i))
			err = add(job, VHU_SET_VRING_ENABLE, i, job->enable, 0);
	}
	return err ? err : add_fence(fe, job);
}

static int plan_memory(struct vhu_frontend *fe, struct job *job, struct vhu_reason *why)
{
	int err;

	if (fe->state != VHU_DEVICE_RUNNING)
		return 0;
	err = vhu_fe_memory_plan(fe, job, why);
	return err ? err : add_fence(fe, job);
}

static int plan_log(struct vhu_frontend *fe, struct job *job)
{
	bool on = job->kind == JOB_LOG_ON;
	int err;

	if (on && fe->log_on)
		return -EBUSY; /* a fresh one would lose what the old one has */
	if (on && (err = vhu_fe_log_make(fe)))
		return err;
	fe->log_on = on;
	if (fe->state != VHU_DEVICE_RUNNING)
		return 0;
	err = on ? add(job, VHU_SET_LOG_BASE, 0, 0, 0) : 0;
	if (!err)
		err = add(job, VHU_SET_FEATURES, 0, 0, 0);
	for (unsigned int i = 0; i < fe->nr_rings && !err; i++) {
		if (fe->rings[i].running)
			err = add(job, VHU_SET_VRING_ADDR, i, 0, 0);
	}
	return err ? err : add_fence(fe, job);
}

int vhu_fe_plan(struct vhu_frontend *fe, struct job *job, struct vhu_reason *why)
{
	switch (job->kind) {
	case JOB_GREET:
		return job->nr ? greet_more(fe, job) : plan_greet(fe, job);
	case JOB_START:
		return plan_start(fe, job, why);
	case JOB_STOP:
		return plan_stop(fe, job);
	case JOB_RESET:
		return plan_reset(fe, job);
	case JOB_MEMORY:
		return plan_memory(fe, job, why);
	case JOB_LOG_ON:
	case JOB_LOG_OFF:
		return plan_log(fe, job);
	case JOB_ENABLE:
		return plan_enable(fe, job);
	case JOB_REQUEST:
	case JOB_KIND_END:
		break;
	}
	return 0;
}

void vhu_fe_plan_done(struct vhu_frontend *fe, struct job *job)
{
	switch (job->kind) {
	case JOB_GREET:
		greet_done(fe);
		break;
	case JOB_START:
		if (!job->err) {
			start_done(fe, job);
			break;
		}
		stop_done(fe);
		if (job->fixed_here)
			fe->agreed_fixed = false;
		break;
	case JOB_STOP:
		stop_done(fe);
		break;
	case JOB_RESET:
		reset_done(fe);
		break;
	case JOB_LOG_OFF:
		fe->log_on = false;
		vhu_fe_log_free(fe);
		break;
	case JOB_LOG_ON:
		if (job->err && job->err != -EBUSY) {
			fe->log_on = false;
			vhu_fe_log_free(fe);
		}
		break;
	case JOB_MEMORY:
	case JOB_ENABLE:
	case JOB_REQUEST:
	case JOB_KIND_END:
		break;
	}
}
