/* SPDX-License-Identifier: MIT */
/*
 * Copies of some bytes without a call: headers, small frames, the used elements of a burst; and how
 * they are asked for beforehand. Knows nothing of whose they are. Bytes that change meanwhile give a
 * copy of some mixture.
 */
#ifndef VHU_BASE_COPY_H
#define VHU_BASE_COPY_H

#include <string.h>

#include <base/bits.h>

enum {
	VHU_COPY_INLINE = 256, /* more is left to libc, which knows the processor */
	VHU_COPY_HDR = 12,     /* a net header with num_buffers */
};

/*
 * The beginning of a small frame with its net header, which another processor has in its cache:
 * all of a burst are asked for before the first is needed. To be written is more than to be read:
 * the line has to be taken away from there. That is not asked of a line that has nothing but a header
 * at its end, as DPDK's buffers do: what stands there is mostly right, see vhu_net_push_burst().
 */
static VHU_ALWAYS_INLINE void vhu_prefetch_read(const uint8_t *bytes)
{
	__builtin_prefetch(bytes);
	__builtin_prefetch(bytes + 64);
}

static VHU_ALWAYS_INLINE void vhu_prefetch_write(uint8_t *bytes)
{
#if defined(__x86_64__)
	/* gcc makes it only for processors named to it; all others ignore it */
	__asm__ volatile("prefetchw %c1(%0)\n\tprefetchw 64(%0)" : : "r"(bytes), "i"(VHU_COPY_HDR));
#else
	__builtin_prefetch(bytes + VHU_COPY_HDR, 1);
	__builtin_prefetch(bytes + 64, 1);
#endif
	__builtin_prefetch(bytes);
}

/* Any length from size to twice as much: both ends, which may overlap. */
static VHU_ALWAYS_INLINE void vhu_copy_ends(uint8_t *to, const uint8_t *from, size_t len,
					    const size_t size)
{
	__builtin_memcpy(to, from, size);
	__builtin_memcpy(to + len - size, from + len - size, size);
}

static VHU_ALWAYS_INLINE void vhu_copy(void *to, const void *from, size_t len)
{
	const uint8_t *f = from;
	uint8_t *t = to;

	if (__builtin_constant_p(len)) {
		__builtin_memcpy(t, f, len);
	} else if (len > 64) {
		if (vhu_unlikely(len > VHU_COPY_INLINE)) {
			memcpy(t, f, len);
			return;
		}
		for (; len > 64; len -= 32, t += 32, f += 32)
			__builtin_memcpy(t, f, 32);
		vhu_copy_ends(t, f, len, 32);
	} else if (vhu_likely(len >= 32)) {
		vhu_copy_ends(t, f, len, 32);
	} else if (len >= 16) {
		vhu_copy_ends(t, f, len, 16);
	} else if (len >= 8) {
		vhu_copy_ends(t, f, len, 8);
	} else if (len >= 4) {
		vhu_copy_ends(t, f, len, 4);
	} else {
		while (len--)
			*t++ = *f++;
	}
}

#endif
