/* SPDX-License-Identifier: MIT */
/* tier: check */
/*
 * The kernel's opinion: a tap that takes offloads and one that has none on a bridge, in a network
 * namespace of the test's own. What the kernel cuts has to be what vhu_net_fit() cuts, to the byte.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "net_frames.h"

enum {
	ROUNDS = 1000,
	MTU = 65500,
};

static struct {
	int sock, from, to; /* from: the tap that frames are written to */
	const char *missing;
} net = { -1, -1, -1, NULL };

static struct flat flat;
static struct pieces pieces;
static struct catcher ours, theirs;

static int tap_open(const char *name, short flags)
{
	struct ifreq ifr = { .ifr_flags = (short)(IFF_TAP | IFF_NO_PI | flags) };
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (fd >= 0 && ioctl(fd, TUNSETIFF, &ifr) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static int set_link(const char *name)
{
	struct ifreq ifr = { 0 };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	ifr.ifr_mtu = MTU;
	if (ioctl(net.sock, SIOCSIFMTU, &ifr) != 0)
		return -1;
	if (ioctl(net.sock, SIOCGIFFLAGS, &ifr) != 0)
		return -1;
	ifr.ifr_flags |= IFF_UP;
	return ioctl(net.sock, SIOCSIFFLAGS, &ifr);
}

static int join_bridge(const char *name)
{
	struct ifreq ifr = { .ifr_name = "vhubr" };

	ifr.ifr_ifindex = (int)if_nametoindex(name);
	return ioctl(net.sock, SIOCBRADDIF, &ifr);
}

static void quiet_ipv6(void)
{
	int fd = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		/* If it fails there are more frames to skip, no more. */
		if (write(fd, "1", 1) != 1)
			print_message("# IPv6 stays on\n");
		close(fd);
	}
}

static const char *build_net(void)
{
	if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
		return "no network namespace to be had";
	quiet_ipv6();
	net.sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	net.from = tap_open("vhufrom", IFF_VNET_HDR);
	net.to = tap_open("vhuto", 0);
	if (net.sock < 0 || net.from < 0 || net.to < 0)
		return "no tap to be had";
	if (ioctl(net.sock, SIOCBRADDBR, "vhubr") != 0)
		return "no bridge to be had";
	if (join_bridge("vhufrom") != 0 || join_bridge("vhuto") != 0)
		return "a tap does not join the bridge";
	if (set_link("vhufrom") != 0 || set_link("vhuto") != 0 || set_link("vhubr") != 0)
		return "a link does not come up";
	return NULL;
}

static int setup(void **state)
{
	(void)state;
	net.missing = build_net();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close(net.from);
	close(net.to);
	close(net.sock);
	return 0;
}

/* struct virtio_net_hdr in front of the frame, in host byte order as a tap has it by default. */
static bool send_frame(const struct vhu_net_hdr *hdr)
{
	static uint8_t packet[10 + VHU_NET_FRAME_MAX];

	packet[0] = hdr->flags;
	packet[1] = hdr->gso_type;
	memcpy(packet + 2, &hdr->hdr_len, 2);
	memcpy(packet + 4, &hdr->gso_size, 2);
	memcpy(packet + 6, &hdr->csum_start, 2);
	memcpy(packet + 8, &hdr->csum_offset, 2);
	memcpy(packet + 10, flat.bytes, flat.len);
	return write(net.from, packet, 10 + flat.len) == 10 + (ssize_t)flat.len;
}

/* Reads as many frames with our source address as there should be, and looks for one more. */
static void receive_frames(unsigned int nr)
{
	static uint8_t packet[VHU_NET_FRAME_MAX];
	struct vhu_net_frame frame = { .head = packet, .nr_iov = 1 };

	catcher_reset(&theirs);
	for (;;) {
		struct pollfd pfd = { .fd = net.to, .events = POLLIN };
		struct iovec iov = { .iov_base = packet };
		ssize_t len;

		if (poll(&pfd, 1, theirs.nr < nr ? 2000 : 0) != 1)
			return;
		len = read(net.to, packet, sizeof(packet));
		if (len < 14 || memcmp(packet, flat.bytes, 12) != 0)
			continue;
		iov.iov_len = (size_t)len;
		frame.len = (uint32_t)len;
		frame.iov = &iov;
		assert_int_equal(catcher_emit(&theirs, &frame), 0);
	}
}

/* The fragment id of IPv6 is anybody's choice. */
static void hide_ipv6_id(struct catcher *catcher)
{
	for (unsigned int i = 0; i < catcher->nr; i++)
		memset(catcher->bytes + catcher->at[i] + flat.frag + 4, 0, 4);
}

static void make_frame(struct rnd *rnd, const struct sample *sample)
{
	static const uint8_t addresses[12] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2 };
	uint16_t csum;
	uint8_t *ip;

	flat_build(rnd, sample, &flat);
	memcpy(flat.bytes, addresses, sizeof(addresses));
	ip = flat.bytes + flat.l3;
	/* A bridge with br_netfilter wants to see sound options in the first of the headers. */
	if (sample->version == 6 && sample->nr_ext)
		memset(ip + 42, 0, 6 + 8 * (size_t)sample->ext_units[0]);
	if (sample->version == 4) {
		/* The kernel leaves this header alone if there is nothing to be cut. */
		memset(ip + 10, 0, 2);
		csum = (uint16_t)~ref_sum(ip, flat.l4 - flat.l3, 0);
		ip[10] = (uint8_t)(csum >> 8);
		ip[11] = (uint8_t)csum;
	}
	pieces_make(rnd, &flat, flat.len < VHU_NET_HEAD_MAX ? flat.len : VHU_NET_HEAD_MAX,
		    1 + rnd_below(rnd, 20), &pieces);
}

