/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* A frontend's requests about the device: memory, dirty log, configuration, features, waiting. */
#include <unistd.h>

#include "frontend_fixture.h"

#define SLOTS VHU_MASK(VHU_P_CONFIGURE_MEM_SLOTS_BIT)
#define HIGH_GPA (UINT64_C(1) << 33)

static struct lab *running(void **state, const struct front_options *front_options,
			   const struct liar_options *liar_options)
{
	struct lab *lab = lab_up(state, front_options, liar_options);

	front_run(&lab->front);
	return lab;
}

/*
 * ---- Memory ----
 */
static void memory_is_what_was_told(const struct lab *lab)
{
	struct vhu_memory_region region;
	unsigned int nr = vhu_memory_count(lab->front.memory);

	assert_int_equal(lab->liar.nr_regions, nr);
	for (unsigned int i = 0; i < nr; i++) {
		bool found = false;

		assert_int_equal(vhu_memory_region(lab->front.memory, i, &region), 0);
		for (unsigned int k = 0; k < nr; k++) {
			const struct vhu_region *wire = &lab->liar.region[k].wire;

			found |= wire->gpa == region.gpa && wire->size == region.size &&
				 wire->mmap_offset == region.offset;
		}
		assert_true(found);
	}
}

static int tell_memory(struct lab *lab)
{
	struct front_done done = { 0 };

	assert_int_equal(vhu_frontend_memory_changed(lab->front.fe, front_note_done, &done), 0);
	return front_wait_done(&done);
}

static void changed_memory(void **state, uint64_t without)
{
	struct lab *lab =
		running(state, NULL, &(struct liar_options){ .no_protocol_features = without });
	bool slots = !(without & SLOTS);
	struct vhu_memory *memory = lab->front.memory;

	memory_is_what_was_told(lab);
	liar_forget(&lab->liar);
	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(vhu_memory_add(memory, HIGH_GPA + i * 8192, 4096, 0), 0);
	assert_int_equal(tell_memory(lab), 0);
	memory_is_what_was_told(lab);
	assert_int_equal(liar_count(&lab->liar, VHU_ADD_MEM_REG, 0), slots ? 3 : 0);
	assert_int_equal(liar_count(&lab->liar, VHU_SET_MEM_TABLE, 0), slots ? 0 : 1);
	/* nothing changed: nothing to be said */
	liar_forget(&lab->liar);
	assert_int_equal(tell_memory(lab), 0);
	assert_int_equal(liar_count(&lab->liar, VHU_ADD_MEM_REG, 0), 0);
	assert_int_equal(liar_count(&lab->liar, VHU_SET_MEM_TABLE, 0), 0);
	/* one goes, one comes in the place of another */
	assert_int_equal(vhu_memory_remove(memory, HIGH_GPA), 0);
	assert_int_equal(vhu_memory_remove(memory, HIGH_GPA + 8192), 0);
	assert_int_equal(vhu_memory_add(memory, HIGH_GPA + 8192, 4096, 0), 0);
	assert_int_equal(vhu_memory_add(memory, HIGH_GPA + 2 * HIGH_GPA, 8192, 0), 0);
	assert_int_equal(tell_memory(lab), 0);
	memory_is_what_was_told(lab);
	assert_int_equal(liar_count(&lab->liar, VHU_REM_MEM_REG, 0), slots ? 2 : 0);
	assert_int_equal(liar_count(&lab->liar, VHU_ADD_MEM_REG, 0), slots ? 2 : 0);
	assert_int_equal(liar_count(&lab->liar, VHU_SET_MEM_TABLE, 0), slots ? 0 : 1);
	/* no ring was disturbed */
	for (uint32_t request = VHU_SET_VRING_NUM; request <= VHU_SET_VRING_ERR; request++)
		assert_int_equal(liar_count(&lab->liar, request, 0), 0);
	assert_int_equal(lab->front.complaints, 0);
}

static void memory_that_changed_is_told_by_slots(void **state)
{
	changed_memory(state, 0);
}

static void memory_that_changed_is_told_by_the_table(void **state)
{
	changed_memory(state, SLOTS);
}

