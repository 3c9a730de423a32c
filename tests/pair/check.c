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

void tally_take(struct tally *ret_tally)
{
	ret_tally->fds = count_fds();
	ret_tally->maps = count_maps();
	ret_tally->heap = CHECK_SANITIZED ? 0 : mallinfo2().uordblks;
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
