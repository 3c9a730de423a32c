/* SPDX-License-Identifier: MIT */
/*
 * Messages as they stand on the wire: the request table, the payloads, validation and text.
 *
 * Pure functions, no system calls, any thread. Section names are those of the vhost-user
 * specification (QEMU, docs/interop/vhost-user.rst).
 */
#ifndef VHU_WIRE_H
#define VHU_WIRE_H

#include <vhu/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Requests of the frontend ("Front-end message types"). */
enum vhu_request {
	VHU_GET_FEATURES = 1,
	VHU_SET_FEATURES = 2,
	VHU_SET_OWNER = 3,
	VHU_RESET_OWNER = 4,
	VHU_SET_MEM_TABLE = 5,
	VHU_SET_LOG_BASE = 6,
	VHU_SET_LOG_FD = 7,
	VHU_SET_VRING_NUM = 8,
	VHU_SET_VRING_ADDR = 9,
	VHU_SET_VRING_BASE = 10,
	VHU_GET_VRING_BASE = 11,
	VHU_SET_VRING_KICK = 12,
	VHU_SET_VRING_CALL = 13,
	VHU_SET_VRING_ERR = 14,
	VHU_GET_PROTOCOL_FEATURES = 15,
	VHU_SET_PROTOCOL_FEATURES = 16,
	VHU_GET_QUEUE_NUM = 17,
	VHU_SET_VRING_ENABLE = 18,
	VHU_SEND_RARP = 19,
	VHU_NET_SET_MTU = 20,
	VHU_SET_BACKEND_REQ_FD = 21,
	VHU_IOTLB_MSG = 22,
	VHU_SET_VRING_ENDIAN = 23,
	VHU_GET_CONFIG = 24,
	VHU_SET_CONFIG = 25,
	VHU_CREATE_CRYPTO_SESSION = 26,
	VHU_CLOSE_CRYPTO_SESSION = 27,
	VHU_POSTCOPY_ADVISE = 28,
	VHU_POSTCOPY_LISTEN = 29,
	VHU_POSTCOPY_END = 30,
	VHU_GET_INFLIGHT_FD = 31,
	VHU_SET_INFLIGHT_FD = 32,
	VHU_GPU_SET_SOCKET = 33,
	VHU_RESET_DEVICE = 34,
	VHU_VRING_KICK = 35,
	VHU_GET_MAX_MEM_SLOTS = 36,
	VHU_ADD_MEM_REG = 37,
	VHU_REM_MEM_REG = 38,
	VHU_SET_STATUS = 39,
	VHU_GET_STATUS = 40,
	VHU_GET_SHARED_OBJECT = 41,
	VHU_SET_DEVICE_STATE_FD = 42,
	VHU_CHECK_DEVICE_STATE = 43,
	VHU_GET_SHMEM_CONFIG = 44,
	VHU_GET_VRING_BASE_SKIP_DRAIN = 45,
	VHU_REQUEST_END,
};

/* Requests of the backend on its own channel ("Back-end message types"). */
enum vhu_backend_request {
	VHU_BACKEND_IOTLB_MSG = 1,
	VHU_BACKEND_CONFIG_CHANGE = 2,
	VHU_BACKEND_VRING_HOST_NOTIFIER = 3,
	VHU_BACKEND_VRING_CALL = 4,
	VHU_BACKEND_VRING_ERR = 5,
	VHU_BACKEND_SHARED_OBJECT_ADD = 6,
	VHU_BACKEND_SHARED_OBJECT_REMOVE = 7,
	VHU_BACKEND_SHARED_OBJECT_LOOKUP = 8,
	VHU_BACKEND_SHMEM_MAP = 9,
	VHU_BACKEND_SHMEM_UNMAP = 10,
	VHU_BACKEND_REQUEST_END,
};

/* Which table a request number belongs to. */
enum vhu_channel {
	VHU_CHANNEL_MAIN,    /* the frontend asks, the backend replies */
	VHU_CHANNEL_BACKEND, /* the backend asks, on the socket of SET_BACKEND_REQ_FD */
};

/* "Header": host byte order. */
struct vhu_msg_hdr {
	uint32_t request;
	uint32_t flags;
	uint32_t size; /* of the payload */
};

enum {
	VHU_MSG_VERSION_MASK = 0x3,
	VHU_MSG_VERSION = 0x1,
	VHU_MSG_REPLY = 0x4,
	VHU_MSG_NEED_REPLY = 0x8,

	VHU_MSG_HDR_SIZE = 12,
	VHU_MSG_MAX_PAYLOAD = 4096,
	VHU_MSG_MAX_FDS = 8,
	VHU_MAX_CONFIG_SIZE = 256,

