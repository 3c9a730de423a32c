/* SPDX-License-Identifier: MIT */
/*
 * A frontend that is lied to, and beside it, in the same process, one that must not notice. It knows
 * no particular lie.
 */
#ifndef TESTS_PAIR_SCENE_H
#define TESTS_PAIR_SCENE_H

#include "frontend_fixture.h"

struct scene {
	struct lab lab;
	struct front bystander;
	struct fixture backend; /* of the bystander */
	struct tally before;
};

int scene_setup(void **state);
/* The bystander has lost nothing, and nothing is left. */
int scene_teardown(void **state);
/* lab_up() with a short deadline for replies. Either may be NULL. */
struct scene *scene_begin(void **state, const struct front_options *front_options,
			  const struct liar_options *liar_options);
/* The other device goes on. */
void scene_check_bystander(struct scene *s);

#define scene_test(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)

#endif