static void table_takes_no_more_regions_than_a_message_has(void **state)
{
	struct lab *lab = running(state, &(struct front_options){ .nr_regions = 8 },
				  &(struct liar_options){ .no_protocol_features = SLOTS });

	memory_is_what_was_told(lab);
	assert_int_equal(vhu_memory_add(lab->front.memory, HIGH_GPA, 4096, 0), 0);
	assert_int_equal(tell_memory(lab), -ENOSPC);
	assert_int_equal(lab->liar.nr_regions, 8);
	assert_int_equal(vhu_frontend_state(lab->front.fe), VHU_DEVICE_RUNNING);
	assert_int_equal(vhu_memory_remove(lab->front.memory, HIGH_GPA), 0);
	assert_int_equal(tell_memory(lab), 0);
}

static enum liar_verdict refuse_memory(void *arg, struct liar *liar, const struct vhu_msg *msg)
{
	(void)arg;
	if (msg->hdr.request != VHU_ADD_MEM_REG || !liar_is_asked(liar, msg))
		return LIAR_PROPER;
	liar_reply_u64(liar, msg, 1);
	return LIAR_HANDLED;
}

static void memory_that_is_refused_is_told_again_the_next_time(void **state)
{
	struct lab *lab = running(state, NULL, NULL);

	assert_int_equal(vhu_memory_add(lab->front.memory, HIGH_GPA, 4096, 0), 0);
	lab->liar.lie = refuse_memory;
	assert_int_equal(tell_memory(lab), -EREMOTEIO);
	assert_int_equal(vhu_frontend_state(lab->front.fe), VHU_DEVICE_RUNNING);
	lab->liar.lie = NULL;
	/* this liar kept what it refused: it is another one who would not */
	assert_int_equal(lab->liar.region[2].wire.gpa, HIGH_GPA);
	close(lab->liar.region[--lab->liar.nr_regions].fd);
	assert_int_equal(tell_memory(lab), 0);
	memory_is_what_was_told(lab);
}

static void region_that_goes_before_it_was_told_of_is_left_out(void **state)
{
	struct lab *lab = running(state, NULL, NULL);
	struct front_done first = { 0 }, second = { 0 };
	struct vhu_frontend *fe = lab->front.fe;

	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(vhu_memory_add(lab->front.memory, HIGH_GPA + i * 8192, 4096, 0),
				 0);
	assert_int_equal(vhu_frontend_memory_changed(fe, front_note_done, &first), 0);
	/* the first of them is on its way */
	assert_int_equal(vhu_frontend_process(fe), 0);
	assert_int_equal(vhu_memory_remove(lab->front.memory, HIGH_GPA + 8192), 0);
	assert_int_equal(vhu_frontend_memory_changed(fe, front_note_done, &second), 0);
	assert_int_equal(front_wait_done(&first), 0);
	assert_int_equal(front_wait_done(&second), 0);
	memory_is_what_was_told(lab);
}

static void memory_of_a_stopped_device_is_told_at_its_start(void **state)
{
	struct lab *lab = lab_up(state, NULL, NULL);
	struct front_done done = { 0 };

	front_until(&lab->front, VHU_DEVICE_STOPPED);
	front_make_rings(&lab->front);
	assert_int_equal(vhu_memory_add(lab->front.memory, HIGH_GPA, 4096, 0), 0);
	if (!vhu_frontend_memory_changed(lab->front.fe, front_note_done, &done))
		assert_int_equal(front_wait_done(&done), 0);
	struct front_done start = { 0 };

	assert_int_equal(vhu_frontend_start(lab->front.fe, front_note_done, &start), 0);
	assert_int_equal(front_wait_done(&start), 0);
	memory_is_what_was_told(lab);
	assert_int_equal(liar_count(&lab->liar, VHU_ADD_MEM_REG, 0), 3);
}

/*
 * ---- Dirty log ----
 */
struct runs {
	unsigned int nr;
	uint64_t gpa[16], len[16];
};

static void note_run(void *arg, uint64_t gpa, uint64_t len)
{
	struct runs *runs = arg;

	assert_true(runs->nr < 16);
	runs->gpa[runs->nr] = gpa;
	runs->len[runs->nr++] = len;
}

static int set_log(struct lab *lab, bool on)
{
	struct front_done done = { 0 };

	assert_int_equal(vhu_frontend_log(lab->front.fe, on, front_note_done, &done), 0);
	return front_wait_done(&done);
}

