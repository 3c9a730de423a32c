/* SPDX-License-Identifier: MIT */
/*
 * Nanoseconds for the checksum and for making a frame fit; knows nothing of rings or copies.
 *
 * The best of several runs is printed: what the machine can do, not what it was busy with. Frames
 * are in the cache; out of a guest that just wrote them on another CPU it takes longer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <vhu/net.h>

#include <net/csum.h>

enum {
	RUNS = 9,
	RUN_NS = 20000000,
};

static uint8_t bytes[VHU_NET_FRAME_MAX + 64];
static volatile uint64_t sink;

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The least time of one call of what, which is called again and again. */
static double best(void (*what)(void *arg), void *arg)
{
	double least = 1e18;

	for (int run = 0; run < RUNS; run++) {
		const uint64_t begin = now_ns();
		uint64_t nr = 0, end;

		do {
			for (int i = 0; i < 16; i++)
				what(arg);
			nr += 16;
			end = now_ns();
		} while (end - begin < RUN_NS);
		if ((double)(end - begin) / (double)nr < least)
			least = (double)(end - begin) / (double)nr;
	}
	return least;
}

static void sum_wide(void *arg)
{
	sink += vhu_csum_piece(bytes, *(size_t *)arg);
}

static void sum_plain(void *arg)
{
	sink += vhu_csum_piece_plain(bytes, *(size_t *)arg);
}

struct job {
	struct vhu_net_frame frame;
	struct iovec iov[32];
	uint32_t caps;
};

static int emit(void *arg, const struct vhu_net_frame *frame)
{
	(void)arg;
	sink += frame->len;
	return 0;
}

static void fit(void *arg)
{
	const struct job *job = arg;

	if (vhu_net_fit(&job->frame, job->caps, emit, NULL) != 0)
		abort();
}

/* TCP over IPv4 with timestamps, len bytes in all, in pieces of 4 KiB. */
static void make_job(struct job *job, uint32_t len, uint8_t gso_type, uint32_t caps)
{
	uint32_t at = 128;

	memset(job, 0, sizeof(*job));
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + (i >> 8));
	bytes[12] = 0x08;
	bytes[13] = 0x00;
	bytes[14] = 0x45;
	memset(bytes + 20, 0, 2);
	bytes[23] = 6;
	bytes[46] = 0x80;
	job->frame.hdr = (struct vhu_net_hdr){ .flags = VHU_NET_HDR_NEEDS_CSUM,
					       .gso_type = gso_type,
					       .gso_size = gso_type ? 1448 : 0,
					       .csum_start = 34,
					       .csum_offset = 16 };
	job->frame.len = len;
	job->frame.head_len = (uint16_t)(len < at ? len : at);
	job->frame.head = bytes;
	job->frame.iov = job->iov;
	while (at < len) {
		const uint32_t n = len - at < 4096 ? len - at : 4096;

		job->iov[job->frame.nr_iov++] = (struct iovec){ bytes + at, n };
		at += n;
	}
	job->caps = caps;
}

int main(void)
{
	static const size_t sizes[] = { 20, 64, 256, 1448, 1500, 4096, 65536 };
	static const struct {
		const char *name;
		uint32_t len;
		uint8_t gso_type;
		uint32_t caps;
	} fits[] = {
		{ "1514 bytes, fits", 1514, 0, VHU_NET_CAP_CSUM },
		{ "1514 bytes, checksum completed", 1514, 0, 0 },
		{ "64 KiB TSO, fits", 65226, VHU_NET_GSO_TCPV4, 0x7f },
		{ "64 KiB TSO, cut, checksums left", 65226, VHU_NET_GSO_TCPV4, VHU_NET_CAP_CSUM },
		{ "64 KiB TSO, cut, checksums completed", 65226, VHU_NET_GSO_TCPV4, 0 },
	};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t size = sizes[i];
		const double wide = best(sum_wide, &size);
		const double plain = best(sum_plain, &size);

		printf("checksum %6zu bytes        %8.1f ns  %6.1f bytes/ns   (any CPU: %8.1f ns)\n",
		       size, wide, (double)size / wide, plain);
	}
	for (size_t i = 0; i < sizeof(fits) / sizeof(fits[0]); i++) {
		struct job job;

		make_job(&job, fits[i].len, fits[i].gso_type, fits[i].caps);
		printf("%-40s %8.1f ns\n", fits[i].name, best(fit, &job));
	}
	return 0;
}