	VHU_VRING_IDX_MASK = 0xff,   /* in the u64 of KICK, CALL and ERR */
	VHU_VRING_NOFD_MASK = 0x100, /* "no fd: poll" */
	VHU_VRING_F_LOG = 0x1,	     /* SET_VRING_ADDR: log the used ring */
};

struct vhu_vring_state {
	uint32_t index;
	uint32_t num;
};

struct vhu_vring_addr {
	uint32_t index;
	uint32_t flags;
	uint64_t desc;
	uint64_t used;
	uint64_t avail;
	uint64_t log;
};

struct vhu_region {
	uint64_t gpa; /* guest physical address */
	uint64_t size;
	uint64_t uva; /* address in the frontend */
	uint64_t mmap_offset;
};

struct vhu_mem_table {
	uint32_t nr;
	uint32_t pad;
	struct vhu_region region[VHU_MAX_MSG_REGIONS];
};

struct vhu_mem_reg {
	uint64_t pad;
	struct vhu_region region;
};

struct vhu_log {
	uint64_t size;
	uint64_t offset;
};

struct vhu_iotlb {
	uint64_t iova;
	uint64_t size;
	uint64_t uaddr;
	uint8_t perm;
	uint8_t type;
	uint8_t pad[6];
};

struct vhu_config {
	uint32_t offset;
	uint32_t size;
	uint32_t flags;
	uint8_t bytes[VHU_MAX_CONFIG_SIZE];
};

struct vhu_inflight {
	uint64_t mmap_size;
	uint64_t mmap_offset;
	uint16_t nr_queues;
	uint16_t queue_size;
	uint32_t pad;
};

struct vhu_vring_area {
	uint64_t index_flags;
	uint64_t size;
	uint64_t offset;
};

struct vhu_transfer_state {
	uint32_t direction;
	uint32_t phase;
};

struct vhu_shmem_map {
	uint8_t shmid;
	uint8_t pad[7];
	uint64_t fd_offset;
	uint64_t shm_offset;
	uint64_t len;
	uint64_t flags;
};

/* One message with its fds; fds[0..nr_fds-1] are owned by whoever holds the message. */
struct vhu_msg {
	struct vhu_msg_hdr hdr;
	unsigned int nr_fds;
	int fds[VHU_MSG_MAX_FDS];
	union {
		uint64_t u64;
		struct vhu_vring_state state;
		struct vhu_vring_addr addr;
		struct vhu_mem_table mem;
		struct vhu_mem_reg reg;
		struct vhu_log log;
		struct vhu_iotlb iotlb;
		struct vhu_config config;
		struct vhu_inflight inflight;
		struct vhu_vring_area area;
		struct vhu_transfer_state transfer;
		struct vhu_shmem_map shmem;
		uint8_t uuid[16];
		uint8_t bytes[VHU_MSG_MAX_PAYLOAD];
	};
};

/* Kinds of payload; vhu_payload_row() tells the sizes and the fields of each. */
enum vhu_payload {
	VHU_PAYLOAD_NONE,
	VHU_PAYLOAD_U64,
	VHU_PAYLOAD_FEATURES,
	VHU_PAYLOAD_PROTOCOL_FEATURES,
	VHU_PAYLOAD_VRING_FD,	 /* u64: index and the no-fd bit */
	VHU_PAYLOAD_VRING_STATE, /* index, num */
	VHU_PAYLOAD_VRING_ADDR,
	VHU_PAYLOAD_MEM_TABLE,
	VHU_PAYLOAD_MEM_REG,
	VHU_PAYLOAD_LOG,
	VHU_PAYLOAD_IOTLB,
	VHU_PAYLOAD_CONFIG,
	VHU_PAYLOAD_CRYPTO,
	VHU_PAYLOAD_INFLIGHT,
	VHU_PAYLOAD_AREA,
	VHU_PAYLOAD_TRANSFER,
	VHU_PAYLOAD_UUID,
	VHU_PAYLOAD_SHMEM_MAP,
	VHU_PAYLOAD_SHMEM_CONFIG,
	VHU_PAYLOAD_MAC,
	VHU_PAYLOAD_STATUS,
	VHU_PAYLOAD_ACK, /* u64: 0 is success */
	VHU_PAYLOAD_END,
};

/* How a field is best shown. */
enum vhu_field_kind {
	VHU_FIELD_DEC,
	VHU_FIELD_HEX,
	VHU_FIELD_BYTES,	     /* a size */
	VHU_FIELD_RING,		     /* a ring index */
	VHU_FIELD_FEATURES,	     /* a set of virtio feature bits */
	VHU_FIELD_PROTOCOL_FEATURES, /* a set of protocol feature bits */
	VHU_FIELD_STATUS,	     /* virtio device status bits */
	VHU_FIELD_MAC,
	VHU_FIELD_FLAG, /* shown by its name if it is not 0 */
};