static void logged(void **state, const struct liar_options *options)
{
	struct lab *lab = running(state, NULL, options);
	struct vhu_frontend *fe = lab->front.fe;
	struct runs runs = { 0 };
	struct vhu_ring_addr addr;
	uint64_t end = FRONT_GPA + (UINT64_C(2) << 24);

	assert_int_equal(vhu_frontend_log_sync(fe, note_run, &runs), -ENOENT);
	liar_forget(&lab->liar);
	assert_int_equal(set_log(lab, true), 0);
	lab_check_order(lab, 0, "SET_LOG_BASE SET_FEATURES SET_VRING_ADDR-0 SET_VRING_ADDR-1");
	assert_true(lab->liar.features & VHU_MASK(VHU_F_LOG_ALL_BIT));
	/* room for every page, and the used rings are logged where they lie */
	assert_true(lab->liar.log_size >= end / 4096 / 8);
	for (unsigned int i = 0; i < 2; i++) {
		vhu_driver_addr(i ? vhu_net_tx_driver(lab->front.pair[0].tx) :
				    vhu_net_rx_driver(lab->front.pair[0].rx),
				&addr);
		assert_int_equal(lab->liar.ring[i].addr.flags, VHU_VRING_F_LOG);
		assert_int_equal(lab->liar.ring[i].addr.log, addr.used_gpa);
		assert_int_equal(liar_gpa(&lab->liar, lab->liar.ring[i].addr.desc), addr.desc_gpa);
	}
	assert_int_equal(vhu_frontend_log_sync(fe, note_run, &runs), 0);
	/* runs are told whole: over words, over bytes, at the ends */
	liar_mark(&lab->liar, FRONT_GPA / 4096);
	for (uint64_t page = 317; page < 450; page++)
		liar_mark(&lab->liar, page);
	liar_mark(&lab->liar, 452);
	liar_mark(&lab->liar, end / 4096 - 1);
	assert_int_equal(vhu_frontend_log_sync(fe, note_run, &runs), 1 + 133 + 1 + 1);
	assert_int_equal(runs.nr, 4);
	assert_int_equal(runs.gpa[0], FRONT_GPA);
	assert_int_equal(runs.len[0], 4096);
	assert_int_equal(runs.gpa[1], 317 * 4096);
	assert_int_equal(runs.len[1], 133 * 4096);
	assert_int_equal(runs.gpa[2], 452 * 4096);
	assert_int_equal(runs.gpa[3], end - 4096);
	/* and once */
	assert_int_equal(vhu_frontend_log_sync(fe, note_run, &runs), 0);
	assert_int_equal(set_log(lab, false), 0);
	assert_false(lab->liar.features & VHU_MASK(VHU_F_LOG_ALL_BIT));
	assert_int_equal(lab->liar.ring[0].addr.flags, 0);
	assert_int_equal(vhu_frontend_log_sync(fe, note_run, &runs), -ENOENT);
	assert_int_equal(vhu_frontend_state(fe), VHU_DEVICE_RUNNING);
	/* comes again, and afresh */
	assert_int_equal(set_log(lab, true), 0);
	assert_int_equal(vhu_frontend_log_sync(fe, note_run, &runs), 0);
}

static void log_reply_of_8_bytes_is_taken(void **state)
{
	logged(state, NULL);
}

static void log_reply_of_no_bytes_is_taken(void **state)
{
	logged(state, &(struct liar_options){ .empty_log_reply = true });
}

static void log_reply_that_repeats_the_request_is_taken(void **state)
{
	logged(state, &(struct liar_options){ .whole_log_reply = true });
}

static void log_outlives_the_backend(void **state)
{
	struct lab *lab = running(state, NULL, NULL);
	struct runs runs = { 0 };

	assert_int_equal(set_log(lab, true), 0);
	liar_hang_up(&lab->liar);
	assert_true(check_until(front_pump(), lab->front.back == 1));
	lab_check_order(lab, 0, "SET_FEATURES SET_VRING_CALL-0 SET_LOG_BASE SET_VRING_KICK-0");
	assert_true(lab->liar.features & VHU_MASK(VHU_F_LOG_ALL_BIT));
	assert_int_equal(lab->liar.ring[1].addr.flags, VHU_VRING_F_LOG);
	/* a backend may die between a store and its mark: all has to be copied again */
	assert_int_equal(vhu_frontend_log_sync(lab->front.fe, note_run, &runs), 2 << 12);
	assert_int_equal(runs.nr, 1);
	assert_int_equal(runs.gpa[0], FRONT_GPA);
	assert_int_equal(vhu_frontend_log_sync(lab->front.fe, note_run, &runs), 0);
}

