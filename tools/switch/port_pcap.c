// SPDX-License-Identifier: MIT
/*
 * Ports that write what passes through the switch to a file, in the format that tcpdump and
 * Wireshark read (the pcap format, draft-ietf-opsawg-pcap, with nanoseconds).
 *
 * Frames are gathered in memory and written when there are enough or when the worker has nothing
 * else to do. A reader that is slower than the switch (the file may be a FIFO) loses frames; it
 * never holds up the others.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "switch/control.h"

enum {
	BUFFER_SIZE = 1024 * 1024,
	FLUSH_SIZE = 256 * 1024,
	FILE_HDR_LEN = 24,
	RECORD_HDR_LEN = 16,
	SNAP_LEN = 262144,
	LINKTYPE_ETHERNET = 1,
};

struct pcap {
	int fd;
	atomic_flag lock;
	size_t len;	  /* in the buffer, of whole records but for the first of a rest */
	size_t committed; /* of these */
	uint8_t *buffer;
};

/* Host byte order: a reader knows it by the magic number. */
static void put32(uint8_t *p, uint32_t value)
{
	memcpy(p, &value, sizeof(value));
}

static void put16(uint8_t *p, unsigned int value)
{
	uint16_t half = (uint16_t)value;

	memcpy(p, &half, sizeof(half));
}

/* Writes what is committed, as far as the file takes it. 0, or -errno. */
static int flush(struct pcap *pcap)
{
	size_t done = 0;
	int ret = 0;

	while (done < pcap->committed) {
		ssize_t n = write(pcap->fd, pcap->buffer + done, pcap->committed - done);

		if (n < 0) {
			ret = -errno;
			break;
		}
		done += (size_t)n;
	}
	if (!done)
		return ret;
	memmove(pcap->buffer, pcap->buffer + done, pcap->len - done);
	pcap->len -= done;
	pcap->committed -= done;
	return ret;
}

/* ---- On the control thread ---- */

static int open_file(const char *path)
{
	struct stat st;
	int flags = O_WRONLY | O_CREAT | O_TRUNC;

	/* A FIFO that nobody reads yet cannot be opened for writing alone. */
	if (!stat(path, &st) && S_ISFIFO(st.st_mode))
		flags = O_RDWR;
	return open(path, flags | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0600);
}

static int pcap_open(struct sw_port *port, char *err, size_t size)
{
	struct pcap *pcap = calloc(1, sizeof(*pcap));
	uint8_t *hdr;
	int ret = 0;

	if (!pcap)
		return -ENOMEM;
	port->kind = pcap;
	atomic_flag_clear(&pcap->lock);
	pcap->fd = -1;
	pcap->buffer = malloc(BUFFER_SIZE);
	if (!pcap->buffer)
		return -ENOMEM;
	pcap->fd = open_file(port->spec.target);
	if (pcap->fd < 0)
		ret = -errno;
	hdr = pcap->buffer;
	put32(hdr, 0xa1b23c4d);
	put16(hdr + 4, 2);
	put16(hdr + 6, 4);
	put32(hdr + 8, 0);
	put32(hdr + 12, 0);
	put32(hdr + 16, SNAP_LEN);
	put32(hdr + 20, LINKTYPE_ETHERNET);
	pcap->len = pcap->committed = FILE_HDR_LEN;
	if (!ret)
		ret = flush(pcap);
	if (ret)
		snprintf(err, size, "%s: %s", port->spec.target, strerror(-ret));
	return ret;
}

static int pcap_close(struct sw_port *port)
{
	(void)port;
	return 0;
}

static void pcap_free(struct sw_port *port)
{
	struct pcap *pcap = port->kind;

	if (!pcap)
		return;
	if (pcap->fd >= 0) {
		flush(pcap);
		close(pcap->fd);
	}
	free(pcap->buffer);
	free(pcap);
}

static void pcap_info(const struct sw_port *port, struct sw_port_info *info)
{
	(void)port;
	info->state = "up";
}

/* ---- On a worker ---- */

static enum sw_visit pcap_visit(struct sw_worker *worker, struct sw_queue *queue)
{
	(void)worker;
	(void)queue;
	return SW_VISIT_EMPTY;
}

/* Frames go to the file as they came, whatever is still to be done to them. */
static uint32_t pcap_caps(const struct sw_queue *queue)
{
	(void)queue;
	return UINT32_MAX;
}

static bool pcap_trylock(struct sw_queue *queue)
{
	struct pcap *pcap = queue->port->kind;

	return !atomic_flag_test_and_set_explicit(&pcap->lock, memory_order_acquire);
}

static void pcap_unlock(struct sw_queue *queue)
{
	struct pcap *pcap = queue->port->kind;

	atomic_flag_clear_explicit(&pcap->lock, memory_order_release);
}

static int pcap_push(struct sw_queue *queue, const struct vhu_net_frame *frame)
{
	struct pcap *pcap = queue->port->kind;
	struct timespec now;
	uint8_t *to;

	/* Then what is there gets committed, and the file another try. */
	if (BUFFER_SIZE - pcap->len < RECORD_HDR_LEN + (size_t)frame->len)
		return -ENOSPC;
	clock_gettime(CLOCK_REALTIME, &now);
	to = pcap->buffer + pcap->len;
	put32(to, (uint32_t)now.tv_sec);
	put32(to + 4, (uint32_t)now.tv_nsec);
	put32(to + 8, frame->len);
	put32(to + 12, frame->len);
	to += RECORD_HDR_LEN;
	memcpy(to, frame->head, frame->head_len);
	to += frame->head_len;
	for (unsigned int i = 0; i < frame->nr_iov; i++) {
		memcpy(to, frame->iov[i].iov_base, frame->iov[i].iov_len);
		to += frame->iov[i].iov_len;
	}
	pcap->len += RECORD_HDR_LEN + (size_t)frame->len;
	return 0;
}

static int pcap_commit(struct sw_queue *queue)
{
	struct pcap *pcap = queue->port->kind;

	pcap->committed = pcap->len;
	if (pcap->len >= FLUSH_SIZE)
		flush(pcap);
	return 0;
}

static void pcap_rewind(struct sw_queue *queue)
{
	struct pcap *pcap = queue->port->kind;

	pcap->len = pcap->committed;
}

static void pcap_idle(struct sw_queue *queue)
{
	struct pcap *pcap = queue->port->kind;

	if (!pcap_trylock(queue))
		return;
	if (pcap->committed)
		flush(pcap);
	pcap_unlock(queue);
}

const struct sw_port_ops sw_port_pcap_ops = {
	.kind = "pcap",
	.is_mirror = true,
	.open = pcap_open,
	.close = pcap_close,
	.free = pcap_free,
	.info = pcap_info,
	.visit = pcap_visit,
	.caps = pcap_caps,
	.trylock = pcap_trylock,
	.unlock = pcap_unlock,
	.push = pcap_push,
	.commit = pcap_commit,
	.rewind = pcap_rewind,
	.idle = pcap_idle,
};
