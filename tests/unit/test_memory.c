/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* Guest memory on the frontend's side: made, sealed, taken over, looked up, handed out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>
#include <vhu/memory.h>

#define MIB (UINT64_C(1) << 20)

struct bench {
	struct vhu_memory *memory;
	unsigned int fds, maps;
};

static unsigned int count_fds(void)
{
	unsigned int nr = 0;
	DIR *dir = opendir("/proc/self/fd");

	assert_non_null(dir);
	while (readdir(dir))
		nr++;
	closedir(dir);
	return nr;
}

static unsigned int count_maps(void)
{
	unsigned int nr = 0;
	char *line = NULL;
	size_t room = 0;
	FILE *file = fopen("/proc/self/maps", "re");

	assert_non_null(file);
	while (getline(&line, &room, file) > 0)
		nr += strstr(line, "memfd:") != NULL;
	free(line);
	fclose(file);
	return nr;
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	if (!b)
		return -1;
	*state = b;
	b->fds = count_fds();
	b->maps = count_maps();
	assert_int_equal(vhu_memory_new(&b->memory), 0);
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	vhu_memory_free(b->memory);
	assert_int_equal(count_fds(), b->fds);
	assert_int_equal(count_maps(), b->maps);
	free(b);
	return 0;
}

static struct vhu_memory *memory_of(void **state)
{
	return ((struct bench *)*state)->memory;
}

/* A memfd of size bytes, each 64-bit word of which holds its own offset. */
static int numbered_file(size_t size, unsigned int flags)
{
	int fd = memfd_create("test", MFD_CLOEXEC | flags);
	uint64_t *at;

	assert_true(fd >= 0);
	assert_return_code(ftruncate(fd, (off_t)size), errno);
	at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(at, MAP_FAILED);
	for (size_t i = 0; i < size / sizeof(*at); i++)
		at[i] = i * sizeof(*at);
	munmap(at, size);
	return fd;
}

static struct vhu_memory_region region(struct vhu_memory *memory, unsigned int i)
{
	struct vhu_memory_region r;

	assert_int_equal(vhu_memory_region(memory, i, &r), 0);
	return r;
}

/*
 * ---- Regions ----
 */
static void made_memory_is_zero_and_shared_with_its_file(void **state)
{
	struct vhu_memory *memory = memory_of(state);
	struct vhu_memory_region r;
	const uint64_t *seen;
	uint64_t *at;

	assert_int_equal(vhu_memory_add(memory, 0x100000, MIB, 0), 0);
	r = region(memory, 0);
	assert_int_equal(r.gpa, 0x100000);
	assert_int_equal(r.size, MIB);
	assert_int_equal(r.offset, 0);
	at = vhu_memory_ptr(memory, 0x100000, MIB);
	assert_ptr_equal(at, r.host);
	for (size_t i = 0; i < MIB / sizeof(*at); i++)
		assert_int_equal(at[i], 0);
	/* what the other side maps is this */
	seen = mmap(NULL, MIB, PROT_READ, MAP_SHARED, r.fd, 0);
	assert_ptr_not_equal(seen, MAP_FAILED);
	at[77] = UINT64_C(0x0123456789abcdef);
	assert_int_equal(seen[77], UINT64_C(0x0123456789abcdef));
	munmap((void *)(uintptr_t)seen, MIB);
}

