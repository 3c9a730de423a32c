/* SPDX-License-Identifier: MIT */
/* Guest memory of the test driver: memfds under made-up addresses; knows no ring and no message. */
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "driver.h"

enum {
	FIRST_GPA = 0x100000,
	HOLE = 0x200000,
	PAGE = 4096,
	MAX_SHARED = 64,
};

/* User addresses are far apart and nowhere near a mapping of ours: who uses one as a pointer dies. */
static const uint64_t first_uva = UINT64_C(0x00dd00000000);
static const uint64_t step_uva = UINT64_C(0x000100000000);

/* Every mapping of guest memory that there is now, for the wrapped mmap(). */
static struct shared {
	dev_t dev;
	ino_t ino;
	uint8_t *base;
	size_t len;
	off_t offset;	   /* in the file */
	unsigned int refs; /* of a mapping that mmap() handed out; 0: the driver's own */
} shared[MAX_SHARED];
static bool share_mapping;
static unsigned int nr_handed_out;

void *__real_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset);
void *__real_mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t offset);
int __real_munmap(void *addr, size_t len);
void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t offset);
int __wrap_munmap(void *addr, size_t len);

static struct shared *find_shared(const struct stat *st, size_t len, off_t offset)
{
	for (unsigned int i = 0; i < MAX_SHARED; i++) {
		struct shared *s = &shared[i];

		if (s->base && s->dev == st->st_dev && s->ino == st->st_ino &&
		    offset >= s->offset && (size_t)(offset - s->offset) <= s->len &&
		    len <= s->len - (size_t)(offset - s->offset))
			return s;
	}
	return NULL;
}

static struct shared *enter_shared(const struct stat *st, uint8_t *base, size_t len, off_t offset)
{
	unsigned int slot = 0;

	while (slot < MAX_SHARED && shared[slot].base)
		slot++;
	assert_true(slot < MAX_SHARED);
	shared[slot] = (struct shared){ st->st_dev, st->st_ino, base, len, offset, 0 };
	return &shared[slot];
}

/* The mapping that is there of those bytes, or the one that make() has just made. */
static void *share(void *addr, size_t len, int prot, int flags, int fd, off_t offset,
		   void *(*make)(void *addr, size_t len, int prot, int flags, int fd, off_t offset))
{
	struct shared *s;
	struct stat st;
	void *at;

	if (!share_mapping || addr || !(flags & MAP_SHARED) || fd < 0 || fstat(fd, &st) < 0)
		return make(addr, len, prot, flags, fd, offset);
	s = find_shared(&st, len, offset);
	if (s) {
		s->refs += s->refs > 0;
		nr_handed_out++;
		return s->base + (offset - s->offset);
	}
	at = make(addr, len, prot, flags, fd, offset);
	if (at != MAP_FAILED)
		enter_shared(&st, at, len, offset)->refs = 1;
	return at;
}

void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	return share(addr, len, prot, flags, fd, offset, __real_mmap);
}

void *__wrap_mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	return share(addr, len, prot, flags, fd, offset, __real_mmap64);
}

int __wrap_munmap(void *addr, size_t len)
{
	for (unsigned int i = 0; i < MAX_SHARED; i++) {
		struct shared *s = &shared[i];
		uint8_t *base = s->base;

		if (!base || (uint8_t *)addr < base || (uint8_t *)addr >= base + s->len)
			continue;
		if (!s->refs || --s->refs)
			return 0;
		s->base = NULL;
		return __real_munmap(base, s->len);
	}
	return __real_munmap(addr, len);
}

void drv_mem_share_mapping(bool on)
{
	share_mapping = on;
	nr_handed_out = 0;
}

unsigned int drv_mem_shared_count(void)
{
	return nr_handed_out;
}

static void map_region(struct drv_region *region, uint64_t size, uint64_t offset)
{
	size_t len = (size_t)(size + offset);
	struct stat st;

	region->size = size;
	region->offset = offset;
	region->used = 0;
	region->fd = memfd_create("drv", MFD_CLOEXEC);
	assert_true(region->fd >= 0);
	assert_return_code(ftruncate(region->fd, (off_t)len), errno);
	uint8_t *base = __real_mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, region->fd, 0);
	assert_ptr_not_equal(base, MAP_FAILED);
	region->host = base + offset;
	assert_return_code(fstat(region->fd, &st), errno);
	enter_shared(&st, base, len, 0);
}

