/* SPDX-License-Identifier: MIT */
/*
 * The ceiling: a backend that turns descriptors over without looking at what they point to. No backend
 * can be faster than that, so it tells how much of a pair's time is the frontend's and the machine's. With copy
 * it copies, too, and nothing else.
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
	NR_BUFFERS_AT = 10, /* num_buffers, in the header (5.1.6) */
	BUFFER_LEN = 2048, /* of a guest's receive buffers, where a frame takes several (guest.c) */
	/* virtio 1.2, 2.7.13 and 2.8.14 */
	DESC_NEXT = 1,
	DESC_WRITE = 2,
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

struct split_desc {
	uint64_t addr;
	uint64_t rest;
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

struct device {
	int listening;
	struct vhu_sock *sock;
	uint64_t features;
	struct vhu_mem_table table;
	uint8_t *mapped[VHU_MAX_MSG_REGIONS];
	struct ring ring[2];
};

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
	(void)number;
	ended = 1;
}

static bool is_packed(const struct device *dev)
{
	return dev->features & VHU_MASK(VHU_F_RING_PACKED_BIT);
}

/* ---- Messages ---- */
/* Of an address in the frontend, as messages have it, or in the guest, as descriptors do. */
static void *translate(const struct device *dev, uint64_t addr, bool in_guest)
{
	for (uint32_t i = 0; i < dev->table.nr; i++) {
		const struct vhu_region *r = &dev->table.region[i];
		const uint64_t off = addr - (in_guest ? r->gpa : r->uva);

		if (off < r->size)
			return dev->mapped[i] + r->mmap_offset + off;
	}
	return NULL;
}

static void map(struct device *dev, struct vhu_msg *msg)
{
	for (uint32_t i = 0; i < dev->table.nr; i++)
		munmap(dev->mapped[i],
		       dev->table.region[i].size + dev->table.region[i].mmap_offset);
	dev->table.nr = 0;
	if (msg->mem.nr > VHU_MAX_MSG_REGIONS || msg->mem.nr > msg->nr_fds)
		return;
	for (uint32_t i = 0; i < msg->mem.nr; i++) {
		const struct vhu_region *r = &msg->mem.region[i];

		dev->mapped[i] = mmap(NULL, r->size + r->mmap_offset, PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_POPULATE, msg->fds[i], 0);
		if (dev->mapped[i] == MAP_FAILED)
			return;
		dev->table.region[i] = *r;
		dev->table.nr = i + 1;
	}
}

static void start(const struct device *dev, struct ring *ring)
{
	ring->desc = translate(dev, ring->addr.desc, false);
	ring->avail = translate(dev, ring->addr.avail, false);
	ring->used = translate(dev, ring->addr.used, false);
	ring->is_running = ring->desc && ring->avail && ring->used && ring->num;
	if (!ring->is_running)
		return;
	ring->at = 0;
	ring->wrap = true;
	/* No kicks, please: the device area's event structure, or the used ring's flags. */
	if (is_packed(dev))
		((uint16_t *)ring->used)[1] = EVENT_DISABLE;
	else
		ring->used->flags = USED_NO_NOTIFY;
}

static void reply(struct device *dev, const struct vhu_msg *msg, uint64_t value)
{
	struct vhu_msg answer;

	vhu_msg_init_reply(&answer, msg, sizeof(answer.u64));
	answer.u64 = value;
	vhu_sock_send(dev->sock, &answer);
}

static void reply_base(struct device *dev, const struct vhu_msg *msg, struct ring *ring)
{
	struct vhu_msg answer;
	const uint32_t at = ring->at | (uint32_t)ring->wrap << 15;

	ring->is_running = false;
	vhu_msg_init_reply(&answer, msg, sizeof(answer.state));
	answer.state.index = msg->state.index;
	answer.state.num = is_packed(dev) ? at | at << 16 : ring->seen;
	vhu_sock_send(dev->sock, &answer);
}

