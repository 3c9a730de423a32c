/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* Messages that cannot be: sizes, counts of fds, indices, unknown requests, floods and stalls. */
#include <sys/socket.h>
#include <unistd.h>

#include "hostile.h"

#define NR(array) (sizeof(array) / sizeof((array)[0]))

enum {
	NR_RINGS = 4
};

/* What each request brings when it is right, from the specification. */
static const struct request {
	uint32_t id;
	const char *name;
	uint32_t size;
	unsigned int nr_fds;
	bool any_size;	   /* the payload has no fixed size */
	bool may_bring_fd; /* REM_MEM_REG; the three vring fds are tested by themselves */
} requests[] = {
	{ VHU_GET_FEATURES, "GET_FEATURES", 0, 0, false, false },
	{ VHU_SET_FEATURES, "SET_FEATURES", 8, 0, false, false },
	{ VHU_SET_OWNER, "SET_OWNER", 0, 0, false, false },
	{ VHU_RESET_OWNER, "RESET_OWNER", 0, 0, false, false },
	{ VHU_SET_MEM_TABLE, "SET_MEM_TABLE", 8 + 32, 1, true, false },
	{ VHU_SET_LOG_BASE, "SET_LOG_BASE", 16, 1, false, false },
	{ VHU_SET_LOG_FD, "SET_LOG_FD", 0, 1, false, false },
	{ VHU_SET_VRING_NUM, "SET_VRING_NUM", 8, 0, false, false },
	{ VHU_SET_VRING_ADDR, "SET_VRING_ADDR", 40, 0, false, false },
	{ VHU_SET_VRING_BASE, "SET_VRING_BASE", 8, 0, false, false },
	{ VHU_GET_VRING_BASE, "GET_VRING_BASE", 8, 0, false, false },
	{ VHU_SET_VRING_KICK, "SET_VRING_KICK", 8, 1, false, false },
	{ VHU_SET_VRING_CALL, "SET_VRING_CALL", 8, 1, false, false },
	{ VHU_SET_VRING_ERR, "SET_VRING_ERR", 8, 1, false, false },
	{ VHU_GET_PROTOCOL_FEATURES, "GET_PROTOCOL_FEATURES", 0, 0, false, false },
	{ VHU_SET_PROTOCOL_FEATURES, "SET_PROTOCOL_FEATURES", 8, 0, false, false },
	{ VHU_GET_QUEUE_NUM, "GET_QUEUE_NUM", 0, 0, false, false },
	{ VHU_SET_VRING_ENABLE, "SET_VRING_ENABLE", 8, 0, false, false },
	{ VHU_SEND_RARP, "SEND_RARP", 8, 0, false, false },
	{ VHU_NET_SET_MTU, "NET_SET_MTU", 8, 0, false, false },
	{ VHU_SET_BACKEND_REQ_FD, "SET_BACKEND_REQ_FD", 0, 1, false, false },
	{ VHU_IOTLB_MSG, "IOTLB_MSG", sizeof(struct vhu_iotlb), 0, false, false },
	{ VHU_GET_CONFIG, "GET_CONFIG", 12 + 8, 0, true, false },
	{ VHU_SET_CONFIG, "SET_CONFIG", 12 + 8, 0, true, false },
	{ VHU_GET_INFLIGHT_FD, "GET_INFLIGHT_FD", sizeof(struct vhu_inflight), 0, true, false },
	{ VHU_SET_INFLIGHT_FD, "SET_INFLIGHT_FD", sizeof(struct vhu_inflight), 1, true, false },
	{ VHU_RESET_DEVICE, "RESET_DEVICE", 0, 0, false, false },
	{ VHU_GET_MAX_MEM_SLOTS, "GET_MAX_MEM_SLOTS", 0, 0, false, false },
	{ VHU_ADD_MEM_REG, "ADD_MEM_REG", 40, 1, false, false },
	{ VHU_REM_MEM_REG, "REM_MEM_REG", 40, 0, false, true },
	{ VHU_SET_STATUS, "SET_STATUS", 8, 0, false, false },
	{ VHU_GET_STATUS, "GET_STATUS", 0, 0, false, false },
};

static const struct drv_options four_rings = { .nr_rings = NR_RINGS };
static uint8_t zeros[2 * VHU_MSG_MAX_PAYLOAD];

