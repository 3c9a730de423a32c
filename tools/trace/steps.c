/* SPDX-License-Identifier: MIT */
/* The rings' states and the steps of the notification path; knows nothing of sockets or output. */
#include "trace/steps.h"

#include <stdio.h>
#include <string.h>

#define MS UINT64_C(1000000)

void steps_begin(struct steps *steps, trace_emit_fn *emit, void *arg)
{
	memset(steps, 0, sizeof(*steps));
	steps->emit = emit;
	steps->arg = arg;
}

static struct trace_record about(const struct steps *steps, enum trace_kind kind,
				 const struct steps_ring *ring, const char *text)
{
	return (struct trace_record){
		.kind = kind,
		.side = TRACE_PROXY,
		.ring = ring ? (int)(ring - steps->rings) : -1,
		.text = text,
		.us = -1,
	};
}

static void note(struct steps *steps, const struct steps_ring *ring, const char *text)
{
	struct trace_record record = about(steps, TRACE_NOTE, ring, text);

	steps->emit(steps->arg, &record);
}

static enum vhu_ring_state state_of(const struct steps_ring *ring)
{
	if (ring->started)
		return ring->enabled ? VHU_RING_STARTED_ENABLED : VHU_RING_STARTED_DISABLED;
	return ring->enabled ? VHU_RING_STOPPED_ENABLED : VHU_RING_STOPPED_DISABLED;
}

static void forget_steps(struct steps_ring *ring)
{
	ring->absent = ring->ready = false;
	ring->call_seq = ring->kick_seq = 0;
	memset(ring->ns, 0, sizeof(ring->ns));
}

/* The one place where a ring's state changes. */
static void set_state(struct steps *steps, struct steps_ring *ring, bool started, bool enabled)
{
	struct trace_record record = about(steps, TRACE_RING_STATE, ring, NULL);

	record.from = state_of(ring);
	if (started && !ring->started)
		steps->nr_started++;
	if (!started && ring->started) {
		forget_steps(ring);
		if (--steps->nr_started == 0)
			steps->driver_ok = steps->driver_ok_said = false;
	}
	ring->started = started;
	ring->enabled = enabled;
	record.to = state_of(ring);
	if (record.from != record.to)
		steps->emit(steps->arg, &record);
}

/* Steps 3 and 4 and, unless there is none of its own, 5. */
static void say_if_ready(struct steps *steps, struct steps_ring *ring)
{
	struct trace_record record = about(steps, TRACE_RING_READY, ring, NULL);

	if (ring->ready || !ring->ns[3] || !ring->ns[4] || (!ring->ns[5] && !ring->absent))
		return;
	ring->ready = true;
	record.steps_ns = ring->ns;
	steps->emit(steps->arg, &record);
}

static void take_step(struct steps *steps, struct steps_ring *ring, int step, const char *text,
		      uint64_t now_ns)
{
	struct trace_record record = about(steps, TRACE_STEP, ring, text);

	record.step = step;
	record.inferred = step == 2 || step == 4;
	if (record.inferred)
		record.us = (int64_t)((now_ns - ring->ns[step - 1]) / 1000);
	ring->ns[step] = now_ns;
	steps->emit(steps->arg, &record);
	say_if_ready(steps, ring);
}

/* Whoever is done with starting a ring and has not sent SET_VRING_CALL again will not. */
static void give_up_unmask(struct steps *steps, struct steps_ring *ring)
{
	struct trace_record record = about(steps, TRACE_STEP_ABSENT, ring, NULL);

	if (!ring->started || !ring->ns[3] || ring->ns[5] || ring->absent)
		return;
	ring->absent = true;
	record.step = 5;
	record.text = ring->ns[1] ? "the first call fd stays" : "no call fd came in this start";
	steps->emit(steps->arg, &record);
	say_if_ready(steps, ring);
}

static void infer_driver_ok(struct steps *steps, const char *evidence)
{
	struct trace_record record = about(steps, TRACE_DRIVER_OK, NULL, evidence);

	if (steps->driver_ok)
		return;
	steps->driver_ok = true;
	record.inferred = true;
	steps->emit(steps->arg, &record);
}

