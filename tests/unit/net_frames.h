/* SPDX-License-Identifier: MIT */
/*
 * Frames for tests of lib/net, and what should become of them: slow, byte by byte, and sharing no
 * line with the code under test.
 */
#ifndef TESTS_UNIT_NET_FRAMES_H
#define TESTS_UNIT_NET_FRAMES_H

#include <vhu/net.h>

struct rnd {
	uint64_t state;
};
/* A number below n; n is not 0. */
uint32_t rnd_below(struct rnd *rnd, uint32_t n);
static inline bool rnd_one_in(struct rnd *rnd, uint32_t n)
{
	return rnd_below(rnd, n) == 0;
}

/* Which frame to build. */
struct sample {
	unsigned int nr_vlan;	  /* 0 to 2 */
	unsigned int version;	  /* 4 or 6 */
	unsigned int proto;	  /* 6: TCP, 17: UDP */
	unsigned int ip_options;  /* bytes, a multiple of 4 up to 40; IPv4 */
	unsigned int nr_ext;	  /* IPv6 extension headers, up to 4 */
	uint8_t ext[4];		  /* 0, 43 or 60 */
	uint8_t ext_units[4];	  /* of 8 bytes beyond the first */
	unsigned int tcp_options; /* bytes, a multiple of 4 up to 40 */
	uint8_t tcp_flags;
	uint32_t payload_len;
};

/* The frame in one piece, as a sender builds it: the checksum field holds the pseudo header sum. */
struct flat {
	struct sample of;
	uint32_t l3, l4, payload, len;
	uint32_t frag, frag_next; /* where IPv6 fragments, and the byte naming what comes there */
	uint8_t final_dst[16];	  /* the address that the pseudo header has */
	uint8_t bytes[VHU_NET_FRAME_MAX];
};
void flat_random_sample(struct rnd *rnd, struct sample *ret_sample);
void flat_build(struct rnd *rnd, const struct sample *sample, struct flat *ret_flat);
/* The hdr of a sender that leaves checksum and cutting (gso_type 0: only the checksum) to others. */
struct vhu_net_hdr flat_hdr(const struct flat *flat, uint8_t gso_type, uint16_t gso_size);

/* The flat bytes as head_len bytes of head and nr_pieces pieces at most, each malloc'ed exactly. */
struct pieces {
	struct vhu_net_frame frame;
	struct iovec iov[VHU_NET_IOV_MAX];
	uint8_t *head;
};
void pieces_make(struct rnd *rnd, const struct flat *flat, uint32_t head_len,
		 unsigned int nr_pieces, struct pieces *ret_pieces);
void pieces_free(struct pieces *pieces);

/* What was emitted, copied together. */
enum {
	CATCH_FRAMES = 2200,
};
struct catcher {
	unsigned int nr;
	unsigned int fail_at; /* emit refuses this one with -ENOSPC; 0: none */
	const char *wrong;    /* the first broken promise about how frames are handed over */
	struct vhu_net_hdr hdr[CATCH_FRAMES];
	uint32_t len[CATCH_FRAMES];
	uint32_t at[CATCH_FRAMES];
	uint32_t used;
	uint8_t bytes[1 << 20];
};
void catcher_reset(struct catcher *catcher);
int catcher_emit(void *arg, const struct vhu_net_frame *frame);

/* The sum of big-endian words, odd byte padded behind, folded. */
uint16_t ref_sum(const uint8_t *bytes, size_t len, uint32_t begin);
/* The same over the pseudo header for l4_len bytes, final_dst included. */
uint16_t ref_pseudo(const struct flat *flat, uint32_t l4_len);

/*
 * NULL if catcher holds exactly what should become of the frame with this hdr (that needs a cut)
 * for a receiver that does or does not complete checksums; else what is wrong.
 */
const char *ref_check_cut(const struct flat *flat, const struct vhu_net_hdr *hdr, bool offloaded,
			  const struct catcher *catcher);
const char *ref_check_fragments(const struct flat *flat, const struct vhu_net_hdr *hdr,
				bool offloaded, const struct catcher *catcher);
/* The same where only the checksum had to be completed. */
const char *ref_check_complete(const struct flat *flat, const struct catcher *catcher);

#endif
