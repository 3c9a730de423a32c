/* SPDX-License-Identifier: MIT */
/*
 * A guest of vmm/'s block device, on a transport that has no registers: reads a disk into a file, or
 * writes a file to it, in requests of 64 KiB at most. It must not know of backends.
 *
 * usage: vmm_disk [--packed] SOCKET read|write FILE
 * The result is one line of JSON on standard output; what the device says goes to standard error.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <vhu/driver.h>
#include <vmm/virtio_blk.h>

enum {
	/* virtio 1.2, 5.2.6 */
	T_IN = 0,
	T_OUT = 1,
	T_FLUSH = 4,
	S_OK = 0,
	SECTOR = 512,
	HEADER = 16,

	DATA_MAX = 64 * 1024,
	QUEUES = 2,
	RESETS = 8, /* so often the device is reset on the way */
	GPA = 1 << 20,
	MEMORY = 4 << 20,
	WAIT_MS = 20000,
};

struct machine {
	struct vhu_memory *memory;
	struct vmm_blk *blk;
	struct vmm_virtio virtio;
	struct vmm_virtio_queue queue[QUEUES];
	struct vhu_driver *driver[QUEUES];
	uint64_t gpa;
	uint8_t *at; /* header, data, status */
	bool packed, is_stopping;
	unsigned int requests, resets;
};

static void die(const char *what, const char *why)
{
	fprintf(stderr, "vmm_disk: %s: %s\n", what, why);
	exit(1);
}

static void config_changed(struct vmm_virtio *virtio)
{
	(void)virtio;
}

static void needs_reset(struct vmm_virtio *virtio)
{
	(void)virtio;
	die("the device", "needs a reset");
}

static void stopped(struct vmm_virtio *virtio)
{
	struct machine *m =
		(struct machine *)(void *)((uint8_t *)virtio - offsetof(struct machine, virtio));

	m->is_stopping = false;
}

static void say(void *arg, const char *device, const char *text)
{
	(void)arg;
	fprintf(stderr, "%s: %s\n", device, text);
}

static void turn(struct machine *m, int more_fd)
{
	struct pollfd fds[] = { { vmm_blk_fd(m->blk), POLLIN, 0 }, { more_fd, POLLIN, 0 } };
	uint64_t count;

	if (poll(fds, 2, WAIT_MS) <= 0)
		die("waiting", "nothing happens");
	if (fds[0].revents && vmm_blk_process(m->blk))
		die("the device", "cannot go on");
	if (fds[1].revents && read(more_fd, &count, sizeof(count)) < 0)
		die("call eventfd", strerror(errno));
}

/* What a driver does from the reset to DRIVER_OK. */
static void start(struct machine *m)
{
	const struct vmm_virtio_device *device = vmm_blk_device(m->blk);
	struct vhu_driver_options options = {
		.size = sizeof(options), .memory = m->memory, .num = 64, .indirect_max = 4
	};
	struct vhu_ring_addr addr;

	m->virtio.features = device->ops->features(device->arg) | VHU_MASK(VHU_F_VERSION_1_BIT);
	if (!device->ops->accept(device->arg, m->virtio.features))
		die("features", "what is offered is not taken");
	options.features = m->virtio.features;
	vhu_memory_alloc_reset(m->memory);
	for (unsigned int i = 0; i < QUEUES; i++) {
		struct vmm_virtio_queue *q = &m->queue[i];

		vhu_driver_free(m->driver[i]);
		if (vhu_driver_new(&m->driver[i], &options))
			die("ring", "cannot be made");
		vhu_driver_addr(m->driver[i], &addr);
		vhu_driver_set_kick_fd(m->driver[i], q->kick_fd);
		q->num = (uint16_t)options.num;
		q->desc = addr.desc_gpa;
		q->driver = addr.avail_gpa;
		q->device = addr.used_gpa;
		q->is_enabled = true;
	}
	m->at = vhu_memory_alloc(m->memory, HEADER + DATA_MAX + 1, 64, &m->gpa);
	device->ops->start(device->arg);
}

static void reset(struct machine *m)
{
	const struct vmm_virtio_device *device = vmm_blk_device(m->blk);

	m->is_stopping = !device->ops->stop(device->arg);
	while (m->is_stopping)
		turn(m, -1);
	m->resets++;
}

