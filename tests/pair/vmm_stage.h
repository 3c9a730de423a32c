/* SPDX-License-Identifier: MIT */
/*
 * A network card of vmm/ and a backend of the library for it, which can be taken away and put back.
 */
#ifndef TESTS_PAIR_VMM_STAGE_H
#define TESTS_PAIR_VMM_STAGE_H

#include "vmm_guest.h"

enum {
	STAGE_KINDS = 6,
	S_LINK_UP = 1, /* virtio 1.2, 5.1.4 */
	S_ANNOUNCE = 2,
};

struct stage {
	struct nic nic;
	struct fixture fix;
	struct fixture_options fix_options;
	char dir[64], path[96];
	bool server; /* the card is */
	struct tally before;
};

/* The card looks for its backend, which is not there yet. */
struct stage *stage_new(const struct nic_options *options);
/* With its backend, which was greeted. */
struct stage *stage_up(const struct nic_options *options);
/* All of it, and nothing is left. */
void stage_free(struct stage *stage);
void backend_comes(struct stage *stage);
void backend_goes(struct stage *stage);

/* A guest with one kind of ring; i below STAGE_KINDS. */
struct nic_options stage_kind(unsigned int i);

#endif
