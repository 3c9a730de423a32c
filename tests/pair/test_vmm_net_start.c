/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* timeout: 300 */
/*
 * What a network device of vmm/ offers and takes, backends that refuse what it says or are of no use,
 * and calls that are masked by message.
 */
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm_stage.h"

#define CSUM VHU_MASK(VHU_NET_F_CSUM_BIT)
#define PACKED VHU_MASK(VHU_F_RING_PACKED_BIT)
#define MQ VHU_MASK(VHU_NET_F_MQ_BIT)
#define MTU VHU_MASK(VHU_NET_F_MTU_BIT)
#define CTRL_VQ VHU_MASK(VHU_NET_F_CTRL_VQ_BIT)
#define VERSION_1 VHU_MASK(VHU_F_VERSION_1_BIT)

/* A card whose backend is a liar. */
struct scene {
	struct nic nic;
	struct liar liar;
	struct tally before;
};

static struct scene *scene_new(const struct nic_options *options, const struct liar_options *lies)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	struct nic_options o = *options;

	assert_non_null(scene);
	tally_take(&scene->before);
	liar_init(&scene->liar, lies);
	o.net.path = scene->liar.path;
	nic_init(&scene->nic, &o);
	return scene;
}

static struct scene *scene_up(const struct nic_options *options, const struct liar_options *lies)
{
	struct scene *scene = scene_new(options, lies);

	nic_wait(&scene->nic);
	return scene;
}

static void scene_free(struct scene *scene)
{
	nic_free(&scene->nic);
	liar_free(&scene->liar);
	scene->before.heap = SIZE_MAX;
	tally_check(&scene->before);
	free(scene);
}

static void until_running(struct scene *scene, unsigned int rings)
{
	guest_until(&scene->nic.guest,
		    scene->liar.ring[rings - 1].started && scene->liar.ring[rings - 1].enabled);
}

static void what_the_backend_cannot_is_not_offered(void **state)
{
	static const uint64_t of_backend[] = { CSUM,
					       PACKED,
					       VHU_MASK(VHU_F_EVENT_IDX_BIT),
					       VHU_MASK(VHU_F_INDIRECT_DESC_BIT),
					       VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT),
					       VHU_MASK(VHU_NET_F_GUEST_TSO4_BIT) };
	const uint64_t all =
		LIAR_FEATURES | CSUM | VHU_MASK(VHU_NET_F_GUEST_TSO4_BIT) |
		VHU_MASK(VHU_F_ACCESS_PLATFORM_BIT) | VHU_MASK(VHU_F_NOTIFICATION_DATA_BIT) |
		VHU_MASK(VHU_F_RING_RESET_BIT) | VHU_MASK(VHU_NET_F_CTRL_GUEST_OFFLOADS_BIT);
	struct nic_options options = { .net.packed = true };

	(void)state;
	for (unsigned int i = 0; i < 6; i++) {
		const struct liar_options lies = { .features = all & ~of_backend[i] };
		struct scene *scene = scene_up(&options, &lies);
		uint64_t offer = guest_offer(&scene->nic.guest);

		for (unsigned int k = 0; k < 6; k++)
			assert_int_equal(!!(offer & of_backend[k]), k != i);
		assert_false(guest_accept(&scene->nic.guest, offer | of_backend[i]));
		/* what nobody here could do, whoever offers it */
		assert_int_equal(offer & (VHU_MASK(VHU_F_LOG_ALL_BIT) |
					  VHU_MASK(VHU_F_PROTOCOL_FEATURES_BIT) |
					  VHU_MASK(VHU_F_ACCESS_PLATFORM_BIT) |
					  VHU_MASK(VHU_F_NOTIFICATION_DATA_BIT) |
					  VHU_MASK(VHU_F_RING_RESET_BIT) |
					  VHU_MASK(VHU_NET_F_CTRL_GUEST_OFFLOADS_BIT)),
				 0);
		assert_true(guest_accept(&scene->nic.guest, offer));
		scene_free(scene);
	}
	/* nor what the options leave out, or one pair does not need */
	options.net.packed = false;
	options.net.features_off = VHU_MASK(VHU_F_EVENT_IDX_BIT);
	struct scene *scene = scene_up(&options, NULL);

	assert_int_equal(guest_offer(&scene->nic.guest) &
				 (PACKED | VHU_MASK(VHU_F_EVENT_IDX_BIT) | MQ | MTU),
			 0);
	scene_free(scene);
}

