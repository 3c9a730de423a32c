/* SPDX-License-Identifier: MIT */
/*
 * The dirty log as a VMM that migrates holds it: made, shared, read and cleared ("Migration"). Knows
 * nothing of messages.
 */
#include <frontend/device.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <base/fd.h>

enum {
	PAGE_SHIFT = 12,
	PAGES_A_WORD = 64
};

/* One bit a page up to the highest address, in whole pages of log. */
static uint64_t log_size(const struct vhu_frontend *fe)
{
	struct vhu_memory_region region;
	uint64_t end = 0;

	for (unsigned int i = 0; !vhu_memory_region(fe->memory, i, &region); i++) {
		if (region.gpa + region.size > end)
			end = region.gpa + region.size;
	}
	return ((end >> PAGE_SHIFT) / 8 + 4096) & ~UINT64_C(4095);
}

bool vhu_fe_log_reaches(const struct vhu_frontend *fe)
{
	return !fe->log || log_size(fe) <= fe->log_size;
}

int vhu_fe_log_make(struct vhu_frontend *fe)
{
	uint64_t size = log_size(fe);
	int err;

	vhu_fe_log_free(fe);
	fe->log_fd = memfd_create("vhu-log", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fe->log_fd < 0)
		return -errno;
	err = ftruncate(fe->log_fd, (off_t)size) < 0 ? -errno : 0;
	/* for good: no backend may put another seal on it either */
	if (!err && fcntl(fe->log_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		err = -errno;
	if (!err) {
		fe->log = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fe->log_fd, 0);
		if (fe->log == MAP_FAILED) {
			err = -errno;
			fe->log = NULL;
		}
	}
	fe->log_size = size;
	if (err)
		vhu_fe_log_free(fe);
	return err;
}

void vhu_fe_log_free(struct vhu_frontend *fe)
{
	if (fe->log)
		munmap(fe->log, fe->log_size);
	fe->log = NULL;
	fe->log_size = 0;
	vhu_fd_close(&fe->log_fd);
}

static void mark(struct vhu_frontend *fe, uint64_t first, uint64_t nr)
{
	uint64_t end = first + nr;

	for (; first < end && first % 8; first++)
		__atomic_fetch_or(&fe->log[first / 8], (uint8_t)(1u << first % 8),
				  __ATOMIC_RELAXED);
	/* whole bytes: nobody else marks, the backend is dead */
	memset(&fe->log[first / 8], 0xff, (end - first) / 8);
	for (first += (end - first) / 8 * 8; first < end; first++)
		__atomic_fetch_or(&fe->log[first / 8], (uint8_t)(1u << first % 8),
				  __ATOMIC_RELAXED);
}

void vhu_fe_log_mark_all(struct vhu_frontend *fe)
{
	struct vhu_memory_region region;

	for (unsigned int i = 0; fe->log && !vhu_memory_region(fe->memory, i, &region); i++) {
		uint64_t first = region.gpa >> PAGE_SHIFT, nr = region.size >> PAGE_SHIFT;

		/* memory that was added since has no bits yet */
		if (vhu_range_within(first, nr, fe->log_size * 8))
			mark(fe, first, nr);
	}
}

/* Runs of set bits, told as soon as they end. */
struct run {
	void (*fn)(void *arg, uint64_t gpa, uint64_t len);
	void *arg;
	uint64_t first, nr;
	int64_t pages;
};

static void end_run(struct run *run)
{
	if (run->nr && run->fn)
		run->fn(run->arg, run->first << PAGE_SHIFT, run->nr << PAGE_SHIFT);
	run->pages += (int64_t)run->nr;
	run->nr = 0;
}

static void take_word(struct run *run, uint64_t page, uint64_t bits)
{
	while (bits) {
		unsigned int bit = (unsigned int)__builtin_ctzll(bits);

		if (run->nr && run->first + run->nr != page + bit)
			end_run(run);
		if (!run->nr)
			run->first = page + bit;
		run->nr++;
		bits &= bits - 1;
	}
}

int64_t vhu_frontend_log_sync(struct vhu_frontend *frontend,
			      void (*fn)(void *arg, uint64_t gpa, uint64_t len), void *arg)
{
	struct run run = { .fn = fn, .arg = arg };
	uint64_t *words = (uint64_t *)(void *)frontend->log;

	if (!words)
		return -ENOENT;
	for (uint64_t i = 0; i < frontend->log_size / sizeof(*words); i++) {
		/* acquire: pairs with the backend's mark, which follows the bytes it is about */
		if (__atomic_load_n(&words[i], __ATOMIC_RELAXED))
			take_word(&run, i * PAGES_A_WORD,
				  __atomic_exchange_n(&words[i], 0, __ATOMIC_ACQ_REL));
	}
	end_run(&run);
	return run.pages;
}
