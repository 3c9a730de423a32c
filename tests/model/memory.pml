/* SPDX-License-Identifier: MIT */
/*
 * Memory as two processors share it: what one stores, the other sees later. Knows nothing of rings.
 *
 * Default: total store order (x86). A store waits in its processor's buffer, first in, first out; the
 * processor itself reads from there, the other one does not.
 *
 * WEAK: as Armv8 and others may. Stores of one processor pass each other, unless they go to the same word
 * or the later one is a release. A plain load may have been done early: it finds what was in memory at
 * some moment since the processor's last acquire or full barrier. An acquire load is done in its place.
 *
 * Neither is needed for system calls: they are taken for no barrier at all.
 */
#define DRIVER 0
#define DEVICE 1

#ifndef DEPTH
#define DEPTH 3 /* stores that wait */
#endif

byte mem[WORDS];
byte buf_word[2 * DEPTH];
byte buf_value[2 * DEPTH];
byte buf_len[2];
hidden byte at; /* scratch of d_steps */

#ifdef WEAK
bit buf_release[2 * DEPTH];
byte seen[2 * WORDS]; /* what a plain load finds if it is done early */
#define REFRESH(me, word) seen[(me) * WORDS + (word)] = mem[word]
#define BEFORE(me, word) seen[(me) * WORDS + (word)]
#else
#define BEFORE(me, word) mem[word]
#endif

inline refresh_all(me)
{
#ifdef WEAK
	at = 0;
	do
	:: at < WORDS -> REFRESH(me, at); at++
	:: else -> break
	od;
	at = 0
#else
	skip
#endif
}

inline put(me, word, value, is_release)
{
	d_step {
		buf_len[me] < DEPTH ->
		buf_word[(me) * DEPTH + buf_len[me]] = word;
		buf_value[(me) * DEPTH + buf_len[me]] = value;
#ifdef WEAK
		buf_release[(me) * DEPTH + buf_len[me]] = is_release;
#endif
		buf_len[me]++
	}
}

/* vhu_write_once(), vhu_store_release() */
inline store(me, word, value) { put(me, word, value, 0) }
inline store_release(me, word, value) { put(me, word, value, 1) }

inline find(me, word, ret)
{
	ret = BEFORE(me, word);
	at = 0;
	do
	:: at < buf_len[me] ->
		if
		:: buf_word[(me) * DEPTH + at] == word -> ret = buf_value[(me) * DEPTH + at]
		:: else
		fi;
		at++
	:: else -> break
	od;
	at = 0
}

/* vhu_read_once() */
inline load(me, word, ret)
{
#ifdef WEAK
	atomic {
		if
		:: skip
		:: BEFORE(me, word) != mem[word] -> REFRESH(me, word)
		fi;
		d_step { find(me, word, ret) }
	}
#else
	d_step { find(me, word, ret) }
#endif
}

/* vhu_load_acquire() */
inline load_acquire(me, word, ret)
{
	d_step { refresh_all(me); find(me, word, ret) }
}

/* vhu_full_barrier() */
inline full_barrier(me)
{
	d_step { buf_len[me] == 0 -> refresh_all(me) }
}

/* The nth store that waits reaches memory. */
inline drain(me, nth)
{
	mem[buf_word[(me) * DEPTH + nth]] = buf_value[(me) * DEPTH + nth];
#ifdef WEAK
	REFRESH(me, buf_word[(me) * DEPTH + nth]);
#endif
	at = nth;
	do
	:: at + 1 < buf_len[me] ->
		buf_word[(me) * DEPTH + at] = buf_word[(me) * DEPTH + at + 1];
		buf_value[(me) * DEPTH + at] = buf_value[(me) * DEPTH + at + 1];
#ifdef WEAK
		buf_release[(me) * DEPTH + at] = buf_release[(me) * DEPTH + at + 1];
#endif
		at++
	:: else -> break
	od;
	buf_len[me]--;
	buf_word[(me) * DEPTH + at] = 0;
	buf_value[(me) * DEPTH + at] = 0;
#ifdef WEAK
	buf_release[(me) * DEPTH + at] = 0;
#endif
	at = 0
}

#ifdef WEAK
#define IS_OTHER(me, i, k) (buf_word[(me) * DEPTH + (i)] != buf_word[(me) * DEPTH + (k)])
#define MAY_PASS_1(me) (buf_len[me] > 1 && !buf_release[(me) * DEPTH + 1] && IS_OTHER(me, 0, 1))
#define MAY_PASS_2(me)                                                                             \
	(buf_len[me] > 2 && !buf_release[(me) * DEPTH + 2] && IS_OTHER(me, 0, 2) && IS_OTHER(me, 1, 2))
#endif

active proctype memory()
{
end:	do
	:: d_step { buf_len[DRIVER] > 0 -> drain(DRIVER, 0) }
	:: d_step { buf_len[DEVICE] > 0 -> drain(DEVICE, 0) }
#ifdef WEAK
	:: d_step { MAY_PASS_1(DRIVER) -> drain(DRIVER, 1) }
	:: d_step { MAY_PASS_2(DRIVER) -> drain(DRIVER, 2) }
	:: d_step { MAY_PASS_1(DEVICE) -> drain(DEVICE, 1) }
	:: d_step { MAY_PASS_2(DEVICE) -> drain(DEVICE, 2) }
#endif
	od
}
