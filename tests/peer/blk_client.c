/* SPDX-License-Identifier: MIT */
/*
 * A guest of a vhost-user block device, on libvhu's public frontend alone: reads a disk into a file,
 * or writes a file to it and reads it back, once or until SIGTERM, other bytes each time. It must
 * not know of network devices, nor of lib/.
 *
 * usage: blk_client [options] SOCKET info | read FILE | write FILE
 * The result is one line of JSON on standard output; what happens meanwhile goes to standard error.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vhu/driver.h>
#include <vhu/frontend.h>
#include <vhu/memory.h>

enum {
	/* virtio 1.2, 5.2.3 and 5.2.6 */
	BLK_F_MQ_BIT = 12,
	BLK_F_BLK_SIZE_BIT = 6,
	BLK_F_FLUSH_BIT = 9,
	BLK_T_IN = 0,
	BLK_T_OUT = 1,
	BLK_T_FLUSH = 4,
	BLK_S_OK = 0,
	SECTOR = 512,

	QUEUES_MAX = 8,
	DEPTH_MAX = 128,
	RING_SIZE = 128, /* what most of these backends take at most */
	DATA_MAX = 64 * 1024,
	MEMORY_GPA = 1 << 20,
	WAIT_MS = 20000,
	STATUS_UNSET = 0xee,
};

/* 5.2.4: what is read of it */
struct blk_config {
	uint64_t capacity; /* sectors of 512 bytes, always */
	uint32_t size_max, seg_max;
	uint8_t geometry[4];
	uint32_t blk_size;
	uint8_t topology[8];
	uint8_t writeback, unused;
	uint16_t num_queues;
};

struct blk_header {
	uint32_t type, reserved;
	uint64_t sector;
};

/* A request's place in guest memory, and what it is doing. */
struct slot {
	struct blk_header *header;
	uint8_t *data, *status;
	uint64_t header_gpa, data_gpa, status_gpa;
	bool is_out; /* on its way */
	uint32_t type, len;
	uint64_t sector;
};

struct queue {
	struct vhu_driver *driver;
	struct slot slots[DEPTH_MAX];
	int call_fd;
};

struct client {
	const char *socket, *command, *file;
	bool packed, indirect;
	bool until_term;
	unsigned int nr_queues, depth;

	struct vhu_memory *memory;
	struct vhu_frontend *frontend;
	struct queue queues[QUEUES_MAX];
	struct blk_config config;
	bool is_live; /* rings may be touched */

	uint8_t *bytes; /* of the file */
	uint64_t nr_sectors, next;
	uint32_t rounds;
	uint32_t sizes; /* state of the row of request sizes */
	bool expect_error;

	uint64_t requests, gone, back;
	unsigned int nr_out, most_out, most_out_gone;
};

static void die(const char *what, int err, const char *why)
{
	fprintf(stderr, "blk_client: %s: %s%s%s\n", what, strerror(err < 0 ? -err : err),
		why ? ": " : "", why ? why : "");
	exit(1);
}

static volatile sig_atomic_t told_to_end;

static void on_term(int number)
{
	(void)number;
	told_to_end = 1;
}

/* ---- The backend goes and comes ---- */

static void on_gone(void *arg, int err, const char *reason)
{
	struct client *client = arg;

	client->is_live = false;
	client->gone++;
	if (client->nr_out > client->most_out_gone)
		client->most_out_gone = client->nr_out;
	fprintf(stderr, "gone: %s: %s; %u out\n", strerror(-err), reason ? reason : "",
		client->nr_out);
}

static void on_back(void *arg)
{
	struct client *client = arg;

	client->is_live = true;
	client->back++;
	fprintf(stderr, "back\n");
}

static void on_complaint(void *arg, const char *text)
{
	(void)arg;
	fprintf(stderr, "complaint: %s\n", text);
}

