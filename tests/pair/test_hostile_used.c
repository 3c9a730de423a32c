/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* hostile.md C1 and C2: used entries that cannot be, written by hand, in split and packed rings. */
#include <unistd.h>

#include "scene.h"

enum {
	RX = 0,
	TX = 1,
	NUM = 64,
	HDR = 12,
};

/* The device's side of one ring, which writes what it likes. */
struct hand {
	struct lab *lab;
	unsigned int ring;
	bool packed;
	uint8_t *desc;	 /* packed: the whole ring */
	uint16_t *avail; /* split: flags, idx, ring[] */
	uint8_t *used;	 /* split: flags, idx, elements */
	uint16_t pos;
	bool wrap;
	uint32_t id[NUM]; /* of the chains as they were made available, one entry each */
	uint64_t gpa[NUM];
};

struct packed_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t id, flags;
};

static void hand_init(struct hand *h, struct lab *lab, unsigned int ring)
{
	const struct liar *liar = &lab->liar;
	const struct vhu_vring_addr *addr = &liar->ring[ring].addr;
	const struct vhu_memory *memory = lab->front.memory;

	*h = (struct hand){ .lab = lab,
			    .ring = ring,
			    .packed = liar->features & VHU_MASK(VHU_F_RING_PACKED_BIT),
			    .wrap = true };
	h->desc = vhu_memory_ptr(memory, liar_gpa(liar, addr->desc), UINT64_C(16) * NUM);
	h->avail = vhu_memory_ptr(memory, liar_gpa(liar, addr->avail), 4);
	h->used = vhu_memory_ptr(memory, liar_gpa(liar, addr->used), 4);
	assert_true(h->desc && h->avail && h->used);
	for (unsigned int i = 0; i < NUM; i++) {
		const struct packed_desc *d = (const void *)h->desc;

		h->id[i] = h->packed ? d[i].id : h->avail[2 + i];
		h->gpa[i] = d[h->packed ? i : h->id[i] % NUM].addr;
	}
}

static void split_index(struct hand *h, int by)
{
	uint16_t *idx = (uint16_t *)(void *)(h->used + 2);

	__atomic_store_n(idx, (uint16_t)(*idx + by), __ATOMIC_RELEASE);
}

/* A used entry that says this, in the next place. */
static void use(struct hand *h, uint32_t id, uint32_t len)
{
	struct drv_used_elem elem = { id, len };

	if (h->packed) {
		struct packed_desc *d = &((struct packed_desc *)(void *)h->desc)[h->pos];

		d->id = (uint16_t)id;
		d->len = len;
		/* AVAIL and USED, and WRITE where the length counts: virtio 1.2, 2.8.4 */
		__atomic_store_n(&d->flags, (h->wrap ? 0x8080 : 0) | (len ? 2 : 0),
				 __ATOMIC_RELEASE);
	} else {
		memcpy(h->used + 4 + 8 * h->pos, &elem, sizeof(elem));
		split_index(h, 1);
	}
	if (++h->pos == NUM) {
		h->pos = 0;
		h->wrap = !h->wrap;
	}
}

static void put_frame(struct hand *h, unsigned int n, uint16_t num_buffers, uint32_t len)
{
	uint8_t *at = vhu_memory_ptr(h->lab->front.memory, h->gpa[n], 2048);
	struct drv_net_hdr hdr = { .num_buffers = num_buffers };

	assert_non_null(at);
	memset(at, 0x77, 2048);
	memcpy(at, &hdr, sizeof(hdr));
	use(h, h->id[n], len);
}

static struct vhu_driver *driver_of(struct lab *lab, unsigned int ring)
{
	struct front_pair *p = &lab->front.pair[0];

	return ring == RX ? vhu_net_rx_driver(p->rx) : vhu_net_tx_driver(p->tx);
}

/* What the program comes to notice. */
static int look(struct lab *lab, unsigned int ring)
{
	struct front_pair *p = &lab->front.pair[0];

	if (ring == RX)
		return vhu_net_rx_pull(p->rx, VHU_NET_BURST);
	return (int)vhu_net_tx_reclaim(p->tx);
}