static void what_needs_a_control_queue_is_not_taken_without_one(void **state)
{
	static const unsigned int bits[] = { VHU_NET_F_CTRL_RX_BIT, VHU_NET_F_CTRL_VLAN_BIT,
					     VHU_NET_F_GUEST_ANNOUNCE_BIT, VHU_NET_F_MQ_BIT,
					     VHU_NET_F_CTRL_MAC_ADDR_BIT };
	const struct nic_options options = { .net.queue_pairs = 2 };
	struct scene *scene = scene_up(&options, NULL);

	(void)state;
	for (unsigned int i = 0; i < 5; i++) {
		assert_false(guest_accept(&scene->nic.guest, VERSION_1 | VHU_MASK(bits[i])));
		assert_true(
			guest_accept(&scene->nic.guest, VERSION_1 | CTRL_VQ | VHU_MASK(bits[i])));
	}
	scene_free(scene);
}

static void the_backend_hears_what_concerns_it(void **state)
{
	const struct nic_options options = { .net = { .queue_pairs = 2, .mtu = 1400 } };

	(void)state;
	for (unsigned int knows_mq = 0; knows_mq < 2; knows_mq++) {
		const struct liar_options lies = { .features =
							   LIAR_FEATURES | (knows_mq ? MQ : 0) };
		struct scene *scene = scene_up(&options, &lies);
		uint16_t mtu;

		nic_start(&scene->nic, 2);
		until_running(scene, 2);
		assert_int_equal(scene->liar.features & (CTRL_VQ | VHU_MASK(VHU_NET_F_MAC_BIT)), 0);
		assert_int_equal(!!(scene->liar.features & MQ), knows_mq);
		assert_true(scene->nic.guest.virtio.features & MQ);
		assert_true(scene->liar.features & VERSION_1);
		assert_int_equal(scene->liar.mtu, 1400);
		guest_read_config(&scene->nic.guest, 10, &mtu, sizeof(mtu));
		assert_int_equal(mtu, 1400);
		assert_true(scene->nic.guest.virtio.features & MTU);
		scene_free(scene);
	}
}

/* Refuses, or hangs up at, the acknowledged message number at. */
struct refusal {
	unsigned int at, seen;
	bool hang_up, told;
};

static enum liar_verdict refuse(void *arg, struct liar *liar, const struct vhu_msg *msg)
{
	struct refusal *r = arg;

	if (r->told || !liar_is_asked(liar, msg) || !(msg->hdr.flags & VHU_MSG_NEED_REPLY) ||
	    r->seen++ != r->at)
		return LIAR_PROPER;
	r->told = true;
	if (r->hang_up)
		liar_hang_up(liar);
	else
		liar_reply_u64(liar, msg, 1);
	return LIAR_HANDLED;
}

static void a_start_that_is_refused_needs_a_reset(void **state)
{
	const struct nic_options options = { 0 };
	unsigned int refused = 0;
	bool told = true;

	(void)state;
	for (unsigned int at = 0; told; at++) {
		struct refusal r = { .at = at };
		struct scene *scene = scene_up(&options, NULL);
		struct nic *nic = &scene->nic;

		assert_true(at < 100);
		scene->liar.lie = refuse;
		scene->liar.lie_arg = &r;
		nic_start(nic, 1);
		guest_until(&nic->guest, nic->guest.needs_resets || (scene->liar.ring[1].started &&
								     scene->liar.ring[1].enabled));
		for (unsigned int i = 0; i < 50; i++)
			guest_pump(&nic->guest);
		told = r.told;
		if (nic->guest.needs_resets) {
			assert_true(told);
			refused++;
			guest_check_heard(&nic->guest, "refused by the backend");
			assert_int_equal(nic_status(nic), 0);
			guest_reset(&nic->guest);
			nic_start(nic, 1);
			until_running(scene, 2);
		}
		assert_int_equal(nic_status(nic), S_LINK_UP);
		scene_free(scene);
	}
	assert_true(refused > 10);
}