static void compare(struct vhu_net_hdr hdr, unsigned int round)
{
	catcher_reset(&ours);
	pieces.frame.hdr = hdr;
	assert_int_equal(vhu_net_fit(&pieces.frame, 0, catcher_emit, &ours), 0);
	if (!send_frame(&hdr)) {
		pieces_free(&pieces);
		/* Before Linux 6.2 a tap does not know the type. */
		if (hdr.gso_type == VHU_NET_GSO_UDP_L4 && errno == EINVAL) {
			print_message("# SKIP this kernel's tap takes no UDP_L4\n");
			skip();
		}
		fail_msg("round %u: the tap does not take it", round);
	}
	receive_frames(ours.nr);
	if (hdr.gso_type == VHU_NET_GSO_UDP && flat.of.version == 6 && ours.nr > 1) {
		hide_ipv6_id(&ours);
		hide_ipv6_id(&theirs);
	}
	if (theirs.nr != ours.nr)
		fail_msg("round %u: %u frames, the kernel has %u", round, ours.nr, theirs.nr);
	for (unsigned int i = 0; i < ours.nr; i++) {
		if (theirs.len[i] != ours.len[i])
			fail_msg("round %u: frame %u has %u bytes, the kernel's %u", round, i,
				 ours.len[i], theirs.len[i]);
		for (uint32_t at = 0; at < ours.len[i]; at++)
			if (ours.bytes[ours.at[i] + at] != theirs.bytes[theirs.at[i] + at])
				fail_msg("round %u: frame %u of %u differs at byte %u", round, i,
					 ours.nr, at);
	}
	pieces_free(&pieces);
}

static void run(unsigned int seed, unsigned int proto, bool is_cut, uint8_t gso_udp)
{
	struct rnd rnd = { seed };

	if (net.missing) {
		print_message("# SKIP %s\n", net.missing);
		skip();
	}
	for (unsigned int round = 0; round < ROUNDS; round++) {
		/* A whole number of fragment units: the kernel does not round. */
		const uint32_t size = is_cut ? 536 + 8 * rnd_below(&rnd, 1000) : 0;
		uint8_t type = VHU_NET_GSO_NONE;
		struct sample sample;

		flat_random_sample(&rnd, &sample);
		sample.proto = proto;
		if (!is_cut)
			sample.payload_len %= 9000;
		/* The kernel may drop what is of one segment and says to be more. */
		else if (sample.payload_len <= size)
			sample.payload_len += size + 1;
		/*
		 * With these headers the kernel's offsets of fragments are wrong by the headers'
		 * length, and it does not know the address behind a routing header.
		 */
		if (is_cut && gso_udp == VHU_NET_GSO_UDP)
			sample.nr_ext = 0;
		make_frame(&rnd, &sample);
		if (is_cut && proto == 17)
			type = gso_udp;
		else if (is_cut)
			type = sample.version == 4 ? VHU_NET_GSO_TCPV4 : VHU_NET_GSO_TCPV6;
		if (is_cut && proto == 6 && rnd_one_in(&rnd, 3))
			type |= VHU_NET_GSO_ECN;
		compare(flat_hdr(&flat, type, (uint16_t)size), round);
	}
}

static void tcp_is_cut_as_the_kernel_does(void **state)
{
	(void)state;
	run(20, 6, true, 0);
}

static void uso_is_cut_as_the_kernel_does(void **state)
{
	(void)state;
	run(21, 17, true, VHU_NET_GSO_UDP_L4);
}

static void ufo_is_fragmented_as_the_kernel_does(void **state)
{
	(void)state;
	run(22, 17, true, VHU_NET_GSO_UDP);
}

static void checksums_are_completed_as_the_kernel_does(void **state)
{
	(void)state;
	run(23, 6, false, 0);
	run(24, 17, false, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tcp_is_cut_as_the_kernel_does),
		cmocka_unit_test(uso_is_cut_as_the_kernel_does),
		cmocka_unit_test(ufo_is_fragmented_as_the_kernel_does),
		cmocka_unit_test(checksums_are_completed_as_the_kernel_does),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
