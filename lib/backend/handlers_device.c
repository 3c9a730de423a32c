/* SPDX-License-Identifier: MIT */
/*
 * Requests about the device as a whole: features, status, owner, configuration, the channel back.
 */
#include <backend/device.h>

#include <errno.h>
#include <string.h>

typedef unsigned long long ull;

static int get_features(struct vhu_backend *be, struct vhu_msg *msg, struct vhu_msg *reply,
			struct vhu_reason *why)
{
	(void)msg, (void)why;
	reply->u64 = be->offered;
	return 0;
}

static int set_features(struct vhu_backend *be, struct vhu_msg *msg, struct vhu_msg *reply,
			struct vhu_reason *why)
{
	const uint64_t log_all = VHU_MASK(VHU_F_LOG_ALL_BIT);
	const uint64_t protocol = VHU_MASK(VHU_F_PROTOCOL_FEATURES_BIT);
	struct device_state next = { .mem = be->mem, .log = be->log, .features = msg->u64 };
	bool changed = !be->have_features || be->features != msg->u64;
	int err;

	(void)reply;
	if (msg->u64 & ~be->offered)
		return vhu_refuse(why, -EINVAL,
				  "SET_FEATURES: 0x%llx, of which 0x%llx was not offered",
				  (ull)msg->u64, (ull)(msg->u64 & ~be->offered));
	if (changed && vhu_be_any_running(be)) {
		uint64_t diff = (be->features ^ msg->u64) & ~log_all & ~protocol;

		if (diff)
			return vhu_refuse(why, -EBUSY,
					  "SET_FEATURES: 0x%llx would change while rings run, only "
					  "LOG_ALL may",
					  (ull)diff);
		err = vhu_be_rings_rebuild(be, &next, why);
		if (err)
			return err;
	}
	be->features = msg->u64;
	be->have_features = true;
	/* without bit 30 there is no ENABLE: all rings are enabled; none is ever disabled here */
	for (unsigned int i = 0; i < be->nr_rings && !(msg->u64 & protocol); i++) {
		enum vhu_ring_state before = be->rings[i].state;

		vhu_be_ring_act(be, i, RING_ENABLE);
		if (be->rings[i].state == before)
			continue;
		err = vhu_be_ring_update(be, i, why);
		if (err)
			return err;
	}
	if (changed && be->ops.features)
		be->ops.features(be->arg, be->features);
	return 0;
}

static int nothing(struct vhu_backend *be, struct vhu_msg *msg, struct vhu_msg *reply,
		   struct vhu_reason *why)
{
	(void)be, (void)msg, (void)reply, (void)why;
	return 0;
}

static int get_protocol_features(struct vhu_backend *be, struct vhu_msg *msg, struct vhu_msg *reply,
				 struct vhu_reason *why)
{
	(void)msg, (void)why;
	reply->u64 = be->offered_protocol;
	return 0;
}

static int set_protocol_features(struct vhu_backend *be, struct vhu_msg *msg, struct vhu_msg *reply,
				 struct vhu_reason *why)
{
	bool changed =
		vhu_has_bit(be->protocol_features ^ msg->u64, VHU_P_INBAND_NOTIFICATIONS_BIT);
	int err;

	(void)reply;
	if (msg->u64 & ~be->offered_protocol)
		return vhu_refuse(why, -EINVAL,
				  "SET_PROTOCOL_FEATURES: 0x%llx, of which 0x%llx was not offered",
				  (ull)msg->u64, (ull)(msg->u64 & ~be->offered_protocol));
	if (!vhu_be_inband_is_whole(msg->u64))
		return vhu_refuse(
			why, -EINVAL,
			"SET_PROTOCOL_FEATURES: INBAND_NOTIFICATIONS needs BACKEND_REQ and "
			"REPLY_ACK");
	if (changed && vhu_be_any_running(be))
		return vhu_refuse(
			why, -EBUSY,
			"SET_PROTOCOL_FEATURES: INBAND_NOTIFICATIONS may not change while "
			"rings run");
	err = vhu_has_bit(msg->u64, VHU_P_INBAND_NOTIFICATIONS_BIT) ? vhu_be_inband_begin(be) : 0;
	if (err)
		return vhu_refuse(why, err, "SET_PROTOCOL_FEATURES: %s", strerror(-err));
	for (unsigned int i = 0; changed && i < be->nr_rings; i++)
		vhu_be_disown(be, i);
	be->protocol_features = msg->u64;
	return 0;
}

static int get_queue_num(struct vhu_backend *be, struct vhu_msg *msg, struct vhu_msg *reply,
			 struct vhu_reason *why)
{
	(void)msg, (void)why;
	reply->u64 = be->queue_num;
	return 0;
}

