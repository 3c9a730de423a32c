/* SPDX-License-Identifier: MIT */
/* A record as lines of 80 columns for people; knows nothing of JSON. */
#include "trace/show.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "common/out.h"
#include "trace/fds.h"

/*
 * "  1.204321 --> SET_VRING_KICK         ring 0, eventfd 12": the time, a mark, then what happened.
 * The time is left out while it stays the same.
 */
enum {
	COL_MARK = 11,
	COL_NAME = 15,
	COL_DETAIL = 38,
	COL_MORE = 17, /* lines that go on */
};

enum style {
	PLAIN,
	DIM,
	BOLD,
	RED,
	GREEN,
	CYAN,
	YELLOW
};

static const char *const codes[] = {
	[PLAIN] = "",		[DIM] = "\033[2m",   [BOLD] = "\033[1m",    [RED] = "\033[1;31m",
	[GREEN] = "\033[1;32m", [CYAN] = "\033[36m", [YELLOW] = "\033[33m",
};

static void begin_style(FILE *to, bool color, enum style style)
{
	if (color)
		fputs(codes[style], to);
}

static void end_style(FILE *to, bool color, enum style style)
{
	if (color && style != PLAIN)
		fputs("\033[0m", to);
}

static void put_start(FILE *to, const struct trace_record *record, struct show_memory *memory,
		      bool color, enum style style, const char *mark)
{
	uint64_t us = record->time_ns / 1000;
	char time[32];

	snprintf(time, sizeof(time), "%3" PRIu64 ".%06u", us / 1000000,
		 (unsigned int)(us % 1000000));
	if (memory->has_time && memory->time_us == us)
		memset(time, ' ', strlen(time));
	memory->has_time = true;
	memory->time_us = us;
	begin_style(to, color, DIM);
	fputs(time, to);
	end_style(to, color, DIM);
	fputc(' ', to);
	begin_style(to, color, style);
	fputs(mark, to);
	end_style(to, color, style);
	fputc(' ', to);
}

/* Words of the text's own and of peers alike: made harmless, and wrapped. */
static void put_words(FILE *to, unsigned int used, unsigned int indent, const char *text)
{
	char safe[2048];

	out_wrapped(to, used, indent, out_safe(safe, sizeof(safe), text));
}

/* Items with commas between: goes on in the next line with a whole item, where there is one. */
static void put_items(FILE *to, unsigned int used, const char *text)
{
	char safe[2048], *item = out_safe(safe, sizeof(safe), text);
	bool is_first = true;

	for (char *end; *item; item = end) {
		unsigned int space = is_first ? 0 : 1, len;

		end = strstr(item, ", ");
		end = end ? end + 1 : item + strlen(item);
		len = (unsigned int)(end - item);
		if (used + space + len > OUT_WIDTH) {
			if (COL_MORE + len > OUT_WIDTH) {
				out_wrapped(to, used, used < COL_DETAIL ? used : COL_DETAIL, item);
				return;
			}
			fprintf(to, "\n%*s", COL_MORE, "");
			used = COL_MORE;
			space = 0;
		}
		fprintf(to, "%*s%.*s", (int)space, "", (int)len, item);
		used += space + len;
		is_first = false;
		end += *end == ' ';
	}
	fputc('\n', to);
}

/* Left text, then right text at the end of the line, or in the next line if there is no room. */
static void put_sides(FILE *to, unsigned int used, const char *left, const char *right)
{
	size_t left_len = strlen(left), right_len = strlen(right);

	fputs(left, to);
	if (right_len && used + left_len + 2 + right_len > OUT_WIDTH) {
		fprintf(to, "\n%*s", COL_MORE, "");
		put_words(to, COL_MORE, COL_MORE, right);
		return;
	}
	if (right_len)
		fprintf(to, "%*s%s", (int)(OUT_WIDTH - used - left_len - right_len), "", right);
	fputc('\n', to);
}

/* What a message's first line says behind its name, piece by piece. */
struct detail {
	char text[512];
	size_t len;
	bool has_set;
	uint64_t set;
	enum vhu_field_kind set_kind;
};

static void __attribute__((format(printf, 2, 3))) add(struct detail *detail, const char *fmt, ...)
{
	size_t left = sizeof(detail->text) - detail->len;
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintf(detail->text + detail->len, left, fmt, args);
	va_end(args);
	if (len > 0)
		detail->len += (size_t)len < left ? (size_t)len : left - 1;
}

