/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer entry: any bytes as a frame with its virtio_net_hdr, through the check and the fitting.
 *
 * Promises: nothing outside of the frame is read, what is emitted fits the receiver, begins with
 * the same Ethernet header and tags, and is bounded in number and size. A broken one aborts.
 * tests/unit/test_net_fuzz.c drives it without libFuzzer. With it:
 *	clang -g -O1 -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -Iinclude -Ilib \
 *		tests/fuzz/fuzz_net_fit.c build-asan/lib/libvhu.a -o fuzz_net_fit
 *
 * Input: 4 bytes that choose features, caps, head length and pieces; 10 of header; the frame.
 */
#include <stdlib.h>
#include <string.h>

#include <vhu/net.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PROMISE(cond)                                                                              \
	do {                                                                                       \
		if (!(cond))                                                                       \
			abort();                                                                   \
	} while (0)

struct watch {
	const uint8_t *bytes; /* of the frame in one piece */
	uint32_t len;
	uint32_t caps;
	unsigned int nr;
	uint64_t total;
	uint8_t sum; /* keeps the reads alive */
};

static uint32_t l2_len(const uint8_t *bytes, uint32_t len)
{
	uint32_t at = 12;

	while (at < 20 && at + 6 <= len &&
	       ((bytes[at] == 0x81 && bytes[at + 1] == 0x00) ||
		(bytes[at] == 0x88 && bytes[at + 1] == 0xa8)))
		at += 4;
	return at + 2;
}

static int emit(void *arg, const struct vhu_net_frame *frame)
{
	struct watch *watch = arg;
	uint64_t len = frame->head_len;

	PROMISE(frame->head_len <= VHU_NET_HEAD_MAX && frame->nr_iov <= VHU_NET_IOV_MAX);
	PROMISE(vhu_net_fits(frame, watch->caps));
	PROMISE(frame->head_len >= l2_len(watch->bytes, watch->len));
	PROMISE(!memcmp(frame->head, watch->bytes, l2_len(watch->bytes, watch->len)));
	for (unsigned int i = 0; i < frame->nr_iov; i++) {
		const uint8_t *piece = frame->iov[i].iov_base;

		len += frame->iov[i].iov_len;
		for (size_t at = 0; at < frame->iov[i].iov_len; at++)
			watch->sum ^= piece[at];
	}
	PROMISE(len == frame->len);
	watch->nr++;
	watch->total += len;
	return 0;
}

/* The features and caps that a byte stands for: all of them more often than not. */
static uint64_t features_of(uint8_t choice)
{
	if (choice & 1)
		return UINT64_MAX;
	return UINT64_MAX ^ (uint64_t)choice << 10 ^
	       (choice & 2 ? VHU_MASK(VHU_NET_F_CSUM_BIT) : 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct iovec iov[64];
	struct watch watch = { 0 };
	struct vhu_net_frame frame = { .iov = iov };
	struct vhu_reason why;
	uint8_t *head;
	uint32_t at;
	int err;

	if (size < 14 + 14 || size - 14 > VHU_NET_FRAME_MAX)
		return 0;
	watch.bytes = data + 14;
	watch.len = (uint32_t)size - 14;
	watch.caps = data[1] & 0x7f;
	frame.hdr.flags = data[4];
	frame.hdr.gso_type = data[5];
	memcpy(&frame.hdr.hdr_len, data + 6, 2);
	memcpy(&frame.hdr.gso_size, data + 8, 2);
	memcpy(&frame.hdr.csum_start, data + 10, 2);
	memcpy(&frame.hdr.csum_offset, data + 12, 2);
	if (vhu_net_hdr_check(&frame.hdr, watch.len, features_of(data[0]), &why) != 0) {
		PROMISE(memchr(why.text, 0, sizeof(why.text)));
		return 0;
	}
	/* Each part in a block of its own, so that a byte too many is seen. */
	frame.len = watch.len;
	at = data[2] < VHU_NET_HEAD_MAX - 1 ? data[2] : VHU_NET_HEAD_MAX;
	at = at < 22 ? 22 : at;
	at = at < frame.len ? at : frame.len;
	frame.head_len = (uint16_t)at;
	head = malloc(at);
	PROMISE(head);
	memcpy(head, watch.bytes, at);
	frame.head = head;
	while (at < frame.len) {
		const uint32_t left = frame.len - at;
		uint32_t n = data[3] * 5u + (frame.nr_iov * 7u) % 11;

		n = n < left && frame.nr_iov < 63 ? n : left;
		iov[frame.nr_iov].iov_base = malloc(n ? n : 1);
		iov[frame.nr_iov].iov_len = n;
		PROMISE(iov[frame.nr_iov].iov_base);
		memcpy(iov[frame.nr_iov++].iov_base, watch.bytes + at, n);
		at += n;
	}
	err = vhu_net_fit(&frame, watch.caps, emit, &watch);
	PROMISE(err == 0 ? watch.nr > 0 : watch.nr == 0);
	PROMISE(watch.nr <= 2048);
	PROMISE(watch.total <= frame.len + (uint64_t)watch.nr * VHU_NET_HEAD_MAX);
	for (unsigned int i = 0; i < frame.nr_iov; i++)
		free(iov[i].iov_base);
	free(head);
	return 0;
}
