/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* What a frontend changes while rings run: features, addresses, memory, call and kick fds. */
#include <inttypes.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend_fixture.h"

static const uint64_t log_all = VHU_MASK(VHU_F_LOG_ALL_BIT);

static struct pair *running(void **state, const struct drv_options *options)
{
	struct drv_options with_acks = options ? *options : (struct drv_options){ 0 };

	with_acks.need_reply = true;
	struct pair *p = pair_up(state, NULL, &with_acks);

	drv_start(&p->drv);
	drv_net_echo(&p->drv, 1, 0, 10);
	return p;
}

static int features(struct drv *drv, uint64_t bits)
{
	return drv_ack(drv, VHU_SET_FEATURES, &bits, 8, NULL, 0);
}

static void same_features_again_change_nothing(void **state)
{
	struct pair *p = running(state, NULL);
	unsigned int stopped = p->fix.ring[1].stopped;

	for (unsigned int i = 0; i < 5; i++) {
		assert_int_equal(features(&p->drv, p->drv.features), 0);
		drv_net_echo(&p->drv, 1, 100 * i, 5);
	}
	assert_int_equal(p->fix.ring[1].stopped, stopped);
	assert_int_equal(p->fix.complaints, 0);
}

static void log_all_comes_and_goes_on_running_rings(void **state)
{
	struct pair *p = running(state, NULL);

	for (unsigned int i = 0; i < 5; i++) {
		assert_int_equal(features(&p->drv, p->drv.features | log_all), 0);
		assert_int_equal(vhu_backend_features(p->fix.backend), p->drv.features | log_all);
		drv_net_echo(&p->drv, 1, 200 * i, 5);
		assert_int_equal(features(&p->drv, p->drv.features), 0);
		assert_int_equal(vhu_backend_features(p->fix.backend), p->drv.features);
		drv_net_echo(&p->drv, 1, 200 * i + 100, 5);
	}
	assert_int_equal(p->fix.complaints, 0);
}

static void other_features_are_refused_on_running_rings(void **state)
{
	struct pair *p = running(state, NULL);

	assert_int_equal(features(&p->drv, p->drv.features & ~VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT)),
			 1);
	fixture_check_reason(&p->fix, "SET_FEATURES");
	assert_int_equal(vhu_backend_features(p->fix.backend), p->drv.features);
	drv_check_in_step(&p->drv);
	drv_net_echo(&p->drv, 1, 100, 10);
	drv_stop(&p->drv);
	/* Without rings that run it is allowed. */
	assert_int_equal(features(&p->drv, p->drv.features & ~VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT)),
			 0);
}

static void same_address_again_keeps_the_position(void **state)
{
	struct pair *p = running(state, NULL);
	struct vhu_vring_addr addr;

	for (unsigned int i = 0; i < 6; i++) {
		for (unsigned int ring = 0; ring < 2; ring++) {
			drv_fill_addr(&p->drv, ring, &addr);
			/* As QEMU does at the begin and the end of a migration. */
			addr.flags = i % 2 ? 0 : VHU_VRING_F_LOG;
			assert_int_equal(drv_ack(&p->drv, VHU_SET_VRING_ADDR, &addr, sizeof(addr),
						 NULL, 0),
					 0);
			assert_int_equal(fixture_state(&p->fix, ring), VHU_RING_STARTED_ENABLED);
		}
		drv_net_echo(&p->drv, 1, 100 * i, 7);
	}
	assert_int_equal(drv_stop_ring(&p->drv, 1), 10 + 6 * 7);
	assert_int_equal(p->fix.complaints, 0);
}

/* Start addresses of all mappings of this process that belong to the file of fd, sorted. */
static unsigned int mappings_of(int fd, uint64_t *ret_start, unsigned int max)
{
	char target[32], *line = NULL;
	unsigned int nr = 0;
	struct stat st;
	size_t room = 0;
	FILE *file;

	assert_return_code(fstat(fd, &st), errno);
	snprintf(target, sizeof(target), " %llu ", (unsigned long long)st.st_ino);
	file = fopen("/proc/self/maps", "re");
	assert_non_null(file);
	while (getline(&line, &room, file) > 0) {
		if (!strstr(line, "memfd:") || !strstr(line, target))
			continue;
		assert_true(nr < max);
		assert_int_equal(sscanf(line, "%" SCNx64, &ret_start[nr]), 1);
		nr++;
	}
	free(line);
	fclose(file);
	return nr;
}

