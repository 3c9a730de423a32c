// SPDX-License-Identifier: MIT
/* What a switch replied, as tables in 80 columns; knows nothing of sockets. */

#include "ctl/ctl.h"

#if HAVE_JANSSON
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/out.h"
#include "switch/switch.h"

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "?";
}

static uint64_t number_of(const json_t *object, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(object, key));
}

#define NR(array) ((unsigned int)(sizeof(array) / sizeof((array)[0])))

/* Words of a list of names, or "none". */
static void put_names(char *buf, size_t size, const char *before, const json_t *names)
{
	size_t used = strlen(buf), i;
	const json_t *name;

	used += (size_t)snprintf(buf + used, size - used, "%s", before);
	if (!json_array_size(names))
		snprintf(buf + used, size - used, " none");
	json_array_foreach(names, i, name) {
		const char *text = json_string_value(name);

		if (!text || used + strlen(text) + 2 > size)
			break;
		used += (size_t)snprintf(buf + used, size - used, " %s", text);
	}
}

static bool has_features(const json_t *port)
{
	return json_array_size(json_object_get(port, "features_names")) > 0;
}

static bool same_features(const json_t *a, const json_t *b)
{
	return !strcmp(text_of(a, "features"), text_of(b, "features")) &&
	       !strcmp(text_of(a, "protocol_features"), text_of(b, "protocol_features"));
}

/* What port number at agreed on, said once for all ports after it that agreed on the same. */
static void show_features(const json_t *ports, size_t at, FILE *to)
{
	const json_t *first = json_array_get(ports, at);
	char text[4096] = "", safe[4096];
	size_t used = 0;

	for (size_t i = 0; i < json_array_size(ports); i++) {
		const json_t *port = json_array_get(ports, i);

		if (!has_features(port) || !same_features(port, first))
			continue;
		if (i < at)
			return; /* said already */
		if (used + 64 < sizeof(text) / 2)
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s",
						 used ? ", " : "", text_of(port, "name"));
	}
	put_names(text, sizeof(text), " agreed on:", json_object_get(first, "features_names"));
	put_names(text, sizeof(text),
		  "; protocol:", json_object_get(first, "protocol_features_names"));
	fputc('\n', to);
	out_wrapped(to, 0, 4, out_safe(safe, sizeof(safe), text));
}

int show_ports(const json_t *reply, const json_t *before, double seconds, FILE *to)
{
	static const struct out_column columns[] = {
		{ "PORT", 'l' },   { "KIND", 'l' }, { "STATE", 'l' }, { "QUEUES", 'r' },
		{ "LEARNT", 'r' }, { "MTU", 'r' },  { "VLAN", 'l' },  { "WHERE", 'l' },
	};
	struct out_table *table = out_table_new(columns, NR(columns));
	const json_t *ports = json_object_get(reply, "ports"), *port;
	size_t i;
	int err;

	(void)before;
	(void)seconds;
	if (!table)
		return -ENOMEM;
	json_array_foreach(ports, i, port) {
		out_cell(table, "%s", text_of(port, "name"));
		out_cell(table, "%s", text_of(port, "kind"));
		out_cell(table, "%s", text_of(port, "state"));
		out_cell(table, "%" PRIu64 "/%" PRIu64, number_of(port, "running"),
			 number_of(port, "queues"));
		out_cell(table, "%" PRIu64, number_of(port, "addresses"));
		if (number_of(port, "mtu"))
			out_cell(table, "%" PRIu64, number_of(port, "mtu"));
		else
			out_cell(table, "-");
		out_cell(table, "%s", text_of(port, "vlan"));
		out_cell(table, "%s", text_of(port, "target"));
	}
	err = out_table_print(table, to);
	out_table_free(table);
	for (i = 0; i < json_array_size(ports); i++)
		if (has_features(json_array_get(ports, i)))
			show_features(ports, i, to);
	return err;
}

/* A reply of some seconds ago, to show how fast things go. */
struct earlier {
	const json_t *ports; /* NULL: show sums */
	double seconds;
};

