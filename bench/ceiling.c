/* SPDX-License-Identifier: MIT */
/*
 * The ceiling: a backend that turns descriptors over without looking at what they point to. No backend
 * can be faster than that, so it tells how much of a pair's time is the frontend's and the machine's.
 *
 * It trusts its frontend in everything, which is why it must never become more than a measure.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vhu/sock.h>

enum {
	BURST = 32,
	LOOK_EVERY = 4096,
	HDR_LEN = 12,
	/* virtio 1.2, 2.7.13 and 2.8.14 */
	DESC_NEXT = 1,
	USED_NO_NOTIFY = 1,
	EVENT_DISABLE = 1,
	PACKED_AVAIL = 1 << 7,
	PACKED_USED = 1 << 15,
};

struct split_avail {
	uint16_t flags;
	_Atomic uint16_t idx;
	uint16_t ring[];
};

struct split_used {
	uint16_t flags;
	_Atomic uint16_t idx;
	struct {
		uint32_t id, len;
	} ring[];
};

struct packed_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t id;
	_Atomic uint16_t flags;
};

struct ring {
	uint32_t num;
	struct vhu_vring_addr addr;
	bool is_running;
	/* split */
	struct split_avail *avail;
	struct split_used *used;
	uint16_t seen;
	/* packed */
	struct packed_desc *desc;
	uint32_t at;
	bool wrap;
};

static struct {
	struct vhu_sock *sock;
	uint64_t features;
	struct vhu_mem_table table;
	uint8_t *mapped[VHU_MAX_MSG_REGIONS];
	struct ring ring[2];
} dev;

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
	(void)number;
	ended = 1;
}

static bool is_packed(void)
{
	return dev.features & VHU_MASK(VHU_F_RING_PACKED_BIT);
}

/* ---- Messages ---- */
static void *translate(uint64_t uva)
{
	for (uint32_t i = 0; i < dev.table.nr; i++) {
		const struct vhu_region *r = &dev.table.region[i];

		if (uva - r->uva < r->size)
			return dev.mapped[i] + r->mmap_offset + (uva - r->uva);
	}
	return NULL;
}

static void map(struct vhu_msg *msg)
{
	for (uint32_t i = 0; i < dev.table.nr; i++)
		munmap(dev.mapped[i], dev.table.region[i].size + dev.table.region[i].mmap_offset);
	dev.table.nr = 0;
	if (msg->mem.nr > VHU_MAX_MSG_REGIONS || msg->mem.nr > msg->nr_fds)
		return;
	for (uint32_t i = 0; i < msg->mem.nr; i++) {
		const struct vhu_region *r = &msg->mem.region[i];

		dev.mapped[i] = mmap(NULL, r->size + r->mmap_offset, PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_POPULATE, msg->fds[i], 0);
		if (dev.mapped[i] == MAP_FAILED)
			return;
		dev.table.region[i] = *r;
		dev.table.nr = i + 1;
	}
}

static void start(struct ring *ring)
{
	ring->desc = translate(ring->addr.desc);
	ring->avail = translate(ring->addr.avail);
	ring->used = translate(ring->addr.used);
	ring->is_running = ring->desc && ring->avail && ring->used && ring->num;
	if (!ring->is_running)
		return;
	ring->at = 0;
	ring->wrap = true;
	/* No kicks, please: the device area's event structure, or the used ring's flags. */
	if (is_packed())
		((uint16_t *)ring->used)[1] = EVENT_DISABLE;
	else
		ring->used->flags = USED_NO_NOTIFY;
}

static void reply(const struct vhu_msg *msg, uint64_t value)
{
	struct vhu_msg answer;

	vhu_msg_init_reply(&answer, msg, sizeof(answer.u64));
	answer.u64 = value;
	vhu_sock_send(dev.sock, &answer);
}

static void reply_base(const struct vhu_msg *msg, struct ring *ring)
{
	struct vhu_msg answer;
	const uint32_t at = ring->at | (uint32_t)ring->wrap << 15;

	ring->is_running = false;
	vhu_msg_init_reply(&answer, msg, sizeof(answer.state));
	answer.state.index = msg->state.index;
	answer.state.num = is_packed() ? at | at << 16 : ring->seen;
	vhu_sock_send(dev.sock, &answer);
}

