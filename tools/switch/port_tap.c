// SPDX-License-Identifier: MIT
/*
 * Ports whose other end is a tap interface of the kernel. Offloads pass both ways in the net header
 * that the kernel shares with virtio.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <syslog.h>
#include <unistd.h>

#include "common/tap.h"
#include "switch/control.h"

enum {
	FRAME_ROOM = 65664, /* VHU_NET_HEAD_ROOM and VHU_NET_FRAME_MAX, in whole cache lines */
	TAP_CAPS = VHU_NET_CAP_CSUM | VHU_NET_CAP_TSO4 | VHU_NET_CAP_TSO6 | VHU_NET_CAP_ECN,
};

_Static_assert(FRAME_ROOM >= VHU_NET_HEAD_ROOM + VHU_NET_FRAME_MAX, "a frame fits");

struct tap {
	int fd;
	uint8_t *rooms; /* for frames that are read, VHU_NET_BURST times FRAME_ROOM */
	struct iovec rest[VHU_NET_BURST];
	struct vhu_net_frame frames[VHU_NET_BURST];
};

/* ---- On the control thread ---- */

/* Needs a privilege that a program given a ready-made interface may lack: then its maker did it. */
static void bring_up(const struct sw_port *port)
{
	const char *name = port->spec.target;
	int control_fd = tap_control_open(), err;

	if (control_fd < 0)
		return;
	err = port->spec.mtu ? tap_set_mtu(control_fd, name, port->spec.mtu) : 0;
	if (err)
		sw_log(port->sw, LOG_WARNING, "%s: mtu %u of %s cannot be set: %s", port->spec.name,
		       port->spec.mtu, name, strerror(-err));
	err = tap_bring_up(control_fd, name);
	if (err)
		sw_log(port->sw, LOG_WARNING, "%s: %s cannot be brought up: %s", port->spec.name,
		       name, strerror(-err));
	close(control_fd);
}

static int attach(struct sw_port *port, struct tap *tap, char *err, size_t size)
{
	char name[IFNAMSIZ] = "";
	int ret;

	memcpy(name, port->spec.target, strnlen(port->spec.target, IFNAMSIZ - 1));
	tap->fd = tapfd_open(name, false, err, size);
	if (tap->fd < 0)
		return tap->fd;
	ret = tapfd_set_offloads(tap->fd, TAP_CAPS);
	if (ret)
		snprintf(err, size, "%s: offloads: %s", name, strerror(-ret));
	return ret;
}