static void mappings_of_unchanged_regions_are_kept(void **state)
{
	struct pair *p = running(state, &(struct drv_options){ .nr_regions = 3 });
	uint64_t before[3][8], after[8];
	unsigned int nr[3];

	for (unsigned int i = 0; i < 3; i++) {
		nr[i] = mappings_of(p->drv.mem.region[i].fd, before[i], 8);
		assert_int_equal(nr[i], 2); /* the driver's own and the library's */
	}
	/* One more, as a memory hot-add does it; then without the last two again. */
	drv_mem_grow(&p->drv.mem, 4 << 20);
	drv_set_mem_table(&p->drv, 0, 4);
	drv_net_echo(&p->drv, 1, 100, 10);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(mappings_of(p->drv.mem.region[i].fd, after, 8), nr[i]);
		assert_memory_equal(after, before[i], nr[i] * sizeof(*after));
	}
	assert_int_equal(mappings_of(p->drv.mem.region[3].fd, after, 8), 2);
	drv_set_mem_table(&p->drv, 0, 2);
	drv_net_echo(&p->drv, 1, 200, 10);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(mappings_of(p->drv.mem.region[i].fd, after, 8), nr[i]);
		assert_memory_equal(after, before[i], nr[i] * sizeof(*after));
	}
	assert_int_equal(mappings_of(p->drv.mem.region[2].fd, after, 8), 1);
	assert_int_equal(mappings_of(p->drv.mem.region[3].fd, after, 8), 1);
	assert_int_equal(p->fix.complaints, 0);
}

/* The same bytes under other user addresses: addresses are translated anew, as they were sent. */
static void ring_addresses_are_translated_again_with_each_table(void **state)
{
	struct pair *p = running(state, NULL);
	struct vhu_mem_table table = { .nr = 2 };
	int fds[2];

	/* Regions in another order. */
	for (unsigned int i = 0; i < 2; i++) {
		drv_mem_wire_region(&p->drv.mem.region[1 - i], &table.region[i]);
		fds[i] = p->drv.mem.region[1 - i].fd;
	}
	assert_int_equal(drv_ack(&p->drv, VHU_SET_MEM_TABLE, &table, 8 + 2 * 32, fds, 2), 0);
	drv_net_echo(&p->drv, 1, 100, 10);
	assert_int_equal(fixture_state(&p->fix, 1), VHU_RING_STARTED_ENABLED);
	assert_int_equal(p->fix.complaints, 0);
}

static void table_without_the_rings_memory_never_reads_it_again(void **state)
{
	struct pair *p = running(state, &(struct drv_options){ .nr_regions = 3 });
	struct vhu_mem_table table = { .nr = 1 };
	uint8_t frame[60] = { 0 };
	uint64_t starts[8];
	int ret;

	drv_mem_wire_region(&p->drv.mem.region[2], &table.region[0]);
	ret = drv_ack(&p->drv, VHU_SET_MEM_TABLE, &table, 8 + 32, &p->drv.mem.region[2].fd, 1);
	fixture_settle();
	drv_ring_kick_always(&p->drv.ring[1]);
	fixture_settle();
	if (ret == 0) {
		assert_int_equal(mappings_of(p->drv.mem.region[0].fd, starts, 8), 1);
		assert_int_equal(fixture_push(&p->fix, 0, frame, sizeof(frame), NULL), -ENOTCONN);
		fixture_check_reason(&p->fix, "address");
		drv_check_in_step(&p->drv);
		/* With the right table again and a new start all is well. */
		drv_set_mem_table(&p->drv, 0, 3);
		drv_stop(&p->drv);
		for (unsigned int i = 0; i < 2; i++)
			drv_start_ring(&p->drv, i, drv_ring_used_idx(&p->drv.ring[i]));
	} else if (ret == 1) {
		/* Refused as a whole: all goes on. */
		drv_check_in_step(&p->drv);
	} else {
		return;
	}
	drv_net_echo(&p->drv, 1, 100, 10);
}

static void table_is_changed_while_frames_flow(void **state)
{
	struct pair *p = running(state, &(struct drv_options){ .nr_regions = 2 });
	uint8_t frame[600], back[4096];
	unsigned int got = 0;
	size_t len;

	drv_mem_grow(&p->drv.mem, 1 << 20);
	p->drv.options.need_reply = false;
	for (unsigned int i = 0; i < 200; i++) {
		drv_net_fill(&p->drv, 0, 16);
		drv_net_make(frame, sizeof(frame), i);
		drv_net_send(&p->drv, 1, frame, sizeof(frame));
		if (i % 2)
			drv_set_mem_table(&p->drv, 0, i % 4 == 1 ? 3 : 2);
		fixture_pump(NULL);
		while (drv_net_receive(&p->drv, 0, back, sizeof(back), &len, NULL) == 1)
			assert_true(drv_net_verify(back, len, got++));
		drv_net_reap(&p->drv, 1);
	}
	fixture_settle();
	while (drv_net_receive(&p->drv, 0, back, sizeof(back), &len, NULL) == 1)
		assert_true(drv_net_verify(back, len, got++));
	assert_int_equal(got, 200);
	assert_int_equal(p->fix.complaints, 0);
	drv_check_in_step(&p->drv);
}