static void is_broken(struct lab *lab, unsigned int ring, const char *lie, const char *word)
{
	struct front_pair *p = &lab->front.pair[0];
	struct vhu_driver *driver = driver_of(lab, ring);
	struct vhu_used used;

	look(lab, ring);
	if (!vhu_driver_fault(driver))
		fail_msg("%s was taken", lie);
	if (!strstr(vhu_driver_fault(driver), word))
		fail_msg("%s: no \"%s\" in: %s", lie, word, vhu_driver_fault(driver));
	/* nothing else happens, however often it is asked */
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(vhu_driver_take(driver, &used), -EPROTO);
		vhu_driver_publish(driver);
		vhu_driver_arm(driver);
		vhu_driver_disarm(driver);
	}
	if (ring == TX) {
		assert_null(vhu_net_tx_buffer(p->tx));
		assert_int_equal(vhu_net_tx_send(p->tx, NULL, 60), -EPROTO);
		assert_false(vhu_net_tx_publish(p->tx));
	} else {
		assert_int_equal(vhu_net_rx_pull(p->rx, 1), -EPROTO);
		vhu_net_rx_done(p->rx);
	}
	/* the other ring, and the device, go on */
	assert_null(vhu_driver_fault(driver_of(lab, !ring)));
	assert_int_equal(vhu_frontend_state(lab->front.fe), VHU_DEVICE_RUNNING);
	assert_int_equal(lab->front.gone, 0);
}

static void send_frames(struct lab *lab, unsigned int nr)
{
	struct front_pair *p = &lab->front.pair[0];

	for (unsigned int i = 0; i < nr; i++) {
		uint8_t *at = vhu_net_tx_buffer(p->tx);

		assert_non_null(at);
		memset(at, 0x11, 60);
		assert_int_equal(vhu_net_tx_send(p->tx, NULL, 60), 0);
	}
	vhu_net_tx_publish(p->tx);
}

/* A device that runs, 4 frames on their way in one ring, NUM buffers in the other. */
static void begin(struct scene *s, uint64_t features, struct hand *ret_hand, unsigned int ring)
{
	void *lab = &s->lab;

	lab_up(&lab,
	       &(struct front_options){
		       .features = features, .ring_size = NUM, .pieces = 1, .buffer_size = 2048 },
	       &(struct liar_options){ .no_protocol_features =
					       VHU_MASK(VHU_P_INFLIGHT_SHMFD_BIT) });
	front_run(&s->lab.front);
	send_frames(&s->lab, 4);
	hand_init(ret_hand, &s->lab, ring);
}

/* A new backend gets the ring laid out anew, with all that nobody had used. */
static void a_new_backend_mends_it(struct scene *s, unsigned int ring, uint32_t outstanding)
{
	struct lab *lab = &s->lab;
	struct hand h;

	liar_hang_up(&lab->liar);
	assert_true(check_until(front_pump(), lab->front.back == 1));
	assert_null(vhu_driver_fault(driver_of(lab, ring)));
	assert_int_equal(vhu_driver_outstanding(driver_of(lab, ring)), outstanding);
	hand_init(&h, lab, ring);
	if (ring == RX)
		put_frame(&h, 0, 1, HDR + 60);
	else
		use(&h, h.id[0], 0);
	assert_int_equal(look(lab, ring), 1);
	if (ring == TX)
		assert_int_equal(vhu_net_tx_outstanding(lab->front.pair[0].tx), outstanding - 1);
	lab_down(lab);
}

/*
 * ---- The lies ----
 */
struct used_lie {
	const char *name;
	unsigned int ring;
	void (*tell)(struct hand *h);
	const char *word;
	uint32_t taken; /* entries that were honest */
	bool split_only;
};

static void a_byte_more(struct hand *h)
{
	use(h, h->id[0], 2048 + 1);
}

static void four_gib(struct hand *h)
{
	use(h, h->id[0], UINT32_MAX);
}

static void a_byte_of_a_read_only_chain(struct hand *h)
{
	use(h, h->id[0], 1);
}

static void id_is_the_size(struct hand *h)
{
	use(h, NUM, 0);
}

static void id_is_huge(struct hand *h)
{
	use(h, h->packed ? UINT16_MAX : UINT32_MAX, 0);
}

/* A 16-bit reader of a 32-bit field would take that for an honest one. */
static void id_with_bit_16(struct hand *h)
{
	use(h, 0x10000 + h->id[0], 0);
}

