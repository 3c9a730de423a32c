// SPDX-License-Identifier: MIT
/* Tables and numbers for people, and text made harmless; knows nothing of what is shown. */

#include "common/out.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Length of the valid UTF-8 character that begins here, or 0. */
static size_t utf8_length(const unsigned char *s)
{
	size_t len = s[0] < 0x80		 ? 1 :
		     s[0] >= 0xc2 && s[0] < 0xe0 ? 2 :
		     s[0] >= 0xe0 && s[0] < 0xf0 ? 3 :
		     s[0] >= 0xf0 && s[0] < 0xf5 ? 4 :
						   0;

	for (size_t i = 1; i < len; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	/* Overlong forms, surrogates, beyond U+10FFFF. */
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] >= 0x90))
		return 0;
	return len;
}

/* Control characters of ASCII and of Latin-1 (U+0080 to U+009F): terminals obey both. */
static bool is_control(const unsigned char *s, size_t len)
{
	return (len == 1 && (s[0] < 0x20 || s[0] == 0x7f)) ||
	       (len == 2 && s[0] == 0xc2 && s[1] < 0xa0);
}

char *out_safe(char *buf, size_t size, const char *text)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *s = (const unsigned char *)text;
	size_t used = 0;

	while (*s) {
		size_t len = utf8_length(s);

		if (len && !is_control(s, len)) {
			if (used + len >= size)
				break;
			memcpy(buf + used, s, len);
			used += len;
			s += len;
			continue;
		}
		if (used + 4 >= size)
			break;
		buf[used++] = '\\';
		buf[used++] = 'x';
		buf[used++] = digits[*s >> 4];
		buf[used++] = digits[*s & 15];
		s++;
	}
	buf[used] = '\0';
	return buf;
}

char *out_number(char *buf, uint64_t number)
{
	static const char units[] = "kMGTPE";
	unsigned int unit = 0;
	uint64_t div = 1000;

	if (number < 100000) {
		snprintf(buf, OUT_NUMBER_SIZE, "%u", (unsigned int)number);
		return buf;
	}
	while (number / div >= 1000) {
		div *= 1000;
		unit++;
	}
	if (number / div >= 100)
		snprintf(buf, OUT_NUMBER_SIZE, "%u%c", (unsigned int)(number / div), units[unit]);
	else
		snprintf(buf, OUT_NUMBER_SIZE, "%u.%u%c", (unsigned int)(number / div),
			 (unsigned int)(number / (div / 10) % 10), units[unit]);
	return buf;
}

struct out_table {
	const struct out_column *columns;
	unsigned int nr_columns;
	char **cells;
	size_t nr_cells, max_cells;
	bool failed;
};

struct out_table *out_table_new(const struct out_column *columns, unsigned int nr_columns)
{
	struct out_table *table = calloc(1, sizeof(*table));

	if (table) {
		table->columns = columns;
		table->nr_columns = nr_columns < OUT_MAX_COLUMNS ? nr_columns : OUT_MAX_COLUMNS;
	}
	return table;
}

void out_table_free(struct out_table *table)
{
	if (!table)
		return;
	for (size_t i = 0; i < table->nr_cells; i++)
		free(table->cells[i]);
	free(table->cells);
	free(table);
}

void out_cell(struct out_table *table, const char *fmt, ...)
{
	char raw[1024], safe[1024];
	va_list args;

	if (table->nr_cells == table->max_cells) {
		size_t max = table->max_cells ? 2 * table->max_cells : 64;
		char **cells = reallocarray(table->cells, max, sizeof(*cells));

		if (!cells) {
			table->failed = true;
			return;
		}
		table->cells = cells;
		table->max_cells = max;
	}
	va_start(args, fmt);
	vsnprintf(raw, sizeof(raw), fmt, args);
	va_end(args);
	table->cells[table->nr_cells] = strdup(out_safe(safe, sizeof(safe), raw));
	if (table->cells[table->nr_cells])
		table->nr_cells++;
	else
		table->failed = true;
}

/* Characters that a terminal shows, wide ones counted as one. */
static unsigned int width_of(const char *text)
{
	unsigned int width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

void out_wrapped(FILE *to, unsigned int used, unsigned int indent, const char *text)
{
	bool is_first = true; /* in its line */

	while (*text) {
		size_t len = strcspn(text, " ");
		unsigned int width = 0;

		for (size_t i = 0; i < len; i++)
			width += ((unsigned char)text[i] & 0xc0) != 0x80;
		if (!is_first && used + 1 + width > OUT_WIDTH) {
			fprintf(to, "\n%*s", (int)indent, "");
			used = indent;
			is_first = true;
		}
		if (!is_first) {
			fputc(' ', to);
			used++;
		}
		fwrite(text, 1, len, to);
		used += width;
		is_first = false;
		text += len;
		text += strspn(text, " ");
	}
	fputc('\n', to);
}

static void print_row(const struct out_table *table, const unsigned int *widths, char *const *cells,
		      FILE *to)
{
	unsigned int used = 0, last = table->nr_columns - 1;

	for (unsigned int i = 0; i < last; i++) {
		const char *text = cells ? cells[i] : table->columns[i].title;
		/* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): a table has columns */
		int pad = (int)(widths[i] - width_of(text));

		if (table->columns[i].align == 'r')
			fprintf(to, "%*s%s  ", pad, "", text);
		else
			fprintf(to, "%s%*s  ", text, pad, "");
		used += widths[i] + 2;
	}
	if (table->columns[last].align == 'r') {
		const char *text = cells ? cells[last] : table->columns[last].title;

		fprintf(to, "%*s%s\n", (int)(widths[last] - width_of(text)), "", text);
	} else {
		out_wrapped(to, used, used, cells ? cells[last] : table->columns[last].title);
	}
}

int out_table_print(struct out_table *table, FILE *to)
{
	unsigned int widths[OUT_MAX_COLUMNS];

	if (table->failed)
		return -ENOMEM;
	for (unsigned int i = 0; i < table->nr_columns; i++)
		widths[i] = width_of(table->columns[i].title);
	for (size_t i = 0; i < table->nr_cells; i++) {
		unsigned int width = width_of(table->cells[i]);

		/* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): a table has columns */
		if (width > widths[i % table->nr_columns])
			widths[i % table->nr_columns] = width;
	}
	print_row(table, widths, NULL, to);
	for (size_t i = 0; i + table->nr_columns <= table->nr_cells; i += table->nr_columns)
		print_row(table, widths, table->cells + i, to);
	return 0;
}
