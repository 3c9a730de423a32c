// SPDX-License-Identifier: MIT
/* Requests of the control socket, from JSON to the switch and back; knows nothing of sockets. */

#include "switch/ctl_requests.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/out.h"
#include "config.h"

#if HAVE_JANSSON
#include <jansson.h>
#include <vhu/wire.h>

enum {
	/* Entries in one reply: some 5 MB, and tens of milliseconds. */
	FDB_MAX_REPLY = 65536,
};

/* What the log says of a change that was asked for here. */
#define LOG_SOURCE "control socket"

/* One request at hand. */
struct request {
	struct vhu_switch *sw;
	json_t *in;
	json_t *reply;
	char error[SW_ERR_MAX + 128];
};

static int refuse(struct request *req, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int refuse(struct request *req, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(req->error, sizeof(req->error), fmt, args);
	va_end(args);
	return -1;
}

/* A string of the request. NULL: it is missing, and that has been said. */
static const char *text_of(struct request *req, const char *key)
{
	const char *text = json_string_value(json_object_get(req->in, key));

	if (!text)
		refuse(req, "%s: a string of this name is missing", key);
	return text;
}

/* The text may hold any bytes; JSON takes UTF-8 alone. */
static json_t *json_safe(const char *text)
{
	char safe[1024];

	return json_string(out_safe(safe, sizeof(safe), text));
}

/* Bits as one string that holds all 64, and the names of those that have one. */
static void put_features(json_t *object, const char *key, uint64_t bits,
			 const char *(*name_of)(unsigned int bit))
{
	char hex[24], names_key[48];
	json_t *names = json_array();

	snprintf(hex, sizeof(hex), "0x%llx", (unsigned long long)bits);
	json_object_set_new(object, key, json_string(hex));
	for (unsigned int bit = 0; bit < 64; bit++) {
		if (!(bits & VHU_MASK(bit)))
			continue;
		const char *name = name_of(bit);

		if (name)
			json_array_append_new(names, json_string(name));
		else
			json_array_append_new(names, json_sprintf("bit %u", bit));
	}
	snprintf(names_key, sizeof(names_key), "%s_names", key);
	json_object_set_new(object, names_key, names);
}

static bool is_used(const struct sw_counters *counters)
{
	for (const struct sw_counter_row *row = sw_counter_rows; row->name; row++)
		if (sw_counter(counters, row))
			return true;
	return false;
}

static json_t *counters_object(const struct sw_counters *counters)
{
	json_t *object = json_object();

	for (const struct sw_counter_row *row = sw_counter_rows; row->name; row++)
		json_object_set_new(object, row->name,
				    json_integer((json_int_t)sw_counter(counters, row)));
	return object;
}

static int add_port_info(void *arg, const struct sw_port_info *port)
{
	json_t *object = json_object();

	json_object_set_new(object, "name", json_safe(port->name));
	json_object_set_new(object, "kind", json_safe(port->kind));
	json_object_set_new(object, "target", json_safe(port->target));
	json_object_set_new(object, "state", json_safe(port->state));
	json_object_set_new(object, "vlan", json_safe(port->vlan));
	json_object_set_new(object, "mtu", json_integer(port->mtu));
	json_object_set_new(object, "queues", json_integer(port->nr_queues));
	json_object_set_new(object, "running", json_integer(port->nr_running));
	json_object_set_new(object, "addresses", json_integer(port->nr_fdb));
	put_features(object, "features", port->features, vhu_feature_name);
	put_features(object, "protocol_features", port->protocol_features,
		     vhu_protocol_feature_name);
	json_array_append_new(arg, object);
	return 0;
}

static int add_port_counters(void *arg, const struct sw_port_info *port)
{
	json_t *object = json_object();

	json_object_set_new(object, "name", json_safe(port->name));
	json_object_set_new(object, "counters", counters_object(&port->counters));
	json_array_append_new(arg, object);
	return 0;
}

/*
 * After the walk over the ports: it must not be disturbed. Up to the last queue that was ever used:
 * a port may have 128, and most guests use one.
 */
static void add_queue_counters(struct vhu_switch *sw, json_t *port)
{
	const char *name = json_string_value(json_object_get(port, "name"));
	unsigned int nr = 0;
	json_t *queues = json_array();
	struct sw_counters counters;

	for (unsigned int i = 0; name && i < SW_QUEUES_MAX; i++) {
		if (sw_port_queue_counters(sw, name, i, &counters))
			break;
		if (is_used(&counters))
			nr = i + 1;
	}
	for (unsigned int i = 0; i < nr; i++) {
		if (sw_port_queue_counters(sw, name, i, &counters))
			break;
		json_array_append_new(queues, counters_object(&counters));
	}
	json_object_set_new(port, "queues", queues);
}

static int show_ports(struct request *req)
{
	json_t *ports = json_array();

	sw_each_port(req->sw, add_port_info, ports);
	json_object_set_new(req->reply, "ports", ports);
	return 0;
}

static int show_counters(struct request *req)
{
	json_t *ports = json_array(), *port;
	size_t i;

	sw_each_port(req->sw, add_port_counters, ports);
	json_array_foreach(ports, i, port)
		add_queue_counters(req->sw, port);
	json_object_set_new(req->reply, "ports", ports);
	return 0;
}

static int add_worker_queue(void *arg, const struct sw_queue_info *queue)
{
	json_t *object = json_object();

	json_object_set_new(object, "port", json_safe(queue->port));
	json_object_set_new(object, "queue", json_integer(queue->queue));
	json_object_set_new(object, "mode", json_string(sw_mode_name(queue->mode)));
	json_object_set_new(object, "visits", json_integer((json_int_t)queue->visits));
	json_object_set_new(object, "frames", json_integer((json_int_t)queue->frames));
	json_array_append_new(arg, object);
	return 0;
}

static int show_workers(struct request *req)
{
	json_t *workers = json_array();

	for (unsigned int i = 0; i < sw_nr_workers(req->sw); i++) {
		json_t *object = json_object(), *queues = json_array();

		sw_each_queue(req->sw, i, add_worker_queue, queues);
		json_object_set_new(object, "worker", json_integer(i));
		json_object_set_new(object, "queues", queues);
		json_array_append_new(workers, object);
	}
	json_object_set_new(req->reply, "workers", workers);
	return 0;
}

struct fdb_walk {
	const char *port; /* NULL: all */
	json_t *entries;
	bool port_seen;
};

static int is_port(void *arg, const struct sw_port_info *port)
{
	return !strcmp(arg, port->name);
}

static int add_fdb_entry(void *arg, const struct sw_fdb_info *entry)
{
	struct fdb_walk *walk = arg;
	const uint8_t *m = entry->mac;
	json_t *object;

	if (walk->port && strcmp(walk->port, entry->port))
		return 0;
	if (json_array_size(walk->entries) == FDB_MAX_REPLY)
		return 1;
	object = json_object();
	json_object_set_new(object, "mac",
			    json_sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3],
					 m[4], m[5]));
	json_object_set_new(object, "vlan", json_integer(entry->vlan));
	json_object_set_new(object, "port", json_safe(entry->port));
	json_object_set_new(object, "static", json_boolean(entry->is_static));
	json_object_set_new(object, "age_s", json_integer(entry->age_s));
	json_array_append_new(walk->entries, object);
	return 0;
}

