/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* The request table against the specification, written down here a second time and independently. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <vhu/wire.h>

#define NR(array) (sizeof(array) / sizeof((array)[0]))

static const uint64_t all_bits = UINT64_MAX;

/* "Front-end message types": number, name, payload size (-1: several), fds, reply, feature. */
static const struct row {
	uint32_t id;
	const char *name;
	int size;
	unsigned int min_fds, max_fds;
	enum vhu_reply_rule reply;
	int reply_size; /* of a reply with a payload of its own; -1: several */
	int bit;
	bool ring;
} rows[] = {
	{ 1, "GET_FEATURES", 0, 0, 0, VHU_REPLY_ALWAYS, 8, -1, false },
	{ 2, "SET_FEATURES", 8, 0, 0, VHU_REPLY_ACK, 8, -1, false },
	{ 3, "SET_OWNER", 0, 0, 0, VHU_REPLY_ACK, 8, -1, false },
	{ 4, "RESET_OWNER", 0, 0, 0, VHU_REPLY_ACK, 8, -1, false },
	{ 5, "SET_MEM_TABLE", -1, 1, 8, VHU_REPLY_ACK, 8, -1, false },
	{ 6, "SET_LOG_BASE", -1, 0, 1, VHU_REPLY_LOG, -1, -1, false },
	{ 7, "SET_LOG_FD", 0, 1, 1, VHU_REPLY_ACK, 8, -1, false },
	{ 8, "SET_VRING_NUM", 8, 0, 0, VHU_REPLY_ACK, 8, -1, true },
	{ 9, "SET_VRING_ADDR", 40, 0, 0, VHU_REPLY_ACK, 8, -1, true },
	{ 10, "SET_VRING_BASE", 8, 0, 0, VHU_REPLY_ACK, 8, -1, true },
	{ 11, "GET_VRING_BASE", 8, 0, 0, VHU_REPLY_ALWAYS, 8, -1, true },
	{ 12, "SET_VRING_KICK", 8, 0, 1, VHU_REPLY_ACK, 8, -1, true },
	{ 13, "SET_VRING_CALL", 8, 0, 1, VHU_REPLY_ACK, 8, -1, true },
	{ 14, "SET_VRING_ERR", 8, 0, 1, VHU_REPLY_ACK, 8, -1, true },
	{ 15, "GET_PROTOCOL_FEATURES", 0, 0, 0, VHU_REPLY_ALWAYS, 8, -1, false },
	{ 16, "SET_PROTOCOL_FEATURES", 8, 0, 0, VHU_REPLY_ACK, 8, -1, false },
	{ 17, "GET_QUEUE_NUM", 0, 0, 0, VHU_REPLY_ALWAYS, 8, VHU_P_MQ_BIT, false },
	{ 18, "SET_VRING_ENABLE", 8, 0, 0, VHU_REPLY_ACK, 8, -1, true },
	{ 19, "SEND_RARP", 8, 0, 0, VHU_REPLY_ACK, 8, VHU_P_RARP_BIT, false },
	{ 20, "NET_SET_MTU", 8, 0, 0, VHU_REPLY_ACK, 8, VHU_P_NET_MTU_BIT, false },
	{ 21, "SET_BACKEND_REQ_FD", 0, 1, 1, VHU_REPLY_ACK, 8, VHU_P_BACKEND_REQ_BIT, false },
	{ 22, "IOTLB_MSG", -1, 0, 0, VHU_REPLY_ACK, 8, -1, false },
	{ 23, "SET_VRING_ENDIAN", 8, 0, 0, VHU_REPLY_ACK, 8, VHU_P_CROSS_ENDIAN_BIT, true },
	{ 24, "GET_CONFIG", -1, 0, 0, VHU_REPLY_ALWAYS, -1, VHU_P_CONFIG_BIT, false },
	{ 25, "SET_CONFIG", -1, 0, 0, VHU_REPLY_ACK, 8, VHU_P_CONFIG_BIT, false },
	{ 26, "CREATE_CRYPTO_SESSION", -1, 0, 0, VHU_REPLY_ALWAYS, -1, VHU_P_CRYPTO_SESSION_BIT,
	  false },
	{ 27, "CLOSE_CRYPTO_SESSION", 8, 0, 0, VHU_REPLY_ACK, 8, VHU_P_CRYPTO_SESSION_BIT, false },
	{ 28, "POSTCOPY_ADVISE", 0, 0, 0, VHU_REPLY_ALWAYS, -1, VHU_P_PAGEFAULT_BIT, false },
	{ 29, "POSTCOPY_LISTEN", 0, 0, 0, VHU_REPLY_ACK, 8, VHU_P_PAGEFAULT_BIT, false },
	{ 30, "POSTCOPY_END", 0, 0, 0, VHU_REPLY_ALWAYS, 8, VHU_P_PAGEFAULT_BIT, false },
	{ 31, "GET_INFLIGHT_FD", -1, 0, 0, VHU_REPLY_ALWAYS, -1, VHU_P_INFLIGHT_SHMFD_BIT, false },
	{ 32, "SET_INFLIGHT_FD", -1, 1, 1, VHU_REPLY_ACK, 8, VHU_P_INFLIGHT_SHMFD_BIT, false },
	{ 33, "GPU_SET_SOCKET", 0, 1, 1, VHU_REPLY_ACK, 8, -1, false },
	{ 34, "RESET_DEVICE", 0, 0, 0, VHU_REPLY_ACK, 8, VHU_P_RESET_DEVICE_BIT, false },
	{ 35, "VRING_KICK", 8, 0, 0, VHU_REPLY_ACK, 8, VHU_P_INBAND_NOTIFICATIONS_BIT, true },
	{ 36, "GET_MAX_MEM_SLOTS", 0, 0, 0, VHU_REPLY_ALWAYS, 8, VHU_P_CONFIGURE_MEM_SLOTS_BIT,
	  false },
	{ 37, "ADD_MEM_REG", 40, 1, 1, VHU_REPLY_ACK, 8, VHU_P_CONFIGURE_MEM_SLOTS_BIT, false },
	{ 38, "REM_MEM_REG", 40, 0, 1, VHU_REPLY_ACK, 8, VHU_P_CONFIGURE_MEM_SLOTS_BIT, false },
	{ 39, "SET_STATUS", 8, 0, 0, VHU_REPLY_ACK, 8, VHU_P_STATUS_BIT, false },
	{ 40, "GET_STATUS", 0, 0, 0, VHU_REPLY_ALWAYS, 8, VHU_P_STATUS_BIT, false },
	{ 41, "GET_SHARED_OBJECT", 16, 0, 0, VHU_REPLY_ALWAYS, -1, VHU_P_SHARED_OBJECT_BIT, false },
	{ 42, "SET_DEVICE_STATE_FD", 8, 1, 1, VHU_REPLY_ALWAYS, 8, VHU_P_DEVICE_STATE_BIT, false },
	{ 43, "CHECK_DEVICE_STATE", 0, 0, 0, VHU_REPLY_ALWAYS, 8, VHU_P_DEVICE_STATE_BIT, false },
	{ 44, "GET_SHMEM_CONFIG", 0, 0, 0, VHU_REPLY_ALWAYS, -1, VHU_P_SHMEM_BIT, false },
	{ 45, "GET_VRING_BASE_SKIP_DRAIN", 8, 0, 0, VHU_REPLY_ALWAYS, 8,
	  VHU_P_GET_VRING_BASE_SKIP_DRAIN_BIT, true },
};