static void obey(struct device *dev, struct vhu_msg *msg)
{
	const int index = vhu_wire_ring(VHU_CHANNEL_MAIN, msg);
	struct ring *ring = &dev->ring[index & 1];

	switch (msg->hdr.request) {
	case VHU_GET_FEATURES:
		reply(dev, msg,
		      VHU_MASK(VHU_F_VERSION_1_BIT) | VHU_MASK(VHU_F_RING_PACKED_BIT) |
			      VHU_MASK(VHU_F_IN_ORDER_BIT) | VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT) |
			      VHU_MASK(VHU_NET_F_CSUM_BIT) | VHU_MASK(VHU_NET_F_GUEST_CSUM_BIT) |
			      VHU_MASK(VHU_NET_F_HOST_TSO4_BIT) |
			      VHU_MASK(VHU_NET_F_GUEST_TSO4_BIT));
		break;
	case VHU_SET_FEATURES:
		dev->features = msg->u64;
		break;
	case VHU_GET_QUEUE_NUM:
		reply(dev, msg, 1);
		break;
	case VHU_SET_MEM_TABLE:
		map(dev, msg);
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
		start(dev, ring);
		break;
	case VHU_GET_VRING_BASE:
		reply_base(dev, msg, ring);
		break;
	default: /* nothing else is answered, or matters here */
		break;
	}
	vhu_msg_close_fds(msg);
}

/* ---- Rings: len is what each buffer is said to hold, the last of them last_len. The count of chains. ---- */
static unsigned int split_ready(const struct ring *ring)
{
	return (uint16_t)(atomic_load_explicit(&ring->avail->idx, memory_order_acquire) -
			  ring->seen);
}

static void split_turn(struct ring *ring, unsigned int nr, uint32_t len, uint32_t last_len)
{
	const uint32_t mask = ring->num - 1;

	for (unsigned int i = 0; i < nr; i++, ring->seen++) {
		ring->used->ring[ring->seen & mask].id = ring->avail->ring[ring->seen & mask];
		ring->used->ring[ring->seen & mask].len = i + 1 < nr ? len : last_len;
	}
	/* pairs with the driver's load of used->idx: entries before index */
	atomic_store_explicit(&ring->used->idx, ring->seen, memory_order_release);
}

/* Whether the descriptor so many steps ahead is available. */
static bool packed_is_ready(const struct ring *ring, unsigned int ahead)
{
	const bool beyond = ring->at + ahead >= ring->num, wrap = ring->wrap != beyond;
	const uint32_t at = ring->at + ahead - (beyond ? ring->num : 0);
	const uint16_t flags = atomic_load_explicit(&ring->desc[at].flags, memory_order_acquire);

	return !!(flags & PACKED_AVAIL) == wrap && !!(flags & PACKED_USED) != wrap;
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
	const uint16_t flags =
		(ring->wrap ? PACKED_AVAIL | PACKED_USED : 0) | (len ? DESC_WRITE : 0);

	while (ring->desc[ring->at].flags & DESC_NEXT)
		packed_step(ring);
	first->id = ring->desc[ring->at].id;
	first->len = len;
	packed_step(ring);
	/* pairs with the driver's load of the flags: id and length before them */
	atomic_store_explicit(&first->flags, flags, memory_order_release);
}

static unsigned int turn(struct device *dev, unsigned int index, unsigned int max, uint32_t len)
{
	struct ring *ring = &dev->ring[index];
	unsigned int nr = 0;

	if (!ring->is_running)
		return 0;
	if (is_packed(dev)) {
		for (; nr < max && packed_is_ready(ring, 0); nr++)
			packed_turn(ring, len);
		return nr;
	}
	nr = split_ready(ring);
	nr = nr < max ? nr : max;
	if (nr)
		split_turn(ring, nr, len, len);
	return nr;
}

