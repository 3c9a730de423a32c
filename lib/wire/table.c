/* SPDX-License-Identifier: MIT */
/*
 * The request table: the one place where facts about messages stand. No system calls, no state.
 */
#include <vhu/wire.h>

#include <base/bits.h>

#define ROW(id_, name_, payload_, reply_, rule_, min_, max_, reply_fds_, bit_, flags_)             \
	[id_] = { .name = name_,                                                                   \
		  .id = id_,                                                                       \
		  .payload = VHU_PAYLOAD_##payload_,                                               \
		  .reply_payload = VHU_PAYLOAD_##reply_,                                           \
		  .reply = VHU_REPLY_##rule_,                                                      \
		  .min_fds = min_,                                                                 \
		  .max_fds = max_,                                                                 \
		  .reply_max_fds = reply_fds_,                                                     \
		  .protocol_bit = bit_,                                                            \
		  .flags = flags_ }

#define RING VHU_ROW_RING
#define QUIET VHU_ROW_QUIET
#define HERE VHU_ROW_IMPLEMENTED

/* clang-format off */
static const struct vhu_request_row main_rows[VHU_REQUEST_END] = {
/*  id                        name                    payload         reply           rule   fds  fds back  bit                  flags */
ROW(VHU_GET_FEATURES,         "GET_FEATURES",         NONE,           FEATURES,       ALWAYS, 0, 0, 0, -1,                         HERE),
ROW(VHU_SET_FEATURES,         "SET_FEATURES",         FEATURES,       ACK,            ACK,    0, 0, 0, -1,                         HERE | QUIET),
ROW(VHU_SET_OWNER,            "SET_OWNER",            NONE,           ACK,            ACK,    0, 0, 0, -1,                         HERE),
ROW(VHU_RESET_OWNER,          "RESET_OWNER",          NONE,           ACK,            ACK,    0, 0, 0, -1,                         HERE | QUIET),
ROW(VHU_SET_MEM_TABLE,        "SET_MEM_TABLE",        MEM_TABLE,      ACK,            ACK,    1, 8, 0, -1,                         HERE | QUIET),
ROW(VHU_SET_LOG_BASE,         "SET_LOG_BASE",         LOG,            ACK,            LOG,    0, 1, 0, -1,                         HERE | QUIET),
ROW(VHU_SET_LOG_FD,           "SET_LOG_FD",           NONE,           ACK,            ACK,    1, 1, 0, -1,                         HERE),
ROW(VHU_SET_VRING_NUM,        "SET_VRING_NUM",        VRING_STATE,    ACK,            ACK,    0, 0, 0, -1,                         HERE | RING),
ROW(VHU_SET_VRING_ADDR,       "SET_VRING_ADDR",       VRING_ADDR,     ACK,            ACK,    0, 0, 0, -1,                         HERE | RING | QUIET),
ROW(VHU_SET_VRING_BASE,       "SET_VRING_BASE",       VRING_STATE,    ACK,            ACK,    0, 0, 0, -1,                         HERE | RING),
ROW(VHU_GET_VRING_BASE,       "GET_VRING_BASE",       VRING_STATE,    VRING_STATE,    ALWAYS, 0, 0, 0, -1,                         HERE | RING | QUIET),
ROW(VHU_SET_VRING_KICK,       "SET_VRING_KICK",       VRING_FD,       ACK,            ACK,    0, 1, 0, -1,                         HERE | RING | QUIET),
ROW(VHU_SET_VRING_CALL,       "SET_VRING_CALL",       VRING_FD,       ACK,            ACK,    0, 1, 0, -1,                         HERE | RING | QUIET),
ROW(VHU_SET_VRING_ERR,        "SET_VRING_ERR",        VRING_FD,       ACK,            ACK,    0, 1, 0, -1,                         HERE | RING | QUIET),
ROW(VHU_GET_PROTOCOL_FEATURES,"GET_PROTOCOL_FEATURES",NONE,           PROTOCOL_FEATURES, ALWAYS, 0, 0, 0, -1,                      HERE),
ROW(VHU_SET_PROTOCOL_FEATURES,"SET_PROTOCOL_FEATURES",PROTOCOL_FEATURES, ACK,         ACK,    0, 0, 0, -1,                         HERE),
ROW(VHU_GET_QUEUE_NUM,        "GET_QUEUE_NUM",        NONE,           U64,            ALWAYS, 0, 0, 0, VHU_P_MQ_BIT,               HERE),
ROW(VHU_SET_VRING_ENABLE,     "SET_VRING_ENABLE",     VRING_STATE,    ACK,            ACK,    0, 0, 0, -1,                         HERE | RING | QUIET),
ROW(VHU_SEND_RARP,            "SEND_RARP",            MAC,            ACK,            ACK,    0, 0, 0, VHU_P_RARP_BIT,             HERE),
ROW(VHU_NET_SET_MTU,          "NET_SET_MTU",          U64,            ACK,            ACK,    0, 0, 0, VHU_P_NET_MTU_BIT,          HERE),
ROW(VHU_SET_BACKEND_REQ_FD,   "SET_BACKEND_REQ_FD",   NONE,           ACK,            ACK,    1, 1, 0, VHU_P_BACKEND_REQ_BIT,      HERE),
ROW(VHU_IOTLB_MSG,            "IOTLB_MSG",            IOTLB,          ACK,            ACK,    0, 0, 0, -1,                         0),
ROW(VHU_SET_VRING_ENDIAN,     "SET_VRING_ENDIAN",     VRING_STATE,    ACK,            ACK,    0, 0, 0, VHU_P_CROSS_ENDIAN_BIT,     RING),
ROW(VHU_GET_CONFIG,           "GET_CONFIG",           CONFIG,         CONFIG,         ALWAYS, 0, 0, 0, VHU_P_CONFIG_BIT,           HERE),
ROW(VHU_SET_CONFIG,           "SET_CONFIG",           CONFIG,         ACK,            ACK,    0, 0, 0, VHU_P_CONFIG_BIT,           0),
ROW(VHU_CREATE_CRYPTO_SESSION,"CREATE_CRYPTO_SESSION",CRYPTO,         CRYPTO,         ALWAYS, 0, 0, 0, VHU_P_CRYPTO_SESSION_BIT,   0),
ROW(VHU_CLOSE_CRYPTO_SESSION, "CLOSE_CRYPTO_SESSION", U64,            ACK,            ACK,    0, 0, 0, VHU_P_CRYPTO_SESSION_BIT,   0),
ROW(VHU_POSTCOPY_ADVISE,      "POSTCOPY_ADVISE",      NONE,           NONE,           ALWAYS, 0, 0, 1, VHU_P_PAGEFAULT_BIT,        0),
ROW(VHU_POSTCOPY_LISTEN,      "POSTCOPY_LISTEN",      NONE,           ACK,            ACK,    0, 0, 0, VHU_P_PAGEFAULT_BIT,        0),
ROW(VHU_POSTCOPY_END,         "POSTCOPY_END",         NONE,           U64,            ALWAYS, 0, 0, 0, VHU_P_PAGEFAULT_BIT,        0),
ROW(VHU_GET_INFLIGHT_FD,      "GET_INFLIGHT_FD",      INFLIGHT,       INFLIGHT,       ALWAYS, 0, 0, 1, VHU_P_INFLIGHT_SHMFD_BIT,   HERE | QUIET),
ROW(VHU_SET_INFLIGHT_FD,      "SET_INFLIGHT_FD",      INFLIGHT,       ACK,            ACK,    1, 1, 0, VHU_P_INFLIGHT_SHMFD_BIT,   HERE | QUIET),
ROW(VHU_GPU_SET_SOCKET,       "GPU_SET_SOCKET",       NONE,           ACK,            ACK,    1, 1, 0, -1,                         0),
ROW(VHU_RESET_DEVICE,         "RESET_DEVICE",         NONE,           ACK,            ACK,    0, 0, 0, VHU_P_RESET_DEVICE_BIT,     HERE | QUIET),
ROW(VHU_VRING_KICK,           "VRING_KICK",           VRING_STATE,    ACK,            ACK,    0, 0, 0, VHU_P_INBAND_NOTIFICATIONS_BIT, HERE | RING),
ROW(VHU_GET_MAX_MEM_SLOTS,    "GET_MAX_MEM_SLOTS",    NONE,           U64,            ALWAYS, 0, 0, 0, VHU_P_CONFIGURE_MEM_SLOTS_BIT, HERE),
ROW(VHU_ADD_MEM_REG,          "ADD_MEM_REG",          MEM_REG,        ACK,            ACK,    1, 1, 0, VHU_P_CONFIGURE_MEM_SLOTS_BIT, HERE | QUIET),
ROW(VHU_REM_MEM_REG,          "REM_MEM_REG",          MEM_REG,        ACK,            ACK,    0, 1, 0, VHU_P_CONFIGURE_MEM_SLOTS_BIT, HERE | QUIET),
ROW(VHU_SET_STATUS,           "SET_STATUS",           STATUS,         ACK,            ACK,    0, 0, 0, VHU_P_STATUS_BIT,           HERE | QUIET),
ROW(VHU_GET_STATUS,           "GET_STATUS",           NONE,           STATUS,         ALWAYS, 0, 0, 0, VHU_P_STATUS_BIT,           HERE),
ROW(VHU_GET_SHARED_OBJECT,    "GET_SHARED_OBJECT",    UUID,           NONE,           ALWAYS, 0, 0, 1, VHU_P_SHARED_OBJECT_BIT,    0),
ROW(VHU_SET_DEVICE_STATE_FD,  "SET_DEVICE_STATE_FD",  TRANSFER,       U64,            ALWAYS, 1, 1, 1, VHU_P_DEVICE_STATE_BIT,     0),
ROW(VHU_CHECK_DEVICE_STATE,   "CHECK_DEVICE_STATE",   NONE,           U64,            ALWAYS, 0, 0, 0, VHU_P_DEVICE_STATE_BIT,     0),
ROW(VHU_GET_SHMEM_CONFIG,     "GET_SHMEM_CONFIG",     NONE,           SHMEM_CONFIG,   ALWAYS, 0, 0, 0, VHU_P_SHMEM_BIT,            0),
ROW(VHU_GET_VRING_BASE_SKIP_DRAIN, "GET_VRING_BASE_SKIP_DRAIN", VRING_STATE, VRING_STATE, ALWAYS, 0, 0, 0, VHU_P_GET_VRING_BASE_SKIP_DRAIN_BIT, RING | QUIET),
};