/* Stops all rings and disables them; memory, features and connection stay. */
static int reset_device(struct vhu_backend *be, struct vhu_msg *msg, struct vhu_msg *reply,
			struct vhu_reason *why)
{
	(void)msg, (void)reply, (void)why;
	vhu_be_rings_stop(be);
	for (unsigned int i = 0; i < be->nr_rings; i++)
		vhu_be_ring_act(be, i, RING_DISABLE);
	be->status = 0;
	return 0;
}

static int set_status(struct vhu_backend *be, struct vhu_msg *msg, struct vhu_msg *reply,
		      struct vhu_reason *why)
{
	(void)reply;
	if (msg->u64 > UINT8_MAX)
		return vhu_refuse(why, -EINVAL, "SET_STATUS: 0x%llx, a status has 8 bits",
				  (ull)msg->u64);
	/* virtio 1.2, 2.1: 0 is a reset */
	if (!msg->u64)
		vhu_be_rings_stop(be);
	be->status = msg->u64;
	return 0;
}

/* What was in flight is the driver's again. */
static void reset_finish(struct vhu_backend *be, const struct vhu_msg *msg, struct vhu_msg *reply)
{
	(void)reply;
	if (msg->hdr.request != VHU_SET_STATUS || !msg->u64)
		vhu_be_inflight_forget(be);
}

static int get_status(struct vhu_backend *be, struct vhu_msg *msg, struct vhu_msg *reply,
		      struct vhu_reason *why)
{
	(void)msg, (void)why;
	reply->u64 = be->status;
	return 0;
}

static int send_rarp(struct vhu_backend *be, struct vhu_msg *msg, struct vhu_msg *reply,
		     struct vhu_reason *why)
{
	uint8_t mac[6];

	(void)reply, (void)why;
	memcpy(mac, msg->bytes, sizeof(mac));
	if (be->ops.rarp)
		be->ops.rarp(be->arg, mac);
	return 0;
}

static int net_set_mtu(struct vhu_backend *be, struct vhu_msg *msg, struct vhu_msg *reply,
		       struct vhu_reason *why)
{
	int err;

	(void)reply;
	if (msg->u64 < 68 || msg->u64 > 65535)
		return vhu_refuse(why, -EINVAL, "NET_SET_MTU: %llu, must be 68 to 65535",
				  (ull)msg->u64);
	err = be->ops.mtu ? be->ops.mtu(be->arg, (unsigned int)msg->u64) : 0;
	return err ? vhu_refuse(why, err, "NET_SET_MTU: %llu is not what this port has",
				(ull)msg->u64) :
		     0;
}

static int get_config(struct vhu_backend *be, struct vhu_msg *msg, struct vhu_msg *reply,
		      struct vhu_reason *why)
{
	uint8_t space[VHU_MAX_CONFIG_SIZE] = { 0 };
	uint32_t size = msg->config.size;

	(void)why;
	/* a payload of length 0 says that there is nothing to be had */
	reply->hdr.size = 0;
	if (!be->ops.config || be->ops.config(be->arg, space, sizeof(space)))
		return 0;
	reply->hdr.size = (uint32_t)offsetof(struct vhu_config, bytes) + size;
	reply->config.offset = msg->config.offset;
	reply->config.size = size;
	reply->config.flags = msg->config.flags;
	memcpy(reply->config.bytes, space + msg->config.offset, size);
	return 0;
}

static int set_backend_req_fd(struct vhu_backend *be, struct vhu_msg *msg, struct vhu_msg *reply,
			      struct vhu_reason *why)
{
	(void)reply;
	return vhu_be_set_channel(be, vhu_msg_take_fd(msg, 0), why);
}

const struct handler *vhu_be_device_handler(uint32_t request)
{
	static const struct handler handlers[VHU_REQUEST_END] = {
		[VHU_GET_FEATURES] = { get_features, NULL },
		[VHU_SET_FEATURES] = { set_features, NULL },
		[VHU_SET_OWNER] = { nothing, NULL },
		[VHU_RESET_OWNER] = { reset_device, reset_finish },
		[VHU_GET_PROTOCOL_FEATURES] = { get_protocol_features, NULL },
		[VHU_SET_PROTOCOL_FEATURES] = { set_protocol_features, NULL },
		[VHU_GET_QUEUE_NUM] = { get_queue_num, NULL },
		[VHU_RESET_DEVICE] = { reset_device, reset_finish },
		[VHU_SET_STATUS] = { set_status, reset_finish },
		[VHU_GET_STATUS] = { get_status, NULL },
		[VHU_SEND_RARP] = { send_rarp, NULL },
		[VHU_NET_SET_MTU] = { net_set_mtu, NULL },
		[VHU_GET_CONFIG] = { get_config, NULL },
		[VHU_SET_BACKEND_REQ_FD] = { set_backend_req_fd, NULL },
	};

	return handlers[request].handle ? &handlers[request] : NULL;
}
