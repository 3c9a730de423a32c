/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* Chains that are taken many at a time: whatever lies between them, all is as if one by one. */
#include <sys/mman.h>
#include <unistd.h>

#include "plain_fixture.h"

enum {
	NR_SLOTS = 128,
	SLOT = 8192,
	TABLE = 1024,
	PAGE = 4096,
	PATTERN = 0xa5,
	MAX_PIECES = 6,
	LOG_SIZE = 4096, /* 128 MiB of guest addresses */
};

/* What a chain is made of. From BAD on none can carry a frame. */
enum kind {
	ONE,
	TWO,
	FIVE,
	TABLE_OF_ONE,
	TABLE_OF_FOUR,
	EMPTY_INSIDE,
	BORDER, /* across two regions */
	BAD,
	BAD_ADDRESS = BAD,
	WRONG_WAY,
	HALF_WRONG,
	NR_KINDS,
};

struct slot {
	bool busy;
	enum kind kind;
	uint32_t number;
	unsigned int nr;
	struct drv_seg seg[MAX_PIECES];
};

static struct slot slots[NR_SLOTS];
static uint64_t slots_gpa, tables_gpa;
static unsigned int oldest, newest; /* slots in the order of available; free-running */
static bool border_busy;
static uint32_t seed;

static struct {
	int fd;		   /* -1: nothing is logged */
	uint64_t used_gpa; /* of a split ring's used part, as the log has it */
	uint8_t *bits;
	uint8_t need[LOG_SIZE];
} dirty;

static uint32_t any(uint32_t from, uint32_t to)
{
	seed = seed * 1664525 + 1013904223;
	return from + (seed >> 8) % (to - from + 1);
}

static void begin(void **state, bool packed, unsigned int index, uint32_t num, uint64_t with)
{
	plain_begin(state, packed, index, num, with);
	slots_gpa = drv_mem_alloc(&p->drv.mem, 0, (uint64_t)NR_SLOTS * SLOT, PAGE);
	drv_mem_alloc(&p->drv.mem, 1, SLOT, PAGE); /* for what lies across the border */
	tables_gpa = drv_mem_alloc(&p->drv.mem, 1, (uint64_t)NR_SLOTS * TABLE, 16);
	memset(slots, 0, sizeof(slots));
	oldest = newest = 0;
	border_busy = false;
	seed = 1;
	dirty.fd = -1;
	memset(dirty.need, 0, sizeof(dirty.need));
}

/* The same ring in each layout, and IN_ORDER. */
static void each_layout(void **state, unsigned int index, void (*run)(void))
{
	static const uint32_t split_nums[] = { 2, 16, 256 }, packed_nums[] = { 3, 17, 200 };

	for (unsigned int i = 0; i < 9; i++) {
		bool packed = i >= 3;
		uint64_t in_order = i >= 6 ? VHU_MASK(VHU_F_IN_ORDER_BIT) : 0;

		begin(state, packed, index, packed ? packed_nums[i % 3] : split_nums[i % 3],
		      in_order);
		run();
		packed_again(state);
	}
}

static int put(const struct drv_seg *segs, unsigned int nr, bool table, uint32_t token)
{
	uint64_t gpa = tables_gpa + (uint64_t)token * TABLE;

	if (plain.packed)
		return table ? dp_put_indirect(plain.packed, segs, nr, token) :
			       dp_put(plain.packed, segs, nr, token);
	return table ? drv_ring_add_indirect(plain.split, segs, nr, gpa, token) :
		       drv_ring_add(plain.split, segs, nr, token);
}

static int pop(uint32_t *ret_token, uint32_t *ret_len)
{
	return plain.packed ? dp_pop(plain.packed, ret_token, ret_len) :
			      drv_ring_pop_used(plain.split, ret_token, ret_len);
}

/* Lays total bytes out as the kind says; false: not now. */
static bool lay_out(struct slot *s, unsigned int i, enum kind kind, uint32_t total, bool write)
{
	static const unsigned int pieces[NR_KINDS] = {
		[ONE] = 1,	     [TWO] = 2,		 [FIVE] = 5,   [TABLE_OF_ONE] = 1,
		[TABLE_OF_FOUR] = 4, [EMPTY_INSIDE] = 3, [BORDER] = 1, [BAD_ADDRESS] = 2,
		[WRONG_WAY] = 1,     [HALF_WRONG] = 2,
	};
	uint64_t gpa = slots_gpa + (uint64_t)i * SLOT + any(0, PAGE - 1);
	unsigned int nr = pieces[kind];

	if (kind == BORDER && (border_busy || total < 2))
		return false;
	*s = (struct slot){ .kind = kind };
	if (kind == BORDER)
		/* often by its last byte alone */
		gpa = p->drv.mem.region[1].gpa - (any(0, 1) ? total - 1 : any(1, total - 1));
	for (; s->nr < nr; s->nr++) {
		uint32_t len = s->nr + 1 == nr ? total : total > 1 ? any(1, total - 1) : 0;

		if (kind == EMPTY_INSIDE && s->nr == 1)
			len = 0;
		s->seg[s->nr] = (struct drv_seg){ gpa, len, write };
		gpa += len + 16;
		total -= len;
	}
	if (kind == BAD_ADDRESS)
		s->seg[1] = (struct drv_seg){ 16, 100, write };
	if (kind >= WRONG_WAY)
		s->seg[nr - 1].write = !write;
	return true;
}

