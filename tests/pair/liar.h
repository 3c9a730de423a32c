/* SPDX-License-Identifier: MIT */
/*
 * A backend for tests that is made of raw messages: it writes down all that it hears, answers as it
 * should, and lies where it was told to.
 *
 * It shares nothing with the library but the names of <vhu/wire.h>, and serves no ring by itself.
 */
#ifndef TESTS_PAIR_LIAR_H
#define TESTS_PAIR_LIAR_H

#include <pthread.h>
#include <sys/types.h>
#include <vhu/wire.h>

#include "check.h"

enum {
	LIAR_MAX_RECORDS = 4096,
	LIAR_MAX_RINGS = 64,
	LIAR_KEPT_BYTES = 320, /* of a payload */
};

/* Everything that the library's frontend half can do. */
#define LIAR_FEATURES                                                                              \
	(VHU_MASK(VHU_F_VERSION_1_BIT) | VHU_MASK(VHU_F_INDIRECT_DESC_BIT) |                       \
	 VHU_MASK(VHU_F_EVENT_IDX_BIT) | VHU_MASK(VHU_F_RING_PACKED_BIT) |                         \
	 VHU_MASK(VHU_F_IN_ORDER_BIT) | VHU_MASK(VHU_F_LOG_ALL_BIT) |                              \
	 VHU_MASK(VHU_F_PROTOCOL_FEATURES_BIT) | VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT) |               \
	 VHU_MASK(VHU_NET_F_MTU_BIT) | VHU_MASK(VHU_NET_F_MAC_BIT))

struct liar;

/* What becomes of a message. */
enum liar_verdict {
	LIAR_PROPER,  /* the liar takes and answers it as it should */
	LIAR_HANDLED, /* it was answered, or is not to be: the liar takes it in silence */
};

/* Asked for each message that came; msg's fds are still the liar's. */
typedef enum liar_verdict liar_fn(void *arg, struct liar *liar, const struct vhu_msg *msg);

/*
 * Asked for each reply that the liar is about to send: true if it sent something else in its stead.
 */
typedef bool liar_twist_fn(void *arg, struct liar *liar, const void *bytes, size_t len,
			   const int *fds, unsigned int nr_fds);

/* A message as it came. */
struct liar_record {
	struct vhu_msg_hdr hdr;
	unsigned int connection; /* counted from 1 */
	unsigned int nr_fds;
	ino_t ino[VHU_MSG_MAX_FDS];
	union {
		uint64_t u64;
		struct vhu_vring_state state;
		struct vhu_vring_addr addr;
		struct vhu_mem_table mem;
		struct vhu_mem_reg reg;
		struct vhu_log log;
		struct vhu_config config;
		struct vhu_inflight inflight;
		uint8_t bytes[LIAR_KEPT_BYTES];
	};
};

struct liar_region {
	struct vhu_region wire;
	int fd;
};

struct liar_ring {
	int kick_fd, call_fd, err_fd; /* -1: none */
	uint32_t num, base;
	struct vhu_vring_addr addr;
	bool started, enabled;
};

struct liar_options {
	uint64_t features;	    /* offered; 0: LIAR_FEATURES */
	uint64_t no_features;	    /* of those: not offered */
	uint64_t protocol_features; /* the same; 0: VHU_FRONTEND_PROTOCOL_FEATURES */
	uint64_t no_protocol_features;
	uint64_t queue_num;   /* 0: 8 */
	uint64_t max_slots;   /* 0: 16 */
	bool empty_log_reply; /* as DPDK's; else of 8 bytes */
	bool whole_log_reply; /* as rust-vmm's: the request's payload */
	bool no_listen;	      /* see liar_take(), liar_connect() */
};

struct liar {
	struct liar_options options;
	char dir[64], path[96];
	int listen_fd;
	const char
		*goes_to; /* a frontend that listens, whenever there is no connection; NULL: none */
	int sock;	  /* -1: nobody is there */
	int channel;	  /* of SET_BACKEND_REQ_FD, or -1 */

	/* The lie. */
	liar_fn *lie;
	liar_twist_fn *twist;
	void *lie_arg;	   /* for both */
	unsigned int lies; /* how often it was told: for the lie itself to count */

	/* What it was told; forgotten with each new connection. */
	uint64_t features, protocol_features;
	uint8_t status;
	uint8_t config[VHU_MAX_CONFIG_SIZE];
	unsigned int mtu;
	struct liar_region region[VHU_MAX_MEM_SLOTS];
	unsigned int nr_regions;
	struct liar_ring ring[LIAR_MAX_RINGS];
	int log_fd, inflight_fd;
	uint64_t log_size;
	struct vhu_inflight inflight;

	/* What it heard. */
	unsigned int connections, hangups;
	unsigned int nr_records;
	struct liar_record *record;

	pthread_t thread;
	bool threaded, quit;
	struct liar *next;
};

void liar_init(struct liar *liar, const struct liar_options *options);
void liar_free(struct liar *liar);
/* Takes a connected socket. */
void liar_take(struct liar *liar, int take_fd);
/* Goes to a frontend that listens. 0 or -errno. */
int liar_connect(struct liar *liar, const char *path);
/* The connection ends here. */
void liar_hang_up(struct liar *liar);
/* Nobody listens any more / again. */
void liar_go(struct liar *liar);
void liar_come(struct liar *liar);
/* One round for every liar without a thread. True if something was done. */
bool liar_pump(void);
/* Has the liar served by a thread of its own, for callers that block. */
void liar_begin_thread(struct liar *liar);
void liar_end_thread(struct liar *liar);

/* Any bytes with any fds; what the socket does not take is an error of the test, a hangup is not. */
void liar_send(int sock, const void *bytes, size_t len, const int *fds, unsigned int nr_fds);
/* A message of that shape, whatever it says. */
void liar_say(int sock, uint32_t request, uint32_t flags, const void *payload, uint32_t size,
	      const int *fds, unsigned int nr_fds);
void liar_reply(struct liar *liar, const struct vhu_msg *msg, const void *payload, uint32_t size,
		const int *fds, unsigned int nr_fds);
void liar_reply_u64(struct liar *liar, const struct vhu_msg *msg, uint64_t value);
/* 1: a message from the channel; 0: none within ms; -ECONNRESET: the other end is closed. */
int liar_channel_recv(struct liar *liar, struct vhu_msg *ret_msg, unsigned int ms);
/* True if the message is of a kind that the sender waits to hear of. */
bool liar_is_asked(const struct liar *liar, const struct vhu_msg *msg);

/* Where a user address lies in guest addresses, by what the frontend told; UINT64_MAX: nowhere. */
uint64_t liar_gpa(const struct liar *liar, uint64_t uva);
void liar_call(const struct liar *liar, unsigned int ring);
/* True if the ring was kicked since this was last asked. */
bool liar_was_kicked(const struct liar *liar, unsigned int ring);
/* Marks a page in the log. */
void liar_mark(const struct liar *liar, uint64_t page);

/* Forgets what was heard. */
void liar_forget(struct liar *liar);
/* How many messages with that number came (on that connection; 0: on any). */
unsigned int liar_count(const struct liar *liar, uint32_t request, unsigned int connection);
const struct liar_record *liar_last(const struct liar *liar, uint32_t request);
/* The names of all messages of a connection from record first on, rings by number: "A B-0 C". */
void liar_text(const struct liar *liar, unsigned int connection, unsigned int first, char *text,
	       size_t size);

#endif
