/* SPDX-License-Identifier: MIT */
/*
 * The dirty log: one bit for each 4 KiB page that was written. Knows nothing of who wrote.
 */
#include <mem/store.h>

#include <errno.h>
#include <stdlib.h>

int vhu_dirty_new(struct vhu_dirty **ret_dirty, const struct vhu_mem_owner *owner, int fd,
		  uint64_t offset, uint64_t size, struct vhu_reason *why)
{
	struct vhu_dirty *dirty;
	int err;

	if (size > VHU_MAX_MEM_BYTES >> VHU_LOG_PAGE_SHIFT)
		return vhu_refuse(why, -EPROTO,
				  "dirty log: size 0x%llx, more than any memory needs",
				  (unsigned long long)size);
	dirty = calloc(1, sizeof(*dirty));
	if (!dirty)
		return vhu_refuse(why, -ENOMEM, "dirty log: out of memory");
	err = vhu_mapping_new(&dirty->mapping, owner, NULL, fd, offset, size, "dirty log", why);
	if (err) {
		free(dirty);
		return err;
	}
	dirty->bits = dirty->mapping->bytes;
	dirty->size = size;
	*ret_dirty = dirty;
	return 0;
}

void vhu_dirty_free(struct vhu_dirty *dirty)
{
	if (!dirty)
		return;
	vhu_mapping_put(dirty->mapping);
	free(dirty);
}

void vhu_dirty_mark(const struct vhu_dirty *dirty, uint64_t gpa, uint64_t len)
{
	uint64_t page = gpa >> VHU_LOG_PAGE_SHIFT;
	uint64_t last;

	if (!len || vhu_range_wraps(gpa, len))
		return;
	last = (gpa + len - 1) >> VHU_LOG_PAGE_SHIFT;
	for (; page <= last; page++) {
		uint8_t bit = (uint8_t)(1u << (page & 7));

		if (page / 8 >= dirty->size)
			return; /* each write bounded: what lies past the log is not ours to mark */
		/*
		 * Sequentially consistent: the store that dirtied the page is visible before the bit;
		 * pairs with the frontend's atomic fetch-and-clear before it copies the page.
		 */
		__atomic_fetch_or(&dirty->bits[page / 8], bit, __ATOMIC_SEQ_CST);
	}
}