static void log_needs_the_backend_to_offer_it(void **state)
{
	struct lab *lab = running(
		state, NULL, &(struct liar_options){ .no_features = VHU_MASK(VHU_F_LOG_ALL_BIT) });

	assert_int_equal(vhu_frontend_log(lab->front.fe, true, NULL, NULL), -EOPNOTSUPP);
	lab_down(lab);
	lab = running(state, NULL,
		      &(struct liar_options){ .no_protocol_features =
						      VHU_MASK(VHU_P_LOG_SHMFD_BIT) });
	assert_int_equal(vhu_frontend_log(lab->front.fe, true, NULL, NULL), -EOPNOTSUPP);
	lab_down(lab);
	lab = lab_up(state, NULL, &(struct liar_options){ .no_listen = true });
	assert_int_equal(vhu_frontend_log(lab->front.fe, true, NULL, NULL), -ENOTCONN);
	assert_int_equal(vhu_frontend_log_sync(lab->front.fe, NULL, NULL), -ENOENT);
}

static bool has_page(const struct runs *runs, uint64_t gpa)
{
	for (unsigned int i = 0; i < runs->nr; i++) {
		if (gpa >= runs->gpa[i] && gpa - runs->gpa[i] < runs->len[i])
			return true;
	}
	return false;
}

static void our_backend_marks_what_it_writes(void **state)
{
	struct lab *lab = *state;
	struct fixture *fix = calloc(1, sizeof(*fix));
	struct runs runs = { 0 };
	struct vhu_ring_addr addr;
	struct tally before;

	assert_non_null(fix);
	tally_take(&before);
	fixture_init(fix, NULL);
	lab_up(state, &(struct front_options){ .connect = fix->path },
	       &(struct liar_options){ .no_listen = true });
	front_run(&lab->front);
	front_echo(&lab->front, 10, false);
	assert_int_equal(set_log(lab, true), 0);
	front_settle();
	/* what turning it on itself has written */
	assert_true(vhu_frontend_log_sync(lab->front.fe, NULL, NULL) >= 0);
	front_echo(&lab->front, 10, false);
	front_settle();
	assert_true(vhu_frontend_log_sync(lab->front.fe, note_run, &runs) > 3);
	/* both used rings, and no page of the transmit buffers */
	vhu_driver_addr(vhu_net_rx_driver(lab->front.pair[0].rx), &addr);
	assert_true(has_page(&runs, addr.used_gpa));
	vhu_driver_addr(vhu_net_tx_driver(lab->front.pair[0].tx), &addr);
	assert_true(has_page(&runs, addr.used_gpa));
	runs.nr = 0;
	assert_int_equal(vhu_frontend_log_sync(lab->front.fe, note_run, &runs), 0);
	front_echo(&lab->front, 1, false);
	assert_true(vhu_frontend_log_sync(lab->front.fe, note_run, &runs) > 0);
	assert_int_equal(set_log(lab, false), 0);
	front_echo(&lab->front, 10, false);
	assert_int_equal(lab->front.gone, 0);
	assert_int_equal(fix->complaints, 0);
	front_free(&lab->front);
	lab->front_is_up = false;
	fixture_free(fix);
	free(fix);
	lab->before = before;
}

/*
 * ---- Configuration, MTU, RARP, status ----
 */
