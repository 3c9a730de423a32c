/* SPDX-License-Identifier: MIT */
/*
 * One function for what each request says, and one for what its answer means. The answer has been
 * judged by its row of the request table; what the row cannot know is judged here.
 */
#include <frontend/device.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <base/fd.h>

typedef unsigned long long ull;

/* ---- requests ---- */

static int nothing(struct vhu_frontend *fe, struct job *job, const struct step *step,
		   struct vhu_msg *msg)
{
	(void)fe, (void)job, (void)step, (void)msg;
	return 0;
}

static int put_value(struct vhu_frontend *fe, struct job *job, const struct step *step,
		     struct vhu_msg *msg)
{
	(void)fe, (void)job;
	msg->hdr.size = sizeof(msg->u64);
	msg->u64 = step->value;
	return 0;
}

static int put_features(struct vhu_frontend *fe, struct job *job, const struct step *step,
			struct vhu_msg *msg)
{
	(void)job, (void)step;
	msg->hdr.size = sizeof(msg->u64);
	msg->u64 = fe->features;
	if (fe->log_on)
		msg->u64 |= VHU_MASK(VHU_F_LOG_ALL_BIT);
	return 0;
}

static int put_state(struct vhu_frontend *fe, struct job *job, const struct step *step,
		     struct vhu_msg *msg)
{
	(void)fe, (void)job;
	msg->hdr.size = sizeof(msg->state);
	msg->state.index = step->ring;
	msg->state.num = (uint32_t)step->value;
	return 0;
}

static int put_num(struct vhu_frontend *fe, struct job *job, const struct step *step,
		   struct vhu_msg *msg)
{
	put_state(fe, job, step, msg);
	msg->state.num = fe->rings[step->ring].config.num;
	return 0;
}

static int put_base(struct vhu_frontend *fe, struct job *job, const struct step *step,
		    struct vhu_msg *msg)
{
	put_state(fe, job, step, msg);
	msg->state.num = fe->rings[step->ring].base;
	return 0;
}

static int put_addr(struct vhu_frontend *fe, struct job *job, const struct step *step,
		    struct vhu_msg *msg)
{
	const struct vhu_ring_addr *addr = &fe->rings[step->ring].config.addr;

	(void)job;
	msg->hdr.size = sizeof(msg->addr);
	msg->addr.index = step->ring;
	msg->addr.desc = addr->desc_gpa + VHU_FE_UVA_BASE;
	msg->addr.avail = addr->avail_gpa + VHU_FE_UVA_BASE;
	msg->addr.used = addr->used_gpa + VHU_FE_UVA_BASE;
	if (fe->log_on) {
		msg->addr.flags = VHU_VRING_F_LOG;
		msg->addr.log = addr->used_gpa;
	}
	return 0;
}

/* "Ring index in bits 0-7, bit 8: no fd". The fd is borrowed. */
static int put_vring_fd(struct vhu_msg *msg, unsigned int ring, int fd)
{
	msg->hdr.size = sizeof(msg->u64);
	msg->u64 = ring;
	if (fd < 0) {
		msg->u64 |= VHU_VRING_NOFD_MASK;
	} else {
		msg->fds[0] = fd;
		msg->nr_fds = 1;
	}
	return 0;
}

static int put_kick(struct vhu_frontend *fe, struct job *job, const struct step *step,
		    struct vhu_msg *msg)
{
	(void)job;
	return put_vring_fd(msg, step->ring, fe->rings[step->ring].config.kick_fd);
}

static int put_call(struct vhu_frontend *fe, struct job *job, const struct step *step,
		    struct vhu_msg *msg)
{
	const struct fe_ring *ring = &fe->rings[step->ring];
	bool masked = ring->masked || (step->flags & STEP_CALL_MASKED);

	(void)job;
	if (step->flags & STEP_MASK)
		fe->rings[step->ring].mask_queued = false; /* what it says is the wish of now */
	if (masked)
		return put_vring_fd(msg, step->ring, ring->masked_fd);
	return put_vring_fd(msg, step->ring, ring->config.polled ? -1 : ring->config.call_fd);
}

static int put_err(struct vhu_frontend *fe, struct job *job, const struct step *step,
		   struct vhu_msg *msg)
{
	(void)job;
	return put_vring_fd(msg, step->ring, fe->rings[step->ring].err_fd);
}

static void put_region(struct vhu_region *to, const struct vhu_memory_region *from)
{
	to->gpa = from->gpa;
	to->size = from->size;
	to->uva = from->gpa + VHU_FE_UVA_BASE;
	to->mmap_offset = from->offset;
}