/* Sends from scratch; if the other side closes, with a reason that has the words, all is well. */
static void expect_closed(struct hostile *h, const struct request *row, uint32_t size,
			  unsigned int nr_fds, const char *words)
{
	int fds[64];

	for (unsigned int i = 0; i < nr_fds; i++)
		fds[i] = h->drv.mem.region[0].fd;
	hostile_closes(h, row->id, 0, zeros, size, fds, nr_fds, words);
}

static void more_fds_than_due(struct hostile *h)
{
	static const unsigned int more[] = { 1, 2, 7 };

	for (unsigned int i = 0; i < NR(requests); i++) {
		const struct request *row = &requests[i];

		for (unsigned int j = 0; j < NR(more); j++) {
			if (row->may_bring_fd && more[j] == 1)
				continue;
			expect_closed(h, row, row->size, row->nr_fds + more[j], row->name);
		}
	}
}

static void a1_more_fds_than_due_are_all_closed(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, NULL), more_fds_than_due);
}

static void fewer_fds_than_due(struct hostile *h)
{
	for (unsigned int i = 0; i < NR(requests); i++) {
		const struct request *row = &requests[i];

		/* An fd of a ring is missing in the case of a21. */
		if (row->nr_fds && row->id != VHU_SET_VRING_KICK && row->id != VHU_SET_VRING_CALL &&
		    row->id != VHU_SET_VRING_ERR)
			hostile_refused(h, row->id, zeros, row->size, NULL, 0, row->name);
	}
}

static void a1_fewer_fds_than_due_are_refused(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, NULL), fewer_fds_than_due);
}

static void fds_beyond_the_control_buffer(struct hostile *h)
{
	for (unsigned int nr = 8; nr <= 64; nr *= 2)
		expect_closed(h, &requests[0], 0, nr, "GET_FEATURES");
	/* With a header that would be right. */
	for (unsigned int nr = 9; nr <= 64; nr += 11)
		expect_closed(h, &requests[4], 8 + 32 * 8, nr, "fd");
}

static void a2_more_fds_than_can_be_received_are_all_closed(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, NULL),
		       fds_beyond_the_control_buffer);
}

static void fds_in_the_wrong_place(struct hostile *h)
{
	struct vhu_msg_hdr hdr = { VHU_SET_LOG_FD, VHU_MSG_VERSION, 0 };
	unsigned int closed = h->victim.closed;

	/* With the second half of a header: they belong to its first byte. */
	drv_send_bytes(&h->drv, &hdr, 6, NULL, 0);
	fixture_settle();
	drv_send_bytes(&h->drv, (uint8_t *)&hdr + 6, 6, &h->drv.mem.region[0].fd, 1);
	assert_true(drv_is_closed(&h->drv));
	assert_int_equal(h->victim.closed, closed + 1);
	fixture_check_reason(&h->victim, "fd");
}

static void a2_fds_in_mid_message_are_closed(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, NULL), fds_in_the_wrong_place);
}

static void inflight_requests(struct hostile *h)
{
	static const struct vhu_inflight rows[] = {
		{ 4096, 0, 2, 256, 0 },
		{ 0, 0, 0, 0, 0 },
		{ UINT64_MAX, UINT64_MAX, UINT16_MAX, UINT16_MAX, 0 },
	};
	int fd = h->drv.mem.region[0].fd;

	for (unsigned int i = 0; i < NR(rows); i++) {
		hostile_refused(h, VHU_GET_INFLIGHT_FD, &rows[i], sizeof(rows[i]), NULL, 0,
				"GET_INFLIGHT_FD");
		hostile_refused(h, VHU_GET_INFLIGHT_FD, &rows[i], sizeof(rows[i]), &fd, 1,
				"GET_INFLIGHT_FD");
		hostile_refused(h, VHU_SET_INFLIGHT_FD, &rows[i], sizeof(rows[i]), &fd, 1,
				"SET_INFLIGHT_FD");
	}
}

static void a3_a4_a8_a9_inflight_is_refused_by_name(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), inflight_requests);
}

static void many_sizes(struct hostile *h)
{
	for (unsigned int i = 0; i < 500; i++) {
		struct vhu_vring_state ring = { i % 2, 1U << (i % 16) };

		assert_int_equal(drv_ack(&h->drv, VHU_SET_VRING_NUM, &ring, sizeof(ring), NULL, 0),
				 0);
	}
	drv_check_in_step(&h->drv);
}