static void on_call(struct steps *steps, struct steps_ring *ring, const struct vhu_msg *msg,
		    uint64_t seq, uint64_t now_ns)
{
	bool no_fd = msg->u64 & VHU_VRING_NOFD_MASK;

	if (!ring->started && !ring->ns[1]) {
		ring->call_seq = seq;
		take_step(steps, ring, 1,
			  no_fd ? "no call fd: the driver is not to be called" : NULL, now_ns);
	} else if (ring->started && !ring->ns[5] && !ring->absent) {
		take_step(steps, ring, 5,
			  no_fd ? "no call fd: the driver is not to be called" : NULL, now_ns);
	} else if (no_fd) {
		note(steps, ring, "no call fd from here on: the driver gave it no interrupt");
	} else {
		note(steps, ring, "the call fd is replaced");
	}
}

static void on_kick(struct steps *steps, struct steps_ring *ring, const struct vhu_msg *msg,
		    uint64_t seq, uint64_t now_ns)
{
	infer_driver_ok(steps, "the ring is started");
	if (ring->started) {
		note(steps, ring, "the kick fd is replaced");
		return;
	}
	ring->kick_seq = seq;
	take_step(steps, ring, 3,
		  msg->u64 & VHU_VRING_NOFD_MASK ? "no kick fd: the backend is to poll the ring" :
						   NULL,
		  now_ns);
	set_state(steps, ring, true, ring->enabled);
}

static void on_status(struct steps *steps, uint64_t status)
{
	struct trace_record record = about(steps, TRACE_DRIVER_OK, NULL, "SET_STATUS says so");

	if (!(status & 0x4)) { /* DRIVER_OK: virtio 1.2, 2.1 */
		steps->driver_ok = steps->driver_ok_said = false;
		if (status == 0) /* the driver begins anew */
			for (unsigned int i = 0; i < VHU_MAX_RINGS; i++)
				if (!steps->rings[i].started)
					forget_steps(&steps->rings[i]);
		return;
	}
	if (!steps->driver_ok_said) {
		steps->driver_ok = steps->driver_ok_said = true;
		steps->emit(steps->arg, &record);
	}
	for (unsigned int i = 0; i < VHU_MAX_RINGS; i++)
		give_up_unmask(steps, &steps->rings[i]);
}

static void on_features(struct steps *steps, uint64_t features)
{
	if (features & VHU_MASK(VHU_F_PROTOCOL_FEATURES_BIT))
		return;
	steps->enabled_from_birth = true;
	for (unsigned int i = 0; i < VHU_MAX_RINGS; i++)
		if (steps->rings[i].seen)
			set_state(steps, &steps->rings[i], steps->rings[i].started, true);
}

static struct steps_ring *find_ring(struct steps *steps, int index)
{
	struct steps_ring *ring;

	if (index < 0 || index >= VHU_MAX_RINGS)
		return NULL;
	ring = &steps->rings[index];
	if (!ring->seen) {
		ring->seen = true;
		ring->enabled = steps->enabled_from_birth;
	}
	return ring;
}

static void on_ring_request(struct steps *steps, struct steps_ring *ring, const struct vhu_msg *msg,
			    uint64_t seq, uint64_t now_ns)
{
	switch (msg->hdr.request) {
	case VHU_SET_VRING_NUM:
	case VHU_SET_VRING_BASE:
		if (!ring->started)
			infer_driver_ok(steps, "the rings are set up");
		break;
	case VHU_SET_VRING_CALL:
		on_call(steps, ring, msg, seq, now_ns);
		break;
	case VHU_SET_VRING_KICK:
		on_kick(steps, ring, msg, seq, now_ns);
		break;
	case VHU_SET_VRING_ENABLE:
		set_state(steps, ring, ring->started, msg->state.num != 0);
		if (ring->enabled)
			give_up_unmask(steps, ring);
		break;
	default:
		break;
	}
}

