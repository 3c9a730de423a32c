// SPDX-License-Identifier: MIT
/* Makes and judges numbered frames; knows nothing of the way that they take. */

#include "bench/traffic.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	ETH_LEN = 14,
	TAG_LEN = 4,
	IP_LEN = 20,
	UDP_LEN = 8,
	TCP_LEN = 20,
	TYPE_IPV4 = 0x0800,
	TYPE_VLAN = 0x8100,
	TYPE_QINQ = 0x88a8,
	PROTO_TCP = 6,
	PROTO_UDP = 17,
	PORT_BASE = 49152,
	MAGIC_PLAIN = 0x7662,	/* a label, and anything behind it */
	MAGIC_PATTERN = 0x7663, /* a label with its pattern */
	/* A frame's pattern begins at one of so many places. */
	PATTERN_STARTS = 16384,
	PATTERN_SIZE = PATTERN_STARTS + VHU_NET_FRAME_MAX,
};

/* RFC 2544 has these addresses for measurements: 198.18.0.0/15. */
static const uint8_t net_addr[2] = { 198, 18 };

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, unsigned int value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put32(uint8_t *p, uint32_t value)
{
	put16(p, value >> 16);
	put16(p + 2, value & 0xffff);
}

/* ---- Checksums (RFC 1071) ---- */

/* Adds len bytes, which begin at an even or odd place of what is summed. */
static uint64_t sum_add(uint64_t sum, const uint8_t *p, size_t len, bool *odd)
{
	if (*odd && len) {
		sum += *p++;
		len--;
		*odd = false;
	}
	for (; len >= 2; p += 2, len -= 2)
		sum += get16(p);
	if (len) {
		sum += (uint64_t)*p << 8;
		*odd = true;
	}
	return sum;
}

static uint16_t sum_fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static uint16_t ip_sum(const uint8_t *ip)
{
	uint32_t sum = 0;

	for (int i = 0; i < IP_LEN; i += 2)
		sum += get16(ip + i);
	return sum_fold(sum);
}

/* Of the pseudo header: addresses, protocol, length. */
static uint64_t pseudo_sum(const uint8_t *ip, uint32_t len)
{
	bool odd = false;

	return sum_add(0, ip + 12, 8, &odd) + ip[9] + len;
}

/* ---- Labels and the pattern ---- */

static uint64_t mix(const struct traffic_cell *cell, uint32_t len)
{
	uint64_t x = cell->seq * UINT64_C(0x9e3779b97f4a7c15) +
		     ((uint64_t)cell->run << 16 | cell->flow) * UINT64_C(0xc2b2ae3d27d4eb4f) + len;

	x ^= x >> 32;
	x *= UINT64_C(0xd6e8feb86659fd93);
	return x ^ x >> 29;
}

/* The sequence number has 48 bits: enough for a month at 100 million a second. */
static void put_label(uint8_t *p, const struct traffic_cell *cell, uint64_t mixed)
{
	uint64_t first = (uint64_t)(cell->has_pattern ? MAGIC_PATTERN : MAGIC_PLAIN) << 48 |
			 (uint64_t)cell->flow << 32 | cell->run;
	uint64_t second = cell->seq << 16 | (mixed >> 16 & 0xffff);
	uint16_t third = htobe16((uint16_t)mixed);

	/* in words: this is done for each frame */
	first = htobe64(first);
	second = htobe64(second);
	memcpy(p, &first, 8);
	memcpy(p + 8, &second, 8);
	memcpy(p + 16, &third, 2);
}

/* False: this is no label of a cell of len bytes. */
static bool get_label(const uint8_t *p, uint32_t len, struct traffic_cell *cell, uint64_t *mixed)
{
	cell->has_pattern = get16(p) == MAGIC_PATTERN;
	cell->flow = get16(p + 2);
	cell->run = get32(p + 4);
	cell->seq = (uint64_t)get16(p + 8) << 32 | get32(p + 10);
	*mixed = mix(cell, len);
	return (cell->has_pattern || get16(p) == MAGIC_PLAIN) && get32(p + 14) == (uint32_t)*mixed;
}

static const uint8_t *pattern_of(const struct traffic *t, uint64_t mixed)
{
	return t->pattern + (mixed >> 40) % PATTERN_STARTS;
}

