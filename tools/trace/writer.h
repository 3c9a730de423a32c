/* SPDX-License-Identifier: MIT */
/*
 * Lines to a file, a pipe or a terminal without ever waiting for it: who reads slowly loses lines,
 * but the messages go on. It knows nothing of what the lines say.
 */
#ifndef TRACE_WRITER_H
#define TRACE_WRITER_H

#include <stddef.h>

#include "common/loop.h"

struct writer;

/* fd is borrowed. broken is called once when it can take no more. 0 or -errno. */
int writer_new(struct writer **ret_writer, struct loop *loop, int fd,
	       void (*broken)(void *arg, int err), void *arg);
/* Writes what is left, for at most a second. NULL is allowed. */
void writer_free(struct writer *writer);

/* One or more whole lines, written now or soon; lost, whole, if too many wait. */
void writer_put(struct writer *writer, const char *text, size_t len);
/* Lines lost since this was last asked; asked when there is room again. */
unsigned long writer_lost(struct writer *writer);

#endif