static const struct vhu_request_row backend_rows[VHU_BACKEND_REQUEST_END] = {
ROW(VHU_BACKEND_IOTLB_MSG,            "IOTLB_MSG",            IOTLB,     ACK, ACK, 0, 0, 0, -1,                         0),
ROW(VHU_BACKEND_CONFIG_CHANGE,        "CONFIG_CHANGE",        NONE,      ACK, ACK, 0, 0, 0, VHU_P_CONFIG_BIT,           HERE),
ROW(VHU_BACKEND_VRING_HOST_NOTIFIER,  "VRING_HOST_NOTIFIER",  AREA,      ACK, ACK, 0, 1, 0, VHU_P_HOST_NOTIFIER_BIT,    RING),
ROW(VHU_BACKEND_VRING_CALL,           "VRING_CALL",           VRING_STATE, ACK, ACK, 0, 0, 0, VHU_P_INBAND_NOTIFICATIONS_BIT, HERE | RING),
ROW(VHU_BACKEND_VRING_ERR,            "VRING_ERR",            VRING_STATE, ACK, ACK, 0, 0, 0, VHU_P_INBAND_NOTIFICATIONS_BIT, HERE | RING),
ROW(VHU_BACKEND_SHARED_OBJECT_ADD,    "SHARED_OBJECT_ADD",    UUID,      ACK, ACK, 0, 0, 0, VHU_P_SHARED_OBJECT_BIT,    0),
ROW(VHU_BACKEND_SHARED_OBJECT_REMOVE, "SHARED_OBJECT_REMOVE", UUID,      ACK, ACK, 0, 0, 0, VHU_P_SHARED_OBJECT_BIT,    0),
ROW(VHU_BACKEND_SHARED_OBJECT_LOOKUP, "SHARED_OBJECT_LOOKUP", UUID,      ACK, ALWAYS, 0, 0, 1, VHU_P_SHARED_OBJECT_BIT, 0),
ROW(VHU_BACKEND_SHMEM_MAP,            "SHMEM_MAP",            SHMEM_MAP, ACK, ACK, 1, 1, 0, VHU_P_SHMEM_BIT,            0),
ROW(VHU_BACKEND_SHMEM_UNMAP,          "SHMEM_UNMAP",          SHMEM_MAP, ACK, ACK, 0, 0, 0, VHU_P_SHMEM_BIT,            0),
};
/* clang-format on */

