/* SPDX-License-Identifier: MIT */
/*
 * The rings of a frontend: what the program says of them, their eventfds, masking, and where each
 * goes on from. Sends nothing: what the backend has to know is queued.
 */
#include <frontend/device.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <base/atomics.h>
#include <base/fd.h>

/* Both positions 0, both wrap counters 1 (virtio 1.2, 2.8.1). */
#define PACKED_NEW 0x80008000u

static int new_eventfd(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

int vhu_fe_rings_init(struct vhu_frontend *fe)
{
	fe->rings = calloc(fe->nr_rings, sizeof(*fe->rings));
	if (!fe->rings)
		return -ENOMEM;
	for (unsigned int i = 0; i < fe->nr_rings; i++) {
		struct fe_ring *ring = &fe->rings[i];

		ring->config.kick_fd = ring->config.call_fd = -1;
		ring->masked_fd = ring->err_fd = -1;
	}
	return 0;
}

/* Puts a new eventfd into the slot and into the poll set; what was pending on the old one stays so. */
static int renew(struct vhu_frontend *fe, int *slot, enum source source, unsigned int i,
		 bool watched)
{
	int fd = new_eventfd(), err = 0;

	if (fd < 0)
		return fd;
	if (watched)
		err = vhu_fe_watch(fe, fd, source, i);
	if (err) {
		vhu_fd_close(&fd);
		return err;
	}
	if (*slot >= 0) {
		if (source == SOURCE_MASKED && vhu_event_clear(*slot))
			vhu_event_raise(fd);
		vhu_fe_unwatch(fe, *slot);
		vhu_fd_close(slot);
	}
	*slot = fd;
	return 0;
}

int vhu_fe_rings_renew(struct vhu_frontend *fe)
{
	for (unsigned int i = 0; i < fe->nr_rings; i++) {
		struct fe_ring *ring = &fe->rings[i];
		int err = renew(fe, &ring->masked_fd, SOURCE_MASKED, i, !ring->masked);

		if (!err)
			err = renew(fe, &ring->err_fd, SOURCE_ERR, i, true);
		if (err)
			return err;
	}
	return 0;
}

static void close_fds(struct fe_ring *ring)
{
	if (ring->config.driver)
		vhu_driver_set_kick_fd(ring->config.driver, -1);
	vhu_fd_close(&ring->config.kick_fd);
	vhu_fd_close(&ring->config.call_fd);
}

void vhu_fe_rings_free(struct vhu_frontend *fe)
{
	for (unsigned int i = 0; fe->rings && i < fe->nr_rings; i++) {
		struct fe_ring *ring = &fe->rings[i];

		close_fds(ring);
		if (ring->masked_fd >= 0)
			vhu_fd_close(&ring->masked_fd);
		if (ring->err_fd >= 0)
			vhu_fd_close(&ring->err_fd);
	}
	free(fe->rings);
}

/* The program's fd as one of ours, or one that we make. */
static int own_fd(int fd)
{
	if (fd < 0)
		return new_eventfd();
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return fd < 0 ? -errno : fd;
}

static bool has_memory(const struct vhu_frontend *fe, uint64_t gpa, uint64_t len, uint64_t align)
{
	return gpa % align == 0 && vhu_memory_ptr(fe->memory, gpa, len);
}

/* Virtio 1.2, 2.7 and 2.8.1: sizes, alignments, and all of it in guest memory. */
static int check_config(const struct vhu_frontend *fe, const struct vhu_frontend_ring *c)
{
	bool packed = vhu_has_bit(fe->features ? fe->features : fe->wanted, VHU_F_RING_PACKED_BIT);
	uint64_t avail = packed ? 4 : 6 + 2ull * c->num, used = packed ? 4 : 6 + 8ull * c->num;

	if (c->num > VHU_MAX_RING_SIZE || (!packed && !vhu_is_power_of_two(c->num)))
		return -EINVAL;
	if (!has_memory(fe, c->addr.desc_gpa, 16ull * c->num, 16) ||
	    !has_memory(fe, c->addr.avail_gpa, avail, packed ? 4 : 2) ||
	    !has_memory(fe, c->addr.used_gpa, used, 4))
		return -EINVAL;
	return 0;
}

int vhu_frontend_set_ring(struct vhu_frontend *frontend, unsigned int ring,
			  const struct vhu_frontend_ring *config)
{
	struct vhu_frontend_ring c = *config;
	struct fe_ring *r;
	int err;

	if (ring >= frontend->nr_rings || config->size < sizeof(*config))
		return -EINVAL;
	if (frontend->want_running || frontend->state == VHU_DEVICE_STARTING)
		return -EBUSY;
	r = &frontend->rings[ring];
	if (c.driver) {
		c.num = vhu_driver_num(c.driver);
		vhu_driver_addr(c.driver, &c.addr);
	}
	err = c.num ? check_config(frontend, &c) : 0;
	if (err)
		return err;
	c.kick_fd = own_fd(config->kick_fd);
	c.call_fd = -1;
	err = c.kick_fd;
	if (err >= 0 && !c.polled)
		err = c.call_fd = own_fd(config->call_fd);
	if (err < 0) {
		vhu_fd_close(&c.kick_fd);
		return err;
	}
	close_fds(r);
	if (c.num != r->config.num)
		vhu_fd_close(&frontend->inflight_fd); /* it is made for sizes */
	r->config = c;
	r->base = c.base;
	r->fresh = !c.base;
	r->enabled = !c.disabled;
	if (c.driver)
		vhu_driver_set_kick_fd(c.driver, c.kick_fd);
	return 0;
}

int vhu_frontend_kick_fd(const struct vhu_frontend *frontend, unsigned int ring)
{
	return ring < frontend->nr_rings ? frontend->rings[ring].config.kick_fd : -1;
}

int vhu_frontend_call_fd(const struct vhu_frontend *frontend, unsigned int ring)
{
	return ring < frontend->nr_rings ? frontend->rings[ring].config.call_fd : -1;
}

uint32_t vhu_frontend_base(const struct vhu_frontend *frontend, unsigned int ring)
{
	return ring < frontend->nr_rings ? frontend->rings[ring].base : 0;
}

void vhu_fe_kick(struct vhu_frontend *fe, unsigned int i)
{
	vhu_event_raise(fe->rings[i].config.kick_fd);
}

void vhu_fe_call(struct vhu_frontend *fe, unsigned int i)
{
	const struct fe_ring *ring = &fe->rings[i];

	vhu_event_raise(ring->masked ? ring->masked_fd : ring->config.call_fd);
}

/*
 * ---- Masking ----
 *
 * A ring that is masked has its calls sent to masked_fd, and nobody looks at that. One that is not
 * has it in our poll set: whatever the backend writes there, because it had not yet seen the new
 * call fd, is passed on. So no moment exists at which a call could be lost.
 */

int vhu_frontend_mask(struct vhu_frontend *frontend, unsigned int ring, bool mask)
{
	const struct step step = { .request = VHU_SET_VRING_CALL,
				   .flags = STEP_MASK,
				   .ring = (uint16_t)ring };
	struct fe_ring *r;
	int err;

	if (ring >= frontend->nr_rings)
		return -EINVAL;
	r = &frontend->rings[ring];
	if (r->masked == mask)
		return 0;
	if (mask)
		vhu_fe_unwatch(frontend, r->masked_fd);
	else if (r->masked_fd >= 0)
		vhu_fe_watch(frontend, r->masked_fd, SOURCE_MASKED, ring);
	r->masked = mask;
	/* while starting, the start may have told already: tell again */
	if (r->mask_queued || (!r->running && frontend->state != VHU_DEVICE_STARTING))
		return 0;
	err = vhu_fe_job(frontend, JOB_REQUEST, &step, NULL, NULL, NULL);
	r->mask_queued = !err;
	return err;
}

bool vhu_frontend_pending(struct vhu_frontend *frontend, unsigned int ring)
{
	return ring < frontend->nr_rings && frontend->rings[ring].masked &&
	       frontend->rings[ring].masked_fd >= 0 &&
	       vhu_event_clear(frontend->rings[ring].masked_fd);
}

void vhu_fe_ring_forward(struct vhu_frontend *fe, unsigned int i)
{
	struct fe_ring *ring = &fe->rings[i];

	if (!ring->masked && vhu_event_clear(ring->masked_fd) && ring->config.call_fd >= 0)
		vhu_event_raise(ring->config.call_fd);
}

void vhu_fe_ring_failed(struct vhu_frontend *fe, unsigned int i)
{
	if (vhu_event_clear(fe->rings[i].err_fd) && fe->ops.ring_error)
		fe->ops.ring_error(fe->arg, i);
}

/* ---- where a ring goes on from ---- */

/* The used index as the dead backend left it: all before it is done, all after it is not. */
static uint32_t used_index(const struct vhu_frontend *fe, const struct fe_ring *ring)
{
	const uint16_t *used = vhu_memory_ptr(fe->memory, ring->config.addr.used_gpa, 4);

	return used ? vhu_load_acquire(&used[1]) : ring->base;
}

int vhu_fe_ring_prepare(struct vhu_frontend *fe, unsigned int i, bool again, struct vhu_reason *why)
{
	struct fe_ring *ring = &fe->rings[i];
	bool packed = vhu_has_bit(fe->features, VHU_F_RING_PACKED_BIT);
	bool inflight = fe->inflight_fd >= 0;

	/* features may have come after the description */
	if (check_config(fe, &ring->config))
		return vhu_refuse(why, -EINVAL,
				  "ring %u: %u entries, addresses 0x%llx 0x%llx 0x%llx, do not fit "
				  "a %s ring in guest memory",
				  i, ring->config.num,
				  (unsigned long long)ring->config.addr.desc_gpa,
				  (unsigned long long)ring->config.addr.avail_gpa,
				  (unsigned long long)ring->config.addr.used_gpa,
				  packed ? "packed" : "split");
	if (ring->config.driver) {
		const uint64_t of_rings = VHU_MASK(VHU_F_RING_PACKED_BIT) |
					  VHU_MASK(VHU_F_EVENT_IDX_BIT) |
					  VHU_MASK(VHU_F_IN_ORDER_BIT);
		uint64_t made_for = vhu_driver_features(ring->config.driver);

		if ((made_for ^ fe->features) & of_rings)
			return vhu_refuse(
				why, -EINVAL,
				"ring %u: its driver was made for features 0x%llx, agreed "
				"are 0x%llx",
				i, (unsigned long long)made_for, (unsigned long long)fe->features);
		if (again && !inflight)
			vhu_driver_resubmit(ring->config.driver);
		ring->base = vhu_driver_base(ring->config.driver);
		return 0;
	}
	if (again && !packed)
		ring->base = used_index(fe, ring);
	else if (again && !inflight)
		return vhu_refuse(why, -ENODATA,
				  "ring %u is packed, and its backend died without an in-flight "
				  "region: nobody knows where it stood",
				  i);
	else if (packed && ring->fresh)
		ring->base = PACKED_NEW;
	return 0;
}

void vhu_fe_rings_forget_backend(struct vhu_frontend *fe)
{
	bool packed = vhu_has_bit(fe->features, VHU_F_RING_PACKED_BIT);

	for (unsigned int i = 0; i < fe->nr_rings; i++) {
		struct fe_ring *ring = &fe->rings[i];

		if (!ring->config.num)
			continue;
		if (ring->config.driver)
			ring->base = vhu_driver_base(ring->config.driver);
		else if (!packed)
			ring->base = used_index(fe, ring);
	}
}
