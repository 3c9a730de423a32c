/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* SEND_RARP: the station is announced wherever its port's frames would go, in each VLAN that it may be in. */
#include "switch_lab.h"

enum {
	RARP_LEN = 60,
};

/* Station 2, as the message has it: six bytes in their order. */
static const uint8_t mac[8] = { 2, 0, 0, 0, 0, 2 };

static void plug(struct lab *lab, unsigned int port, const char *options)
{
	struct drv *drv = lab_connect(lab, port, options,
				      &(struct drv_options){ .ring_size = 256, .nr_slots = 256 });

	drv_start(drv);
	drv_net_fill(drv, 0, UINT32_MAX);
}

static void send_rarp(struct lab *lab, unsigned int port)
{
	drv_do(&lab->drv[port], VHU_SEND_RARP, mac, sizeof(mac), NULL, 0);
	drv_check_in_step(&lab->drv[port]);
}

/* The next frame is the announcement; in which VLAN it says, 0: without a tag. */
static unsigned int announced(struct lab *lab, unsigned int port)
{
	uint8_t frame[2048];
	unsigned int vlan = 0;
	size_t len = 0;

	assert_true(check_until(lab_pump(lab), drv_net_receive(&lab->drv[port], 0, frame,
							       sizeof(frame), &len, NULL) == 1));
	if (frame[12] == 0x81) {
		vlan = (unsigned int)(frame[14] << 8 | frame[15]);
		memmove(frame + 12, frame + 16, len - 16);
		len -= 4;
	}
	assert_int_equal(len, RARP_LEN);
	/* RFC 903: reverse request, who is asked for is the station itself */
	assert_memory_equal(frame, "\xff\xff\xff\xff\xff\xff\2\0\0\0\0\2\x80\x35", 14);
	assert_memory_equal(frame + 14, "\0\1\x08\0\6\4\0\3\2\0\0\0\0\2\0\0\0\0\2\0\0\0\0\2", 24);
	drv_net_fill(&lab->drv[port], 0, UINT32_MAX);
	return vlan;
}

static void is_silent(struct lab *lab, unsigned int port)
{
	for (unsigned int i = 0; i < 5; i++) {
		lab_pump(lab);
		check_sleep_ms(1);
	}
	assert_false(drv_ring_has_used(&lab->drv[port].ring[0]));
}

static void a_port_of_no_vlan_announces_without_a_tag(void **state)
{
	struct lab *lab = lab_start(state);

	plug(lab, 0, "");
	plug(lab, 1, "");
	plug(lab, 2, ",vlan=7");
	plug(lab, 3, ",trunk=7");
	send_rarp(lab, 0);
	assert_int_equal(announced(lab, 1), 0);
	is_silent(lab, 1);
	is_silent(lab, 2);
	is_silent(lab, 3);
}

static void an_access_port_announces_in_its_vlan(void **state)
{
	struct lab *lab = lab_start(state);

	plug(lab, 0, ",vlan=7");
	plug(lab, 1, ",vlan=7");
	plug(lab, 2, ",vlan=8");
	plug(lab, 3, ",trunk=6-9");
	send_rarp(lab, 0);
	assert_int_equal(announced(lab, 1), 0);
	assert_int_equal(announced(lab, 3), 7);
	is_silent(lab, 1);
	is_silent(lab, 2);
	is_silent(lab, 3);
}

static void a_trunk_announces_in_each_of_its_vlans(void **state)
{
	static const unsigned int common[] = { 1, 7, 4094 };
	struct lab *lab = lab_start(state);

	plug(lab, 0, ",trunk=1+5-7+4094");
	plug(lab, 1, ",vlan=6");
	plug(lab, 2, ",trunk=1+7-9+4094");
	plug(lab, 3, ",vlan=8");
	send_rarp(lab, 0);
	assert_int_equal(announced(lab, 1), 0);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(announced(lab, 2), common[i]);
	is_silent(lab, 1);
	is_silent(lab, 2);
	is_silent(lab, 3);
}

/* More than a burst, and more than a ring takes at once. */
static void a_trunk_of_all_vlans_announces_in_all_of_them(void **state)
{
	struct lab *lab = lab_start(state);
	bool seen[4096] = { false };
	unsigned int nr = 0;

	plug(lab, 0, ",trunk=1-4094");
	plug(lab, 1, ",trunk=1-150");
	plug(lab, 2, ",vlan=4094");
	send_rarp(lab, 0);
	while (nr < 150) {
		unsigned int vlan = announced(lab, 1);

		assert_true(vlan >= 1 && vlan <= 150);
		assert_false(seen[vlan]);
		seen[vlan] = true;
		nr++;
	}
	assert_int_equal(announced(lab, 2), 0);
	is_silent(lab, 1);
	is_silent(lab, 2);
	/* and once more, from the first on */
	send_rarp(lab, 0);
	assert_int_equal(announced(lab, 1), 1);
	assert_int_equal(announced(lab, 2), 0);
}

static void frames_follow_the_station_over_a_trunk(void **state)
{
	uint8_t frame[64] = { 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x81, 0, 0, 7, 0x88, 0xb5 };
	struct lab *lab = lab_start(state);
	struct drv *other = &lab->drv[2];
	uint8_t got[2048];
	size_t len;

	plug(lab, 0, ",trunk=5-7");
	plug(lab, 1, ",trunk=5-7");
	plug(lab, 2, ",trunk=5-7");
	/* learnt behind port 2, in VLAN 7 */
	memset(frame, 0xff, 6);
	frame[11] = 2;
	drv_net_send(other, 1, frame, sizeof(frame));
	for (unsigned int i = 0; i < 2; i++)
		assert_true(
			check_until(lab_pump(lab), drv_net_receive(&lab->drv[i], 0, got,
								   sizeof(got), &len, NULL) == 1));
	send_rarp(lab, 1);
	for (unsigned int vlan = 5; vlan <= 7; vlan++)
		for (unsigned int i = 0; i <= 2; i += 2)
			assert_int_equal(announced(lab, i), vlan);
	memcpy(frame, mac, 6);
	frame[11] = 1;
	drv_net_send(&lab->drv[0], 1, frame, sizeof(frame));
	assert_true(check_until(lab_pump(lab), drv_net_receive(&lab->drv[1], 0, got, sizeof(got),
							       &len, NULL) == 1));
	assert_memory_equal(got, frame, sizeof(frame));
	is_silent(lab, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		LAB_TEST(a_port_of_no_vlan_announces_without_a_tag),
		LAB_TEST(an_access_port_announces_in_its_vlan),
		LAB_TEST(a_trunk_announces_in_each_of_its_vlans),
		LAB_TEST(a_trunk_of_all_vlans_announces_in_all_of_them),
		LAB_TEST(frames_follow_the_station_over_a_trunk),
	};

	return cmocka_run_group_tests_name("announce", tests, NULL, NULL);
}