static const json_t *find_port(const json_t *ports, const char *name)
{
	const json_t *port;
	size_t i;

	json_array_foreach(ports, i, port) {
		if (!strcmp(text_of(port, "name"), name))
			return port;
	}
	return NULL;
}

/* A counter, or how much it grew in a second. */
static uint64_t count_of(const json_t *now, const json_t *then, double seconds, const char *key)
{
	uint64_t a = number_of(now, key), b = number_of(then, key);

	if (!then)
		return a;
	return a < b ? 0 : (uint64_t)((double)(a - b) / seconds + 0.5);
}

static void put_counters(struct out_table *table, const char *name, const json_t *now,
			 const json_t *then, double seconds)
{
	static const char *const columns[][3] = {
		{ "rx_frames" },
		{ "rx_bytes" },
		{ "tx_frames" },
		{ "tx_bytes" },
		{ "rx_kicks", "tx_kicks" },
		{ "rx_calls", "tx_calls" },
	};
	char number[OUT_NUMBER_SIZE];
	uint64_t drops = 0;

	out_cell(table, "%s", name);
	for (unsigned int i = 0; i < NR(columns); i++) {
		uint64_t sum = 0;

		for (const char *const *key = columns[i]; *key; key++)
			sum += count_of(now, then, seconds, *key);
		out_cell(table, "%s", out_number(number, sum));
	}
	for (const struct sw_counter_row *row = sw_counter_rows; row->name; row++)
		if (row->is_drop)
			drops += count_of(now, then, seconds, row->name);
	out_cell(table, "%s", out_number(number, drops));
}

static void put_port(struct out_table *table, const json_t *port, const struct earlier *earlier)
{
	const json_t *then = find_port(earlier->ports, text_of(port, "name"));
	const json_t *queues = json_object_get(port, "queues"), *queue;
	size_t i;

	put_counters(table, text_of(port, "name"), json_object_get(port, "counters"),
		     json_object_get(then, "counters"), earlier->seconds);
	/* A lone one would say the same again. */
	if (json_array_size(queues) < 2)
		return;
	json_array_foreach(queues, i, queue) {
		char name[32];

		snprintf(name, sizeof(name), "  queue %zu", i);
		put_counters(table, name, queue, json_array_get(json_object_get(then, "queues"), i),
			     earlier->seconds);
	}
}

/* One direction's drops by cause, those that occurred. */
static void show_drops(const json_t *port, const struct earlier *earlier, bool is_tx, FILE *to)
{
	const char *name = text_of(port, "name");
	const json_t *now = json_object_get(port, "counters");
	const json_t *then = json_object_get(find_port(earlier->ports, name), "counters");
	char text[2048], safe[2048], number[OUT_NUMBER_SIZE];
	size_t used, begin;

	used = begin =
		(size_t)snprintf(text, sizeof(text), "%.64s: dropped on the way %s it:", name,
				 is_tx ? "to" : "from");
	for (const struct sw_counter_row *row = sw_counter_rows; row->name; row++) {
		uint64_t count = count_of(now, then, earlier->seconds, row->name);

		if (row->is_drop && row->is_tx == is_tx && count && used + 80 < sizeof(text))
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s %s (%s)",
						 used > begin ? "," : "", out_number(number, count),
						 row->text);
	}
	if (used > begin)
		out_wrapped(to, 0, 4, out_safe(safe, sizeof(safe), text));
}

