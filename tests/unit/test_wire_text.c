/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* Payloads as text and as values: every kind, too short ones, unknown ones, small buffers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <vhu/wire.h>

static struct vhu_msg request(uint32_t number, uint32_t size)
{
	struct vhu_msg msg;

	memset(&msg, 0xee, sizeof(msg)); /* what lies behind a payload may not matter */
	vhu_msg_init(&msg, number, 0, size);
	return msg;
}

static void assert_text(enum vhu_channel channel, const struct vhu_msg *msg, bool is_reply,
			const char *want)
{
	char text[1024];
	size_t len = vhu_wire_text(channel, msg, is_reply, text, sizeof(text));

	assert_string_equal(text, want);
	assert_int_equal(len, strlen(want));
}

static void assert_main(const struct vhu_msg *msg, const char *want)
{
	assert_text(VHU_CHANNEL_MAIN, msg, false, want);
}

static void a_ring_message_names_its_ring_and_number(void **state)
{
	struct vhu_msg msg = request(VHU_SET_VRING_NUM, 8);

	(void)state;
	msg.state.index = 1;
	msg.state.num = 256;
	assert_main(&msg, "index 1, num 256");
}

static void addresses_are_hexadecimal(void **state)
{
	struct vhu_msg msg = request(VHU_SET_VRING_ADDR, 40);

	(void)state;
	msg.addr = (struct vhu_vring_addr){
		.index = 3, .flags = 1, .desc = 0x7f0000001000, .used = 0x2000, .avail = 0x3000
	};
	assert_main(&msg, "index 3, flags 0x1, desc 0x7f0000001000, used 0x2000, avail 0x3000, "
			  "log 0x0");
}

static void the_no_fd_bit_is_named_only_where_it_is_set(void **state)
{
	struct vhu_msg msg = request(VHU_SET_VRING_CALL, 8);

	(void)state;
	msg.u64 = 5;
	assert_main(&msg, "index 5");
	msg.u64 = 5 | VHU_VRING_NOFD_MASK;
	assert_main(&msg, "index 5, no_fd");
}

static void features_are_named_and_unknown_bits_numbered(void **state)
{
	struct vhu_msg msg = request(VHU_SET_FEATURES, 8);

	(void)state;
	assert_main(&msg, "features 0x0");
	msg.u64 = VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT) | VHU_MASK(VHU_F_VERSION_1_BIT) | VHU_MASK(47);
	assert_main(&msg, "features 0x800100008000 (MRG_RXBUF VERSION_1 bit 47)");
}

static void protocol_features_and_status_have_names_of_their_own(void **state)
{
	struct vhu_msg msg = request(VHU_SET_PROTOCOL_FEATURES, 8);

	(void)state;
	msg.u64 = VHU_MASK(VHU_P_MQ_BIT) | VHU_MASK(VHU_P_REPLY_ACK_BIT);
	assert_main(&msg, "protocol_features 0x9 (MQ REPLY_ACK)");
	msg = request(VHU_SET_STATUS, 8);
	msg.u64 = 15;
	assert_main(&msg, "status 0xf (ACKNOWLEDGE DRIVER DRIVER_OK FEATURES_OK)");
}

static void a_mac_address_is_written_in_the_order_of_its_bytes(void **state)
{
	static const uint8_t mac[] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };
	struct vhu_msg msg = request(VHU_SEND_RARP, 8);

	(void)state;
	memcpy(msg.bytes, mac, sizeof(mac));
	assert_main(&msg, "mac 52:54:00:12:34:56");
}