static int put_mem_table(struct vhu_frontend *fe, struct job *job, const struct step *step,
			 struct vhu_msg *msg)
{
	struct vhu_memory_region region;
	unsigned int nr = 0;

	(void)job, (void)step;
	while (nr < VHU_MAX_MSG_REGIONS && !vhu_memory_region(fe->memory, nr, &region)) {
		put_region(&msg->mem.region[nr], &region);
		msg->fds[nr++] = region.fd;
	}
	msg->mem.nr = nr;
	msg->nr_fds = nr;
	msg->hdr.size =
		(uint32_t)(offsetof(struct vhu_mem_table, region) + nr * sizeof(struct vhu_region));
	return nr ? 0 : 1;
}

/* The region may be gone again by now: then there is another job behind this one. */
static int put_add_region(struct vhu_frontend *fe, struct job *job, const struct step *step,
			  struct vhu_msg *msg)
{
	const struct told_region *told = &job->plan->region[step->ring];
	struct vhu_memory_region region;

	for (unsigned int i = 0; !vhu_memory_region(fe->memory, i, &region); i++) {
		if (region.gpa != told->gpa || region.size != told->size)
			continue;
		msg->hdr.size = sizeof(msg->reg);
		put_region(&msg->reg.region, &region);
		msg->fds[0] = region.fd;
		msg->nr_fds = 1;
		return 0;
	}
	return 1;
}

static int put_remove_region(struct vhu_frontend *fe, struct job *job, const struct step *step,
			     struct vhu_msg *msg)
{
	const struct told_region *told = &fe->told.region[step->ring];

	(void)job;
	msg->hdr.size = sizeof(msg->reg);
	msg->reg.region.gpa = told->gpa;
	msg->reg.region.size = told->size;
	msg->reg.region.uva = told->gpa + VHU_FE_UVA_BASE;
	msg->reg.region.mmap_offset = told->offset;
	return 0;
}

static int put_log(struct vhu_frontend *fe, struct job *job, const struct step *step,
		   struct vhu_msg *msg)
{
	(void)job, (void)step;
	msg->hdr.size = sizeof(msg->log);
	msg->log.size = fe->log_size;
	msg->log.offset = 0;
	msg->fds[0] = fe->log_fd;
	msg->nr_fds = 1;
	return 0;
}

static int put_config_get(struct vhu_frontend *fe, struct job *job, const struct step *step,
			  struct vhu_msg *msg)
{
	(void)fe, (void)step;
	/* the payload has the size that the answer will have */
	msg->hdr.size = (uint32_t)offsetof(struct vhu_config, bytes) + job->config.size;
	msg->config = job->config;
	return 0;
}

static int put_inflight_get(struct vhu_frontend *fe, struct job *job, const struct step *step,
			    struct vhu_msg *msg)
{
	uint32_t largest = 0;
	unsigned int nr = 0;

	(void)job, (void)step;
	if (fe->inflight_fd >= 0)
		return 1; /* the one that there is, of a backend that may have died */
	for (unsigned int i = 0; i < fe->nr_rings; i++) {
		uint32_t num = fe->rings[i].config.num;

		if (!num)
			continue;
		nr = i + 1;
		largest = num > largest ? num : largest;
	}
	msg->hdr.size = sizeof(msg->inflight);
	msg->inflight.nr_queues = (uint16_t)nr;
	msg->inflight.queue_size = (uint16_t)largest;
	fe->inflight = msg->inflight;
	return 0;
}

static int put_inflight_set(struct vhu_frontend *fe, struct job *job, const struct step *step,
			    struct vhu_msg *msg)
{
	(void)job, (void)step;
	msg->hdr.size = sizeof(msg->inflight);
	msg->inflight = fe->inflight;
	msg->fds[0] = fe->inflight_fd;
	msg->nr_fds = 1;
	return fe->inflight_fd < 0 ? 1 : 0;
}

/* Our end becomes the channel, the other is the backend's and is closed here once it was sent. */
static int put_channel(struct vhu_frontend *fe, struct job *job, const struct step *step,
		       struct vhu_msg *msg)
{
	int pair[2], err;

	(void)job, (void)step;
	vhu_fe_drop_channel(fe);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return 1;
	err = vhu_sock_new(&fe->channel, pair[0], VHU_CHANNEL_BACKEND, 0);
	if (!err)
		err = vhu_fe_watch(fe, vhu_sock_fd(fe->channel), SOURCE_CHANNEL, 0);
	if (err) {
		vhu_fd_close(&pair[1]);
		vhu_fe_drop_channel(fe);
		return 1;
	}
	msg->fds[0] = pair[1];
	msg->nr_fds = 1;
	return 0;
}

/* ---- answers ---- */