static void wait_done(struct client *client, const char *what, int err)
{
	struct vhu_reason why = { .text = "" };

	if (!err)
		err = vhu_frontend_wait(client->frontend, WAIT_MS, &why);
	if (err)
		die(what, err, why.text);
}

/* ---- Setting up ---- */

static void on_config(void *arg, int err, const struct vhu_answer *answer)
{
	struct client *client = arg;

	if (err)
		die("GET_CONFIG", err, answer ? answer->reason : NULL);
	if (answer->size != sizeof(client->config))
		die("GET_CONFIG", -EPROTO, "another size than asked for");
	memcpy(&client->config, answer->bytes, answer->size);
}

static void greet(struct client *client)
{
	static const struct vhu_frontend_ops ops = {
		.size = sizeof(ops),
		.gone = on_gone,
		.back = on_back,
		.complaint = on_complaint,
	};
	struct vhu_frontend_options options = {
		.size = sizeof(options),
		.nr_rings = client->nr_queues,
		.features = VHU_MASK(VHU_F_VERSION_1_BIT) | VHU_MASK(VHU_F_EVENT_IDX_BIT) |
			    VHU_MASK(VHU_F_PROTOCOL_FEATURES_BIT) | VHU_MASK(BLK_F_FLUSH_BIT) |
			    VHU_MASK(BLK_F_MQ_BIT) | VHU_MASK(BLK_F_BLK_SIZE_BIT),
		.features_needed = VHU_MASK(VHU_F_VERSION_1_BIT),
		.protocol_features = VHU_FRONTEND_PROTOCOL_FEATURES & ~VHU_MASK(VHU_P_NET_MTU_BIT) &
				     ~VHU_MASK(VHU_P_RARP_BIT),
		.ops = &ops,
		.arg = client,
	};
	int err;

	if (client->packed)
		options.features |= VHU_MASK(VHU_F_RING_PACKED_BIT);
	if (client->indirect)
		options.features |= VHU_MASK(VHU_F_INDIRECT_DESC_BIT);
	err = vhu_memory_new(&client->memory);
	if (!err)
		err = vhu_memory_add(
			client->memory, MEMORY_GPA,
			(uint64_t)(client->nr_queues * client->depth + 8) * (DATA_MAX + 8192), 0);
	if (err)
		die("memory", err, NULL);
	options.memory = client->memory;
	err = vhu_frontend_new(&client->frontend, &options);
	if (err)
		die("frontend", err, NULL);
	wait_done(client, "connect", vhu_frontend_connect(client->frontend, client->socket));
	if (client->packed &&
	    !(vhu_frontend_features(client->frontend) & VHU_MASK(VHU_F_RING_PACKED_BIT))) {
		printf("the backend has no packed rings\n");
		exit(77);
	}
	wait_done(client, "configuration",
		  vhu_frontend_get_config(client->frontend, 0, sizeof(client->config), on_config,
					  client));
}

static void make_slots(struct client *client, struct queue *queue)
{
	for (unsigned int i = 0; i < client->depth; i++) {
		struct slot *slot = &queue->slots[i];

		slot->header = vhu_memory_alloc(client->memory, sizeof(*slot->header), 16,
						&slot->header_gpa);
		slot->data = vhu_memory_alloc(client->memory, DATA_MAX, 512, &slot->data_gpa);
		slot->status = vhu_memory_alloc(client->memory, 1, 1, &slot->status_gpa);
		if (!slot->header || !slot->data || !slot->status)
			die("memory", -ENOMEM, "of the requests");
	}
}

