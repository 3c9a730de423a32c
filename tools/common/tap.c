// SPDX-License-Identifier: MIT
/* Tap interfaces and their net header; knows nothing of where frames come from and go to. */

#include "common/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Linux 6.2 and newer; headers may be older than the kernel. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

static int say(int err, char *text, size_t size, const char *what, const char *more)
{
	snprintf(text, size, "%s: %s%s", what, strerror(-err), more);
	return err;
}

/* What an error of TUNSETIFF means to people. */
static const char *meaning(int err, bool multi_queue)
{
	switch (-err) {
	case EPERM:
		return " (to make an interface wants CAP_NET_ADMIN; one made for this user with "
		       "ip tuntap does not)";
	case EBUSY:
		return " (another program has it)";
	case EINVAL:
		return multi_queue ? " (no such name, no tap, or a tap made without multi_queue)" :
				     " (no such name, or an interface that is no tap)";
	default:
		return "";
	}
}

static int set_iff(int fd, char name[IFNAMSIZ], int flags)
{
	struct ifreq req = { .ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags) };

	memcpy(req.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
	if (ioctl(fd, TUNSETIFF, &req))
		return -errno;
	memcpy(name, req.ifr_name, IFNAMSIZ);
	name[IFNAMSIZ - 1] = '\0';
	return 0;
}

int tapfd_open(char name[IFNAMSIZ], bool multi_queue, char *err, size_t size)
{
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	int hdr_len = TAP_HDR_LEN, little_endian = 1, ret;

	if (fd < 0)
		return say(-errno, err, size, "/dev/net/tun", "");
	ret = set_iff(fd, name, multi_queue ? IFF_MULTI_QUEUE : 0);
	/* One that was made with several queues can be used with one. */
	if (ret == -EINVAL && !multi_queue)
		ret = set_iff(fd, name, IFF_MULTI_QUEUE);
	if (ret) {
		say(ret, err, size, name, meaning(ret, multi_queue));
	} else if (ioctl(fd, TUNSETVNETHDRSZ, &hdr_len) ||
		   ioctl(fd, TUNSETVNETLE, &little_endian) || ioctl(fd, TUNSETOFFLOAD, 0)) {
		ret = -errno;
		say(ret, err, size, name, " (its offloads cannot be set)");
	}
	if (!ret)
		return fd;
	close(fd);
	return ret;
}

uint32_t tapfd_possible_offloads(int fd)
{
	uint32_t caps = VHU_NET_CAP_CSUM | VHU_NET_CAP_TSO4 | VHU_NET_CAP_TSO6 | VHU_NET_CAP_ECN;
	const uint32_t uso = VHU_NET_CAP_USO4 | VHU_NET_CAP_USO6;

	if (!tapfd_set_offloads(fd, caps | uso))
		caps |= uso;
	tapfd_set_offloads(fd, 0);
	return caps;
}

int tapfd_set_offloads(int fd, uint32_t caps)
{
	static const struct {
		uint32_t cap;
		unsigned long flag;
	} rows[] = {
		{ VHU_NET_CAP_CSUM, TUN_F_CSUM }, { VHU_NET_CAP_TSO4, TUN_F_TSO4 },
		{ VHU_NET_CAP_TSO6, TUN_F_TSO6 }, { VHU_NET_CAP_ECN, TUN_F_TSO_ECN },
		{ VHU_NET_CAP_USO4, TUN_F_USO4 }, { VHU_NET_CAP_USO6, TUN_F_USO6 },
	};
	unsigned long flags = 0;

	/* The kernel refuses segments without checksums, and ECN without TSO. */
	if (!(caps & VHU_NET_CAP_CSUM))
		caps = 0;
	if (!(caps & (VHU_NET_CAP_TSO4 | VHU_NET_CAP_TSO6)))
		caps &= ~(uint32_t)VHU_NET_CAP_ECN;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (caps & rows[i].cap)
			flags |= rows[i].flag;
	return ioctl(fd, TUNSETOFFLOAD, flags) ? -errno : 0;
}

