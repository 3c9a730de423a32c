/* SPDX-License-Identifier: MIT */
/*
 * The forwarding database: which station (address and VLAN) was seen behind which port. Ports are
 * numbers here, time is what the caller says, and no thread or timer is known.
 *
 * Any number of threads look up and learn at the same time. Lookups take no lock. Changes take one
 * that is held for some memory accesses; a worker that does not get it at once lets the change be,
 * since the next frame brings the same news.
 */
#ifndef SW_FDB_H
#define SW_FDB_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "switch/vlan.h"

struct sw_fdb;

enum sw_learn {
	SW_LEARN_NOTHING, /* known, or not learned */
	SW_LEARN_NEW,	  /* a new entry */
	SW_LEARN_FIRST,	  /* a new entry, and the only dynamic one: ageing has to begin */
	SW_LEARN_MOVED,	  /* the station is behind another port now */
};

/* nr_ports: port numbers are below it. seed: two random words, against crafted collisions. */
int sw_fdb_new(struct sw_fdb **ret_fdb, unsigned int size, unsigned int nr_ports,
	       const uint64_t seed[2]);
void sw_fdb_free(struct sw_fdb *fdb);

/* Address and VLAN as one word; the address in the order of its bytes. */
static inline uint64_t sw_fdb_key(const uint8_t mac[6], unsigned int vlan)
{
	uint32_t high;
	uint16_t low;

	memcpy(&high, mac, sizeof(high));
	memcpy(&low, mac + sizeof(high), sizeof(low));
	return (uint64_t)be32toh(high) << 16 | be16toh(low) | (uint64_t)(vlan & 0xfff) << 48;
}

/* Any thread. The port, or -1. */
int sw_fdb_lookup(const struct sw_fdb *fdb, uint64_t key);

/*
 * Any thread. A frame from this station came in on this port. shares is the number of ports that
 * the table is shared between: once it is full, a port that has its share loses its own oldest
 * entries, and one that has not takes the oldest of the greediest port.
 */
enum sw_learn sw_fdb_learn(struct sw_fdb *fdb, uint64_t key, unsigned int port, unsigned int shares,
			   uint64_t now_ms);

/* Control thread, all that follows. */

/* Forgets dynamic entries not seen for age_ms. How many are left. ret_oldest_ms: when the oldest of
 * them was seen; untouched if none is left. */
unsigned int sw_fdb_age(struct sw_fdb *fdb, uint64_t now_ms, uint64_t age_ms,
			uint64_t *ret_oldest_ms);
/* Forgets the entries of a port (-1: of all), static ones only if told so. */
void sw_fdb_forget_port(struct sw_fdb *fdb, int port, bool with_static);
/* -ENOSPC: the table is full of static entries. */
int sw_fdb_set_static(struct sw_fdb *fdb, uint64_t key, unsigned int port);
/* -ENOENT. */
int sw_fdb_remove(struct sw_fdb *fdb, uint64_t key);
/* Forgets a station's dynamic entries in these VLANs: it has moved to where nobody knows yet. */
void sw_fdb_forget_mac(struct sw_fdb *fdb, const uint8_t mac[6], const struct sw_vlans *vlans);

unsigned int sw_fdb_count(const struct sw_fdb *fdb, unsigned int port);

struct sw_fdb_row {
	uint64_t key;
	uint64_t seen_ms;
	unsigned int port;
	bool is_static;
};
/* Entry number i; false if that place is empty. i runs below sw_fdb_size(). */
bool sw_fdb_row(const struct sw_fdb *fdb, unsigned int i, struct sw_fdb_row *ret_row);
unsigned int sw_fdb_size(const struct sw_fdb *fdb);

#endif
