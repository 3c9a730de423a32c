/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* Memory regions and logs that cannot be, and files that are none or of the wrong kind. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <linux/magic.h>
#include <unistd.h>

#include "hostile.h"

#define NR(array) (sizeof(array) / sizeof((array)[0]))

static const struct drv_options by_slots = { .mem_slots = true };

/* One region, as a table of one and as a slot of its own. */
static void region_refused(struct hostile *h, const struct vhu_region *region, int fd,
			   const char *words)
{
	struct vhu_mem_table table = { .nr = 1 };
	struct vhu_mem_reg reg = { .region = *region };
	char with_name[128];

	table.region[0] = *region;
	snprintf(with_name, sizeof(with_name), "SET_MEM_TABLE|%s", words);
	hostile_refused(h, VHU_SET_MEM_TABLE, &table, 8 + 32, &fd, 1, with_name);
	snprintf(with_name, sizeof(with_name), "ADD_MEM_REG|%s", words);
	hostile_refused(h, VHU_ADD_MEM_REG, &reg, sizeof(reg), &fd, 1, with_name);
}

static void log_with_bad_bounds(struct hostile *h)
{
	static const struct vhu_log rows[] = {
		{ UINT64_MAX, 4096 },
		{ 4096, UINT64_MAX - 4095 },
		{ UINT64_MAX, UINT64_MAX },
		{ UINT64_MAX - 4095, 4096 },
		{ 1 << 20, 16 << 20 },
		{ UINT64_C(1) << 62, 0 },
		{ 0, 0 },
	};
	int fd = h->drv.mem.region[0].fd;

	for (unsigned int i = 0; i < NR(rows); i++) {
		unsigned int closed = h->victim.closed;
		struct vhu_msg reply;
		int ret;

		fixture_forget_reasons(&h->victim);
		drv_send(&h->drv, VHU_SET_LOG_BASE, 0, &rows[i], sizeof(rows[i]), &fd, 1);
		ret = drv_recv(&h->drv, &reply, CHECK_PATIENCE_MS);
		if (ret == 1) {
			assert_int_equal(reply.hdr.size, 8);
			assert_int_not_equal(reply.u64, 0);
			drv_check_in_step(&h->drv);
		} else {
			assert_int_equal(h->victim.closed, closed + 1);
			hostile_again(h);
		}
		fixture_check_reason(&h->victim, "SET_LOG_BASE");
	}
}

static void a10_log_that_wraps_or_lies_outside_its_file_is_refused(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), log_with_bad_bounds);
}

/* An offset that is no multiple of anything: taken or refused, and never written outside. */
static void odd_log(struct hostile *h)
{
	struct vhu_log log = { 100, 12345 };
	int fd = memfd_create("log", MFD_CLOEXEC);
	struct vhu_vring_addr addr;
	struct vhu_msg reply;
	uint8_t bytes[16384];

	assert_true(fd >= 0);
	assert_return_code(ftruncate(fd, sizeof(bytes)), errno);
	drv_send(&h->drv, VHU_SET_LOG_BASE, 0, &log, sizeof(log), &fd, 1);
	if (drv_recv(&h->drv, &reply, CHECK_PATIENCE_MS) == 1) {
		drv_set_features(&h->drv, h->drv.features | VHU_MASK(VHU_F_LOG_ALL_BIT));
		drv_fill_addr(&h->drv, 1, &addr);
		addr.flags = VHU_VRING_F_LOG;
		addr.log = 100 * 8 * 4096 - 8; /* the last bit of the log, and beyond */
		drv_send(&h->drv, VHU_SET_VRING_ADDR, VHU_MSG_NEED_REPLY, &addr, sizeof(addr), NULL,
			 0);
		if (drv_recv(&h->drv, &reply, CHECK_PATIENCE_MS) == 1) {
			for (unsigned int i = 0; i < 10; i++)
				hostile_sends(h);
			assert_int_equal(pread(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
			for (unsigned int i = 0; i < sizeof(bytes); i++)
				if (i < 12345 || i >= 12345 + 100)
					assert_int_equal(bytes[i], 0);
		}
	}
	close(fd);
}

static void a11_odd_log_is_never_written_outside(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), odd_log);
}

static void regions_that_wrap(struct hostile *h)
{
	static const struct vhu_region rows[] = {
		{ 0x1000000000, 0, 0xee00000000, 0 },
		{ UINT64_MAX - 0xfff, 0x2000, 0xee00000000, 0 },
		{ 0x1000000000, 0x2000, UINT64_MAX - 0xfff, 0 },
		{ 0x1000000000, 0x2000, 0xee00000000, UINT64_MAX - 0xfff },
		{ 0x1000000000, UINT64_MAX, 0xee00000000, 0 },
		{ 0x1000000000, UINT64_MAX - 0xfff, 0xee00000000, 0x1000 },
		{ UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX },
	};

	for (unsigned int i = 0; i < NR(rows); i++)
		region_refused(h, &rows[i], h->drv.mem.region[0].fd, "0x");
}