/* Makes a chain available that has room for total bytes, whose bytes are set; false: not now. */
static bool give(enum kind kind, uint32_t total, bool write, uint32_t number, const uint8_t *bytes)
{
	unsigned int i = newest % NR_SLOTS;
	struct slot *s = &slots[i];
	uint8_t fill[PLAIN_ROOM];

	if (s->busy || !lay_out(s, i, kind, total, write))
		return false;
	if (put(s->seg, s->nr, kind == TABLE_OF_ONE || kind == TABLE_OF_FOUR, i) < 0)
		return false;
	memset(fill, PATTERN, sizeof(fill));
	for (unsigned int j = 0; j < s->nr; j++) {
		if (kind == BAD_ADDRESS && j)
			break;
		drv_mem_write(&p->drv.mem, s->seg[j].gpa, bytes ? bytes : fill, s->seg[j].len);
		bytes += bytes ? s->seg[j].len : 0;
	}
	s->busy = true;
	s->number = number;
	border_busy |= kind == BORDER;
	newest++;
	/* a packed one is there already, with what its memory held */
	if (plain.split)
		drv_ring_publish(plain.split);
	return true;
}

static enum kind any_kind(void)
{
	/* as a rule what is taken at once, so that there are runs of it */
	return any(0, 3) ? (enum kind)any(ONE, TABLE_OF_FOUR) : (enum kind)any(ONE, NR_KINDS - 1);
}

static void mark(uint8_t *bits, uint64_t gpa, uint64_t len)
{
	for (uint64_t page = gpa / PAGE; len && page <= (gpa + len - 1) / PAGE; page++)
		bits[page / 8] |= (uint8_t)(1 << page % 8);
}

static void needed(uint64_t gpa, uint64_t len)
{
	mark(dirty.need, gpa, len);
}

/* A used element at that index or position, and what says that it is there. */
static void needed_used(uint16_t used)
{
	if (plain.split) {
		needed(dirty.used_gpa + 2, 2);
		needed(dirty.used_gpa + 4 + 8ull * (used % plain.split->num), 8);
	} else {
		needed(plain.packed->desc_gpa + 16ull * (used & 0x7fff) + 8, 8);
	}
}

/* The oldest chain comes back, and no other. NULL: none. */
static struct slot *take_back(uint32_t *ret_len)
{
	struct slot *s = &slots[oldest % NR_SLOTS];
	uint32_t token;
	uint16_t used = plain.split ? plain.split->used_idx : plain.packed->used;
	int ret;

	ret = pop(&token, ret_len);
	assert_true(ret >= 0);
	if (!ret)
		return NULL;
	needed_used(used);
	assert_ptr_equal(&slots[token], s);
	assert_true(s->busy);
	s->busy = false;
	if (s->kind == BORDER)
		border_busy = false;
	oldest++;
	return s;
}

/*
 * ---- Out of a transmit ring ----
 */
static void give_frames(uint32_t *number)
{
	uint8_t bytes[PLAIN_HDR + PLAIN_ROOM] = { 0 };

	for (unsigned int nr = any(1, 60); nr; nr--) {
		uint32_t len = any(0, 9) ? any(14, 1514) : any(1514, 3000);

		drv_net_make(bytes + PLAIN_HDR, len, *number);
		if (!give(any_kind(), PLAIN_HDR + len, false, *number, bytes))
			break;
		++*number;
	}
}