static void id_never_added(struct hand *h)
{
	bool mine[NUM] = { false };

	for (unsigned int i = 0; i < 4; i++)
		mine[h->id[i]] = true;
	for (uint32_t id = 0; id < NUM; id++) {
		if (!mine[id]) {
			use(h, id, 0);
			return;
		}
	}
}

static void twice(struct hand *h)
{
	uint32_t id = h->id[0];

	if (h->ring == RX)
		put_frame(h, 0, 1, HDR + 60);
	else
		use(h, id, 0);
	assert_int_equal(look(h->lab, h->ring), 1);
	use(h, id, h->ring == RX ? HDR + 60 : 0);
}

static void twice_at_once(struct hand *h)
{
	uint32_t id = h->id[1];

	use(h, id, 0);
	use(h, id, 0);
}

static void index_ahead_by_the_size(struct hand *h)
{
	split_index(h, NUM + 1);
}

static void index_ahead_of_what_is_there(struct hand *h)
{
	for (unsigned int i = 0; i < 4; i++)
		use(h, h->id[i], 0);
	split_index(h, 1);
}

static void index_backwards(struct hand *h)
{
	split_index(h, -1);
}

static const struct used_lie lies[] = {
	{ "a byte more than the buffer", RX, a_byte_more, "length", 0, false },
	{ "2^32 - 1 bytes", RX, four_gib, "length", 0, false },
	{ "a byte where none is writable", TX, a_byte_of_a_read_only_chain, "length", 0, false },
	{ "an id of the ring's size", TX, id_is_the_size, "size", 0, false },
	{ "the same of the receive ring", RX, id_is_the_size, "size", 0, false },
	{ "the largest id", RX, id_is_huge, "size", 0, false },
	{ "an id beyond 16 bits", RX, id_with_bit_16, "size", 0, true },
	{ "an id that was never added", TX, id_never_added, "outstanding", 0, false },
	{ "an id twice", RX, twice, "outstanding", 1, false },
	{ "an id twice, of a sender", TX, twice, "outstanding", 1, false },
	{ "an id twice at once", TX, twice_at_once, "outstanding", 1, false },
	{ "an index ahead by the size", RX, index_ahead_by_the_size, "index", 0, true },
	{ "an index ahead of all", TX, index_ahead_of_what_is_there, "index", 0, true },
	{ "an index that goes back", TX, index_backwards, "index", 0, true },
};

static void all_lies(void **state, uint64_t features)
{
	struct scene *s = *state;
	bool packed = features & VHU_MASK(VHU_F_RING_PACKED_BIT);

	for (unsigned int i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		const struct used_lie *lie = &lies[i];
		struct hand h;

		if (packed && lie->split_only)
			continue;
		begin(s, features, &h, lie->ring);
		lie->tell(&h);
		is_broken(&s->lab, lie->ring, lie->name, lie->word);
		scene_check_bystander(s);
		a_new_backend_mends_it(s, lie->ring, (lie->ring == RX ? NUM : 4) - lie->taken);
	}
}

#define BASE (VHU_MASK(VHU_F_VERSION_1_BIT) | VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT))
#define SPLIT (BASE | VHU_MASK(VHU_F_EVENT_IDX_BIT))
#define PACKED (BASE | VHU_MASK(VHU_F_RING_PACKED_BIT) | VHU_MASK(VHU_F_EVENT_IDX_BIT))

static void split_ring_takes_no_lie(void **state)
{
	all_lies(state, SPLIT);
}

static void split_ring_without_event_index_takes_no_lie(void **state)
{
	all_lies(state, BASE);
}

static void packed_ring_takes_no_lie(void **state)
{
	all_lies(state, PACKED);
}

/*
 * ---- In order ----
 */