#undef RING
#undef QUIET
#undef HERE

#define FIELD(name_, type_, member_, kind_)                                                        \
	{                                                                                          \
		name_, offsetof(struct type_, member_), sizeof(((struct type_ *)0)->member_),      \
			VHU_FIELD_##kind_                                                          \
	}
#define U64_FIELD(name_, kind_)                                                                    \
	{                                                                                          \
		name_, 0, 8, VHU_FIELD_##kind_                                                     \
	}
#define END                                                                                        \
	{                                                                                          \
		NULL, 0, 0, 0                                                                      \
	}

static const struct vhu_field no_fields[] = { END };
static const struct vhu_field u64_fields[] = { U64_FIELD("value", DEC), END };
static const struct vhu_field feature_fields[] = { U64_FIELD("features", FEATURES), END };
static const struct vhu_field protocol_fields[] = {
	U64_FIELD("protocol_features", PROTOCOL_FEATURES), END
};
static const struct vhu_field vring_fd_fields[] = { { "index", 0, 1, VHU_FIELD_RING },
						    { "no_fd", 1, 1, VHU_FIELD_FLAG },
						    END };
static const struct vhu_field vring_state_fields[] = { FIELD("index", vhu_vring_state, index, RING),
						       FIELD("num", vhu_vring_state, num, DEC),
						       END };
