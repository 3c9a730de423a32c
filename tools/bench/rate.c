// SPDX-License-Identifier: MIT
/* A bucket of tokens, and the text of a rate; knows nothing of clocks and of what is sent. */

#include "bench/rate.h"

#include <stdlib.h>
#include <string.h>

/* What may be kept for later: long enough to cover a sleep, too short for a flood. */
#define KEEP_S 0.005
#define NS_PER_S 1e9

bool rate_parse(const char *text, struct rate *ret_rate)
{
	static const struct {
		char letter;
		double factor;
	} units[] = { { 'k', 1e3 }, { 'm', 1e6 }, { 'g', 1e9 } };
	size_t digits = strspn(text, "0123456789."), len;
	double value;
	char *end;

	/* strtod() would take signs, exponents and names of numbers. */
	if (!digits || digits > 15 || text[0] == '.')
		return false;
	value = strtod(text, &end);
	if (end != text + digits)
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		/* capital letters mean the same */
		if ((*end | 0x20) == units[i].letter) {
			value *= units[i].factor;
			end++;
			break;
		}
	}
	len = strlen(end);
	if (len != 3 || (strcmp(end, "pps") && strcmp(end, "bit")))
		return false;
	if (value < 1 || value > 1e15)
		return false;
	ret_rate->per_s = (uint64_t)value;
	ret_rate->is_bits = end[0] == 'b';
	return true;
}

void bucket_fill(struct bucket *bucket, uint64_t now_ns)
{
	double most = (double)bucket->rate.per_s * KEEP_S, gained;

	if (!bucket->rate.per_s)
		return;
	if (most < 1)
		most = 1;
	if (!bucket->filled_ns) {
		bucket->filled_ns = now_ns;
		bucket->tokens = 1;
		return;
	}
	gained = (double)(now_ns - bucket->filled_ns) * (double)bucket->rate.per_s / NS_PER_S;
	bucket->filled_ns = now_ns;
	bucket->tokens += gained;
	if (bucket->tokens > most)
		bucket->tokens = most;
}

uint64_t bucket_wait_ns(const struct bucket *bucket)
{
	double missing;

	if (bucket_may(bucket))
		return 0;
	missing = 1 - bucket->tokens;
	return (uint64_t)(missing * NS_PER_S / (double)bucket->rate.per_s) + 1;
}
