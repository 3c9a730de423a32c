/* SPDX-License-Identifier: MIT */
/*
 * Requests about the in-flight region: made for the frontend to keep, taken from it after a crash.
 * Knows nothing of what stands in the region.
 *
 * A region comes into force with either request, and stays in force until another one does or the
 * connection ends. Rings take it up when they start: while one runs, both requests are refused.
 *
 * A reset (RESET_DEVICE, RESET_OWNER, status 0) makes the driver take all buffers back, also those
 * that we had in flight. To hand one of them out again would be to write to memory that the driver
 * uses for something else by now, so the whole record is forgotten. A frontend that resets a device
 * whose backend is gone cannot tell anybody: it has to ask for a new region, as the specification
 * says of a reset of the virtual machine.
 */
#include <backend/device.h>

#include <errno.h>

#include <base/fd.h>
#include <ring/record.h>

static bool is_packed(const struct vhu_backend *be)
{
	return vhu_has_bit(be->features, VHU_F_RING_PACKED_BIT);
}

static void release_area(void *area)
{
	vhu_inflight_area_free(area);
}

/* What can be said of the numbers without looking at any memory. */
static int judge_numbers(const struct vhu_backend *be, const struct vhu_inflight *desc,
			 struct vhu_reason *why)
{
	if (!desc->nr_queues || desc->nr_queues > be->nr_rings)
		return vhu_refuse(why, -EINVAL,
				  "in-flight region: %u queues, the device has %u rings",
				  desc->nr_queues, be->nr_rings);
	if (!desc->queue_size || desc->queue_size > VHU_MAX_RING_SIZE)
		return vhu_refuse(why, -EINVAL, "in-flight region: queue size %u, must be 1 to %u",
				  desc->queue_size, VHU_MAX_RING_SIZE);
	for (unsigned int i = 0; i < be->nr_rings; i++) {
		if (be->rings[i].running)
			return vhu_refuse(why, -EBUSY, "in-flight region: ring %u is started", i);
	}
	return 0;
}

/* The one before is released when no reader can be storing to it, before the reply is sent. */
static void replace(struct vhu_backend *be, struct vhu_inflight_area *area)
{
	if (be->inflight)
		vhu_be_retire(be, release_area, be->inflight);
	be->inflight = area;
}

/* Rings that were stopped without having been asked for their base: their records are closed. */
static void close_records(struct vhu_backend *be)
{
	for (unsigned int i = 0; i < be->nr_rings; i++) {
		vhu_be_ring_base(&be->rings[i]);
		vhu_record_end(be->rings[i].queue);
	}
}

static int get_inflight_fd(struct vhu_backend *be, struct vhu_msg *msg, struct vhu_msg *reply,
			   struct vhu_reason *why)
{
	const struct vhu_mem_owner owner = { .domain = be->domain, .poisoned = &be->poisoned };
	const struct vhu_inflight *desc = &msg->inflight;
	struct vhu_inflight_area *area;
	int err;

	(void)reply;
	err = judge_numbers(be, desc, why);
	if (!err)
		err = vhu_inflight_make(&area, &owner, desc->nr_queues, desc->queue_size,
					is_packed(be), !be->have_features, why);
	if (err)
		return err;
	replace(be, area);
	return 0;
}

static void get_inflight_fd_finish(struct vhu_backend *be, const struct vhu_msg *msg,
				   struct vhu_msg *reply)
{
	close_records(be);
	/* with or without the padding that the frontend's compiler put at the end */
	reply->hdr.size = msg->hdr.size;
	reply->inflight.mmap_size = be->inflight->size;
	reply->inflight.mmap_offset = 0;
	reply->inflight.nr_queues = (uint16_t)be->inflight->nr_queues;
	reply->inflight.queue_size = (uint16_t)be->inflight->queue_size;
	reply->fds[0] = vhu_fd_take(&be->inflight->fd);
	reply->nr_fds = 1;
}

static int set_inflight_fd(struct vhu_backend *be, struct vhu_msg *msg, struct vhu_msg *reply,
			   struct vhu_reason *why)
{
	const struct vhu_mem_owner owner = { .domain = be->domain, .poisoned = &be->poisoned };
	struct vhu_inflight_area *area;
	int err;

	(void)reply;
	err = judge_numbers(be, &msg->inflight, why);
	if (!err)
		err = vhu_inflight_adopt(&area, &owner, msg->fds[0], &msg->inflight, is_packed(be),
					 why);
	if (err)
		return err;
	/* where it is not known yet what the rings will be, their starts judge */
	err = be->have_features ? vhu_inflight_judge(area, is_packed(be), why) : 0;
	if (err) {
		vhu_inflight_area_free(area);
		return err;
	}
	replace(be, area);
	return 0;
}

static void set_inflight_fd_finish(struct vhu_backend *be, const struct vhu_msg *msg,
				   struct vhu_msg *reply)
{
	(void)msg, (void)reply;
	close_records(be);
}

void vhu_be_inflight_forget(struct vhu_backend *be)
{
	if (!be->inflight)
		return;
	close_records(be);
	vhu_inflight_forget(be->inflight, is_packed(be));
}

const struct handler *vhu_be_inflight_handler(uint32_t request)
{
	static const struct handler handlers[VHU_REQUEST_END] = {
		[VHU_GET_INFLIGHT_FD] = { get_inflight_fd, get_inflight_fd_finish },
		[VHU_SET_INFLIGHT_FD] = { set_inflight_fd, set_inflight_fd_finish },
	};

	return handlers[request].handle ? &handlers[request] : NULL;
}
