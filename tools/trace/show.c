/* SPDX-License-Identifier: MIT */
/* Makes lines of records and hands them to the writer; knows nothing of either form's looks. */
#include "trace/show.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool show_wants_color(int fd)
{
	const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");

	return isatty(fd) && !(no_color && *no_color) && term && strcmp(term, "dumb") != 0;
}

char *show_name(char *buf, size_t size, enum vhu_channel channel, uint32_t request)
{
	const struct vhu_request_row *row = vhu_request_row(channel, request);

	if (row)
		snprintf(buf, size, "%s", row->name);
	else
		snprintf(buf, size, "request %u", request);
	return buf;
}

bool show_is_ack(const struct trace_record *record)
{
	const struct vhu_request_row *row =
		vhu_request_row(record->channel, record->msg->hdr.request);

	return record->is_reply && record->msg->hdr.size == sizeof(uint64_t) &&
	       (!row || row->reply_payload == VHU_PAYLOAD_ACK);
}

const char *show_step_text(int step)
{
	static const char *const texts[TRACE_STEPS + 1] = {
		[1] = "first call fd given",
		[2] = "backend has the call fd",
		[3] = "kick fd given",
		[4] = "backend has the kick fd",
		[5] = "call fd of the guest's interrupt given",
	};

	return step > 0 && step <= TRACE_STEPS ? texts[step] : "";
}

static void show_one(struct show *show, const struct trace_record *record)
{
	char *text = NULL;
	size_t len = 0;
	FILE *to = open_memstream(&text, &len);

	if (!to)
		return;
	if (show->json)
		show_json(to, record);
	else
		show_text(to, record, &show->memory, show->color);
	if (!fclose(to))
		writer_put(show->writer, text, len);
	free(text);
}

void show_record(struct show *show, const struct trace_record *record)
{
	unsigned long lost = writer_lost(show->writer);
	char text[80];

	if (lost) {
		struct trace_record note = {
			.kind = TRACE_NOTE,
			.time_ns = record->time_ns,
			.conn = record->conn,
			.side = TRACE_PROXY,
			.ring = -1,
			.us = -1,
			.text = text,
		};

		snprintf(text, sizeof(text), "%lu records are not shown: the output was too slow",
			 lost);
		show_one(show, &note);
	}
	show_one(show, record);
}