static void add_field(void *arg, const struct vhu_field *field, uint64_t value)
{
	struct detail *detail = arg;
	uint8_t mac[sizeof(value)];
	char size[32];

	if (field->kind == VHU_FIELD_FLAG && !value)
		return;
	if (detail->len)
		add(detail, ", ");
	switch ((enum vhu_field_kind)field->kind) {
	case VHU_FIELD_RING:
		add(detail, "ring %" PRIu64, value);
		break;
	case VHU_FIELD_FLAG:
		add(detail, "%s", field->name);
		break;
	case VHU_FIELD_BYTES:
		add(detail, "%s %s", field->name, fds_size(size, sizeof(size), value));
		break;
	case VHU_FIELD_HEX:
		add(detail, "%s 0x%" PRIx64, field->name, value);
		break;
	case VHU_FIELD_FEATURES:
	case VHU_FIELD_PROTOCOL_FEATURES:
	case VHU_FIELD_STATUS:
		add(detail, "0x%" PRIx64, value);
		detail->has_set = true;
		detail->set = value;
		detail->set_kind = field->kind;
		break;
	case VHU_FIELD_MAC:
		memcpy(mac, &value, sizeof(mac));
		add(detail, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
		    mac[5]);
		break;
	case VHU_FIELD_DEC:
		add(detail, "%s %" PRIu64, field->name, value);
		break;
	}
}

static const char *bit_name(enum vhu_field_kind kind, unsigned int bit)
{
	if (kind == VHU_FIELD_STATUS)
		return vhu_status_name(bit);
	return kind == VHU_FIELD_FEATURES ? vhu_feature_name(bit) : vhu_protocol_feature_name(bit);
}

static void add_names(struct detail *names, enum vhu_field_kind kind, uint64_t bits,
		      const char *before)
{
	for (unsigned int bit = 0; bit < 64; bit++) {
		const char *name = bit_name(kind, bit);

		if (!(bits >> bit & 1))
			continue;
		if (name)
			add(names, " %s%s", before, name);
		else
			add(names, " %sbit%u", before, bit);
	}
}

/* The names of the bits, or how they differ from what was last said of the same kind. */
static void put_set(FILE *to, const struct detail *detail, bool is_reply,
		    struct show_memory *memory)
{
	struct detail names = { .len = 0 };
	uint64_t was = 0;

	if (detail->set_kind != VHU_FIELD_STATUS) {
		bool is_protocol = detail->set_kind == VHU_FIELD_PROTOCOL_FEATURES;

		if (memory->sets[is_protocol][is_reply].known)
			was = memory->sets[is_protocol][is_reply].bits;
		memory->sets[is_protocol][is_reply].known = true;
		memory->sets[is_protocol][is_reply].bits = detail->set;
	}
	if (was && was == detail->set)
		add(&names, " as before");
	else if (was) {
		add(&names, " as before, but");
		add_names(&names, detail->set_kind, detail->set & ~was, "+");
		add_names(&names, detail->set_kind, was & ~detail->set, "-");
	} else {
		add_names(&names, detail->set_kind, detail->set, "");
	}
	if (!names.len)
		return;
	fprintf(to, "%*s", COL_MORE, "");
	out_wrapped(to, COL_MORE, COL_MORE, names.text + 1);
}

/* One region a line, under the file that it is a piece of. */
static void put_regions(FILE *to, const struct trace_record *record)
{
	const struct vhu_msg *msg = record->msg;
	size_t room = msg->hdr.size - offsetof(struct vhu_mem_table, region);
	char safe[TRACE_FD_TEXT], size[32];
	const char *last = "";

	fprintf(to, "%*s%-12s %11s  %-14s  %s\n", COL_MORE, "", "guest address", "size",
		"frontend's", "offset in file");
	for (uint32_t i = 0; i < msg->mem.nr && i < VHU_MAX_MSG_REGIONS; i++) {
		const struct vhu_region *region = &msg->mem.region[i];
		const char *file = i < msg->nr_fds ? record->fds[i] : "no fd";

		if ((i + 1) * sizeof(*region) > room)
			break;
		if (strcmp(file, last) != 0)
			fprintf(to, "%*sof %s:\n", COL_MORE, "",
				out_safe(safe, sizeof(safe), file));
		last = file;
		fprintf(to, "%*s0x%-12" PRIx64 "%10s  0x%-12" PRIx64 "  0x%" PRIx64 "\n", COL_MORE,
			"", region->gpa, fds_size(size, sizeof(size), region->size), region->uva,
			region->mmap_offset);
	}
}