static void a5_ring_size_set_many_times_leaks_nothing(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, NULL), many_sizes);
}

static void with_index(struct hostile *h, uint32_t index)
{
	static const struct request *const names[] = { &requests[7], &requests[9], &requests[10],
						       &requests[17] };
	struct vhu_vring_addr addr;

	for (unsigned int i = 0; i < NR(names); i++) {
		struct vhu_vring_state ring = { index, names[i]->id == VHU_SET_VRING_NUM ? 64 : 0 };

		if (names[i]->id == VHU_GET_VRING_BASE)
			hostile_closes(h, names[i]->id, 0, &ring, sizeof(ring), NULL, 0,
				       names[i]->name);
		else
			hostile_refused(h, names[i]->id, &ring, sizeof(ring), NULL, 0,
					names[i]->name);
	}
	drv_fill_addr(&h->drv, 0, &addr);
	addr.index = index;
	hostile_refused(h, VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0, "SET_VRING_ADDR");
}

static void wide_index(struct hostile *h)
{
	with_index(h, 0x10000);
	with_index(h, 0x10001);
	with_index(h, 0x100);
	with_index(h, 0x80000001);
}

static void a6_ring_index_is_judged_at_full_width(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, NULL), wide_index);
}

static void index_beyond(struct hostile *h)
{
	static const struct request *const fds[] = { &requests[11], &requests[12], &requests[13] };

	with_index(h, NR_RINGS);
	with_index(h, 255);
	with_index(h, UINT32_MAX);
	for (unsigned int i = 0; i < NR(fds); i++) {
		for (uint64_t index = NR_RINGS; index < 256; index += 250 - NR_RINGS) {
			uint64_t none = index | VHU_VRING_NOFD_MASK;

			hostile_refused(h, fds[i]->id, &index, 8, &h->drv.ring[0].kick_fd, 1,
					fds[i]->name);
			hostile_refused(h, fds[i]->id, &none, 8, NULL, 0, fds[i]->name);
		}
	}
}

static void a7_ring_index_beyond_the_last_is_refused_in_each_message(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, &four_rings), index_beyond);
}

static void sizes_that_are_wrong(struct hostile *h)
{
	for (unsigned int i = 0; i < NR(requests); i++) {
		const struct request *row = &requests[i];
		uint32_t sizes[] = { row->size + 1, row->size + 8, 4096,
				     row->size ? row->size - 1 : 1, row->size ? 0 : 2 };

		/* A payload of free size has its own length in it. */
		for (unsigned int j = row->any_size ? 3 : 0; j < NR(sizes); j++)
			expect_closed(h, row, sizes[j], row->nr_fds, row->name);
	}
}

static void a12_size_that_is_not_the_one_of_the_request_closes(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, NULL), sizes_that_are_wrong);
}

static void headers_that_are_wrong(struct hostile *h)
{
	static const struct vhu_msg_hdr hdrs[] = {
		{ VHU_SET_FEATURES, VHU_MSG_VERSION, 4097 },
		{ VHU_SET_FEATURES, VHU_MSG_VERSION, UINT32_MAX },
		{ VHU_SET_FEATURES, VHU_MSG_VERSION, 0x80000000 },
		{ VHU_GET_FEATURES, 0, 0 },
		{ VHU_GET_FEATURES, 2, 0 },
		{ VHU_GET_FEATURES, 3, 0 },
		{ VHU_GET_FEATURES, VHU_MSG_VERSION | VHU_MSG_REPLY, 0 },
		{ 9999, VHU_MSG_VERSION, 4097 },
	};

	for (unsigned int i = 0; i < NR(hdrs); i++) {
		unsigned int closed = h->victim.closed;

		fixture_forget_reasons(&h->victim);
		drv_send_bytes(&h->drv, &hdrs[i], sizeof(hdrs[i]), NULL, 0);
		assert_true(drv_is_closed(&h->drv));
		assert_int_equal(h->victim.closed, closed + 1);
		assert_true(h->victim.closed_err < 0);
		fixture_check_reason(&h->victim, i < 7 ? "_FEATURES" : "9999");
		hostile_again(h);
	}
}

static void a12_header_that_cannot_be_closes(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, NULL), headers_that_are_wrong);
}