static uint8_t *make_pattern(void)
{
	uint8_t *pattern = malloc(PATTERN_SIZE);
	uint64_t x = UINT64_C(0x853c49e6748fea9b);

	for (size_t i = 0; pattern && i < PATTERN_SIZE; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		pattern[i] = (uint8_t)(x >> 24);
	}
	return pattern;
}

/* ---- What all frames have in common ---- */

/* Takes from a TSO frame's length what would make a segment too short for its label. */
static uint32_t whole_cells(const struct traffic *t, uint32_t size)
{
	uint32_t tail = (size - t->head_len) % TRAFFIC_MSS;

	return tail && tail < TRAFFIC_LABEL_LEN ? size - tail : size;
}

int traffic_init(struct traffic *traffic, const struct traffic_options *options)
{
	/* spread, not in blocks: 7 to 4 to 1 */
	static const uint32_t imix[TRAFFIC_SIZES_MAX] = { 64, 570, 64, 64,   570, 64,
							  64, 570, 64, 1518, 64,  570 };

	*traffic = (struct traffic){ .options = *options, .nr_sizes = 1, .nr_cells = 1 };
	traffic->head_len = ETH_LEN + IP_LEN;
	traffic->head_len += options->vlan ? TAG_LEN : 0;
	traffic->head_len += options->is_tso ? TCP_LEN : UDP_LEN;
	if (!options->size) {
		memcpy(traffic->sizes, imix, sizeof(imix));
		traffic->nr_sizes = TRAFFIC_SIZES_MAX;
	} else if (options->is_tso) {
		traffic->sizes[0] = whole_cells(traffic, options->size);
		traffic->nr_cells =
			(traffic->sizes[0] - traffic->head_len + TRAFFIC_MSS - 1) / TRAFFIC_MSS;
	} else {
		traffic->sizes[0] = options->size;
	}
	traffic->pattern = make_pattern();
	return traffic->pattern ? 0 : -ENOMEM;
}

void traffic_fini(struct traffic *traffic)
{
	free(traffic->pattern);
	traffic->pattern = NULL;
}

uint32_t traffic_max_len(const struct traffic *traffic)
{
	uint32_t max = 0;

	for (unsigned int i = 0; i < traffic->nr_sizes; i++)
		if (traffic->sizes[i] > max)
			max = traffic->sizes[i];
	return max;
}

/* ---- Sending ---- */

/* IPv4 and UDP or TCP for a packet of len bytes; no checksum in UDP, in TCP the device's start. */
static void make_packet(const struct traffic_flow *flow, uint8_t *ip, uint32_t len)
{
	bool is_tcp = flow->traffic->options.is_tso;
	uint8_t *l4 = ip + IP_LEN;

	memset(ip, 0, IP_LEN + (is_tcp ? TCP_LEN : UDP_LEN));
	ip[0] = 0x45;
	put16(ip + 2, len);
	ip[6] = 0x40; /* do not fragment */
	ip[8] = 64;
	ip[9] = is_tcp ? PROTO_TCP : PROTO_UDP;
	memcpy(ip + 12, net_addr, 2);
	ip[15] = 1;
	memcpy(ip + 16, net_addr, 2);
	ip[19] = 2;
	put16(ip + 10, (uint16_t)~ip_sum(ip));
	put16(l4, PORT_BASE + flow->id);
	put16(l4 + 2, PORT_BASE + flow->id);
	if (!is_tcp) {
		put16(l4 + 4, len - IP_LEN);
		return;
	}
	l4[12] = TCP_LEN / 4 << 4;
	l4[13] = 0x10; /* ACK */
	put16(l4 + 14, 0xffff);
	put16(l4 + 16, sum_fold(pseudo_sum(ip, len - IP_LEN)));
}

void traffic_flow_init(struct traffic_flow *flow, const struct traffic *traffic, uint16_t id,
		       const uint8_t src[6], const uint8_t dst[6])
{
	memset(flow, 0, sizeof(*flow));
	flow->traffic = traffic;
	flow->id = id;
	for (unsigned int i = 0; i < traffic->nr_sizes; i++) {
		uint8_t *head = flow->heads[i], *ip = head + ETH_LEN;

		memcpy(head, dst, 6);
		memcpy(head + 6, src, 6);
		if (traffic->options.vlan) {
			put16(head + 12, TYPE_VLAN);
			put16(head + 14, traffic->options.vlan);
			ip += TAG_LEN;
		}
		put16(ip - 2, TYPE_IPV4);
		make_packet(flow, ip, traffic->sizes[i] - (uint32_t)(ip - head));
	}
}