static int show_fdb(struct request *req)
{
	struct fdb_walk walk = { .port = json_string_value(json_object_get(req->in, "port")) };
	char *name = walk.port ? strdup(walk.port) : NULL;
	int known = !name || sw_each_port(req->sw, is_port, name) == 1;

	free(name);
	if (!known)
		return refuse(req, "show fdb: %s: there is no such port", walk.port);
	walk.entries = json_array();
	if (sw_each_fdb(req->sw, add_fdb_entry, &walk)) {
		json_decref(walk.entries);
		return refuse(req, "show fdb: more than %d addresses: ask for those of one port",
			      FDB_MAX_REPLY);
	}
	json_object_set_new(req->reply, "fdb", walk.entries);
	return 0;
}

static int add_port(struct request *req)
{
	const char *spec = text_of(req, "spec");
	char err[SW_ERR_MAX] = "";
	const char *kind;

	if (!spec)
		return -1;
	/* A number of our own fds, not of the client's: it would take any of them over. */
	kind = strchr(spec, '=');
	if (kind && !strncmp(kind, "=vhost-user:fd=", 15))
		return refuse(req, "add-port %s: fd= can be given at the start only", spec);
	if (sw_add_port(req->sw, spec, err, sizeof(err)) < 0)
		return refuse(req, "add-port %s: %s", spec, err);
	log_line(LOG_INFO, LOG_SOURCE, "add-port %s", spec);
	return 0;
}

