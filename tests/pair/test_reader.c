/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* Readers and tickets: nothing is taken away from a thread that may be copying, and nobody waits. */
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "hostile.h"

static void ticket_passes_when_every_reader_has(void **state)
{
	struct vhu_domain *domain;
	struct vhu_reader *a, *b;
	uint64_t ticket;

	(void)state;
	assert_int_equal(vhu_domain_new(&domain), 0);
	/* Nobody there. */
	assert_true(vhu_domain_passed(domain, vhu_domain_ticket(domain)));
	assert_int_equal(vhu_reader_new(&a, domain), 0);
	assert_int_equal(vhu_reader_new(&b, domain), 0);
	/* They begin offline. */
	assert_true(vhu_domain_passed(domain, vhu_domain_ticket(domain)));
	vhu_reader_online(a);
	ticket = vhu_domain_ticket(domain);
	assert_false(vhu_domain_passed(domain, ticket));
	vhu_reader_online(b);
	/* b came after the ticket: only a may hold what went before. */
	assert_false(vhu_domain_passed(domain, ticket));
	vhu_reader_quiescent(a);
	assert_true(vhu_domain_passed(domain, ticket));
	ticket = vhu_domain_ticket(domain);
	vhu_reader_quiescent(a);
	assert_false(vhu_domain_passed(domain, ticket));
	vhu_reader_offline(b);
	assert_true(vhu_domain_passed(domain, ticket));
	vhu_domain_wait(domain, ticket);
	vhu_reader_offline(a);
	vhu_reader_free(a);
	vhu_reader_free(b);
	vhu_reader_free(NULL);
	vhu_domain_free(domain);
}

static void passing_raises_the_domain_fd(void **state)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	struct vhu_domain *domain;
	struct vhu_reader *reader;
	uint64_t ticket;
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	(void)state;
	assert_int_equal(vhu_domain_new(&domain), 0);
	assert_int_equal(vhu_reader_new(&reader, domain), 0);
	assert_true(epoll >= 0);
	assert_return_code(epoll_ctl(epoll, EPOLL_CTL_ADD, vhu_domain_fd(domain), &event), errno);
	for (unsigned int i = 0; i < 20; i++) {
		vhu_reader_online(reader);
		ticket = vhu_domain_ticket(domain);
		assert_false(vhu_domain_passed(domain, ticket));
		while (epoll_wait(epoll, &event, 1, 0) > 0)
			;
		if (i % 2)
			vhu_reader_quiescent(reader);
		else
			vhu_reader_offline(reader);
		assert_int_equal(epoll_wait(epoll, &event, 1, CHECK_PATIENCE_MS), 1);
		assert_true(vhu_domain_passed(domain, ticket));
	}
	vhu_reader_offline(reader);
	close(epoll);
	vhu_reader_free(reader);
	vhu_domain_free(domain);
}

/* A pair with a reader that the test itself plays, on the rings of the pair. */
struct played {
	struct pair *p;
	struct vhu_reader *reader;
};

static struct played begin(void **state)
{
	struct played t;

	t.p = pair_up(state, &(struct fixture_options){ .mode = FIXTURE_IDLE }, NULL);
	assert_int_equal(vhu_reader_new(&t.reader, t.p->fix.domain), 0);
	drv_start(&t.p->drv);
	drv_net_fill(&t.p->drv, 0, 8);
	return t;
}

static void end(struct played *t)
{
	vhu_reader_offline(t->reader);
	vhu_reader_free(t->reader);
}

static void send_one(struct played *t)
{
	uint8_t frame[100] = { 0 };

	assert_true(drv_net_add(&t->p->drv, 1, frame, sizeof(frame), NULL) >= 0);
	drv_ring_publish(&t->p->drv.ring[1]);
}

static void stop_is_answered_when_the_burst_is_over(void **state)
{
	struct played t = begin(state);
	struct drv *drv = &t.p->drv;
	struct vhu_queue *queue = vhu_backend_queue(t.p->fix.backend, 1);
	struct vhu_vring_state ring = { 1, 0 };
	struct vhu_msg reply;

	send_one(&t);
	vhu_reader_online(t.reader);
	assert_int_equal(vhu_net_pull(queue, t.p->fix.burst, 8), 1);
	drv_send(drv, VHU_GET_VRING_BASE, 0, &ring, sizeof(ring), NULL, 0);
	/* What is asked behind it waits too: answers come in order. */
	drv_send(drv, VHU_GET_FEATURES, 0, NULL, 0, NULL, 0);
	assert_int_equal(drv_recv(drv, &reply, 100), 0);
	assert_int_equal(t.p->fix.ring[1].stopped, 1);
	/* The burst may be finished as it was begun; the base counts it. */
	vhu_net_done(queue, t.p->fix.burst);
	assert_int_equal(drv_recv(drv, &reply, 20), 0);
	vhu_reader_quiescent(t.reader);
	assert_int_equal(drv_recv(drv, &reply, CHECK_PATIENCE_MS), 1);
	assert_int_equal(reply.hdr.request, VHU_GET_VRING_BASE);
	assert_int_equal(reply.state.num, drv_ring_used_idx(&drv->ring[1]));
	assert_int_equal(drv_recv(drv, &reply, CHECK_PATIENCE_MS), 1);
	assert_int_equal(reply.hdr.request, VHU_GET_FEATURES);
	assert_int_equal(vhu_net_pull(queue, t.p->fix.burst, 8), -ENOTCONN);
	vhu_net_done(queue, t.p->fix.burst);
	end(&t);
}