static void a_start_that_is_cut_off_is_made_with_the_next(void **state)
{
	const struct nic_options options = { 0 };
	bool told = true;

	(void)state;
	for (unsigned int at = 0; told; at++) {
		struct refusal r = { .at = at, .hang_up = true };
		struct scene *scene = scene_up(&options, NULL);
		struct nic *nic = &scene->nic;

		assert_true(at < 100);
		scene->liar.lie = refuse;
		scene->liar.lie_arg = &r;
		nic_start(nic, 1);
		until_running(scene, 2);
		for (unsigned int i = 0; i < 50; i++)
			guest_pump(&nic->guest);
		until_running(scene, 2);
		guest_until(&nic->guest, nic_status(nic) & S_LINK_UP);
		assert_int_equal(nic->guest.needs_resets, 0);
		told = r.told;
		scene_free(scene);
	}
}

static void a_backend_that_can_less_than_the_guest_goes_by_needs_a_reset(void **state)
{
	const struct nic_options options = { 0 };
	const struct liar_options lies = { .features = LIAR_FEATURES | CSUM };
	struct scene *scene = scene_up(&options, &lies);
	struct nic *nic = &scene->nic;

	(void)state;
	nic_negotiate(nic);
	assert_true(nic->guest.virtio.features & CSUM);
	scene->liar.options.features = LIAR_FEATURES;
	liar_hang_up(&scene->liar);
	guest_until(&nic->guest, !vmm_net_link_is_up(nic->net));
	nic_wait(nic);
	nic_make_rings(nic, 1);
	guest_driver_ok(&nic->guest);
	assert_int_equal(nic->guest.needs_resets, 1);
	guest_check_heard(&nic->guest, "does not offer");
	guest_reset(&nic->guest);
	nic_start(nic, 1);
	until_running(scene, 2);
	scene_free(scene);
}

static void a_ring_of_an_earlier_run_is_not_told_again(void **state)
{
	const struct nic_options options = { .net.queue_pairs = 2 };
	struct scene *scene = scene_up(&options, NULL);
	struct nic *nic = &scene->nic;

	(void)state;
	for (unsigned int turn = 0; turn < 3; turn++) {
		unsigned int pairs = turn == 1 ? 1 : 2;

		liar_forget(&scene->liar);
		nic_start(nic, pairs);
		guest_until(&nic->guest, scene->liar.ring[2 * pairs - 1].started);
		for (unsigned int i = 0; i < 50; i++)
			guest_pump(&nic->guest);
		assert_int_equal(liar_count(&scene->liar, VHU_SET_VRING_ADDR, 0), 2 * pairs);
		assert_int_equal(liar_count(&scene->liar, VHU_SET_VRING_KICK, 0), 2 * pairs);
		guest_reset(&nic->guest);
	}
	scene_free(scene);
}

static enum liar_verdict leave_while_stopped(void *arg, struct liar *liar,
					     const struct vhu_msg *msg)
{
	unsigned int *seen = arg;

	if (msg->hdr.request != VHU_GET_VRING_BASE || ++*seen != 2)
		return LIAR_PROPER;
	liar_hang_up(liar);
	return LIAR_HANDLED;
}