static int del_port(struct request *req)
{
	const char *name = text_of(req, "name");
	int err = name ? sw_del_port(req->sw, name) : 0;

	if (!name)
		return -1;
	if (err == -ENOENT)
		return refuse(req, "del-port %s: there is no such port", name);
	if (err < 0)
		return refuse(req, "del-port %s: %s", name, strerror(-err));
	log_line(LOG_INFO, LOG_SOURCE, "del-port %s", name);
	return 0;
}

/* A number below end; false: there is none, and that has been said. */
static bool number_of(struct request *req, const char *key, int end, int *number)
{
	const json_t *value = json_object_get(req->in, key);

	if (json_is_integer(value) && json_integer_value(value) >= 0 &&
	    json_integer_value(value) < end) {
		*number = (int)json_integer_value(value);
		return true;
	}
	refuse(req, "%s: no number from 0 to %d", key, end - 1);
	return false;
}

static int set_port(struct request *req)
{
	const char *name = text_of(req, "name"), *options = text_of(req, "options");
	char err[SW_ERR_MAX] = "", which[32] = "";
	int queue = -1;

	if (!name || !options)
		return -1;
	if (json_object_get(req->in, "queue")) {
		if (!number_of(req, "queue", SW_QUEUES_MAX, &queue))
			return -1;
		snprintf(which, sizeof(which), ":%d", queue);
	}
	if (sw_set_port(req->sw, name, queue, options, err, sizeof(err)) < 0)
		return refuse(req, "set-port %s%s: %s", name, which, err);
	log_line(LOG_INFO, LOG_SOURCE, "set-port %s%s %s", name, which, options);
	return 0;
}

