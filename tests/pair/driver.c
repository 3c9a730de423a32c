/* SPDX-License-Identifier: MIT */
/* What a frontend says to set a device up, in QEMU's order; how it is sent is not known here. */
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver.h"

void drv_init(struct drv *drv, const struct drv_options *options)
{
	memset(drv, 0, sizeof(*drv));
	if (options)
		drv->options = *options;
	struct drv_options *o = &drv->options;

	o->features = o->features ? o->features : UINT64_MAX;
	o->protocol_features = o->protocol_features ? o->protocol_features : UINT64_MAX;
	o->nr_rings = o->nr_rings ? o->nr_rings : 2;
	o->ring_size = o->ring_size ? o->ring_size : 256;
	o->nr_slots = o->nr_slots ? o->nr_slots : 64;
	o->slot_size = o->slot_size ? o->slot_size : 2048;
	o->nr_regions = o->nr_regions ? o->nr_regions : 2;
	o->region_size = o->region_size ? o->region_size : 16 << 20;
	drv->sock = -1;
	drv->channel = -1;
	drv_mem_init(&drv->mem, o->nr_regions, o->region_size);
	drv->ring = calloc(o->nr_rings, sizeof(*drv->ring));
	assert_non_null(drv->ring);
	for (unsigned int i = 0; i < o->nr_rings; i++) {
		drv_ring_init(&drv->ring[i], &drv->mem, o->ring_size, 0);
		drv_ring_slots(&drv->ring[i], o->nr_slots, o->slot_size);
	}
}

void drv_free(struct drv *drv)
{
	drv_disconnect(drv);
	for (unsigned int i = 0; i < drv->options.nr_rings; i++)
		drv_ring_free(&drv->ring[i]);
	free(drv->ring);
	drv_mem_free(&drv->mem);
}

static void set_channel(struct drv *drv)
{
	int pair[2];

	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), errno);
	drv_do(drv, VHU_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1);
	close(pair[1]);
	drv->channel = pair[0];
}

void drv_negotiate(struct drv *drv)
{
	const struct drv_options *o = &drv->options;

	drv->offered = drv_ask_u64(drv, VHU_GET_FEATURES);
	if (drv->offered & o->features & ~o->no_features & VHU_MASK(VHU_F_PROTOCOL_FEATURES_BIT)) {
		drv->protocol_offered = drv_ask_u64(drv, VHU_GET_PROTOCOL_FEATURES);
		uint64_t bits =
			drv->protocol_offered & o->protocol_features & ~o->no_protocol_features;

		drv_do_u64(drv, VHU_SET_PROTOCOL_FEATURES, bits);
		drv->protocol_features = bits;
		if (bits & VHU_MASK(VHU_P_MQ_BIT))
			assert_true(drv_ask_u64(drv, VHU_GET_QUEUE_NUM) > 0);
		if (bits & VHU_MASK(VHU_P_CONFIGURE_MEM_SLOTS_BIT))
			assert_true(drv_ask_u64(drv, VHU_GET_MAX_MEM_SLOTS) > 0);
		if (bits & VHU_MASK(VHU_P_BACKEND_REQ_BIT))
			set_channel(drv);
	}
	drv_do(drv, VHU_SET_OWNER, NULL, 0, NULL, 0);
	assert_int_equal(drv_ask_u64(drv, VHU_GET_FEATURES), drv->offered);
	for (unsigned int i = 0; i < o->nr_rings; i++)
		drv_do_vring_fd(drv, VHU_SET_VRING_CALL, i, drv->ring[i].call_fd);
	for (unsigned int i = 0; i < o->nr_rings; i++)
		drv_do_vring_fd(drv, VHU_SET_VRING_ERR, i, drv->ring[i].err_fd);
}

void drv_set_features(struct drv *drv, uint64_t features)
{
	/* this driver's own rings are split, and it looks at every used entry */
	drv_set_all_features(drv, features & ~(VHU_MASK(VHU_F_RING_PACKED_BIT) |
					       VHU_MASK(VHU_F_IN_ORDER_BIT)));
}

void drv_set_all_features(struct drv *drv, uint64_t features)
{
	drv_do_u64(drv, VHU_SET_FEATURES, features);
	drv->features = features;
	for (unsigned int i = 0; i < drv->options.nr_rings; i++)
		drv->ring[i].event_idx = features & VHU_MASK(VHU_F_EVENT_IDX_BIT);
}

