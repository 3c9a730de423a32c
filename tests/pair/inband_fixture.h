/* SPDX-License-Identifier: MIT */
/*
 * A pair whose frontend knows kicks and calls as messages alone. All is said with NEED_REPLY; ring 0
 * receives, ring 1 transmits.
 */
#ifndef TESTS_PAIR_INBAND_FIXTURE_H
#define TESTS_PAIR_INBAND_FIXTURE_H

#include "backend_fixture.h"

#define INBAND VHU_MASK(VHU_P_INBAND_NOTIFICATIONS_BIT)

enum {
	RX = 0,
	TX = 1,
};

extern const struct fixture_options inband_sink;

void inband_set_channel(struct pair *p, int *ret_other);
void inband_set_ring(struct pair *p, unsigned int ring);
void inband_agree(struct pair *p);
struct pair *inband_agreed(void **state, const struct fixture_options *options);
void inband_prepare(struct pair *p);
struct pair *inband_prepared(void **state, const struct fixture_options *options);
void inband_kick(struct pair *p, unsigned int ring);
void inband_put_frames(struct pair *p, unsigned int nr);
void inband_send_frames(struct pair *p, unsigned int nr);
/* A start makes a call of its own: takes what came, and answers. The channel has to be there. */
void inband_hear_start(struct pair *p);
struct pair *inband_running(void **state, const struct fixture_options *options);
void inband_is_told(struct pair *p, uint32_t request, unsigned int ring);
void inband_is_silent(struct pair *p);
void inband_answer(struct pair *p, uint32_t request, uint64_t value);
void inband_goes_on(struct pair *p);
void inband_refused(struct pair *p, uint32_t request, const void *payload, uint32_t size,
		    const char *words);

#endif