static void make_cell(struct traffic_flow *flow, uint8_t *p, uint32_t len)
{
	struct traffic_cell cell = {
		.run = flow->traffic->options.run,
		.flow = flow->id,
		.seq = flow->next++,
		.has_pattern = flow->traffic->options.with_pattern,
	};
	uint64_t mixed = mix(&cell, len);

	put_label(p, &cell, mixed);
	if (cell.has_pattern)
		memcpy(p + TRAFFIC_LABEL_LEN, pattern_of(flow->traffic, mixed),
		       len - TRAFFIC_LABEL_LEN);
}

uint32_t traffic_make(struct traffic_flow *flow, uint8_t *buf, struct vhu_net_hdr *ret_hdr)
{
	const struct traffic *t = flow->traffic;
	unsigned int head_len = t->head_len;
	uint32_t len = t->sizes[flow->turn];

	*ret_hdr = (struct vhu_net_hdr){ 0 };
	memcpy(buf, flow->heads[flow->turn], head_len);
	if (++flow->turn == t->nr_sizes)
		flow->turn = 0;
	if (!t->options.is_tso) {
		make_cell(flow, buf + head_len, len - head_len);
		return len;
	}
	/* the byte stream goes on from frame to frame */
	put32(buf + head_len - TCP_LEN + 4, (uint32_t)(flow->next * TRAFFIC_MSS));
	for (uint32_t at = head_len; at < len; at += TRAFFIC_MSS)
		make_cell(flow, buf + at, len - at < TRAFFIC_MSS ? len - at : TRAFFIC_MSS);
	ret_hdr->flags = VHU_NET_HDR_NEEDS_CSUM;
	ret_hdr->csum_start = (uint16_t)(head_len - TCP_LEN);
	ret_hdr->csum_offset = 16;
	if (len - head_len > TRAFFIC_MSS) {
		ret_hdr->gso_type = VHU_NET_GSO_TCPV4;
		ret_hdr->gso_size = TRAFFIC_MSS;
		ret_hdr->hdr_len = (uint16_t)head_len;
	}
	return len;
}

/* ---- Receiving ---- */

/* A place in a frame whose rest lies in pieces. */
struct cursor {
	const uint8_t *at;
	size_t left; /* in this piece */
	const struct iovec *next;
	unsigned int nr_next;
};

static struct cursor cursor_at(const struct vhu_net_frame *frame, uint32_t at)
{
	/* headers are always in the private head */
	return (struct cursor){ frame->head + at, frame->head_len - at, frame->iov, frame->nr_iov };
}

/* The next piece of at most len bytes, which are known to be there; its length. */
static size_t cursor_piece(struct cursor *c, size_t len, const uint8_t **ret_piece)
{
	while (!c->left && c->nr_next) {
		c->at = c->next->iov_base;
		c->left = c->next->iov_len;
		c->next++;
		c->nr_next--;
	}
	if (len > c->left)
		len = c->left;
	*ret_piece = c->at;
	c->at += len;
	c->left -= len;
	return len;
}

static void cursor_copy(struct cursor *c, uint8_t *to, size_t len)
{
	while (len) {
		const uint8_t *piece;
		size_t n = cursor_piece(c, len, &piece);

		if (!n)
			return;
		memcpy(to, piece, n);
		to += n;
		len -= n;
	}
}

static bool cursor_equals(struct cursor *c, const uint8_t *with, size_t len)
{
	bool equal = true;

	while (len) {
		const uint8_t *piece;
		size_t n = cursor_piece(c, len, &piece);

		if (!n)
			return false;
		equal &= !memcmp(piece, with, n);
		with += n;
		len -= n;
	}
	return equal;
}

/* A packet of ours in a frame. */
struct packet {
	uint32_t ip, l4, data; /* where these begin */
	uint32_t data_len;
	bool is_tcp;
};

static enum traffic_verdict find_packet(const struct vhu_net_frame *frame, struct packet *packet)
{
	const uint8_t *head = frame->head;
	uint32_t ip = ETH_LEN, l4_len;