/* One of the three had told where its ring stood, the others had not. */
static void a_backend_that_leaves_while_a_queue_joins_is_followed_where_that_can_be(void **state)
{
	(void)state;
	for (unsigned int packed = 0; packed < 2; packed++) {
		const struct nic_options options = { .net = { .queue_pairs = 2,
							      .packed = packed } };
		struct scene *scene = scene_up(&options, NULL);
		struct nic *nic = &scene->nic;
		unsigned int seen = 0;

		nic_negotiate(nic);
		nic_make_rings(nic, 2);
		nic->guest.queue[3].is_enabled = false;
		guest_driver_ok(&nic->guest);
		guest_until(&nic->guest, scene->liar.ring[2].started);
		for (unsigned int i = 0; i < 50; i++)
			guest_pump(&nic->guest);
		scene->liar.lie = leave_while_stopped;
		scene->liar.lie_arg = &seen;
		guest_enable(&nic->guest, 3);
		guest_until(&nic->guest, nic->guest.needs_resets || scene->liar.ring[3].started);
		assert_int_equal(nic->guest.needs_resets, packed);
		guest_reset(&nic->guest);
		nic_start(nic, 2);
		guest_until(&nic->guest, scene->liar.ring[3].started);
		assert_int_equal(nic->guest.needs_resets, packed);
		scene_free(scene);
	}
}

static void waiting_for_a_backend_of_no_use_says_why(void **state)
{
	static const struct {
		struct liar_options lies;
		unsigned int pairs;
		int err;
		const char *why;
	} cases[] = {
		{ { .no_features = VERSION_1 }, 1, -ETIMEDOUT, "VERSION_1" },
		{ { .queue_num = 2 }, 3, -EOPNOTSUPP, "has 2 queue pairs, asked were 3" },
		{ { .no_protocol_features = VHU_MASK(VHU_P_MQ_BIT) },
		  2,
		  -EOPNOTSUPP,
		  "has 1 queue pairs, asked were 2" },
		{ { .no_listen = true }, 1, -ETIMEDOUT, "no backend has answered" },
	};

	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		struct nic_options options = { .net.queue_pairs = cases[i].pairs };
		struct scene *scene = scene_new(&options, &cases[i].lies);
		char text[VMM_TEXT] = "";

		liar_begin_thread(&scene->liar);
		assert_int_equal(vmm_net_wait(scene->nic.net,
					      cases[i].err == -ETIMEDOUT ? 300 : 20000, text),
				 cases[i].err);
		if (!strstr(text, cases[i].why))
			fail_msg("no \"%s\" in: %s", cases[i].why, text);
		assert_non_null(strstr(text, scene->liar.path));
		liar_end_thread(&scene->liar);
		scene_free(scene);
	}
}

static void options_that_cannot_be_are_refused(void **state)
{
	static const struct {
		struct vmm_net_options o;
		const char *why;
	} bad[] = {
		{ { .queue_pairs = VMM_NET_MAX_PAIRS + 1 }, "must be 1 to 64" },
		{ { .queue_size = 1 }, "power of two" },
		{ { .queue_size = 100 }, "power of two" },
		{ { .queue_size = 65536 }, "power of two" },
		{ { .mtu = 67 }, "at least 68" },
		{ { .has_mac = true, .mac = { 1 } }, "group" },
		{ { .path = "/nowhere/at/all", .server = true }, "No such file" },
		{ { .path = "/tmp", .server = true }, "/tmp: " },
	};
	char text[VMM_TEXT], path[200];
	struct vhu_memory *memory;
	struct vmm_net *net;

	(void)state;
	assert_int_equal(vhu_memory_new(&memory), 0);
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct vmm_net_options o = bad[i].o;

		o.name = "net0";
		o.memory = memory;
		o.path = o.path ? o.path : "/nowhere";
		text[0] = '\0';
		assert_true(vmm_net_new(&net, &o, text) < 0);
		if (!strstr(text, bad[i].why))
			fail_msg("no \"%s\" in: %s", bad[i].why, text);
	}
	memset(path, 'x', sizeof(path));
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(vmm_net_new(&net,
				     &(struct vmm_net_options){
					     .name = "net0", .memory = memory, .path = path },
				     text),
			 -ENAMETOOLONG);
	vhu_memory_free(memory);
}

/*
 * ---- Masks ----
 */
struct fake_irq {
	unsigned int attached, detached;
	int fd;
};