static int tap_open(struct sw_port *port, char *err, size_t size)
{
	struct tap *tap = calloc(1, sizeof(*tap));
	int ret;

	if (!tap)
		return -ENOMEM;
	port->kind = tap;
	tap->fd = -1;
	tap->rooms = mmap(NULL, (size_t)VHU_NET_BURST * FRAME_ROOM, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (tap->rooms == MAP_FAILED) {
		tap->rooms = NULL;
		return -ENOMEM;
	}
	ret = attach(port, tap, err, size);
	if (ret)
		return ret;
	bring_up(port);
	sw_port_set_up(port, 0, true);
	return 0;
}

static void tap_start(struct sw_port *port)
{
	const struct tap *tap = port->kind;
	struct sw_queue *queue = &port->queue[0];

	sw_queue_watch(queue, tap->fd);
	sw_queue_attend(queue, SW_ATTEND_VISIT);
}

static int tap_close(struct sw_port *port)
{
	sw_queue_unwatch(&port->queue[0]);
	return 0;
}

static void tap_free(struct sw_port *port)
{
	struct tap *tap = port->kind;

	if (!tap)
		return;
	if (tap->fd >= 0)
		close(tap->fd);
	if (tap->rooms)
		munmap(tap->rooms, (size_t)VHU_NET_BURST * FRAME_ROOM);
	free(tap);
}

static void tap_info(const struct sw_port *port, struct sw_port_info *info)
{
	(void)port;
	info->state = "up";
}

/* ---- On a worker ---- */

/* Reads one frame into place i. 1: read. 0: read and of no use. -EAGAIN: there is none. */
static int read_frame(struct tap *tap, unsigned int i)
{
	uint8_t *room = tap->rooms + (size_t)i * FRAME_ROOM + VHU_NET_HEAD_ROOM;
	struct vhu_net_frame *frame = &tap->frames[i];
	uint8_t hdr[TAP_HDR_LEN];
	struct iovec iov[2] = {
		{ .iov_base = hdr, .iov_len = sizeof(hdr) },
		{ .iov_base = room, .iov_len = VHU_NET_FRAME_MAX },
	};
	ssize_t len = readv(tap->fd, iov, 2);

	if (len < 0)
		return errno == EINTR ? 0 : -EAGAIN;
	if (len < TAP_HDR_LEN + SW_ETH_LEN)
		return 0;
	tap_hdr_unpack(hdr, &frame->hdr);
	frame->len = (uint32_t)(len - TAP_HDR_LEN);
	frame->head = room;
	frame->head_len = frame->len < VHU_NET_HEAD_MAX ? (uint16_t)frame->len : VHU_NET_HEAD_MAX;
	frame->nr_iov = frame->len > VHU_NET_HEAD_MAX;
	frame->iov = &tap->rest[i];
	tap->rest[i].iov_base = room + VHU_NET_HEAD_MAX;
	tap->rest[i].iov_len = frame->len - frame->head_len;
	return 1;
}

static bool is_sound(const struct vhu_net_frame *frame)
{
	const uint64_t all = VHU_MASK(VHU_NET_F_CSUM_BIT) | VHU_MASK(VHU_NET_F_HOST_TSO4_BIT) |
			     VHU_MASK(VHU_NET_F_HOST_TSO6_BIT) | VHU_MASK(VHU_NET_F_HOST_ECN_BIT);

	return !vhu_net_hdr_check(&frame->hdr, frame->len, all, NULL);
}

static enum sw_visit tap_visit(struct sw_worker *worker, struct sw_queue *queue)
{
	struct tap *tap = queue->port->kind;
	struct sw_counters *counters = &queue->counters[worker->index];
	unsigned int nr = 0;
	int ret = 0;

	for (unsigned int i = 0; i < worker->budget; i++) {
		ret = read_frame(tap, nr);
		if (ret < 0)
			break;
		if (ret && is_sound(&tap->frames[nr]))
			nr++;
		else
			sw_count(&counters->rx_drop_bad_hdr, 1);
	}
	if (nr)
		sw_forward_burst(&worker->forward, atomic_load(&worker->sw->view), queue,
				 tap->frames, nr);
	if (ret >= 0 || nr)
		return SW_VISIT_MORE;
	/* Each look is a system call here, so only who was told to goes on looking; else the next frame is
	 * an event, since the tap was found empty. A tap that cannot be waited for is looked at by the clock. */
	if (atomic_load_explicit(&queue->mode, memory_order_relaxed) == SW_MODE_POLL)
		return SW_VISIT_DRY;
	if (atomic_load_explicit(&queue->kick_fd, memory_order_relaxed) < 0)
		return SW_VISIT_CLOCK;
	return SW_VISIT_EMPTY;
}

/* It was found empty: what has come since is an event. */
static bool tap_arm(struct sw_queue *queue)
{
	(void)queue;
	return false;
}

static uint32_t tap_caps(const struct sw_queue *queue)
{
	(void)queue;
	return TAP_CAPS;
}

/* The kernel takes frames from any number of threads. */
static bool tap_trylock(struct sw_queue *queue)
{
	(void)queue;
	return true;
}

static void tap_unlock(struct sw_queue *queue)
{
	(void)queue;
}

static int tap_push(struct sw_queue *queue, const struct vhu_net_frame *frame)
{
	const struct tap *tap = queue->port->kind;
	struct iovec iov[VHU_NET_IOV_MAX];
	uint8_t hdr[TAP_HDR_LEN];

	if (frame->nr_iov + 2 > VHU_NET_IOV_MAX)
		return -EMSGSIZE;
	tap_hdr_pack(hdr, &frame->hdr, frame->len);
	iov[0] = (struct iovec){ .iov_base = hdr, .iov_len = sizeof(hdr) };
	iov[1] = (struct iovec){ .iov_base = (void *)(uintptr_t)frame->head,
				 .iov_len = frame->head_len };
	if (frame->nr_iov)
		memcpy(iov + 2, frame->iov, frame->nr_iov * sizeof(*iov));
	if (writev(tap->fd, iov, frame->nr_iov + 2) >= 0)
		return 0;
	/* The interface is down, or has gone. */
	if (errno == EIO || errno == EBADFD)
		return -ENOTCONN;
	return -errno;
}

/* A frame that was written is out: there is nothing to publish, and nothing to take back. */
static int tap_commit(struct sw_queue *queue)
{
	(void)queue;
	return 0;
}

static void tap_rewind(struct sw_queue *queue)
{
	(void)queue;
}

const struct sw_port_ops sw_port_tap_ops = {
	.kind = "tap",
	.open = tap_open,
	.start = tap_start,
	.close = tap_close,
	.free = tap_free,
	.info = tap_info,
	.visit = tap_visit,
	.arm = tap_arm,
	.caps = tap_caps,
	.trylock = tap_trylock,
	.unlock = tap_unlock,
	.push = tap_push,
	.commit = tap_commit,
	.rewind = tap_rewind,
};
