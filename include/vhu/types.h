/* SPDX-License-Identifier: MIT */
/*
 * What every other header stands on: limits, feature bits and the reason that goes with an error.
 *
 * Conventions of all public headers:
 *  - 0 or a count on success, -errno on failure. Outputs are called ret_x and written on success only.
 *  - An fd argument named take_x becomes the library's even when the call fails; any other fd is
 *    borrowed for the call.
 *  - The library prints nothing, exits never, installs no signal handler, starts no thread.
 *  - "Control thread": the one thread that calls a device's control functions at a time.
 *    "Data thread": the one thread that works on a queue at a time.
 *  - Sizes and lengths are bytes unless the name says otherwise.
 */
#ifndef VHU_TYPES_H
#define VHU_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define VHU_API __attribute__((visibility("default")))
#define VHU_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define VHU_API
#define VHU_PRINTF(fmt, args)
#endif

/* A mask of one bit; the names below that end in _BIT are bit numbers. */
#define VHU_MASK(bit) (UINT64_C(1) << (bit))

/* Virtio feature bits (virtio 1.2, sections 5.1.3 and 6; bits 26 and 30: vhost-user). */
enum vhu_feature_bit {
	VHU_NET_F_CSUM_BIT = 0,
	VHU_NET_F_GUEST_CSUM_BIT = 1,
	VHU_NET_F_CTRL_GUEST_OFFLOADS_BIT = 2,
	VHU_NET_F_MTU_BIT = 3,
	VHU_NET_F_MAC_BIT = 5,
	VHU_NET_F_GUEST_TSO4_BIT = 7,
	VHU_NET_F_GUEST_TSO6_BIT = 8,
	VHU_NET_F_GUEST_ECN_BIT = 9,
	VHU_NET_F_GUEST_UFO_BIT = 10,
	VHU_NET_F_HOST_TSO4_BIT = 11,
	VHU_NET_F_HOST_TSO6_BIT = 12,
	VHU_NET_F_HOST_ECN_BIT = 13,
	VHU_NET_F_HOST_UFO_BIT = 14,
	VHU_NET_F_MRG_RXBUF_BIT = 15,
	VHU_NET_F_STATUS_BIT = 16,
	VHU_NET_F_CTRL_VQ_BIT = 17,
	VHU_NET_F_CTRL_RX_BIT = 18,
	VHU_NET_F_CTRL_VLAN_BIT = 19,
	VHU_NET_F_GUEST_ANNOUNCE_BIT = 21,
	VHU_NET_F_MQ_BIT = 22,
	VHU_NET_F_CTRL_MAC_ADDR_BIT = 23,
	VHU_F_NOTIFY_ON_EMPTY_BIT = 24,
	VHU_F_LOG_ALL_BIT = 26,
	VHU_F_ANY_LAYOUT_BIT = 27,
	VHU_F_INDIRECT_DESC_BIT = 28,
	VHU_F_EVENT_IDX_BIT = 29,
	VHU_F_PROTOCOL_FEATURES_BIT = 30,
	VHU_F_VERSION_1_BIT = 32,
	VHU_F_ACCESS_PLATFORM_BIT = 33,
	VHU_F_RING_PACKED_BIT = 34,
	VHU_F_IN_ORDER_BIT = 35,
	VHU_F_ORDER_PLATFORM_BIT = 36,
	VHU_F_NOTIFICATION_DATA_BIT = 38,
	VHU_F_RING_RESET_BIT = 40,
	VHU_NET_F_GUEST_USO4_BIT = 54,
	VHU_NET_F_GUEST_USO6_BIT = 55,
	VHU_NET_F_HOST_USO_BIT = 56,
	VHU_NET_F_SPEED_DUPLEX_BIT = 63,
};

/* Protocol feature bits (vhost-user, "Protocol features"). */
enum vhu_protocol_bit {
	VHU_P_MQ_BIT = 0,
	VHU_P_LOG_SHMFD_BIT = 1,
	VHU_P_RARP_BIT = 2,
	VHU_P_REPLY_ACK_BIT = 3,
	VHU_P_NET_MTU_BIT = 4,
	VHU_P_BACKEND_REQ_BIT = 5,
	VHU_P_CROSS_ENDIAN_BIT = 6,
	VHU_P_CRYPTO_SESSION_BIT = 7,
	VHU_P_PAGEFAULT_BIT = 8,
	VHU_P_CONFIG_BIT = 9,
	VHU_P_BACKEND_SEND_FD_BIT = 10,
	VHU_P_HOST_NOTIFIER_BIT = 11,
	VHU_P_INFLIGHT_SHMFD_BIT = 12,
	VHU_P_RESET_DEVICE_BIT = 13,
	VHU_P_INBAND_NOTIFICATIONS_BIT = 14,
	VHU_P_CONFIGURE_MEM_SLOTS_BIT = 15,
	VHU_P_STATUS_BIT = 16,
	VHU_P_XEN_MMAP_BIT = 17,
	VHU_P_SHARED_OBJECT_BIT = 18,
	VHU_P_DEVICE_STATE_BIT = 19,
	VHU_P_GET_VRING_BASE_INFLIGHT_BIT = 20,
	VHU_P_GPA_ADDRESSES_BIT = 21,
	VHU_P_SHMEM_BIT = 22,
	VHU_P_GET_VRING_BASE_SKIP_DRAIN_BIT = 23,
};

enum {
	VHU_MAX_RINGS = 256,	   /* SET_VRING_KICK has 8 bits for the index */
	VHU_MAX_RING_SIZE = 32768, /* virtio 1.2, 2.7: the largest split ring */
	VHU_MAX_MSG_REGIONS = 8,   /* in one SET_MEM_TABLE */
	VHU_MAX_MEM_SLOTS = 128,   /* regions of a device, as GET_MAX_MEM_SLOTS answers */
};

/* Bytes that one device may have mapped: addresses are what the process's devices share. */
#define VHU_MAX_MEM_BYTES (UINT64_C(4) << 40)

/* Why something was refused: names the thing, the value and the rule. Never longer than this. */
struct vhu_reason {
	char text[192];
};

/*
 * Writes the reason (if why is not NULL) and returns err, so that a refusal is one statement:
 *	return vhu_refuse(why, -EPROTO, "SET_VRING_NUM: num %u is not a power of two", num);
 * Any thread.
 */
VHU_API int vhu_refuse(struct vhu_reason *why, int err, const char *fmt, ...) VHU_PRINTF(3, 4);

/* The library's version, "0.1.0". */
VHU_API const char *vhu_version(void);

#ifdef __cplusplus
}
#endif
#endif
