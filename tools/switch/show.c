// SPDX-License-Identifier: MIT
/* What the switch tells of itself: ports, counters, addresses. It changes nothing but the table of addresses, on request. */

#include <errno.h>
#include <string.h>

#include "switch/control.h"

static void add(struct sw_counters *sum, const struct sw_counters *counters)
{
	for (const struct sw_counter_row *row = sw_counter_rows; row->name; row++) {
		const char *from = (const char *)counters + row->offset;
		char *to = (char *)sum + row->offset;
		/* Written by a worker meanwhile: one load, whole. */
		uint64_t more =
			__atomic_load_n((const uint64_t *)(const void *)from, __ATOMIC_RELAXED);

		*(uint64_t *)(void *)to += more;
	}
}

static void sum_queue(const struct vhu_switch *sw, const struct sw_queue *queue,
		      struct sw_counters *sum)
{
	for (unsigned int i = 0; i < sw->nr_workers; i++)
		add(sum, &queue->counters[i]);
	if (queue->port->ops->count)
		queue->port->ops->count(queue, sum);
}

int sw_each_port(struct vhu_switch *sw, int (*fn)(void *arg, const struct sw_port_info *port),
		 void *arg)
{
	int ret = 0;

	for (struct sw_port *port = sw->ports; port && !ret; port = port->next) {
		char vlan[256];
		struct sw_port_info info = {
			.name = port->spec.name,
			.kind = port->ops->kind,
			.target = port->spec.target,
			.vlan = vlan,
			.mtu = atomic_load(&port->mtu),
			.nr_queues = port->nr_queues,
			.nr_fdb = sw_fdb_count(sw->fdb, port->slot),
		};

		for (size_t i = 0; i < SW_QUEUES_MAX / 64; i++)
			info.nr_running +=
				(unsigned int)__builtin_popcountll(atomic_load(&port->tx_up[i]));
		sw_vlans_text(&port->spec.vlans, vlan, sizeof(vlan));
		port->ops->info(port, &info);
		if (port->failed)
			info.state = "failed";
		for (unsigned int i = 0; i < port->nr_queues; i++)
			sum_queue(sw, &port->queue[i], &info.counters);
		ret = fn(arg, &info);
	}
	return ret;
}

int sw_port_queue_counters(struct vhu_switch *sw, const char *name, unsigned int queue,
			   struct sw_counters *ret_counters)
{
	struct sw_counters sum = { 0 };
	struct sw_port *port = sw_find_port(sw, name);

	if (!port || queue >= port->nr_queues)
		return -ENOENT;
	sum_queue(sw, &port->queue[queue], &sum);
	*ret_counters = sum;
	return 0;
}

unsigned int sw_nr_workers(const struct vhu_switch *sw)
{
	return sw->nr_workers;
}

int sw_each_queue(struct vhu_switch *sw, unsigned int worker,
		  int (*fn)(void *arg, const struct sw_queue_info *queue), void *arg)
{
	int ret = 0;

	for (struct sw_port *port = sw->ports; port && !ret; port = port->next) {
		for (unsigned int i = 0; i < port->nr_queues && !ret; i++) {
			const struct sw_queue *queue = &port->queue[i];
			struct sw_counters mine = { 0 };
			struct sw_queue_info info = {
				.port = port->spec.name,
				.queue = i,
				.mode = (enum sw_mode)atomic_load(&queue->mode),
			};

			if (sw_hold_owner(atomic_load(&queue->hold)) != worker)
				continue;
			add(&mine, &queue->counters[worker]);
			info.visits = mine.rx_visits;
			info.frames = mine.rx_frames;
			if (info.visits || atomic_load(&queue->kick_fd) >= 0)
				ret = fn(arg, &info);
		}
	}
	return ret;
}

int sw_each_fdb(struct vhu_switch *sw, int (*fn)(void *arg, const struct sw_fdb_info *entry),
		void *arg)
{
	uint64_t now_ms = sw_now_ms();
	int ret = 0;

	for (unsigned int i = 0; i < sw_fdb_size(sw->fdb) && !ret; i++) {
		struct sw_fdb_info info = { 0 };
		struct sw_fdb_row row;

		if (!sw_fdb_row(sw->fdb, i, &row) || !sw->slot[row.port])
			continue;
		for (int byte = 0; byte < 6; byte++)
			info.mac[byte] = (uint8_t)(row.key >> (40 - 8 * byte));
		info.vlan = (uint16_t)(row.key >> 48 & 0xfff);
		info.port = sw->slot[row.port]->spec.name;
		info.is_static = row.is_static;
		if (!row.is_static && now_ms > row.seen_ms)
			info.age_s = (unsigned int)((now_ms - row.seen_ms) / 1000);
		ret = fn(arg, &info);
	}
	return ret;
}

int sw_fdb_add(struct vhu_switch *sw, const uint8_t mac[6], unsigned int vlan, const char *port)
{
	static const uint8_t nobody[6];
	const struct sw_port *found = sw_find_port(sw, port);

	if (!found)
		return -ENOENT;
	if (mac[0] & 1 || !memcmp(mac, nobody, 6) || vlan > SW_VLAN_MAX || found->ops->is_mirror ||
	    !sw_vlans_has(&found->spec.vlans, vlan))
		return -EINVAL;
	return sw_fdb_set_static(sw->fdb, sw_fdb_key(mac, vlan), found->slot);
}

int sw_fdb_del(struct vhu_switch *sw, const uint8_t mac[6], unsigned int vlan)
{
	return vlan > SW_VLAN_MAX ? -ENOENT : sw_fdb_remove(sw->fdb, sw_fdb_key(mac, vlan));
}

int sw_fdb_flush(struct vhu_switch *sw, const char *port)
{
	const struct sw_port *found = port ? sw_find_port(sw, port) : NULL;

	if (port && !found)
		return -ENOENT;
	sw_fdb_forget_port(sw->fdb, found ? found->slot : -1, false);
	return 0;
}
