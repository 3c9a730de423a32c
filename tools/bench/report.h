/* SPDX-License-Identifier: MIT */
/* How a measurement is shown, while it runs and in the end; knows nothing of how it is made. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include <stdio.h>

#include "bench/bench.h"

/* The line that is overwritten each second, on a terminal. */
void report_progress(struct bench *bench);
/* Makes room for other lines below it. */
void report_progress_end(const struct bench *bench);

/* Counts all that the result says; true if what was asked for was reached. */
struct report;
int report_new(struct report **ret_report, struct bench *bench);
void report_free(struct report *report);
bool report_is_good(const struct report *report);
/* 0 or -ENOMEM. */
int report_table(const struct report *report, FILE *to);
void report_json(const struct report *report, FILE *to);
/* Why it is not good, a line for each reason, to the log. */
void report_complain(const struct report *report);

#endif