/* All that a frontend has to say now. False: it has left. */
static bool listen_to(struct device *dev)
{
	struct vhu_msg msg;
	int ret;

	while ((ret = vhu_sock_recv(dev->sock, &msg, NULL)) > 0)
		obey(dev, &msg);
	return ret == 0;
}

/* The first buffer of an available chain; so many chains of one descriptor come before it. */
static uint8_t *buffer_ahead(const struct device *dev, const struct ring *ring, unsigned int ahead)
{
	const struct split_desc *table = (const struct split_desc *)ring->desc;
	const uint64_t gpa =
		is_packed(dev) ?
			ring->desc[(ring->at + ahead) % ring->num].addr :
			table[ring->avail->ring[(ring->seen + ahead) & (ring->num - 1)]].addr;

	return translate(dev, gpa, true);
}

/* Chains of one descriptor that are available, max at most. All are looked at: a driver shows the first of a batch last. */
static unsigned int count_ready(const struct device *dev, const struct ring *ring, unsigned int max)
{
	unsigned int nr = 0;

	if (is_packed(dev))
		while (nr < max && packed_is_ready(ring, nr))
			nr++;
	else
		nr = split_ready(ring);
	return nr < max ? nr : max;
}

/*
 * A frame that takes several receive buffers: the first has to say how many, and its header is the only
 * thing that is written here. False: there are not so many buffers.
 */
static bool turn_long(const struct device *dev, struct ring *ring, uint32_t len)
{
	const unsigned int nr = (len + BUFFER_LEN - 1) / BUFFER_LEN;
	const uint32_t last_len = len - (nr - 1) * BUFFER_LEN;
	uint8_t *header;

	if (count_ready(dev, ring, nr) < nr)
		return false;
	header = buffer_ahead(dev, ring, 0);
	if (!header)
		return false;
	memset(header, 0, HDR_LEN);
	header[NR_BUFFERS_AT] = (uint8_t)nr;
	if (is_packed(dev))
		for (unsigned int i = 0; i < nr; i++)
			packed_turn(ring, i + 1 < nr ? BUFFER_LEN : last_len);
	else
		split_turn(ring, nr, BUFFER_LEN, last_len);
	return true;
}

static unsigned int give(struct device *to, unsigned int owed, uint32_t len)
{
	unsigned int nr = 0;

	if (len <= BUFFER_LEN)
		return turn(to, 0, owed, len);
	while (nr < owed && to->ring[0].is_running && turn_long(to, &to->ring[0], len))
		nr++;
	return nr;
}

/* What was taken from one device's transmit ring is owed to the other's receive ring. */
static unsigned int carry(struct device *from, struct device *to, unsigned int owed, uint32_t len)
{
	owed += turn(from, 1, BURST - owed, 0);
	return owed - give(to, owed, len);
}

/*
 * The least that carrying frames can be: they are copied, each from one buffer to one, and nothing is judged
 * or looked up. A burst is asked for before it is touched, as anybody would who is in a hurry.
 */
static void copy(struct device *from, struct device *to, uint32_t len)
{
	uint8_t *source[BURST], *sink[BURST];
	unsigned int nr;

	if (!from->ring[1].is_running || !to->ring[0].is_running)
		return;
	nr = count_ready(from, &from->ring[1], BURST);
	nr = count_ready(to, &to->ring[0], nr);
	for (unsigned int i = 0; i < nr; i++) {
		source[i] = buffer_ahead(from, &from->ring[1], i);
		sink[i] = buffer_ahead(to, &to->ring[0], i);
		if (!source[i] || !sink[i])
			return;
		__builtin_prefetch(source[i] + HDR_LEN);
		__builtin_prefetch(sink[i] + HDR_LEN, 1);
	}
	for (unsigned int i = 0; i < nr; i++) {
		if (sink[i][NR_BUFFERS_AT] != 1) {
			memset(sink[i], 0, HDR_LEN);
			sink[i][NR_BUFFERS_AT] = 1;
		}
		memcpy(sink[i] + HDR_LEN, source[i] + HDR_LEN, len - HDR_LEN);
	}
	turn(to, 0, nr, len);
	turn(from, 1, nr, 0);
}

