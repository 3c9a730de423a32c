/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* Chains that are taken many at a time: whatever lies between them, all is as if one by one. */
#include <sys/mman.h>
#include <unistd.h>

#include <ring/ring.h>

#include "packed_fixture.h"

enum {
	NR_SLOTS = 128,
	SLOT = 8192,
	TABLE = 1024,
	PAGE = 4096,
	PATTERN = 0xa5,
	HDR = 12,
	MAX_PIECES = 6,
	FRAME_ROOM = 4096,
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

/* The ring under test, of one of two layouts. */
static struct {
	struct drv_ring *split;
	struct dp_ring *packed;
	struct vhu_queue *queue;
} lane;
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

static void begin(void **state, bool packed, unsigned int index, uint32_t num, uint64_t with,
		  uint64_t without)
{
	const struct fixture_options idle = { .mode = FIXTURE_IDLE };

	if (packed) {
		packed_running(state, &idle, num, with, without);
	} else {
		p = pair_up(state, &idle,
			    &(struct drv_options){
				    .need_reply = true, .ring_size = num, .no_features = without });
		drv_start(&p->drv);
	}
	fixture_settle();
	lane.split = packed ? NULL : &p->drv.ring[index];
	lane.packed = packed ? (index ? tx : rx) : NULL;
	lane.queue = vhu_backend_queue(p->fix.backend, index);
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
		      in_order, 0);
		run();
		packed_again(state);
	}
}

static int put(const struct drv_seg *segs, unsigned int nr, bool table, uint32_t token)
{
	uint64_t gpa = tables_gpa + (uint64_t)token * TABLE;

	if (lane.packed)
		return table ? dp_put_indirect(lane.packed, segs, nr, token) :
			       dp_put(lane.packed, segs, nr, token);
	return table ? drv_ring_add_indirect(lane.split, segs, nr, gpa, token) :
		       drv_ring_add(lane.split, segs, nr, token);
}

static int pop(uint32_t *ret_token, uint32_t *ret_len)
{
	return lane.packed ? dp_pop(lane.packed, ret_token, ret_len) :
			     drv_ring_pop_used(lane.split, ret_token, ret_len);
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
	uint8_t fill[FRAME_ROOM];

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
	if (lane.split)
		drv_ring_publish(lane.split);
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
	if (lane.split) {
		needed(dirty.used_gpa + 2, 2);
		needed(dirty.used_gpa + 4 + 8ull * (used % lane.split->num), 8);
	} else {
		needed(lane.packed->desc_gpa + 16ull * (used & 0x7fff) + 8, 8);
	}
}

/* The oldest chain comes back, and no other. NULL: none. */
static struct slot *take_back(uint32_t *ret_len)
{
	struct slot *s = &slots[oldest % NR_SLOTS];
	uint32_t token;
	uint16_t used = lane.split ? lane.split->used_idx : lane.packed->used;
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
	uint8_t bytes[HDR + FRAME_ROOM] = { 0 };

	for (unsigned int nr = any(1, 60); nr; nr--) {
		uint32_t len = any(0, 9) ? any(14, 1514) : any(1514, 3000);

		drv_net_make(bytes + HDR, len, *number);
		if (!give(any_kind(), HDR + len, false, *number, bytes))
			break;
		++*number;
	}
}

/* Pulls a burst: the frames of the next chains, less those that cannot be. The chains taken. */
static unsigned int pull_and_compare(unsigned int *next)
{
	struct vhu_net_burst *burst = p->fix.burst;
	uint8_t bytes[FRAME_ROOM];
	unsigned int dropped = 0;
	int nr = vhu_net_pull(lane.queue, burst, any(1, VHU_NET_BURST));

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
			vhu_net_rewind(lane.queue);
			vhu_net_done(lane.queue, p->fix.burst);
			next = before;
			continue;
		}
		vhu_net_done(lane.queue, p->fix.burst);
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
enum {
	MAX_FRAMES = 100,
};

static uint8_t frame_bytes[MAX_FRAMES][FRAME_ROOM];
static struct vhu_net_frame frame_of[MAX_FRAMES];
static struct iovec iov_of[MAX_FRAMES][2];
static const struct vhu_net_frame *frame_ptrs[MAX_FRAMES];

