/* SPDX-License-Identifier: MIT */
/*
 * What a program can ask for: judged against what is agreed and how the device stands, then queued.
 * And what it can look up. Sends nothing itself.
 */
#include <frontend/device.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_queued(const struct vhu_frontend *fe, enum job_kind kind)
{
	for (const struct job *job = fe->jobs; job; job = job->next) {
		if (job->kind == kind)
			return true;
	}
	return false;
}

/* ---- jobs ---- */

int vhu_frontend_start(struct vhu_frontend *frontend, vhu_done_fn *done, void *arg)
{
	if (frontend->want_running || is_queued(frontend, JOB_START))
		return -EBUSY;
	if (frontend->state == VHU_DEVICE_FAILED)
		return -ENOTCONN;
	return vhu_fe_job(frontend, JOB_START, NULL, done, arg, NULL);
}

int vhu_frontend_stop(struct vhu_frontend *frontend, vhu_done_fn *done, void *arg)
{
	vhu_fe_cancel_start(frontend);
	return vhu_fe_job(frontend, JOB_STOP, NULL, done, arg, NULL);
}

int vhu_frontend_reset(struct vhu_frontend *frontend, vhu_done_fn *done, void *arg)
{
	vhu_fe_cancel_start(frontend);
	return vhu_fe_job(frontend, JOB_RESET, NULL, done, arg, NULL);
}

int vhu_frontend_memory_changed(struct vhu_frontend *frontend, vhu_done_fn *done, void *arg)
{
	return vhu_fe_job(frontend, JOB_MEMORY, NULL, done, arg, NULL);
}

int vhu_frontend_log(struct vhu_frontend *frontend, bool on, vhu_done_fn *done, void *arg)
{
	if (on && !vhu_fe_is_greeted(frontend))
		return -ENOTCONN;
	if (on && (!vhu_has_bit(frontend->offered, VHU_F_LOG_ALL_BIT) ||
		   !vhu_fe_has(frontend, VHU_P_LOG_SHMFD_BIT)))
		return -EOPNOTSUPP;
	return vhu_fe_job(frontend, on ? JOB_LOG_ON : JOB_LOG_OFF, NULL, done, arg, NULL);
}

int vhu_frontend_enable(struct vhu_frontend *frontend, unsigned int first, unsigned int nr,
			bool enable, vhu_done_fn *done, void *arg)
{
	struct job *job;
	int err;

	if (first > frontend->nr_rings || nr > frontend->nr_rings - first)
		return -EINVAL;
	if (vhu_fe_is_greeted(frontend) &&
	    !vhu_has_bit(frontend->offered, VHU_F_PROTOCOL_FEATURES_BIT))
		return -EOPNOTSUPP;
	err = vhu_fe_job(frontend, JOB_ENABLE, NULL, done, arg, &job);
	if (err)
		return err;
	job->enable = enable;
	job->first = first;
	job->count = nr;
	for (unsigned int i = first; i < first + nr; i++)
		frontend->rings[i].enabled = enable;
	return 0;
}

/* ---- single requests ---- */

static int request(struct vhu_frontend *fe, enum vhu_protocol_bit bit, const struct step *step,
		   vhu_done_fn *done, void *arg, struct job **ret_job)
{
	if (!vhu_fe_is_greeted(fe))
		return -ENOTCONN;
	if (!vhu_fe_has(fe, bit))
		return -EOPNOTSUPP;
	return vhu_fe_job(fe, JOB_REQUEST, step, done, arg, ret_job);
}

static bool is_config_range(uint32_t offset, uint32_t size)
{
	return size && vhu_range_within(offset, size, VHU_MAX_CONFIG_SIZE);
}

int vhu_frontend_get_config(struct vhu_frontend *frontend, uint32_t offset, uint32_t size,
			    vhu_done_fn *done, void *arg)
{
	const struct step step = { .request = VHU_GET_CONFIG };
	struct job *job;
	int err;

	if (!is_config_range(offset, size))
		return -EINVAL;
	err = request(frontend, VHU_P_CONFIG_BIT, &step, done, arg, &job);
	if (err)
		return err;
	job->config.offset = offset;
	job->config.size = size;
	return 0;
}