/* The value goes to whoever asked. */
static int take_value(struct vhu_frontend *fe, struct job *job, const struct step *step,
		      struct vhu_msg *reply, struct vhu_reason *why)
{
	(void)fe, (void)step, (void)why;
	job->answer.value = reply->u64;
	return 0;
}

static int check_offer(struct vhu_frontend *fe, uint64_t offered, struct vhu_reason *why)
{
	uint64_t need = fe->needed | (fe->agreed_fixed ? fe->features : 0) |
			(fe->log_on ? VHU_MASK(VHU_F_LOG_ALL_BIT) : 0);
	uint64_t missing = need & ~offered;
	unsigned int bit = 0;
	const char *name;

	if (!missing)
		return 0;
	while (!vhu_has_bit(missing, bit))
		bit++;
	name = vhu_feature_name(bit);
	return vhu_refuse(why, -EOPNOTSUPP, "GET_FEATURES: 0x%llx, without 0x%llx (%s%s), which %s",
			  (ull)offered, (ull)missing, name ? name : "?",
			  missing >> bit > 1 ? ", ..." : "",
			  fe->agreed_fixed ? "the device runs with" : "this program needs");
}

static int take_features(struct vhu_frontend *fe, struct job *job, const struct step *step,
			 struct vhu_msg *reply, struct vhu_reason *why)
{
	const uint64_t protocol = VHU_MASK(VHU_F_PROTOCOL_FEATURES_BIT);
	int err;

	if (job->kind != JOB_GREET) /* a fence: all that was sent before has been looked at */
		return 0;
	err = check_offer(fe, reply->u64, why);
	if (err)
		return err;
	fe->offered = reply->u64;
	if (!fe->agreed_fixed)
		fe->features = fe->offered & (fe->wanted | protocol);
	(void)step;
	return 0;
}

static int take_protocol_features(struct vhu_frontend *fe, struct job *job, const struct step *step,
				  struct vhu_msg *reply, struct vhu_reason *why)
{
	(void)job, (void)step;
	fe->protocol_features = reply->u64 & fe->wanted_protocol;
	if (fe->log_on && !vhu_fe_has(fe, VHU_P_LOG_SHMFD_BIT))
		return vhu_refuse(why, -EOPNOTSUPP,
				  "GET_PROTOCOL_FEATURES: no LOG_SHMFD, and there is a dirty log");
	return 0;
}

static int take_queue_num(struct vhu_frontend *fe, struct job *job, const struct step *step,
			  struct vhu_msg *reply, struct vhu_reason *why)
{
	(void)job, (void)step, (void)why;
	/* pairs or rings, who knows; but no device has more than the index can name */
	fe->queue_num = vhu_min_u64(reply->u64, VHU_MAX_RINGS);
	return 0;
}

static int take_mem_slots(struct vhu_frontend *fe, struct job *job, const struct step *step,
			  struct vhu_msg *reply, struct vhu_reason *why)
{
	(void)job, (void)step;
	if (!reply->u64)
		return vhu_refuse(why, -EPROTO, "GET_MAX_MEM_SLOTS reply: no slot at all");
	fe->max_slots = (unsigned int)vhu_min_u64(reply->u64, VHU_MAX_MEM_SLOTS);
	return 0;
}

static int take_base(struct vhu_frontend *fe, struct job *job, const struct step *step,
		     struct vhu_msg *reply, struct vhu_reason *why)
{
	struct fe_ring *ring = &fe->rings[step->ring];
	bool packed = vhu_has_bit(fe->features, VHU_F_RING_PACKED_BIT);

	(void)job;
	if (reply->state.index != step->ring)
		return vhu_refuse(why, -EPROTO, "GET_VRING_BASE reply: ring %u, asked was ring %u",
				  reply->state.index, step->ring);
	if (!packed && reply->state.num > UINT16_MAX)
		return vhu_refuse(why, -EPROTO,
				  "GET_VRING_BASE reply: ring %u, index %u, has 16 bits",
				  step->ring, reply->state.num);
	ring->base = reply->state.num;
	/*
	 * DPDK fills the lower half alone. Stopped means drained: both positions are the same, and one
	 * that is zero beside one that is not was left out.
	 */
	if (packed && !(ring->base >> 16))
		ring->base |= ring->base << 16;
	ring->fresh = false;
	ring->running = false;
	return 0;
}

