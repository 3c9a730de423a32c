/* SPDX-License-Identifier: MIT */
/*
 * The terminal: raw while the guest has it, and as it was at every end, that of a process that is
 * killed included. Knows nothing of what passes through it.
 */
#ifndef VM_TERMINAL_H
#define VM_TERMINAL_H

struct terminal;

/*
 * Makes the terminal on fd raw; *ret_terminal is NULL if it is none. A process of its own waits for
 * the end of this one, to put it back if nobody else did. Before threads and filters. 0 or -errno.
 */
int terminal_raw(struct terminal **ret_terminal, int fd);
/* Puts it back. NULL is allowed. */
void terminal_restore(struct terminal *terminal);

#endif