static void a14_region_that_wraps_or_is_empty_is_refused(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, &by_slots), regions_that_wrap);
}

static void overlaps_in_a_table(struct hostile *h)
{
	static const struct vhu_region second[] = {
		{ 0x10000, 0x10000, 0xee00000000, 0x20000 },  /* the same gpa */
		{ 0x1ffff, 0x10000, 0xee00000000, 0x20000 },  /* its last byte */
		{ 0x00001, 0x10000, 0xee00000000, 0x20000 },  /* its first byte */
		{ 0x14000, 0x1000, 0xee00000000, 0x20000 },   /* within */
		{ 0x00000, 0x100000, 0xee00000000, 0x20000 }, /* around */
		{ 0x90000, 0x10000, 0xdd00000000, 0x20000 },  /* the same uva */
		{ 0x90000, 0x10000, 0xdd0000ffff, 0x20000 },
		{ 0x90000, 0x1000, 0xdd00004000, 0x20000 },
	};
	int fds[2] = { h->drv.mem.region[0].fd, h->drv.mem.region[0].fd };

	for (unsigned int i = 0; i < 2 * NR(second); i++) {
		struct vhu_mem_table table = { .nr = 2 };

		table.region[i % 2] = (struct vhu_region){ 0x10000, 0x10000, 0xdd00000000, 0 };
		table.region[1 - i % 2] = second[i / 2];
		hostile_refused(h, VHU_SET_MEM_TABLE, &table, 8 + 64, fds, 2,
				"SET_MEM_TABLE|overlap");
	}
}

static void a15_overlapping_regions_of_a_table_are_refused(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, NULL), overlaps_in_a_table);
}

static void slots_that_do_not_fit(struct hostile *h)
{
	struct vhu_mem_reg reg = { 0 };
	const struct drv_region *there = &h->drv.mem.region[0];

	/* hostile_refused() comes back with both regions in place each time. */
	drv_mem_wire_region(there, &reg.region);
	reg.region.size -= 0x1000;
	hostile_refused(h, VHU_ADD_MEM_REG, &reg, sizeof(reg), &there->fd, 1, "ADD_MEM_REG");
	drv_mem_wire_region(there, &reg.region);
	reg.region.gpa += 0x1000;
	reg.region.uva = 0xee00000000;
	hostile_refused(h, VHU_ADD_MEM_REG, &reg, sizeof(reg), &there->fd, 1,
			"ADD_MEM_REG|overlap");
	/* Not there, or not the same: of the region that no ring lies in. */
	there = &h->drv.mem.region[1];
	drv_mem_wire_region(there, &reg.region);
	reg.region.gpa += 0x1000;
	hostile_refused(h, VHU_REM_MEM_REG, &reg, sizeof(reg), NULL, 0, "REM_MEM_REG|no region");
	drv_mem_wire_region(there, &reg.region);
	reg.region.size -= 0x1000;
	hostile_refused(h, VHU_REM_MEM_REG, &reg, sizeof(reg), NULL, 0, "REM_MEM_REG|no region");
	drv_mem_wire_region(there, &reg.region);
	reg.region.uva += 0x1000;
	hostile_refused(h, VHU_REM_MEM_REG, &reg, sizeof(reg), NULL, 0, "REM_MEM_REG|no region");
	hostile_sends(h);
}

static void a15_duplicate_add_and_unknown_remove_are_refused(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, &by_slots), slots_that_do_not_fit);
}

static void larger_than_the_file(struct hostile *h)
{
	const struct drv_region *there = &h->drv.mem.region[0];
	struct vhu_region rows[] = {
		{ 0x1000000000, there->size + 1, 0xee00000000, 0 },
		{ 0x1000000000, there->size + 0x1000, 0xee00000000, 0 },
		{ 0x1000000000, there->size, 0xee00000000, 0x1000 },
		{ 0x1000000000, 0x1000, 0xee00000000, there->size },
		{ 0x1000000000, UINT64_C(1) << 46, 0xee00000000, 0 },
	};

	for (unsigned int i = 0; i < NR(rows); i++)
		region_refused(h, &rows[i], there->fd, "file");
}

static void a16_region_larger_than_its_file_is_refused(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, &by_slots), larger_than_the_file);
}

/*
 * ---- Files that are none, or of the wrong kind ----
 */
static void fd_refused(struct hostile *h, int fd)
{
	struct vhu_region region = { 0x1000000000, 4096, 0xee00000000, 0 };
	struct vhu_log log = { 4096, 0 };
	unsigned int closed = h->victim.closed;
	struct vhu_msg reply;

	assert_true(fd >= 0);
	region_refused(h, &region, fd, "fd");
	closed = h->victim.closed;
	drv_send(&h->drv, VHU_SET_LOG_BASE, 0, &log, sizeof(log), &fd, 1);
	if (drv_recv(&h->drv, &reply, CHECK_PATIENCE_MS) == 1) {
		assert_int_equal(reply.hdr.size, 8);
		assert_int_not_equal(reply.u64, 0);
	} else {
		assert_int_equal(h->victim.closed, closed + 1);
		hostile_again(h);
	}
	close(fd);
}

