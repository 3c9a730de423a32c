// SPDX-License-Identifier: MIT
/* Takes apart a port as it stands on the command line; opens nothing and asks the system nothing. */

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "switch/port_spec.h"

/* What is being parsed, for the sentence that says what is wrong with it. */
struct parser {
	struct sw_spec *spec;
	bool is_change; /* of a port that runs already */
	const char *text;
	char *err;
	size_t size;
};

static int wrong(struct parser *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int wrong(struct parser *p, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (p->size)
		vsnprintf(p->err, p->size, fmt, args);
	va_end(args);
	return -EINVAL;
}

/* Digits only, so that neither a sign nor a blank gets through. */
static bool number(const char *text, unsigned int base, unsigned long max, unsigned long *ret_value)
{
	unsigned long value = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		unsigned int digit = (unsigned int)(unsigned char)*text - '0';

		if (digit >= base)
			return false;
		value = value * base + digit;
		if (value > max)
			return false;
	}
	*ret_value = value;
	return true;
}

static int opt_role(struct parser *p, const char *key, const char *value)
{
	(void)value;
	p->spec->is_client = !strcmp(key, "client");
	return 0;
}

static int opt_mode(struct parser *p, const char *key, const char *value)
{
	enum sw_mode ring_mode = sw_mode_named(value);
	unsigned long mode;

	(void)key;
	if (ring_mode != SW_MODE_END) {
		p->spec->ring_mode = ring_mode;
		return 0;
	}
	if (p->spec->kind != SW_KIND_VHOST || p->is_change)
		return wrong(p, "mode=%s is none of adaptive, poll and interrupt", value);
	if (!number(value, 8, 0777, &mode) || mode == 0)
		return wrong(p,
			     "mode=%s is no octal mode like 0660, and none of adaptive, poll and "
			     "interrupt",
			     value);
	p->spec->mode = (unsigned int)mode;
	return 0;
}

static int opt_group(struct parser *p, const char *key, const char *value)
{
	(void)key;
	if (!*value || strlen(value) >= sizeof(p->spec->group))
		return wrong(p, "group= wants the name of a group");
	memcpy(p->spec->group, value, strlen(value) + 1);
	return 0;
}

static int opt_mtu(struct parser *p, const char *key, const char *value)
{
	unsigned long mtu;

	(void)key;
	if (!number(value, 10, SW_MTU_MAX, &mtu) || mtu < SW_MTU_MIN)
		return wrong(p, "mtu=%s is not between %d and %d", value, SW_MTU_MIN, SW_MTU_MAX);
	p->spec->mtu = (unsigned int)mtu;
	return 0;
}

/* A number with k, M or G behind it, powers of 1000. 0: none at all. */
static bool scaled(const char *text, uint64_t max, uint64_t *ret_value)
{
	static const char units[] = "kMG";
	size_t len = strlen(text);
	const char *unit = len ? strchr(units, text[len - 1] == 'K' ? 'k' : text[len - 1]) : NULL;
	unsigned long value;
	uint64_t factor = 1;
	char digits[24];

	for (const char *at = units; unit && at <= unit; at++)
		factor *= 1000;
	len -= !!unit;
	if (len >= sizeof(digits))
		return false;
	memcpy(digits, text, len);
	digits[len] = '\0';
	if (!number(digits, 10, max / factor, &value))
		return false;
	*ret_value = value * factor;
	return true;
}

static int opt_rate(struct parser *p, const char *key, const char *value)
{
	(void)key;
	if (!scaled(value, SW_RATE_MAX, &p->spec->bits_a_second))
		return wrong(p, "rate=%s is no number of bits a second like 10M, up to 1000G",
			     value);
	return 0;
}

static int opt_pps(struct parser *p, const char *key, const char *value)
{
	(void)key;
	if (!scaled(value, SW_PPS_MAX, &p->spec->frames_a_second))
		return wrong(p, "pps=%s is no number of frames a second like 10k, up to 1G", value);
	return 0;
}

static int opt_queues(struct parser *p, const char *key, const char *value)
{
	unsigned long queues;

	(void)key;
	if (!number(value, 10, SW_QUEUES_MAX, &queues) || queues == 0)
		return wrong(p, "queues=%s is not between 1 and %d", value, SW_QUEUES_MAX);
	p->spec->nr_queues = (unsigned int)queues;
	return 0;
}

static int opt_config(struct parser *p, const char *key, const char *value)
{
	(void)key;
	(void)value;
	p->spec->has_config = true;
	return 0;
}

static int opt_speed(struct parser *p, const char *key, const char *value)
{
	unsigned long speed;

	(void)key;
	if (!number(value, 10, SW_SPEED_MAX, &speed) || speed == 0)
		return wrong(p, "speed=%s is not between 1 and %d Mbit/s", value, SW_SPEED_MAX);
	p->spec->speed = (unsigned int)speed;
	return 0;
}

static int opt_duplex(struct parser *p, const char *key, const char *value)
{
	(void)key;
	if (strcmp(value, "full") != 0 && strcmp(value, "half") != 0)
		return wrong(p, "duplex=%s is neither full nor half", value);
	p->spec->duplex = strcmp(value, "full") ? SW_DUPLEX_HALF : SW_DUPLEX_FULL;
	return 0;
}

