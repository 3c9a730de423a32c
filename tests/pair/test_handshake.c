/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* How devices are set up by QEMU and by DPDK virtio-user, as seen on the wire. */
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "backend_fixture.h"

static void assert_all_run(const struct pair *p)
{
	for (unsigned int i = 0; i < p->drv.options.nr_rings; i++) {
		assert_int_equal(fixture_state(&p->fix, i), VHU_RING_STARTED_ENABLED);
		assert_true(p->fix.ring[i].running);
	}
}

static void backend_offers_what_the_program_said_and_nothing_else(void **state)
{
	struct pair *p = pair_up(state, &(struct fixture_options){ .nr_rings = 6 }, NULL);

	assert_int_equal(drv_ask_u64(&p->drv, VHU_GET_FEATURES), FIXTURE_NET_FEATURES);
	assert_int_equal(drv_ask_u64(&p->drv, VHU_GET_PROTOCOL_FEATURES),
			 VHU_BACKEND_PROTOCOL_FEATURES);
	assert_int_equal(vhu_backend_features(p->fix.backend), 0);
	assert_int_equal(vhu_backend_protocol_features(p->fix.backend), 0);
	drv_do_u64(&p->drv, VHU_SET_PROTOCOL_FEATURES, VHU_BACKEND_PROTOCOL_FEATURES);
	assert_int_equal(drv_ask_u64(&p->drv, VHU_GET_QUEUE_NUM), 3);
	assert_int_equal(drv_ask_u64(&p->drv, VHU_GET_MAX_MEM_SLOTS), VHU_MAX_MEM_SLOTS);
	assert_int_equal(vhu_backend_protocol_features(p->fix.backend),
			 VHU_BACKEND_PROTOCOL_FEATURES);
	assert_int_equal(p->fix.connected, 1);
	assert_true(vhu_backend_is_connected(p->fix.backend));
}

static void qemu_order_with_memory_table(void **state)
{
	struct pair *p = pair_up(state, NULL, &(struct drv_options){ .need_reply = true });

	drv_start(&p->drv);
	assert_all_run(p);
	assert_int_equal(p->fix.features, p->drv.features);
	assert_int_equal(vhu_backend_features(p->fix.backend), p->drv.features);
	drv_net_echo(&p->drv, 1, 0, 50);
	assert_int_equal(p->fix.complaints, 0);
}

static void qemu_order_with_memory_slots(void **state)
{
	struct pair *p = pair_up(
		state, NULL,
		&(struct drv_options){ .need_reply = true, .mem_slots = true, .nr_regions = 4 });

	drv_start(&p->drv);
	assert_all_run(p);
	drv_net_echo(&p->drv, 1, 0, 50);
	assert_int_equal(p->fix.complaints, 0);
}

static void qemu_order_without_acks(void **state)
{
	struct pair *p = pair_up(state, NULL, NULL);

	drv_start(&p->drv);
	assert_all_run(p);
	drv_net_echo(&p->drv, 1, 0, 50);
	assert_int_equal(p->fix.complaints, 0);
}

static void need_reply_without_reply_ack_agreed_is_not_answered(void **state)
{
	uint64_t ack = VHU_MASK(VHU_P_REPLY_ACK_BIT);
	struct pair *p = pair_up(state, NULL, &(struct drv_options){ .no_protocol_features = ack });

	drv_start(&p->drv);
	assert_int_equal(drv_send(&p->drv, VHU_SET_OWNER, VHU_MSG_NEED_REPLY, NULL, 0, NULL, 0), 0);
	drv_check_in_step(&p->drv);
}

static void frontend_without_protocol_features_needs_no_enable(void **state)
{
	uint64_t bit = VHU_MASK(VHU_F_PROTOCOL_FEATURES_BIT);
	struct pair *p = pair_up(state, NULL, &(struct drv_options){ .no_features = bit });

	drv_start(&p->drv);
	assert_all_run(p);
	drv_net_echo(&p->drv, 1, 0, 50);
}