static void every_request_has_the_row_of_the_specification(void **state)
{
	(void)state;
	assert_int_equal(NR(rows), VHU_REQUEST_END - 1);
	for (unsigned int i = 0; i < NR(rows); i++) {
		const struct vhu_request_row *row = vhu_request_row(VHU_CHANNEL_MAIN, rows[i].id);

		assert_non_null(row);
		assert_int_equal(row->id, rows[i].id);
		assert_string_equal(row->name, rows[i].name);
		assert_int_equal(row->min_fds, rows[i].min_fds);
		assert_int_equal(row->max_fds, rows[i].max_fds);
		assert_int_equal(row->reply, rows[i].reply);
		assert_int_equal(row->protocol_bit, rows[i].bit);
		assert_int_equal(!!(row->flags & VHU_ROW_RING), rows[i].ring);
		const struct vhu_payload_row *payload = vhu_payload_row(row->payload);

		assert_non_null(payload);
		if (rows[i].size >= 0) {
			assert_int_equal(payload->min_size, rows[i].size);
			assert_int_equal(payload->max_size, rows[i].size);
		} else {
			assert_true(payload->min_size <= payload->max_size);
			assert_true(payload->max_size <= VHU_MSG_MAX_PAYLOAD);
		}
		payload = vhu_payload_row(row->reply_payload);
		assert_non_null(payload);
		if (rows[i].reply_size >= 0)
			assert_int_equal(payload->max_size, rows[i].reply_size);
	}
}