/* Pulls a burst: the frames of the next chains, less those that cannot be. The chains taken. */
static unsigned int pull_and_compare(unsigned int *next)
{
	struct vhu_net_burst *burst = p->fix.burst;
	uint8_t bytes[PLAIN_ROOM];
	unsigned int dropped = 0;
	int nr = vhu_net_pull(plain.queue, burst, any(1, VHU_NET_BURST));

	assert_true(nr >= 0);
	for (int i = 0; i < nr; i++) {
		const struct vhu_net_frame *f = &vhu_net_burst_frames(burst)[i];
		uint32_t at = f->head_len;

		for (; slots[*next % NR_SLOTS].kind >= BAD; ++*next)
			dropped++;
		memcpy(bytes, f->head, at);
		for (unsigned int j = 0; j < f->nr_iov; at += (uint32_t)f->iov[j++].iov_len)
			memcpy(bytes + at, f->iov[j].iov_base, f->iov[j].iov_len);
		assert_int_equal(at, f->len);
		assert_true(drv_net_verify(bytes, f->len, slots[*next % NR_SLOTS].number));
		++*next;
	}
	for (; dropped < vhu_net_burst_drops(burst)[VHU_NET_DROP_BAD_CHAIN]; ++*next, dropped++)
		assert_true(slots[*next % NR_SLOTS].kind >= BAD);
	assert_int_equal(dropped, vhu_net_burst_drops(burst)[VHU_NET_DROP_BAD_CHAIN]);
	return (unsigned int)nr + dropped;
}

static void mixed_chains_sent(void)
{
	unsigned int next = 0;
	uint32_t number = 0, len;

	for (unsigned int round = 0; round < 400; round++) {
		unsigned int before = next, taken;

		give_frames(&number);
		taken = pull_and_compare(&next);
		/* now and then nothing of it was: it comes again */
		if (any(0, 4) == 0) {
			vhu_net_rewind(plain.queue);
			vhu_net_done(plain.queue, p->fix.burst);
			next = before;
			continue;
		}
		vhu_net_done(plain.queue, p->fix.burst);
		assert_int_equal(next - before, taken);
		for (unsigned int i = 0; i < taken; i++) {
			assert_non_null(take_back(&len));
			assert_int_equal(len, 0);
		}
		assert_null(take_back(&len));
	}
	assert_true(number > 100);
}

static void mixed_chains_are_sent_each_in_its_turn(void **state)
{
	each_layout(state, 1, mixed_chains_sent);
}

/*
 * ---- Into a receive ring ----
 */
static void give_buffers(void)
{
	for (unsigned int nr = any(1, 100); nr; nr--) {
		uint32_t total = any(0, 1) ? any(1000, 3000) : any(60, 1500);

		if (any(0, 19) == 0)
			total = any(1, 20);
		if (!give(any_kind(), total, true, 0, NULL))
			break;
	}
}

/* What is not used has not been touched; of what is used, nothing behind the length. */
static void check_untouched(const struct slot *s, uint32_t skip)
{
	uint8_t bytes[PLAIN_ROOM];

	for (unsigned int i = 0; i < s->nr; i++) {
		uint32_t part = skip < s->seg[i].len ? skip : s->seg[i].len;

		skip -= part;
		if (s->kind == BAD_ADDRESS && i)
			break;
		drv_mem_read(&p->drv.mem, s->seg[i].gpa, bytes, s->seg[i].len);
		for (; part < s->seg[i].len; part++)
			assert_int_equal(bytes[part], PATTERN);
	}
}

static void read_slot(const struct slot *s, uint8_t *to, uint32_t len)
{
	for (unsigned int i = 0; len; i++) {
		uint32_t part = len < s->seg[i].len ? len : s->seg[i].len;

		drv_mem_read(&p->drv.mem, s->seg[i].gpa, to, part);
		needed(s->seg[i].gpa, part);
		to += part;
		len -= part;
	}
}

/* The next frame that came, of so many buffers as its header says. Its length; 0: none. */
static uint32_t receive(uint8_t *bytes)
{
	uint32_t at = 0, nr = 0, want = 1, len;
	struct drv_net_hdr hdr;
	struct slot *s;

	while (nr < want) {
		s = take_back(&len);
		if (!s) {
			assert_int_equal(nr, 0);
			return 0;
		}
		check_untouched(s, len);
		if (!len) {
			/* the buffers of one frame follow each other */
			assert_int_equal(nr, 0);
			continue;
		}
		assert_true(s->kind < BAD);
		read_slot(s, bytes + at, len);
		at += len;
		nr++;
		memcpy(&hdr, bytes, sizeof(hdr));
		/* until the whole header has come there is one more */
		want = at < PLAIN_HDR ? nr + 1 : hdr.num_buffers;
		assert_true(want >= nr);
	}
	assert_true(at > PLAIN_HDR);
	return at - PLAIN_HDR;
}

static void log_check(void)
{
	if (dirty.fd < 0)
		return;
	assert_memory_equal(dirty.bits, dirty.need, LOG_SIZE);
	memset(dirty.bits, 0, LOG_SIZE);
	memset(dirty.need, 0, LOG_SIZE);
}