/* QEMU makes one vhost device of each queue pair, and each goes through the negotiation again. */
static void qemu_starts_queue_pairs_one_after_the_other(void **state)
{
	struct pair *p = pair_up(state, &(struct fixture_options){ .nr_rings = 4 },
				 &(struct drv_options){ .need_reply = true, .nr_rings = 4 });
	struct drv *drv = &p->drv;

	drv_negotiate(drv);
	for (unsigned int again = 0; again < 2; again++) {
		assert_int_equal(drv_ask_u64(drv, VHU_GET_FEATURES), drv->offered);
		assert_int_equal(drv_ask_u64(drv, VHU_GET_PROTOCOL_FEATURES),
				 drv->protocol_offered);
		drv_do_u64(drv, VHU_SET_PROTOCOL_FEATURES, drv->protocol_features);
		drv_ask_u64(drv, VHU_GET_MAX_MEM_SLOTS);
	}
	for (unsigned int pair = 0; pair < 2; pair++) {
		drv_enable_ring(drv, 2 * pair, true);
		drv_enable_ring(drv, 2 * pair + 1, true);
		drv_set_features(drv, drv->offered & ~VHU_MASK(VHU_F_LOG_ALL_BIT));
		if (pair == 0)
			drv_set_mem(drv);
		drv_start_ring(drv, 2 * pair, 0);
		drv_start_ring(drv, 2 * pair + 1, 0);
		drv_net_echo(drv, 1, 100 * pair, 20);
	}
	assert_all_run(p);
	drv_net_echo(drv, 3, 0, 20);
	drv_net_echo(drv, 1, 200, 20);
	assert_int_equal(p->fix.complaints, 0);
}

static void set_status(struct drv *drv, uint64_t status)
{
	drv_do_u64(drv, VHU_SET_STATUS, status);
	assert_int_equal(drv_ask_u64(drv, VHU_GET_STATUS), status);
}

/* virtio-user: status throughout, call fds before the memory, enable at the very end. */
static void virtio_user_order(void **state)
{
	struct pair *p = pair_up(state, NULL, &(struct drv_options){ .need_reply = true });
	struct drv *drv = &p->drv;

	drv_do(drv, VHU_SET_OWNER, NULL, 0, NULL, 0);
	drv->offered = drv_ask_u64(drv, VHU_GET_FEATURES);
	drv->protocol_offered = drv_ask_u64(drv, VHU_GET_PROTOCOL_FEATURES);
	drv->protocol_features =
		drv->protocol_offered & (VHU_MASK(VHU_P_MQ_BIT) | VHU_MASK(VHU_P_REPLY_ACK_BIT) |
					 VHU_MASK(VHU_P_STATUS_BIT));
	assert_int_equal(drv_send(drv, VHU_SET_PROTOCOL_FEATURES, 0, &drv->protocol_features, 8,
				  NULL, 0),
			 0);
	drv_ask_u64(drv, VHU_GET_QUEUE_NUM);
	set_status(drv, 0);
	set_status(drv, 1);
	set_status(drv, 3);
	for (unsigned int i = 0; i < 2; i++)
		drv_do_vring_fd(drv, VHU_SET_VRING_CALL, i, drv->ring[i].call_fd);
	drv_set_features(drv, drv->offered & ~VHU_MASK(VHU_F_LOG_ALL_BIT));
	set_status(drv, 11);
	drv_set_mem(drv);
	for (unsigned int i = 0; i < 2; i++)
		drv_start_ring(drv, i, 0);
	drv_enable_ring(drv, 0, true);
	drv_enable_ring(drv, 1, true);
	set_status(drv, 15);
	assert_all_run(p);
	drv_net_echo(drv, 1, 0, 50);
	assert_int_equal(p->fix.complaints, 0);
}

static void program_is_told_of_rarp_and_mtu(void **state)
{
	static const uint8_t mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };
	struct pair *p = pair_up(state, NULL, &(struct drv_options){ .need_reply = true });
	uint64_t value = 0;
	uint64_t mtu = 1400;

	memcpy(&value, mac, sizeof(mac));
	drv_start(&p->drv);
	assert_int_equal(drv_ack(&p->drv, VHU_SEND_RARP, &value, 8, NULL, 0), 0);
	assert_int_equal(p->fix.rarps, 1);
	assert_memory_equal(p->fix.mac, mac, 6);
	assert_int_equal(drv_ack(&p->drv, VHU_NET_SET_MTU, &mtu, 8, NULL, 0), 0);
	assert_int_equal(p->fix.mtu, 1400);
	p->fix.mtu_answer = -EINVAL;
	mtu = 9000;
	assert_int_equal(drv_ack(&p->drv, VHU_NET_SET_MTU, &mtu, 8, NULL, 0), 1);
	assert_int_equal(p->fix.mtu_calls, 2);
	drv_check_in_step(&p->drv);
}