static void what_a_network_device_needs_is_implemented(void **state)
{
	static const uint32_t needed[] = { 1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11,
					   12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 24,
					   31, 32, 34, 35, 36, 37, 38, 39, 40 };
	static const uint32_t later[] = { 22, 23, 26, 27, 28, 29, 30, 33, 41, 42, 43, 44, 45 };

	(void)state;
	for (unsigned int i = 0; i < NR(needed); i++)
		assert_true(vhu_request_row(VHU_CHANNEL_MAIN, needed[i])->flags &
			    VHU_ROW_IMPLEMENTED);
	for (unsigned int i = 0; i < NR(later); i++)
		assert_false(vhu_request_row(VHU_CHANNEL_MAIN, later[i])->flags &
			     VHU_ROW_IMPLEMENTED);
}

static void backend_requests_have_rows(void **state)
{
	static const char *const names[] = {
		"IOTLB_MSG", "CONFIG_CHANGE",	  "VRING_HOST_NOTIFIER",  "VRING_CALL",
		"VRING_ERR", "SHARED_OBJECT_ADD", "SHARED_OBJECT_REMOVE", "SHARED_OBJECT_LOOKUP",
		"SHMEM_MAP", "SHMEM_UNMAP",
	};

	(void)state;
	assert_int_equal(NR(names), VHU_BACKEND_REQUEST_END - 1);
	for (uint32_t i = 0; i < NR(names); i++) {
		const struct vhu_request_row *row = vhu_request_row(VHU_CHANNEL_BACKEND, i + 1);

		assert_non_null(row);
		/* A trace tells the two channels apart by the name too, or by the column. */
		assert_non_null(strstr(row->name, names[i]));
	}
}

static void numbers_beyond_the_table_have_no_row(void **state)
{
	static const uint32_t numbers[] = { 0,	 VHU_REQUEST_END, 100,	     255, 256,
					    257, 0x10001,	  UINT32_MAX };

	(void)state;
	for (unsigned int i = 0; i < NR(numbers); i++) {
		assert_null(vhu_request_row(VHU_CHANNEL_MAIN, numbers[i]));
		assert_null(vhu_request_row(VHU_CHANNEL_BACKEND, numbers[i]));
	}
	assert_null(vhu_request_row(VHU_CHANNEL_BACKEND, VHU_BACKEND_REQUEST_END));
}

/* Something that fits the row, with as many fds as it needs at least. */
static void make(struct vhu_msg *msg, const struct vhu_request_row *row)
{
	uint32_t size = vhu_payload_row(row->payload)->min_size;

	memset(msg, 0, sizeof(*msg));
	if (row->payload == VHU_PAYLOAD_MEM_TABLE)
		size = 8 + 32;
	if (row->payload == VHU_PAYLOAD_LOG)
		size = 16;
	vhu_msg_init(msg, row->id, 0, size);
	msg->nr_fds = row->min_fds;
	if (row->payload == VHU_PAYLOAD_MEM_TABLE)
		msg->mem.nr = 1;
	if (row->payload == VHU_PAYLOAD_CONFIG) {
		msg->config.size = 4;
		msg->hdr.size = 12 + 4;
	}
	if (row->payload == VHU_PAYLOAD_VRING_FD)
		msg->u64 = row->min_fds ? 0 : VHU_VRING_NOFD_MASK;
	if (row->id == VHU_SET_LOG_BASE)
		msg->nr_fds = 1;
}

