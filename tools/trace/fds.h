/* SPDX-License-Identifier: MIT */
/* Says in words what a file descriptor is. It knows nothing of messages. */
#ifndef TRACE_FDS_H
#define TRACE_FDS_H

#include <stddef.h>
#include <stdint.h>

#include "trace/record.h"

/* "eventfd 12", "memfd:m0 512 MiB", "unix stream socket". What it names may be hostile text. */
void fds_describe(int fd, char text[TRACE_FD_TEXT]);

/* A size in the largest unit that leaves no rest. Returns buf. */
char *fds_size(char *buf, size_t size, uint64_t bytes);

#endif
