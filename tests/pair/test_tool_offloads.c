/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* What a port of the switch offers, and UDP that was handed over large: whole for who agreed, cut for who did not. */
#include "../unit/net_frames.h"
#include "switch_lab.h"

enum {
	FROM, /* who sends */
	ALL,  /* takes everything whole */
	USO4, /* checksums, and USO over IPv4 alone */
	NONE, /* nothing */
	NR_PORTS,
	ROUNDS = 150,
};

#define GUEST_UDP                                                                                  \
	(VHU_MASK(VHU_NET_F_GUEST_UFO_BIT) | VHU_MASK(VHU_NET_F_GUEST_USO4_BIT) |                  \
	 VHU_MASK(VHU_NET_F_GUEST_USO6_BIT))
#define HOST_UDP (VHU_MASK(VHU_NET_F_HOST_UFO_BIT) | VHU_MASK(VHU_NET_F_HOST_USO_BIT))

/* Bits that the receiver does not ask for. */
static const uint64_t without[NR_PORTS] = {
	[USO4] = VHU_MASK(VHU_NET_F_GUEST_UFO_BIT) | VHU_MASK(VHU_NET_F_GUEST_USO6_BIT),
	/* the rest rests on it, whatever else is asked for */
	[NONE] = VHU_MASK(VHU_NET_F_GUEST_CSUM_BIT),
};

static struct flat flat;
static struct catcher catcher;

static void plug(struct lab *lab, unsigned int i, const char *options, uint64_t no_features)
{
	struct drv_options drv_options = {
		.ring_size = 1024,
		.nr_slots = i == FROM ? 16 : 1024,
		.slot_size = i == FROM ? 80000 : 2048,
		.no_features = no_features,
	};
	struct drv *drv = lab_connect(lab, i, options, &drv_options);

	drv_start(drv);
	drv_net_fill(drv, 0, UINT32_MAX);
}

static void send_flat(struct lab *lab, const struct vhu_net_hdr *hdr)
{
	static const uint8_t stations[12] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1
	};
	const struct drv_net_hdr wire = { .flags = hdr->flags,
					  .gso_type = hdr->gso_type,
					  .hdr_len = hdr->hdr_len,
					  .gso_size = hdr->gso_size,
					  .csum_start = hdr->csum_start,
					  .csum_offset = hdr->csum_offset };
	const struct drv_layout layout = { .nr = 3, .cut = { 12, 200, 7000 }, .hdr = &wire };
	struct drv *drv = &lab->drv[FROM];

	memcpy(flat.bytes, stations, sizeof(stations));
	assert_true(drv_net_add(drv, 1, flat.bytes, flat.len, &layout) >= 0);
	drv_ring_kick(&drv->ring[1]);
	/* the sender has its buffer back when all receivers have theirs */
	assert_true(check_until(lab_pump(lab), drv_net_reap(drv, 1) == 1));
}

/* Everything that has arrived, less a tag if there is to be one. */
static void catch_all(struct lab *lab, unsigned int port, bool tagged)
{
	struct drv *drv = &lab->drv[port];
	static uint8_t got[VHU_NET_FRAME_MAX];
	struct drv_net_hdr hdr;
	size_t len;

	catcher_reset(&catcher);
	while (drv_net_receive(drv, 0, got, sizeof(got), &len, &hdr) == 1) {
		struct vhu_net_frame frame = {
			.hdr = { hdr.flags, hdr.gso_type, 0, hdr.gso_size, hdr.csum_start,
				 hdr.csum_offset },
			.head = got,
		};
		struct iovec iov = { got, len };

		if (tagged) {
			assert_memory_equal(got + 12, "\x81\x00\x00\x05", 4);
			memmove(got + 12, got + 16, len - 16);
			iov.iov_len -= 4;
			if (hdr.flags)
				frame.hdr.csum_start = (uint16_t)(hdr.csum_start - 4);
		}
		frame.len = (uint32_t)iov.iov_len;
		frame.nr_iov = 1;
		frame.iov = &iov;
		catcher_emit(&catcher, &frame);
	}
	drv_net_fill(drv, 0, UINT32_MAX);
}

static const char *check_whole(const struct vhu_net_hdr *hdr)
{
	const struct vhu_net_hdr *got = &catcher.hdr[0];

	if (catcher.wrong)
		return catcher.wrong;
	if (catcher.nr != 1 || catcher.len[0] != flat.len)
		return "not one frame of the same length";
	if (memcmp(catcher.bytes, flat.bytes, flat.len) != 0)
		return "the bytes";
	if (got->flags != hdr->flags || got->gso_type != hdr->gso_type ||
	    got->gso_size != hdr->gso_size || got->csum_start != hdr->csum_start ||
	    got->csum_offset != hdr->csum_offset)
		return "the header";
	return NULL;
}