static void in_order(void **state, uint64_t features)
{
	struct scene *s = *state;
	struct hand h;

	/* one entry for all four: honest */
	begin(s, features | VHU_MASK(VHU_F_IN_ORDER_BIT), &h, TX);
	if (h.packed) {
		use(&h, h.id[3], 0);
	} else {
		/* the index tells all, the entry of the last one stands in its own place */
		h.pos = 0;
		struct drv_used_elem elem = { h.id[3], 0 };

		for (unsigned int i = 0; i < 4; i++)
			memcpy(h.used + 4 + 8 * i, &elem, sizeof(elem));
		split_index(&h, 4);
	}
	assert_int_equal(look(&s->lab, TX), 4);
	assert_null(vhu_driver_fault(driver_of(&s->lab, TX)));
	lab_down(&s->lab);

	/* one that is done already, again */
	begin(s, features | VHU_MASK(VHU_F_IN_ORDER_BIT), &h, TX);
	uint32_t first = h.id[0];

	use(&h, first, 0);
	assert_int_equal(look(&s->lab, TX), 1);
	use(&h, first, 0);
	is_broken(&s->lab, TX, "an old id", "used id");
	lab_down(&s->lab);

	begin(s, features | VHU_MASK(VHU_F_IN_ORDER_BIT), &h, RX);
	use(&h, NUM, 0);
	is_broken(&s->lab, RX, "an id of the size", "size");
	lab_down(&s->lab);

	begin(s, features | VHU_MASK(VHU_F_IN_ORDER_BIT), &h, RX);
	use(&h, h.id[0], 2049);
	is_broken(&s->lab, RX, "a byte more", "length");
	lab_down(&s->lab);
}

static void split_ring_in_order_takes_no_lie(void **state)
{
	in_order(state, SPLIT);
}

static void packed_ring_in_order_takes_no_lie(void **state)
{
	in_order(state, PACKED);
}

/*
 * ---- Honest entries, and frames that lie ----
 */
static void frames_that_lie_are_dropped(void **state, uint64_t features)
{
	struct scene *s = *state;
	struct front_pair *p = &s->lab.front.pair[0];
	struct hand h;

	begin(s, features, &h, RX);
	/* ones that are what they say; any order, all there is of the buffer */
	put_frame(&h, 1, 1, HDR + 60);
	put_frame(&h, 0, 1, 2048);
	assert_int_equal(look(&s->lab, RX), 2);
	assert_int_equal(vhu_net_rx_frames(p->rx)[0].len, 60);
	assert_int_equal(vhu_net_rx_frames(p->rx)[1].len, 2048 - HDR);
	/* too short for a header, or for an Ethernet header */
	put_frame(&h, 2, 1, 0);
	put_frame(&h, 3, 1, HDR - 1);
	put_frame(&h, 4, 1, HDR);
	put_frame(&h, 5, 1, HDR + 13);
	/* buffers that cannot be */
	put_frame(&h, 6, 0, HDR + 60);
	put_frame(&h, 7, NUM + 1, HDR + 60);
	put_frame(&h, 8, UINT16_MAX, HDR + 60);
	assert_int_equal(look(&s->lab, RX), 0);
	assert_int_equal(vhu_net_rx_bad(p->rx), 7);
	/* of several buffers: not before the last is there */
	put_frame(&h, 9, 3, HDR + 100);
	put_frame(&h, 10, 4711, 200);
	assert_int_equal(look(&s->lab, RX), 0);
	put_frame(&h, 11, 0, 300);
	assert_int_equal(look(&s->lab, RX), 1);
	assert_int_equal(vhu_net_rx_frames(p->rx)[0].len, 600);
	/* longer than any frame */
	put_frame(&h, 12, 40, 2048);
	for (unsigned int i = 13; i < 52; i++)
		put_frame(&h, i, 1, 2048);
	assert_int_equal(look(&s->lab, RX), 0);
	assert_int_equal(vhu_net_rx_bad(p->rx), 8);
	assert_null(vhu_driver_fault(driver_of(&s->lab, RX)));
	/* their buffers are the device's again */
	vhu_net_rx_done(p->rx);
	assert_int_equal(vhu_driver_outstanding(driver_of(&s->lab, RX)), NUM);
	scene_check_bystander(s);
}

static void frames_that_lie_are_dropped_from_a_split_ring(void **state)
{
	frames_that_lie_are_dropped(state, SPLIT);
}

static void frames_that_lie_are_dropped_from_a_packed_ring(void **state)
{
	frames_that_lie_are_dropped(state, PACKED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scene_test(split_ring_takes_no_lie),
		scene_test(split_ring_without_event_index_takes_no_lie),
		scene_test(packed_ring_takes_no_lie),
		scene_test(split_ring_in_order_takes_no_lie),
		scene_test(packed_ring_in_order_takes_no_lie),
		scene_test(frames_that_lie_are_dropped_from_a_split_ring),
		scene_test(frames_that_lie_are_dropped_from_a_packed_ring),
	};

	return cmocka_run_group_tests_name("hostile_used", tests, NULL, NULL);
}
