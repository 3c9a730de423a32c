/* SPDX-License-Identifier: MIT */
/*
 * Requests about one ring. The index has been judged by the row.
 */
#include <backend/device.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <base/fd.h>
#include <ring/record.h>

static struct ring *ring_of(struct vhu_backend *be, const struct vhu_msg *msg, unsigned int *ret_i)
{
	*ret_i = (unsigned int)vhu_wire_ring(VHU_CHANNEL_MAIN, msg);
	return &be->rings[*ret_i];
}

static bool is_packed(const struct vhu_backend *be)
{
	return vhu_has_bit(be->features, VHU_F_RING_PACKED_BIT);
}

static int set_vring_num(struct vhu_backend *be, struct vhu_msg *msg, struct vhu_msg *reply,
			 struct vhu_reason *why)
{
	unsigned int i;
	struct ring *ring = ring_of(be, msg, &i);
	uint32_t num = msg->state.num;
	bool packed = is_packed(be);

	(void)reply;
	if (!num || num > VHU_MAX_RING_SIZE || (!packed && !vhu_is_power_of_two(num)))
		return vhu_refuse(why, -EINVAL,
				  "SET_VRING_NUM: ring %u, num %u, must be %s up to %u", i, num,
				  packed ? "at least 1 and" : "a power of two", VHU_MAX_RING_SIZE);
	if (ring->running)
		return vhu_refuse(why, -EBUSY, "SET_VRING_NUM: ring %u is started", i);
	ring->num = num;
	return 0;
}

static int set_vring_base(struct vhu_backend *be, struct vhu_msg *msg, struct vhu_msg *reply,
			  struct vhu_reason *why)
{
	unsigned int i;
	struct ring *ring = ring_of(be, msg, &i);

	(void)reply;
	/* a packed ring's has 32; whether it fits the ring is judged at the start */
	if (!is_packed(be) && msg->state.num > UINT16_MAX)
		return vhu_refuse(why, -EINVAL, "SET_VRING_BASE: ring %u, index %u, has 16 bits", i,
				  msg->state.num);
	if (ring->running)
		return vhu_refuse(why, -EBUSY, "SET_VRING_BASE: ring %u is started", i);
	ring->base = msg->state.num;
	ring->base_in_queue = false;
	return 0;
}

static int set_vring_addr(struct vhu_backend *be, struct vhu_msg *msg, struct vhu_msg *reply,
			  struct vhu_reason *why)
{
	unsigned int i;
	struct ring *ring = ring_of(be, msg, &i);
	struct vhu_vring_addr old = ring->addr;
	bool had = ring->have_addr;
	int err;

	(void)reply;
	if (msg->addr.flags & ~(uint32_t)VHU_VRING_F_LOG)
		return vhu_refuse(why, -EINVAL,
				  "SET_VRING_ADDR: ring %u, flags 0x%x, only 0x1 is known", i,
				  msg->addr.flags);
	if (msg->addr.desc % 16 || msg->addr.avail % 2 || msg->addr.used % 4)
		return vhu_refuse(why, -EINVAL,
				  "SET_VRING_ADDR: ring %u, desc 0x%llx avail 0x%llx used 0x%llx, "
				  "must be aligned to 16, 2 and 4",
				  i, (unsigned long long)msg->addr.desc,
				  (unsigned long long)msg->addr.avail,
				  (unsigned long long)msg->addr.used);
	ring->addr = msg->addr;
	ring->have_addr = true;
	err = vhu_be_ring_update(be, i, why);
	if (err) {
		ring->addr = old;
		ring->have_addr = had;
	}
	return err;
}

static int get_vring_base(struct vhu_backend *be, struct vhu_msg *msg, struct vhu_msg *reply,
			  struct vhu_reason *why)
{
	unsigned int i;
	struct ring *ring = ring_of(be, msg, &i);

	(void)reply, (void)why;
	vhu_be_ring_act(be, i, RING_STOP);
	vhu_be_ring_update(be, i, NULL); /* stopping cannot fail */
	vhu_be_retire_fd(be, &ring->kick_fd);
	vhu_be_forget_call(be, i);
	ring->kick_said = ring->call_said = ring->by_message = false;
	return 0;
}

