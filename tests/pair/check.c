/* SPDX-License-Identifier: MIT */
/* Time and the counting of fds, mappings and heap; knows nothing of what is being tested. */
#include <dirent.h>
#include <malloc.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

int64_t check_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void check_sleep_ms(unsigned int ms)
{
	struct timespec ts = { ms / 1000, (long)(ms % 1000) * 1000000 };

	while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
		;
}

void check_pause(void)
{
	struct timespec ts = { 0, 200000 };

	nanosleep(&ts, NULL);
}

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
		nr += strstr(line, "memfd:") || strstr(line, "/dev/zero") ||
		      strstr(line, "/dev/shm") || strstr(line, "(deleted)");
	free(line);
	fclose(file);
	return nr;
}

#if !CHECK_SANITIZED
/*
 * mallinfo() counts what the allocator itself caches, so every allocation of the process goes
 * through here: glibc allows a program to bring its own. Visible, or libc would not see them.
 */
#pragma GCC visibility push(default)
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t nr, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t align, size_t size);
void __libc_free(void *old);

static size_t live;

static void *gained(void *at)
{
	__atomic_fetch_add(&live, malloc_usable_size(at), __ATOMIC_RELAXED);
	return at;
}

static void lost(void *at)
{
	__atomic_fetch_sub(&live, malloc_usable_size(at), __ATOMIC_RELAXED);
}

void *malloc(size_t size)
{
	return gained(__libc_malloc(size));
}

void *calloc(size_t nr, size_t size)
{
	return gained(__libc_calloc(nr, size));
}

void *realloc(void *old, size_t size)
{
	size_t had = malloc_usable_size(old);
	void *at = __libc_realloc(old, size);

	if (at || size == 0)
		__atomic_fetch_sub(&live, had, __ATOMIC_RELAXED);
	return gained(at);
}

void *aligned_alloc(size_t align, size_t size)
{
	return gained(__libc_memalign(align, size));
}

void *memalign(size_t align, size_t size)
{
	return gained(__libc_memalign(align, size));
}

int posix_memalign(void **ret_at, size_t align, size_t size)
{
	void *at = gained(__libc_memalign(align, size));

	if (!at)
		return ENOMEM;
	*ret_at = at;
	return 0;
}

void free(void *old)
{
	lost(old);
	__libc_free(old);
}
#pragma GCC visibility pop
#else
static const size_t live;
#endif

void tally_take(struct tally *ret_tally)
{
	ret_tally->fds = count_fds();
	ret_tally->maps = count_maps();
	ret_tally->heap = __atomic_load_n(&live, __ATOMIC_RELAXED);
}

void tally_check(const struct tally *before)
{
	struct tally now;

	tally_take(&now);
	assert_int_equal(now.fds, before->fds);
	assert_int_equal(now.maps, before->maps);
	if (now.heap > before->heap)
		print_message("# heap %zu before, %zu now\n", before->heap, now.heap);
	assert_true(now.heap <= before->heap);
}
