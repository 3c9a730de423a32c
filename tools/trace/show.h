/* SPDX-License-Identifier: MIT */
/*
 * Shows records, as text for people or as JSON for programs. It knows nothing of where they come
 * from.
 */
#ifndef TRACE_SHOW_H
#define TRACE_SHOW_H

#include <stdio.h>

#include "trace/record.h"
#include "trace/writer.h"

/* What text shows is shorter when it repeats: sets of bits seen last, the time written last. */
struct show_memory {
	bool has_time;
	uint64_t time_us;
	unsigned int conn;
	struct {
		bool known;
		uint64_t bits;
	} sets[2][2]; /* features, protocol features: offered, agreed */
};

struct show {
	struct writer *writer;
	bool json;
	bool color;
	struct show_memory memory;
};

/* Color only where it is wanted: a terminal that has it, and no NO_COLOR. */
bool show_wants_color(int fd);

void show_record(struct show *show, const struct trace_record *record);

/* For show.c. */
void show_text(FILE *to, const struct trace_record *record, struct show_memory *memory, bool color);
void show_json(FILE *to, const struct trace_record *record);
/* What the marks of the text mean. */
void show_legend(struct show *show);

/* "SET_VRING_CALL", or "request 99" for an unknown one. Returns buf. */
char *show_name(char *buf, size_t size, enum vhu_channel channel, uint32_t request);
/* True for a reply that is a plain result. */
bool show_is_ack(const struct trace_record *record);
/* What happens at a step. */
const char *show_step_text(int step);

#endif