static int fake_attach(void *arg, int route, int eventfd)
{
	struct fake_irq *fake = arg;

	assert_int_equal(route, 5);
	fake->attached++;
	fake->fd = eventfd;
	return 0;
}

static int fake_detach(void *arg, int route, int eventfd)
{
	struct fake_irq *fake = arg;

	assert_int_equal(route, 5);
	assert_int_equal(eventfd, fake->fd);
	fake->detached++;
	return 0;
}

static void masked_calls_are_kept_by_the_backend_and_none_is_lost(void **state)
{
	static const struct vmm_irq_ops ops = { .attach = fake_attach, .detach = fake_detach };
	struct fake_irq fake = { 0 };
	const struct vmm_irq inner = { .ops = &ops, .arg = &fake };
	const struct nic_options options = { .net.mask_by_message = true };
	struct scene *scene = scene_up(&options, NULL);
	struct nic *nic = &scene->nic;
	const struct vmm_irq *irq = vmm_net_irq(nic->net, &inner);
	int call_fd = nic->guest.queue[0].call_fd;

	(void)state;
	nic_start(nic, 1);
	until_running(scene, 2);
	for (unsigned int i = 0; i < 50; i++)
		guest_pump(&nic->guest);
	assert_int_equal(irq->ops->attach(irq->arg, 5, call_fd), 0);
	guest_calls(&nic->guest, 0);
	for (unsigned int turn = 0; turn < 5; turn++) {
		unsigned int told = liar_count(&scene->liar, VHU_SET_VRING_CALL, 0);

		assert_int_equal(irq->ops->detach(irq->arg, 5, call_fd), 0);
		/* before the backend has heard of it: the count waits */
		liar_call(&scene->liar, 0);
		assert_int_equal(guest_calls(&nic->guest, 0), 1);
		guest_until(&nic->guest,
			    liar_count(&scene->liar, VHU_SET_VRING_CALL, 0) == told + 1);
		liar_call(&scene->liar, 0);
		for (unsigned int i = 0; i < 20; i++)
			guest_pump(&nic->guest);
		assert_int_equal(guest_calls(&nic->guest, 0), 0);
		assert_int_equal(irq->ops->attach(irq->arg, 5, call_fd), 0);
		guest_until(&nic->guest, guest_calls(&nic->guest, 0) >= 1);
		guest_until(&nic->guest,
			    liar_count(&scene->liar, VHU_SET_VRING_CALL, 0) == told + 2);
		liar_call(&scene->liar, 0);
		assert_int_equal(guest_calls(&nic->guest, 0), 1);
	}
	assert_int_equal(fake.attached, 6);
	assert_int_equal(fake.detached, 5);
	scene_free(scene);
}

static void unless_it_was_asked_for_masks_are_not_told(void **state)
{
	const struct vmm_irq inner = { 0 };
	const struct nic_options options = { 0 };
	struct scene *scene = scene_up(&options, NULL);

	(void)state;
	assert_ptr_equal(vmm_net_irq(scene->nic.net, &inner), &inner);
	scene_free(scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_backend_cannot_is_not_offered),
		cmocka_unit_test(what_needs_a_control_queue_is_not_taken_without_one),
		cmocka_unit_test(the_backend_hears_what_concerns_it),
		cmocka_unit_test(a_start_that_is_refused_needs_a_reset),
		cmocka_unit_test(a_start_that_is_cut_off_is_made_with_the_next),
		cmocka_unit_test(a_backend_that_can_less_than_the_guest_goes_by_needs_a_reset),
		cmocka_unit_test(a_ring_of_an_earlier_run_is_not_told_again),
		cmocka_unit_test(
			a_backend_that_leaves_while_a_queue_joins_is_followed_where_that_can_be),
		cmocka_unit_test(waiting_for_a_backend_of_no_use_says_why),
		cmocka_unit_test(options_that_cannot_be_are_refused),
		cmocka_unit_test(masked_calls_are_kept_by_the_backend_and_none_is_lost),
		cmocka_unit_test(unless_it_was_asked_for_masks_are_not_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