	while (frame->head_len >= ip + TAG_LEN &&
	       (get16(head + ip - 2) == TYPE_VLAN || get16(head + ip - 2) == TYPE_QINQ))
		ip += TAG_LEN;
	if (frame->head_len < ip + IP_LEN + UDP_LEN || get16(head + ip - 2) != TYPE_IPV4 ||
	    head[ip] != 0x45 || memcmp(head + ip + 12, net_addr, 2) ||
	    memcmp(head + ip + 16, net_addr, 2))
		return TRAFFIC_FOREIGN;
	packet->is_tcp = head[ip + 9] == PROTO_TCP;
	if (!packet->is_tcp && head[ip + 9] != PROTO_UDP)
		return TRAFFIC_FOREIGN;
	l4_len = packet->is_tcp ? TCP_LEN : UDP_LEN;
	packet->ip = ip;
	packet->l4 = ip + IP_LEN;
	packet->data = packet->l4 + l4_len;
	if (frame->head_len < packet->data || get16(head + packet->l4) < PORT_BASE)
		return TRAFFIC_FOREIGN;
	if (frame->len < packet->data + TRAFFIC_LABEL_LEN ||
	    get16(head + ip + 2) != frame->len - ip)
		return TRAFFIC_CORRUPT;
	packet->data_len = frame->len - packet->data;
	return TRAFFIC_OURS;
}

/* The checksums that the frame says to be complete. */
static bool sums_are_right(const struct vhu_net_frame *frame, const struct packet *packet)
{
	const uint8_t *ip = frame->head + packet->ip;
	uint32_t left = frame->len - packet->l4;
	struct cursor c = cursor_at(frame, packet->l4);
	uint64_t sum;
	bool odd = false;

	if (ip_sum(ip) != 0xffff)
		return false;
	if (!packet->is_tcp || frame->hdr.flags & (VHU_NET_HDR_NEEDS_CSUM | VHU_NET_HDR_DATA_VALID))
		return true;
	sum = pseudo_sum(ip, left);
	while (left) {
		const uint8_t *piece;
		size_t n = cursor_piece(&c, left, &piece);

		if (!n)
			return false;
		sum = sum_add(sum, piece, n, &odd);
		left -= (uint32_t)n;
	}
	return sum_fold(sum) == 0xffff;
}

static enum traffic_verdict check_cells(const struct traffic *t, const struct vhu_net_frame *frame,
					const struct packet *packet, traffic_cell_fn *fn, void *arg)
{
	uint32_t left = packet->data_len, size = left;
	struct cursor c = cursor_at(frame, packet->data);
	enum traffic_verdict verdict = TRAFFIC_OURS;

	if (frame->hdr.gso_type != VHU_NET_GSO_NONE && frame->hdr.gso_size >= TRAFFIC_LABEL_LEN)
		size = frame->hdr.gso_size;
	while (left) {
		uint8_t label[TRAFFIC_LABEL_LEN] = { 0 };
		uint32_t len = left < size ? left : size;
		struct traffic_cell cell;
		uint64_t mixed;

		if (len < TRAFFIC_LABEL_LEN)
			return TRAFFIC_CORRUPT;
		cursor_copy(&c, label, sizeof(label));
		left -= len;
		len -= TRAFFIC_LABEL_LEN;
		if (!get_label(label, len + TRAFFIC_LABEL_LEN, &cell, &mixed))
			return TRAFFIC_CORRUPT;
		if (!t->options.with_pattern || !cell.has_pattern) {
			while (len) {
				const uint8_t *piece;
				size_t n = cursor_piece(&c, len, &piece);

				if (!n)
					return TRAFFIC_CORRUPT;
				len -= (uint32_t)n;
			}
		} else if (!cursor_equals(&c, pattern_of(t, mixed), len)) {
			verdict = TRAFFIC_CORRUPT;
			continue;
		}
		fn(arg, &cell);
	}
	return verdict;
}

enum traffic_verdict traffic_check(const struct traffic *traffic, const struct vhu_net_frame *frame,
				   traffic_cell_fn *fn, void *arg)
{
	struct packet packet;
	enum traffic_verdict verdict = find_packet(frame, &packet);

	if (verdict != TRAFFIC_OURS)
		return verdict;
	if (traffic->options.with_pattern && !sums_are_right(frame, &packet))
		return TRAFFIC_CORRUPT;
	return check_cells(traffic, frame, &packet, fn, arg);
}