static int check(const struct vhu_msg *msg, uint64_t bits, struct vhu_reason *why)
{
	return vhu_wire_check(VHU_CHANNEL_MAIN, msg, false, bits, 4, why);
}

static void right_messages_pass(void **state)
{
	struct vhu_reason why = { "" };
	struct vhu_msg msg;

	(void)state;
	for (unsigned int i = 0; i < NR(rows); i++) {
		make(&msg, vhu_request_row(VHU_CHANNEL_MAIN, rows[i].id));
		assert_int_equal(vhu_wire_check_hdr(VHU_CHANNEL_MAIN, &msg.hdr, false, &why), 0);
		if (check(&msg, all_bits, &why) != 0)
			fail_msg("%s: %s", rows[i].name, why.text);
	}
}

static void wrong_sizes_are_malformed(void **state)
{
	struct vhu_reason why;
	struct vhu_msg msg;

	(void)state;
	for (unsigned int i = 0; i < NR(rows); i++) {
		const struct vhu_request_row *row = vhu_request_row(VHU_CHANNEL_MAIN, rows[i].id);

		if (rows[i].size < 0)
			continue;
		make(&msg, row);
		msg.hdr.size++;
		assert_int_equal(check(&msg, all_bits, &why), -EPROTO);
		assert_non_null(strstr(why.text, rows[i].name));
		if (rows[i].size == 0)
			continue;
		make(&msg, row);
		msg.hdr.size--;
		assert_int_equal(check(&msg, all_bits, &why), -EPROTO);
		assert_non_null(strstr(why.text, rows[i].name));
	}
}

static void wrong_counts_of_fds_are_malformed(void **state)
{
	struct vhu_reason why;
	struct vhu_msg msg;

	(void)state;
	for (unsigned int i = 0; i < NR(rows); i++) {
		const struct vhu_request_row *row = vhu_request_row(VHU_CHANNEL_MAIN, rows[i].id);

		make(&msg, row);
		if (row->max_fds < VHU_MSG_MAX_FDS) {
			msg.nr_fds = row->max_fds + 1U;
			assert_int_equal(check(&msg, all_bits, &why), -EPROTO);
			assert_non_null(strstr(why.text, rows[i].name));
		}
		if (row->min_fds) {
			msg.nr_fds = row->min_fds - 1U;
			assert_int_equal(check(&msg, all_bits, &why), -EPROTO);
		}
	}
	/* One a region. */
	make(&msg, vhu_request_row(VHU_CHANNEL_MAIN, VHU_SET_MEM_TABLE));
	msg.nr_fds = 2;
	assert_int_equal(check(&msg, all_bits, &why), -EPROTO);
	msg.mem.nr = 2;
	assert_int_equal(check(&msg, all_bits, &why), -EPROTO); /* the size is that of one */
	msg.hdr.size = 8 + 64;
	assert_int_equal(check(&msg, all_bits, &why), 0);
	msg.mem.nr = 0;
	msg.nr_fds = 0;
	msg.hdr.size = 8;
	assert_int_equal(check(&msg, all_bits, &why), -EPROTO);
	msg.mem.nr = UINT32_MAX;
	assert_int_equal(check(&msg, all_bits, &why), -EPROTO);
}

