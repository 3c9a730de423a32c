/* SPDX-License-Identifier: MIT */
/*
 * The terminal: raw while the guest has it, and as it was at every end, that of a process that is
 * killed included. Knows nothing of what passes through it.
 */
#ifndef VM_TERMINAL_H
#define VM_TERMINAL_H

struct terminal;

/*
 * *ret_terminal is NULL if fd is no terminal. A process of its own waits for the end of this one, to
 * put the terminal back if nobody else did. Before threads and filters. 0 or -errno.
 */
int terminal_new(struct terminal **ret_terminal, int fd);
/* From now on. NULL is allowed; so it is below. */
void terminal_raw(struct terminal *terminal);
/* Puts it back. */
void terminal_free(struct terminal *terminal);

#endif