/* Its frontends take all that is offered, so what is offered has to be all there. */
static int opt_inband(struct parser *p, const char *key, const char *value)
{
	(void)key;
	(void)value;
	p->spec->has_inband = true;
	p->spec->has_config = true;
	return 0;
}

static int opt_vlan(struct parser *p, const char *key, const char *value)
{
	unsigned long vlan;

	(void)key;
	if (p->spec->vlans.mode != SW_VLAN_UNAWARE)
		return wrong(p, "vlan= and trunk= exclude each other");
	if (!number(value, 10, SW_VLAN_MAX, &vlan) || vlan == 0)
		return wrong(p, "vlan=%s is not between 1 and %d", value, SW_VLAN_MAX);
	p->spec->vlans.mode = SW_VLAN_ACCESS;
	p->spec->vlans.access = (uint16_t)vlan;
	return 0;
}

/* One item of a trunk: N or N-M. */
static bool trunk_item(struct sw_vlans *vlans, char *item)
{
	char *dash = strchr(item, '-');
	unsigned long first, last;

	if (dash)
		*dash = '\0';
	if (!number(item, 10, SW_VLAN_MAX, &first) || first == 0)
		return false;
	last = first;
	if (dash && (!number(dash + 1, 10, SW_VLAN_MAX, &last) || last < first))
		return false;
	for (unsigned long vlan = first; vlan <= last; vlan++)
		vlans->trunk[vlan >> 6] |= UINT64_C(1) << (vlan & 63);
	return true;
}

static int opt_trunk(struct parser *p, const char *key, const char *value)
{
	char copy[256];
	char *rest = copy, *item;

	(void)key;
	if (p->spec->vlans.mode != SW_VLAN_UNAWARE)
		return wrong(p, "vlan= and trunk= exclude each other");
	if (strlen(value) >= sizeof(copy))
		return wrong(p, "trunk= is too long");
	memcpy(copy, value, strlen(value) + 1);
	while ((item = strsep(&rest, "+")))
		if (!trunk_item(&p->spec->vlans, item))
			return wrong(p, "trunk=%s is no list like 1-10+20 of VLANs from 1 to %d",
				     value, SW_VLAN_MAX);
	p->spec->vlans.mode = SW_VLAN_TRUNK;
	return 0;
}

#define FOR(kind) (1u << (kind))

static const struct {
	const char *key;
	unsigned int kinds;
	bool has_value;
	bool can_change; /* while the port runs */
	int (*parse)(struct parser *p, const char *key, const char *value);
} options[] = {
	{ "server", FOR(SW_KIND_VHOST), false, false, opt_role },
	{ "client", FOR(SW_KIND_VHOST), false, false, opt_role },
	{ "mode", FOR(SW_KIND_VHOST) | FOR(SW_KIND_TAP), true, true, opt_mode },
	{ "group", FOR(SW_KIND_VHOST), true, false, opt_group },
	{ "mtu", FOR(SW_KIND_VHOST) | FOR(SW_KIND_TAP), true, false, opt_mtu },
	{ "rate", FOR(SW_KIND_VHOST) | FOR(SW_KIND_TAP), true, true, opt_rate },
	{ "pps", FOR(SW_KIND_VHOST) | FOR(SW_KIND_TAP), true, true, opt_pps },
	{ "queues", FOR(SW_KIND_VHOST), true, false, opt_queues },
	{ "config", FOR(SW_KIND_VHOST), false, false, opt_config },
	{ "inband", FOR(SW_KIND_VHOST), false, false, opt_inband },
	{ "speed", FOR(SW_KIND_VHOST), true, false, opt_speed },
	{ "duplex", FOR(SW_KIND_VHOST), true, false, opt_duplex },
	{ "vlan", FOR(SW_KIND_VHOST) | FOR(SW_KIND_TAP), true, false, opt_vlan },
	{ "trunk", FOR(SW_KIND_VHOST) | FOR(SW_KIND_TAP), true, false, opt_trunk },
};

static int parse_option(struct parser *p, char *option)
{
	char *value = strchr(option, '=');

	if (value)
		*value++ = '\0';
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		if (strcmp(option, options[i].key))
			continue;
		if (!(options[i].kinds & FOR(p->spec->kind)))
			return wrong(p, "%s is no option for this kind of port", option);
		if (p->is_change && !options[i].can_change)
			return wrong(p, "%s cannot change: remove the port and add it anew",
				     option);
		if (options[i].has_value != !!value)
			return wrong(
				p, options[i].has_value ? "%s wants a value" : "%s takes no value",
				option);
		return options[i].parse(p, option, value ? value : "");
	}
	return wrong(p, "no such option: %s", option);
}

static int parse_name(struct parser *p, const char *name, size_t len)
{
	if (len == 0 || len >= SW_NAME_MAX)
		return wrong(p, "a port's name has 1 to %d characters", SW_NAME_MAX - 1);
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i]))
			return wrong(p, "a port's name is made of letters, digits, '.', '_', '-'");
	memcpy(p->spec->name, name, len);
	return 0;
}

