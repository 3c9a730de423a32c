/* SPDX-License-Identifier: MIT */
/*
 * Judges messages by their rows of the request table. No system calls, no state of a connection.
 */
#include <vhu/wire.h>

#include <errno.h>
#include <string.h>

#include <base/bits.h>

/* Replies that may also be shorter or longer than their payload's row says. */
static bool reply_size_allowed(const struct vhu_request_row *row, enum vhu_channel channel,
			       uint32_t size)
{
	const struct vhu_payload_row *payload = vhu_payload_row(row->reply_payload);

	if (size >= payload->min_size && size <= payload->max_size)
		return true;
	if (channel != VHU_CHANNEL_MAIN)
		return false;
	switch (row->id) {
	case VHU_SET_LOG_BASE: /* DPDK answers without a payload, rust-vmm with that of the request */
		return size == 0 || size == sizeof(struct vhu_log);
	case VHU_GET_CONFIG: /* an error */
		return size == 0;
	case VHU_SET_MEM_TABLE: /* in postcopy the table comes back */
		payload = vhu_payload_row(VHU_PAYLOAD_MEM_TABLE);
		return size >= payload->min_size && size <= payload->max_size;
	default:
		return false;
	}
}

static int check_size(enum vhu_channel channel, const struct vhu_request_row *row, uint32_t size,
		      bool is_reply, struct vhu_reason *why)
{
	const struct vhu_payload_row *payload = vhu_payload_row(row->payload);

	if (is_reply) {
		if (reply_size_allowed(row, channel, size))
			return 0;
		payload = vhu_payload_row(row->reply_payload);
	} else if (size >= payload->min_size && size <= payload->max_size) {
		return 0;
	}
	if (payload->min_size == payload->max_size)
		return vhu_refuse(why, -EPROTO, "%s%s: size %u, its payload (%s) has %u bytes",
				  row->name, is_reply ? " reply" : "", size, payload->name,
				  payload->min_size);
	return vhu_refuse(why, -EPROTO, "%s%s: size %u, its payload (%s) has %u to %u bytes",
			  row->name, is_reply ? " reply" : "", size, payload->name,
			  payload->min_size, payload->max_size);
}

int vhu_wire_check_hdr(enum vhu_channel channel, const struct vhu_msg_hdr *hdr, bool is_reply,
		       struct vhu_reason *why)
{
	const struct vhu_request_row *row = vhu_request_row(channel, hdr->request);
	const char *name = row ? row->name : "unknown";

	if ((hdr->flags & VHU_MSG_VERSION_MASK) != VHU_MSG_VERSION)
		return vhu_refuse(why, -EPROTO, "request %u (%s): version %u, must be %u",
				  hdr->request, name, hdr->flags & VHU_MSG_VERSION_MASK,
				  VHU_MSG_VERSION);
	if (!!(hdr->flags & VHU_MSG_REPLY) != is_reply)
		return vhu_refuse(why, -EPROTO, "request %u (%s): flags 0x%x, the reply bit is %s",
				  hdr->request, name, hdr->flags,
				  is_reply ? "missing in a reply" : "set in a request");
	if (hdr->size > VHU_MSG_MAX_PAYLOAD)
		return vhu_refuse(why, -EPROTO, "request %u (%s): size %u, at most %u is allowed",
				  hdr->request, name, hdr->size, VHU_MSG_MAX_PAYLOAD);
	return row ? check_size(channel, row, hdr->size, is_reply, why) : 0;
}

/* Sizes that depend on what stands in the payload. */
static int check_inner_size(enum vhu_channel channel, const struct vhu_request_row *row,
			    const struct vhu_msg *msg, bool is_reply, uint64_t protocol_features,
			    struct vhu_reason *why)
{
	unsigned int payload = is_reply ? row->reply_payload : row->payload;
	uint64_t want;