static void mixed_buffers_filled(void)
{
	static uint8_t back[PLAIN_ROOM + NR_SLOTS * PLAIN_ROOM];
	bool is_small = (plain.split ? plain.split->num : plain.packed->num) < 64;
	uint32_t number = 0, room = is_small ? 300 : 3000;

	for (unsigned int round = 0; round < 400; round++) {
		unsigned int nr_frames = any(1, PLAIN_FRAMES);
		int nr;

		give_buffers();
		for (unsigned int i = 0; i < nr_frames; i++)
			plain_frame_make(i, any(0, 2) ? any(14, 200) : any(200, room), number + i);
		nr = vhu_net_push_burst(plain.queue, plain_ptrs, nr_frames);
		assert_true(nr > 0 || nr == -ENOSPC);
		assert_int_equal(vhu_net_commit(plain.queue), 0);
		for (int i = 0; i < nr; i++) {
			assert_int_equal(receive(back), plain_frame[i].len);
			assert_true(drv_net_verify(back + PLAIN_HDR, plain_frame[i].len, number++));
		}
		/* refused chains may be left, and nothing else */
		assert_int_equal(receive(back), 0);
		log_check();
		for (unsigned int i = oldest; i != newest; i++)
			check_untouched(&slots[i % NR_SLOTS], 0);
	}
	assert_true(number > (is_small ? 50 : 3000));
}

static void mixed_buffers_take_whole_frames_in_order(void **state)
{
	each_layout(state, 0, mixed_buffers_filled);
}

static void log_on(void)
{
	struct drv *drv = &p->drv;
	struct vhu_log log = { LOG_SIZE, 0 };
	struct vhu_vring_addr addr;
	struct vhu_msg reply;

	dirty.fd = memfd_create("log", MFD_CLOEXEC);
	assert_true(dirty.fd >= 0);
	assert_return_code(ftruncate(dirty.fd, LOG_SIZE), errno);
	dirty.bits = mmap(NULL, LOG_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, dirty.fd, 0);
	assert_ptr_not_equal(dirty.bits, MAP_FAILED);
	assert_int_equal(drv_send(drv, VHU_SET_LOG_BASE, 0, &log, sizeof(log), &dirty.fd, 1), 0);
	assert_int_equal(drv_recv(drv, &reply, CHECK_PATIENCE_MS), 1);
	drv_set_all_features(drv, drv->features | VHU_MASK(VHU_F_LOG_ALL_BIT));
	if (plain.packed)
		dp_fill_addr(plain.packed, &addr);
	else
		drv_fill_addr(drv, 0, &addr);
	addr.flags = VHU_VRING_F_LOG;
	/* no memory lies there; the first element begins a page of its own */
	dirty.used_gpa = LOG_SIZE / 2 * 8ull * PAGE - 4;
	addr.log = plain.packed ? 0 : dirty.used_gpa;
	drv_do(drv, VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
	fixture_settle();
	memset(dirty.bits, 0, LOG_SIZE);
}

static void bursts_log_what_they_write(void **state)
{
	for (unsigned int packed = 0; packed < 2; packed++) {
		begin(state, packed, 0, packed ? 1000 : 1024, 0);
		log_on();
		mixed_buffers_filled();
		munmap(dirty.bits, LOG_SIZE);
		close(dirty.fd);
		packed_again(state);
	}
}

/* A stop while a burst is out: all of it comes again, and no stamp of it counts. */
static void burst_that_a_stop_ends_comes_again(void **state)
{
	for (unsigned int packed = 0; packed < 2; packed++) {
		unsigned int next = 0;
		uint32_t number = 0, len;

		begin(state, packed, 1, 256, 0);
		for (unsigned int round = 0; round < 40; round++) {
			unsigned int taken, first = next;

			give_frames(&number);
			pull_and_compare(&next);
			if (packed) {
				uint32_t base = dp_stop_ring(plain.packed);

				vhu_net_done(plain.queue, p->fix.burst);
				dp_start_ring(plain.packed, base);
			} else {
				uint16_t base = drv_stop_ring(&p->drv, 1);

				vhu_net_done(plain.queue, p->fix.burst);
				drv_start_ring(&p->drv, 1, base);
			}
			fixture_settle();
			assert_null(take_back(&len));
			next = first;
			taken = pull_and_compare(&next);
			vhu_net_done(plain.queue, p->fix.burst);
			for (unsigned int i = 0; i < taken; i++)
				assert_non_null(take_back(&len));
			assert_null(take_back(&len));
		}
		packed_again(state);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		packed_test(mixed_chains_are_sent_each_in_its_turn),
		packed_test(mixed_buffers_take_whole_frames_in_order),
		packed_test(bursts_log_what_they_write),
		packed_test(burst_that_a_stop_ends_comes_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