int tapfd_set_carrier(int fd, bool is_up)
{
	int value = is_up;

	return ioctl(fd, TUNSETCARRIER, &value) ? -errno : 0;
}

int tapfd_set_attached(int fd, bool is_attached)
{
	struct ifreq req = {
		.ifr_flags = (short)(is_attached ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE),
	};

	return ioctl(fd, TUNSETQUEUE, &req) ? -errno : 0;
}

int tapfd_get_mac(int fd, uint8_t ret_mac[6])
{
	struct ifreq req = { 0 };

	if (ioctl(fd, SIOCGIFHWADDR, &req))
		return -errno;
	memcpy(ret_mac, req.ifr_hwaddr.sa_data, 6);
	return 0;
}

int tapfd_set_mac(int fd, const uint8_t mac[6])
{
	struct ifreq req = { .ifr_hwaddr.sa_family = ARPHRD_ETHER };

	memcpy(req.ifr_hwaddr.sa_data, mac, 6);
	return ioctl(fd, SIOCSIFHWADDR, &req) ? -errno : 0;
}

int tap_control_open(void)
{
	/* Any kind of socket takes these requests, and this kind is needed anyway. */
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

static struct ifreq request_for(const char *name)
{
	struct ifreq req = { 0 };

	memcpy(req.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
	return req;
}

int tap_get_mtu(int control_fd, const char *name)
{
	struct ifreq req = request_for(name);

	return ioctl(control_fd, SIOCGIFMTU, &req) ? -errno : req.ifr_mtu;
}

int tap_set_mtu(int control_fd, const char *name, unsigned int mtu)
{
	struct ifreq req = request_for(name);

	req.ifr_mtu = (int)mtu;
	return ioctl(control_fd, SIOCSIFMTU, &req) ? -errno : 0;
}

int tap_get_flags(int control_fd, const char *name)
{
	struct ifreq req = request_for(name);

	return ioctl(control_fd, SIOCGIFFLAGS, &req) ? -errno : (uint16_t)req.ifr_flags;
}

int tap_bring_up(int control_fd, const char *name)
{
	struct ifreq req = request_for(name);
	int flags = tap_get_flags(control_fd, name);

	if (flags < 0)
		return flags;
	if (flags & IFF_UP)
		return 0;
	req.ifr_flags = (short)(flags | IFF_UP);
	return ioctl(control_fd, SIOCSIFFLAGS, &req) ? -errno : 0;
}

static uint16_t get_le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static void put_le16(uint8_t *p, unsigned int value)
{
	p[0] = (uint8_t)value;
	p[1] = (uint8_t)(value >> 8);
}

void tap_hdr_unpack(const uint8_t bytes[TAP_HDR_LEN], struct vhu_net_hdr *ret_hdr)
{
	/* What the kernel has checked is a gift that not every receiver takes; it need not be given. */
	ret_hdr->flags = bytes[0] & VHU_NET_HDR_NEEDS_CSUM;
	ret_hdr->gso_type = bytes[1];
	ret_hdr->hdr_len = get_le16(bytes + 2);
	ret_hdr->gso_size = get_le16(bytes + 4);
	ret_hdr->csum_start = get_le16(bytes + 6);
	ret_hdr->csum_offset = get_le16(bytes + 8);
}

void tap_hdr_pack(uint8_t bytes[TAP_HDR_LEN], const struct vhu_net_hdr *hdr, uint32_t len)
{
	bytes[0] = hdr->flags;
	bytes[1] = hdr->gso_type;
	/* the sender's hint, and the kernel refuses one that is longer than the frame */
	put_le16(bytes + 2, hdr->hdr_len <= len ? hdr->hdr_len : 0);
	put_le16(bytes + 4, hdr->gso_size);
	put_le16(bytes + 6, hdr->csum_start);
	put_le16(bytes + 8, hdr->csum_offset);
	put_le16(bytes + 10, 0);
}
