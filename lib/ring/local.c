/* SPDX-License-Identifier: MIT */
/*
 * A ring that is served in the process that holds the guest's memory: the device's side of a ring on
 * that memory, without a connection. Knows nothing of messages, nor of what chains carry.
 */
#include <vhu/local.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ring/view.h>

enum {
	/* returned unused in one pop: each may cost VHU_STEPS_MAX, and there may be always more */
	BAD_CHAINS = 16,
};

struct vhu_local {
	struct vhu_memory *memory;
	struct vhu_queue queue;
	struct vhu_mem *mem; /* the memory's regions during a run */
	uint32_t serial;     /* of the run */
	bool never;	     /* false, for ever: the memory is ours, and sealed */
	bool taken;	     /* a chain is in hand */
	struct vhu_chain chain;
	struct vhu_seg segs[VHU_CHAIN_MAX];
	struct iovec iov[VHU_CHAIN_MAX];
};

int vhu_local_new(struct vhu_local **ret_local, struct vhu_memory *memory)
{
	struct vhu_local *local = calloc(1, sizeof(*local));

	if (!local)
		return -ENOMEM;
	local->memory = memory;
	local->queue.poisoned = &local->never;
	local->queue.wake_fd = -1; /* faults are seen by whoever pops */
	*ret_local = local;
	return 0;
}

void vhu_local_free(struct vhu_local *local)
{
	if (!local)
		return;
	vhu_local_stop(local);
	vhu_queue_release(&local->queue);
	free(local);
}

/* The table of the regions as they are now; they are mapped already. */
static struct vhu_mem *table_of(const struct vhu_memory *memory)
{
	unsigned int nr = vhu_memory_count(memory);
	struct vhu_mem *mem =
		calloc(1, sizeof(struct vhu_mem) + nr * sizeof(struct vhu_mem_region));
	struct vhu_memory_region region;

	while (mem && mem->nr < nr && !vhu_memory_region(memory, mem->nr, &region)) {
		mem->region[mem->nr++] = (struct vhu_mem_region){
			.gpa = region.gpa,
			.size = region.size,
			.host = region.host,
		};
	}
	return mem;
}

static uint32_t new_base(const struct vhu_view *view)
{
	/* packed: both positions 0, both wrap counters 1 (virtio 1.2, 2.8.1) */
	return view->packed ? 0x80008000u : 0;
}

int vhu_local_start(struct vhu_local *local, const struct vhu_local_ring *ring,
		    struct vhu_reason *why)
{
	const struct vhu_ring_place place = { .desc = ring->addr.desc_gpa,
					      .avail = ring->addr.avail_gpa,
					      .used = ring->addr.used_gpa };
	struct vhu_queue *q = &local->queue;
	struct vhu_view *view = NULL;
	struct vhu_mem *mem;
	uint32_t base;
	int err;

	if (q->view)
		return vhu_refuse(why, -EBUSY, "ring 0: is started");
	if (ring->size < sizeof(*ring) || !ring->num || ring->num > VHU_MAX_RING_SIZE)
		return vhu_refuse(why, -EPROTO, "ring 0: num %u, must be 1 to %u", ring->num,
				  VHU_MAX_RING_SIZE);
	mem = table_of(local->memory);
	if (!mem)
		return vhu_refuse(why, -ENOMEM, "ring 0: out of memory");
	err = vhu_view_new(&view, 0, ring->num, mem, &place, ring->features, why);
	if (err)
		goto fail;
	base = ring->go_on ? ring->base : new_base(view);
	err = vhu_view_judge_base(view, 0, base, why);
	if (err)
		goto fail;
	err = vhu_queue_prepare(q, ring->num);
	if (err) {
		vhu_refuse(why, err, "ring 0: out of memory");
		goto fail;
	}
	view->enabled = true;
	view->call_fd = ring->call_fd;
	view->serial = ++local->serial;
	view->run = &q->run;
	vhu_queue_start(q, view, base);
	local->mem = mem;
	local->taken = false;
	vhu_store_release(&q->view, view);
	return 0;
fail:
	free(view);
	free(mem);
	return err;
}

