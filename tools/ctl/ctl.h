/* SPDX-License-Identifier: MIT */
/* The parts of vhu ctl: the connection to a switch, and how what it says is shown to people. */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <stdbool.h>
#include <stdio.h>

#include "config.h"

#if HAVE_JANSSON
#include <jansson.h>

/* The fd of a connection to the switch, or -errno. */
int ctl_connect(const char *path);
/*
 * Sends a request and waits for its reply. NULL: why says what went wrong (80 bytes), be it with
 * the connection or with what came over it.
 */
json_t *ctl_ask(int fd, const json_t *request, const char **ret_why);

/* Prints a reply as tables. before is the reply of seconds ago, to show rates; or NULL. */
int show_ports(const json_t *reply, const json_t *before, double seconds, FILE *to);
int show_counters(const json_t *reply, const json_t *before, double seconds, FILE *to);
int show_workers(const json_t *reply, const json_t *before, double seconds, FILE *to);
int show_fdb(const json_t *reply, const json_t *before, double seconds, FILE *to);
#endif

#endif
