/* SPDX-License-Identifier: MIT */
/* Every kind and size of ring, set up one after the other for two threads that notify each other. */
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "notify_stress.h"

#define PACKED VHU_MASK(VHU_F_RING_PACKED_BIT)
#define EVENT_IDX VHU_MASK(VHU_F_EVENT_IDX_BIT)
#define IN_ORDER VHU_MASK(VHU_F_IN_ORDER_BIT)
#define INDIRECT VHU_MASK(VHU_F_INDIRECT_DESC_BIT)

enum {
	FRAME_MAX = 64, /* all that a buffer has to take */
};

/* Of all rings together. */
struct sum {
	uint64_t nr_slept, nr_polled;
};

static struct notify_counts counts;
static uint64_t chains_total, masks_total, restarts_total;
static struct sum driver_sum, device_sum;

static void watch_fd(const struct notify_side *side, int fd)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.fd = fd };

	assert_return_code(epoll_ctl(side->epoll_fd, EPOLL_CTL_ADD, fd, &event), errno);
}

static void side_init(struct notify_side *side, const char *name, int event_fd, uint64_t seed)
{
	side->name = name;
	side->random = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15);
	side->event_fd = event_fd;
	side->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	side->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(side->epoll_fd >= 0 && side->wake_fd >= 0);
	watch_fd(side, event_fd);
	watch_fd(side, side->wake_fd);
}

static void side_end(struct notify_side *side)
{
	notify_wake(side);
	pthread_join(side->thread, NULL);
	close(side->epoll_fd);
	close(side->wake_fd);
}

static void set_up(struct notify *s, const struct notify_choice *choice)
{
	static uint64_t seed;
	const uint64_t features = VHU_MASK(VHU_F_VERSION_1_BIT) | choice->features;
	const unsigned int ring = choice->transmits ? 1 : 0;

	s->choice = choice;
	s->nr_chains = choice->num < 16 ? counts.nr_short : counts.nr_long;
	s->nr_chains += (uint64_t)counts.laps * choice->num;
	/* one mapping for both sides, or no race between them would ever be seen */
	drv_mem_share_mapping(true);
	fixture_init(&s->fix, &(struct fixture_options){
				      .mode = FIXTURE_IDLE,
				      .features = FIXTURE_NET_FEATURES,
			      });
	front_init(&s->front, &(struct front_options){
				      .features = features,
				      .features_needed = features,
				      .connect = s->fix.path,
				      .region_size = UINT64_C(32) << 20,
				      .ring_size = choice->num,
				      .frame_max = FRAME_MAX,
				      .pieces = choice->num < 4 ? 1 : 1 + choice->num % 3,
				      .share_mapping = true,
			      });
	front_run(&s->front);
	assert_true(drv_mem_shared_count() > 0);
	s->queue = vhu_backend_queue(s->fix.backend, ring);
	s->ring = choice->transmits ? vhu_net_tx_driver(s->front.pair[0].tx) :
				      vhu_net_rx_driver(s->front.pair[0].rx);
	assert_int_equal(vhu_reader_new(&s->reader, s->fix.domain), 0);
	assert_int_equal(vhu_net_burst_new(&s->burst), 0);
	side_init(&s->driver, "driver", vhu_frontend_call_fd(s->front.fe, ring), ++seed);
	side_init(&s->device, "device", vhu_frontend_kick_fd(s->front.fe, ring), ++seed);
	s->driver.ring_size = s->device.ring_size = choice->num;
	s->driver.reads = seed % 4 == 0;
	/* front_run() has filled the receive ring */
	s->device.work = choice->transmits ? 0 : vhu_driver_outstanding(s->ring);
}

static void tear_down(struct notify *s)
{
	vhu_net_burst_free(s->burst);
	vhu_reader_free(s->reader);
	front_free(&s->front);
	fixture_free(&s->fix);
	drv_mem_share_mapping(false);
}

static void add_up(struct sum *sum, const struct notify_side *side)
{
	sum->nr_slept += side->nr_slept;
	sum->nr_polled += side->nr_polled;
}