static void get_vring_base_finish(struct vhu_backend *be, const struct vhu_msg *msg,
				  struct vhu_msg *reply)
{
	unsigned int i;
	struct ring *ring = ring_of(be, msg, &i);

	reply->state.index = i;
	reply->state.num = vhu_be_ring_base(ring);
	vhu_record_told(ring->queue);
}

/* An fd that can be told apart by nothing but its name in /proc. */
static int judge_eventfd(int fd, const char *name, unsigned int i, struct vhu_reason *why)
{
	static const char want[] = "anon_inode:[eventfd]";
	char path[32], link[64];
	ssize_t len;
	int err;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	len = readlink(path, link, sizeof(link) - 1);
	if (len < 0)
		return vhu_refuse(why, -EPROTO,
				  "%s: ring %u, cannot tell whether fd is an eventfd: %s", name, i,
				  strerror(errno));
	link[len] = 0;
	if (strcmp(link, want) != 0)
		return vhu_refuse(why, -EPROTO, "%s: ring %u, fd is no eventfd", name, i);
	/* with the flag set a write never waits; the peer shares it, see VHU_FAULT_CALL_BLOCKED */
	err = vhu_fd_nonblock(fd);
	if (err)
		return vhu_refuse(why, -EPROTO, "%s: ring %u, fd cannot be set up: %s", name, i,
				  strerror(-err));
	return 0;
}

/*
 * Puts the message's fd (-1 with the no-fd bit) into a slot of the ring; the one that was there
 * goes when no reader can be using it.
 */
static int replace_fd(struct vhu_backend *be, struct vhu_msg *msg, int *slot, const char *name,
		      unsigned int i, struct vhu_reason *why)
{
	int err;

	if (msg->nr_fds) {
		err = judge_eventfd(msg->fds[0], name, i, why);
		if (err)
			return err;
	}
	vhu_be_retire_fd(be, slot);
	*slot = vhu_msg_take_fd(msg, 0);
	return 0;
}

static int set_vring_kick(struct vhu_backend *be, struct vhu_msg *msg, struct vhu_msg *reply,
			  struct vhu_reason *why)
{
	unsigned int i;
	struct ring *ring = ring_of(be, msg, &i);
	int err, old = ring->kick_fd;

	(void)reply;
	err = vhu_be_ring_check(be, i, why);
	if (!err)
		err = replace_fd(be, msg, &ring->kick_fd, "SET_VRING_KICK", i, why);
	if (err)
		return err;
	if (ring->running && be->ops.queue_stopped)
		be->ops.queue_stopped(be->arg, i, old);
	ring->kick_said = true;
	ring->by_message = false;
	vhu_be_ring_act(be, i, RING_START);
	err = vhu_be_ring_update(be, i, why);
	if (err) {
		vhu_be_ring_act(be, i, RING_STOP);
		vhu_be_ring_update(be, i, NULL); /* stopping cannot fail */
	}
	return err;
}

static int set_vring_call(struct vhu_backend *be, struct vhu_msg *msg, struct vhu_msg *reply,
			  struct vhu_reason *why)
{
	unsigned int i;
	struct ring *ring = ring_of(be, msg, &i);
	int err = 0;

	(void)reply;
	if (msg->nr_fds)
		err = judge_eventfd(msg->fds[0], "SET_VRING_CALL", i, why);
	if (err)
		return err;
	vhu_be_forget_call(be, i);
	ring->call_fd = vhu_msg_take_fd(msg, 0);
	ring->call_said = true;
	/* the data side raises on the new fd what the old one may have swallowed */
	ring->serial++;
	return ring->running ? vhu_be_ring_update(be, i, why) : 0;
}

static int set_vring_err(struct vhu_backend *be, struct vhu_msg *msg, struct vhu_msg *reply,
			 struct vhu_reason *why)
{
	unsigned int i;
	struct ring *ring = ring_of(be, msg, &i);
	int err;

	(void)reply;
	err = replace_fd(be, msg, &ring->err_fd, "SET_VRING_ERR", i, why);
	if (err)
		return err;
	ring->err_said = true;
	return ring->running ? vhu_be_ring_update(be, i, why) : 0;
}