static void sizes_are_in_the_largest_unit_without_a_rest(void **state)
{
	static const struct {
		uint64_t size;
		const char *text;
	} cases[] = {
		{ 0, "size 0 B, offset 0x0" },
		{ 1000, "size 1000 B, offset 0x0" },
		{ 1024, "size 1 KiB, offset 0x0" },
		{ 1536, "size 1536 B, offset 0x0" },
		{ UINT64_C(3) << 30, "size 3 GiB, offset 0x0" },
		{ UINT64_C(1) << 63, "size 8 EiB, offset 0x0" },
		{ UINT64_MAX, "size 18446744073709551615 B, offset 0x0" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vhu_msg msg = request(VHU_SET_LOG_BASE, 16);

		msg.log.size = cases[i].size;
		assert_main(&msg, cases[i].text);
	}
}

static void a_memory_table_gives_its_count_and_each_region_a_line(void **state)
{
	struct vhu_msg msg = request(VHU_SET_MEM_TABLE, 8 + 32);
	char text[200];

	(void)state;
	msg.mem.nr = 1;
	msg.mem.region[0] = (struct vhu_region){
		.gpa = 0x100000, .size = 512 << 20, .uva = 0x7f0000000000, .mmap_offset = 0x1000
	};
	assert_main(&msg, "regions 1");
	vhu_wire_region_text(&msg.mem.region[0], text, sizeof(text));
	assert_string_equal(text, "gpa 0x100000, size 512 MiB, uva 0x7f0000000000, offset 0x1000");
}

static void the_table_that_comes_back_in_postcopy_is_a_table(void **state)
{
	struct vhu_msg msg = request(VHU_SET_MEM_TABLE, 8 + 32);

	(void)state;
	msg.mem.nr = 1;
	assert_text(VHU_CHANNEL_MAIN, &msg, true, "regions 1");
	msg = request(VHU_SET_MEM_TABLE, 8); /* and is acknowledged */
	assert_main(&msg, "ok");
}

static void an_acknowledgement_says_how_it_went(void **state)
{
	struct vhu_msg msg = request(VHU_SET_VRING_KICK, 8);

	(void)state;
	assert_text(VHU_CHANNEL_MAIN, &msg, true, "ok");
	msg.u64 = 1;
	assert_text(VHU_CHANNEL_MAIN, &msg, true, "error 1");
}

static void replies_have_the_payload_of_their_own(void **state)
{
	struct vhu_msg msg = request(VHU_GET_VRING_BASE, 8);

	(void)state;
	msg.state.num = 7;
	assert_text(VHU_CHANNEL_MAIN, &msg, true, "index 0, num 7");
	msg = request(VHU_GET_QUEUE_NUM, 8);
	msg.u64 = 4;
	assert_text(VHU_CHANNEL_MAIN, &msg, true, "value 4");
	msg = request(VHU_SET_LOG_BASE, 0); /* DPDK's */
	assert_text(VHU_CHANNEL_MAIN, &msg, true, "");
}

static void configuration_space_is_shown_as_bytes(void **state)
{
	struct vhu_msg msg = request(VHU_GET_CONFIG, 12 + 20);

	(void)state;
	msg.config.size = 20;
	for (unsigned int i = 0; i < 20; i++)
		msg.config.bytes[i] = (uint8_t)i;
	assert_main(&msg, "offset 0, size 20 B, flags 0x0, 20 bytes: 00 01 02 03 04 05 06 07 08 09 "
			  "0a 0b 0c 0d 0e 0f ...");
}

static void a_uuid_is_written_as_one(void **state)
{
	struct vhu_msg msg = request(VHU_GET_SHARED_OBJECT, 16);

	(void)state;
	for (unsigned int i = 0; i < 16; i++)
		msg.uuid[i] = (uint8_t)i;
	assert_main(&msg, "uuid 00010203-0405-0607-0809-0a0b0c0d0e0f");
}

static void the_backends_channel_has_numbers_of_its_own(void **state)
{
	struct vhu_msg msg = request(VHU_BACKEND_VRING_HOST_NOTIFIER, 24);

	(void)state;
	msg.area.index_flags = 2;
	msg.area.size = 4096;
	assert_text(VHU_CHANNEL_BACKEND, &msg, false, "index 2, size 4 KiB, offset 0x0");
}

static void what_is_unknown_is_shown_as_bytes(void **state)
{
	struct vhu_msg msg = request(99, 3);

	(void)state;
	msg.bytes[2] = 0xff;
	assert_main(&msg, "3 bytes: 00 00 ff");
	msg = request(99, 0);
	assert_main(&msg, "");
}

static void a_payload_cut_short_has_fewer_fields(void **state)
{
	struct vhu_msg msg = request(VHU_SET_VRING_NUM, 4);

	(void)state;
	msg.state.index = 1;
	msg.state.num = 256;
	assert_main(&msg, "index 1");
	msg.hdr.size = 7;
	assert_main(&msg, "index 1");
	msg.hdr.size = 3;
	assert_main(&msg, "3 bytes: 01 00 00");
	msg.hdr.size = 0;
	assert_main(&msg, "");
}

static void a_size_beyond_the_largest_payload_is_not_believed(void **state)
{
	struct vhu_msg msg = request(99, 8);
	char text[256];

	(void)state;
	msg.hdr.size = UINT32_MAX;
	vhu_wire_text(VHU_CHANNEL_MAIN, &msg, false, text, sizeof(text));
	assert_non_null(strstr(text, "4096 bytes:"));
}

static void a_small_buffer_cuts_the_text_and_not_its_length(void **state)
{
	struct vhu_msg msg = request(VHU_SET_VRING_NUM, 8);
	static const char whole[] = "index 0, num 0";
	char text[sizeof(whole) + 1];

	(void)state;
	for (size_t size = 0; size <= sizeof(whole); size++) {
		memset(text, '#', sizeof(text));
		assert_int_equal(vhu_wire_text(VHU_CHANNEL_MAIN, &msg, false, text, size),
				 sizeof(whole) - 1);
		if (size)
			assert_int_equal(strlen(text), size - 1 < sizeof(whole) - 1 ?
							       size - 1 :
							       sizeof(whole) - 1);
		assert_int_equal(text[size], '#');
		if (size)
			assert_memory_equal(text, whole, strlen(text));
	}
	assert_int_equal(vhu_wire_text(VHU_CHANNEL_MAIN, &msg, false, NULL, 0), sizeof(whole) - 1);
}

struct seen {
	unsigned int nr;
	const char *names[8];
	uint64_t values[8];
};

static void see(void *arg, const struct vhu_field *field, uint64_t value)
{
	struct seen *seen = arg;

	assert_true(seen->nr < 8);
	seen->names[seen->nr] = field->name;
	seen->values[seen->nr++] = value;
}

static void fields_come_with_their_values_at_full_width(void **state)
{
	struct vhu_msg msg = request(VHU_GET_INFLIGHT_FD, 20);
	struct seen seen = { .nr = 0 };

	(void)state;
	msg.inflight = (struct vhu_inflight){
		.mmap_size = 1, .mmap_offset = UINT64_MAX, .nr_queues = 0xfffe, .queue_size = 1024
	};
	vhu_wire_each_field(VHU_CHANNEL_MAIN, &msg, false, see, &seen);
	assert_int_equal(seen.nr, 4);
	assert_string_equal(seen.names[1], "mmap_offset");
	assert_true(seen.values[1] == UINT64_MAX);
	assert_int_equal(seen.values[2], 0xfffe);
	assert_int_equal(seen.values[3], 1024);
}

static void every_number_of_either_channel_gives_text_at_every_size(void **state)
{
	static const uint32_t sizes[] = { 0, 1, 4, 7, 8, 12, 16, 20, 24, 32, 40, 264, 2056, 4096 };
	static struct vhu_msg msg;
	char text[64];

	(void)state;
	memset(msg.bytes, 0xff, sizeof(msg.bytes));
	for (int channel = VHU_CHANNEL_MAIN; channel <= VHU_CHANNEL_BACKEND; channel++)
		for (uint32_t number = 0; number < 64; number++)
			for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
				for (int is_reply = 0; is_reply < 2; is_reply++) {
					size_t len;

					msg.hdr.request = number;
					msg.hdr.size = sizes[i];
					len = vhu_wire_text((enum vhu_channel)channel, &msg,
							    is_reply, text, sizeof(text));
					assert_int_equal(strlen(text), len < 63 ? len : 63);
				}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_ring_message_names_its_ring_and_number),
		cmocka_unit_test(addresses_are_hexadecimal),
		cmocka_unit_test(the_no_fd_bit_is_named_only_where_it_is_set),
		cmocka_unit_test(features_are_named_and_unknown_bits_numbered),
		cmocka_unit_test(protocol_features_and_status_have_names_of_their_own),
		cmocka_unit_test(a_mac_address_is_written_in_the_order_of_its_bytes),
		cmocka_unit_test(sizes_are_in_the_largest_unit_without_a_rest),
		cmocka_unit_test(a_memory_table_gives_its_count_and_each_region_a_line),
		cmocka_unit_test(the_table_that_comes_back_in_postcopy_is_a_table),
		cmocka_unit_test(an_acknowledgement_says_how_it_went),
		cmocka_unit_test(replies_have_the_payload_of_their_own),
		cmocka_unit_test(configuration_space_is_shown_as_bytes),
		cmocka_unit_test(a_uuid_is_written_as_one),
		cmocka_unit_test(the_backends_channel_has_numbers_of_its_own),
		cmocka_unit_test(what_is_unknown_is_shown_as_bytes),
		cmocka_unit_test(a_payload_cut_short_has_fewer_fields),
		cmocka_unit_test(a_size_beyond_the_largest_payload_is_not_believed),
		cmocka_unit_test(a_small_buffer_cuts_the_text_and_not_its_length),
		cmocka_unit_test(fields_come_with_their_values_at_full_width),
		cmocka_unit_test(every_number_of_either_channel_gives_text_at_every_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