static void ring_fd_and_its_bit_exclude_each_other(void **state)
{
	static const uint32_t ids[] = { VHU_SET_VRING_KICK, VHU_SET_VRING_CALL, VHU_SET_VRING_ERR };
	struct vhu_reason why;
	struct vhu_msg msg;

	(void)state;
	for (unsigned int i = 0; i < NR(ids); i++) {
		vhu_msg_init(&msg, ids[i], 0, 8);
		msg.u64 = 3;
		assert_int_equal(check(&msg, all_bits, &why), -EPROTO);
		msg.nr_fds = 1;
		assert_int_equal(check(&msg, all_bits, &why), 0);
		assert_int_equal(vhu_wire_ring(VHU_CHANNEL_MAIN, &msg), 3);
		msg.u64 |= VHU_VRING_NOFD_MASK;
		assert_int_equal(check(&msg, all_bits, &why), -EPROTO);
		msg.nr_fds = 0;
		assert_int_equal(check(&msg, all_bits, &why), 0);
		assert_int_equal(vhu_wire_ring(VHU_CHANNEL_MAIN, &msg), 3);
		/* its acknowledgement has a value in that place */
		msg.hdr.flags |= VHU_MSG_REPLY;
		assert_int_equal(vhu_wire_ring(VHU_CHANNEL_MAIN, &msg), -1);
	}
	vhu_msg_init(&msg, VHU_GET_VRING_BASE, VHU_MSG_REPLY, 8);
	msg.state.index = 3;
	assert_int_equal(vhu_wire_ring(VHU_CHANNEL_MAIN, &msg), 3);
}

static void ring_index_is_judged_at_full_width(void **state)
{
	static const uint32_t indices[] = { 4, 255, 256, 0x10000, 0x10003, UINT32_MAX };
	struct vhu_reason why;
	struct vhu_msg msg;

	(void)state;
	for (unsigned int i = 0; i < NR(rows); i++) {
		const struct vhu_request_row *row = vhu_request_row(VHU_CHANNEL_MAIN, rows[i].id);

		make(&msg, row);
		assert_int_equal(vhu_wire_ring(VHU_CHANNEL_MAIN, &msg), rows[i].ring ? 0 : -1);
		if (!rows[i].ring)
			continue;
		for (unsigned int j = 0; j < NR(indices); j++) {
			make(&msg, row);
			if (row->payload == VHU_PAYLOAD_VRING_FD) {
				if (indices[j] > 255)
					continue;
				msg.u64 |= indices[j];
			} else {
				msg.state.index = indices[j];
			}
			assert_int_equal(check(&msg, all_bits, &why), -EPROTO);
			assert_non_null(strstr(why.text, rows[i].name));
		}
	}
}

static void request_of_a_feature_not_agreed_is_refused(void **state)
{
	struct vhu_reason why;
	struct vhu_msg msg;

	(void)state;
	for (unsigned int i = 0; i < NR(rows); i++) {
		make(&msg, vhu_request_row(VHU_CHANNEL_MAIN, rows[i].id));
		if (rows[i].bit < 0)
			continue;
		assert_int_equal(check(&msg, ~VHU_MASK(rows[i].bit), &why), -EACCES);
		assert_non_null(strstr(why.text, rows[i].name));
	}
}

static void unknown_request_is_not_supported(void **state)
{
	struct vhu_reason why = { "" };
	struct vhu_msg msg;

	(void)state;
	vhu_msg_init(&msg, 777, 0, 0);
	assert_int_equal(check(&msg, all_bits, &why), -EOPNOTSUPP);
	assert_non_null(strstr(why.text, "777"));
}