static void run(const char *mode, struct device *devs, unsigned int nr_devs, uint32_t len)
{
	const bool is_sink = strcmp(mode, "sink") == 0, is_source = strcmp(mode, "source") == 0;
	const bool is_copy = strcmp(mode, "copy") == 0;
	unsigned int owed[2] = { 0 };

	for (unsigned int i = 0; !ended; i++) {
		if (i % LOOK_EVERY == 0) {
			for (unsigned int d = 0; d < nr_devs; d++) {
				if (!listen_to(&devs[d]))
					return;
			}
		}
		if (is_source) {
			turn(&devs[0], 0, BURST, len);
		} else if (is_sink) {
			turn(&devs[0], 1, BURST, 0);
		} else if (is_copy) {
			copy(&devs[0], &devs[1], len);
			copy(&devs[1], &devs[0], len);
		} else if (nr_devs == 1) {
			owed[0] = carry(&devs[0], &devs[0], owed[0], len);
		} else {
			owed[0] = carry(&devs[0], &devs[1], owed[0], len);
			owed[1] = carry(&devs[1], &devs[0], owed[1], len);
		}
	}
}

static int open_device(struct device *dev, const char *path)
{
	dev->listening = vhu_sock_listen(path, 0600, NULL);
	return dev->listening < 0 ? dev->listening : 0;
}

static int meet(struct device *dev)
{
	int fd;

	while ((fd = vhu_sock_accept(dev->listening)) < 0) {
		if (ended)
			return -EINTR;
		poll(&(struct pollfd){ dev->listening, POLLIN, 0 }, 1, 1000);
	}
	return vhu_sock_new(&dev->sock, fd, VHU_CHANNEL_MAIN, 0);
}

/* Speaks with the first while the second has not come: a frontend may make its ports one by one. */
static int meet_both(struct device *devs, unsigned int nr_devs)
{
	int err = meet(&devs[0]), fd;

	while (!err && nr_devs == 2 && !devs[1].sock) {
		if (!listen_to(&devs[0]))
			return -ECONNRESET;
		fd = vhu_sock_accept(devs[1].listening);
		if (fd >= 0)
			err = vhu_sock_new(&devs[1].sock, fd, VHU_CHANNEL_MAIN, 0);
		else if (ended)
			err = -EINTR;
		else
			usleep(1000);
	}
	return err;
}

static int usage(void)
{
	fputs("usage: ceiling sink|source|echo SOCKET BYTES\n"
	      "       ceiling forward|copy SOCKET SOCKET BYTES\n",
	      stderr);
	return 2;
}

int main(int argc, char **argv)
{
	static struct device devs[2];
	const char *mode = argc > 1 ? argv[1] : "";
	const bool is_copy = strcmp(mode, "copy") == 0;
	const unsigned int nr_devs = is_copy || strcmp(mode, "forward") == 0 ? 2 : 1;
	int err = 0;

	if (argc != 3 + (int)nr_devs || (nr_devs == 1 && strcmp(mode, "sink") != 0 &&
					 strcmp(mode, "source") != 0 && strcmp(mode, "echo") != 0))
		return usage();
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	for (unsigned int i = 0; i < nr_devs && !err; i++)
		err = open_device(&devs[i], argv[2 + i]);
	if (!err)
		err = meet_both(devs, nr_devs);
	if (!err)
		run(mode, devs, nr_devs, HDR_LEN + (uint32_t)strtoul(argv[argc - 1], NULL, 10));
	for (unsigned int i = 0; i < nr_devs; i++) {
		vhu_sock_free(devs[i].sock);
		unlink(argv[2 + i]);
	}
	if (err && err != -EINTR)
		fprintf(stderr, "ceiling: %s\n", strerror(-err));
	return err && err != -EINTR ? 1 : 0;
}