static void memory_fds_are_close_on_exec(void **state)
{
	struct vhu_memory *memory = memory_of(state);
	int fd = numbered_file(MIB, 0);

	assert_int_equal(vhu_memory_add(memory, 0, MIB, 0), 0);
	assert_int_equal(vhu_memory_add_fd(memory, MIB, MIB, fd, 0), 0);
	for (unsigned int i = 0; i < 2; i++)
		assert_true(fcntl(region(memory, i).fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
}

static void made_memory_cannot_be_truncated(void **state)
{
	struct vhu_memory *memory = memory_of(state);
	int fd;

	assert_int_equal(vhu_memory_add(memory, 0, MIB, 0), 0);
	fd = region(memory, 0).fd;
	assert_true(fcntl(fd, F_GET_SEALS) & F_SEAL_SHRINK);
	assert_int_equal(ftruncate(fd, 4096), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(*(uint8_t *)vhu_memory_ptr(memory, MIB - 1, 1), 0);
}

static void seal_keeps_a_file_from_shrinking(void **state)
{
	int fd = numbered_file(MIB, MFD_ALLOW_SEALING);
	int ends[2];

	(void)state;
	assert_int_equal(vhu_memory_seal(fd), 0);
	assert_int_equal(ftruncate(fd, 4096), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(vhu_memory_seal(fd), 0);
	close(fd);
	/* what cannot be sealed says so */
	fd = numbered_file(MIB, 0);
	assert_true(vhu_memory_seal(fd) < 0);
	close(fd);
	assert_return_code(pipe2(ends, O_CLOEXEC), errno);
	assert_int_equal(vhu_memory_seal(ends[1]), -EINVAL);
	close(ends[0]);
	close(ends[1]);
	assert_true(vhu_memory_seal(-1) < 0);
}

static void addresses_that_cannot_be_are_refused(void **state)
{
	static const struct {
		uint64_t gpa, size;
	} bad[] = {
		{ 0, 0 },
		{ 0x100000, 0 },
		{ 0x100001, MIB },
		{ 0x100800, MIB },
		{ 0x100000, MIB - 1 },
		{ 0x100000, 1 },
		{ 0x100000, 4097 },
		{ UINT64_MAX - 4095, 8192 },
		{ UINT64_MAX - MIB + 1, 2 * MIB },
		{ 4096, UINT64_MAX - 4095 },
		{ 8192, UINT64_MAX - 4095 },
		{ UINT64_MAX, 4096 },
	};
	struct vhu_memory *memory = memory_of(state);
	int fd = numbered_file(MIB, 0);

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(vhu_memory_add(memory, bad[i].gpa, bad[i].size, 0), -EINVAL);
		assert_int_equal(vhu_memory_add_fd(memory, bad[i].gpa, bad[i].size, fd, 0),
				 -EINVAL);
	}
	assert_int_equal(vhu_memory_add(memory, 0, MIB, 0x80), -EINVAL);
	assert_int_equal(vhu_memory_add(memory, 0, MIB, VHU_MEMORY_HUGE), -EINVAL);
	assert_int_equal(vhu_memory_count(memory), 0);
	close(fd);
}

static void overlapping_regions_are_refused(void **state)
{
	struct vhu_memory *memory = memory_of(state);
	int fd = numbered_file(4 * MIB, 0);

	assert_int_equal(vhu_memory_add(memory, 4 * MIB, 2 * MIB, 0), 0);
	for (uint64_t gpa = 3 * MIB + 4096; gpa < 6 * MIB; gpa += MIB / 4) {
		assert_int_equal(vhu_memory_add(memory, gpa, MIB, 0), -EEXIST);
		assert_int_equal(vhu_memory_add_fd(memory, gpa, MIB, fd, 0), -EEXIST);
	}
	assert_int_equal(vhu_memory_add(memory, 3 * MIB, 4 * MIB, 0), -EEXIST);
	/* side by side is no overlap */
	assert_int_equal(vhu_memory_add(memory, 3 * MIB, MIB, 0), 0);
	assert_int_equal(vhu_memory_add_fd(memory, 6 * MIB, MIB, fd, 0), 0);
	assert_int_equal(vhu_memory_count(memory), 3);
	close(fd);
}

static void regions_are_told_in_ascending_order(void **state)
{
	static const uint64_t order[] = { 7, 3, 9, 1, 5, 4, 8 };
	static const uint64_t sorted[] = { 1, 3, 4, 5, 7, 8, 9 };
	struct vhu_memory *memory = memory_of(state);
	struct vhu_memory_region r;

	for (unsigned int i = 0; i < 7; i++) {
		assert_int_equal(vhu_memory_add(memory, order[i] * MIB, MIB / 2, 0), 0);
		/* each keeps its own memory when others move up */
		*(uint64_t *)vhu_memory_ptr(memory, order[i] * MIB, 8) = order[i];
	}
	assert_int_equal(vhu_memory_count(memory), 7);
	for (unsigned int i = 0; i < 7; i++) {
		r = region(memory, i);
		assert_int_equal(r.gpa, sorted[i] * MIB);
		assert_int_equal(*(uint64_t *)r.host, sorted[i]);
	}
	assert_int_equal(vhu_memory_region(memory, 7, &r), -ENOENT);
}

static void no_more_regions_than_a_device_may_have(void **state)
{
	struct vhu_memory *memory = memory_of(state);
	int fd = numbered_file(8192, 0);

	for (uint64_t i = 0; i < VHU_MAX_MEM_SLOTS; i++)
		assert_int_equal(vhu_memory_add(memory, i * 8192, 4096, 0), 0);
	assert_int_equal(vhu_memory_add(memory, MIB * 64, 4096, 0), -EINVAL);
	assert_int_equal(vhu_memory_add_fd(memory, MIB * 64, 4096, fd, 0), -EINVAL);
	assert_int_equal(vhu_memory_remove(memory, 8192), 0);
	assert_int_equal(vhu_memory_add_fd(memory, MIB * 64, 4096, fd, 0), 0);
	close(fd);
}

static void region_that_was_removed_is_gone(void **state)
{
	struct vhu_memory *memory = memory_of(state);
	unsigned int fds = count_fds(), maps = count_maps();

	for (unsigned int turn = 0; turn < 3; turn++) {
		for (uint64_t i = 0; i < 4; i++)
			assert_int_equal(vhu_memory_add(memory, i * MIB, MIB, 0), 0);
		assert_int_equal(vhu_memory_remove(memory, 5 * MIB), -ENOENT);
		/* only by where it begins */
		assert_int_equal(vhu_memory_remove(memory, MIB + 4096), -ENOENT);
		assert_int_equal(vhu_memory_remove(memory, MIB), 0);
		assert_int_equal(vhu_memory_remove(memory, MIB), -ENOENT);
		assert_null(vhu_memory_ptr(memory, MIB, 1));
		assert_non_null(vhu_memory_ptr(memory, 2 * MIB, MIB));
		assert_int_equal(vhu_memory_count(memory), 3);
		assert_int_equal(region(memory, 1).gpa, 2 * MIB);
		assert_int_equal(vhu_memory_remove(memory, 3 * MIB), 0);
		assert_int_equal(vhu_memory_remove(memory, 0), 0);
		assert_int_equal(vhu_memory_remove(memory, 2 * MIB), 0);
		assert_int_equal(count_fds(), fds);
		assert_int_equal(count_maps(), maps);
	}
}

/*
 * ---- The program's own files ----
 */
static void file_of_the_programs_own_is_borrowed(void **state)
{
	struct vhu_memory *memory = memory_of(state);
	int fd = numbered_file(4 * MIB, MFD_ALLOW_SEALING);
	struct vhu_memory_region r;

	assert_int_equal(vhu_memory_add_fd(memory, 16 * MIB, MIB, fd, 2 * MIB), 0);
	assert_return_code(close(fd), errno);
	r = region(memory, 0);
	assert_true(r.fd >= 0);
	assert_int_equal(r.offset, 2 * MIB);
	assert_int_equal(*(uint64_t *)vhu_memory_ptr(memory, 16 * MIB, 8), 2 * MIB);
	assert_int_equal(*(uint64_t *)vhu_memory_ptr(memory, 17 * MIB - 8, 8), 3 * MIB - 8);
	/* the region's fd is its own and good */
	assert_int_equal(lseek(r.fd, 0, SEEK_END), 4 * MIB);
}

static void parts_of_one_file_are_regions_of_their_own(void **state)
{
	struct vhu_memory *memory = memory_of(state);
	int fd = numbered_file(4 * MIB, 0);

	assert_int_equal(vhu_memory_add_fd(memory, 0, MIB, fd, 3 * MIB), 0);
	assert_int_equal(vhu_memory_add_fd(memory, MIB, MIB, fd, 0), 0);
	assert_int_equal(vhu_memory_add_fd(memory, 2 * MIB, 4096, fd, MIB + 4096), 0);
	assert_int_equal(*(uint64_t *)vhu_memory_ptr(memory, 0, 8), 3 * MIB);
	assert_int_equal(*(uint64_t *)vhu_memory_ptr(memory, MIB, 8), 0);
	assert_int_equal(*(uint64_t *)vhu_memory_ptr(memory, 2 * MIB + 8, 8), MIB + 4096 + 8);
	close(fd);
}

static void region_beyond_its_file_is_refused(void **state)
{
	struct vhu_memory *memory = memory_of(state);
	int fd = numbered_file(MIB, 0);
	int ends[2];

	assert_int_equal(vhu_memory_add_fd(memory, 0, 2 * MIB, fd, 0), -EINVAL);
	assert_int_equal(vhu_memory_add_fd(memory, 0, MIB, fd, 4096), -EINVAL);
	assert_int_equal(vhu_memory_add_fd(memory, 0, 4096, fd, MIB), -EINVAL);
	assert_int_equal(vhu_memory_add_fd(memory, 0, 4096, fd, UINT64_MAX - 4095), -EINVAL);
	assert_int_equal(vhu_memory_add_fd(memory, 0, 8192, fd, UINT64_MAX - 4095), -EINVAL);
	/* a page half of which is something else can be no guest's */
	assert_int_equal(vhu_memory_add_fd(memory, 0, 4096, fd, 8), -EINVAL);
	assert_int_equal(vhu_memory_count(memory), 0);
	assert_return_code(pipe2(ends, O_CLOEXEC), errno);
	assert_true(vhu_memory_add_fd(memory, 0, 4096, ends[0], 0) < 0);
	assert_true(vhu_memory_add_fd(memory, 0, 4096, -1, 0) < 0);
	assert_int_equal(vhu_memory_count(memory), 0);
	close(ends[0]);
	close(ends[1]);
	close(fd);
}

static void read_only_file_is_refused(void **state)
{
	struct vhu_memory *memory = memory_of(state);
	int fd = numbered_file(MIB, 0);
	char path[64];
	int read_only;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	read_only = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(read_only >= 0);
	assert_true(vhu_memory_add_fd(memory, 0, MIB, read_only, 0) < 0);
	assert_int_equal(vhu_memory_count(memory), 0);
	close(read_only);
	close(fd);
}

/*
 * ---- Addresses ----
 */
static void pointer_needs_its_whole_length_in_one_region(void **state)
{
	struct vhu_memory *memory = memory_of(state);
	const uint8_t *base;

	/* two that touch, a hole, and one at the very end of what a guest address can be */
	assert_int_equal(vhu_memory_add(memory, 16 * MIB, MIB, 0), 0);
	assert_int_equal(vhu_memory_add(memory, 17 * MIB, MIB, 0), 0);
	assert_int_equal(vhu_memory_add(memory, UINT64_MAX - 2 * MIB + 1, MIB, 0), 0);
	base = region(memory, 0).host;
	assert_ptr_equal(vhu_memory_ptr(memory, 16 * MIB, 1), base);
	assert_ptr_equal(vhu_memory_ptr(memory, 16 * MIB + 5, MIB - 5), base + 5);
	assert_ptr_equal(vhu_memory_ptr(memory, 17 * MIB - 1, 1), base + MIB - 1);
	assert_null(vhu_memory_ptr(memory, 17 * MIB - 1, 2));
	assert_null(vhu_memory_ptr(memory, 16 * MIB, MIB + 1));
	assert_null(vhu_memory_ptr(memory, 16 * MIB, 2 * MIB));
	assert_null(vhu_memory_ptr(memory, 16 * MIB - 1, 1));
	assert_null(vhu_memory_ptr(memory, 16 * MIB - 1, 2));
	assert_null(vhu_memory_ptr(memory, 18 * MIB, 1));
	assert_null(vhu_memory_ptr(memory, 0, 1));
	assert_null(vhu_memory_ptr(memory, 16 * MIB + 5, UINT64_MAX));
	assert_null(vhu_memory_ptr(memory, 16 * MIB + 5, UINT64_MAX - 16 * MIB));
	assert_null(vhu_memory_ptr(memory, UINT64_MAX, 1));
	assert_non_null(vhu_memory_ptr(memory, UINT64_MAX - 2 * MIB + 1, MIB));
	assert_null(vhu_memory_ptr(memory, UINT64_MAX - 2 * MIB + 2, MIB));
}

static void allocations_are_aligned_apart_and_inside(void **state)
{
	struct vhu_memory *memory = memory_of(state);
	uint64_t end = 0;
	unsigned int nr = 0;
	uint32_t random = 1;

	assert_int_equal(vhu_memory_add(memory, 0x101000, MIB, 0), 0);
	for (;;) {
		uint64_t align, len, gpa = 1;
		uint8_t *at;

		random = random * 1664525 + 1013904223;
		align = UINT64_C(1) << (random >> 8) % 14;
		len = 1 + (random >> 12) % 3000;
		at = vhu_memory_alloc(memory, len, align, &gpa);
		if (!at)
			break;
		assert_int_equal(gpa % align, 0);
		/* what is laid there by its pointer has to be aligned as well */
		assert_int_equal((uintptr_t)at % (align > 4096 ? 4096 : align), 0);
		assert_ptr_equal(at, vhu_memory_ptr(memory, gpa, len));
		assert_true(gpa >= 0x101000 && gpa >= end);
		end = gpa + len;
		memset(at, 0xa5, len);
		nr++;
	}
	assert_true(end <= 0x101000 + MIB);
	assert_true(nr > 100);
}

static void allocation_that_cannot_be_is_refused(void **state)
{
	struct vhu_memory *memory = memory_of(state);
	uint64_t gpa = 42;

	assert_null(vhu_memory_alloc(memory, 1, 1, &gpa));
	assert_int_equal(vhu_memory_add(memory, 0x101000, MIB, 0), 0);
	assert_null(vhu_memory_alloc(memory, 0, 1, &gpa));
	assert_null(vhu_memory_alloc(memory, 16, 0, &gpa));
	assert_null(vhu_memory_alloc(memory, 16, 3, &gpa));
	assert_null(vhu_memory_alloc(memory, 16, 24, &gpa));
	assert_null(vhu_memory_alloc(memory, MIB + 1, 1, &gpa));
	assert_null(vhu_memory_alloc(memory, UINT64_MAX, 1, &gpa));
	assert_null(vhu_memory_alloc(memory, UINT64_MAX - 4095, 4096, &gpa));
	assert_null(vhu_memory_alloc(memory, 1, UINT64_C(1) << 63, &gpa));
	assert_null(vhu_memory_alloc(memory, 1, 16 * MIB, &gpa));
	/* written on success only */
	assert_int_equal(gpa, 42);
	/* and nothing was lost on the way */
	assert_non_null(vhu_memory_alloc(memory, MIB, 4096, &gpa));
	assert_int_equal(gpa, 0x101000);
	assert_null(vhu_memory_alloc(memory, 1, 1, &gpa));
}

static void allocation_goes_where_there_is_room(void **state)
{
	struct vhu_memory *memory = memory_of(state);
	uint64_t first, second, third;

	assert_int_equal(vhu_memory_add(memory, 0, 8192, 0), 0);
	assert_int_equal(vhu_memory_add(memory, MIB, MIB, 0), 0);
	assert_non_null(vhu_memory_alloc(memory, 5000, 1, &first));
	assert_int_equal(first, 0);
	assert_non_null(vhu_memory_alloc(memory, 5000, 1, &second));
	assert_int_equal(second, MIB);
	assert_non_null(vhu_memory_alloc(memory, 3000, 1, &third));
	assert_int_equal(third, 5000);
	/* all is given back at once */
	vhu_memory_alloc_reset(memory);
	assert_non_null(vhu_memory_alloc(memory, 8192, 4096, &first));
	assert_int_equal(first, 0);
	assert_non_null(vhu_memory_alloc(memory, MIB, 4096, &first));
	assert_null(vhu_memory_alloc(memory, 1, 1, &first));
	/* a region that comes later brings room */
	assert_int_equal(vhu_memory_add(memory, 4 * MIB, 4096, 0), 0);
	assert_non_null(vhu_memory_alloc(memory, 4096, 4096, &first));
	assert_int_equal(first, 4 * MIB);
}

static void allocations_stay_where_they_are_when_regions_come(void **state)
{
	struct vhu_memory *memory = memory_of(state);
	uint64_t gpa, other;
	uint8_t *at;

	assert_int_equal(vhu_memory_add(memory, 8 * MIB, MIB, 0), 0);
	at = vhu_memory_alloc(memory, 4096, 4096, &gpa);
	assert_non_null(at);
	/* one below, so that the table moves */
	assert_int_equal(vhu_memory_add(memory, MIB, 4096, 0), 0);
	assert_ptr_equal(vhu_memory_ptr(memory, gpa, 4096), at);
	assert_non_null(vhu_memory_alloc(memory, 8192, 1, &other));
	assert_int_equal(other, gpa + 4096);
	assert_int_equal(vhu_memory_remove(memory, MIB), 0);
	assert_non_null(vhu_memory_alloc(memory, 4096, 1, &other));
	assert_int_equal(other, gpa + 4096 + 8192);
}

static void huge_pages_are_taken_where_there_are_some(void **state)
{
	struct vhu_memory *memory = memory_of(state);
	int err = vhu_memory_add(memory, 0, 2 * MIB, VHU_MEMORY_HUGE);

	if (err) {
		assert_int_equal(err, -ENOMEM);
		assert_int_equal(vhu_memory_count(memory), 0);
		print_message("# no huge pages here: only the refusal was looked at\n");
		return;
	}
	assert_int_equal(*(uint8_t *)vhu_memory_ptr(memory, 2 * MIB - 1, 1), 0);
	assert_true(fcntl(region(memory, 0).fd, F_GET_SEALS) & F_SEAL_SHRINK);
}

static void nothing_can_be_freed(void **state)
{
	(void)state;
	vhu_memory_free(NULL);
}

#define memory_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		memory_test(made_memory_is_zero_and_shared_with_its_file),
		memory_test(memory_fds_are_close_on_exec),
		memory_test(made_memory_cannot_be_truncated),
		memory_test(seal_keeps_a_file_from_shrinking),
		memory_test(addresses_that_cannot_be_are_refused),
		memory_test(overlapping_regions_are_refused),
		memory_test(regions_are_told_in_ascending_order),
		memory_test(no_more_regions_than_a_device_may_have),
		memory_test(region_that_was_removed_is_gone),
		memory_test(file_of_the_programs_own_is_borrowed),
		memory_test(parts_of_one_file_are_regions_of_their_own),
		memory_test(region_beyond_its_file_is_refused),
		memory_test(read_only_file_is_refused),
		memory_test(pointer_needs_its_whole_length_in_one_region),
		memory_test(allocations_are_aligned_apart_and_inside),
		memory_test(allocation_that_cannot_be_is_refused),
		memory_test(allocation_goes_where_there_is_room),
		memory_test(allocations_stay_where_they_are_when_regions_come),
		memory_test(huge_pages_are_taken_where_there_are_some),
		cmocka_unit_test(nothing_can_be_freed),
	};

	return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