static void headers_that_cannot_be_followed(void **state)
{
	static const struct vhu_msg_hdr bad[] = {
		{ VHU_GET_FEATURES, 0, 0 },
		{ VHU_GET_FEATURES, 2, 0 },
		{ VHU_GET_FEATURES, 3, 0 },
		{ VHU_GET_FEATURES, VHU_MSG_VERSION | VHU_MSG_REPLY, 0 },
		{ VHU_GET_FEATURES, VHU_MSG_VERSION, VHU_MSG_MAX_PAYLOAD + 1 },
		{ VHU_GET_FEATURES, VHU_MSG_VERSION, UINT32_MAX },
		{ 777, VHU_MSG_VERSION, UINT32_MAX },
	};
	struct vhu_reason why = { "" };

	(void)state;
	for (unsigned int i = 0; i < NR(bad); i++) {
		why.text[0] = '\0';
		assert_int_equal(vhu_wire_check_hdr(VHU_CHANNEL_MAIN, &bad[i], false, &why),
				 -EPROTO);
		assert_true(why.text[0] != '\0');
	}
	/* As a reply the fourth is right, and a request is not. */
	struct vhu_msg_hdr reply = { VHU_GET_FEATURES, VHU_MSG_VERSION | VHU_MSG_REPLY, 8 };

	assert_int_equal(vhu_wire_check_hdr(VHU_CHANNEL_MAIN, &reply, true, &why), 0);
	reply.flags = VHU_MSG_VERSION;
	assert_int_equal(vhu_wire_check_hdr(VHU_CHANNEL_MAIN, &reply, true, &why), -EPROTO);
	/* The reason may be left out. */
	assert_int_equal(vhu_wire_check_hdr(VHU_CHANNEL_MAIN, &bad[0], false, NULL), -EPROTO);
}

static void replies_follow_their_rule(void **state)
{
	const uint64_t ack = VHU_MASK(VHU_P_REPLY_ACK_BIT);
	const uint64_t log = VHU_MASK(VHU_P_LOG_SHMFD_BIT);
	struct vhu_msg msg;

	(void)state;
	for (unsigned int i = 0; i < NR(rows); i++) {
		make(&msg, vhu_request_row(VHU_CHANNEL_MAIN, rows[i].id));
		bool always = rows[i].reply == VHU_REPLY_ALWAYS;
		bool is_log = rows[i].reply == VHU_REPLY_LOG;

		assert_int_equal(vhu_wire_wants_reply(VHU_CHANNEL_MAIN, &msg, 0), always);
		assert_int_equal(vhu_wire_wants_reply(VHU_CHANNEL_MAIN, &msg, ack), always);
		assert_int_equal(vhu_wire_wants_reply(VHU_CHANNEL_MAIN, &msg, log),
				 always || is_log);
		msg.hdr.flags |= VHU_MSG_NEED_REPLY;
		assert_int_equal(vhu_wire_wants_reply(VHU_CHANNEL_MAIN, &msg, 0), always);
		assert_true(vhu_wire_wants_reply(VHU_CHANNEL_MAIN, &msg, ack));
	}
}

static void reply_repeats_the_request(void **state)
{
	struct vhu_msg msg, reply;

	(void)state;
	vhu_msg_init(&msg, VHU_GET_VRING_BASE, VHU_MSG_NEED_REPLY, 8);
	assert_int_equal(msg.hdr.flags, VHU_MSG_VERSION | VHU_MSG_NEED_REPLY);
	assert_int_equal(msg.hdr.size, 8);
	assert_int_equal(msg.nr_fds, 0);
	memset(&reply, 0xff, sizeof(reply));
	vhu_msg_init_reply(&reply, &msg, 8);
	assert_int_equal(reply.hdr.request, VHU_GET_VRING_BASE);
	assert_int_equal(reply.hdr.flags, VHU_MSG_VERSION | VHU_MSG_REPLY);
	assert_int_equal(reply.hdr.size, 8);
	assert_int_equal(reply.nr_fds, 0);
	assert_int_equal(reply.u64, 0);
}

static void text_has_the_length_that_it_says(void **state)
{
	struct vhu_msg msg;
	char text[2048], part[2048];

	(void)state;
	for (unsigned int i = 0; i < NR(rows); i++) {
		make(&msg, vhu_request_row(VHU_CHANNEL_MAIN, rows[i].id));
		memset(msg.bytes, 0xff, sizeof(msg.bytes)); /* whatever stands there */
		size_t len = vhu_wire_text(VHU_CHANNEL_MAIN, &msg, false, text, sizeof(text));

		assert_true(len < sizeof(text));
		assert_int_equal(strlen(text), len);
		assert_null(strchr(text, '\n'));
		for (size_t size = 0; size <= len; size += 5) {
			memset(part, 'x', sizeof(part));
			assert_int_equal(vhu_wire_text(VHU_CHANNEL_MAIN, &msg, false, part, size),
					 len);
			if (size)
				assert_int_equal(strlen(part), size - 1);
			assert_memory_equal(part, text, size ? size - 1 : 0);
			assert_int_equal(part[size], 'x');
		}
	}
	vhu_msg_init(&msg, VHU_SET_VRING_NUM, 0, 8);
	msg.state.index = 1;
	msg.state.num = 256;
	vhu_wire_text(VHU_CHANNEL_MAIN, &msg, false, text, sizeof(text));
	assert_string_equal(text, "index 1, num 256");
}

