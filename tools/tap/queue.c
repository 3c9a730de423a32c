// SPDX-License-Identifier: MIT
/*
 * Frames between a queue of the interface and a pair of rings; knows nothing of how a backend is
 * found. A frame is copied once each way, by the kernel: into a transmit buffer, out of the receive
 * buffers.
 */

#include "tap/queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/tap.h"

enum {
	SEND_BUDGET = 64,   /* frames read from the interface before others get their turn */
	RECEIVE_BUDGET = 8, /* bursts of VHU_NET_BURST, the same */
	TX_BUFFERS = 256,   /* of 64 KiB; pages that no frame was long enough for do not exist */
	RX_BUFFER_MIN = 2048,
	ETH_HDR_LEN = 14,
	PAGE = 4096,
};

static uint64_t round_up(uint64_t value, uint64_t to)
{
	return (value + to - 1) / to * to;
}

/* ---- Interface to backend ---- */

/* Reads one frame into the buffer. 1: sent, or of no use. 0: there is none. */
static int send_frame(struct queue *queue, uint8_t *buffer)
{
	struct queue_counters *counters = &queue->counters;
	struct vhu_net_hdr hdr;
	uint8_t bytes[TAP_HDR_LEN], beyond;
	struct iovec iov[] = {
		{ .iov_base = bytes, .iov_len = sizeof(bytes) },
		{ .iov_base = buffer, .iov_len = VHU_NET_FRAME_MAX },
		{ .iov_base = &beyond, .iov_len = 1 }, /* the kernel cuts without a word */
	};
	ssize_t n = readv(queue->tap_fd, iov, 3);
	uint32_t len;

	if (n < 0)
		return errno == EINTR;
	if (n < TAP_HDR_LEN + ETH_HDR_LEN || n > TAP_HDR_LEN + VHU_NET_FRAME_MAX) {
		counters->drop_long++;
		return 1;
	}
	len = (uint32_t)n - TAP_HDR_LEN;
	tap_hdr_unpack(bytes, &hdr);
	/* It was queued before the offloads of the interface were last set. */
	if ((hdr.flags || hdr.gso_type) && vhu_net_hdr_check(&hdr, len, queue->features, NULL)) {
		counters->drop_header++;
		return 1;
	}
	if (vhu_net_tx_send(queue->tx, &hdr, len))
		return 0;
	counters->sent_frames++;
	counters->sent_bytes += len;
	return 1;
}

/* A ring cannot be followed any more. */
static void broken(struct queue *queue, const struct vhu_driver *driver)
{
	const char *fault = vhu_driver_fault(driver);

	queue_halt(queue);
	queue->set->ops->broken(queue->set->arg, fault ? fault : "it cannot be followed");
}

static void set_reading(struct queue *queue, bool is_reading)
{
	if (queue->is_reading == is_reading)
		return;
	queue->is_reading = is_reading;
	loop_set_events(queue->tap_source, is_reading ? EPOLLIN : 0);
}

static void send_burst(struct queue *queue)
{
	struct vhu_driver *driver = vhu_net_tx_driver(queue->tx);
	uint8_t *buffer = NULL;

	for (int i = 0; i < SEND_BUDGET; i++) {
		buffer = vhu_net_tx_buffer(queue->tx);
		if (!buffer || !send_frame(queue, buffer))
			break;
	}
	vhu_net_tx_publish(queue->tx);
	if (buffer)
		return;
	/* The ring is full: frames wait in the kernel, which drops what is too much. */
	if (vhu_driver_fault(driver))
		broken(queue, driver);
	else if (!vhu_driver_arm(driver))
		set_reading(queue, false);
}

static void on_tap(void *arg, uint32_t events)
{
	struct queue *queue = arg;
	struct queue_set *set = queue->set;

	if (events & (EPOLLERR | EPOLLHUP)) {
		queue_halt(queue);
		loop_remove(queue->tap_source);
		queue->tap_source = NULL;
		set->ops->vanished(set->arg);
	} else if (queue->is_running && queue->is_reading) {
		send_burst(queue);
	}
}

