/* SPDX-License-Identifier: MIT */
/*
 * A backend of the library inside the test's own process, and what a program around it does.
 *
 * Its control part is kept going by fixture_pump(); its rings are worked on either right there
 * (no reader is registered then) or by a thread of its own.
 */
#ifndef TESTS_PAIR_BACKEND_FIXTURE_H
#define TESTS_PAIR_BACKEND_FIXTURE_H

#include <pthread.h>
#include <vhu/backend.h>
#include <vhu/net.h>

#include "driver.h"

#define FIXTURE_NET_FEATURES                                                                       \
	(VHU_BACKEND_RING_FEATURES | VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT) |                           \
	 VHU_MASK(VHU_NET_F_CSUM_BIT) | VHU_MASK(VHU_NET_F_GUEST_CSUM_BIT) |                       \
	 VHU_MASK(VHU_NET_F_HOST_TSO4_BIT) | VHU_MASK(VHU_NET_F_GUEST_TSO4_BIT) |                  \
	 VHU_MASK(VHU_NET_F_MQ_BIT) | VHU_MASK(VHU_NET_F_MTU_BIT))

enum fixture_mode {
	FIXTURE_ECHO, /* frames of ring 2n + 1 go to ring 2n */
	FIXTURE_SINK, /* frames are looked at and given back */
	FIXTURE_IDLE, /* rings are left alone */
};

struct fixture_options {
	unsigned int nr_rings;	    /* 0: 2 */
	uint64_t features;	    /* 0: FIXTURE_NET_FEATURES */
	uint64_t protocol_features; /* 0: VHU_BACKEND_PROTOCOL_FEATURES */
	enum fixture_mode mode;
	bool threaded;		   /* rings are worked on by a thread */
	bool no_listen;		   /* the test says itself where frontends come from */
	struct vhu_domain *domain; /* NULL: one of its own */
};

struct fixture_ring {
	int kick_fd;
	bool running;		       /* between queue_started and queue_stopped */
	bool pending;		       /* there may be work */
	unsigned int started, stopped; /* calls of the two */
};

struct fixture {
	struct fixture_options options;
	struct vhu_domain *domain;
	struct vhu_backend *backend;
	char dir[64];
	char path[96];

	/* What the callbacks told. */
	struct fixture_ring ring[VHU_MAX_RINGS];
	unsigned int connected, closed, complaints, events;
	int closed_err;
	char closed_reason[256];
	char texts[8192]; /* every reason and complaint, one a line */
	bool texts_full;
	uint64_t features;
	uint8_t mac[6];
	unsigned int rarps, mtu, mtu_calls;
	int mtu_answer;
	uint8_t config[VHU_MAX_CONFIG_SIZE];
	vhu_event_fn *on_event;
	void *event_arg;

	/* The data side. */
	struct vhu_net_burst *burst;
	int epoll_fd, wake_fd;
	bool hold; /* leave the rings alone for now */
	uint64_t nr_frames, nr_full, nr_again;
	uint64_t drops[VHU_NET_DROP_END];
	uint8_t last[VHU_NET_FRAME_MAX]; /* the last frame in SINK mode */
	size_t last_len;
	struct vhu_net_hdr last_hdr;
	struct vhu_reader *reader;
	pthread_t thread;
	bool quit;

	struct fixture *next;
};

void fixture_init(struct fixture *fix, const struct fixture_options *options);
void fixture_free(struct fixture *fix);
/* One round for every fixture there is. True if something was done. */
bool fixture_pump(void *unused);
/* Until nothing happens any more, the delayed things included. */
void fixture_settle(void);
/* Connects a driver to the fixture: drv_init() and drv_connect(). */
void fixture_attach(struct fixture *fix, struct drv *drv, const struct drv_options *options);
/* The driver goes, and the backend has noticed. */
void fixture_detach(struct fixture *fix, struct drv *drv);
/* Puts a frame into a receive ring and publishes it. What vhu_net_push() or _commit() said. */
int fixture_push(struct fixture *fix, unsigned int ring, const uint8_t *frame, size_t len,
		 const struct vhu_net_hdr *hdr);
/* Fails the test unless some reason so far contains all of the words (separated by '|'). */
void fixture_check_reason(const struct fixture *fix, const char *words);
void fixture_forget_reasons(struct fixture *fix);
enum vhu_ring_state fixture_state(const struct fixture *fix, unsigned int ring);
uint64_t fixture_frames(const struct fixture *fix);
uint64_t fixture_drops(const struct fixture *fix, enum vhu_net_drop drop);

/* One backend and one driver; for cmocka's setup and teardown. */
struct pair {
	struct fixture fix;
	struct drv drv;
	bool fix_is_up, drv_is_up;
	struct tally before;
};

int pair_setup(void **state);
/* Ends both, and checks that no fd and no mapping is left. */
int pair_teardown(void **state);
/* The backend listens, the driver is connected, nothing has been said. Either may be NULL. */
struct pair *pair_up(void **state, const struct fixture_options *fix_options,
		     const struct drv_options *drv_options);

#define pair_test(name) cmocka_unit_test_setup_teardown(name, pair_setup, pair_teardown)

#endif