static void start(struct client *client)
{
	for (unsigned int i = 0; i < client->nr_queues; i++) {
		struct queue *queue = &client->queues[i];
		struct vhu_driver_options options = {
			.size = sizeof(options),
			.memory = client->memory,
			.num = RING_SIZE,
			.features = vhu_frontend_features(client->frontend),
			.indirect_max = client->indirect ? 3 : 0,
		};
		struct vhu_frontend_ring ring = {
			.size = sizeof(ring),
			.kick_fd = -1,
			.call_fd = -1,
		};
		int err = vhu_driver_new(&queue->driver, &options);

		if (err)
			die("ring", err, NULL);
		make_slots(client, queue);
		ring.driver = queue->driver;
		err = vhu_frontend_set_ring(client->frontend, i, &ring);
		if (err)
			die("ring", err, NULL);
	}
	wait_done(client, "start", vhu_frontend_start(client->frontend, NULL, NULL));
	for (unsigned int i = 0; i < client->nr_queues; i++)
		client->queues[i].call_fd = vhu_frontend_call_fd(client->frontend, i);
	client->is_live = true;
}

/* ---- Requests ---- */

/* True if it was added: data_len bytes are read from or written to the slot's data by the device. */
static bool send_request(struct client *client, struct queue *queue, uint32_t type, uint64_t sector,
			 uint32_t data_len)
{
	unsigned int i = 0, nr_read = 1, nr = 0;
	struct vhu_buffer buffers[3];
	struct slot *slot;
	int err;

	while (i < client->depth && queue->slots[i].is_out)
		i++;
	if (i == client->depth)
		return false;
	slot = &queue->slots[i];
	*slot->header = (struct blk_header){ .type = type, .sector = sector };
	*slot->status = STATUS_UNSET;
	buffers[nr++] = (struct vhu_buffer){ slot->header_gpa, sizeof(*slot->header) };
	if (data_len)
		buffers[nr++] = (struct vhu_buffer){ slot->data_gpa, data_len };
	if (type == BLK_T_OUT) {
		nr_read = 2;
		for (uint32_t k = 0; k < data_len; k++)
			slot->data[k] =
				client->bytes[sector * SECTOR + k] ^ (uint8_t)client->rounds;
	} else {
		memset(slot->data, 0x5a, data_len);
	}
	buffers[nr++] = (struct vhu_buffer){ slot->status_gpa, 1 };
	err = vhu_driver_add(queue->driver, buffers, nr_read, nr - nr_read, i);
	if (err == -ENOSPC)
		return false;
	if (err)
		die("request", err, vhu_driver_fault(queue->driver));
	slot->is_out = true;
	slot->type = type;
	slot->sector = sector;
	slot->len = data_len;
	if (++client->nr_out > client->most_out)
		client->most_out = client->nr_out;
	return true;
}

static void wrong(const struct slot *slot, const char *what)
{
	fprintf(stderr, "blk_client: type %u at sector %" PRIu64 ", status %u: %s\n", slot->type,
		slot->sector, *slot->status, what);
	exit(1);
}

/* What was read goes into the file, or has to be what was written to the disk. */
static void judge_read(struct client *client, const struct slot *slot)
{
	uint8_t *there = client->bytes + slot->sector * SECTOR;

	if (!strcmp(client->command, "read")) {
		memcpy(there, slot->data, slot->len);
		return;
	}
	for (uint32_t k = 0; k < slot->len; k++)
		if (slot->data[k] != (there[k] ^ (uint8_t)client->rounds))
			wrong(slot, "it reads other than it was written");
}

static void judge(struct client *client, const struct slot *slot)
{
	client->requests++;
	if (*slot->status == STATUS_UNSET)
		wrong(slot, "no status");
	if ((*slot->status != BLK_S_OK) != client->expect_error)
		wrong(slot, "not that status");
	if (slot->type == BLK_T_IN && !client->expect_error)
		judge_read(client, slot);
}

/* True if a request came back. */
static bool take_all(struct client *client, struct queue *queue)
{
	struct vhu_used used;
	bool any = false;
	int got;

	while ((got = vhu_driver_take(queue->driver, &used)) > 0) {
		struct slot *slot = &queue->slots[used.token];

		if (used.token >= client->depth || !slot->is_out)
			die("ring", -EPROTO, "a request came back that was not out");
		slot->is_out = false;
		client->nr_out--;
		judge(client, slot);
		any = true;
	}
	if (got < 0)
		die("ring", got, vhu_driver_fault(queue->driver));
	return any;
}

