/* SPDX-License-Identifier: MIT */
/*
 * The switch as its command line and its control socket see it: ports, counters, addresses. What
 * the data plane looks like inside stands in the other headers of this room.
 *
 * Every function here belongs to the control thread. None blocks, but for sw_stop() and sw_free()
 * (milliseconds). 0 or a count on success, -errno on failure.
 */
#ifndef SW_SWITCH_H
#define SW_SWITCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vhu_switch;

enum {
	SW_NAME_MAX = 32,    /* of a port, with the terminating zero */
	SW_ERR_MAX = 256,    /* room that an err text wants */
	SW_PORTS_MAX = 8192, /* at a time */
	SW_WORKERS_MAX = 64,
	SW_QUEUES_MAX = 128, /* queue pairs of a port */
	SW_FDB_SIZE_DEFAULT = 4096,
	SW_FDB_SIZE_MAX = 1 << 20,
	SW_AGEING_DEFAULT = 300, /* seconds */
	SW_VLAN_MAX = 4094,
	SW_SPIN_DEFAULT = 50, /* microseconds */
	SW_SPIN_MAX = 10000,
};

/* How the switch learns that there are frames in a queue. */
enum sw_mode {
	SW_MODE_DEFAULT,   /* as the switch's options say */
	SW_MODE_ADAPTIVE,  /* look for a moment, then ask for an event and sleep */
	SW_MODE_POLL,	   /* look all the time, never sleep */
	SW_MODE_INTERRUPT, /* ask for an event as soon as there is nothing */
	SW_MODE_END,
};
/* "adaptive", "poll", "interrupt". */
const char *sw_mode_name(enum sw_mode mode);
/* SW_MODE_END: no mode has that name. */
enum sw_mode sw_mode_named(const char *name);

struct sw_options {
	unsigned int nr_workers; /* 0: one */
	unsigned int fdb_size;	 /* dynamic and static entries together; 0: the default */
	unsigned int ageing_s;	 /* 0: the default */
	enum sw_mode mode;    /* of queues whose port does not say otherwise; adaptive by default */
	unsigned int spin_us; /* how long an adaptive queue is looked at, at most; 0: the default */
	/* level is one of syslog's (LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG). One line
	 * without line end. Called on the control thread only. May be NULL. */
	void (*log)(void *arg, int level, const char *text);
	void *arg;
};

/*
 * The order of things for a program:
 *	sw_new, sw_add_port for each --port (opens sockets, taps and files; reads nothing from a
 *	peer), enter the sandbox, sw_start (makes the worker threads and takes the signals SIGBUS
 *	and SW_SIGNAL), then poll sw_fd() for reading and call sw_process() each time; sw_stop,
 *	sw_free.
 * sw_add_port and sw_del_port may also come later.
 */
int sw_new(struct vhu_switch **ret_sw, const struct sw_options *options);
/* Stops it if it runs; removes the socket files of its ports. NULL is allowed. */
void sw_free(struct vhu_switch *sw);

/*
 * spec is one of
 *	NAME=vhost-user:PATH[,server|client][,mode=0660][,group=kvm][,mtu=N][,vlan=N|trunk=N-M+K]
 *	     [,config][,queues=N][,mode=poll]
 *	     [,rate=10M][,pps=10k]
 *	NAME=vhost-user:fd=N[,...]	(a listening or connected socket, which becomes the switch's)
 *	NAME=tap:IFNAME[,mtu=N][,vlan=N|trunk=N-M+K][,mode=poll][,rate=10M][,pps=10k]
 *	NAME=pcap:FILE
 * NAME is letters, digits, '.', '_' and '-'. On failure err holds one sentence for people, without
 * line end. -EINVAL: the spec is malformed. -EEXIST: the name is taken. -ENOTSUP: built without
 * that kind. Else what the system said.
 */
int sw_add_port(struct vhu_switch *sw, const char *spec, char *err, size_t size);
/* Judges a spec without doing anything, so that a wrong command line is told apart. */
int sw_check_spec(const char *spec, char *err, size_t size);
/* -ENOENT: no such port. The name is free again at once; the rest goes by itself. */
int sw_del_port(struct vhu_switch *sw, const char *name);
/*
 * Changes a port while it runs: options are those of a spec, "mode=poll" and the like, as far as they
 * can change. queue: of one queue pair only (mode alone); -1: of the whole port. -ENOENT: no such
 * port or queue. -EINVAL: malformed. In both cases err says why, as for sw_add_port().
 */
int sw_set_port(struct vhu_switch *sw, const char *name, int queue, const char *options, char *err,
		size_t size);
/*
 * Another worker takes frames from this queue pair, from some microseconds later on (once the old one has let
 * go of it). -ENOENT: no such port, or no such queue pair. -EINVAL: no such worker. -EOPNOTSUPP:
 * nobody takes frames from that port.
 */
int sw_move_queue(struct vhu_switch *sw, const char *name, unsigned int queue, unsigned int worker);

/* An unrelated program may use any signal but this one and SIGBUS. */
#define SW_SIGNAL SIGUSR2