static int move_queue(struct request *req)
{
	const char *name = text_of(req, "name");
	int queue, worker;

	if (!name || !number_of(req, "queue", SW_QUEUES_MAX, &queue) ||
	    !number_of(req, "worker", (int)sw_nr_workers(req->sw), &worker))
		return -1;
	switch (-sw_move_queue(req->sw, name, (unsigned int)queue, (unsigned int)worker)) {
	case 0:
		log_line(LOG_INFO, LOG_SOURCE, "move-queue %s:%d %d", name, queue, worker);
		return 0;
	case EOPNOTSUPP:
		return refuse(req, "move-queue %s:%d: nobody takes frames from a capture", name,
			      queue);
	default:
		return refuse(req, "move-queue %s:%d: there is no such port, or no such queue",
			      name, queue);
	}
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse_mac(const char *text, uint8_t ret_mac[6])
{
	uint8_t mac[6];

	if (strlen(text) != 17)
		return false;
	for (size_t i = 0; i < 6; i++) {
		int high = hex_digit(text[3 * i]), low = hex_digit(text[3 * i + 1]);

		if (high < 0 || low < 0 || (i < 5 && text[3 * i + 2] != ':'))
			return false;
		mac[i] = (uint8_t)(high << 4 | low);
	}
	memcpy(ret_mac, mac, sizeof(mac));
	return true;
}

/* The address and the VLAN that "fdb add" and "fdb del" have in common. */
static const char *fdb_key(struct request *req, uint8_t mac[6], unsigned int *ret_vlan)
{
	const char *text = text_of(req, "mac");
	const json_t *vlan = json_object_get(req->in, "vlan");

	if (!text)
		return NULL;
	if (!parse_mac(text, mac)) {
		refuse(req, "%s: no MAC address (as in 52:54:00:12:34:56)", text);
		return NULL;
	}
	if (vlan && (!json_is_integer(vlan) || json_integer_value(vlan) < 0 ||
		     json_integer_value(vlan) > SW_VLAN_MAX)) {
		refuse(req, "vlan: no number from 0 to %d", SW_VLAN_MAX);
		return NULL;
	}
	*ret_vlan = (unsigned int)json_integer_value(vlan);
	return text;
}

static int fdb_add(struct request *req)
{
	const char *port = text_of(req, "port"), *mac_text;
	unsigned int vlan;
	uint8_t mac[6];

	mac_text = port ? fdb_key(req, mac, &vlan) : NULL;
	if (!mac_text)
		return -1;
	switch (-sw_fdb_add(req->sw, mac, vlan, port)) {
	case 0:
		log_line(LOG_INFO, LOG_SOURCE, "fdb add %s, VLAN %u, %s", mac_text, vlan, port);
		return 0;
	case ENOENT:
		return refuse(req, "fdb add %s: there is no port %s", mac_text, port);
	case EINVAL:
		return refuse(req, "fdb add %s: a group address, or no VLAN of that port",
			      mac_text);
	case ENOSPC:
		return refuse(req, "fdb add %s: the table is full of static addresses", mac_text);
	default:
		return refuse(req, "fdb add %s: it could not be added", mac_text);
	}
}

static int fdb_del(struct request *req)
{
	unsigned int vlan;
	uint8_t mac[6];
	const char *mac_text = fdb_key(req, mac, &vlan);

	if (!mac_text)
		return -1;
	if (sw_fdb_del(req->sw, mac, vlan) < 0)
		return vlan ? refuse(req, "fdb del %s: not in the table for VLAN %u", mac_text,
				     vlan) :
			      refuse(req, "fdb del %s: not in the table without a VLAN", mac_text);
	log_line(LOG_INFO, LOG_SOURCE, "fdb del %s, VLAN %u", mac_text, vlan);
	return 0;
}

static int fdb_flush(struct request *req)
{
	const char *port = json_string_value(json_object_get(req->in, "port"));

	if (sw_fdb_flush(req->sw, port) < 0)
		return refuse(req, "fdb flush: there is no port %s", port ? port : "");
	log_line(LOG_INFO, LOG_SOURCE, "fdb flush %s", port ? port : "(all ports)");
	return 0;
}

static const struct {
	const char *command;
	int (*run)(struct request *req);
} requests[] = {
	{ "show ports", show_ports }, { "show counters", show_counters },
	{ "show fdb", show_fdb },     { "show workers", show_workers },
	{ "add-port", add_port },     { "del-port", del_port },
	{ "set-port", set_port },     { "move-queue", move_queue },
	{ "fdb add", fdb_add },	      { "fdb del", fdb_del },
	{ "fdb flush", fdb_flush },
};

static int run(struct request *req)
{
	const char *command;

	if (!json_is_object(req->in))
		return refuse(req, "a request is one JSON object");
	command = text_of(req, "command");
	if (!command)
		return -1;
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		if (!strcmp(requests[i].command, command))
			return requests[i].run(req);
	return refuse(req, "%s: no such command", command);
}

char *ctl_refusal(const char *text)
{
	json_t *reply = json_pack("{s: o}", "error", json_safe(text));
	char *line = json_dumps(reply, JSON_COMPACT);

	json_decref(reply);
	return line;
}

char *ctl_request(struct vhu_switch *sw, const char *line, size_t len)
{
	struct request req = { .sw = sw, .reply = json_object() };
	json_error_t error;
	char *text;

	req.in = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);
	if (!req.in) {
		refuse(&req, "no JSON: %s", error.text);
		text = ctl_refusal(req.error);
	} else if (run(&req) < 0) {
		text = ctl_refusal(req.error);
	} else {
		if (!json_object_size(req.reply))
			json_object_set_new(req.reply, "ok", json_true());
		text = json_dumps(req.reply, JSON_COMPACT);
	}
	json_decref(req.in);
	json_decref(req.reply);
	return text;
}
#else
char *ctl_refusal(const char *text)
{
	(void)text;
	return strdup("{\"error\":\"this vhu was built without JSON\"}");
}

char *ctl_request(struct vhu_switch *sw, const char *line, size_t len)
{
	(void)sw;
	(void)line;
	(void)len;
	return ctl_refusal("");
}
#endif
