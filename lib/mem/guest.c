/* SPDX-License-Identifier: MIT */
/*
 * Guest memory on the frontend's side: shared files made, sealed, mapped and described. Knows
 * nothing of messages, nor of the tables that a backend builds from them.
 */
#include <vhu/memory.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/bits.h>
#include <base/fd.h>

enum {
	PAGE = 4096,
	HUGE_PAGE = 2 << 20
};

struct region {
	struct vhu_memory_region pub;
	uint64_t used; /* bytes handed out, from the start */
};

struct vhu_memory {
	unsigned int nr;
	struct region region[VHU_MAX_MEM_SLOTS]; /* by gpa, ascending */
};

int vhu_memory_new(struct vhu_memory **ret_memory)
{
	struct vhu_memory *memory = calloc(1, sizeof(*memory));

	if (!memory)
		return -ENOMEM;
	*ret_memory = memory;
	return 0;
}

static void release(struct region *r)
{
	munmap(r->pub.host, r->pub.size);
	vhu_fd_close(&r->pub.fd);
}

void vhu_memory_free(struct vhu_memory *memory)
{
	if (!memory)
		return;
	for (unsigned int i = 0; i < memory->nr; i++)
		release(&memory->region[i]);
	free(memory);
}

int vhu_memory_seal(int fd)
{
	/* and no more seals: one against writing would shut out the next backend */
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals >= 0 && (seals & (F_SEAL_SHRINK | F_SEAL_SEAL)) == (F_SEAL_SHRINK | F_SEAL_SEAL))
		return 0;
	return fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0 ? -errno : 0;
}

/* The place of a new region in the order, or why there is none. */
static int find_place(const struct vhu_memory *memory, uint64_t gpa, uint64_t size,
		      unsigned int *ret_at)
{
	unsigned int at = 0;

	if (!size || gpa % PAGE || size % PAGE || vhu_range_wraps(gpa, size))
		return -EINVAL;
	if (memory->nr == VHU_ARRAY_SIZE(memory->region))
		return -EINVAL;
	for (unsigned int i = 0; i < memory->nr; i++) {
		const struct vhu_memory_region *r = &memory->region[i].pub;

		if (vhu_ranges_overlap(gpa, size, r->gpa, r->size))
			return -EEXIST;
		if (r->gpa < gpa)
			at = i + 1;
	}
	*ret_at = at;
	return 0;
}

/* Maps the file and enters it into the table; the fd is ours from here on, also on an error. */
static int enter(struct vhu_memory *memory, unsigned int at, struct vhu_memory_region pub)
{
	struct region r = { .pub = pub };
	int err;

	r.pub.host =
		mmap(NULL, pub.size, PROT_READ | PROT_WRITE, MAP_SHARED, pub.fd, (off_t)pub.offset);
	if (r.pub.host == MAP_FAILED) {
		err = -errno;
		vhu_fd_close(&pub.fd);
		return err;
	}
	for (unsigned int i = memory->nr; i > at; i--)
		memory->region[i] = memory->region[i - 1];
	memory->region[at] = r;
	memory->nr++;
	return 0;
}

/* Nor may one backend put a seal on it that would keep the next from writing. */
static int seal_for_good(int fd)
{
	int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

	return fcntl(fd, F_ADD_SEALS, seals) < 0 ? -errno : 0;
}

int vhu_memory_add(struct vhu_memory *memory, uint64_t gpa, uint64_t size, unsigned int flags)
{
	bool huge = flags & VHU_MEMORY_HUGE;
	struct vhu_memory_region pub = { .gpa = gpa, .size = size };
	unsigned int at;
	int err = find_place(memory, gpa, size, &at);

	if (err)
		return err;
	if ((flags & ~(unsigned int)VHU_MEMORY_HUGE) || (huge && size % HUGE_PAGE))
		return -EINVAL;
	pub.fd = memfd_create("vhu-memory", MFD_CLOEXEC | MFD_ALLOW_SEALING |
						    (huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0));
	if (pub.fd < 0)
		return -errno;
	err = ftruncate(pub.fd, (off_t)size) < 0 ? -errno : seal_for_good(pub.fd);
	if (err) {
		vhu_fd_close(&pub.fd);
		return err;
	}
	return enter(memory, at, pub);
}

int vhu_memory_add_fd(struct vhu_memory *memory, uint64_t gpa, uint64_t size, int fd,
		      uint64_t offset)
{
	struct vhu_memory_region pub = { .gpa = gpa, .size = size, .offset = offset };
	struct stat st;
	unsigned int at;
	int err = find_place(memory, gpa, size, &at);

	if (err)
		return err;
	if (offset % PAGE) /* what is aligned for the guest has to be so here as well */
		return -EINVAL;
	if (fstat(fd, &st) < 0)
		return -errno;
	/* beyond the end of the file there would be nothing but faults */
	if (st.st_size < 0 || !vhu_range_within(offset, size, (uint64_t)st.st_size))
		return -EINVAL;
	pub.fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (pub.fd < 0)
		return -errno;
	return enter(memory, at, pub);
}

int vhu_memory_remove(struct vhu_memory *memory, uint64_t gpa)
{
	unsigned int at = 0;

	while (at < memory->nr && memory->region[at].pub.gpa != gpa)
		at++;
	if (at == memory->nr)
		return -ENOENT;
	release(&memory->region[at]);
	memory->nr--;
	for (unsigned int i = at; i < memory->nr; i++)
		memory->region[i] = memory->region[i + 1];
	return 0;
}

void *vhu_memory_ptr(const struct vhu_memory *memory, uint64_t gpa, uint64_t len)
{
	for (unsigned int i = 0; i < memory->nr; i++) {
		const struct vhu_memory_region *r = &memory->region[i].pub;

		if (gpa >= r->gpa && vhu_range_within(gpa - r->gpa, len, r->size))
			return (uint8_t *)r->host + (gpa - r->gpa);
	}
	return NULL;
}

void *vhu_memory_alloc(struct vhu_memory *memory, uint64_t len, uint64_t align, uint64_t *ret_gpa)
{
	if (!len || !vhu_is_power_of_two(align))
		return NULL;
	for (unsigned int i = 0; i < memory->nr; i++) {
		struct region *r = &memory->region[i];
		/* both addresses are aligned: what holds for a page holds for either */
		uint64_t gap = -(r->pub.gpa + r->used) & (align - 1);

		if (gap > r->pub.size - r->used || len > r->pub.size - r->used - gap)
			continue;
		*ret_gpa = r->pub.gpa + r->used + gap;
		r->used += gap + len;
		return (uint8_t *)r->pub.host + (*ret_gpa - r->pub.gpa);
	}
	return NULL;
}

void vhu_memory_alloc_reset(struct vhu_memory *memory)
{
	for (unsigned int i = 0; i < memory->nr; i++)
		memory->region[i].used = 0;
}

unsigned int vhu_memory_count(const struct vhu_memory *memory)
{
	return memory->nr;
}

int vhu_memory_region(const struct vhu_memory *memory, unsigned int i,
		      struct vhu_memory_region *ret_region)
{
	if (i >= memory->nr)
		return -ENOENT;
	*ret_region = memory->region[i].pub;
	return 0;
}
