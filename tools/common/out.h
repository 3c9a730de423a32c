/* SPDX-License-Identifier: MIT */
/*
 * Output for people: tables, numbers with units, text made harmless. It knows nothing of what is
 * shown; JSON is made where the facts are.
 */
#ifndef COMMON_OUT_H
#define COMMON_OUT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * Copies text with every control character, and every byte that is no part of valid UTF-8, as \xNN.
 * What does not fit is cut. Always terminated (size is at least 1); returns buf.
 */
char *out_safe(char *buf, size_t size, const char *text);

enum {
	OUT_WIDTH = 80, /* columns that every terminal has */
	OUT_MAX_COLUMNS = 12,
	OUT_NUMBER_SIZE = 12,
};

/* "99999", "123k", "1.2M": at most 5 characters, powers of 1000, cut and not rounded. Returns buf. */
char *out_number(char *buf, uint64_t number);

/*
 * Prints words up to OUT_WIDTH, beginning at column used, and goes on in lines that begin at column
 * indent; then the line end. The text has to be safe.
 */
void out_wrapped(FILE *to, unsigned int used, unsigned int indent, const char *text);

/* A column with its title. Text stands left ('l'), numbers right ('r'). */
struct out_column {
	const char *title;
	char align;
};

/*
 * A table. Cells are collected, then printed in columns as wide as their widest cell, two spaces
 * apart. A last column of text goes on in the next line, at words, where it would pass OUT_WIDTH.
 */
struct out_table;
/* columns has to live as long as the table. NULL: no memory. */
struct out_table *out_table_new(const struct out_column *columns, unsigned int nr_columns);
void out_table_free(struct out_table *table);
/* The next cell, row by row. Made safe as out_safe() does. */
void out_cell(struct out_table *table, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints it. -ENOMEM if there was not enough memory for all cells. */
int out_table_print(struct out_table *table, FILE *to);

#endif