static void on_tx_call(void *arg, uint32_t events)
{
	struct queue *queue = arg;

	(void)events;
	if (!queue->is_running || queue->is_reading)
		return;
	vhu_driver_disarm(vhu_net_tx_driver(queue->tx));
	set_reading(queue, true);
	send_burst(queue);
}

void queue_send_own(struct queue *queue, const uint8_t *frame, uint32_t len)
{
	uint8_t *buffer = queue->is_running ? vhu_net_tx_buffer(queue->tx) : NULL;

	if (!buffer)
		return;
	memcpy(buffer, frame, len);
	if (!vhu_net_tx_send(queue->tx, NULL, len))
		vhu_net_tx_publish(queue->tx);
}

/* ---- Backend to interface ---- */

static void receive_frame(struct queue *queue, const struct vhu_net_frame *frame)
{
	struct queue_counters *counters = &queue->counters;
	struct iovec iov[VHU_NET_IOV_MAX];
	uint8_t hdr[TAP_HDR_LEN];

	if (frame->nr_iov > VHU_NET_IOV_MAX - 2) {
		counters->drop_bad++;
		return;
	}
	tap_hdr_pack(hdr, &frame->hdr, frame->len);
	iov[0] = (struct iovec){ .iov_base = hdr, .iov_len = sizeof(hdr) };
	iov[1] = (struct iovec){ .iov_base = (void *)(uintptr_t)frame->head,
				 .iov_len = frame->head_len };
	if (frame->nr_iov)
		memcpy(iov + 2, frame->iov, frame->nr_iov * sizeof(*iov));
	if (writev(queue->tap_fd, iov, frame->nr_iov + 2) >= 0) {
		counters->received_frames++;
		counters->received_bytes += frame->len;
	} else if (errno == EIO) {
		counters->drop_down++;
	} else {
		counters->drop_refused++;
	}
}

/* The frames of one burst; negative: the ring is broken. */
static int receive_burst(struct queue *queue)
{
	int nr = vhu_net_rx_pull(queue->rx, VHU_NET_BURST);
	uint64_t bad = vhu_net_rx_bad(queue->rx);

	queue->counters.drop_bad += bad - queue->bad_seen;
	queue->bad_seen = bad;
	for (int i = 0; i < nr; i++)
		receive_frame(queue, &vhu_net_rx_frames(queue->rx)[i]);
	if (nr >= 0)
		vhu_net_rx_done(queue->rx);
	return nr;
}

static void receive(struct queue *queue)
{
	struct vhu_driver *driver = vhu_net_rx_driver(queue->rx);
	const uint64_t one = 1;

	queue->has_more = false;
	vhu_driver_disarm(driver);
	for (int i = 0; i < RECEIVE_BUDGET; i++) {
		int nr = receive_burst(queue);

		if (nr < 0) {
			broken(queue, driver);
			return;
		}
		if (nr < VHU_NET_BURST && !vhu_driver_arm(driver))
			return;
	}
	queue->has_more = true;
	if (write(queue->set->again_fd, &one, sizeof(one)) < 0)
		return; /* it is at its maximum, and so it is raised */
}

static void on_rx_call(void *arg, uint32_t events)
{
	struct queue *queue = arg;

	(void)events;
	if (queue->is_running)
		receive(queue);
}

static void on_again(void *arg, uint32_t events)
{
	struct queue_set *set = arg;

	(void)events;
	for (unsigned int i = 0; i < set->nr; i++)
		if (set->queue[i].is_running && set->queue[i].has_more)
			receive(&set->queue[i]);
}

/* ---- Life ---- */

int queue_set_init(struct queue_set *set, struct loop *loop, unsigned int nr,
		   const struct queue_ops *ops, void *arg)
{
	*set = (struct queue_set){ .loop = loop, .ops = ops, .arg = arg, .again_fd = -1 };
	set->queue = calloc(nr, sizeof(*set->queue));
	if (!set->queue)
		return -ENOMEM;
	set->nr = nr;
	for (unsigned int i = 0; i < nr; i++)
		set->queue[i].set = set;
	set->again_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (set->again_fd < 0)
		return -errno;
	/* Edge-triggered, as all eventfds here: each raise is an event, and nobody has to read it. */
	return loop_add_fd(loop, set->again_fd, EPOLLIN | EPOLLET, on_again, set, &set->again);
}

