/* SPDX-License-Identifier: MIT */
/*
 * The inner loop of the Internet checksum. Knows nothing of frames.
 *
 * 64-bit lanes take 32-bit words, so no carry is lost before 2^32 of them were added; the end folds.
 * One body, compiled twice on x86-64: for any CPU, and with 256-bit registers.
 */
#include <net/csum.h>

/* Four lanes at any address. The compiler splits it where registers are smaller. */
typedef uint64_t lanes __attribute__((vector_size(32), aligned(1), may_alias));

static VHU_ALWAYS_INLINE uint64_t sum_tail(const uint8_t *p, size_t len)
{
	uint64_t sum = 0;
	uint32_t w32;
	uint16_t w16;

	for (; len >= sizeof(w32); p += sizeof(w32), len -= sizeof(w32)) {
		memcpy(&w32, p, sizeof(w32));
		sum += w32;
	}
	if (len >= sizeof(w16)) {
		memcpy(&w16, p, sizeof(w16));
		sum += w16;
		p += sizeof(w16);
		len -= sizeof(w16);
	}
	if (len) {
		const uint8_t padded[2] = { *p, 0 };

		memcpy(&w16, padded, sizeof(w16));
		sum += w16;
	}
	return sum;
}

static VHU_ALWAYS_INLINE uint64_t sum_body(const uint8_t *p, size_t len)
{
	const lanes low_half = { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff };
	lanes even = { 0 }, odd = { 0 };
	uint64_t sum;

	for (; len >= 2 * sizeof(lanes); p += 2 * sizeof(lanes), len -= 2 * sizeof(lanes)) {
		const lanes a = *(const lanes *)p;
		const lanes b = *(const lanes *)(p + sizeof(lanes));

		even += (a & low_half) + (b & low_half);
		odd += (a >> 32) + (b >> 32);
	}
	even += odd;
	sum = sum_tail(p, len);
	for (int i = 0; i < 4; i++)
		sum += (even[i] & 0xffffffff) + (even[i] >> 32);
	return (sum & 0xffffffff) + (sum >> 32);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static uint64_t sum_avx2(const uint8_t *p, size_t len)
{
	return sum_body(p, len);
}
#endif

uint64_t vhu_csum_piece_plain(const void *bytes, size_t len)
{
	return sum_body(bytes, len);
}

uint64_t vhu_csum_piece(const void *bytes, size_t len)
{
	if (len < 2 * sizeof(lanes))
		return sum_tail(bytes, len);
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx2"))
		return sum_avx2(bytes, len);
#endif
	return vhu_csum_piece_plain(bytes, len);
}