static const struct vhu_field vring_addr_fields[] = { FIELD("index", vhu_vring_addr, index, RING),
						      FIELD("flags", vhu_vring_addr, flags, HEX),
						      FIELD("desc", vhu_vring_addr, desc, HEX),
						      FIELD("used", vhu_vring_addr, used, HEX),
						      FIELD("avail", vhu_vring_addr, avail, HEX),
						      FIELD("log", vhu_vring_addr, log, HEX),
						      END };
static const struct vhu_field mem_table_fields[] = { FIELD("regions", vhu_mem_table, nr, DEC),
						     END };
static const struct vhu_field mem_reg_fields[] = {
	FIELD("gpa", vhu_mem_reg, region.gpa, HEX), FIELD("size", vhu_mem_reg, region.size, BYTES),
	FIELD("uva", vhu_mem_reg, region.uva, HEX),
	FIELD("offset", vhu_mem_reg, region.mmap_offset, HEX), END
};
static const struct vhu_field log_fields[] = { FIELD("size", vhu_log, size, BYTES),
					       FIELD("offset", vhu_log, offset, HEX), END };
static const struct vhu_field iotlb_fields[] = {
	FIELD("iova", vhu_iotlb, iova, HEX),   FIELD("size", vhu_iotlb, size, BYTES),
	FIELD("uaddr", vhu_iotlb, uaddr, HEX), FIELD("perm", vhu_iotlb, perm, DEC),
	FIELD("type", vhu_iotlb, type, DEC),   END
};
static const struct vhu_field config_fields[] = { FIELD("offset", vhu_config, offset, DEC),
						  FIELD("size", vhu_config, size, BYTES),
						  FIELD("flags", vhu_config, flags, HEX), END };
static const struct vhu_field inflight_fields[] = {
	FIELD("mmap_size", vhu_inflight, mmap_size, BYTES),
	FIELD("mmap_offset", vhu_inflight, mmap_offset, HEX),
	FIELD("queues", vhu_inflight, nr_queues, DEC),
	FIELD("queue_size", vhu_inflight, queue_size, DEC), END
};
static const struct vhu_field area_fields[] = { { "index", 0, 1, VHU_FIELD_RING },
						{ "no_fd", 1, 1, VHU_FIELD_FLAG },
						FIELD("size", vhu_vring_area, size, BYTES),
						FIELD("offset", vhu_vring_area, offset, HEX),
						END };
static const struct vhu_field transfer_fields[] = {
	FIELD("direction", vhu_transfer_state, direction, DEC),
	FIELD("phase", vhu_transfer_state, phase, DEC), END
};
static const struct vhu_field uuid_fields[] = { { "uuid_low", 0, 8, VHU_FIELD_HEX },
						{ "uuid_high", 8, 8, VHU_FIELD_HEX },
						END };
static const struct vhu_field shmem_map_fields[] = {
	FIELD("shmid", vhu_shmem_map, shmid, DEC),
	FIELD("fd_offset", vhu_shmem_map, fd_offset, HEX),
	FIELD("shm_offset", vhu_shmem_map, shm_offset, HEX),
	FIELD("len", vhu_shmem_map, len, BYTES),
	FIELD("flags", vhu_shmem_map, flags, HEX),
	END
};
static const struct vhu_field shmem_config_fields[] = { { "regions", 0, 4, VHU_FIELD_DEC }, END };
static const struct vhu_field mac_fields[] = { U64_FIELD("mac", MAC), END };
static const struct vhu_field status_fields[] = { U64_FIELD("status", STATUS), END };
static const struct vhu_field ack_fields[] = { U64_FIELD("result", DEC), END };

