/* SPDX-License-Identifier: MIT */
/*
 * The Internet checksum (RFC 1071) of bytes in pieces. Knows nothing of frames.
 *
 * Sums are of 16-bit words as they lie in memory: the folded result is stored as it is, on hosts of
 * either byte order. A folded sum is zero only if all that went in was zero.
 */
#ifndef VHU_NET_CSUM_H
#define VHU_NET_CSUM_H

#include <endian.h>
#include <string.h>

#include <base/bits.h>

struct vhu_csum {
	uint64_t sum;
	bool odd; /* an odd number of bytes so far: the next piece counts with its bytes swapped */
};

/*
 * The sum of len bytes at an even offset, below 2^33. The bytes may change meanwhile: then it is the
 * sum of some mixture.
 */
VHU_HIDDEN uint64_t vhu_csum_piece(const void *bytes, size_t len);
/* The same as a CPU without the wide registers does it; for tests on one that has them. */
VHU_HIDDEN uint64_t vhu_csum_piece_plain(const void *bytes, size_t len);

static inline uint16_t vhu_csum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static inline void vhu_csum_add(struct vhu_csum *csum, const void *bytes, size_t len)
{
	uint64_t sum = vhu_csum_piece(bytes, len);

	if (csum->odd)
		sum = __builtin_bswap16(vhu_csum_fold(sum));
	csum->sum += sum;
	csum->odd ^= len & 1;
}

/* Adds a number that stands in the data as 16 bits in network byte order, at an even offset. */
static inline void vhu_csum_add_be16(struct vhu_csum *csum, uint32_t v)
{
	csum->sum += htobe16((uint16_t)v);
}

/* Stores what vhu_csum_fold() gave, or its complement. */
static inline void vhu_csum_store(uint8_t *field, uint16_t csum)
{
	memcpy(field, &csum, sizeof(csum));
}

static inline uint16_t vhu_csum_load(const uint8_t *field)
{
	uint16_t csum;

	memcpy(&csum, field, sizeof(csum));
	return csum;
}

#endif