static unsigned int count_maps(const struct played *t)
{
	struct tally tally;

	(void)t;
	tally_take(&tally);
	return tally.maps;
}

static void memory_stays_until_the_burst_is_over(void **state)
{
	struct played t = begin(state);
	struct drv *drv = &t.p->drv;
	struct vhu_queue *queue = vhu_backend_queue(t.p->fix.backend, 1);
	unsigned int maps = count_maps(&t);
	struct vhu_msg reply;

	/* A frame in region 1, which then leaves the table. */
	struct drv_seg seg = { drv_mem_alloc(&drv->mem, 1, 4096, 64), 1000, false };

	assert_true(drv_ring_add(&drv->ring[1], &seg, 1, 0) >= 0);
	drv_ring_publish(&drv->ring[1]);
	vhu_reader_online(t.reader);
	assert_int_equal(vhu_net_pull(queue, t.p->fix.burst, 8), 1);
	const struct vhu_net_frame *frame = vhu_net_burst_frames(t.p->fix.burst);

	drv_set_mem_table(drv, 0, 1);
	drv_send(drv, VHU_GET_FEATURES, 0, NULL, 0, NULL, 0);
	assert_int_equal(drv_recv(drv, &reply, 100), 0);
	assert_int_equal(count_maps(&t), maps);
	/* Would crash if it had gone. */
	assert_int_equal(frame->nr_iov, 1);
	assert_int_equal(*(const volatile uint8_t *)frame->iov[0].iov_base, 0);
	vhu_net_done(queue, t.p->fix.burst);
	vhu_reader_offline(t.reader);
	assert_int_equal(drv_recv(drv, &reply, CHECK_PATIENCE_MS), 1);
	assert_int_equal(count_maps(&t), maps - 1);
	end(&t);
}

static void close_waits_for_the_burst_without_blocking(void **state)
{
	struct played t = begin(state);
	struct vhu_queue *queue = vhu_backend_queue(t.p->fix.backend, 1);

	send_one(&t);
	vhu_reader_online(t.reader);
	assert_int_equal(vhu_net_pull(queue, t.p->fix.burst, 8), 1);
	assert_int_equal(vhu_backend_close(t.p->fix.backend), -EINPROGRESS);
	fixture_settle();
	assert_int_equal(vhu_backend_close(t.p->fix.backend), -EINPROGRESS);
	assert_int_equal(t.p->fix.closed, 0);
	vhu_net_done(queue, t.p->fix.burst);
	vhu_reader_offline(t.reader);
	assert_true(check_until(fixture_pump(NULL), vhu_backend_close(t.p->fix.backend) == 0));
	assert_int_equal(t.p->fix.closed, 1);
	end(&t);
}

static void frontend_that_goes_in_mid_burst_takes_nothing_away(void **state)
{
	struct played t = begin(state);
	struct vhu_queue *queue = vhu_backend_queue(t.p->fix.backend, 1);
	unsigned int maps;

	send_one(&t);
	fixture_settle();
	maps = count_maps(&t);
	vhu_reader_online(t.reader);
	assert_int_equal(vhu_net_pull(queue, t.p->fix.burst, 8), 1);
	drv_disconnect(&t.p->drv);
	fixture_settle();
	assert_int_equal(t.p->fix.closed, 0);
	assert_int_equal(count_maps(&t), maps);
	vhu_net_done(queue, t.p->fix.burst);
	vhu_reader_quiescent(t.reader);
	assert_true(check_until(fixture_pump(NULL), t.p->fix.closed == 1));
	assert_int_equal(count_maps(&t), maps - 2);
	end(&t);
}

/* One device waits for a reader; another of the same domain goes on being served. */
static void parked_request_holds_up_nobody_else(void **state)
{
	struct hostile *h = hostile_begin(state, true, FIXTURE_IDLE, NULL);
	struct vhu_vring_state ring = { 1, 0 };
	struct vhu_reader *reader;
	struct vhu_msg reply;

	fixture_attach(&h->victim, &h->drv, NULL);
	drv_start(&h->drv);
	assert_int_equal(vhu_reader_new(&reader, h->domain), 0);
	vhu_reader_online(reader);
	drv_send(&h->drv, VHU_GET_VRING_BASE, 0, &ring, sizeof(ring), NULL, 0);
	assert_int_equal(drv_recv(&h->drv, &reply, 20), 0);
	for (unsigned int i = 0; i < 5; i++)
		hostile_check_bystander(h);
	assert_int_equal(drv_recv(&h->drv, &reply, 20), 0);
	vhu_reader_offline(reader);
	assert_int_equal(drv_recv(&h->drv, &reply, CHECK_PATIENCE_MS), 1);
	assert_int_equal(reply.hdr.request, VHU_GET_VRING_BASE);
	vhu_reader_free(reader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ticket_passes_when_every_reader_has),
		cmocka_unit_test(passing_raises_the_domain_fd),
		pair_test(stop_is_answered_when_the_burst_is_over),
		pair_test(memory_stays_until_the_burst_is_over),
		pair_test(close_waits_for_the_burst_without_blocking),
		pair_test(frontend_that_goes_in_mid_burst_takes_nothing_away),
		hostile_test(parked_request_holds_up_nobody_else),
	};

	return cmocka_run_group_tests_name("reader", tests, NULL, NULL);
}