int vhu_frontend_set_config(struct vhu_frontend *frontend, uint32_t offset, const void *bytes,
			    uint32_t size, uint32_t flags, vhu_done_fn *done, void *arg)
{
	const struct step step = { .request = VHU_SET_CONFIG };
	struct job *job;
	int err;

	if (!is_config_range(offset, size) || flags > 1)
		return -EINVAL;
	err = request(frontend, VHU_P_CONFIG_BIT, &step, done, arg, &job);
	if (err)
		return err;
	job->config.offset = offset;
	job->config.size = size;
	job->config.flags = flags;
	memcpy(job->config.bytes, bytes, size);
	return 0;
}

int vhu_frontend_set_mtu(struct vhu_frontend *frontend, unsigned int mtu, vhu_done_fn *done,
			 void *arg)
{
	const struct step step = { .request = VHU_NET_SET_MTU, .value = mtu };

	/* virtio 1.2, 5.1.4.1 */
	if (mtu < 68 || mtu > 65535)
		return -EINVAL;
	frontend->mtu = mtu;
	if (!vhu_fe_is_greeted(frontend) && !done)
		return 0; /* each backend is told at its start */
	return request(frontend, VHU_P_NET_MTU_BIT, &step, done, arg, NULL);
}

int vhu_frontend_rarp(struct vhu_frontend *frontend, const uint8_t mac[6], vhu_done_fn *done,
		      void *arg)
{
	struct step step = { .request = VHU_SEND_RARP };

	memcpy(&step.value, mac, 6);
	return request(frontend, VHU_P_RARP_BIT, &step, done, arg, NULL);
}

int vhu_frontend_get_status(struct vhu_frontend *frontend, vhu_done_fn *done, void *arg)
{
	const struct step step = { .request = VHU_GET_STATUS };

	return request(frontend, VHU_P_STATUS_BIT, &step, done, arg, NULL);
}

int vhu_frontend_set_status(struct vhu_frontend *frontend, uint8_t status, vhu_done_fn *done,
			    void *arg)
{
	const struct step step = { .request = VHU_SET_STATUS, .value = status };

	return request(frontend, VHU_P_STATUS_BIT, &step, done, arg, NULL);
}

int vhu_frontend_acknowledge(struct vhu_frontend *frontend, uint64_t features)
{
	const uint64_t protocol = VHU_MASK(VHU_F_PROTOCOL_FEATURES_BIT);

	if (frontend->want_running || is_queued(frontend, JOB_START))
		return -EBUSY;
	if (!vhu_fe_is_greeted(frontend))
		return -ENOTCONN;
	if (features & ~frontend->offered)
		return -EINVAL;
	frontend->wanted = features;
	frontend->agreed_fixed = true;
	frontend->features = features | (frontend->offered & protocol);
	return 0;
}

/* ---- what is known ---- */

int vhu_frontend_fd(const struct vhu_frontend *frontend)
{
	return frontend->epoll_fd;
}

enum vhu_device_state vhu_frontend_state(const struct vhu_frontend *frontend)
{
	return frontend->state;
}

uint64_t vhu_frontend_offered(const struct vhu_frontend *frontend)
{
	return frontend->offered;
}

uint64_t vhu_frontend_features(const struct vhu_frontend *frontend)
{
	return frontend->features;
}

uint64_t vhu_frontend_protocol_features(const struct vhu_frontend *frontend)
{
	return frontend->protocol_features;
}

uint64_t vhu_frontend_queue_num(const struct vhu_frontend *frontend)
{
	return frontend->queue_num;
}

unsigned int vhu_frontend_max_mem_slots(const struct vhu_frontend *frontend)
{
	return frontend->max_slots;
}
