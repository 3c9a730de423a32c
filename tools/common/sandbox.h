/* SPDX-License-Identifier: MIT */
/*
 * What a tool gives up before it reads the first byte from a peer: its privileges, and the system
 * calls that it has no use for. It knows nothing of what the tool does with the rest.
 */
#ifndef COMMON_SANDBOX_H
#define COMMON_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SANDBOX_TEXT 160

/* One system call that is needed, and why; the reason is for the reader of the list. */
struct sandbox_call {
	int nr; /* SCMP_SYS(name) */
	const char *why;
	/* If has_value: allowed only if argument arg is this value, in the bits of mask. */
	bool has_value;
	unsigned int arg;
	uint64_t mask, value;
};

/* Raises the limit of open files to what is allowed: before many are opened. */
void sandbox_raise_files(void);

/* Becomes another user with the groups of that user. 0, or -errno with a sentence in text. */
int sandbox_become(const char *user, char text[SANDBOX_TEXT]);

/*
 * Gives up all capabilities and the way back to any, and, if with_filter, kills the process at any
 * system call that is neither in the common list nor among the tool's own calls. Threads that are
 * started later inherit both; there must be none yet. 0, or -errno with a sentence in text.
 */
int sandbox_enter(const struct sandbox_call *calls, size_t nr_calls, bool with_filter,
		  char text[SANDBOX_TEXT]);

/* For a process that does nothing else: gives up all capabilities but CAP_NET_ADMIN. 0 or -errno. */
int sandbox_keep_net_admin(void);

/* Whether this program can filter at all: built with libseccomp, and without a sanitizer. */
bool sandbox_has_filter(void);

#endif