void queue_set_free(struct queue_set *set)
{
	for (unsigned int i = 0; i < set->nr; i++) {
		queue_unwatch(&set->queue[i]);
		queue_free_rings(&set->queue[i]);
	}
	free(set->queue);
	set->queue = NULL;
	set->nr = 0;
	loop_remove(set->again);
	set->again = NULL;
	if (set->again_fd >= 0)
		close(set->again_fd);
	set->again_fd = -1;
}

/* A receive ring has to hold at least two of the longest frames. */
static uint32_t rx_buffer_size(const struct queue_rings *rings)
{
	uint64_t size = round_up((uint64_t)VHU_NET_FRAME_MAX * 2 / rings->num + TAP_HDR_LEN, 64);

	return size < RX_BUFFER_MIN ? RX_BUFFER_MIN : (uint32_t)size;
}

static uint32_t nr_tx_buffers(const struct queue_rings *rings)
{
	return rings->num < TX_BUFFERS ? rings->num : TX_BUFFERS;
}

uint64_t queue_memory(const struct queue_rings *rings)
{
	const uint64_t whole = round_up(VHU_NET_FRAME_MAX + 2 * TAP_HDR_LEN, PAGE);
	const bool is_mergeable = rings->features & VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT);
	const uint64_t rx =
		is_mergeable ? round_up(rx_buffer_size(rings) + 2 * TAP_HDR_LEN, 64) : whole;

	/* A ring: 26 bytes an entry at most, and its parts are aligned. */
	return nr_tx_buffers(rings) * whole + rings->num * (rx + 64) + UINT64_C(8) * PAGE;
}

int queue_lay_rings(struct queue *queue, const struct queue_rings *rings)
{
	struct vhu_net_ring_options options = {
		.size = sizeof(options),
		.memory = rings->memory,
		.num = rings->num,
		.features = rings->features,
		.frame_max = VHU_NET_FRAME_MAX,
		.nr_buffers = nr_tx_buffers(rings),
		.buffer_size = rx_buffer_size(rings),
	};
	int err;

	err = vhu_net_tx_new(&queue->tx, &options);
	options.nr_buffers = 0;
	if (!err)
		err = vhu_net_rx_new(&queue->rx, &options);
	if (err) {
		queue_free_rings(queue);
		return err;
	}
	queue->features = rings->features;
	queue->bad_seen = 0;
	return 0;
}

void queue_free_rings(struct queue *queue)
{
	vhu_net_tx_free(queue->tx);
	vhu_net_rx_free(queue->rx);
	queue->tx = NULL;
	queue->rx = NULL;
}

int queue_watch(struct queue *queue, int tap_fd, int rx_call_fd, int tx_call_fd)
{
	struct loop *loop = queue->set->loop;
	int err;

	queue->tap_fd = tap_fd;
	err = loop_add_fd(loop, tap_fd, 0, on_tap, queue, &queue->tap_source);
	if (!err)
		err = loop_add_fd(loop, rx_call_fd, EPOLLIN | EPOLLET, on_rx_call, queue,
				  &queue->rx_source);
	if (!err)
		err = loop_add_fd(loop, tx_call_fd, EPOLLIN | EPOLLET, on_tx_call, queue,
				  &queue->tx_source);
	return err;
}

void queue_unwatch(struct queue *queue)
{
	queue_halt(queue);
	loop_remove(queue->tap_source);
	loop_remove(queue->tx_source);
	loop_remove(queue->rx_source);
	queue->tap_source = queue->tx_source = queue->rx_source = NULL;
}

void queue_run(struct queue *queue)
{
	queue->is_running = true;
	vhu_driver_disarm(vhu_net_tx_driver(queue->tx));
	vhu_net_rx_fill(queue->rx);
	set_reading(queue, true);
	/* Arms, and finds what a backend used before it went away. */
	receive(queue);
}

void queue_halt(struct queue *queue)
{
	if (!queue->is_running)
		return;
	queue->is_running = queue->has_more = false;
	set_reading(queue, false);
}