int show_counters(const json_t *reply, const json_t *before, double seconds, FILE *to)
{
	static const struct out_column sums[] = {
		{ "PORT", 'l' },      { "RX FRAMES", 'r' }, { "RX BYTES", 'r' },
		{ "TX FRAMES", 'r' }, { "TX BYTES", 'r' },  { "KICKS", 'r' },
		{ "CALLS", 'r' },     { "DROPPED", 'r' },
	};
	static const struct out_column rates[] = {
		{ "EACH SECOND", 'l' }, { "RX FRAMES", 'r' }, { "RX BYTES", 'r' },
		{ "TX FRAMES", 'r' },	{ "TX BYTES", 'r' },  { "KICKS", 'r' },
		{ "CALLS", 'r' },	{ "DROPPED", 'r' },
	};
	const json_t *ports = json_object_get(reply, "ports"), *port;
	const struct earlier earlier = { json_object_get(before, "ports"), seconds };
	struct out_table *table = out_table_new(before ? rates : sums, NR(sums));
	size_t i;
	int err;

	if (!table)
		return -ENOMEM;
	json_array_foreach(ports, i, port)
		put_port(table, port, &earlier);
	err = out_table_print(table, to);
	out_table_free(table);
	json_array_foreach(ports, i, port) {
		show_drops(port, &earlier, false, to);
		show_drops(port, &earlier, true, to);
	}
	return err;
}

/* What this worker had done for this queue seconds ago. */
static const json_t *find_queue(const json_t *workers, const json_t *queue, uint64_t worker)
{
	const json_t *candidate;
	size_t i;

	json_array_foreach(json_object_get(json_array_get(workers, worker), "queues"), i,
			   candidate) {
		if (!strcmp(text_of(candidate, "port"), text_of(queue, "port")) &&
		    number_of(candidate, "queue") == number_of(queue, "queue"))
			return candidate;
	}
	return NULL;
}

int show_workers(const json_t *reply, const json_t *before, double seconds, FILE *to)
{
	static const struct out_column sums[] = {
		{ "WORKER", 'r' }, { "PORT", 'l' },   { "QUEUE", 'r' },
		{ "MODE", 'l' },   { "VISITS", 'r' }, { "FRAMES", 'r' },
	};
	static const struct out_column rates[] = {
		{ "WORKER", 'r' }, { "PORT", 'l' },	{ "QUEUE", 'r' },
		{ "MODE", 'l' },   { "VISITS/S", 'r' }, { "FRAMES/S", 'r' },
	};
	struct out_table *table = out_table_new(before ? rates : sums, NR(sums));
	const json_t *workers = json_object_get(reply, "workers"), *worker, *queue;
	const json_t *earlier = json_object_get(before, "workers");
	char number[OUT_NUMBER_SIZE];
	size_t i, k;
	int err;

	if (!table)
		return -ENOMEM;
	json_array_foreach(workers, i, worker) {
		json_array_foreach(json_object_get(worker, "queues"), k, queue) {
			const json_t *then = find_queue(earlier, queue, i);

			out_cell(table, "%" PRIu64, number_of(worker, "worker"));
			out_cell(table, "%s", text_of(queue, "port"));
			out_cell(table, "%" PRIu64, number_of(queue, "queue"));
			out_cell(table, "%s", text_of(queue, "mode"));
			out_cell(table, "%s",
				 out_number(number, count_of(queue, then, seconds, "visits")));
			out_cell(table, "%s",
				 out_number(number, count_of(queue, then, seconds, "frames")));
		}
	}
	err = out_table_print(table, to);
	out_table_free(table);
	return err;
}

int show_fdb(const json_t *reply, const json_t *before, double seconds, FILE *to)
{
	static const struct out_column columns[] = {
		{ "ADDRESS", 'l' },
		{ "VLAN", 'r' },
		{ "PORT", 'l' },
		{ "AGE", 'r' },
	};
	struct out_table *table = out_table_new(columns, NR(columns));
	const json_t *entry;
	size_t i;
	int err;

	(void)before;
	(void)seconds;
	if (!table)
		return -ENOMEM;
	json_array_foreach(json_object_get(reply, "fdb"), i, entry) {
		out_cell(table, "%s", text_of(entry, "mac"));
		if (number_of(entry, "vlan"))
			out_cell(table, "%" PRIu64, number_of(entry, "vlan"));
		else
			out_cell(table, "-");
		out_cell(table, "%s", text_of(entry, "port"));
		if (json_is_true(json_object_get(entry, "static")))
			out_cell(table, "static");
		else
			out_cell(table, "%" PRIu64 " s", number_of(entry, "age_s"));
	}
	err = out_table_print(table, to);
	out_table_free(table);
	return err;
}
#endif