static void slots_come_and_go_while_rings_run(void **state)
{
	struct pair *p = running(state, &(struct drv_options){ .mem_slots = true });
	uint64_t kept[8], after[8];
	struct drv_region *more;

	assert_int_equal(mappings_of(p->drv.mem.region[0].fd, kept, 8), 2);
	for (unsigned int i = 0; i < 5; i++) {
		more = drv_mem_grow(&p->drv.mem, 1 << 20);
		assert_int_equal(drv_add_mem(&p->drv, p->drv.mem.nr - 1), 0);
		assert_int_equal(mappings_of(more->fd, after, 8), 2);
		drv_net_echo(&p->drv, 1, 100 * i, 5);
	}
	for (unsigned int i = 6; i > 1; i--) {
		assert_int_equal(drv_rem_mem(&p->drv, i), 0);
		assert_int_equal(mappings_of(p->drv.mem.region[i].fd, after, 8), 1);
		drv_net_echo(&p->drv, 1, 100 * i + 1000, 5);
	}
	assert_int_equal(mappings_of(p->drv.mem.region[0].fd, after, 8), 2);
	assert_memory_equal(after, kept, 2 * sizeof(*kept));
	assert_int_equal(p->fix.complaints, 0);
}

/* Some frontends send the region's fd with REM_MEM_REG too: it is closed, nothing else. */
static void rem_mem_reg_closes_an_fd_that_comes_along(void **state)
{
	struct pair *p = running(state, &(struct drv_options){ .mem_slots = true });
	struct vhu_mem_reg reg = { 0 };
	struct tally before;

	drv_mem_grow(&p->drv.mem, 1 << 20);
	tally_take(&before);
	before.heap = SIZE_MAX;
	for (unsigned int i = 0; i < 5; i++) {
		assert_int_equal(drv_add_mem(&p->drv, 2), 0);
		drv_mem_wire_region(&p->drv.mem.region[2], &reg.region);
		assert_int_equal(drv_ack(&p->drv, VHU_REM_MEM_REG, &reg, sizeof(reg),
					 &p->drv.mem.region[2].fd, 1),
				 0);
	}
	tally_check(&before);
	drv_net_echo(&p->drv, 1, 100, 5);
}

/* QEMU before 8.0 adds, and removes, each region once for every queue pair. */
static void same_region_added_twice_is_removed_twice(void **state)
{
	struct pair *p = running(state, &(struct drv_options){ .mem_slots = true });
	uint64_t kept[8], after[8];

	assert_int_equal(mappings_of(p->drv.mem.region[0].fd, kept, 8), 2);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(drv_add_mem(&p->drv, 0), 0);
		drv_net_echo(&p->drv, 1, 100 * i, 5);
	}
	assert_int_equal(mappings_of(p->drv.mem.region[0].fd, after, 8), 2);
	assert_memory_equal(after, kept, 2 * sizeof(*kept));
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(drv_rem_mem(&p->drv, 0), 0);
		drv_net_echo(&p->drv, 1, 1000 + 100 * i, 5);
	}
	assert_int_equal(p->fix.complaints, 0);
	/* one of the four is left, and goes; a fifth time there is nothing to remove */
	drv_stop(&p->drv);
	assert_int_equal(drv_rem_mem(&p->drv, 0), 0);
	assert_int_equal(mappings_of(p->drv.mem.region[0].fd, after, 8), 1);
	assert_int_equal(drv_rem_mem(&p->drv, 0), 1);
}

static void as_many_slots_as_are_told(void **state)
{
	struct pair *p = running(state, &(struct drv_options){ .mem_slots = true });
	const struct drv_region *region = drv_mem_grow(&p->drv.mem, 256 << 12);
	struct vhu_mem_reg reg = { 0 };

	for (unsigned int i = 2; i <= VHU_MAX_MEM_SLOTS; i++) {
		reg.region.gpa = UINT64_C(0x100000000) + i * 8192;
		reg.region.uva = UINT64_C(0xcc00000000) + i * 8192;
		reg.region.size = 4096;
		reg.region.mmap_offset = i * 4096;
		assert_int_equal(drv_ack(&p->drv, VHU_ADD_MEM_REG, &reg, sizeof(reg), &region->fd,
					 1),
				 i == VHU_MAX_MEM_SLOTS);
	}
	drv_net_echo(&p->drv, 1, 100, 5);
}