static void fill_detail(struct detail *detail, const struct trace_record *record, bool has_regions)
{
	const struct vhu_msg *msg = record->msg;
	const struct vhu_request_row *row = vhu_request_row(record->channel, msg->hdr.request);

	if (show_is_ack(record)) {
		if (msg->u64)
			add(detail, "refused: error %" PRIu64, msg->u64);
		else
			add(detail, "ok");
		return;
	}
	if (row && row->payload != VHU_PAYLOAD_CONFIG && row->payload != VHU_PAYLOAD_UUID)
		vhu_wire_each_field(record->channel, msg, record->is_reply, add_field, detail);
	if (!detail->len && msg->hdr.size) {
		vhu_wire_text(record->channel, msg, record->is_reply, detail->text,
			      sizeof(detail->text));
		detail->len = strlen(detail->text);
	}
	for (unsigned int i = 0; i < msg->nr_fds && !has_regions; i++)
		add(detail, "%s%s", detail->len ? ", " : "", record->fds[i]);
}

static void put_duration(char *buf, size_t size, int64_t us)
{
	if (us < 0)
		buf[0] = '\0';
	else if (us < 10000)
		snprintf(buf, size, "%" PRId64 " us", us);
	else if (us < 10000000)
		snprintf(buf, size, "%" PRId64 " ms", us / 1000);
	else
		snprintf(buf, size, "%" PRId64 " s", us / 1000000);
}

static const char *arrow_of(const struct trace_record *record)
{
	if (record->channel == VHU_CHANNEL_BACKEND)
		return record->side == TRACE_FRONTEND ? "==>" : "<==";
	return record->side == TRACE_FRONTEND ? "-->" : "<--";
}

static void put_message(FILE *to, const struct trace_record *record, struct show_memory *memory,
			bool color)
{
	const struct vhu_msg *msg = record->msg;
	const struct vhu_request_row *row = vhu_request_row(record->channel, msg->hdr.request);
	bool has_regions = row && row->payload == VHU_PAYLOAD_MEM_TABLE &&
			   msg->hdr.size > offsetof(struct vhu_mem_table, region);
	bool is_frontend = record->side == TRACE_FRONTEND;
	struct detail detail = { .len = 0 };
	char name[48], duration[32];
	unsigned int used;

	put_start(to, record, memory, color, is_frontend ? CYAN : YELLOW, arrow_of(record));
	show_name(name, sizeof(name), record->channel, msg->hdr.request);
	begin_style(to, color, is_frontend ? CYAN : YELLOW);
	used = COL_NAME + (unsigned int)fprintf(to, "%s", name);
	end_style(to, color, is_frontend ? CYAN : YELLOW);

	fill_detail(&detail, record, has_regions);
	put_duration(duration, sizeof(duration), record->us);
	if (detail.len || *duration) {
		unsigned int pad = used + 1 < COL_DETAIL ? COL_DETAIL - used : 1;

		fprintf(to, "%*s", (int)pad, "");
		used += pad;
	}
	if (*duration && used + detail.len + 1 + strlen(duration) <= OUT_WIDTH) {
		char safe[OUT_WIDTH + 1];

		put_sides(to, used, out_safe(safe, sizeof(safe), detail.text), duration);
	} else {
		if (*duration)
			add(&detail, ", %s", duration);
		put_items(to, used, detail.text);
	}
	if (detail.has_set)
		put_set(to, &detail, record->is_reply, memory);
	if (has_regions)
		put_regions(to, record);
	if (record->text) {
		begin_style(to, color, RED);
		fprintf(to, "%*s !  ", COL_MARK, "");
		end_style(to, color, RED);
		put_words(to, COL_NAME, COL_NAME, record->text);
	}
}