void drv_set_mem_table(struct drv *drv, unsigned int first, unsigned int nr)
{
	struct vhu_mem_table table = { .nr = nr };
	int fds[VHU_MAX_MSG_REGIONS];

	assert_true(nr <= VHU_MAX_MSG_REGIONS);
	for (unsigned int i = 0; i < nr; i++) {
		drv_mem_wire_region(&drv->mem.region[first + i], &table.region[i]);
		fds[i] = drv->mem.region[first + i].fd;
	}
	drv_do(drv, VHU_SET_MEM_TABLE, &table, (uint32_t)(8 + nr * sizeof(struct vhu_region)), fds,
	       nr);
}

int drv_add_mem(struct drv *drv, unsigned int region)
{
	struct vhu_mem_reg reg = { 0 };

	drv_mem_wire_region(&drv->mem.region[region], &reg.region);
	return drv_ack(drv, VHU_ADD_MEM_REG, &reg, sizeof(reg), &drv->mem.region[region].fd, 1);
}

int drv_rem_mem(struct drv *drv, unsigned int region)
{
	struct vhu_mem_reg reg = { 0 };

	drv_mem_wire_region(&drv->mem.region[region], &reg.region);
	return drv_ack(drv, VHU_REM_MEM_REG, &reg, sizeof(reg), NULL, 0);
}

void drv_set_mem(struct drv *drv)
{
	if (!drv->options.mem_slots) {
		drv_set_mem_table(drv, 0, drv->mem.nr);
		return;
	}
	for (unsigned int i = 0; i < drv->mem.nr; i++)
		assert_int_equal(drv_add_mem(drv, i), 0);
}

void drv_fill_addr(struct drv *drv, unsigned int ring, struct vhu_vring_addr *ret_addr)
{
	const struct drv_ring *r = &drv->ring[ring];

	memset(ret_addr, 0, sizeof(*ret_addr));
	ret_addr->index = ring;
	ret_addr->desc = drv_mem_uva(&drv->mem, r->desc_gpa);
	ret_addr->avail = drv_mem_uva(&drv->mem, r->avail_gpa);
	ret_addr->used = drv_mem_uva(&drv->mem, r->used_gpa);
	ret_addr->log = r->used_gpa;
}

void drv_start_ring(struct drv *drv, unsigned int ring, uint16_t base)
{
	struct vhu_vring_addr addr;

	drv_fill_addr(drv, ring, &addr);
	drv_do_state(drv, VHU_SET_VRING_NUM, ring, drv->ring[ring].num);
	drv_do_state(drv, VHU_SET_VRING_BASE, ring, base);
	drv_do(drv, VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
	drv_do_vring_fd(drv, VHU_SET_VRING_KICK, ring, drv->ring[ring].kick_fd);
	drv_do_vring_fd(drv, VHU_SET_VRING_CALL, ring, drv->ring[ring].call_fd);
}

void drv_enable_ring(struct drv *drv, unsigned int ring, bool enable)
{
	drv_do_state(drv, VHU_SET_VRING_ENABLE, ring, enable);
}

uint16_t drv_stop_ring(struct drv *drv, unsigned int ring)
{
	struct vhu_vring_state state = { ring, 0 };
	struct vhu_msg reply;

	drv_ask(drv, VHU_GET_VRING_BASE, &state, sizeof(state), &reply);
	assert_int_equal(reply.hdr.size, sizeof(state));
	assert_int_equal(reply.state.index, ring);
	assert_true(reply.state.num <= UINT16_MAX);
	return (uint16_t)reply.state.num;
}

void drv_start(struct drv *drv)
{
	const struct drv_options *o = &drv->options;

	drv_negotiate(drv);
	if (drv->protocol_features)
		for (unsigned int i = 0; i < o->nr_rings; i++)
			drv_enable_ring(drv, i, true);
	drv_set_features(drv, drv->offered & o->features & ~o->no_features &
				      ~VHU_MASK(VHU_F_LOG_ALL_BIT));
	drv_set_mem(drv);
	for (unsigned int i = 0; i < o->nr_rings; i++)
		drv_start_ring(drv, i, drv->ring[i].avail_idx);
	drv_check_in_step(drv);
}

void drv_stop(struct drv *drv)
{
	for (unsigned int i = 0; i < drv->options.nr_rings; i++)
		drv_stop_ring(drv, i);
}