struct fields {
	unsigned int nr;
	uint64_t index, num;
};

static void count_field(void *arg, const struct vhu_field *field, uint64_t value)
{
	struct fields *f = arg;

	f->nr++;
	if (strcmp(field->name, "index") == 0)
		f->index = value;
	if (strcmp(field->name, "num") == 0)
		f->num = value;
}

static void fields_have_their_values(void **state)
{
	struct fields f = { 0, 99, 99 };
	struct vhu_msg msg;

	(void)state;
	vhu_msg_init(&msg, VHU_SET_VRING_NUM, 0, 8);
	msg.state.index = 1;
	msg.state.num = 256;
	vhu_wire_each_field(VHU_CHANNEL_MAIN, &msg, false, count_field, &f);
	assert_int_equal(f.nr, 2);
	assert_int_equal(f.index, 1);
	assert_int_equal(f.num, 256);
}

static void fields_lie_within_their_payload(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < VHU_PAYLOAD_END; i++) {
		const struct vhu_payload_row *row = vhu_payload_row((enum vhu_payload)i);

		assert_non_null(row);
		assert_non_null(row->name);
		for (const struct vhu_field *f = row->fields; f && f->name; f++) {
			assert_true(f->width == 1 || f->width == 2 || f->width == 4 ||
				    f->width == 8);
			assert_true(f->offset + f->width <= row->max_size);
		}
	}
}

static void bits_have_names(void **state)
{
	(void)state;
	assert_string_equal(vhu_feature_name(VHU_NET_F_MRG_RXBUF_BIT), "MRG_RXBUF");
	assert_string_equal(vhu_protocol_feature_name(VHU_P_REPLY_ACK_BIT), "REPLY_ACK");
	assert_non_null(strstr(vhu_status_name(2), "DRIVER_OK"));
	for (unsigned int bit = 0; bit <= VHU_P_GET_VRING_BASE_SKIP_DRAIN_BIT; bit++)
		assert_non_null(vhu_protocol_feature_name(bit));
	assert_null(vhu_protocol_feature_name(63));
	assert_null(vhu_feature_name(64));
	assert_null(vhu_feature_name(1000));
	assert_null(vhu_status_name(1000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_request_has_the_row_of_the_specification),
		cmocka_unit_test(what_a_network_device_needs_is_implemented),
		cmocka_unit_test(backend_requests_have_rows),
		cmocka_unit_test(numbers_beyond_the_table_have_no_row),
		cmocka_unit_test(right_messages_pass),
		cmocka_unit_test(wrong_sizes_are_malformed),
		cmocka_unit_test(wrong_counts_of_fds_are_malformed),
		cmocka_unit_test(ring_fd_and_its_bit_exclude_each_other),
		cmocka_unit_test(ring_index_is_judged_at_full_width),
		cmocka_unit_test(request_of_a_feature_not_agreed_is_refused),
		cmocka_unit_test(unknown_request_is_not_supported),
		cmocka_unit_test(headers_that_cannot_be_followed),
		cmocka_unit_test(replies_follow_their_rule),
		cmocka_unit_test(reply_repeats_the_request),
		cmocka_unit_test(text_has_the_length_that_it_says),
		cmocka_unit_test(fields_have_their_values),
		cmocka_unit_test(fields_lie_within_their_payload),
		cmocka_unit_test(bits_have_names),
	};

	return cmocka_run_group_tests_name("wire table", tests, NULL, NULL);
}
