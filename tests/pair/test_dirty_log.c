/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* The dirty log of a migration: exactly the pages that were written, in the place that was named. */
#include <sys/mman.h>
#include <unistd.h>

#include "backend_fixture.h"
#include "driver_packed.h"

enum {
	PAGE = 4096,
	NR_PAGES = 32768, /* 128 MiB of guest addresses */
	LOG_SIZE = NR_PAGES / 8,
};

struct log {
	int fd;
	uint64_t offset;
	uint8_t *base;		/* of the whole file */
	uint8_t need[LOG_SIZE]; /* has to be set */
	uint8_t may[LOG_SIZE];	/* may be set */
};

static struct log dirty;

static void log_open(uint64_t offset)
{
	memset(&dirty, 0, sizeof(dirty));
	dirty.offset = offset;
	dirty.fd = memfd_create("log", MFD_CLOEXEC);
	assert_true(dirty.fd >= 0);
	assert_return_code(ftruncate(dirty.fd, (off_t)(offset + LOG_SIZE)), errno);
	dirty.base = mmap(NULL, offset + LOG_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, dirty.fd, 0);
	assert_ptr_not_equal(dirty.base, MAP_FAILED);
}

static void log_close(void)
{
	munmap(dirty.base, dirty.offset + LOG_SIZE);
	close(dirty.fd);
}

static void log_send(struct drv *drv)
{
	struct vhu_log log = { LOG_SIZE, dirty.offset };
	struct vhu_msg reply;

	assert_int_equal(drv_send(drv, VHU_SET_LOG_BASE, 0, &log, sizeof(log), &dirty.fd, 1), 0);
	assert_int_equal(drv_recv(drv, &reply, CHECK_PATIENCE_MS), 1);
	assert_int_equal(reply.hdr.request, VHU_SET_LOG_BASE);
	assert_int_equal(reply.hdr.flags, VHU_MSG_VERSION | VHU_MSG_REPLY);
	assert_true(reply.hdr.size == 0 || (reply.hdr.size == 8 && reply.u64 == 0));
}

static void log_features(struct drv *drv, bool on)
{
	uint64_t bit = VHU_MASK(VHU_F_LOG_ALL_BIT);

	drv_set_features(drv, on ? drv->features | bit : drv->features & ~bit);
}