/* What it says of a ring that a message started is said of its start and end too. */
static void enable(struct vhu_backend *be, unsigned int i, bool on)
{
	vhu_be_ring_act(be, i, on ? RING_ENABLE : RING_DISABLE);
	if (be->rings[i].by_message)
		vhu_be_ring_act(be, i, on ? RING_START : RING_STOP);
}

static int set_vring_enable(struct vhu_backend *be, struct vhu_msg *msg, struct vhu_msg *reply,
			    struct vhu_reason *why)
{
	unsigned int i;
	enum vhu_ring_state before;
	int err;

	(void)reply;
	ring_of(be, msg, &i);
	if (msg->state.num > 1)
		return vhu_refuse(why, -EINVAL,
				  "SET_VRING_ENABLE: ring %u, value %u, must be 0 or 1", i,
				  msg->state.num);
	before = be->rings[i].state;
	enable(be, i, msg->state.num);
	if (before == be->rings[i].state)
		return 0;
	err = vhu_be_ring_update(be, i, why);
	if (err)
		enable(be, i, !msg->state.num);
	return err;
}

/* Tells the data side of work in a ring that runs. */
static void kick(struct vhu_backend *be, unsigned int i)
{
	struct ring *ring = &be->rings[i];
	const uint64_t one = 1;
	ssize_t done;

	if (ring->kick_said) {
		/* the fd is the frontend's too, which may have made it block */
		if (be->ops.queue_started)
			be->ops.queue_started(be->arg, i, ring->kick_fd);
		return;
	}
	/* never read, so each write is an event; 2^64 of them do not come */
	done = write(ring->kick_fd, &one, sizeof(one));
	(void)done;
}

/*
 * "The ring is also started on the VRING_KICK message." A ring that runs by messages alone is not
 * touched while it is disabled, where others have their transmit ring emptied: user-mode Linux,
 * whose rings are of this kind, disables them and frees their memory, and that is all it says.
 */
static int vring_kick(struct vhu_backend *be, struct vhu_msg *msg, struct vhu_msg *reply,
		      struct vhu_reason *why)
{
	unsigned int i;
	struct ring *ring = ring_of(be, msg, &i);
	int err;

	(void)reply;
	if (msg->state.num)
		return vhu_refuse(why, -EINVAL, "VRING_KICK: ring %u, num %u, must be 0", i,
				  msg->state.num);
	if (ring->running) {
		kick(be, i);
		return 0;
	}
	if (!ring->num || !ring->have_addr || !be->mem)
		return vhu_refuse(why, -EINVAL, "VRING_KICK: ring %u has no %s yet", i,
				  !be->mem   ? "memory" :
				  !ring->num ? "size" :
					       "addresses");
	err = vhu_be_ring_check(be, i, why);
	if (err)
		return err;
	if (!ring->kick_said && ring->kick_fd < 0) {
		err = vhu_be_own_event(&ring->kick_fd);
		if (err)
			return vhu_refuse(why, err, "ring %u: no kick fd: %s", i, strerror(-err));
	}
	ring->by_message = !ring->kick_said;
	if (ring->by_message && ring->state == VHU_RING_STOPPED_DISABLED)
		return 0;
	vhu_be_ring_act(be, i, RING_START);
	err = vhu_be_ring_update(be, i, why);
	if (err) {
		ring->by_message = false;
		vhu_be_ring_act(be, i, RING_STOP);
		vhu_be_ring_update(be, i, NULL); /* stopping cannot fail */
	}
	return err;
}

const struct handler *vhu_be_vring_handler(uint32_t request)
{
	static const struct handler handlers[VHU_REQUEST_END] = {
		[VHU_SET_VRING_NUM] = { set_vring_num, NULL },
		[VHU_SET_VRING_BASE] = { set_vring_base, NULL },
		[VHU_SET_VRING_ADDR] = { set_vring_addr, NULL },
		[VHU_GET_VRING_BASE] = { get_vring_base, get_vring_base_finish },
		[VHU_SET_VRING_KICK] = { set_vring_kick, NULL },
		[VHU_SET_VRING_CALL] = { set_vring_call, NULL },
		[VHU_SET_VRING_ERR] = { set_vring_err, NULL },
		[VHU_SET_VRING_ENABLE] = { set_vring_enable, NULL },
		[VHU_VRING_KICK] = { vring_kick, NULL },
	};

	return handlers[request].handle ? &handlers[request] : NULL;
}