void steps_on_request(struct steps *steps, const struct vhu_msg *msg, uint64_t seq, uint64_t now_ns)
{
	struct steps_ring *ring = find_ring(steps, vhu_wire_ring(VHU_CHANNEL_MAIN, msg));

	if (ring) {
		on_ring_request(steps, ring, msg, seq, now_ns);
		return;
	}
	if (msg->hdr.request == VHU_RESET_DEVICE)
		for (unsigned int i = 0; i < VHU_MAX_RINGS; i++)
			set_state(steps, &steps->rings[i], false, false);
	if (msg->hdr.size < sizeof(uint64_t))
		return;
	if (msg->hdr.request == VHU_SET_FEATURES)
		on_features(steps, msg->u64);
	else if (msg->hdr.request == VHU_SET_STATUS)
		on_status(steps, msg->u64);
}

/* What the backend has handled for sure once message number seq is known to be handled. */
static void infer_up_to(struct steps *steps, uint64_t seq, const char *evidence,
			const char *own_evidence, uint64_t now_ns)
{
	for (unsigned int i = 0; i < VHU_MAX_RINGS; i++) {
		struct steps_ring *ring = &steps->rings[i];
		uint64_t was = ring->call_seq;

		if (was && was <= seq) {
			ring->call_seq = 0;
			take_step(steps, ring, 2, was == seq ? own_evidence : evidence, now_ns);
		}
		was = ring->kick_seq;
		if (was && was <= seq) {
			ring->kick_seq = 0;
			take_step(steps, ring, 4, was == seq ? own_evidence : evidence, now_ns);
		}
	}
}

/* A negative acknowledgement: the message changed nothing. */
static void on_refusal(struct steps *steps, const struct steps_request *request,
		       struct steps_ring *ring)
{
	note(steps, ring, "the backend refused that");
	switch (request->request) {
	case VHU_SET_VRING_CALL:
		if (ring->call_seq == request->seq)
			ring->call_seq = 0;
		break;
	case VHU_SET_VRING_KICK:
		if (ring->kick_seq == request->seq)
			set_state(steps, ring, false, ring->enabled);
		break;
	case VHU_SET_VRING_ENABLE:
		set_state(steps, ring, ring->started, !request->num);
		break;
	default:
		break;
	}
}

void steps_on_reply(struct steps *steps, const struct steps_request *request,
		    const struct vhu_msg *reply, uint64_t now_ns)
{
	const struct vhu_request_row *row = vhu_request_row(VHU_CHANNEL_MAIN, request->request);
	struct steps_ring *ring = find_ring(steps, request->ring);
	char evidence[64];

	snprintf(evidence, sizeof(evidence), "reply to %s", row ? row->name : "a later message");
	if (ring && row && row->reply_payload == VHU_PAYLOAD_ACK && reply->u64)
		on_refusal(steps, request, ring);
	infer_up_to(steps, request->seq, evidence, "acknowledged", now_ns);

	if (ring && (request->request == VHU_GET_VRING_BASE ||
		     request->request == VHU_GET_VRING_BASE_SKIP_DRAIN))
		set_state(steps, ring, false, ring->enabled);
}

void steps_on_time(struct steps *steps, bool all_read, uint64_t now_ns)
{
	for (unsigned int i = 0; i < VHU_MAX_RINGS; i++) {
		struct steps_ring *ring = &steps->rings[i];

		if (all_read && ring->call_seq && now_ns - ring->ns[1] >= STEPS_REPLY_MS * MS) {
			ring->call_seq = 0;
			take_step(steps, ring, 2, "message read", now_ns);
		}
		if (all_read && ring->kick_seq && now_ns - ring->ns[3] >= STEPS_REPLY_MS * MS) {
			ring->kick_seq = 0;
			take_step(steps, ring, 4, "message read", now_ns);
		}
		if (ring->started && now_ns - ring->ns[3] >= STEPS_UNMASK_MS * MS)
			give_up_unmask(steps, ring);
	}
}

bool steps_wait_for_time(const struct steps *steps)
{
	for (unsigned int i = 0; i < VHU_MAX_RINGS; i++) {
		const struct steps_ring *ring = &steps->rings[i];

		if (ring->call_seq || ring->kick_seq)
			return true;
		if (ring->started && ring->ns[3] && !ring->ns[5] && !ring->absent)
			return true;
	}
	return false;
}