#undef FIELD
#undef U64_FIELD
#undef END

enum {
	MEM_HEAD = offsetof(struct vhu_mem_table, region),
	REGION = sizeof(struct vhu_region),
	CONFIG_HEAD = offsetof(struct vhu_config, bytes),
};

/* clang-format off */
static const struct vhu_payload_row payload_rows[VHU_PAYLOAD_END] = {
	[VHU_PAYLOAD_NONE]              = {"none",              0, 0, no_fields},
	[VHU_PAYLOAD_U64]               = {"u64",               8, 8, u64_fields},
	[VHU_PAYLOAD_FEATURES]          = {"features",          8, 8, feature_fields},
	[VHU_PAYLOAD_PROTOCOL_FEATURES] = {"protocol features", 8, 8, protocol_fields},
	[VHU_PAYLOAD_VRING_FD]          = {"vring fd",          8, 8, vring_fd_fields},
	[VHU_PAYLOAD_VRING_STATE]       = {"vring state",       8, 8, vring_state_fields},
	[VHU_PAYLOAD_VRING_ADDR]        = {"vring addr",       40, 40, vring_addr_fields},
	[VHU_PAYLOAD_MEM_TABLE]         = {"memory table",      MEM_HEAD,
					   MEM_HEAD + VHU_MAX_MSG_REGIONS * REGION, mem_table_fields},
	[VHU_PAYLOAD_MEM_REG]           = {"memory region",     8 + REGION, 8 + REGION, mem_reg_fields},
	[VHU_PAYLOAD_LOG]               = {"log",               8, 16, log_fields},
	[VHU_PAYLOAD_IOTLB]             = {"iotlb",            26, 32, iotlb_fields},
	[VHU_PAYLOAD_CONFIG]            = {"config",            CONFIG_HEAD,
					   CONFIG_HEAD + VHU_MAX_CONFIG_SIZE, config_fields},
	[VHU_PAYLOAD_CRYPTO]            = {"crypto session",    8, VHU_MSG_MAX_PAYLOAD, no_fields},
	[VHU_PAYLOAD_INFLIGHT]          = {"in flight",        20, 24, inflight_fields},
	[VHU_PAYLOAD_AREA]              = {"vring area",       24, 24, area_fields},
	[VHU_PAYLOAD_TRANSFER]          = {"device state",      8, 8, transfer_fields},
	[VHU_PAYLOAD_UUID]              = {"uuid",             16, 16, uuid_fields},
	[VHU_PAYLOAD_SHMEM_MAP]         = {"shmem map",        40, 40, shmem_map_fields},
	[VHU_PAYLOAD_SHMEM_CONFIG]      = {"shmem config",      8, 8 + 256 * 8, shmem_config_fields},
	[VHU_PAYLOAD_MAC]               = {"mac",               8, 8, mac_fields},
	[VHU_PAYLOAD_STATUS]            = {"status",            8, 8, status_fields},
	[VHU_PAYLOAD_ACK]               = {"ack",               8, 8, ack_fields},
};

static const char *const feature_names[64] = {
	[0] = "CSUM", [1] = "GUEST_CSUM", [2] = "CTRL_GUEST_OFFLOADS", [3] = "MTU", [5] = "MAC",
	[6] = "GSO", [7] = "GUEST_TSO4", [8] = "GUEST_TSO6", [9] = "GUEST_ECN", [10] = "GUEST_UFO",
	[11] = "HOST_TSO4", [12] = "HOST_TSO6", [13] = "HOST_ECN", [14] = "HOST_UFO",
	[15] = "MRG_RXBUF", [16] = "STATUS", [17] = "CTRL_VQ", [18] = "CTRL_RX",
	[19] = "CTRL_VLAN", [20] = "CTRL_RX_EXTRA", [21] = "GUEST_ANNOUNCE", [22] = "MQ",
	[23] = "CTRL_MAC_ADDR", [24] = "NOTIFY_ON_EMPTY", [26] = "LOG_ALL", [27] = "ANY_LAYOUT",
	[28] = "INDIRECT_DESC", [29] = "EVENT_IDX", [30] = "PROTOCOL_FEATURES", [32] = "VERSION_1",
	[33] = "ACCESS_PLATFORM", [34] = "RING_PACKED", [35] = "IN_ORDER", [36] = "ORDER_PLATFORM",
	[37] = "SR_IOV", [38] = "NOTIFICATION_DATA", [39] = "NOTIF_CONFIG_DATA", [40] = "RING_RESET",
	[52] = "HASH_TUNNEL", [53] = "VQ_NOTF_COAL", [54] = "GUEST_USO4", [55] = "GUEST_USO6",
	[56] = "HOST_USO", [57] = "HASH_REPORT", [59] = "GUEST_HDRLEN", [60] = "RSS",
	[61] = "RSC_EXT", [62] = "STANDBY", [63] = "SPEED_DUPLEX",
};

