/* SPDX-License-Identifier: MIT */
/*
 * A frontend of the library inside the test's own process, and what a program around it does: guest
 * memory, virtio-net rings, callbacks that are counted, frames that are verified.
 *
 * front_pump() keeps every frontend, every liar and every backend fixture going.
 */
#ifndef TESTS_PAIR_FRONTEND_FIXTURE_H
#define TESTS_PAIR_FRONTEND_FIXTURE_H

#include <vhu/frontend.h>
#include <vhu/net_driver.h>

#include "backend_fixture.h"
#include "liar.h"

enum {
	FRONT_MAX_PAIRS = 8,
	FRONT_GPA = 0x100000,
	FRONT_PATIENCE_MS = 40, /* reply_timeout_ms where the backend shall be found silent */
};

/* What virtio-net's driver side of the library can do. */
#define FRONT_FEATURES                                                                             \
	(VHU_MASK(VHU_F_VERSION_1_BIT) | VHU_MASK(VHU_F_INDIRECT_DESC_BIT) |                       \
	 VHU_MASK(VHU_F_EVENT_IDX_BIT) | VHU_MASK(VHU_F_IN_ORDER_BIT) |                            \
	 VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT))

struct front_options {
	unsigned int nr_pairs; /* 0: 1 */
	uint64_t features;     /* 0: FRONT_FEATURES */
	uint64_t features_needed;
	uint64_t protocol_features; /* 0: VHU_FRONTEND_PROTOCOL_FEATURES */
	uint64_t no_protocol_features;
	unsigned int reply_timeout_ms; /* 0: 5000 */
	bool give_up;
	bool guest_rings; /* rings without a driver of the library's, as a VMM has them */
	bool polled;	  /* rings without a call fd */
	bool listen; /* at front->path; else it goes to connect, or to nobody if that is NULL */
	const char *connect;
	unsigned int nr_regions; /* of memory; 0: 2 */
	uint64_t region_size;	 /* 0: 16 MiB */
	uint32_t ring_size;	 /* 0: 256 */
	uint32_t frame_max;	 /* 0: 1518 + 4 */
	uint32_t buffer_size;	 /* of received frames with MRG_RXBUF; 0: 2048 */
	uint32_t pieces;	 /* of transmitted frames; 0: 2 */
	unsigned int window;	 /* of front_echo(): frames on their way; 0: 16 */
	bool share_mapping;	 /* with the backend, for a race detector */
};

/* What a request came to. */
struct front_done {
	unsigned int calls;
	int err;
	uint64_t value;
	uint8_t bytes[VHU_MAX_CONFIG_SIZE];
	size_t size;
	char reason[192];
};

struct front_pair {
	struct vhu_net_tx *tx;
	struct vhu_net_rx *rx;
	uint32_t sent, received; /* frames, by number */
};

struct front {
	struct front_options options;
	struct vhu_memory *memory;
	struct vhu_frontend *fe;
	char dir[64], path[96];
	bool has_rings;
	struct front_pair pair[FRONT_MAX_PAIRS];

	/* What the callbacks told. */
	unsigned int connected, gone, back, needs_reset, config_changed, complaints, events;
	unsigned int ring_errors[2 * FRONT_MAX_PAIRS];
	int gone_err;
	bool is_gone; /* between gone() and back() */
	char texts[8192];

	/* Called by front_echo() after every few frames; may change what it likes. */
	void (*meddle)(struct front *front);
	unsigned int turn;

	struct front *next;
};

/* The frontend, its memory and its rings, the latter not yet described to it. */
void front_init(struct front *front, const struct front_options *options);
void front_free(struct front *front);
/* One round for everything there is. True if something was done. */
bool front_pump(void);
/* Rounds until nothing is done any more. */
void front_settle(void);

/* Makes the drivers by the features that were agreed, and describes all rings. */
void front_make_rings(struct front *front);
void front_drop_rings(struct front *front);
/* Waits for the greeting; makes rings; starts, and waits until the device runs. */
void front_run(struct front *front);
void front_until(struct front *front, enum vhu_device_state state);

/* For vhu_done_fn: arg is a struct front_done. */
void front_note_done(void *arg, int err, const struct vhu_answer *answer);
/* Waits for it to be called, and returns its error. */
int front_wait_done(const struct front_done *done);

/* Fails the test unless some reason so far contains all of the words (separated by '|'). */
void front_check_reason(const struct front *front, const char *words);
void front_forget_reasons(struct front *front);

/*
 * Frame number n has a size of its own; sends what fits of frames up to number end, and takes what
 * came back, each of which has to be the next number. True if something was done.
 */
size_t front_frame_size(const struct front *front, uint32_t number);
bool front_send(struct front *front, unsigned int pair, uint32_t end, unsigned int window);
bool front_receive(struct front *front, unsigned int pair);
/*
 * Sends nr frames on each pair through a backend that echoes, and waits for the last. by_calls:
 * sleeps until it is called; for a backend with a data thread of its own.
 */
void front_echo(struct front *front, unsigned int nr, bool by_calls);

/* One frontend and one liar; for cmocka's setup and teardown. */
struct lab {
	struct front front;
	struct liar liar;
	bool liar_is_up, front_is_up;
	struct tally before;
};

int lab_setup(void **state);
/* Ends both, and checks that no fd and no mapping is left. */
int lab_teardown(void **state);
/* The liar listens and the frontend looks for it (unless it says otherwise). Either may be NULL. */
struct lab *lab_up(void **state, const struct front_options *front_options,
		   const struct liar_options *liar_options);
/* Ends both, as at the test's end, so that the next lab_up() begins anew. */
void lab_down(struct lab *lab);
/* Fails unless the words (names as of liar_text()) came in this order on the last connection. */
void lab_check_order(const struct lab *lab, unsigned int first, const char *words);

#define lab_test(name) cmocka_unit_test_setup_teardown(name, lab_setup, lab_teardown)

#endif
