/* SPDX-License-Identifier: MIT */
/*
 * Trace records: what happened on the notification path, one record each, to one sink.
 */
#ifndef VHU_TRACE_H
#define VHU_TRACE_H

#include <vhu/wire.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vhu_event_kind {
	VHU_EVENT_CONNECTED,
	VHU_EVENT_CLOSED, /* text: the reason */
	/* A backend has requests coming in on the main channel, and asks on its own; a frontend the reverse. */
	VHU_EVENT_REQUEST_IN,	/* msg */
	VHU_EVENT_REPLY_OUT,	/* msg */
	VHU_EVENT_REQUEST_OUT,	/* msg */
	VHU_EVENT_REPLY_IN,	/* msg */
	VHU_EVENT_REFUSED,	/* text: the reason; request: what was refused */
	VHU_EVENT_RING_STATE,	/* ring, from, to: enum vhu_ring_state */
	VHU_EVENT_RING_BROKEN,	/* ring, text: the reason */
	VHU_EVENT_DEVICE_STATE, /* of a frontend; from, to: enum vhu_device_state */
	VHU_EVENT_KIND_END,
};

/* "Ring states": two independent bits. */
enum vhu_ring_state {
	VHU_RING_STOPPED_DISABLED,
	VHU_RING_STOPPED_ENABLED,
	VHU_RING_STARTED_DISABLED,
	VHU_RING_STARTED_ENABLED,
	VHU_RING_STATE_END,
};

struct vhu_event {
	uint64_t time_ns;	   /* CLOCK_MONOTONIC */
	uint8_t kind;		   /* enum vhu_event_kind */
	uint8_t from, to;	   /* enum vhu_ring_state, or of a device */
	int16_t ring;		   /* -1: none */
	uint32_t request;	   /* number on its channel; 0: none */
	const struct vhu_msg *msg; /* NULL: none; valid during the call */
	const char *text;	   /* NULL: none; valid during the call */
};

VHU_API const char *vhu_event_name(enum vhu_event_kind kind);
VHU_API const char *vhu_ring_state_name(enum vhu_ring_state state);

/* Called on the control thread for each record. It must not call back into the device. */
typedef void vhu_event_fn(void *arg, const struct vhu_event *event);

#ifdef __cplusplus
}
#endif
#endif
