/* SPDX-License-Identifier: MIT */
/*
 * Builds tables of guest memory out of regions and fds that nobody vouches for. Control thread.
 */
#include <mem/table.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

typedef unsigned long long ull; /* for printing */

/* What the file is, before it is mapped: one that can neither hang nor lie about its size. */
static int judge_file(int fd, uint64_t offset, uint64_t size, const char *what, struct stat *ret_st,
		      uint64_t *ret_page, struct vhu_reason *why)
{
	struct statfs fs;
	struct stat st = { 0 };
	int flags = fcntl(fd, F_GETFL);

	/*
	 * Only tmpfs and hugetlbfs files have seals, and asking for them asks nobody else: a file
	 * system in user space could keep fstat waiting.
	 */
	if (fcntl(fd, F_GET_SEALS) < 0)
		return vhu_refuse(
			why, -EPROTO,
			"%s: fd is no file on tmpfs (memfd) or hugetlbfs, only these are taken",
			what);
	if (flags < 0 || fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
		return vhu_refuse(why, -EPROTO, "%s: fd cannot be looked at: %s", what,
				  strerror(errno));
	if (!S_ISREG(st.st_mode))
		return vhu_refuse(why, -EPROTO, "%s: fd is no file (mode 0%o)", what, st.st_mode);
	if (fs.f_type != TMPFS_MAGIC && fs.f_type != HUGETLBFS_MAGIC)
		return vhu_refuse(why, -EPROTO,
				  "%s: fd lies on file system 0x%lx, only tmpfs (memfd) and "
				  "hugetlbfs are taken",
				  what, (unsigned long)fs.f_type);
	if ((flags & O_ACCMODE) != O_RDWR)
		return vhu_refuse(why, -EPROTO, "%s: fd is not open for reading and writing", what);
	if (st.st_size < 0 || !vhu_range_within(offset, size, (uint64_t)st.st_size))
		return vhu_refuse(why, -EPROTO,
				  "%s: offset 0x%llx + size 0x%llx lie beyond the file's 0x%llx",
				  what, (ull)offset, (ull)size, (ull)st.st_size);
	*ret_page = fs.f_type == HUGETLBFS_MAGIC ? (uint64_t)fs.f_bsize :
						   (uint64_t)sysconf(_SC_PAGESIZE);
	if (!vhu_is_power_of_two(*ret_page))
		return vhu_refuse(why, -EPROTO, "%s: page size 0x%llx of the file", what,
				  (ull)*ret_page);
	*ret_st = st;
	return 0;
}

static struct vhu_mapping *find_kept(const struct vhu_mem *old, const struct stat *st,
				     uint64_t offset, uint64_t size)
{
	for (unsigned int i = 0; old && i < old->nr; i++) {
		struct vhu_mapping *m = old->region[i].mapping;

		if (m->dev == st->st_dev && m->ino == st->st_ino && m->offset == offset &&
		    m->size == size)
			return m;
	}
	return NULL;
}

int vhu_mapping_new(struct vhu_mapping **ret_mapping, const struct vhu_mem_owner *owner,
		    const struct vhu_mem *old, int fd, uint64_t offset, uint64_t size,
		    const char *what, struct vhu_reason *why)
{
	struct vhu_mapping *m;
	uint64_t page = 0, start, end;
	struct stat st = { 0 };
	int err;

	if (size == 0 || size > VHU_MAX_MEM_BYTES || offset > INT64_MAX)
		return vhu_refuse(why, -EPROTO,
				  "%s: offset 0x%llx, size 0x%llx of a file cannot be", what,
				  (ull)offset, (ull)size);
	err = judge_file(fd, offset, size, what, &st, &page, why);
	if (err)
		return err;
	m = find_kept(old, &st, offset, size);
	if (m) {
		m->refs++;
		*ret_mapping = m;
		return 0;
	}
	start = offset & ~(page - 1);
	end = (offset + size + page - 1) & ~(page - 1);
	m = calloc(1, sizeof(*m));
	if (!m)
		return vhu_refuse(why, -ENOMEM, "%s: out of memory", what);
	m->map_len = (size_t)(end - start);
	m->map = mmap(NULL, m->map_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
		      (off_t)start);
	if (m->map == MAP_FAILED) {
		err = vhu_refuse(why, -EPROTO, "%s: 0x%llx bytes cannot be mapped: %s", what,
				 (ull)m->map_len, strerror(errno));
		goto fail_free;
	}
	/* a guest's memory has no business in our core dump */
	madvise(m->map, m->map_len, MADV_DONTDUMP);
	err = vhu_fault_guard(owner->domain, m->map, m->map_len, owner->poisoned, &m->slot);
	if (err) {
		vhu_refuse(why, err, "%s: out of memory", what);
		goto fail_unmap;
	}
	m->refs = 1;
	m->dev = st.st_dev;
	m->ino = st.st_ino;
	m->offset = offset;
	m->size = size;
	m->bytes = (uint8_t *)m->map + (offset - start);
	*ret_mapping = m;
	return 0;
fail_unmap:
	munmap(m->map, m->map_len);
fail_free:
	free(m);
	return err;
}

void vhu_mapping_put(struct vhu_mapping *mapping)
{
	if (!mapping || --mapping->refs)
		return;
	vhu_fault_unguard(mapping->slot);
	munmap(mapping->map, mapping->map_len);
	free(mapping);
}

static int judge_region(const struct vhu_region *r, struct vhu_reason *why)
{
	if (r->size == 0)
		return vhu_refuse(why, -EPROTO, "region at gpa 0x%llx: size 0", (ull)r->gpa);
	if (vhu_range_wraps(r->gpa, r->size) || vhu_range_wraps(r->uva, r->size) ||
	    vhu_range_wraps(r->mmap_offset, r->size))
		return vhu_refuse(why, -EPROTO,
				  "region gpa 0x%llx uva 0x%llx offset 0x%llx: size 0x%llx wraps",
				  (ull)r->gpa, (ull)r->uva, (ull)r->mmap_offset, (ull)r->size);
	return 0;
}

static struct vhu_mem *new_table(unsigned int nr)
{
	return calloc(1, sizeof(struct vhu_mem) + nr * sizeof(struct vhu_mem_region));
}

/* Puts a region where it belongs by gpa; refuses an overlap with one that is there. */
static int insert(struct vhu_mem *mem, const struct vhu_mem_region *r, struct vhu_reason *why)
{
	unsigned int at = mem->nr;
	uint64_t bytes = 0;

	for (unsigned int i = 0; i < mem->nr; i++) {
		const struct vhu_mem_region *o = &mem->region[i];

		if (vhu_ranges_overlap(r->gpa, r->size, o->gpa, o->size))
			return vhu_refuse(why, -EPROTO,
					  "region gpa 0x%llx size 0x%llx overlaps gpa 0x%llx size "
					  "0x%llx",
					  (ull)r->gpa, (ull)r->size, (ull)o->gpa, (ull)o->size);
		if (vhu_ranges_overlap(r->uva, r->size, o->uva, o->size))
			return vhu_refuse(why, -EPROTO,
					  "region uva 0x%llx size 0x%llx overlaps uva 0x%llx size "
					  "0x%llx",
					  (ull)r->uva, (ull)r->size, (ull)o->uva, (ull)o->size);
	}
	for (unsigned int i = 0; i < mem->nr; i++)
		bytes += mem->region[i].size;
	if (r->size > VHU_MAX_MEM_BYTES || bytes > VHU_MAX_MEM_BYTES - r->size)
		return vhu_refuse(
			why, -EPROTO,
			"region gpa 0x%llx size 0x%llx: a device may have 0x%llx bytes in all",
			(ull)r->gpa, (ull)r->size, (ull)VHU_MAX_MEM_BYTES);
	while (at > 0 && mem->region[at - 1].gpa > r->gpa) {
		mem->region[at] = mem->region[at - 1];
		at--;
	}
	mem->region[at] = *r;
	mem->nr++;
	return 0;
}

/* Maps one region and puts it into the table, which has room. */
static int add_region(struct vhu_mem *mem, const struct vhu_mem_owner *owner,
		      const struct vhu_mem *old, const struct vhu_region *region, int fd,
		      struct vhu_reason *why)
{
	struct vhu_mem_region r = { .gpa = region->gpa,
				    .size = region->size,
				    .uva = region->uva,
				    .adds = 1,
				    .mmap_offset = region->mmap_offset };
	int err;

	err = judge_region(region, why);
	if (err)
		return err;
	err = vhu_mapping_new(&r.mapping, owner, old, fd, r.mmap_offset, r.size, "region", why);
	if (err)
		return err;
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a refusal is never 0 */
	r.host = r.mapping->bytes;
	err = insert(mem, &r, why);
	if (err)
		vhu_mapping_put(r.mapping);
	return err;
}

int vhu_mem_build(struct vhu_mem **ret_mem, const struct vhu_mem_owner *owner,
		  const struct vhu_mem *old, const struct vhu_region *regions, const int *fds,
		  unsigned int nr, struct vhu_reason *why)
{
	struct vhu_mem *mem = new_table(nr);
	int err;

	if (!mem)
		return vhu_refuse(why, -ENOMEM, "memory table: out of memory");
	for (unsigned int i = 0; i < nr; i++) {
		err = add_region(mem, owner, old, &regions[i], fds[i], why);
		if (err) {
			vhu_mem_free(mem);
			return err;
		}
	}
	*ret_mem = mem;
	return 0;
}

/* A copy of old without region number skip (none if it is too large), with room for extra more. */
static struct vhu_mem *copy_table(const struct vhu_mem *old, unsigned int skip, unsigned int extra)
{
	unsigned int nr = old ? old->nr : 0;
	struct vhu_mem *mem = new_table(nr + extra);

	for (unsigned int i = 0; mem && i < nr; i++) {
		if (i == skip)
			continue;
		mem->region[mem->nr] = old->region[i];
		mem->region[mem->nr++].mapping->refs++;
	}
	return mem;
}

/* The same table, but that a region was added once more, or once less. */
static int recount(struct vhu_mem **ret_mem, const struct vhu_mem *old, unsigned int i, int by,
		   struct vhu_reason *why)
{
	struct vhu_mem *mem = copy_table(old, UINT32_MAX, 0);

	if (!mem)
		return vhu_refuse(why, -ENOMEM, "memory table: out of memory");
	mem->region[i].adds += (unsigned int)by;
	*ret_mem = mem;
	return 0;
}

/* The very same region of the very same file: its number, or -1. */
static int find_same(const struct vhu_mem *mem, const struct vhu_region *region, int fd)
{
	struct stat st;

	/* see judge_file() for why seals come first */
	if (!mem || fcntl(fd, F_GET_SEALS) < 0 || fstat(fd, &st) < 0)
		return -1;
	for (unsigned int i = 0; i < mem->nr; i++) {
		const struct vhu_mem_region *r = &mem->region[i];

		if (r->gpa == region->gpa && r->size == region->size && r->uva == region->uva &&
		    r->mmap_offset == region->mmap_offset && r->mapping->dev == st.st_dev &&
		    r->mapping->ino == st.st_ino)
			return (int)i;
	}
	return -1;
}

int vhu_mem_add(struct vhu_mem **ret_mem, const struct vhu_mem_owner *owner,
		const struct vhu_mem *old, const struct vhu_region *region, int fd,
		struct vhu_reason *why)
{
	struct vhu_mem *mem;
	int err, same = find_same(old, region, fd);

	/* QEMU before 8.0 adds, and removes, each region once for every queue pair */
	if (same >= 0)
		return recount(ret_mem, old, (unsigned int)same, 1, why);
	if (old && old->nr >= VHU_MAX_MEM_SLOTS)
		return vhu_refuse(why, -EPROTO, "all %u memory slots are in use",
				  VHU_MAX_MEM_SLOTS);
	mem = copy_table(old, UINT32_MAX, 1);
	if (!mem)
		return vhu_refuse(why, -ENOMEM, "memory table: out of memory");
	err = add_region(mem, owner, old, region, fd, why);
	if (err) {
		vhu_mem_free(mem);
		return err;
	}
	*ret_mem = mem;
	return 0;
}

int vhu_mem_remove(struct vhu_mem **ret_mem, const struct vhu_mem *old,
		   const struct vhu_region *region, struct vhu_reason *why)
{
	struct vhu_mem *mem;

	for (unsigned int i = 0; old && i < old->nr; i++) {
		const struct vhu_mem_region *r = &old->region[i];

		if (r->gpa != region->gpa || r->size != region->size || r->uva != region->uva)
			continue;
		if (r->adds > 1)
			return recount(ret_mem, old, i, -1, why);
		mem = copy_table(old, i, 0);
		if (!mem)
			return vhu_refuse(why, -ENOMEM, "memory table: out of memory");
		*ret_mem = mem;
		return 0;
	}
	return vhu_refuse(why, -EPROTO, "no region has gpa 0x%llx size 0x%llx uva 0x%llx",
			  (ull)region->gpa, (ull)region->size, (ull)region->uva);
}

void vhu_mem_free(struct vhu_mem *mem)
{
	if (!mem)
		return;
	for (unsigned int i = 0; i < mem->nr; i++)
		vhu_mapping_put(mem->region[i].mapping);
	free(mem);
}

uint8_t *vhu_mem_uva(const struct vhu_mem *mem, uint64_t uva, uint64_t len, uint64_t *ret_gpa)
{
	for (unsigned int i = 0; i < mem->nr; i++) {
		const struct vhu_mem_region *r = &mem->region[i];
		uint64_t off = uva - r->uva;

		if (uva >= r->uva && vhu_range_within(off, len, r->size) && off < r->size) {
			*ret_gpa = r->gpa + off;
			return r->host + off;
		}
	}
	return NULL;
}

int vhu_mem_read(const struct vhu_mem *mem, uint64_t gpa, void *to, uint64_t len)
{
	uint8_t *at = to;

	if (vhu_range_wraps(gpa, len))
		return -EFAULT;
	while (len) {
		uint64_t part = len;
		const uint8_t *host = vhu_mem_gpa(mem, gpa, &part);

		if (!host)
			return -EFAULT;
		memcpy(at, host, part);
		at += part;
		gpa += part;
		len -= part;
	}
	return 0;
}
