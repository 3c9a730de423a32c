/* SPDX-License-Identifier: MIT */
/* A record as one JSON object on one line; knows nothing of how it looks to people. */
#include "trace/show.h"

#include <inttypes.h>
#include <string.h>

static const char *const sides[] = {
	[TRACE_FRONTEND] = "frontend",
	[TRACE_BACKEND] = "backend",
	[TRACE_PROXY] = "proxy",
};

static const char *const events[] = {
	[TRACE_MESSAGE] = "message",
	[TRACE_WAITING] = "waiting",
	[TRACE_CONNECTED] = "connected",
	[TRACE_CLOSED] = "closed",
	[TRACE_STEP] = "step",
	[TRACE_STEP_ABSENT] = "step_absent",
	[TRACE_DRIVER_OK] = "driver_ok",
	[TRACE_RING_STATE] = "ring_state",
	[TRACE_RING_READY] = "ring_ready",
	[TRACE_NOTE] = "note",
};

/* JSON wants UTF-8: a byte that is not ASCII stands for U+00xx, so that nothing is lost. */
static void put_string(FILE *to, const char *text)
{
	fputc('"', to);
	for (const unsigned char *s = (const unsigned char *)text; *s; s++) {
		if (*s == '"' || *s == '\\')
			fprintf(to, "\\%c", *s);
		else if (*s < 0x20 || *s >= 0x7f)
			fprintf(to, "\\u%04x", *s);
		else
			fputc(*s, to);
	}
	fputc('"', to);
}

static void put_key(FILE *to, const char *key)
{
	fprintf(to, ", \"%s\": ", key);
}

static void put_key_string(FILE *to, const char *key, const char *text)
{
	put_key(to, key);
	put_string(to, text);
}

static void put_bits(FILE *to, uint64_t bits, const char *(*name_of)(unsigned int bit))
{
	const char *between = "";

	fprintf(to, "{\"hex\": \"0x%" PRIx64 "\", \"names\": [", bits);
	for (unsigned int bit = 0; bit < 64; bit++) {
		const char *name = name_of(bit);

		if (!(bits >> bit & 1))
			continue;
		if (name)
			fprintf(to, "%s\"%s\"", between, name);
		else
			fprintf(to, "%s\"bit %u\"", between, bit);
		between = ", ";
	}
	fputs("]}", to);
}

/* Seconds, to the microsecond. */
static void put_seconds(FILE *to, uint64_t ns)
{
	uint64_t us = ns / 1000;

	fprintf(to, "%" PRIu64 ".%06u", us / 1000000, (unsigned int)(us % 1000000));
}

struct fields {
	FILE *to;
	const char *between;
};

static void put_field(void *arg, const struct vhu_field *field, uint64_t value)
{
	struct fields *fields = arg;
	uint8_t mac[sizeof(value)];

	fprintf(fields->to, "%s\"%s\": ", fields->between, field->name);
	fields->between = ", ";
	switch ((enum vhu_field_kind)field->kind) {
	case VHU_FIELD_HEX: /* more than the 53 bits that many readers of JSON have */
		fprintf(fields->to, "\"0x%" PRIx64 "\"", value);
		break;
	case VHU_FIELD_FEATURES:
		put_bits(fields->to, value, vhu_feature_name);
		break;
	case VHU_FIELD_PROTOCOL_FEATURES:
		put_bits(fields->to, value, vhu_protocol_feature_name);
		break;
	case VHU_FIELD_STATUS:
		put_bits(fields->to, value, vhu_status_name);
		break;
	case VHU_FIELD_MAC:
		memcpy(mac, &value, sizeof(mac));
		fprintf(fields->to, "\"%02x:%02x:%02x:%02x:%02x:%02x\"", mac[0], mac[1], mac[2],
			mac[3], mac[4], mac[5]);
		break;
	case VHU_FIELD_FLAG:
		fputs(value ? "true" : "false", fields->to);
		break;
	case VHU_FIELD_DEC:
	case VHU_FIELD_BYTES:
	case VHU_FIELD_RING:
		fprintf(fields->to, "%" PRIu64, value);
		break;
	}
}

static void put_regions(FILE *to, const struct vhu_msg *msg)
{
	size_t room = msg->hdr.size - offsetof(struct vhu_mem_table, region);
	const char *between = "";

	put_key(to, "regions");
	fputc('[', to);
	for (uint32_t i = 0; i < msg->mem.nr && i < VHU_MAX_MSG_REGIONS; i++) {
		const struct vhu_region *region = &msg->mem.region[i];

		if ((i + 1) * sizeof(*region) > room)
			break;
		fprintf(to,
			"%s{\"gpa\": \"0x%" PRIx64 "\", \"size\": %" PRIu64
			", \"uva\": \"0x%" PRIx64 "\", \"offset\": \"0x%" PRIx64 "\"}",
			between, region->gpa, region->size, region->uva, region->mmap_offset);
		between = ", ";
	}
	fputc(']', to);
}