static void get_config(struct drv *drv, uint32_t offset, uint32_t size, struct vhu_msg *ret_reply)
{
	struct vhu_config config = { .offset = offset, .size = size };

	drv_ask(drv, VHU_GET_CONFIG, &config, 12 + size, ret_reply);
}

static void config_space_is_read_and_its_change_is_told(void **state)
{
	struct pair *p = pair_up(state,
				 &(struct fixture_options){ .protocol_features =
								    VHU_BACKEND_PROTOCOL_FEATURES |
								    VHU_MASK(VHU_P_CONFIG_BIT) },
				 NULL);
	struct vhu_msg msg;

	for (unsigned int i = 0; i < sizeof(p->fix.config); i++)
		p->fix.config[i] = (uint8_t)(i * 7 + 1);
	drv_start(&p->drv);
	get_config(&p->drv, 0, 12, &msg);
	assert_int_equal(msg.hdr.size, 24);
	assert_int_equal(msg.config.size, 12);
	assert_memory_equal(msg.config.bytes, p->fix.config, 12);
	get_config(&p->drv, 6, 2, &msg);
	assert_int_equal(msg.hdr.size, 14);
	assert_int_equal(msg.config.offset, 6);
	assert_memory_equal(msg.config.bytes, p->fix.config + 6, 2);

	assert_int_equal(vhu_backend_config_changed(p->fix.backend), 0);
	fixture_settle();
	struct drv channel = { .sock = p->drv.channel, .pump = fixture_pump };

	assert_int_equal(drv_recv(&channel, &msg, CHECK_PATIENCE_MS), 1);
	assert_int_equal(msg.hdr.request, VHU_BACKEND_CONFIG_CHANGE);
	assert_int_equal(msg.hdr.flags & VHU_MSG_VERSION_MASK, VHU_MSG_VERSION);
	assert_int_equal(msg.hdr.size, 0);
	drv_check_in_step(&p->drv);
}

static void reset_device_stops_and_disables_and_the_connection_goes_on(void **state)
{
	struct pair *p = pair_up(state, NULL, &(struct drv_options){ .need_reply = true });
	struct drv *drv = &p->drv;

	drv_start(drv);
	drv_net_echo(drv, 1, 0, 10);
	drv_do(drv, VHU_RESET_DEVICE, NULL, 0, NULL, 0);
	for (unsigned int i = 0; i < 2; i++) {
		assert_false(p->fix.ring[i].running);
		assert_int_equal(fixture_state(&p->fix, i), VHU_RING_STOPPED_DISABLED);
	}
	drv_check_in_step(drv);
	assert_int_equal(p->fix.closed, 0);
	for (unsigned int i = 0; i < 2; i++) {
		drv_ring_reset(&drv->ring[i]);
		drv_enable_ring(drv, i, true);
	}
	drv_set_features(drv, drv->features);
	drv_set_mem(drv);
	drv_start_ring(drv, 0, 0);
	drv_start_ring(drv, 1, 0);
	drv_net_echo(drv, 1, 100, 10);
}

static void owner_may_be_reset_and_set_again(void **state)
{
	struct pair *p = pair_up(state, NULL, &(struct drv_options){ .need_reply = true });

	drv_start(&p->drv);
	assert_true(drv_ack(&p->drv, VHU_SET_OWNER, NULL, 0, NULL, 0) >= 0);
	drv_check_in_step(&p->drv);
	assert_true(drv_ack(&p->drv, VHU_RESET_OWNER, NULL, 0, NULL, 0) >= 0);
	drv_check_in_step(&p->drv);
}