static int take_config(struct vhu_frontend *fe, struct job *job, const struct step *step,
		       struct vhu_msg *reply, struct vhu_reason *why)
{
	(void)fe, (void)step;
	/* no payload says so; rust-vmm says it with a space of no bytes */
	if (!reply->hdr.size || !reply->config.size) {
		job->err = vhu_refuse(&job->why, -EREMOTEIO, "GET_CONFIG: refused by the backend");
		return 0;
	}
	if (reply->config.offset != job->config.offset || reply->config.size != job->config.size)
		return vhu_refuse(why, -EPROTO,
				  "GET_CONFIG reply: %u bytes at %u, asked were %u at %u",
				  reply->config.size, reply->config.offset, job->config.size,
				  job->config.offset);
	job->config = reply->config;
	job->answer.bytes = job->config.bytes;
	job->answer.size = job->config.size;
	return 0;
}

/* The size that the backend names is only handed back to it, but a lie would hit its successor. */
static int take_inflight(struct vhu_frontend *fe, struct job *job, const struct step *step,
			 struct vhu_msg *reply, struct vhu_reason *why)
{
	const struct vhu_inflight *got = &reply->inflight;
	struct stat st;

	(void)job, (void)step;
	if (!got->mmap_size && !reply->nr_fds)
		return 0; /* it has none to give */
	if (reply->nr_fds != 1)
		return vhu_refuse(why, -EPROTO, "GET_INFLIGHT_FD reply: %u fds came, must be 1",
				  reply->nr_fds);
	/* before anything that asks a file system, which may be one that never answers */
	if (fcntl(reply->fds[0], F_GET_SEALS) < 0 || fstat(reply->fds[0], &st) < 0)
		return vhu_refuse(why, -EPROTO,
				  "GET_INFLIGHT_FD reply: the fd is no file of tmpfs");
	if (!got->mmap_size || got->mmap_offset % 4096 || st.st_size < 0 ||
	    !vhu_range_within(got->mmap_offset, got->mmap_size, (uint64_t)st.st_size))
		return vhu_refuse(why, -EPROTO,
				  "GET_INFLIGHT_FD reply: %llu bytes at %llu of a file of %llu",
				  (ull)got->mmap_size, (ull)got->mmap_offset, (ull)st.st_size);
	fe->inflight.mmap_size = got->mmap_size;
	fe->inflight.mmap_offset = got->mmap_offset;
	fe->inflight_fd = vhu_msg_take_fd(reply, 0);
	return 0;
}

const struct message *vhu_fe_message(uint32_t request)
{
	static const struct message messages[VHU_REQUEST_END] = {
		[VHU_GET_FEATURES] = { .fill = nothing, .answer = take_features },
		[VHU_SET_FEATURES] = { .fill = put_features },
		[VHU_SET_OWNER] = { .fill = nothing },
		[VHU_SET_MEM_TABLE] = { .fill = put_mem_table },
		[VHU_SET_LOG_BASE] = { .fill = put_log },
		[VHU_SET_VRING_NUM] = { .fill = put_num },
		[VHU_SET_VRING_ADDR] = { .fill = put_addr },
		[VHU_SET_VRING_BASE] = { .fill = put_base },
		[VHU_GET_VRING_BASE] = { .fill = put_state, .answer = take_base },
		[VHU_SET_VRING_KICK] = { .fill = put_kick },
		[VHU_SET_VRING_CALL] = { .fill = put_call },
		[VHU_SET_VRING_ERR] = { .fill = put_err },
		[VHU_GET_PROTOCOL_FEATURES] = { .fill = nothing, .answer = take_protocol_features },
		[VHU_SET_PROTOCOL_FEATURES] = { .fill = put_value },
		[VHU_GET_QUEUE_NUM] = { .fill = nothing, .answer = take_queue_num },
		[VHU_SET_VRING_ENABLE] = { .fill = put_state },
		[VHU_SEND_RARP] = { .fill = put_value },
		[VHU_NET_SET_MTU] = { .fill = put_value },
		[VHU_SET_BACKEND_REQ_FD] = { .fill = put_channel, .owns_fds = true },
		[VHU_GET_CONFIG] = { .fill = put_config_get, .answer = take_config },
		[VHU_SET_CONFIG] = { .fill = put_config_get },
		[VHU_GET_INFLIGHT_FD] = { .fill = put_inflight_get, .answer = take_inflight },
		[VHU_SET_INFLIGHT_FD] = { .fill = put_inflight_set },
		[VHU_RESET_DEVICE] = { .fill = nothing },
		[VHU_GET_MAX_MEM_SLOTS] = { .fill = nothing, .answer = take_mem_slots },
		[VHU_ADD_MEM_REG] = { .fill = put_add_region },
		[VHU_REM_MEM_REG] = { .fill = put_remove_region },
		[VHU_SET_STATUS] = { .fill = put_value },
		[VHU_GET_STATUS] = { .fill = nothing, .answer = take_value },
	};

	return request < VHU_REQUEST_END && messages[request].fill ? &messages[request] : NULL;
}