static void nobody_sleeps_beside_work(void **state)
{
	const struct notify_choice *choice = *state;
	struct notify *s = calloc(1, sizeof(*s));
	const char *trouble;

	assert_non_null(s);
	set_up(s, choice);
	assert_int_equal(pthread_create(&s->device.thread, NULL, notify_device_thread, s), 0);
	assert_int_equal(pthread_create(&s->driver.thread, NULL, notify_driver_thread, s), 0);
	trouble = notify_watch(s);
	if (trouble) {
		notify_show(s);
		notify_poke(&s->give_up, true);
	}
	side_end(&s->driver);
	side_end(&s->device);
	if (trouble)
		fail_msg("%s: %s", choice->name, trouble);
	assert_int_equal(s->driver.done, s->nr_chains);
	assert_int_equal(s->device.done, s->nr_chains);
	/* or nothing was tried; a long ring may never have been empty, or full */
	if (choice->num <= 16)
		assert_true(s->driver.nr_slept && s->device.nr_slept);
	chains_total += s->nr_chains;
	masks_total += s->nr_masks;
	restarts_total += s->nr_restarts;
	add_up(&driver_sum, &s->driver);
	add_up(&device_sum, &s->device);
	tear_down(s);
	free(s);
}

static void tell(const char *name, const struct sum *sum)
{
	print_message("# %s: slept %llu times, polled %llu times\n", name,
		      (unsigned long long)sum->nr_slept, (unsigned long long)sum->nr_polled);
	assert_true(sum->nr_slept && sum->nr_polled);
}

static void both_sides_slept_and_polled(void **state)
{
	(void)state;
	print_message("# %llu chains; masked %llu times, stopped and started %llu times\n",
		      (unsigned long long)chains_total, (unsigned long long)masks_total,
		      (unsigned long long)restarts_total);
	assert_true(masks_total && restarts_total);
	tell("driver", &driver_sum);
	tell("device", &device_sum);
}

static void name(struct notify_choice *c)
{
	snprintf(c->name, sizeof(c->name), "%s_%s_%s%s%s_%u", c->transmits ? "transmit" : "receive",
		 c->features & PACKED ? "packed" : "split",
		 c->features & EVENT_IDX ? "event_idx" : "flags",
		 c->features & IN_ORDER ? "_in_order" : "",
		 c->features & INDIRECT ? "_indirect" : "", c->num);
}

int notify_stress_main(const struct notify_counts *wanted)
{
	static const uint32_t split[] = { 1, 2, 4, 16, 64, 256, 1024, 8192, 32768 };
	static const uint32_t packed[] = { 1, 2, 3, 5, 7, 16, 100, 255, 1000, 32767, 32768 };
	static struct notify_choice list[4 * (9 + 11)];
	static struct CMUnitTest tests[4 * (9 + 11) + 1];
	unsigned int nr = 0;

	counts = *wanted;
	for (unsigned int kind = 0; kind < 8; kind++) {
		const uint32_t *sizes = kind & 1 ? packed : split;
		const unsigned int nr_sizes = kind & 1 ? 11 : 9;

		for (unsigned int i = 0; i < nr_sizes && sizes[i] <= counts.size_max; i++, nr++) {
			struct notify_choice *c = &list[nr];

			c->num = sizes[i];
			c->transmits = kind & 4;
			c->features = (kind & 1 ? PACKED : 0) | (kind & 2 ? EVENT_IDX : 0);
			/* decide nothing about notification, so they need not meet all else */
			c->features |=
				((i ^ kind >> 1) & 1 ? IN_ORDER : 0) | (i % 3 ? INDIRECT : 0);
			name(c);
			tests[nr] = (struct CMUnitTest){ c->name, nobody_sleeps_beside_work, NULL,
							 NULL, c };
		}
	}
	tests[nr++] = (struct CMUnitTest)cmocka_unit_test(both_sides_slept_and_polled);
	return _cmocka_run_group_tests("notify_stress", tests, nr, NULL, NULL);
}