/* A frame whose beginning is a copy, and whose rest lies in two places. */
static void make_frame(unsigned int i, uint32_t len, uint32_t number)
{
	uint32_t head = len < 144 ? len : 144, part = (len - head) / 3;
	uint8_t *bytes = frame_bytes[i];

	drv_net_make(bytes, len, number);
	iov_of[i][0] = (struct iovec){ bytes + head, part };
	iov_of[i][1] = (struct iovec){ bytes + head + part, len - head - part };
	frame_of[i] = (struct vhu_net_frame){ .len = len,
					      .head_len = (uint16_t)head,
					      .nr_iov = len > head ? 2 : 0,
					      .head = bytes,
					      .iov = iov_of[i] };
	frame_ptrs[i] = &frame_of[i];
}

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
	uint8_t bytes[FRAME_ROOM];

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
		want = at < HDR ? nr + 1 : hdr.num_buffers;
		assert_true(want >= nr);
	}
	assert_true(at > HDR);
	return at - HDR;
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
	static uint8_t back[FRAME_ROOM + NR_SLOTS * FRAME_ROOM];
	bool is_small = (lane.split ? lane.split->num : lane.packed->num) < 64;
	uint32_t number = 0, room = is_small ? 300 : 3000;

	for (unsigned int round = 0; round < 400; round++) {
		unsigned int nr_frames = any(1, MAX_FRAMES);
		int nr;

		give_buffers();
		for (unsigned int i = 0; i < nr_frames; i++)
			make_frame(i, any(0, 2) ? any(14, 200) : any(200, room), number + i);
		nr = vhu_net_push_burst(lane.queue, frame_ptrs, nr_frames);
		assert_true(nr > 0 || nr == -ENOSPC);
		assert_int_equal(vhu_net_commit(lane.queue), 0);
		for (int i = 0; i < nr; i++) {
			assert_int_equal(receive(back), frame_of[i].len);
			assert_true(drv_net_verify(back + HDR, frame_of[i].len, number++));
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
	if (lane.packed)
		dp_fill_addr(lane.packed, &addr);
	else
		drv_fill_addr(drv, 0, &addr);
	addr.flags = VHU_VRING_F_LOG;
	/* no memory lies there; the first element begins a page of its own */
	dirty.used_gpa = LOG_SIZE / 2 * 8ull * PAGE - 4;
	addr.log = lane.packed ? 0 : dirty.used_gpa;
	drv_do(drv, VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
	fixture_settle();
	memset(dirty.bits, 0, LOG_SIZE);
}

static void bursts_log_what_they_write(void **state)
{
	for (unsigned int packed = 0; packed < 2; packed++) {
		begin(state, packed, 0, packed ? 1000 : 1024, 0, 0);
		log_on();
		mixed_buffers_filled();
		munmap(dirty.bits, LOG_SIZE);
		close(dirty.fd);
		packed_again(state);
	}
}

/*
 * ---- Chains put by hand, of rings that are large ----
 */
enum {
	LARGE = 2048,
};

/* One descriptor of that id, which no bookkeeping knows. */
static void put_id(uint64_t gpa, uint32_t len, uint16_t id, bool write)
{
	uint16_t flags = write ? DRV_DESC_WRITE : 0;

	if (lane.packed) {
		dp_put_raw(lane.packed, &(struct dp_desc){ gpa, len, id, flags }, 1);
		return;
	}
	lane.split->desc[id] = (struct drv_desc){ gpa, len, flags, 0 };
	drv_ring_add_head(lane.split, id);
	drv_ring_publish(lane.split);
}

static int pull_and_give_back(void)
{
	int nr = vhu_net_pull(lane.queue, p->fix.burst, VHU_NET_BURST);

	vhu_net_done(lane.queue, p->fix.burst);
	return nr;
}

/* The count of publications goes round: what was taken a whole round ago is not taken now. */
static void ids_are_good_again_after_any_number_of_publications(void **state)
{
	for (unsigned int packed = 0; packed < 2; packed++) {
		begin(state, packed, 1, LARGE, 0, 0);
		if (packed)
			dp_want_calls(lane.packed, false);
		else
			drv_ring_want_calls(lane.split, false);
		for (uint32_t i = 0; i < 65535 + 3; i++) {
			/* a high one and a low one that come once a round */
			uint16_t id = i % 65535 == 0 ? LARGE - 1 : i % 65535 == 1 ? 0 : 1000;

			put_id(slots_gpa, HDR + 60, id, false);
			assert_int_equal(pull_and_give_back(), 1);
		}
		/* and is still seen if it comes twice, between others, in one burst */
		for (uint16_t id = 1; id < 6; id++)
			put_id(slots_gpa, HDR + 60, id == 4 ? 2 : id, false);
		assert_int_equal(pull_and_give_back(), 3);
		assert_int_equal(pull_and_give_back(), -ENOTCONN);
		assert_true(check_until(fixture_pump(NULL), p->fix.texts[0]));
		fixture_check_reason(&p->fix, "2 came twice");
		packed_again(state);
	}
}

static void shadow_that_is_full_takes_no_more(void **state)
{
	for (unsigned int packed = 0; packed < 2; packed++) {
		unsigned int pushed = 0;
		int nr;

		begin(state, packed, 0, LARGE, 0, 0);
		for (unsigned int id = 0; id < LARGE; id++)
			put_id(slots_gpa, HDR + 60, (uint16_t)id, true);
		for (unsigned int i = 0; i < MAX_FRAMES; i++)
			make_frame(i, 60, i);
		/* all but one of what waits for one publication */
		while (pushed < VHU_SHADOW_MAX - 1) {
			unsigned int want = VHU_SHADOW_MAX - 1 - pushed;

			nr = vhu_net_push_burst(lane.queue, frame_ptrs,
						want < MAX_FRAMES ? want : MAX_FRAMES);
			assert_true(nr > 0);
			pushed += (unsigned int)nr;
		}
		/* two buffers are one too many; one is not, and a burst gets that far */
		make_frame(0, 100, 0);
		assert_int_equal(vhu_net_push_burst(lane.queue, frame_ptrs, 1), -ENOSPC);
		make_frame(0, 60, 0);
		assert_int_equal(vhu_net_push_burst(lane.queue, frame_ptrs, MAX_FRAMES), 1);
		assert_int_equal(vhu_net_push_burst(lane.queue, frame_ptrs, MAX_FRAMES), -ENOSPC);
		assert_int_equal(vhu_net_commit(lane.queue), 0);
		for (pushed = 0;; pushed += (unsigned int)nr) {
			nr = vhu_net_push_burst(lane.queue, frame_ptrs, MAX_FRAMES);
			if (nr < 0)
				break;
		}
		assert_int_equal(nr, -ENOSPC);
		assert_int_equal(pushed, LARGE - VHU_SHADOW_MAX);
		assert_int_equal(vhu_net_commit(lane.queue), 0);
		for (unsigned int i = 0; i < LARGE; i++) {
			if (packed) {
				assert_int_equal(lane.packed->desc[i].id, i);
				assert_int_equal(lane.packed->desc[i].len, HDR + 60);
				assert_int_equal(lane.packed->desc[i].flags,
						 packed_used_flags(DP_FRESH, true));
			} else {
				assert_int_equal(drv_ring_used_elem(lane.split, (uint16_t)i).id, i);
				assert_int_equal(drv_ring_used_elem(lane.split, (uint16_t)i).len,
						 HDR + 60);
			}
		}
		packed_again(state);
	}
}

/* A stop while a burst is out: all of it comes again, and no stamp of it counts. */
static void burst_that_a_stop_ends_comes_again(void **state)
{
	for (unsigned int packed = 0; packed < 2; packed++) {
		unsigned int next = 0;
		uint32_t number = 0, len;

		begin(state, packed, 1, 256, 0, 0);
		for (unsigned int round = 0; round < 40; round++) {
			unsigned int taken, first = next;

			give_frames(&number);
			pull_and_compare(&next);
			if (packed) {
				uint32_t base = dp_stop_ring(lane.packed);

				vhu_net_done(lane.queue, p->fix.burst);
				dp_start_ring(lane.packed, base);
			} else {
				uint16_t base = drv_stop_ring(&p->drv, 1);

				vhu_net_done(lane.queue, p->fix.burst);
				drv_start_ring(&p->drv, 1, base);
			}
			fixture_settle();
			assert_null(take_back(&len));
			next = first;
			taken = pull_and_compare(&next);
			vhu_net_done(lane.queue, p->fix.burst);
			for (unsigned int i = 0; i < taken; i++)
				assert_non_null(take_back(&len));
			assert_null(take_back(&len));
		}
		packed_again(state);
	}
}

/* Frames of 64 KiB in buffers of one byte: refused, whatever their number; all stays as it was. */
static void frames_that_want_more_buffers_than_can_be_change_nothing(void **state)
{
	for (unsigned int packed = 0; packed < 2; packed++) {
		begin(state, packed, 0, LARGE, 0, 0);
		for (unsigned int id = 0; id < LARGE; id++)
			put_id(slots_gpa + id, 1, (uint16_t)id, true);
		make_frame(0, FRAME_ROOM, 0);
		make_frame(1, 60, 0);
		for (unsigned int i = 0; i < 5; i++) {
			int err = vhu_net_push_burst(lane.queue, frame_ptrs, 1);

			assert_true(err == -ENOSPC || err == -EMSGSIZE);
			assert_int_equal(vhu_net_commit(lane.queue), 0);
		}
		/* the first 72 are still the first, and take a frame that they can take */
		assert_int_equal(vhu_net_push_burst(lane.queue, frame_ptrs + 1, 1), 1);
		assert_int_equal(vhu_net_commit(lane.queue), 0);
		assert_memory_equal((uint8_t *)drv_mem_ptr(&p->drv.mem, slots_gpa) + HDR,
				    frame_bytes[1], 60);
		if (!packed)
			assert_int_equal(drv_ring_used_idx(lane.split), HDR + 60);
		packed_again(state);
	}
}

/* Pushes one frame. How many chains were looked at for it, those that went back included. */
static unsigned int chains_looked_at(uint32_t len)
{
	unsigned int nr = 0;

	memset(lane.queue->shadow, 0xff, lane.queue->shadow_max * sizeof(*lane.queue->shadow));
	make_frame(0, len, len);
	assert_int_equal(vhu_net_push_burst(lane.queue, frame_ptrs, 1), 1);
	while (nr < lane.queue->shadow_max && lane.queue->shadow[nr].id != UINT32_MAX)
		nr++;
	assert_int_equal(vhu_net_commit(lane.queue), 0);
	return nr;
}

/* Buffers of several pieces, of which the first has room for a header only, and yet mergeable. */
static void buffers_are_guessed_by_all_of_their_pieces(void **state)
{
	uint64_t gpa;

	begin(state, false, 0, 256, 0, 0);
	gpa = slots_gpa;
	for (unsigned int i = 0; i < 100; i++) {
		struct drv_seg segs[2] = { { gpa, HDR, true }, { gpa + 16, 2048 - HDR, true } };

		assert_true(drv_ring_add(lane.split, segs, 2, i) >= 0);
		gpa += 4096;
	}
	drv_ring_publish(lane.split);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(chains_looked_at(1514), 1);
	/* larger than one: learnt by the first */
	assert_in_range(chains_looked_at(4000), 2, 3);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(chains_looked_at(4000), 2);
	assert_int_equal(chains_looked_at(1514), 1);
}

/* A small buffer is forgotten when larger ones have come, or another driver. */
static void guess_of_a_small_buffer_does_not_last(void **state)
{
	begin(state, false, 0, 256, 0, 0);
	for (unsigned int i = 0; i < 100; i++) {
		struct drv_seg seg = { slots_gpa + i * 4096ull, i ? 2048 : 16, true };

		assert_true(drv_ring_add(lane.split, &seg, 1, i) >= 0);
	}
	drv_ring_publish(lane.split);
	chains_looked_at(1514);
	assert_int_not_equal(lane.queue->buffer_len, 0);
	chains_looked_at(1514);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(chains_looked_at(1514), 1);
	assert_in_range(chains_looked_at(4000), 2, 3);
	assert_int_not_equal(lane.queue->buffer_len, 0);
	drv_start_ring(&p->drv, 0, drv_stop_ring(&p->drv, 0));
	fixture_settle();
	assert_int_equal(lane.queue->buffer_len, 0);
}

/* Twice round a small table is no work for nothing, whatever room there is for pieces. */
static void loop_is_left_after_its_table_has_been_read_once(void **state)
{
	static struct vhu_seg segs[VHU_CHAIN_MAX];
	const struct vhu_view *view;
	struct vhu_chain chain;
	unsigned int nr = 0;

	begin(state, false, 1, 4, 0, 0);
	for (uint16_t i = 0; i < 4; i++)
		lane.split->desc[i] =
			(struct drv_desc){ slots_gpa, 100, DRV_DESC_NEXT, (uint16_t)((i + 1) % 4) };
	drv_ring_add_head(lane.split, 0);
	drv_ring_publish(lane.split);
	view = vhu_queue_view(lane.queue);
	assert_int_equal(vhu_ring_take_plain(lane.queue, view, segs, VHU_CHAIN_MAX, 32, false), 0);
	while (nr < VHU_CHAIN_MAX && segs[nr].host)
		nr++;
	assert_int_equal(nr, 4);
	assert_int_equal(vhu_ring_take(lane.queue, view, segs, VHU_CHAIN_MAX, &chain), 1);
	assert_int_equal(chain.fault, VHU_FAULT_LOOP);
	vhu_ring_return(lane.queue, &chain, 0);
	vhu_ring_publish(lane.queue, view);
	assert_int_equal(drv_ring_used_idx(lane.split), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		packed_test(mixed_chains_are_sent_each_in_its_turn),
		packed_test(mixed_buffers_take_whole_frames_in_order),
		packed_test(bursts_log_what_they_write),
		packed_test(ids_are_good_again_after_any_number_of_publications),
		packed_test(shadow_that_is_full_takes_no_more),
		packed_test(burst_that_a_stop_ends_comes_again),
		packed_test(frames_that_want_more_buffers_than_can_be_change_nothing),
		packed_test(buffers_are_guessed_by_all_of_their_pieces),
		packed_test(guess_of_a_small_buffer_does_not_last),
		packed_test(loop_is_left_after_its_table_has_been_read_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