static void end_in_mid_message(struct hostile *h)
{
	struct vhu_msg_hdr hdr = { VHU_SET_MEM_TABLE, VHU_MSG_VERSION, 8 + 32 };
	uint8_t bytes[12 + 40] = { 0 };

	memcpy(bytes, &hdr, 12);
	for (unsigned int len = 1; len < sizeof(bytes); len += 7) {
		unsigned int closed = h->victim.closed;

		drv_send_bytes(&h->drv, bytes, len, &h->drv.mem.region[0].fd, 1);
		fixture_pump(NULL);
		drv_disconnect(&h->drv);
		assert_true(check_until(fixture_pump(NULL), h->victim.closed == closed + 1));
		assert_true(h->victim.closed_err < 0);
		hostile_again(h);
	}
}

static void a12_end_in_mid_message_leaks_nothing(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, NULL), end_in_mid_message);
}

static void a12_stall_in_mid_message_ends_at_a_deadline(void **state)
{
	struct hostile *h = hostile_begin(state, false, FIXTURE_SINK, NULL);
	struct vhu_msg_hdr hdr = { VHU_SET_VRING_NUM, VHU_MSG_VERSION, 8 };
	int64_t begin;

	fixture_attach(&h->victim, &h->drv, NULL);
	drv_start(&h->drv);
	drv_send_bytes(&h->drv, &hdr, sizeof(hdr), &h->drv.mem.region[0].fd, 1);
	begin = check_now_ms();
	while (h->victim.closed == 0) {
		fixture_pump(NULL);
		hostile_check_bystander(h);
		assert_true(check_now_ms() < begin + CHECK_PATIENCE_MS);
	}
	assert_true(h->victim.closed_err < 0);
	assert_true(drv_is_closed(&h->drv));
	assert_true(strlen(h->victim.closed_reason) > 0);
}

static void wrong_counts(struct hostile *h)
{
	struct {
		uint32_t nr, pad;
		struct vhu_region region[9];
	} table = { 0 };
	int fds[9];

	for (unsigned int i = 0; i < 9; i++) {
		table.region[i].gpa = UINT64_C(0x100000000) + i * 0x10000;
		table.region[i].uva = UINT64_C(0xee00000000) + i * 0x10000;
		table.region[i].size = 0x10000;
		table.region[i].mmap_offset = i * 0x10000;
		fds[i] = h->drv.mem.region[0].fd;
	}
	hostile_refused(h, VHU_SET_MEM_TABLE, &table, 8, NULL, 0, "SET_MEM_TABLE");
	table.nr = 9;
	fds[0] = h->drv.mem.region[0].fd;
	for (unsigned int i = 0; i < 9; i++)
		fds[i] = h->drv.mem.region[0].fd;
	hostile_refused(h, VHU_SET_MEM_TABLE, &table, 8 + 9 * 32, fds, 8, "SET_MEM_TABLE");
	table.nr = UINT32_MAX;
	fds[0] = h->drv.mem.region[0].fd;
	hostile_refused(h, VHU_SET_MEM_TABLE, &table, 8 + 32, fds, 1, "SET_MEM_TABLE");
	for (unsigned int nr = 0; nr < 4; nr++) {
		/* Two regions with another number of fds. */
		if (nr == 2)
			continue;
		table.nr = 2;
		for (unsigned int i = 0; i < 9; i++)
			fds[i] = h->drv.mem.region[0].fd;
		hostile_refused(h, VHU_SET_MEM_TABLE, &table, 8 + 64, fds, nr, "SET_MEM_TABLE|fd");
	}
}

static void a13_count_of_regions_has_to_be_right(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), wrong_counts);
}