static void put_step(FILE *to, const struct trace_record *record, struct show_memory *memory,
		     bool color)
{
	char mark[8], left[96], right[128] = "", duration[32];

	snprintf(mark, sizeof(mark), record->inferred ? "(%d)" : "[%d]", record->step);
	put_start(to, record, memory, color, GREEN, mark);
	snprintf(left, sizeof(left), "ring %d: %s", record->ring, show_step_text(record->step));
	if (record->inferred) {
		put_duration(duration, sizeof(duration), record->us);
		snprintf(right, sizeof(right), "inferred: %s", record->text);
	} else if (record->text) {
		snprintf(right, sizeof(right), "%s", record->text);
	}
	begin_style(to, color, GREEN);
	put_sides(to, COL_NAME, left, right);
	end_style(to, color, GREEN);
}

static void put_ready(FILE *to, const struct trace_record *record, struct show_memory *memory,
		      bool color)
{
	put_start(to, record, memory, color, GREEN, "===");
	begin_style(to, color, GREEN);
	fprintf(to, "ring %d is ready:", record->ring);
	for (int step = 1; step <= TRACE_STEPS; step++) {
		uint64_t ms = record->steps_ns[step] / 1000000;

		if (record->steps_ns[step])
			fprintf(to, "  %d %" PRIu64 ".%03u", step, ms / 1000,
				(unsigned int)(ms % 1000));
		else
			fprintf(to, "  %d none", step);
	}
	fputc('\n', to);
	end_style(to, color, GREEN);
}

static void put_event(FILE *to, const struct trace_record *record, struct show_memory *memory,
		      bool color)
{
	bool is_life = record->kind == TRACE_WAITING || record->kind == TRACE_CONNECTED ||
		       record->kind == TRACE_CLOSED;
	enum style style = is_life ? BOLD : PLAIN;
	char text[512];

	put_start(to, record, memory, color, style,
		  is_life			    ? "***" :
		  record->kind == TRACE_STEP_ABSENT ? "-5-" :
		  record->kind == TRACE_RING_STATE  ? " ~ " :
						      " . ");
	if (record->kind == TRACE_RING_STATE)
		snprintf(text, sizeof(text), "ring %d: %s -> %s", record->ring,
			 vhu_ring_state_name(record->from), vhu_ring_state_name(record->to));
	else if (record->kind == TRACE_STEP_ABSENT)
		snprintf(text, sizeof(text), "ring %d: no step of its own: %s", record->ring,
			 record->text);
	else if (record->ring >= 0)
		snprintf(text, sizeof(text), "ring %d: %s", record->ring, record->text);
	else
		snprintf(text, sizeof(text), "%s", record->text);
	begin_style(to, color, style);
	put_words(to, COL_NAME, COL_NAME, text);
	end_style(to, color, style);
}

static void put_driver_ok(FILE *to, const struct trace_record *record, struct show_memory *memory,
			  bool color)
{
	char right[96];

	put_start(to, record, memory, color, GREEN, record->inferred ? "(3)" : " . ");
	begin_style(to, color, record->inferred ? GREEN : PLAIN);
	snprintf(right, sizeof(right), "%s%s", record->inferred ? "inferred: " : "", record->text);
	put_sides(to, COL_NAME, "driver has set DRIVER_OK", right);
	end_style(to, color, record->inferred ? GREEN : PLAIN);
}

void show_text(FILE *to, const struct trace_record *record, struct show_memory *memory, bool color)
{
	if (record->conn != memory->conn)
		memset(memory->sets, 0, sizeof(memory->sets));
	memory->conn = record->conn;
	switch (record->kind) {
	case TRACE_MESSAGE:
		put_message(to, record, memory, color);
		break;
	case TRACE_STEP:
		put_step(to, record, memory, color);
		break;
	case TRACE_DRIVER_OK:
		put_driver_ok(to, record, memory, color);
		break;
	case TRACE_RING_READY:
		put_ready(to, record, memory, color);
		break;
	default:
		put_event(to, record, memory, color);
		break;
	}
}

void show_legend(struct show *show)
{
	static const char legend[] =
		"    time s --> frontend   <-- backend     <== ==> the backend's own channel\n"
		"           [1] step seen  (2) step inferred    ~ ring's state    ! violation\n";

	if (!show->json)
		writer_put(show->writer, legend, sizeof(legend) - 1);
}