static void configuration_is_read_and_written(void **state)
{
	struct lab *lab = lab_up(state, NULL, NULL);
	struct vhu_frontend *fe = lab->front.fe;
	struct front_done get = { 0 }, set = { 0 }, whole = { 0 };
	uint8_t bytes[VHU_MAX_CONFIG_SIZE];

	front_until(&lab->front, VHU_DEVICE_STOPPED);
	for (unsigned int i = 0; i < sizeof(bytes); i++)
		lab->liar.config[i] = bytes[i] = (uint8_t)(255 - i);
	assert_int_equal(vhu_frontend_get_config(fe, 6, 10, front_note_done, &get), 0);
	assert_int_equal(front_wait_done(&get), 0);
	assert_int_equal(get.size, 10);
	assert_memory_equal(get.bytes, bytes + 6, 10);
	assert_int_equal(
		vhu_frontend_set_config(fe, 250, "\1\2\3\4\5\6", 6, 1, front_note_done, &set), 0);
	assert_int_equal(front_wait_done(&set), 0);
	memcpy(bytes + 250, "\1\2\3\4\5\6", 6);
	assert_memory_equal(lab->liar.config, bytes, sizeof(bytes));
	assert_int_equal(liar_last(&lab->liar, VHU_SET_CONFIG)->config.flags, 1);
	assert_int_equal(vhu_frontend_get_config(fe, 0, 256, front_note_done, &whole), 0);
	assert_int_equal(front_wait_done(&whole), 0);
	assert_memory_equal(whole.bytes, bytes, sizeof(bytes));
	/* what cannot be is not sent */
	assert_int_equal(vhu_frontend_get_config(fe, 0, 257, NULL, NULL), -EINVAL);
	assert_int_equal(vhu_frontend_get_config(fe, 256, 1, NULL, NULL), -EINVAL);
	assert_int_equal(vhu_frontend_get_config(fe, UINT32_MAX, 2, NULL, NULL), -EINVAL);
	assert_int_equal(vhu_frontend_get_config(fe, 2, UINT32_MAX, NULL, NULL), -EINVAL);
	assert_int_equal(vhu_frontend_get_config(fe, 0, 0, NULL, NULL), -EINVAL);
	assert_int_equal(vhu_frontend_set_config(fe, 255, bytes, 2, 0, NULL, NULL), -EINVAL);
	assert_int_equal(vhu_frontend_set_config(fe, 0, bytes, 2, 7, NULL, NULL), -EINVAL);
	assert_int_equal(lab->front.gone, 0);
}

static void mtu_and_rarp_and_status_are_told(void **state)
{
	static const uint8_t mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };
	struct lab *lab = running(state, NULL, NULL);
	struct front_done done[4] = { 0 };
	struct vhu_frontend *fe = lab->front.fe;

	assert_int_equal(vhu_frontend_set_mtu(fe, 9000, front_note_done, &done[0]), 0);
	assert_int_equal(vhu_frontend_rarp(fe, mac, front_note_done, &done[1]), 0);
	assert_int_equal(vhu_frontend_get_status(fe, front_note_done, &done[2]), 0);
	assert_int_equal(vhu_frontend_set_status(fe, 0x8f, front_note_done, &done[3]), 0);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(front_wait_done(&done[i]), 0);
	assert_int_equal(lab->liar.mtu, 9000);
	assert_memory_equal(liar_last(&lab->liar, VHU_SEND_RARP)->bytes, mac, 6);
	assert_int_equal(liar_last(&lab->liar, VHU_SEND_RARP)->bytes[6], 0);
	assert_int_equal(done[2].value, 15);
	assert_int_equal(lab->liar.status, 0x8f);
	/* the next backend learns of the MTU by itself */
	liar_hang_up(&lab->liar);
	assert_true(check_until(front_pump(), lab->front.back == 1));
	assert_int_equal(lab->liar.mtu, 9000);
	assert_int_equal(vhu_frontend_set_mtu(fe, 67, NULL, NULL), -EINVAL);
	assert_int_equal(vhu_frontend_set_mtu(fe, 65536, NULL, NULL), -EINVAL);
}

static void requests_need_what_they_are_for(void **state)
{
	static const uint8_t mac[6];
	const uint64_t none = VHU_MASK(VHU_P_CONFIG_BIT) | VHU_MASK(VHU_P_RARP_BIT) |
			      VHU_MASK(VHU_P_STATUS_BIT) | VHU_MASK(VHU_P_NET_MTU_BIT);
	struct lab *lab =
		lab_up(state, NULL, &(struct liar_options){ .no_protocol_features = none });
	struct vhu_frontend *fe = lab->front.fe;
	struct front_done unused = { 0 };

	for (unsigned int i = 0; i < 2; i++) {
		int err = i ? -EOPNOTSUPP : -ENOTCONN;

		assert_int_equal(vhu_frontend_get_config(fe, 0, 1, front_note_done, &unused), err);
		assert_int_equal(
			vhu_frontend_set_config(fe, 0, mac, 1, 0, front_note_done, &unused), err);
		assert_int_equal(vhu_frontend_rarp(fe, mac, front_note_done, &unused), err);
		assert_int_equal(vhu_frontend_get_status(fe, front_note_done, &unused), err);
		assert_int_equal(vhu_frontend_set_status(fe, 0, front_note_done, &unused), err);
		assert_int_equal(vhu_frontend_set_mtu(fe, 1500, front_note_done, &unused), err);
		front_until(&lab->front, VHU_DEVICE_STOPPED);
	}
	front_settle();
	assert_int_equal(unused.calls, 0);
	front_run(&lab->front);
	assert_int_equal(liar_count(&lab->liar, VHU_NET_SET_MTU, 0), 0);
}