int sw_start(struct vhu_switch *sw);
void sw_stop(struct vhu_switch *sw);
/* Level-triggered: readable when sw_process() has work. Never closed before sw_free(). */
int sw_fd(const struct vhu_switch *sw);
/* 0, or -errno if the switch as a whole cannot go on. */
int sw_process(struct vhu_switch *sw);

/* ---- Show ---- */

/*
 * Counters, of a port or of one of its queue pairs. rx is what the switch receives from the port
 * (a guest's transmit ring), tx what it sends to it (a guest's receive ring). All are uint64_t and
 * named in sw_counter_rows, so nobody needs code for each.
 */
struct sw_counters {
	uint64_t rx_frames;
	uint64_t rx_bytes;
	uint64_t rx_visits;
	uint64_t rx_limited;
	uint64_t rx_kicks;
	uint64_t rx_calls;
	uint64_t rx_calls_suppressed;
	uint64_t rx_drop_bad_chain;
	uint64_t rx_drop_short;
	uint64_t rx_drop_long;
	uint64_t rx_drop_bad_hdr;
	uint64_t rx_drop_disabled;
	uint64_t rx_drop_vlan;
	uint64_t rx_drop_bad_source;
	uint64_t rx_drop_link_local;
	uint64_t rx_drop_same_port;
	uint64_t rx_drop_no_port;
	uint64_t rx_drop_poisoned;
	uint64_t tx_frames;
	uint64_t tx_bytes;
	uint64_t tx_calls;
	uint64_t tx_calls_suppressed;
	uint64_t tx_segmented;
	uint64_t tx_drop_rx_full;
	uint64_t tx_drop_busy;
	uint64_t tx_drop_not_ready;
	uint64_t tx_drop_mtu;
	uint64_t tx_drop_too_big;
	uint64_t tx_drop_unfit;
	uint64_t tx_drop_error;
} __attribute__((aligned(64))); /* two workers count in different cache lines */

struct sw_counter_row {
	const char *name; /* "tx_drop_rx_full", for JSON */
	const char *text; /* "receive ring full", for people; drops: the cause */
	uint16_t offset;  /* in struct sw_counters */
	bool is_tx;
	bool is_drop;
};
extern const struct sw_counter_row sw_counter_rows[]; /* ends with a NULL name */
uint64_t sw_counter(const struct sw_counters *counters, const struct sw_counter_row *row);

/* Every pointer is valid during the call only. */
struct sw_port_info {
	const char *name;
	const char *kind;	 /* "vhost-user", "tap", "pcap" */
	const char *target;	 /* the path, interface or file */
	const char *state;	 /* "listening", "connecting", "connected", "running", "up", ... */
	const char *vlan;	 /* "-", "vlan 5", "trunk 1-10+20" */
	unsigned int mtu;	 /* 0: none set */
	unsigned int nr_queues;	 /* queue pairs that counters are kept for */
	unsigned int nr_running; /* receive rings that run */
	uint64_t features;	 /* agreed with the frontend; 0: none yet, or no vhost-user port */
	uint64_t protocol_features;
	unsigned int nr_fdb;	     /* addresses learned here */
	struct sw_counters counters; /* the sum of its queues */
};

/* fn's result other than 0 ends the walk and is returned. fn must not add or remove ports. */
int sw_each_port(struct vhu_switch *sw, int (*fn)(void *arg, const struct sw_port_info *port),
		 void *arg);
/* -ENOENT: no such port, or no such queue pair. */
int sw_port_queue_counters(struct vhu_switch *sw, const char *name, unsigned int queue,
			   struct sw_counters *ret_counters);

struct sw_queue_info {
	const char *port;
	unsigned int queue;
	enum sw_mode mode;
	/* What its present worker has done. */
	uint64_t visits;
	uint64_t frames;
};
unsigned int sw_nr_workers(const struct vhu_switch *sw);
/* The queue pairs that this worker takes frames from, those that were started, or were once. fn as for
 * sw_each_port(). */
int sw_each_queue(struct vhu_switch *sw, unsigned int worker,
		  int (*fn)(void *arg, const struct sw_queue_info *queue), void *arg);

struct sw_fdb_info {
	uint8_t mac[6];
	uint16_t vlan; /* 0: untagged, or a port that does not look at tags */
	const char *port;
	bool is_static;
	unsigned int age_s; /* since a frame was seen; 0 for static ones */
};
int sw_each_fdb(struct vhu_switch *sw, int (*fn)(void *arg, const struct sw_fdb_info *entry),
		void *arg);
/* A static entry: never aged, never moved; replaces a dynamic one. -ENOENT: no such port.
 * -EINVAL: a group address or a vlan out of range. -ENOSPC: the table is full of static ones. */
int sw_fdb_add(struct vhu_switch *sw, const uint8_t mac[6], unsigned int vlan, const char *port);
/* Any entry. -ENOENT. */
int sw_fdb_del(struct vhu_switch *sw, const uint8_t mac[6], unsigned int vlan);
/* All dynamic entries, or those of one port (NULL: all). -ENOENT: no such port. */
int sw_fdb_flush(struct vhu_switch *sw, const char *port);

/* The features offered to a frontend on a port without options, for --print-capabilities. */
uint64_t sw_vhost_features(void);
uint64_t sw_vhost_protocol_features(void);

#endif
