/* SPDX-License-Identifier: MIT */
/*
 * Lines for the operator on standard error. Any thread. It knows nothing of what they are about.
 *
 * A line belongs to a source (a port, say). A source that speaks too often is silenced for a while
 * and its lines are counted, so that a hostile peer cannot fill a disk. A line never blocks: when
 * nobody reads standard error it is lost.
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stdbool.h>
#include <syslog.h> /* LOG_ERR and so on */

/*
 * First of all: what stands before each line ("vhu switch"), the least urgent level that is shown,
 * and whether the time stands before it. Under systemd the level goes with the line instead.
 */
void log_init(const char *program, int max_level, bool with_time);

/*
 * One line: "program: source: text", or "program: text" without a source (NULL), which is never
 * silenced. Control characters in it are shown as \xNN.
 */
void log_line(int level, const char *source, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The same for a text that begins with its source: "source: text". */
void log_text(int level, const char *text);

#endif