static void config_out_of_bounds(struct hostile *h)
{
	static const struct vhu_config rows[] = {
		{ .offset = 256, .size = 8 },	     { .offset = 250, .size = 8 },
		{ .offset = UINT32_MAX, .size = 8 }, { .offset = UINT32_MAX - 7, .size = 8 },
		{ .offset = 0, .size = 257 },	     { .offset = 0, .size = UINT32_MAX },
	};

	for (unsigned int i = 0; i < NR(rows); i++) {
		uint32_t bytes = rows[i].size <= 256 ? rows[i].size : 8;
		unsigned int closed = h->victim.closed;
		struct vhu_msg reply;
		int ret;

		drv_send(&h->drv, VHU_GET_CONFIG, 0, &rows[i], 12 + bytes, NULL, 0);
		ret = drv_recv(&h->drv, &reply, CHECK_PATIENCE_MS);
		if (ret == 1) {
			/* "size 0 on error" is what the specification has for that. */
			assert_int_equal(reply.hdr.request, VHU_GET_CONFIG);
			assert_true(reply.hdr.size == 0 || reply.config.size == 0);
			drv_check_in_step(&h->drv);
		} else {
			assert_int_equal(ret, -ECONNRESET);
			assert_int_equal(h->victim.closed, closed + 1);
			hostile_again(h);
		}
		fixture_check_reason(&h->victim, "GET_CONFIG");
	}
	hostile_refused(h, VHU_SET_CONFIG, &rows[1], 20, NULL, 0, "SET_CONFIG");
}

static void a24_config_beyond_its_space_is_refused(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, NULL), config_out_of_bounds);
}

static void unknown_requests(struct hostile *h)
{
	static const uint32_t ids[] = { 0, 46, 47, 99, 255, 256, 257, 65537, UINT32_MAX };

	for (unsigned int i = 0; i < NR(ids); i++) {
		char id[16];

		snprintf(id, sizeof(id), "%u", ids[i]);
		hostile_refused(h, ids[i], zeros, 8, NULL, 0, id);
		/* With an fd: that is closed too. */
		hostile_refused(h, ids[i], zeros, 8, &h->drv.mem.region[0].fd, 1, id);
	}
}

static void a25_unknown_requests_are_refused_by_number(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, NULL), unknown_requests);
}

static void not_offered(struct hostile *h)
{
	static const unsigned int bits[] = { VHU_F_RING_RESET_BIT, VHU_NET_F_CTRL_VQ_BIT,
					     VHU_F_ACCESS_PLATFORM_BIT, 63 };
	static const unsigned int protocol_bits[] = { VHU_P_INFLIGHT_SHMFD_BIT,
						      VHU_P_INBAND_NOTIFICATIONS_BIT,
						      VHU_P_PAGEFAULT_BIT, 63 };

	for (unsigned int i = 0; i < NR(bits); i++) {
		uint64_t value = FIXTURE_NET_FEATURES | VHU_MASK(bits[i]);

		hostile_refused(h, VHU_SET_FEATURES, &value, 8, NULL, 0, "SET_FEATURES");
		value = VHU_BACKEND_PROTOCOL_FEATURES | VHU_MASK(protocol_bits[i]);
		hostile_refused(h, VHU_SET_PROTOCOL_FEATURES, &value, 8, NULL, 0,
				"SET_PROTOCOL_FEATURES");
	}
}

static void a25_features_that_were_not_offered_are_refused(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, NULL), not_offered);
}

/* Every request as the very first message, alone and with NEED_REPLY. */
static void before_negotiation(struct hostile *h)
{
	for (unsigned int i = 0; i < NR(requests); i++) {
		for (uint32_t flags = 0; flags <= VHU_MSG_NEED_REPLY; flags += VHU_MSG_NEED_REPLY) {
			struct vhu_msg msg;
			struct drv drv;
			int fd;

			drv_disconnect(&h->drv);
			assert_true(check_until(fixture_pump(NULL),
						h->victim.closed == h->victim.connected));
			drv_init(&drv, NULL);
			drv.pump = fixture_pump;
			assert_int_equal(drv_connect(&drv, h->victim.path), 0);
			fd = drv.mem.region[0].fd;
			drv_send(&drv, requests[i].id, flags, zeros, requests[i].size, &fd,
				 requests[i].nr_fds);
			fixture_settle();
			while (drv_recv(&drv, &msg, 0) == 1)
				assert_true(msg.hdr.flags & VHU_MSG_REPLY);
			drv_disconnect(&drv);
			assert_true(check_until(fixture_pump(NULL),
						h->victim.closed == h->victim.connected));
			drv_free(&drv);
			fixture_forget_reasons(&h->victim);
		}
	}
}

static void a25_any_message_may_be_the_first(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, NULL), before_negotiation);
}