void drv_mem_init(struct drv_mem *mem, unsigned int nr_regions, uint64_t region_size)
{
	memset(mem, 0, sizeof(*mem));
	for (unsigned int i = 0; i < nr_regions; i++)
		drv_mem_grow(mem, region_size);
}

struct drv_region *drv_mem_grow(struct drv_mem *mem, uint64_t size)
{
	assert_true(mem->nr < DRV_MAX_REGIONS);
	unsigned int i = mem->nr++;
	struct drv_region *region = &mem->region[i];

	/* An offset in the file for every other one: it is easily forgotten. */
	map_region(region, size, i % 2 ? 16 * PAGE : 0);
	region->gpa = FIRST_GPA;
	if (i > 0) {
		const struct drv_region *before = &mem->region[i - 1];

		region->gpa = before->gpa + before->size + (i > 1 ? HOLE : 0);
	}
	region->uva = first_uva + i * step_uva;
	return region;
}

void drv_mem_free(struct drv_mem *mem)
{
	for (unsigned int i = 0; i < mem->nr; i++) {
		struct drv_region *region = &mem->region[i];
		uint8_t *base = region->host - region->offset;

		for (unsigned int slot = 0; slot < MAX_SHARED; slot++) {
			if (shared[slot].base == base)
				shared[slot].base = NULL;
		}
		munmap(base, (size_t)(region->size + region->offset));
		if (region->fd >= 0)
			close(region->fd);
	}
	mem->nr = 0;
}

uint64_t drv_mem_alloc(struct drv_mem *mem, unsigned int region, uint64_t size, uint64_t align)
{
	struct drv_region *in = &mem->region[region];
	uint64_t at = (in->used + align - 1) / align * align;

	assert_true(region < mem->nr);
	assert_true(at <= in->size && size <= in->size - at);
	in->used = at + size;
	return in->gpa + at;
}

static const struct drv_region *region_of(const struct drv_mem *mem, uint64_t gpa)
{
	for (unsigned int i = 0; i < mem->nr; i++) {
		const struct drv_region *region = &mem->region[i];

		if (gpa >= region->gpa && gpa - region->gpa < region->size)
			return region;
	}
	fail_msg("the test itself uses guest address %#llx", (unsigned long long)gpa);
	return NULL;
}

void *drv_mem_ptr(const struct drv_mem *mem, uint64_t gpa)
{
	const struct drv_region *region = region_of(mem, gpa);

	return region->host + (gpa - region->gpa);
}

uint64_t drv_mem_uva(const struct drv_mem *mem, uint64_t gpa)
{
	const struct drv_region *region = region_of(mem, gpa);

	return region->uva + (gpa - region->gpa);
}

/* How much of [gpa, gpa + len) lies in the region of gpa. */
static size_t run(const struct drv_mem *mem, uint64_t gpa, size_t len)
{
	const struct drv_region *region = region_of(mem, gpa);
	uint64_t left = region->size - (gpa - region->gpa);

	return left < len ? (size_t)left : len;
}

void drv_mem_read(const struct drv_mem *mem, uint64_t gpa, void *to, size_t len)
{
	uint8_t *at = to;

	while (len) {
		size_t part = run(mem, gpa, len);

		memcpy(at, drv_mem_ptr(mem, gpa), part);
		at += part;
		gpa += part;
		len -= part;
	}
}

void drv_mem_write(const struct drv_mem *mem, uint64_t gpa, const void *from, size_t len)
{
	const uint8_t *at = from;

	while (len) {
		size_t part = run(mem, gpa, len);

		memcpy(drv_mem_ptr(mem, gpa), at, part);
		at += part;
		gpa += part;
		len -= part;
	}
}

void drv_mem_wire_region(const struct drv_region *region, struct vhu_region *ret_region)
{
	ret_region->gpa = region->gpa;
	ret_region->size = region->size;
	ret_region->uva = region->uva;
	ret_region->mmap_offset = region->offset;
}