static void all_256_rings_run(void **state)
{
	struct pair *p = pair_up(state, &(struct fixture_options){ .nr_rings = VHU_MAX_RINGS },
				 &(struct drv_options){ .nr_rings = VHU_MAX_RINGS,
							.ring_size = 16,
							.nr_slots = 4,
							.slot_size = 2048 });

	drv_start(&p->drv);
	assert_int_equal(drv_ask_u64(&p->drv, VHU_GET_QUEUE_NUM), 128);
	assert_all_run(p);
	for (unsigned int i = 1; i < VHU_MAX_RINGS; i += 2)
		drv_net_echo(&p->drv, i, i * 10, 3);
	assert_int_equal(p->fix.complaints, 0);
	assert_null(vhu_backend_queue(p->fix.backend, VHU_MAX_RINGS));
}

/* Mappings of memfds that a core dump leaves out: "dd" among their flags. */
static unsigned int undumped(void)
{
	FILE *smaps = fopen("/proc/self/smaps", "r");
	bool is_memfd = false;
	unsigned int nr = 0;
	char line[512];

	assert_non_null(smaps);
	while (fgets(line, sizeof(line), smaps)) {
		if (strchr(line, '-') && strstr(line, " rw-s "))
			is_memfd = strstr(line, "/memfd:") != NULL;
		if (is_memfd && !strncmp(line, "VmFlags:", 8)) {
			nr += strstr(line, " dd") != NULL;
			is_memfd = false;
		}
	}
	fclose(smaps);
	return nr;
}

static void guest_memory_is_kept_out_of_core_dumps(void **state)
{
	unsigned int before = undumped();
	struct pair *p = pair_up(state, NULL, &(struct drv_options){ .nr_regions = 3 });

	drv_start(&p->drv);
	drv_check_in_step(&p->drv);
	assert_int_equal(undumped() - before, 3);
}

static void options_out_of_range_are_refused(void **state)
{
	struct vhu_backend_options good = {
		.size = sizeof(good),
		.nr_rings = 2,
		.queue_num = 1,
		.features = FIXTURE_NET_FEATURES,
		.protocol_features = VHU_BACKEND_PROTOCOL_FEATURES,
	};
	struct vhu_backend *mark = (struct vhu_backend *)&good;
	struct vhu_backend *backend = mark;
	struct vhu_backend_options bad;

	(void)state;
	assert_int_equal(vhu_domain_new(&good.domain), 0);
	bad = good;
	bad.nr_rings = 0;
	assert_int_equal(vhu_backend_new(&backend, &bad), -EINVAL);
	bad.nr_rings = VHU_MAX_RINGS + 1;
	assert_int_equal(vhu_backend_new(&backend, &bad), -EINVAL);
	bad = good;
	bad.features |= VHU_MASK(VHU_F_ACCESS_PLATFORM_BIT);
	assert_int_equal(vhu_backend_new(&backend, &bad), -EINVAL);
	bad = good;
	bad.features |= VHU_MASK(VHU_F_NOTIFICATION_DATA_BIT);
	assert_int_equal(vhu_backend_new(&backend, &bad), -EINVAL);
	bad = good;
	bad.protocol_features |= VHU_MASK(VHU_P_PAGEFAULT_BIT);
	assert_int_equal(vhu_backend_new(&backend, &bad), -EINVAL);
	assert_ptr_equal(backend, mark); /* written on success only */
	assert_int_equal(vhu_backend_new(&backend, &good), 0);
	vhu_backend_free(backend);
	vhu_backend_free(NULL);
	vhu_domain_free(good.domain);
	vhu_domain_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		pair_test(backend_offers_what_the_program_said_and_nothing_else),
		pair_test(qemu_order_with_memory_table),
		pair_test(qemu_order_with_memory_slots),
		pair_test(qemu_order_without_acks),
		pair_test(need_reply_without_reply_ack_agreed_is_not_answered),
		pair_test(frontend_without_protocol_features_needs_no_enable),
		pair_test(qemu_starts_queue_pairs_one_after_the_other),
		pair_test(virtio_user_order),
		pair_test(program_is_told_of_rarp_and_mtu),
		pair_test(config_space_is_read_and_its_change_is_told),
		pair_test(reset_device_stops_and_disables_and_the_connection_goes_on),
		pair_test(owner_may_be_reset_and_set_again),
		pair_test(all_256_rings_run),
		pair_test(guest_memory_is_kept_out_of_core_dumps),
		cmocka_unit_test(options_out_of_range_are_refused),
	};

	return cmocka_run_group_tests_name("handshake", tests, NULL, NULL);
}