static void requests_are_done_in_their_order(void **state)
{
	struct lab *lab = lab_up(state, NULL, NULL);
	struct front_done done[40] = { 0 };
	unsigned int first;

	front_until(&lab->front, VHU_DEVICE_STOPPED);
	first = lab->liar.nr_records;
	/* one under way at a time: what is asked waits, however much it is */
	for (unsigned int i = 0; i < 40; i++)
		assert_int_equal(vhu_frontend_set_mtu(lab->front.fe, 1000 + i, front_note_done,
						      &done[i]),
				 0);
	assert_int_equal(vhu_frontend_process(lab->front.fe), 0);
	assert_int_equal(vhu_frontend_process(lab->front.fe), 0);
	liar_pump();
	assert_int_equal(lab->liar.nr_records, first + 1);
	for (unsigned int i = 0; i < 40; i++) {
		assert_int_equal(front_wait_done(&done[i]), 0);
		assert_int_equal(lab->liar.record[first + i].u64, 1000 + i);
	}
}

/*
 * ---- Features ----
 */
static void features_may_be_known_late(void **state)
{
	const uint64_t few = VHU_MASK(VHU_F_VERSION_1_BIT) | VHU_MASK(VHU_F_EVENT_IDX_BIT);
	const uint64_t more = few | VHU_MASK(VHU_F_INDIRECT_DESC_BIT);
	struct lab *lab = lab_up(state, NULL, NULL);
	struct vhu_frontend *fe = lab->front.fe;
	struct front_done done = { 0 };

	assert_true(vhu_frontend_acknowledge(fe, few) < 0);
	front_until(&lab->front, VHU_DEVICE_STOPPED);
	assert_int_equal(vhu_frontend_acknowledge(fe, few | VHU_MASK(VHU_NET_F_CTRL_VQ_BIT)),
			 -EINVAL);
	assert_int_equal(vhu_frontend_acknowledge(fe, few), 0);
	assert_int_equal(vhu_frontend_features(fe), few | VHU_MASK(VHU_F_PROTOCOL_FEATURES_BIT));
	front_run(&lab->front);
	assert_int_equal(lab->liar.features, few | VHU_MASK(VHU_F_PROTOCOL_FEATURES_BIT));
	assert_int_equal(vhu_frontend_acknowledge(fe, few), -EBUSY);
	assert_int_equal(vhu_frontend_stop(fe, front_note_done, &done), 0);
	assert_int_equal(front_wait_done(&done), 0);
	/* what the ring drivers go by has to stay */
	assert_int_equal(vhu_frontend_acknowledge(fe, more), 0);
	struct front_done again = { 0 };

	assert_int_equal(vhu_frontend_start(fe, front_note_done, &again), 0);
	assert_int_equal(front_wait_done(&again), 0);
	assert_int_equal(lab->liar.features, more | VHU_MASK(VHU_F_PROTOCOL_FEATURES_BIT));
	memset(&done, 0, sizeof(done));
	assert_int_equal(vhu_frontend_stop(fe, front_note_done, &done), 0);
	assert_int_equal(front_wait_done(&done), 0);
	assert_int_equal(vhu_frontend_acknowledge(fe, VHU_MASK(VHU_F_VERSION_1_BIT)), 0);
	memset(&again, 0, sizeof(again));
	assert_int_equal(vhu_frontend_start(fe, front_note_done, &again), 0);
	assert_int_equal(front_wait_done(&again), -EINVAL);
	assert_non_null(strstr(again.reason, "driver was made for"));
}

/*
 * ---- Waiting ----
 */
static void wait_is_for_all_that_was_asked(void **state)
{
	struct lab *lab = lab_up(state, NULL, NULL);
	struct vhu_frontend *fe = lab->front.fe;
	struct front_done done = { 0 };
	struct vhu_reason why = { "" };

	liar_begin_thread(&lab->liar);
	assert_int_equal(vhu_frontend_wait(fe, CHECK_PATIENCE_MS, &why), 0);
	assert_int_equal(vhu_frontend_state(fe), VHU_DEVICE_STOPPED);
	assert_int_equal(lab->front.connected, 1);
	front_make_rings(&lab->front);
	assert_int_equal(vhu_frontend_start(fe, NULL, NULL), 0);
	assert_int_equal(vhu_frontend_get_status(fe, front_note_done, &done), 0);
	assert_int_equal(vhu_frontend_wait(fe, -1, &why), 0);
	assert_int_equal(vhu_frontend_state(fe), VHU_DEVICE_RUNNING);
	assert_int_equal(done.calls, 1);
	assert_int_equal(done.value, 15);
	/* nothing to wait for */
	assert_int_equal(vhu_frontend_wait(fe, 0, NULL), 0);
	liar_end_thread(&lab->liar);
}