static const char *const protocol_names[] = {
	[VHU_P_MQ_BIT] = "MQ", [VHU_P_LOG_SHMFD_BIT] = "LOG_SHMFD", [VHU_P_RARP_BIT] = "RARP",
	[VHU_P_REPLY_ACK_BIT] = "REPLY_ACK", [VHU_P_NET_MTU_BIT] = "NET_MTU",
	[VHU_P_BACKEND_REQ_BIT] = "BACKEND_REQ", [VHU_P_CROSS_ENDIAN_BIT] = "CROSS_ENDIAN",
	[VHU_P_CRYPTO_SESSION_BIT] = "CRYPTO_SESSION", [VHU_P_PAGEFAULT_BIT] = "PAGEFAULT",
	[VHU_P_CONFIG_BIT] = "CONFIG", [VHU_P_BACKEND_SEND_FD_BIT] = "BACKEND_SEND_FD",
	[VHU_P_HOST_NOTIFIER_BIT] = "HOST_NOTIFIER", [VHU_P_INFLIGHT_SHMFD_BIT] = "INFLIGHT_SHMFD",
	[VHU_P_RESET_DEVICE_BIT] = "RESET_DEVICE",
	[VHU_P_INBAND_NOTIFICATIONS_BIT] = "INBAND_NOTIFICATIONS",
	[VHU_P_CONFIGURE_MEM_SLOTS_BIT] = "CONFIGURE_MEM_SLOTS", [VHU_P_STATUS_BIT] = "STATUS",
	[VHU_P_XEN_MMAP_BIT] = "XEN_MMAP", [VHU_P_SHARED_OBJECT_BIT] = "SHARED_OBJECT",
	[VHU_P_DEVICE_STATE_BIT] = "DEVICE_STATE",
	[VHU_P_GET_VRING_BASE_INFLIGHT_BIT] = "GET_VRING_BASE_INFLIGHT",
	[VHU_P_GPA_ADDRESSES_BIT] = "GPA_ADDRESSES", [VHU_P_SHMEM_BIT] = "SHMEM",
	[VHU_P_GET_VRING_BASE_SKIP_DRAIN_BIT] = "GET_VRING_BASE_SKIP_DRAIN",
};

/* virtio 1.2, 2.1 */
static const char *const status_names[] = {
	[0] = "ACKNOWLEDGE", [1] = "DRIVER", [2] = "DRIVER_OK", [3] = "FEATURES_OK",
	[6] = "DEVICE_NEEDS_RESET", [7] = "FAILED",
};
/* clang-format on */

const struct vhu_request_row *vhu_request_row(enum vhu_channel channel, uint32_t request)
{
	const struct vhu_request_row *rows = main_rows;
	uint32_t end = VHU_REQUEST_END;

	if (channel == VHU_CHANNEL_BACKEND) {
		rows = backend_rows;
		end = VHU_BACKEND_REQUEST_END;
	}
	if (request >= end || !rows[request].name)
		return NULL;
	return &rows[request];
}

const struct vhu_payload_row *vhu_payload_row(enum vhu_payload payload)
{
	return (unsigned int)payload < VHU_PAYLOAD_END ? &payload_rows[payload] : NULL;
}

const char *vhu_feature_name(unsigned int bit)
{
	return bit < VHU_ARRAY_SIZE(feature_names) ? feature_names[bit] : NULL;
}

const char *vhu_protocol_feature_name(unsigned int bit)
{
	return bit < VHU_ARRAY_SIZE(protocol_names) ? protocol_names[bit] : NULL;
}

const char *vhu_status_name(unsigned int bit)
{
	return bit < VHU_ARRAY_SIZE(status_names) ? status_names[bit] : NULL;
}