	if (channel != VHU_CHANNEL_MAIN)
		return 0;
	if (payload == VHU_PAYLOAD_MEM_TABLE) {
		if (msg->mem.nr < 1 || msg->mem.nr > VHU_MAX_MSG_REGIONS)
			return vhu_refuse(why, -EPROTO, "%s: %u regions, 1 to %u are allowed",
					  row->name, msg->mem.nr, VHU_MAX_MSG_REGIONS);
		want = offsetof(struct vhu_mem_table, region) +
		       (uint64_t)msg->mem.nr * sizeof(struct vhu_region);
		/* user-mode Linux leaves room for a second region that it does not have */
		if (msg->hdr.size != want &&
		    !(vhu_has_bit(protocol_features, VHU_P_INBAND_NOTIFICATIONS_BIT) &&
		      msg->mem.nr == 1 && msg->hdr.size == want + sizeof(struct vhu_region)))
			return vhu_refuse(why, -EPROTO, "%s: size %u, %u regions need %llu",
					  row->name, msg->hdr.size, msg->mem.nr,
					  (unsigned long long)want);
	}
	if (payload == VHU_PAYLOAD_CONFIG && msg->hdr.size) {
		if (msg->config.size > VHU_MAX_CONFIG_SIZE ||
		    !vhu_range_within(msg->config.offset, msg->config.size, VHU_MAX_CONFIG_SIZE))
			return vhu_refuse(why, -EPROTO,
					  "%s: offset %u + size %u, the space has %u bytes",
					  row->name, msg->config.offset, msg->config.size,
					  VHU_MAX_CONFIG_SIZE);
		want = offsetof(struct vhu_config, bytes) + (uint64_t)msg->config.size;
		if (msg->hdr.size != want)
			return vhu_refuse(why, -EPROTO, "%s: size %u, %u bytes of space need %llu",
					  row->name, msg->hdr.size, msg->config.size,
					  (unsigned long long)want);
	}
	if (payload == VHU_PAYLOAD_LOG) {
		want = vhu_has_bit(protocol_features, VHU_P_LOG_SHMFD_BIT) ? 16 : 8;
		if (msg->hdr.size != want)
			return vhu_refuse(why, -EPROTO, "%s: size %u, must be %llu %s LOG_SHMFD",
					  row->name, msg->hdr.size, (unsigned long long)want,
					  want == 16 ? "with" : "without");
	}
	return 0;
}

static int check_fds(const struct vhu_request_row *row, const struct vhu_msg *msg, bool is_reply,
		     uint64_t protocol_features, struct vhu_reason *why)
{
	unsigned int min = row->min_fds, max = row->max_fds;
	bool no_fd = msg->u64 & VHU_VRING_NOFD_MASK;

	if (is_reply) {
		min = 0;
		max = row->reply_max_fds;
	} else if (row->payload == VHU_PAYLOAD_MEM_TABLE) {
		min = max = msg->mem.nr;
	} else if (row->payload == VHU_PAYLOAD_VRING_FD) {
		if (no_fd && msg->nr_fds)
			return vhu_refuse(why, -EPROTO, "%s: the no-fd bit is set, yet %u fd came",
					  row->name, msg->nr_fds);
		min = max = no_fd ? 0 : 1;
	} else if (row->reply == VHU_REPLY_LOG) {
		min = max = vhu_has_bit(protocol_features, VHU_P_LOG_SHMFD_BIT);
	}
	if (msg->nr_fds >= min && msg->nr_fds <= max)
		return 0;
	if (row->payload == VHU_PAYLOAD_MEM_TABLE && !is_reply && !msg->nr_fds)
		return vhu_refuse(why, -EPROTO,
				  "%s: no fds came: the guest's memory is not shared "
				  "(QEMU: memory-backend-memfd with share=on)",
				  row->name);
	if (min == max)
		return vhu_refuse(why, -EPROTO, "%s%s: %u fds came, must be %u", row->name,
				  is_reply ? " reply" : "", msg->nr_fds, min);
	return vhu_refuse(why, -EPROTO, "%s%s: %u fds came, %u to %u are allowed", row->name,
			  is_reply ? " reply" : "", msg->nr_fds, min, max);
}