struct vhu_field {
	const char *name;
	uint16_t offset; /* in the payload */
	uint8_t width;	 /* 1, 2, 4 or 8 */
	uint8_t kind;	 /* enum vhu_field_kind */
};

struct vhu_payload_row {
	const char *name;
	uint16_t min_size, max_size;
	const struct vhu_field *fields; /* ends with a NULL name */
};

/* When a request is replied to. */
enum vhu_reply_rule {
	VHU_REPLY_ACK,	  /* a plain u64, if REPLY_ACK was agreed and NEED_REPLY is set */
	VHU_REPLY_ALWAYS, /* a payload of its own */
	VHU_REPLY_LOG,	  /* SET_LOG_BASE: always if LOG_SHMFD was agreed, else as an ack */
};

enum {
	VHU_ROW_RING = 0x1,  /* names one ring, as payload index or in the low 8 bits of a u64 */
	VHU_ROW_QUIET = 0x2, /* the rings it concerns let go of what it replaces before the reply */
	VHU_ROW_IMPLEMENTED = 0x4, /* this library's backend half serves it */
};

/* One request: the one place where the facts about it stand. */
struct vhu_request_row {
	const char *name;
	uint8_t id;
	uint8_t payload;	  /* enum vhu_payload of the request */
	uint8_t reply_payload;	  /* enum vhu_payload of the reply */
	uint8_t reply;		  /* enum vhu_reply_rule */
	uint8_t min_fds, max_fds; /* with the request; SET_MEM_TABLE: one a region */
	uint8_t reply_max_fds;
	int8_t protocol_bit; /* protocol feature that has to be agreed, or -1 */
	uint8_t flags;	     /* VHU_ROW_* */
};

/* The row of a request, or NULL if the number is unknown. */
VHU_API const struct vhu_request_row *vhu_request_row(enum vhu_channel channel, uint32_t request);
VHU_API const struct vhu_payload_row *vhu_payload_row(enum vhu_payload payload);

/* Name of a virtio feature bit, protocol bit, status bit: "MRG_RXBUF", or NULL if it has none. */
VHU_API const char *vhu_feature_name(unsigned int bit);
VHU_API const char *vhu_protocol_feature_name(unsigned int bit);
VHU_API const char *vhu_status_name(unsigned int bit);

/*
 * Judges a header before its payload is read: version, REPLY as expected, size possible for the
 * request. -EPROTO with a reason if the stream cannot be followed from here.
 */
VHU_API int vhu_wire_check_hdr(enum vhu_channel channel, const struct vhu_msg_hdr *hdr,
			       bool is_reply, struct vhu_reason *why);

/*
 * Judges a whole message: exact size, exact count of fds, ring index below nr_rings, the protocol
 * feature agreed. A request of an unknown number gives -EOPNOTSUPP, a malformed one -EPROTO, one
 * whose protocol feature was not agreed -EACCES.
 */
VHU_API int vhu_wire_check(enum vhu_channel channel, const struct vhu_msg *msg, bool is_reply,
			   uint64_t protocol_features, unsigned int nr_rings,
			   struct vhu_reason *why);

/* The ring that a message names, or -1 (rows without VHU_ROW_RING, too short a payload, a plain
 * acknowledgement). */
VHU_API int vhu_wire_ring(enum vhu_channel channel, const struct vhu_msg *msg);

/* Whether a reply will follow this request, given what was agreed. */
VHU_API bool vhu_wire_wants_reply(enum vhu_channel channel, const struct vhu_msg *msg,
				  uint64_t protocol_features);

/*
 * The payload's fields as one line of text without line end: "index 1, num 256". A memory table
 * gives its count; its regions follow with vhu_wire_region_text(). Returns the length that the
 * whole text has, as snprintf does; at most size bytes are written, with a terminating zero.
 */
VHU_API size_t vhu_wire_text(enum vhu_channel channel, const struct vhu_msg *msg, bool is_reply,
			     char *buf, size_t size);
VHU_API size_t vhu_wire_region_text(const struct vhu_region *region, char *buf, size_t size);

/* Calls fn for each field of the payload, for programs that want values and not text. */
VHU_API void vhu_wire_each_field(enum vhu_channel channel, const struct vhu_msg *msg, bool is_reply,
				 void (*fn)(void *arg, const struct vhu_field *field,
					    uint64_t value),
				 void *arg);

/* Begins a message: header with version, no fds; the payload of size bytes is zeroed. */
VHU_API void vhu_msg_init(struct vhu_msg *msg, uint32_t request, uint32_t flags, uint32_t size);
/* Begins the reply to a request, with a payload of size bytes, zeroed. */
VHU_API void vhu_msg_init_reply(struct vhu_msg *reply, const struct vhu_msg *request,
				uint32_t size);

#ifdef __cplusplus
}
#endif
#endif
