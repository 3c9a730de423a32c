/* SPDX-License-Identifier: MIT */
/*
 * Requests about memory: the table, its slots, the dirty log. Each builds the new thing whole,
 * makes new views from it, and only then puts it in force.
 */
#include <backend/device.h>

#include <errno.h>

#include <base/fd.h>

static struct vhu_mem_owner owner_of(struct vhu_backend *be)
{
	return (struct vhu_mem_owner){ .domain = be->domain, .poisoned = &be->poisoned };
}

static void release_mem(void *mem)
{
	vhu_mem_free(mem);
}

static void release_dirty(void *dirty)
{
	vhu_dirty_free(dirty);
}

/* Rings that had been started before the memory came. One that cannot run with it is stopped. */
static void start_waiting(struct vhu_backend *be)
{
	struct vhu_reason why;

	for (unsigned int i = 0; i < be->nr_rings; i++) {
		if (be->rings[i].running || !vhu_be_ring_update(be, i, &why))
			continue;
		vhu_be_ring_act(be, i, RING_STOP);
		vhu_be_complain(be, why.text);
	}
}

static int replace_mem(struct vhu_backend *be, struct vhu_mem *mem, struct vhu_reason *why)
{
	const struct device_state next = { .mem = mem, .log = be->log, .features = be->features };
	int err = vhu_be_rings_rebuild(be, &next, why);

	if (err) {
		vhu_mem_free(mem);
		return err;
	}
	if (be->mem)
		vhu_be_retire(be, release_mem, be->mem);
	be->mem = mem;
	start_waiting(be);
	return 0;
}

static int set_mem_table(struct vhu_backend *be, struct vhu_msg *msg, struct vhu_msg *reply,
			 struct vhu_reason *why)
{
	const struct vhu_mem_owner owner = owner_of(be);
	struct vhu_mem *mem;
	int err;

	(void)reply;
	err = vhu_mem_build(&mem, &owner, be->mem, msg->mem.region, msg->fds, msg->mem.nr, why);
	return err ? err : replace_mem(be, mem, why);
}

static int add_mem_reg(struct vhu_backend *be, struct vhu_msg *msg, struct vhu_msg *reply,
		       struct vhu_reason *why)
{
	const struct vhu_mem_owner owner = owner_of(be);
	struct vhu_mem *mem;
	int err;

	(void)reply;
	err = vhu_mem_add(&mem, &owner, be->mem, &msg->reg.region, msg->fds[0], why);
	return err ? err : replace_mem(be, mem, why);
}

static int rem_mem_reg(struct vhu_backend *be, struct vhu_msg *msg, struct vhu_msg *reply,
		       struct vhu_reason *why)
{
	struct vhu_mem *mem;
	int err;

	(void)reply;
	err = vhu_mem_remove(&mem, be->mem, &msg->reg.region, why);
	return err ? err : replace_mem(be, mem, why);
}

static int get_max_mem_slots(struct vhu_backend *be, struct vhu_msg *msg, struct vhu_msg *reply,
			     struct vhu_reason *why)
{
	(void)be, (void)msg, (void)why;
	reply->u64 = VHU_MAX_MEM_SLOTS;
	return 0;
}

static int set_log_base(struct vhu_backend *be, struct vhu_msg *msg, struct vhu_msg *reply,
			struct vhu_reason *why)
{
	const struct vhu_mem_owner owner = owner_of(be);
	struct device_state next = { .mem = be->mem, .features = be->features };
	struct vhu_dirty *dirty;
	int err;

	(void)reply;
	if (!msg->nr_fds)
		return vhu_refuse(why, -EOPNOTSUPP,
				  "SET_LOG_BASE: without LOG_SHMFD the log cannot be reached");
	err = vhu_dirty_new(&dirty, &owner, msg->fds[0], msg->log.offset, msg->log.size, why);
	if (err)
		return err;
	next.log = dirty;
	err = vhu_be_rings_rebuild(be, &next, why);
	if (err) {
		vhu_dirty_free(dirty);
		return err;
	}
	if (be->log)
		vhu_be_retire(be, release_dirty, be->log);
	be->log = dirty;
	return 0;
}

static int set_log_fd(struct vhu_backend *be, struct vhu_msg *msg, struct vhu_msg *reply,
		      struct vhu_reason *why)
{
	/* an fd to be raised when the log was written: the frontend sees the log itself */
	(void)be, (void)msg, (void)reply, (void)why;
	return 0;
}

const struct handler *vhu_be_memory_handler(uint32_t request)
{
	static const struct handler handlers[VHU_REQUEST_END] = {
		[VHU_SET_MEM_TABLE] = { set_mem_table, NULL },
		[VHU_ADD_MEM_REG] = { add_mem_reg, NULL },
		[VHU_REM_MEM_REG] = { rem_mem_reg, NULL },
		[VHU_GET_MAX_MEM_SLOTS] = { get_max_mem_slots, NULL },
		[VHU_SET_LOG_BASE] = { set_log_base, NULL },
		[VHU_SET_LOG_FD] = { set_log_fd, NULL },
	};

	return handlers[request].handle ? &handlers[request] : NULL;
}
