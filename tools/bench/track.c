// SPDX-License-Identifier: MIT
/* Numbers that came, in a window of bits; knows nothing of what they number. */

#include "bench/track.h"

#include <string.h>

void track_begin(struct track *track, uint64_t first)
{
	memset(track, 0, sizeof(*track));
	track->first = first;
	track->next = first;
}

static uint64_t *word_of(struct track *track, uint64_t seq)
{
	return &track->bits[seq / 64 % TRACK_WORDS];
}

/* The window's upper end moves above seq: what its words said of older numbers is forgotten. */
static void advance(struct track *track, uint64_t seq)
{
	uint64_t old = track->next ? (track->next - 1) / 64 : 0, word = seq / 64;

	if (word - old >= TRACK_WORDS) {
		memset(track->bits, 0, sizeof(track->bits));
	} else {
		for (uint64_t i = old + 1; i <= word; i++)
			track->bits[i % TRACK_WORDS] = 0;
	}
	track->next = seq + 1;
}

bool track_add(struct track *track, uint64_t seq)
{
	uint64_t mask = UINT64_C(1) << (seq % 64);

	if (seq >= track->next) {
		advance(track, seq);
	} else if (seq < track->first || track->next - seq > TRACK_WINDOW - 64 ||
		   *word_of(track, seq) & mask) {
		track->duplicates++;
		return false;
	} else {
		track->reordered++;
	}
	*word_of(track, seq) |= mask;
	track->unique++;
	return true;
}