static void obey(struct vhu_msg *msg)
{
	const int index = vhu_wire_ring(VHU_CHANNEL_MAIN, msg);
	struct ring *ring = &dev.ring[index & 1];

	switch (msg->hdr.request) {
	case VHU_GET_FEATURES:
		reply(msg, VHU_MASK(VHU_F_VERSION_1_BIT) | VHU_MASK(VHU_F_RING_PACKED_BIT) |
				   VHU_MASK(VHU_F_IN_ORDER_BIT) |
				   VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT));
		break;
	case VHU_SET_FEATURES:
		dev.features = msg->u64;
		break;
	case VHU_GET_QUEUE_NUM:
		reply(msg, 1);
		break;
	case VHU_SET_MEM_TABLE:
		map(msg);
		break;
	case VHU_SET_VRING_NUM:
		ring->num = msg->state.num;
		break;
	case VHU_SET_VRING_BASE:
		ring->seen = (uint16_t)msg->state.num;
		break;
	case VHU_SET_VRING_ADDR:
		ring->addr = msg->addr;
		break;
	case VHU_SET_VRING_KICK:
		start(ring);
		break;
	case VHU_GET_VRING_BASE:
		reply_base(msg, ring);
		break;
	default: /* nothing else is answered, or matters here */
		break;
	}
	vhu_msg_close_fds(msg);
}

/* ---- Rings: len is what each buffer is said to hold. The count of chains. ---- */
static unsigned int split_ready(const struct ring *ring)
{
	return (uint16_t)(atomic_load_explicit(&ring->avail->idx, memory_order_acquire) -
			  ring->seen);
}

static void split_turn(struct ring *ring, unsigned int nr, uint32_t len)
{
	const uint32_t mask = ring->num - 1;

	for (unsigned int i = 0; i < nr; i++, ring->seen++) {
		ring->used->ring[ring->seen & mask].id = ring->avail->ring[ring->seen & mask];
		ring->used->ring[ring->seen & mask].len = len;
	}
	/* pairs with the driver's load of used->idx: entries before index */
	atomic_store_explicit(&ring->used->idx, ring->seen, memory_order_release);
}

static bool packed_is_ready(const struct ring *ring)
{
	const uint16_t flags =
		atomic_load_explicit(&ring->desc[ring->at].flags, memory_order_acquire);

	return !!(flags & PACKED_AVAIL) == ring->wrap && !!(flags & PACKED_USED) != ring->wrap;
}

static void packed_step(struct ring *ring)
{
	if (++ring->at == ring->num) {
		ring->at = 0;
		ring->wrap = !ring->wrap;
	}
}

static void packed_turn(struct ring *ring, uint32_t len)
{
	struct packed_desc *first = &ring->desc[ring->at];
	const uint16_t flags = ring->wrap ? PACKED_AVAIL | PACKED_USED : 0;

	while (ring->desc[ring->at].flags & DESC_NEXT)
		packed_step(ring);
	first->id = ring->desc[ring->at].id;
	first->len = len;
	packed_step(ring);
	/* pairs with the driver's load of the flags: id and length before them */
	atomic_store_explicit(&first->flags, flags, memory_order_release);
}

static unsigned int turn(struct ring *ring, unsigned int max, uint32_t len)
{
	unsigned int nr = 0;

	if (!ring->is_running)
		return 0;
	if (is_packed()) {
		for (; nr < max && packed_is_ready(ring); nr++)
			packed_turn(ring, len);
		return nr;
	}
	nr = split_ready(ring);
	nr = nr < max ? nr : max;
	if (nr)
		split_turn(ring, nr, len);
	return nr;
}

static void run(const char *mode, uint32_t len)
{
	const bool is_sink = strcmp(mode, "sink") == 0, is_source = strcmp(mode, "source") == 0;
	struct vhu_msg msg;
	unsigned int owed = 0;

	for (unsigned int i = 0; !ended; i++) {
		if (i % LOOK_EVERY == 0) {
			const int ret = vhu_sock_recv(dev.sock, &msg, NULL);

			if (ret < 0)
				return;
			if (ret > 0) {
				obey(&msg);
				i--; /* there may be more */
			}
		}
		if (is_source) {
			turn(&dev.ring[0], BURST, len);
			continue;
		}
		owed += turn(&dev.ring[1], BURST - owed, 0);
		owed = is_sink ? 0 : owed - turn(&dev.ring[0], owed, len);
	}
}

int main(int argc, char **argv)
{
	const char *mode = argc == 4 ? argv[1] : "";
	int fd;

	if (strcmp(mode, "sink") != 0 && strcmp(mode, "source") != 0 && strcmp(mode, "echo") != 0) {
		fputs("usage: ceiling sink|source|echo SOCKET BYTES\n", stderr);
		return 2;
	}
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	const int listening = vhu_sock_listen(argv[2], 0600, NULL);

	if (listening < 0) {
		fprintf(stderr, "ceiling: %s: %s\n", argv[2], strerror(-listening));
		return 1;
	}
	while ((fd = vhu_sock_accept(listening)) < 0 && !ended)
		poll(&(struct pollfd){ listening, POLLIN, 0 }, 1, 1000);
	if (fd >= 0 && vhu_sock_new(&dev.sock, fd, VHU_CHANNEL_MAIN, 0) == 0)
		run(mode, HDR_LEN + (uint32_t)strtoul(argv[3], NULL, 10));
	vhu_sock_free(dev.sock);
	close(listening);
	unlink(argv[2]);
	return 0;
}