static void crypto_and_iotlb(struct hostile *h)
{
	struct vhu_iotlb iotlb = { UINT64_MAX - 10, UINT64_MAX, 0x1000, 3, 2, { 0 } };
	uint8_t session[1024];

	memset(session, 0xff, sizeof(session));
	hostile_refused(h, VHU_CLOSE_CRYPTO_SESSION, session, 8, NULL, 0, "CLOSE_CRYPTO_SESSION");
	for (uint32_t size = 0; size <= sizeof(session); size += 256)
		hostile_refused(h, VHU_CREATE_CRYPTO_SESSION, session, size, NULL, 0,
				"CREATE_CRYPTO_SESSION");
	hostile_refused(h, VHU_IOTLB_MSG, &iotlb, sizeof(iotlb), NULL, 0, "IOTLB_MSG");
	iotlb.size = 0;
	hostile_refused(h, VHU_IOTLB_MSG, &iotlb, sizeof(iotlb), NULL, 0, "IOTLB_MSG");
}

static void a23_a26_crypto_and_iotlb_are_refused_by_name(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), crypto_and_iotlb);
}

/* Sends questions and reads no answer, until the other side has had enough. */
static void a30_peer_that_never_reads_is_given_up(void **state)
{
	struct hostile *h = hostile_begin(state, false, FIXTURE_SINK, NULL);
	struct vhu_msg_hdr hdr = { VHU_GET_FEATURES, VHU_MSG_VERSION, 0 };
	int64_t begin = check_now_ms();
	uint64_t sent = 0;

	fixture_attach(&h->victim, &h->drv, NULL);
	drv_start(&h->drv);
	while (h->victim.closed == 0) {
		for (unsigned int i = 0; i < 64; i++)
			if (send(h->drv.sock, &hdr, sizeof(hdr), MSG_NOSIGNAL | MSG_DONTWAIT) ==
			    sizeof(hdr))
				sent++;
		fixture_pump(NULL);
		if (sent % 1024 < 64)
			hostile_check_bystander(h);
		assert_true(check_now_ms() < begin + 2 * CHECK_PATIENCE_MS);
	}
	assert_true(h->victim.closed_err < 0);
	assert_true(strlen(h->victim.closed_reason) > 0);
	hostile_check_bystander(h);
	fixture_detach(&h->victim, &h->drv);
	/* The next one finds a backend that answers. */
	fixture_attach(&h->victim, &h->drv, NULL);
	drv_start(&h->drv);
}

static void one_more_connection(struct hostile *h)
{
	for (unsigned int i = 0; i < 5; i++) {
		struct drv second;

		drv_init(&second, NULL);
		second.pump = fixture_pump;
		if (drv_connect(&second, h->victim.path) == 0) {
			drv_send_bytes(&second, zeros, 100, &second.mem.region[0].fd, 1);
			assert_true(drv_is_closed(&second));
		}
		drv_free(&second);
		hostile_sends(h);
	}
}

static void a32_second_connection_does_no_harm(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), one_more_connection);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		hostile_test(a1_more_fds_than_due_are_all_closed),
		hostile_test(a1_fewer_fds_than_due_are_refused),
		hostile_test(a2_more_fds_than_can_be_received_are_all_closed),
		hostile_test(a2_fds_in_mid_message_are_closed),
		hostile_test(a3_a4_a8_a9_inflight_is_refused_by_name),
		hostile_test(a5_ring_size_set_many_times_leaks_nothing),
		hostile_test(a6_ring_index_is_judged_at_full_width),
		hostile_test(a7_ring_index_beyond_the_last_is_refused_in_each_message),
		hostile_test(a12_size_that_is_not_the_one_of_the_request_closes),
		hostile_test(a12_header_that_cannot_be_closes),
		hostile_test(a12_end_in_mid_message_leaks_nothing),
		hostile_test(a12_stall_in_mid_message_ends_at_a_deadline),
		hostile_test(a13_count_of_regions_has_to_be_right),
		hostile_test(a23_a26_crypto_and_iotlb_are_refused_by_name),
		hostile_test(a24_config_beyond_its_space_is_refused),
		hostile_test(a25_unknown_requests_are_refused_by_number),
		hostile_test(a25_features_that_were_not_offered_are_refused),
		hostile_test(a25_any_message_may_be_the_first),
		hostile_test(a30_peer_that_never_reads_is_given_up),
		hostile_test(a32_second_connection_does_no_harm),
	};

	return cmocka_run_group_tests_name("hostile messages", tests, NULL, NULL);
}