static void request(struct machine *m, uint32_t type, uint64_t sector, uint32_t len)
{
	unsigned int i = m->requests++ % QUEUES, nr_data = len != 0;
	struct vhu_buffer pieces[3] = { { m->gpa, HEADER }, { m->gpa + HEADER, len } };
	struct vhu_used used;
	int got;

	memset(m->at, 0, HEADER);
	memcpy(m->at, &type, sizeof(type));
	memcpy(m->at + 8, &sector, sizeof(sector));
	m->at[HEADER + DATA_MAX] = 0xff;
	pieces[1 + nr_data] = (struct vhu_buffer){ m->gpa + HEADER + DATA_MAX, 1 };
	if (vhu_driver_add(m->driver[i], pieces, type == T_OUT ? 1 + nr_data : 1,
			   type == T_IN ? 1 + nr_data : 1, 0))
		die("request", "cannot be added");
	vhu_driver_publish(m->driver[i]);
	while ((got = vhu_driver_take(m->driver[i], &used)) == 0) {
		if (!vhu_driver_arm(m->driver[i]))
			turn(m, m->queue[i].call_fd);
	}
	if (got < 0)
		die("ring", vhu_driver_fault(m->driver[i]));
	if (m->at[HEADER + DATA_MAX] != S_OK)
		die("request", "the disk says that it failed");
}

static void make(struct machine *m, const char *path)
{
	static const struct vmm_virtio_transport_ops transport = { .config_changed = config_changed,
								   .needs_reset = needs_reset,
								   .stopped = stopped };
	const struct vmm_blk_options options = {
		.name = "blk0", .path = path, .queues = QUEUES, .packed = m->packed, .say = say
	};
	struct vmm_blk_options o = options;
	char text[VMM_TEXT];

	if (vhu_memory_new(&m->memory) || vhu_memory_add(m->memory, GPA, MEMORY, 0))
		die("memory", "there is none");
	o.memory = m->memory;
	if (vmm_blk_new(&m->blk, &o, text) || vmm_blk_wait(m->blk, WAIT_MS, text))
		die("device", text);
	m->virtio = (struct vmm_virtio){ .device = vmm_blk_device(m->blk),
					 .transport = &transport,
					 .queues = m->queue };
	for (unsigned int i = 0; i < QUEUES; i++) {
		m->queue[i].kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		m->queue[i].call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	}
	if (vmm_blk_attach(m->blk, &m->virtio))
		die("device", "cannot be attached");
}

static uint64_t capacity(struct machine *m)
{
	const struct vmm_virtio_device *device = vmm_blk_device(m->blk);
	uint64_t sectors;

	device->ops->config_read(device->arg, 0, &sectors, sizeof(sectors));
	return sectors;
}

static void copy_disk(struct machine *m, FILE *file, bool is_read)
{
	uint64_t sectors = capacity(m), chunk = sectors / RESETS + 1, until = chunk;
	size_t len;

	for (uint64_t at = 0; at < sectors; at += len / SECTOR) {
		len = DATA_MAX;
		if (sectors - at < DATA_MAX / SECTOR)
			len = (size_t)(sectors - at) * SECTOR;
		if (at >= until) {
			reset(m);
			start(m);
			until += chunk;
		}
		if (!is_read && fread(m->at + HEADER, 1, len, file) != len)
			die("file", "is too short");
		request(m, is_read ? T_IN : T_OUT, at, (uint32_t)len);
		if (is_read && fwrite(m->at + HEADER, 1, len, file) != len)
			die("file", strerror(errno));
	}
	if (!is_read && m->virtio.features & VHU_MASK(9))
		request(m, T_FLUSH, 0, 0);
}

int main(int argc, char **argv)
{
	struct machine m = { .packed = argc > 1 && !strcmp(argv[1], "--packed") };
	bool is_read;
	FILE *file;

	argc -= m.packed;
	argv += m.packed;
	if (argc != 4 || (strcmp(argv[2], "read") && strcmp(argv[2], "write")))
		die("usage", "vmm_disk [--packed] SOCKET read|write FILE");
	is_read = !strcmp(argv[2], "read");
	file = fopen(argv[3], is_read ? "we" : "re");
	if (!file)
		die(argv[3], strerror(errno));
	make(&m, argv[1]);
	start(&m);
	copy_disk(&m, file, is_read);
	reset(&m);
	if (fclose(file))
		die(argv[3], strerror(errno));
	printf("{\"sectors\": %llu, \"requests\": %u, \"resets\": %u, \"features\": %llu}\n",
	       (unsigned long long)capacity(&m), m.requests, m.resets,
	       (unsigned long long)m.virtio.features);
	vmm_blk_free(m.blk);
	for (unsigned int i = 0; i < QUEUES; i++)
		vhu_driver_free(m.driver[i]);
	vhu_memory_free(m.memory);
	return 0;
}
