/* SPDX-License-Identifier: MIT */
/*
 * A port that is attacked, beside one that must not notice.
 *
 * Both are backends of one domain in one process. An attack is carried out several times, each time
 * by a fresh frontend: that a next one is served proves that the backend lives, and that the counts
 * do not grow proves that nothing is leaked.
 */
#ifndef TESTS_PAIR_HOSTILE_H
#define TESTS_PAIR_HOSTILE_H

#include "backend_fixture.h"

struct hostile {
	struct vhu_domain *domain;
	struct fixture victim, bystander;
	struct drv drv;	  /* attacks the victim */
	struct drv other; /* lives peacefully on the bystander */
	struct drv_options drv_options;
	bool started; /* the attack begins on a device that runs */
	uint32_t number;
};

int hostile_setup(void **state);
int hostile_teardown(void **state);
/* The device runs at the begin of each attack, in the mode given; else nothing has been said. */
struct hostile *hostile_begin(void **state, bool started, enum fixture_mode mode,
			      const struct drv_options *options);
void hostile_rounds(struct hostile *h, void (*attack)(struct hostile *h));
/* The frontend gives up and another one comes, in the same state as at the begin. */
void hostile_again(struct hostile *h);
/* The other port has lost nothing. */
void hostile_check_bystander(struct hostile *h);

/*
 * Sends with NEED_REPLY: has to be refused by an error ack or by closing. If the connection goes on
 * it has to be in step, and the same without NEED_REPLY has to close it. The reason has all words.
 */
void hostile_refused(struct hostile *h, uint32_t request, const void *payload, uint32_t size,
		     const int *fds, unsigned int nr_fds, const char *words);
/* Such a message closes the connection, with such a reason. A fresh frontend is there afterwards. */
void hostile_closes(struct hostile *h, uint32_t request, uint32_t flags, const void *payload,
		    uint32_t size, const int *fds, unsigned int nr_fds, const char *words);
/* The ring has been marked as broken with such a reason, and a restart from idx brings it back. */
void hostile_ring_is_broken(struct hostile *h, unsigned int ring, const char *words);
/* The ring is set up anew from nothing and works. */
void hostile_ring_works_after_restart(struct hostile *h);
/* A frame sent now arrives whole. */
void hostile_sends(struct hostile *h);

#define hostile_test(name) cmocka_unit_test_setup_teardown(name, hostile_setup, hostile_teardown)

#endif