static void put_message(FILE *to, const struct trace_record *record)
{
	const struct vhu_msg *msg = record->msg;
	const struct vhu_request_row *row = vhu_request_row(record->channel, msg->hdr.request);
	struct fields fields = { .to = to, .between = "" };
	char name[48];

	put_key_string(to, "channel", record->channel == VHU_CHANNEL_MAIN ? "main" : "backend");
	put_key_string(to, "msg",
		       row ? show_name(name, sizeof(name), record->channel, msg->hdr.request) :
			     "unknown");
	fprintf(to, ", \"id\": %u", msg->hdr.request);
	put_key_string(to, "kind",
		       show_is_ack(record) ? "ack" :
		       record->is_reply	   ? "reply" :
					     "request");
	if (!record->is_reply)
		fprintf(to, ", \"need_reply\": %s",
			msg->hdr.flags & VHU_MSG_NEED_REPLY ? "true" : "false");
	fprintf(to, ", \"size\": %u", msg->hdr.size);
	put_key(to, "fields");
	fputc('{', to);
	vhu_wire_each_field(record->channel, msg, record->is_reply, put_field, &fields);
	fputc('}', to);
	if (row && row->payload == VHU_PAYLOAD_MEM_TABLE &&
	    msg->hdr.size > offsetof(struct vhu_mem_table, region))
		put_regions(to, msg);
	put_key(to, "fds");
	fputc('[', to);
	for (unsigned int i = 0; i < msg->nr_fds; i++) {
		fputs(i ? ", " : "", to);
		put_string(to, record->fds[i]);
	}
	fputc(']', to);
	if (record->text)
		put_key_string(to, "violation", record->text);
}

static void put_step(FILE *to, const struct trace_record *record)
{
	fprintf(to, ", \"step\": %d, \"inferred\": %s", record->step,
		record->inferred ? "true" : "false");
	put_key_string(to, "what", show_step_text(record->step));
	if (record->text)
		put_key_string(to, record->inferred ? "evidence" : "note", record->text);
}

static void put_ready(FILE *to, const struct trace_record *record)
{
	const char *between = "";

	put_key(to, "steps");
	fputc('{', to);
	for (int step = 1; step <= TRACE_STEPS; step++) {
		if (!record->steps_ns[step])
			continue;
		fprintf(to, "%s\"%d\": ", between, step);
		put_seconds(to, record->steps_ns[step]);
		between = ", ";
	}
	fputc('}', to);
}

static void put_event(FILE *to, const struct trace_record *record)
{
	switch (record->kind) {
	case TRACE_STEP:
		put_step(to, record);
		return;
	case TRACE_STEP_ABSENT:
		fprintf(to, ", \"absent\": %d", record->step);
		put_key_string(to, "text", record->text);
		return;
	case TRACE_DRIVER_OK:
		fprintf(to, ", \"inferred\": %s", record->inferred ? "true" : "false");
		put_key_string(to, "evidence", record->text);
		return;
	case TRACE_RING_STATE:
		put_key_string(to, "state", vhu_ring_state_name(record->to));
		put_key_string(to, "was", vhu_ring_state_name(record->from));
		return;
	case TRACE_RING_READY:
		put_ready(to, record);
		return;
	case TRACE_CLOSED:
		put_key_string(to, "by", sides[record->side]);
		put_key_string(to, "reason", record->text);
		return;
	case TRACE_WAITING:
		put_key_string(to, "for", sides[record->side]);
		put_key_string(to, "text", record->text);
		return;
	case TRACE_MESSAGE:
	case TRACE_CONNECTED:
	case TRACE_NOTE:
		put_key_string(to, "text", record->text);
		return;
	}
}

void show_json(FILE *to, const struct trace_record *record)
{
	fputs("{\"t\": ", to);
	put_seconds(to, record->time_ns);
	fprintf(to, ", \"conn\": %u", record->conn);
	put_key_string(to, "event", events[record->kind]);
	if (record->kind == TRACE_MESSAGE)
		put_key_string(to, "dir", sides[record->side]);
	if (record->ring >= 0)
		fprintf(to, ", \"ring\": %d", record->ring);
	if (record->us >= 0)
		fprintf(to, ", \"us\": %" PRId64, record->us);
	if (record->kind == TRACE_MESSAGE)
		put_message(to, record);
	else
		put_event(to, record);
	fputs("}\n", to);
}