static bool takes_whole(unsigned int port, const struct vhu_net_hdr *hdr)
{
	if (port == USO4)
		return hdr->gso_type == VHU_NET_GSO_UDP_L4 && flat.of.version == 4;
	return port == ALL;
}

static const char *check(unsigned int port, const struct vhu_net_hdr *hdr)
{
	if (takes_whole(port, hdr))
		return check_whole(hdr);
	if (hdr->gso_type == VHU_NET_GSO_UDP)
		return ref_check_fragments(&flat, hdr, port != NONE, &catcher);
	return ref_check_cut(&flat, hdr, port != NONE, &catcher);
}

/* Random datagrams, IPv4 with options, IPv6 with extension headers, with up to max_tags. */
static void cross(struct lab *lab, uint8_t gso_type, unsigned int max_tags, bool tagged)
{
	struct rnd rnd = { gso_type };
	unsigned int nr_whole = 0, nr_cut = 0;

	for (unsigned int round = 0; round < ROUNDS; round++) {
		struct vhu_net_hdr hdr;
		struct sample sample;

		flat_random_sample(&rnd, &sample);
		sample.proto = 17;
		sample.nr_vlan = sample.nr_vlan > max_tags ? max_tags : sample.nr_vlan;
		flat_build(&rnd, &sample, &flat);
		hdr = flat_hdr(&flat, gso_type, (uint16_t)(200 + rnd_below(&rnd, 3000)));
		send_flat(lab, &hdr);
		for (unsigned int port = ALL; port < NR_PORTS; port++) {
			const char *wrong;

			catch_all(lab, port, tagged);
			wrong = check(port, &hdr);
			if (wrong)
				fail_msg("round %u, port %u, %u frames: %s", round, port,
					 catcher.nr, wrong);
			nr_whole += catcher.nr == 1;
			nr_cut += catcher.nr > 2;
		}
	}
	assert_true(nr_whole >= ROUNDS && nr_cut >= ROUNDS / 2);
}

static struct lab *joined(void **state, const char *from, const char *to)
{
	struct lab *lab = lab_start(state);

	for (unsigned int i = 0; i < NR_PORTS; i++)
		plug(lab, i, i == FROM ? from : to, without[i]);
	return lab;
}

static void ufo_crosses_whole_or_in_fragments(void **state)
{
	cross(joined(state, "", ""), VHU_NET_GSO_UDP, 2, false);
}

static void uso_crosses_whole_or_in_datagrams(void **state)
{
	cross(joined(state, "", ""), VHU_NET_GSO_UDP_L4, 2, false);
}

/* The tag is put in before the frame is cut: each fragment has it. */
static void ufo_crosses_into_a_trunk(void **state)
{
	cross(joined(state, ",vlan=5", ",trunk=5"), VHU_NET_GSO_UDP, 0, true);
}

static void uso_crosses_into_a_trunk(void **state)
{
	cross(joined(state, ",vlan=5", ",trunk=5"), VHU_NET_GSO_UDP_L4, 0, true);
}

static int pick(void *arg, const struct sw_port_info *port)
{
	uint64_t *drops = arg;

	if (strcmp(port->name, "p0") != 0)
		return 0;
	*drops = port->counters.rx_drop_bad_hdr;
	return 1;
}

/* "A driver MUST NOT" leave to the device what was not agreed on (virtio 1.2, 5.1.6.2.1). */
static void what_the_sender_did_not_agree_on_is_dropped(void **state)
{
	static const uint8_t types[] = { VHU_NET_GSO_UDP, VHU_NET_GSO_UDP_L4 };
	const struct sample sample = { .version = 4, .proto = 17, .payload_len = 3000 };
	struct lab *lab = lab_start(state);
	struct rnd rnd = { 3 };
	struct vhu_net_hdr hdr;
	uint64_t drops = 0;

	plug(lab, FROM, "", HOST_UDP);
	plug(lab, ALL, "", 0);
	flat_build(&rnd, &sample, &flat);
	for (unsigned int i = 0; i < 2; i++) {
		hdr = flat_hdr(&flat, types[i], 1000);
		send_flat(lab, &hdr);
		catch_all(lab, ALL, false);
		assert_int_equal(catcher.nr, 0);
		assert_int_equal(sw_each_port(lab->sw, pick, &drops), 1);
		assert_int_equal(drops, i + 1);
	}
	hdr = flat_hdr(&flat, VHU_NET_GSO_NONE, 0);
	send_flat(lab, &hdr);
	catch_all(lab, ALL, false);
	assert_null(check_whole(&hdr));
}

