/* SPDX-License-Identifier: MIT */
/*
 * Names of trace records and ring states. Knows nothing of who makes the records.
 */
#include <vhu/trace.h>

static const char *const event_names[VHU_EVENT_KIND_END] = {
	[VHU_EVENT_CONNECTED] = "connected",	 [VHU_EVENT_CLOSED] = "closed",
	[VHU_EVENT_REQUEST_IN] = "request in",	 [VHU_EVENT_REPLY_OUT] = "reply out",
	[VHU_EVENT_REQUEST_OUT] = "request out", [VHU_EVENT_REPLY_IN] = "reply in",
	[VHU_EVENT_REFUSED] = "refused",	 [VHU_EVENT_RING_STATE] = "ring state",
	[VHU_EVENT_RING_BROKEN] = "ring broken", [VHU_EVENT_DEVICE_STATE] = "device state",
};

static const char *const state_names[VHU_RING_STATE_END] = {
	[VHU_RING_STOPPED_DISABLED] = "stopped, disabled",
	[VHU_RING_STOPPED_ENABLED] = "stopped, enabled",
	[VHU_RING_STARTED_DISABLED] = "started, disabled",
	[VHU_RING_STARTED_ENABLED] = "started, enabled",
};

const char *vhu_event_name(enum vhu_event_kind kind)
{
	return (unsigned int)kind < VHU_EVENT_KIND_END ? event_names[kind] : "unknown";
}

const char *vhu_ring_state_name(enum vhu_ring_state state)
{
	return (unsigned int)state < VHU_RING_STATE_END ? state_names[state] : "unknown";
}
