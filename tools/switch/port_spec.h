/* SPDX-License-Identifier: MIT */
/* A port as it stands on the command line, taken apart; nothing is opened here. */
#ifndef SW_PORT_SPEC_H
#define SW_PORT_SPEC_H

#include "switch/switch.h"
#include "switch/vlan.h"

enum sw_kind {
	SW_KIND_VHOST,
	SW_KIND_TAP,
	SW_KIND_PCAP,
};

enum {
	SW_TARGET_MAX = 1024,
	SW_GROUP_MAX = 64,
	SW_MTU_MIN = 68,
	SW_MTU_MAX = 65535,
	SW_QUEUES_DEFAULT = 8,
	SW_SPEED_MAX = 0x7fffffff,
};

/* As virtio has it; 0 here is what it calls unknown. */
enum sw_duplex {
	SW_DUPLEX_UNKNOWN,
	SW_DUPLEX_HALF,
	SW_DUPLEX_FULL,
};

#define SW_RATE_MAX UINT64_C(1000000000000)
#define SW_PPS_MAX UINT64_C(1000000000)

struct sw_spec {
	char name[SW_NAME_MAX];
	enum sw_kind kind;
	char target[SW_TARGET_MAX]; /* path, interface or file */
	int fd;			    /* a socket handed in, else -1 */
	bool is_client;
	bool has_config;
	bool has_inband;
	unsigned int mode; /* of the socket file; 0: as the umask has it */
	enum sw_mode ring_mode;
	uint64_t bits_a_second,
		frames_a_second; /* that are taken from it, at most; 0: any number */
	char group[SW_GROUP_MAX];
	unsigned int mtu;	/* 0: none */
	unsigned int nr_queues; /* pairs */
	unsigned int speed;	/* in Mbit/s; 0: unknown */
	enum sw_duplex duplex;
	struct sw_vlans vlans;
};

/* 0, or -EINVAL with one sentence in err. See sw_add_port() for the grammar. */
int sw_spec_parse(const char *text, struct sw_spec *ret_spec, char *err, size_t size);

/*
 * Options of a port that runs, "mode=poll,..." as they stand in a spec, put into its spec: those that
 * can change. 0, or -EINVAL with one sentence in err, and then spec may be half changed.
 */
int sw_spec_change(const char *options, struct sw_spec *spec, char *err, size_t size);

/* "-", "vlan 5", "trunk 1-10+20". Always terminated. */
void sw_vlans_text(const struct sw_vlans *vlans, char *buf, size_t size);

#endif