static void wait_ends_with_its_time(void **state)
{
	struct lab *lab = lab_up(state, NULL, &(struct liar_options){ .no_listen = true });
	struct vhu_reason why = { "" };
	int64_t began = check_now_ms();

	assert_int_equal(vhu_frontend_connect(lab->front.fe, lab->liar.path), 0);
	assert_int_equal(vhu_frontend_wait(lab->front.fe, 80, &why), -ETIMEDOUT);
	assert_true(check_now_ms() - began >= 79);
	assert_true(why.text[0]);
	assert_int_equal(vhu_frontend_wait(lab->front.fe, 0, NULL), -ETIMEDOUT);
	/* it goes on looking all the same */
	liar_come(&lab->liar);
	liar_begin_thread(&lab->liar);
	assert_int_equal(vhu_frontend_wait(lab->front.fe, CHECK_PATIENCE_MS, NULL), 0);
	liar_end_thread(&lab->liar);
}

static void wait_tells_what_failed_once(void **state)
{
	struct lab *lab = lab_up(state, NULL, NULL);
	struct vhu_reason why = { "" };

	lab->liar.lie = refuse_memory;
	liar_begin_thread(&lab->liar);
	assert_int_equal(vhu_frontend_wait(lab->front.fe, CHECK_PATIENCE_MS, &why), 0);
	front_make_rings(&lab->front);
	assert_int_equal(vhu_frontend_start(lab->front.fe, NULL, NULL), 0);
	assert_int_equal(vhu_frontend_wait(lab->front.fe, CHECK_PATIENCE_MS, &why), -EREMOTEIO);
	assert_non_null(strstr(why.text, "ADD_MEM_REG"));
	assert_int_equal(vhu_frontend_state(lab->front.fe), VHU_DEVICE_STOPPED);
	assert_int_equal(vhu_frontend_wait(lab->front.fe, CHECK_PATIENCE_MS, &why), 0);
	liar_end_thread(&lab->liar);
}

static void wait_ends_with_the_device(void **state)
{
	struct lab *lab =
		lab_up(state,
		       &(struct front_options){ .give_up = true,
						.features_needed = VHU_MASK(VHU_NET_F_CSUM_BIT) },
		       NULL);
	struct vhu_reason why = { "" };

	liar_begin_thread(&lab->liar);
	assert_true(vhu_frontend_wait(lab->front.fe, -1, &why) < 0);
	assert_non_null(strstr(why.text, "CSUM"));
	assert_int_equal(vhu_frontend_state(lab->front.fe), VHU_DEVICE_FAILED);
	liar_end_thread(&lab->liar);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		lab_test(memory_that_changed_is_told_by_slots),
		lab_test(memory_that_changed_is_told_by_the_table),
		lab_test(table_takes_no_more_regions_than_a_message_has),
		lab_test(memory_that_is_refused_is_told_again_the_next_time),
		lab_test(region_that_goes_before_it_was_told_of_is_left_out),
		lab_test(memory_of_a_stopped_device_is_told_at_its_start),
		lab_test(log_reply_of_8_bytes_is_taken),
		lab_test(log_reply_of_no_bytes_is_taken),
		lab_test(log_reply_that_repeats_the_request_is_taken),
		lab_test(log_outlives_the_backend),
		lab_test(log_needs_the_backend_to_offer_it),
		lab_test(our_backend_marks_what_it_writes),
		lab_test(configuration_is_read_and_written),
		lab_test(mtu_and_rarp_and_status_are_told),
		lab_test(requests_need_what_they_are_for),
		lab_test(requests_are_done_in_their_order),
		lab_test(features_may_be_known_late),
		lab_test(wait_is_for_all_that_was_asked),
		lab_test(wait_ends_with_its_time),
		lab_test(wait_tells_what_failed_once),
		lab_test(wait_ends_with_the_device),
	};

	return cmocka_run_group_tests_name("frontend_device", tests, NULL, NULL);
}