static int sealed_memfd(int seals)
{
	int fd = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_return_code(ftruncate(fd, 1 << 20), errno);
	assert_return_code(fcntl(fd, F_ADD_SEALS, seals), errno);
	return fd;
}

static int read_only_memfd(void)
{
	int fd = memfd_create("readonly", MFD_CLOEXEC);
	char path[64];
	int again;

	assert_true(fd >= 0);
	assert_return_code(ftruncate(fd, 1 << 20), errno);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDONLY | O_CLOEXEC);
	close(fd);
	return again;
}

static void fds_of_all_kinds(struct hostile *h)
{
	int fds[2];

	assert_return_code(pipe2(fds, O_CLOEXEC), errno);
	fd_refused(h, fds[0]);
	fd_refused(h, fds[1]);
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), errno);
	fd_refused(h, fds[0]);
	close(fds[1]);
	fd_refused(h, open("/dev/shm", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	fd_refused(h, open("/dev/null", O_RDWR | O_CLOEXEC));
	fd_refused(h, open("/dev/zero", O_RDWR | O_CLOEXEC));
	fd_refused(h, open("/proc/self/comm", O_RDWR | O_CLOEXEC));
	fd_refused(h, read_only_memfd());
}

static void a18_region_that_is_no_memory_is_refused(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, &by_slots), fds_of_all_kinds);
}

static void sealed_against_writing(struct hostile *h)
{
	struct vhu_region region = { 0x1000000000, 4096, 0xee00000000, 0 };
	int fd = sealed_memfd(F_SEAL_WRITE);

	region_refused(h, &region, fd, "map");
	close(fd);
}

static void a18_region_sealed_against_writing_is_refused(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, &by_slots),
		       sealed_against_writing);
}

static void sealed_against_shrinking(struct hostile *h)
{
	struct vhu_mem_reg reg = { .region = { 0x1000000000, 4096, 0xee00000000, 4096 } };
	int fd = sealed_memfd(F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);

	assert_int_equal(drv_ack(&h->drv, VHU_ADD_MEM_REG, &reg, sizeof(reg), &fd, 1), 0);
	close(fd);
	drv_check_in_step(&h->drv);
}

static void region_sealed_against_shrinking_is_welcome(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, &by_slots),
		       sealed_against_shrinking);
}

static void file_on_a_disk(struct hostile *h)
{
	char path[] = "/var/tmp/vhu-test-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);

	assert_true(fd >= 0);
	unlink(path);
	assert_return_code(ftruncate(fd, 1 << 20), errno);
	fd_refused(h, fd);
}

static void a27_file_system_that_may_hang_is_refused(void **state)
{
	struct statfs fs;

	assert_return_code(statfs("/var/tmp", &fs), errno);
	if (fs.f_type == TMPFS_MAGIC || fs.f_type == HUGETLBFS_MAGIC)
		skip();
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, &by_slots), file_on_a_disk);
}

static void misaligned_huge_page(struct hostile *h)
{
	struct vhu_region region = { 0x1000000000, 4096, 0xee00000000, 4096 };
	struct vhu_mem_reg reg = { .region = region };
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
	int ret;

	if (fd < 0)
		return; /* a kernel without them */
	if (ftruncate(fd, 2 << 20) == 0) {
		/* Half a page at an odd place: mapped rightly or refused, as pages are there or not. */
		ret = drv_ack(&h->drv, VHU_ADD_MEM_REG, &reg, sizeof(reg), &fd, 1);
		if (ret < 0)
			hostile_again(h);
		else
			drv_check_in_step(&h->drv);
	}
	close(fd);
}

static void a18_misaligned_huge_page_is_survived(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, &by_slots), misaligned_huge_page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		hostile_test(a10_log_that_wraps_or_lies_outside_its_file_is_refused),
		hostile_test(a11_odd_log_is_never_written_outside),
		hostile_test(a14_region_that_wraps_or_is_empty_is_refused),
		hostile_test(a15_overlapping_regions_of_a_table_are_refused),
		hostile_test(a15_duplicate_add_and_unknown_remove_are_refused),
		hostile_test(a16_region_larger_than_its_file_is_refused),
		hostile_test(a18_region_that_is_no_memory_is_refused),
		hostile_test(a18_region_sealed_against_writing_is_refused),
		hostile_test(region_sealed_against_shrinking_is_welcome),
		hostile_test(a18_misaligned_huge_page_is_survived),
		hostile_test(a27_file_system_that_may_hang_is_refused),
	};

	return cmocka_run_group_tests_name("hostile memory", tests, NULL, NULL);
}
