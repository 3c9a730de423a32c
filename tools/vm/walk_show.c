// SPDX-License-Identifier: MIT
/* Puts the stations of a walk into words, and into JSON. */

#include "vm/walk_show.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <vhu/trace.h>

#include "common/out.h"

/* Text that ends where the room does. */
struct sheet {
	char *text;
	size_t len;
};

static void say(struct sheet *sheet, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void say(struct sheet *sheet, const char *fmt, ...)
{
	size_t room = WALK_TEXT - sheet->len;
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintf(sheet->text + sheet->len, room, fmt, args);
	va_end(args);
	if (len > 0)
		sheet->len += (size_t)len < room ? (size_t)len : room - 1;
}

static double micros(uint64_t since_ns, uint64_t time_ns)
{
	return time_ns > since_ns ? (double)(time_ns - since_ns) / 1000 : 0;
}

/* ---- For people ---- */

/* Of a message: to the backend, or from it. */
static const char *direction(uint64_t kind)
{
	switch (kind) {
	case VHU_EVENT_REQUEST_OUT:
		return "-> ";
	case VHU_EVENT_REPLY_OUT:
		return "-> (reply) ";
	case VHU_EVENT_REPLY_IN:
		return "<- (reply) ";
	case VHU_EVENT_REQUEST_IN:
		return "<- ";
	default:
		return "";
	}
}

static const char *plural(unsigned long long nr)
{
	return nr == 1 ? "" : "s";
}

static void say_details(struct sheet *sheet, const struct walk_station *station, bool is_read)
{
	const unsigned long long a = station->a, b = station->b;
	char what[WALK_WHAT * 4];

	out_safe(what, sizeof(what), station->what);
	switch (station->at) {
	case VMM_AT_EXIT:
		say(sheet, "%s %#llx", what, a);
		if (is_read)
			say(sheet, " is read");
		else
			say(sheet, " = %#llx", b);
		break;
	case VMM_AT_BUS:
		say(sheet, "%s: offset %#llx, %llu byte%s", what, a, b, plural(b));
		break;
	case VMM_AT_REGISTER:
		say(sheet, "%s = %#llx, queue %llu", what, a, b);
		break;
	case VMM_AT_STATUS:
		say(sheet, "%#llx, was %#llx", a, b);
		break;
	case VMM_AT_START:
		say(sheet, "%s, %llu ring%s", what, a, plural(a));
		break;
	case VMM_AT_RUNNING:
		say(sheet, "%llu ring%s", a, plural(a));
		break;
	case VMM_AT_KICK:
	case VMM_AT_CALL:
		say(sheet, "queue %llu", a);
		break;
	case VMM_AT_INTERRUPT:
		if (!strcmp(station->what, "line"))
			say(sheet, "line %llu %s", a, b ? "high" : "low");
		else
			say(sheet, "%s %#llx to %#llx", what, a, b);
		break;
	case VMM_AT_ENTER:
		if (is_read)
			say(sheet, "with %#llx", b);
		break;
	case VMM_AT_MESSAGE:
		say(sheet, "%s%s", direction(a), what);
		break;
	default:
		say(sheet, "%s", what);
		break;
	}
}

static void say_line(struct sheet *sheet, const struct walk_station *station, uint64_t exit_ns,
		     bool is_read)
{
	char device[WALK_DEVICE * 4];

	say(sheet, "%12.1f  %-9s  %-5s  ", micros(exit_ns, station->time_ns),
	    vmm_station_name(station->at), out_safe(device, sizeof(device), station->device));
	say_details(sheet, station, is_read);
	while (sheet->len && sheet->text[sheet->len - 1] == ' ')
		sheet->len--;
	say(sheet, "\n");
}

/* ---- For programs ---- */

static void say_string(struct sheet *sheet, const char *name, const char *text)
{
	if (!*text)
		return;
	say(sheet, ",\"%s\":\"", name);
	for (; *text; text++) {
		const unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			say(sheet, "\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			say(sheet, "\\u%04x", c);
		else
			say(sheet, "%c", c);
	}
	say(sheet, "\"");
}

static void say_object(struct sheet *sheet, const struct walk_station *station, uint64_t exit_ns)
{
	say(sheet, "{\"station\":\"%s\",\"us\":%.1f", vmm_station_name(station->at),
	    micros(exit_ns, station->time_ns));
	say_string(sheet, "device", station->device);
	say_string(sheet, "what", station->what);
	say(sheet, ",\"a\":%llu,\"b\":%llu}", (unsigned long long)station->a,
	    (unsigned long long)station->b);
}

/* ---- Either ---- */

size_t walk_show(char text[WALK_TEXT], const struct walk_way *way, bool json)
{
	const uint64_t exit_ns = way->stations[0].time_ns;
	const bool is_read = way->stations[way->nr - 1].what[0];
	struct sheet sheet = { .text = text };

	say(&sheet, json ? "{\"walk\":%llu,\"cpu\":%d,\"stations\":[" : "walk %llu, vCPU %d (us)\n",
	    (unsigned long long)way->number, way->cpu);
	for (unsigned int i = 0; i < way->nr; i++) {
		if (!json) {
			say_line(&sheet, &way->stations[i], exit_ns, is_read);
			continue;
		}
		if (i)
			say(&sheet, ",");
		say_object(&sheet, &way->stations[i], exit_ns);
	}
	if (json)
		say(&sheet, "]}\n");
	else if (way->nr_dropped)
		say(&sheet, "%12s  and %u more\n", "", way->nr_dropped);
	return sheet.len;
}

size_t walk_show_later(char text[WALK_TEXT], const struct walk_station *station, uint64_t number,
		       uint64_t exit_ns, bool json)
{
	struct sheet sheet = { .text = text };

	if (json) {
		say(&sheet, "{\"after\":%llu,\"stations\":[", (unsigned long long)number);
		say_object(&sheet, station, exit_ns);
		say(&sheet, "]}\n");
	} else {
		say(&sheet, "after %-4llu", (unsigned long long)number);
		say_line(&sheet, station, exit_ns, false);
	}
	return sheet.len;
}
