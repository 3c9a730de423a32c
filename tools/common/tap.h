/* SPDX-License-Identifier: MIT */
/*
 * Tap interfaces of the kernel: opened, set up, and the net header before each of their frames
 * (Linux, tuntap.rst; uapi virtio_net.h). It knows nothing of where the frames come from and go to.
 *
 * 0 or an fd on success, -errno on failure. What has an err text puts one sentence for people there.
 */
#ifndef COMMON_TAP_H
#define COMMON_TAP_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vhu/net.h>

enum {
	TAP_HDR_LEN = 12, /* with num_buffers, as virtio 1.x has it */
};

/*
 * Opens one queue of the interface called name, and makes the interface if it is not there. The fd
 * is non-blocking and close-on-exec. The kernel fills in a "%d" of the name; name is what it is
 * called then. Nothing is left to the reader of the fd yet: see tapfd_set_offloads().
 */
int tapfd_open(char name[IFNAMSIZ], bool multi_queue, char *err, size_t size);

/* What the kernel can leave to a reader at all, as VHU_NET_CAP_*. It forgets what was set. */
uint32_t tapfd_possible_offloads(int fd);
/* What the kernel may leave to the reader from now on, as VHU_NET_CAP_*; without CSUM nothing. */
int tapfd_set_offloads(int fd, uint32_t caps);
/* Whether the interface has a carrier. */
int tapfd_set_carrier(int fd, bool is_up);
/* Whether the kernel puts frames into this queue of several. */
int tapfd_set_attached(int fd, bool is_attached);
int tapfd_get_mac(int fd, uint8_t ret_mac[6]);
/* Wants no privilege but the fd. */
int tapfd_set_mac(int fd, const uint8_t mac[6]);

/* A socket for the four below; it belongs to the network namespace that it was made in. */
int tap_control_open(void);
int tap_get_mtu(int control_fd, const char *name);
int tap_set_mtu(int control_fd, const char *name, unsigned int mtu);
/* The interface's IFF_* flags. */
int tap_get_flags(int control_fd, const char *name);
/* Nothing happens, and no privilege is needed, if it is up already. */
int tap_bring_up(int control_fd, const char *name);

/* The header that the kernel put before a frame. */
void tap_hdr_unpack(const uint8_t bytes[TAP_HDR_LEN], struct vhu_net_hdr *ret_hdr);
/* The header for the kernel, of a frame of len bytes. */
void tap_hdr_pack(uint8_t bytes[TAP_HDR_LEN], const struct vhu_net_hdr *hdr, uint32_t len);

#endif
