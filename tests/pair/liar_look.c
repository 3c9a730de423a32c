/* SPDX-License-Identifier: MIT */
/* What the liar was told and heard, for tests to look at, and its side of rings; it sends nothing. */
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "liar.h"

uint64_t liar_gpa(const struct liar *liar, uint64_t uva)
{
	for (unsigned int i = 0; i < liar->nr_regions; i++) {
		const struct vhu_region *r = &liar->region[i].wire;

		if (uva >= r->uva && uva - r->uva < r->size)
			return r->gpa + (uva - r->uva);
	}
	return UINT64_MAX;
}

void liar_call(const struct liar *liar, unsigned int ring)
{
	uint64_t one = 1;

	assert_true(liar->ring[ring].call_fd >= 0);
	assert_int_equal(write(liar->ring[ring].call_fd, &one, sizeof(one)), sizeof(one));
}

bool liar_was_kicked(const struct liar *liar, unsigned int ring)
{
	struct pollfd p = { .fd = liar->ring[ring].kick_fd, .events = POLLIN };
	uint64_t count;

	assert_true(p.fd >= 0);
	return poll(&p, 1, 0) > 0 && read(p.fd, &count, sizeof(count)) == sizeof(count);
}

void liar_mark(const struct liar *liar, uint64_t page)
{
	uint8_t *log;

	assert_true(liar->log_fd >= 0 && page / 8 < liar->log_size);
	log = mmap(NULL, liar->log_size, PROT_READ | PROT_WRITE, MAP_SHARED, liar->log_fd, 0);
	assert_ptr_not_equal(log, MAP_FAILED);
	__atomic_fetch_or(&log[page / 8], (uint8_t)(1 << page % 8), __ATOMIC_RELEASE);
	munmap(log, liar->log_size);
}

void liar_forget(struct liar *liar)
{
	liar->nr_records = 0;
}

unsigned int liar_count(const struct liar *liar, uint32_t request, unsigned int connection)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < liar->nr_records; i++)
		nr += liar->record[i].hdr.request == request &&
		      (!connection || liar->record[i].connection == connection);
	return nr;
}

const struct liar_record *liar_last(const struct liar *liar, uint32_t request)
{
	for (unsigned int i = liar->nr_records; i-- > 0;) {
		if (liar->record[i].hdr.request == request)
			return &liar->record[i];
	}
	fail_msg("request %u never came", request);
	return NULL;
}

void liar_text(const struct liar *liar, unsigned int connection, unsigned int first, char *text,
	       size_t size)
{
	size_t at = 0;

	text[0] = '\0';
	for (unsigned int i = first; i < liar->nr_records; i++) {
		const struct liar_record *r = &liar->record[i];
		const struct vhu_request_row *row =
			vhu_request_row(VHU_CHANNEL_MAIN, r->hdr.request);

		if (r->connection != connection)
			continue;
		assert_non_null(row);
		at += (size_t)snprintf(text + at, size - at, "%s%s", at ? " " : "", row->name);
		assert_true(at < size);
		if (row->flags & VHU_ROW_RING)
			at += (size_t)snprintf(text + at, size - at, "-%u",
					       (unsigned int)(r->u64 & 0xff));
		assert_true(at < size);
	}
}