int vhu_wire_check(enum vhu_channel channel, const struct vhu_msg *msg, bool is_reply,
		   uint64_t protocol_features, unsigned int nr_rings, struct vhu_reason *why)
{
	const struct vhu_request_row *row = vhu_request_row(channel, msg->hdr.request);
	int err, ring;

	err = vhu_wire_check_hdr(channel, &msg->hdr, is_reply, why);
	if (err)
		return err;
	if (!row)
		return vhu_refuse(why, -EOPNOTSUPP, "request %u: no such request",
				  msg->hdr.request);
	err = check_inner_size(channel, row, msg, is_reply, protocol_features, why);
	if (err)
		return err;
	err = check_fds(row, msg, is_reply, protocol_features, why);
	if (err)
		return err;
	ring = is_reply ? -1 : vhu_wire_ring(channel, msg);
	if (ring >= 0 && (unsigned int)ring >= nr_rings)
		return vhu_refuse(why, -EPROTO, "%s: ring index %d, the device has %u rings",
				  row->name, ring, nr_rings);
	if (row->protocol_bit >= 0 &&
	    !vhu_has_bit(protocol_features, (unsigned int)row->protocol_bit))
		return vhu_refuse(why, -EACCES, "%s: protocol feature %s was not agreed", row->name,
				  vhu_protocol_feature_name((unsigned int)row->protocol_bit));
	return 0;
}

int vhu_wire_ring(enum vhu_channel channel, const struct vhu_msg *msg)
{
	const struct vhu_request_row *row = vhu_request_row(channel, msg->hdr.request);

	if (!row || !(row->flags & VHU_ROW_RING) || msg->hdr.size < sizeof(uint64_t))
		return -1;
	/* an acknowledgement has no index, its value only looks like one */
	if ((msg->hdr.flags & VHU_MSG_REPLY) && row->reply_payload != VHU_PAYLOAD_VRING_STATE)
		return -1;
	if (row->payload == VHU_PAYLOAD_VRING_FD || row->payload == VHU_PAYLOAD_AREA) {
		/* bits above the flag have no meaning and have to be zero: judge them too */
		if (msg->u64 & ~(uint64_t)(VHU_VRING_IDX_MASK | VHU_VRING_NOFD_MASK))
			return INT32_MAX;
		return (int)(msg->u64 & VHU_VRING_IDX_MASK);
	}
	return msg->state.index > INT32_MAX ? INT32_MAX : (int)msg->state.index;
}

bool vhu_wire_wants_reply(enum vhu_channel channel, const struct vhu_msg *msg,
			  uint64_t protocol_features)
{
	const struct vhu_request_row *row = vhu_request_row(channel, msg->hdr.request);
	bool ack = vhu_has_bit(protocol_features, VHU_P_REPLY_ACK_BIT) &&
		   (msg->hdr.flags & VHU_MSG_NEED_REPLY);

	if (!row || row->reply == VHU_REPLY_ACK)
		return ack;
	if (row->reply == VHU_REPLY_LOG)
		return ack || vhu_has_bit(protocol_features, VHU_P_LOG_SHMFD_BIT);
	return true;
}

void vhu_msg_init(struct vhu_msg *msg, uint32_t request, uint32_t flags, uint32_t size)
{
	msg->hdr.request = request;
	msg->hdr.flags = VHU_MSG_VERSION | flags;
	msg->hdr.size = size;
	msg->nr_fds = 0;
	memset(msg->bytes, 0, vhu_min_u32(size < 64 ? 64 : size, VHU_MSG_MAX_PAYLOAD));
}

void vhu_msg_init_reply(struct vhu_msg *reply, const struct vhu_msg *request, uint32_t size)
{
	vhu_msg_init(reply, request->hdr.request, VHU_MSG_REPLY, size);
}