static void sleep_on_all(struct client *client)
{
	struct pollfd fds[QUEUES_MAX + 1];
	unsigned int nr = 0;
	uint64_t count;
	int got;

	for (unsigned int i = 0; client->is_live && i < client->nr_queues; i++) {
		if (vhu_driver_arm(client->queues[i].driver))
			return;
		fds[nr++] = (struct pollfd){ .fd = client->queues[i].call_fd, .events = POLLIN };
	}
	fds[nr] = (struct pollfd){ .fd = vhu_frontend_fd(client->frontend), .events = POLLIN };
	got = poll(fds, nr + 1, WAIT_MS);
	if (got < 0 && errno != EINTR)
		die("poll", errno, NULL);
	if (!got)
		die("requests", -ETIMEDOUT, client->is_live ? "no call" : "no backend");
	for (unsigned int i = 0; i < nr; i++)
		if ((fds[i].revents & POLLIN) && read(fds[i].fd, &count, sizeof(count)) < 0 &&
		    errno != EAGAIN)
			die("call", errno, NULL);
	if (fds[nr].revents) {
		got = vhu_frontend_process(client->frontend);
		if (got < 0)
			die("frontend", got, NULL);
	}
}

/* Sends requests of one type until the whole disk had one, all queues in turn, and takes them back. */
static void pass(struct client *client, uint32_t type)
{
	client->next = 0;
	while (client->next < client->nr_sectors || client->nr_out) {
		bool any = false;

		for (unsigned int i = 0; client->is_live && i < client->nr_queues; i++) {
			struct queue *queue = &client->queues[i];

			any |= take_all(client, queue);
			while (client->next < client->nr_sectors) {
				uint64_t left = client->nr_sectors - client->next;
				uint32_t nr = 1 + client->sizes * 2654435761U / 33554432;

				nr = nr > left ? (uint32_t)left : nr;
				if (!send_request(client, queue, type, client->next, nr * SECTOR))
					break;
				client->sizes++;
				client->next += nr;
				any = true;
			}
			vhu_driver_publish(queue->driver);
		}
		if (!any)
			sleep_on_all(client);
	}
}

/* One request alone, waited for. */
static void one(struct client *client, uint32_t type, uint64_t sector, uint32_t len)
{
	while (!client->is_live)
		sleep_on_all(client);
	if (!send_request(client, &client->queues[0], type, sector, len))
		die("request", -ENOSPC, NULL);
	vhu_driver_publish(client->queues[0].driver);
	while (client->nr_out) {
		if (!client->is_live || !take_all(client, &client->queues[0]))
			sleep_on_all(client);
	}
}

/* ---- Commands ---- */

static void map_file(struct client *client, bool is_new)
{
	uint64_t size = client->nr_sectors * SECTOR;
	int fd = open(client->file,
		      is_new ? O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC : O_RDONLY | O_CLOEXEC, 0600);

	if (fd < 0 || (is_new && ftruncate(fd, (off_t)size)))
		die(client->file, errno, NULL);
	if (lseek(fd, 0, SEEK_END) < (off_t)size)
		die(client->file, EINVAL, "shorter than the disk");
	client->bytes = mmap(NULL, size, is_new ? PROT_READ | PROT_WRITE : PROT_READ,
			     is_new ? MAP_SHARED : MAP_PRIVATE, fd, 0);
	if (client->bytes == MAP_FAILED)
		die(client->file, errno, NULL);
	close(fd);
}

static void write_disk(struct client *client)
{
	do {
		client->rounds++;
		pass(client, BLK_T_OUT);
		one(client, BLK_T_FLUSH, 0, 0);
		pass(client, BLK_T_IN);
	} while (client->until_term && !told_to_end);
	client->expect_error = true;
	one(client, BLK_T_IN, client->nr_sectors, SECTOR);
}