/* Used entries that lie there when a new call fd arrives: the old one may have missed them. */
static void new_call_fd_gets_the_notification_that_may_have_been_missed(void **state)
{
	struct pair *p = running(state, NULL);
	struct drv_ring *ring = &p->drv.ring[1];
	uint8_t frame[100] = { 0 };
	uint64_t masked_count = 0;
	int masked;

	drv_ring_want_calls(ring, true);
	for (unsigned int i = 0; i < 20; i++) {
		/* Masked: calls go to an fd that nobody listens to. */
		masked = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		assert_true(masked >= 0);
		drv_do_vring_fd(&p->drv, VHU_SET_VRING_CALL, 1, masked);
		fixture_settle();
		drv_ring_calls(ring);
		drv_ring_want_calls(ring, true);
		drv_net_send(&p->drv, 1, frame, sizeof(frame));
		assert_true(check_until(fixture_pump(NULL), drv_ring_has_used(ring)));
		drv_do_vring_fd(&p->drv, VHU_SET_VRING_CALL, 1, ring->call_fd);
		fixture_settle();
		assert_true(drv_ring_calls(ring) > 0);
		assert_int_equal(drv_net_reap(&p->drv, 1), 1);
		if (read(masked, &masked_count, sizeof(masked_count)) < 0)
			assert_int_equal(errno, EAGAIN);
		close(masked);
	}
}

static void each_new_call_fd_is_used_from_the_ack_on(void **state)
{
	struct pair *p = running(state, NULL);
	struct drv_ring *ring = &p->drv.ring[1];
	uint8_t frame[100] = { 0 };
	uint64_t count;
	int fd[2];

	for (unsigned int i = 0; i < 2; i++) {
		fd[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		assert_true(fd[i] >= 0);
	}
	for (unsigned int i = 0; i < 10; i++) {
		drv_do_vring_fd(&p->drv, VHU_SET_VRING_CALL, 1, fd[i % 2]);
		fixture_settle();
		/* Nothing is there: what was raised at the change is spurious and allowed. */
		for (unsigned int j = 0; j < 2; j++)
			if (read(fd[j], &count, sizeof(count)) < 0)
				assert_int_equal(errno, EAGAIN);
		drv_ring_want_calls(ring, true);
		drv_net_send(&p->drv, 1, frame, sizeof(frame));
		assert_true(check_until(fixture_pump(NULL), drv_ring_has_used(ring)));
		fixture_settle();
		assert_int_equal(drv_net_reap(&p->drv, 1), 1);
		assert_int_equal(read(fd[i % 2], &count, sizeof(count)), sizeof(count));
		assert_int_equal(read(fd[1 - i % 2], &count, sizeof(count)), -1);
	}
	close(fd[0]);
	close(fd[1]);
}

static void new_kick_fd_on_a_running_ring_keeps_the_position(void **state)
{
	struct pair *p = running(state, NULL);
	struct drv_ring *ring = &p->drv.ring[1];

	for (unsigned int i = 0; i < 10; i++) {
		close(ring->kick_fd);
		ring->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		assert_true(ring->kick_fd >= 0);
		drv_do_vring_fd(&p->drv, VHU_SET_VRING_KICK, 1, ring->kick_fd);
		assert_int_equal(fixture_state(&p->fix, 1), VHU_RING_STARTED_ENABLED);
		drv_net_echo(&p->drv, 1, 100 * i, 3);
	}
	assert_int_equal(drv_stop_ring(&p->drv, 1), 10 + 30);
}

static void stop_and_start_with_frames_in_between(void **state)
{
	struct pair *p = running(state, NULL);
	unsigned int number = 100;

	for (unsigned int i = 0; i < 50; i++) {
		for (unsigned int ring = 0; ring < 2; ring++) {
			uint16_t base = drv_stop_ring(&p->drv, ring);

			drv_start_ring(&p->drv, ring, base);
		}
		drv_net_echo(&p->drv, 1, number, 3);
		number += 3;
	}
	assert_int_equal(p->fix.complaints, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		pair_test(same_features_again_change_nothing),
		pair_test(log_all_comes_and_goes_on_running_rings),
		pair_test(other_features_are_refused_on_running_rings),
		pair_test(same_address_again_keeps_the_position),
		pair_test(mappings_of_unchanged_regions_are_kept),
		pair_test(ring_addresses_are_translated_again_with_each_table),
		pair_test(table_without_the_rings_memory_never_reads_it_again),
		pair_test(table_is_changed_while_frames_flow),
		pair_test(slots_come_and_go_while_rings_run),
		pair_test(rem_mem_reg_closes_an_fd_that_comes_along),
		pair_test(same_region_added_twice_is_removed_twice),
		pair_test(as_many_slots_as_are_told),
		pair_test(new_call_fd_gets_the_notification_that_may_have_been_missed),
		pair_test(each_new_call_fd_is_used_from_the_ack_on),
		pair_test(new_kick_fd_on_a_running_ring_keeps_the_position),
		pair_test(stop_and_start_with_frames_in_between),
	};

	return cmocka_run_group_tests_name("live change", tests, NULL, NULL);
}