static int parse_target(struct parser *p, const char *target)
{
	struct sw_spec *spec = p->spec;
	unsigned long fd;

	if (spec->kind == SW_KIND_VHOST && !strncmp(target, "fd=", 3)) {
		if (!number(target + 3, 10, 1u << 20, &fd))
			return wrong(p, "%s is no number of an open file", target);
		spec->fd = (int)fd;
	}
	if (!*target)
		return wrong(p, "nothing stands behind the kind: a path, an interface or a file");
	if (strlen(target) >= sizeof(spec->target))
		return wrong(p, "the path is too long");
	/* sun_path has 108 bytes, IFNAMSIZ is 16: both with the zero. */
	if (spec->kind == SW_KIND_VHOST && strlen(target) > 107)
		return wrong(p, "a socket's path has at most 107 bytes");
	if (spec->kind == SW_KIND_TAP && strlen(target) > 15)
		return wrong(p, "an interface's name has at most 15 bytes");
	memcpy(spec->target, target, strlen(target) + 1);
	return 0;
}

/* What the options together must be. */
static int judge(struct parser *p)
{
	const struct sw_spec *spec = p->spec;

	if (spec->fd >= 0 && (spec->is_client || spec->mode || spec->group[0]))
		return wrong(p, "client, mode and group say nothing about a socket handed in");
	if (spec->is_client && (spec->mode || spec->group[0]))
		return wrong(p,
			     "mode and group are for a socket that is made here, not for client");
	if ((spec->speed || spec->duplex) && !spec->has_config)
		return wrong(p, "speed and duplex stand in the configuration space: add config");
	if (spec->has_inband && spec->nr_queues > 1)
		return wrong(p, "inband has one queue pair: more want a control queue");
	return 0;
}

int sw_spec_parse(const char *text, struct sw_spec *ret_spec, char *err, size_t size)
{
	static const char *const kinds[] = {
		[SW_KIND_VHOST] = "vhost-user:",
		[SW_KIND_TAP] = "tap:",
		[SW_KIND_PCAP] = "pcap:",
	};
	struct sw_spec spec = { .fd = -1 };
	struct parser p = { .spec = &spec, .text = text, .err = err, .size = size };
	const char *rest = strchr(text, '=');
	char copy[SW_TARGET_MAX + 512];
	char *next = copy, *item;
	size_t kind;
	int ret;

	if (!rest)
		return wrong(&p, "a port is NAME=KIND:TARGET");
	ret = parse_name(&p, text, (size_t)(rest - text));
	if (ret)
		return ret;
	rest++;
	for (kind = 0; kind < sizeof(kinds) / sizeof(kinds[0]); kind++)
		if (!strncmp(rest, kinds[kind], strlen(kinds[kind])))
			break;
	if (kind == sizeof(kinds) / sizeof(kinds[0]))
		return wrong(&p, "the kind of a port is vhost-user, tap or pcap");
	spec.kind = (enum sw_kind)kind;
	rest += strlen(kinds[kind]);
	if (strlen(rest) >= sizeof(copy))
		return wrong(&p, "the description is too long");
	memcpy(copy, rest, strlen(rest) + 1);

	ret = parse_target(&p, strsep(&next, ","));
	while (!ret && (item = strsep(&next, ",")))
		ret = parse_option(&p, item);
	if (!ret)
		ret = judge(&p);
	if (!spec.nr_queues)
		spec.nr_queues =
			spec.kind != SW_KIND_VHOST || spec.has_inband ? 1 : SW_QUEUES_DEFAULT;
	if (!ret)
		*ret_spec = spec;
	return ret;
}

int sw_spec_change(const char *text, struct sw_spec *spec, char *err, size_t size)
{
	struct parser p = {
		.spec = spec, .is_change = true, .text = text, .err = err, .size = size
	};
	char copy[512];
	char *next = copy, *item;
	int ret = 0;

	if (strlen(text) >= sizeof(copy))
		return wrong(&p, "the options are too long");
	memcpy(copy, text, strlen(text) + 1);
	while (!ret && (item = strsep(&next, ",")))
		ret = parse_option(&p, item);
	return ret;
}

void sw_vlans_text(const struct sw_vlans *vlans, char *buf, size_t size)
{
	size_t len;

	if (vlans->mode == SW_VLAN_UNAWARE) {
		snprintf(buf, size, "-");
		return;
	}
	if (vlans->mode == SW_VLAN_ACCESS) {
		snprintf(buf, size, "vlan %u", vlans->access);
		return;
	}
	snprintf(buf, size, "trunk");
	for (unsigned int first = 1; first <= SW_VLAN_MAX; first++) {
		unsigned int last = first;

		if (!sw_vlans_has(vlans, first))
			continue;
		while (last < SW_VLAN_MAX && sw_vlans_has(vlans, last + 1))
			last++;
		len = strlen(buf);
		snprintf(buf + len, size - len, "%c%u", buf[len - 1] == 'k' ? ' ' : '+', first);
		len = strlen(buf);
		if (last > first)
			snprintf(buf + len, size - len, "-%u", last);
		first = last;
	}
}