static void log_ring(struct drv *drv, unsigned int ring, bool on, uint64_t log_gpa)
{
	struct vhu_vring_addr addr;

	drv_fill_addr(drv, ring, &addr);
	addr.flags = on ? VHU_VRING_F_LOG : 0;
	addr.log = log_gpa ? log_gpa : addr.log;
	drv_do(drv, VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
}

static void mark(uint8_t *bits, uint64_t gpa, uint64_t len)
{
	for (uint64_t page = gpa / PAGE; len && page <= (gpa + len - 1) / PAGE; page++)
		bits[page / 8] |= (uint8_t)(1 << (page % 8));
}

static void needed(uint64_t gpa, uint64_t len)
{
	mark(dirty.need, gpa, len);
	mark(dirty.may, gpa, len);
}

/* The used ring at log address at: nr entries from idx on, and the index. */
static void needed_used(const struct drv_ring *ring, uint64_t at, uint16_t idx, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		needed(at + 4 + 8 * ((idx + i) % ring->num), 8);
	if (nr)
		needed(at, 4);
	mark(dirty.may, at, 4);			    /* the flags */
	mark(dirty.may, at + 4 + 8 * ring->num, 2); /* avail_event */
}

/* Compares with what is in the log, and empties all three. */
static void log_check(void)
{
	uint8_t *bits = dirty.base + dirty.offset;

	for (unsigned int page = 0; page < NR_PAGES; page++) {
		uint8_t bit = (uint8_t)(1 << (page % 8));

		if (dirty.need[page / 8] & bit && !(bits[page / 8] & bit))
			fail_msg("page %#x was written and is not logged", page);
		if (bits[page / 8] & bit && !(dirty.may[page / 8] & bit))
			fail_msg("page %#x was not written and is logged", page);
	}
	for (uint64_t i = 0; i < dirty.offset; i++)
		assert_int_equal(dirty.base[i], 0);
	memset(bits, 0, LOG_SIZE);
	memset(dirty.need, 0, LOG_SIZE);
	memset(dirty.may, 0, LOG_SIZE);
}

static bool log_is_empty(void)
{
	for (unsigned int i = 0; i < LOG_SIZE; i++)
		if (dirty.base[dirty.offset + i])
			return false;
	return true;
}

static struct pair *logging(void **state, uint32_t slot_size, uint64_t offset)
{
	struct pair *p =
		pair_up(state, &(struct fixture_options){ .mode = FIXTURE_SINK },
			&(struct drv_options){
				.need_reply = true, .slot_size = slot_size, .nr_slots = 32 });

	drv_start(&p->drv);
	fixture_settle();
	log_open(offset);
	log_send(&p->drv);
	log_features(&p->drv, true);
	for (unsigned int i = 0; i < 2; i++)
		log_ring(&p->drv, i, true, 0);
	fixture_settle();
	memset(dirty.base + dirty.offset, 0, LOG_SIZE);
	return p;
}

/* Pushes a frame of len bytes and says which pages that has to write. */
static void push_and_expect(struct pair *p, size_t len)
{
	static uint8_t frame[VHU_NET_FRAME_MAX], back[VHU_NET_FRAME_MAX];
	struct drv_ring *ring = &p->drv.ring[0];
	uint16_t idx = drv_ring_used_idx(ring);
	size_t got;

	drv_net_make(frame, len, idx);
	assert_int_equal(fixture_push(&p->fix, 0, frame, len, NULL), 0);
	uint16_t nr = (uint16_t)(drv_ring_used_idx(ring) - idx);

	for (uint16_t i = 0; i < nr; i++) {
		struct drv_used_elem elem = drv_ring_used_elem(ring, (uint16_t)(idx + i));

		needed(ring->desc[elem.id].addr, elem.len);
	}
	needed_used(ring, ring->used_gpa, idx, nr);
	assert_int_equal(drv_net_receive(&p->drv, 0, back, sizeof(back), &got, NULL), 1);
	assert_int_equal(got, len);
	assert_true(drv_net_verify(back, len, idx));
}

static void received_frames_log_their_bytes_and_the_used_ring(void **state)
{
	struct pair *p = logging(state, 5000, 0);

	for (unsigned int i = 0; i < 20; i++) {
		drv_net_fill(&p->drv, 0, 8);
		push_and_expect(p, 60 + 240 * i);
		log_check();
	}
	log_close();
}

static void merged_buffers_are_logged_each(void **state)
{
	struct pair *p = logging(state, 1500, 0);

	for (unsigned int i = 1; i < 12; i++) {
		drv_net_fill(&p->drv, 0, 32);
		push_and_expect(p, 1500 * i);
		log_check();
	}
	log_close();
}

static void b22_length_of_the_buffer_is_not_what_is_logged(void **state)
{
	struct pair *p = logging(state, 65536, 0);

	drv_net_fill(&p->drv, 0, 8);
	push_and_expect(p, 60);
	log_check();
	push_and_expect(p, 5000);
	log_check();
	log_close();
}

/* A buffer that ends where its page ends, and one that goes on by one byte. */
static void last_byte_of_a_page_leaves_the_next_clean(void **state)
{
	struct pair *p = logging(state, 2048, 0);
	struct drv_ring *ring = &p->drv.ring[0];
	uint64_t gpa = drv_mem_alloc(&p->drv.mem, 0, 3 * PAGE, PAGE);
	static uint8_t frame[PAGE];

	for (uint32_t len = PAGE - 13; len <= PAGE - 11; len++) {
		struct drv_seg seg = { gpa, 2 * PAGE, true };
		uint16_t idx = drv_ring_used_idx(ring);
		uint32_t token, used;

		assert_true(drv_ring_add(ring, &seg, 1, 0) >= 0);
		drv_ring_publish(ring);
		assert_int_equal(fixture_push(&p->fix, 0, frame, len, NULL), 0);
		assert_int_equal(drv_ring_pop_used(ring, &token, &used), 1);
		assert_int_equal(used, 12 + len);
		needed(gpa, used);
		needed_used(ring, ring->used_gpa, idx, 1);
		log_check();
	}
	log_close();
}

/* A page with nothing of the frame but its header, which it holds already: it may be there no more. */
static void a_header_that_stays_as_it_was_is_logged(void **state)
{
	struct pair *p = logging(state, 2048, 0);
	struct drv_ring *ring = &p->drv.ring[0];
	const struct drv_net_hdr hdr = { .num_buffers = 1 };
	const uint64_t gpa = drv_mem_alloc(&p->drv.mem, 0, 2 * PAGE, PAGE) + PAGE - sizeof(hdr);
	const uint16_t idx = drv_ring_used_idx(ring);
	struct drv_seg seg = { gpa, PAGE, true };
	uint8_t frame[60] = { 0 };

	drv_mem_write(&p->drv.mem, gpa, &hdr, sizeof(hdr));
	assert_true(drv_ring_add(ring, &seg, 1, 0) >= 0);
	drv_ring_publish(ring);
	assert_int_equal(fixture_push(&p->fix, 0, frame, sizeof(frame), NULL), 0);
	needed(gpa, sizeof(hdr) + sizeof(frame));
	needed_used(ring, ring->used_gpa, idx, 1);
	log_check();
	log_close();
}

static void sent_frames_log_the_used_ring_alone(void **state)
{
	struct pair *p = logging(state, 2048, 0);
	struct drv_ring *ring = &p->drv.ring[1];
	uint8_t frame[1000];

	drv_net_make(frame, sizeof(frame), 0);
	for (unsigned int i = 0; i < 40; i++) {
		uint16_t idx = drv_ring_used_idx(ring);

		drv_net_send(&p->drv, 1, frame, sizeof(frame));
		assert_true(check_until(fixture_pump(NULL), drv_ring_has_used(ring)));
		fixture_settle();
		drv_net_reap(&p->drv, 1);
		needed_used(ring, ring->used_gpa, idx, 1);
		log_check();
	}
	log_close();
}

static void event_index_that_is_written_is_logged(void **state)
{
	struct pair *p = logging(state, 2048, 0);
	struct drv_ring *ring = &p->drv.ring[1];
	uint64_t event_gpa = ring->used_gpa + 4 + 8 * ring->num;
	uint8_t frame[60] = { 0 };
	uint16_t idx = drv_ring_used_idx(ring);
	uint16_t event = drv_ring_avail_event(ring);

	drv_net_send(&p->drv, 1, frame, sizeof(frame));
	assert_true(check_until(fixture_pump(NULL), drv_ring_has_used(ring)));
	fixture_settle();
	needed_used(ring, ring->used_gpa, idx, 1);
	assert_int_not_equal(drv_ring_avail_event(ring), event);
	needed(event_gpa, 2);
	log_check();
	log_close();
}

static void used_ring_is_logged_where_its_log_address_says(void **state)
{
	struct pair *p = logging(state, 2048, 0);
	struct drv_ring *ring = &p->drv.ring[1];
	uint64_t outside = UINT64_C(0x7000000); /* no memory there, but within the log */
	uint8_t frame[60] = { 0 };

	log_ring(&p->drv, 1, true, outside);
	fixture_settle();
	memset(dirty.base, 0, LOG_SIZE);
	drv_net_send(&p->drv, 1, frame, sizeof(frame));
	assert_true(check_until(fixture_pump(NULL), drv_ring_has_used(ring)));
	fixture_settle();
	needed_used(ring, outside, 0, 1);
	log_check();
	log_close();
}

static void used_ring_is_not_logged_without_its_flag(void **state)
{
	struct pair *p = logging(state, 2048, 0);
	struct drv_ring *ring = &p->drv.ring[0];

	log_ring(&p->drv, 0, false, 0);
	drv_net_fill(&p->drv, 0, 4);
	fixture_settle();
	memset(dirty.base, 0, LOG_SIZE);
	uint8_t frame[60] = { 0 };

	assert_int_equal(fixture_push(&p->fix, 0, frame, sizeof(frame), NULL), 0);
	struct drv_used_elem elem = drv_ring_used_elem(ring, 0);

	needed(ring->desc[elem.id].addr, elem.len);
	log_check();
	log_close();
}

static void buffers_are_not_logged_without_log_all(void **state)
{
	struct pair *p = logging(state, 2048, 0);
	uint8_t frame[60] = { 0 };

	for (unsigned int i = 0; i < 3; i++) {
		log_features(&p->drv, false);
		for (unsigned int ring = 0; ring < 2; ring++)
			log_ring(&p->drv, ring, false, 0);
		drv_net_fill(&p->drv, 0, 4);
		fixture_settle();
		memset(dirty.base, 0, LOG_SIZE);
		assert_int_equal(fixture_push(&p->fix, 0, frame, sizeof(frame), NULL), 0);
		assert_true(log_is_empty());

		/* It comes again, as with a second attempt to migrate. */
		log_features(&p->drv, true);
		for (unsigned int ring = 0; ring < 2; ring++)
			log_ring(&p->drv, ring, true, 0);
		fixture_settle();
		memset(dirty.base, 0, LOG_SIZE);
		assert_int_equal(fixture_push(&p->fix, 0, frame, sizeof(frame), NULL), 0);
		assert_false(log_is_empty());
		while (drv_net_receive(&p->drv, 0, (uint8_t[4096]){ 0 }, 4096, &(size_t){ 0 },
				       NULL) == 1)
			;
	}
	log_close();
}

static void log_may_begin_within_its_file(void **state)
{
	struct pair *p = logging(state, 2048, 3 * PAGE);

	drv_net_fill(&p->drv, 0, 8);
	push_and_expect(p, 1000);
	log_check();
	log_close();
}

static void new_log_takes_the_place_of_the_old(void **state)
{
	struct pair *p = logging(state, 2048, 0);
	struct log old = dirty;

	for (unsigned int i = 0; i < 5; i++) {
		old = dirty;
		log_open(i % 2 ? PAGE : 0);
		log_send(&p->drv);
		fixture_settle();
		memset(dirty.base + dirty.offset, 0, LOG_SIZE);
		memset(old.base + old.offset, 0, LOG_SIZE);
		drv_net_fill(&p->drv, 0, 8);
		push_and_expect(p, 600);
		log_check();
		for (unsigned int at = 0; at < LOG_SIZE; at++)
			assert_int_equal(old.base[old.offset + at], 0);
		munmap(old.base, old.offset + LOG_SIZE);
		close(old.fd);
	}
	log_close();
}

static void a11_page_beyond_the_log_is_left_out(void **state)
{
	struct pair *p = logging(state, 2048, 0);
	uint64_t small = 32;
	struct vhu_log log = { small, 0 };
	uint8_t frame[60] = { 0 };
	struct vhu_msg reply;
	int ret;

	/* Enough for 1 MiB of guest addresses; all memory lies behind. */
	assert_int_equal(drv_send(&p->drv, VHU_SET_LOG_BASE, 0, &log, sizeof(log), &dirty.fd, 1),
			 0);
	ret = drv_recv(&p->drv, &reply, CHECK_PATIENCE_MS);
	if (ret == 1 && (reply.hdr.size == 0 || reply.u64 == 0)) {
		drv_net_fill(&p->drv, 0, 8);
		memset(dirty.base, 0, LOG_SIZE);
		for (unsigned int i = 0; i < 4; i++)
			fixture_push(&p->fix, 0, frame, sizeof(frame), NULL);
		for (uint64_t i = small; i < LOG_SIZE; i++)
			assert_int_equal(dirty.base[i], 0);
		drv_check_in_step(&p->drv);
	}
	log_close();
}

/*
 * ---- Packed rings: written in two places, and logged where those lie ----
 */
static void packed_log(struct drv *drv, struct dp_ring rings[2], bool on)
{
	uint64_t bit = VHU_MASK(VHU_F_LOG_ALL_BIT);

	drv_set_all_features(drv, on ? drv->features | bit : drv->features & ~bit);
	for (unsigned int i = 0; i < 2; i++) {
		struct vhu_vring_addr addr;

		dp_fill_addr(&rings[i], &addr);
		addr.flags = on ? VHU_VRING_F_LOG : 0;
		addr.log = 0x3f0000; /* means nothing here */
		drv_do(drv, VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
	}
	fixture_settle();
	memset(dirty.base + dirty.offset, 0, LOG_SIZE);
}

static void packed_rings_log_descriptors_and_event_area(void **state)
{
	struct pair *p = pair_up(state, &(struct fixture_options){ .mode = FIXTURE_SINK },
				 &(struct drv_options){ .need_reply = true });
	struct dp_ring rings[2] = { 0 }, *rx = &rings[0], *tx = &rings[1];
	uint8_t frame[3000], back[4096];
	size_t len;

	dp_start(&p->drv, rings, 1000, 0, 0);
	log_open(0);
	log_send(&p->drv);
	packed_log(&p->drv, rings, true);
	drv_net_make(frame, sizeof(frame), 1);
	for (unsigned int i = 0; i < 3000; i++) {
		uint32_t left = i % 7 ? 12 + 60 : 12 + sizeof(frame);
		uint16_t at = rx->used;

		/* buffers of 1500 bytes: three for the large ones */
		dp_net_fill(rx, 4, 1500);
		assert_int_equal(fixture_push(&p->fix, 0, frame, left - 12, NULL), 0);
		for (; left; at = dp_advance(at, 1, rx->num)) {
			uint32_t part = left < 1500 ? left : 1500;
			uint64_t gpa = rx->desc_gpa + (at & 0x7fff) * sizeof(struct dp_desc);

			needed(dp_at(rx, at).addr, part);
			needed(gpa + 8, 8);
			left -= part;
		}
		log_check();
		assert_int_equal(dp_net_receive(rx, back, sizeof(back), &len), 1);
	}
	/* What is sent dirties its used descriptor, and the event area when it arms. */
	for (unsigned int i = 0; i < 1500; i++) {
		uint64_t gpa = tx->desc_gpa + (tx->used & 0x7fff) * sizeof(struct dp_desc);

		assert_true(dp_net_add(tx, frame, 60, NULL) >= 0);
		dp_kick(tx);
		assert_true(check_until(fixture_pump(NULL), dp_has_used(tx)));
		while (fixture_pump(NULL))
			;
		assert_int_equal(dp_net_reap(tx), 1);
		needed(gpa + 8, 8);
		needed(tx->device_gpa, 4);
		log_check();
	}
	packed_log(&p->drv, rings, false);
	assert_int_equal(fixture_push(&p->fix, 0, frame, 60, NULL), 0);
	assert_true(log_is_empty());
	log_close();
	dp_free(rx);
	dp_free(tx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		pair_test(received_frames_log_their_bytes_and_the_used_ring),
		pair_test(merged_buffers_are_logged_each),
		pair_test(b22_length_of_the_buffer_is_not_what_is_logged),
		pair_test(last_byte_of_a_page_leaves_the_next_clean),
		pair_test(a_header_that_stays_as_it_was_is_logged),
		pair_test(sent_frames_log_the_used_ring_alone),
		pair_test(event_index_that_is_written_is_logged),
		pair_test(used_ring_is_logged_where_its_log_address_says),
		pair_test(used_ring_is_not_logged_without_its_flag),
		pair_test(buffers_are_not_logged_without_log_all),
		pair_test(log_may_begin_within_its_file),
		pair_test(new_log_takes_the_place_of_the_old),
		pair_test(a11_page_beyond_the_log_is_left_out),
		pair_test(packed_rings_log_descriptors_and_event_area),
	};

	return cmocka_run_group_tests_name("dirty log", tests, NULL, NULL);
}