/*
 * ---- What is offered ----
 */
static void get_config(struct drv *drv, uint32_t size, struct vhu_msg *ret_msg)
{
	uint8_t payload[12 + 64] = { 0 };

	memcpy(payload + 4, &size, sizeof(size));
	drv_ask(drv, VHU_GET_CONFIG, payload, 12 + size, ret_msg);
	assert_int_equal(ret_msg->hdr.size, 12 + size);
}

static bool offers(const struct drv *drv, unsigned int bit)
{
	return drv->offered & VHU_MASK(bit);
}

static void segmentation_is_offered_with_the_checksum_it_rests_on(void **state)
{
	struct lab *lab = lab_start(state);
	struct drv *drv = lab_connect(lab, FROM, "", NULL);

	drv_negotiate(drv);
	assert_int_equal(drv->offered & HOST_UDP, HOST_UDP);
	assert_int_equal(drv->offered & GUEST_UDP, GUEST_UDP);
	assert_true(offers(drv, VHU_NET_F_CSUM_BIT) && offers(drv, VHU_NET_F_GUEST_CSUM_BIT));
	/* nothing of what stands in a configuration space that is not there */
	assert_false(offers(drv, VHU_NET_F_STATUS_BIT) || offers(drv, VHU_NET_F_SPEED_DUPLEX_BIT));
	assert_false(drv->protocol_offered & VHU_MASK(VHU_P_INBAND_NOTIFICATIONS_BIT));
}

static void speed_and_duplex_stand_where_they_belong(void **state)
{
	static const struct {
		const char *options;
		uint8_t bytes[5];
	} rows[NR_PORTS] = {
		{ ",config", { 0xff, 0xff, 0xff, 0xff, 0xff } },
		{ ",config,speed=25000", { 0xa8, 0x61, 0, 0, 0xff } },
		{ ",config,duplex=full", { 0xff, 0xff, 0xff, 0xff, 1 } },
		{ ",inband,speed=2147483647,duplex=half", { 0xff, 0xff, 0xff, 0x7f, 0 } },
	};
	struct lab *lab = lab_start(state);

	for (unsigned int i = 0; i < NR_PORTS; i++) {
		struct drv *drv = lab_connect(lab, i, rows[i].options, NULL);
		struct vhu_msg msg;

		drv_negotiate(drv);
		assert_true(offers(drv, VHU_NET_F_SPEED_DUPLEX_BIT));
		get_config(drv, 20, &msg);
		assert_int_equal(msg.config.bytes[6], 1); /* the link is up */
		assert_memory_equal(msg.config.bytes + 12, rows[i].bytes, 5);
	}
}

/* For a frontend that takes all that it is offered: nothing without what it rests on. */
static void an_inband_port_offers_what_hangs_together(void **state)
{
	static const unsigned int not_there[] = { VHU_F_RING_PACKED_BIT, VHU_NET_F_MQ_BIT,
						  VHU_NET_F_CTRL_VQ_BIT,
						  VHU_NET_F_GUEST_ANNOUNCE_BIT, VHU_NET_F_MTU_BIT };
	static const unsigned int there[] = { VHU_P_INBAND_NOTIFICATIONS_BIT, VHU_P_BACKEND_REQ_BIT,
					      VHU_P_REPLY_ACK_BIT, VHU_P_CONFIG_BIT };
	struct lab *lab = lab_start(state);
	struct drv *drv = lab_connect(lab, FROM, ",inband", NULL);

	drv_negotiate(drv);
	for (size_t i = 0; i < sizeof(not_there) / sizeof(not_there[0]); i++)
		assert_false(offers(drv, not_there[i]));
	for (size_t i = 0; i < sizeof(there) / sizeof(there[0]); i++)
		assert_true(drv->protocol_offered & VHU_MASK(there[i]));
	assert_true(offers(drv, VHU_NET_F_STATUS_BIT));
	assert_int_equal(drv_ask_u64(drv, VHU_GET_QUEUE_NUM), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		LAB_TEST(ufo_crosses_whole_or_in_fragments),
		LAB_TEST(uso_crosses_whole_or_in_datagrams),
		LAB_TEST(ufo_crosses_into_a_trunk),
		LAB_TEST(uso_crosses_into_a_trunk),
		LAB_TEST(what_the_sender_did_not_agree_on_is_dropped),
		LAB_TEST(segmentation_is_offered_with_the_checksum_it_rests_on),
		LAB_TEST(speed_and_duplex_stand_where_they_belong),
		LAB_TEST(an_inband_port_offers_what_hangs_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