void vhu_local_stop(struct vhu_local *local)
{
	struct vhu_queue *q = &local->queue;
	struct vhu_view *view = q->view;

	if (!view)
		return;
	vhu_store_release(&q->view, NULL);
	free(view);
	local->taken = false;
	free(local->mem);
	local->mem = NULL;
}

uint32_t vhu_local_base(const struct vhu_local *local)
{
	return vhu_queue_base(&local->queue);
}

struct vhu_queue *vhu_local_queue(struct vhu_local *local)
{
	return &local->queue;
}

static void describe(struct vhu_local *local, struct vhu_local_chain *ret)
{
	const struct vhu_chain *chain = &local->chain;
	unsigned int nr = chain->nr_read + chain->nr_write;

	for (unsigned int i = 0; i < nr; i++) {
		local->iov[i].iov_base = local->segs[i].host;
		local->iov[i].iov_len = local->segs[i].len;
	}
	*ret = (struct vhu_local_chain){ .read = local->iov,
					 .nr_read = chain->nr_read,
					 .read_len = chain->read_len,
					 .write = local->iov + chain->nr_read,
					 .nr_write = chain->nr_write,
					 .write_len = chain->write_len };
}

int vhu_local_pop(struct vhu_local *local, struct vhu_local_chain *ret_chain)
{
	struct vhu_queue *q = &local->queue;
	const struct vhu_view *view = vhu_queue_view(q);

	if (!q->view)
		return -ENOTCONN;
	if (!view)
		return -EPROTO;
	if (local->taken)
		return -EBUSY;
	for (unsigned int i = 0; i < BAD_CHAINS; i++) {
		int got = vhu_ring_take(q, view, local->segs, VHU_CHAIN_MAX, &local->chain);

		if (got < 0)
			return -EPROTO;
		if (!got)
			return 0;
		if (!local->chain.fault) {
			local->taken = true;
			describe(local, ret_chain);
			return 1;
		}
		vhu_ring_bad_chain(q, local->chain.fault, local->chain.value);
		vhu_ring_return(q, &local->chain, 0);
		vhu_ring_publish(q, view);
	}
	return 0;
}

/* One loop for both directions: for each piece, the bytes of it that are meant. */
static uint32_t copy(const struct iovec *iov, unsigned int nr, uint32_t offset, uint8_t *to,
		     const uint8_t *from, uint32_t len)
{
	uint32_t done = 0;

	for (unsigned int i = 0; i < nr && done < len; i++) {
		uint32_t size = (uint32_t)iov[i].iov_len, n;

		if (offset >= size) {
			offset -= size;
			continue;
		}
		n = vhu_min_u32(size - offset, len - done);
		if (to)
			memcpy(to + done, (uint8_t *)iov[i].iov_base + offset, n);
		else
			vhu_guest_store(NULL, (uint8_t *)iov[i].iov_base + offset, 0, from + done,
					n);
		done += n;
		offset = 0;
	}
	return done;
}

uint32_t vhu_local_read(const struct vhu_local_chain *chain, uint32_t offset, void *to,
			uint32_t len)
{
	return copy(chain->read, chain->nr_read, offset, to, NULL, len);
}

uint32_t vhu_local_write(const struct vhu_local_chain *chain, uint32_t offset, const void *from,
			 uint32_t len)
{
	return copy(chain->write, chain->nr_write, offset, NULL, from, len);
}

void vhu_local_push(struct vhu_local *local, uint32_t written)
{
	struct vhu_queue *q = &local->queue;
	const struct vhu_view *view = vhu_queue_view(q);

	if (!local->taken)
		return;
	local->taken = false;
	if (!view)
		return;
	/* more than the driver has room for would have it believe bytes that are not there */
	written = vhu_min_u32(written, local->chain.write_len);
	vhu_ring_return(q, &local->chain, written);
	vhu_ring_publish(q, view);
}

bool vhu_local_fault(const struct vhu_local *local, struct vhu_reason *ret_why)
{
	const struct vhu_queue *q = &local->queue;

	if (!q->fault)
		return false;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the texts stand in one table of ours */
	snprintf(ret_why->text, sizeof(ret_why->text), vhu_ring_fault_text(q->fault),
		 (unsigned long long)q->fault_value);
#pragma GCC diagnostic pop
	return true;
}