static void finish(struct client *client)
{
	struct vhu_driver_stats stats, sum = { 0 };

	wait_done(client, "stop", vhu_frontend_stop(client->frontend, NULL, NULL));
	for (unsigned int i = 0; i < client->nr_queues; i++) {
		vhu_driver_get_stats(client->queues[i].driver, &stats);
		sum.added += stats.added;
		sum.taken += stats.taken;
		sum.kicks += stats.kicks;
		sum.resubmitted += stats.resubmitted;
		if (vhu_driver_outstanding(client->queues[i].driver))
			die("ring", -EPROTO, "something is outstanding at the end");
	}
	printf("\"requests\": %" PRIu64 ", \"rounds\": %" PRIu32
	       ", \"most_out\": %u, \"most_out_gone\": %u, \"gone\": %" PRIu64
	       ", \"back\": %" PRIu64 ", \"added\": %" PRIu64 ", \"taken\": %" PRIu64
	       ", \"kicks\": %" PRIu64 ", \"resubmitted\": %" PRIu64 ", ",
	       client->requests, client->rounds, client->most_out, client->most_out_gone,
	       client->gone, client->back, sum.added, sum.taken, sum.kicks, sum.resubmitted);
	for (unsigned int i = 0; i < client->nr_queues; i++)
		vhu_driver_free(client->queues[i].driver);
}

static void parse(struct client *client, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "packed", no_argument, NULL, 'p' },
		{ "indirect", no_argument, NULL, 'i' },
		{ "until-term", no_argument, NULL, 'u' },
		{ "queues", required_argument, NULL, 'q' },
		{ "depth", required_argument, NULL, 'd' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		unsigned int number = optarg ? (unsigned int)strtoul(optarg, NULL, 10) : 0;

		if (c == 'p')
			client->packed = true;
		else if (c == 'i')
			client->indirect = true;
		else if (c == 'q')
			client->nr_queues = number;
		else if (c == 'd')
			client->depth = number;
		else if (c == 'u')
			client->until_term = true;
		else
			exit(2);
	}
	if (argc - optind < 2 || client->nr_queues < 1 || client->nr_queues > QUEUES_MAX ||
	    client->depth < 1 || client->depth > DEPTH_MAX)
		exit(2);
	client->socket = argv[optind];
	client->command = argv[optind + 1];
	client->file = argv[optind + 2];
	if (strcmp(client->command, "info") != 0 && argc - optind < 3)
		exit(2);
}

int main(int argc, char **argv)
{
	static struct client client = { .nr_queues = 1, .depth = 16 };

	parse(&client, argc, argv);
	signal(SIGTERM, on_term);
	greet(&client);
	client.nr_sectors = client.config.capacity;
	printf("{");
	if (strcmp(client.command, "info") != 0) {
		map_file(&client, !strcmp(client.command, "read"));
		start(&client);
		fprintf(stderr, "started\n");
		if (!strcmp(client.command, "read"))
			pass(&client, BLK_T_IN);
		else
			write_disk(&client);
		finish(&client);
		munmap(client.bytes, client.nr_sectors * SECTOR);
	}
	printf("\"capacity\": %" PRIu64
	       ", \"blk_size\": %u, \"num_queues\": %u, \"queue_num\": %" PRIu64
	       ", \"offered\": %" PRIu64 ", \"features\": %" PRIu64 ", \"protocol\": %" PRIu64
	       "}\n",
	       client.config.capacity, client.config.blk_size, client.config.num_queues,
	       vhu_frontend_queue_num(client.frontend), vhu_frontend_offered(client.frontend),
	       vhu_frontend_features(client.frontend),
	       vhu_frontend_protocol_features(client.frontend));
	vhu_frontend_free(client.frontend);
	vhu_memory_free(client.memory);
	return 0;
}
