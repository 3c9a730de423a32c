/* SPDX-License-Identifier: MIT */
/*
 * Notification in both directions, and the end of a ring: calls are decided here, kicks are asked
 * for here, whatever the layout. Knows nothing of what chains carry.
 *
 * Two halves of one protocol. The side that waits: arm, full barrier, look again, sleep. The side
 * that publishes: publish, full barrier, look whether to notify. Neither may leave a step out.
 */
#include <ring/ring.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ring/record.h>

static const char *const fault_texts[VHU_FAULT_END] = {
	[VHU_FAULT_NONE] = "nothing is wrong (%llu)",
	[VHU_FAULT_AVAIL_JUMP] = "available index %llu is more than the ring's size ahead",
	[VHU_FAULT_HEAD_RANGE] = "available head (buffer id) %llu is not below the ring's size",
	[VHU_FAULT_HEAD_TWICE] =
		"available head (buffer id) %llu came twice without having been returned",
	[VHU_FAULT_ENDLESS] = "chain at place %llu is longer than the ring, or than 4096",
	[VHU_FAULT_CALL_BLOCKED] = "call eventfd blocks the writer (errno %llu)",
	[VHU_FAULT_CALL_FAILED] = "call eventfd cannot be written (errno %llu)",
	[VHU_FAULT_POISONED] = "guest memory vanished under us: its file was truncated (%llu)",
	[VHU_FAULT_LOOP] = "chain of head %llu is longer than its table, or than 1024",
	[VHU_FAULT_NEXT_RANGE] = "descriptor's next %llu is not below the table's size",
	[VHU_FAULT_ADDRESS] = "no memory region holds guest address %llu",
	[VHU_FAULT_ORDER] = "chain of head %llu has a readable part after a writable one",
	[VHU_FAULT_PIECES] = "chain has too many pieces at guest address %llu",
	[VHU_FAULT_LENGTH] = "chain's length wraps 32 bits at guest address %llu",
	[VHU_FAULT_INDIRECT_OFF] = "indirect table (%llu bytes), yet INDIRECT_DESC was not agreed",
	[VHU_FAULT_INDIRECT_NEXT] = "indirect table (%llu bytes) in a chain of descriptors",
	[VHU_FAULT_INDIRECT_WRITE] = "descriptor of an indirect table (%llu bytes) has WRITE set",
	[VHU_FAULT_INDIRECT_NESTED] = "indirect table within an indirect table in head %llu",
	[VHU_FAULT_INDIRECT_SIZE] = ("indirect table of %llu bytes: must be a multiple of 16, no "
				     "longer than the ring"),
};

const char *vhu_ring_fault_text(enum vhu_ring_fault fault)
{
	return fault_texts[(unsigned int)fault < VHU_FAULT_END ? fault : VHU_FAULT_NONE];
}

static int signal_fd(int fd)
{
	uint64_t one = 1;

	return write(fd, &one, sizeof(one)) < 0 ? errno : 0;
}

void vhu_queue_wake_control(struct vhu_queue *q)
{
	signal_fd(q->wake_fd);
}

void vhu_queue_break(struct vhu_queue *q, const struct vhu_view *view, enum vhu_ring_fault fault,
		     uint64_t value)
{
	if (vhu_read_once(&q->fault))
		return;
	/* before the fault is told: the err eventfd may be what blocks */
	if (view->err_fd >= 0 && signal_fd(view->err_fd) == EINTR) {
		fault = VHU_FAULT_CALL_BLOCKED;
		value = EINTR;
	}
	vhu_write_once(&q->fault_value, value);
	/* pairs with the control side's load: the value before the fault */
	vhu_store_release(&q->fault, (uint32_t)fault);
	vhu_queue_wake_control(q);
}

int vhu_queue_prepare(struct vhu_queue *q, uint32_t num)
{
	uint32_t max = vhu_min_u32(num, VHU_SHADOW_MAX);

	vhu_queue_release(q);
	q->shadow = calloc(max, sizeof(*q->shadow));
	q->stamp = calloc(num, sizeof(*q->stamp));
	if (!q->shadow || !q->stamp) {
		vhu_queue_release(q);
		return -ENOMEM;
	}
	q->shadow_max = max;
	q->nr_stamps = num;
	q->now = 1;
	return 0;
}

void vhu_queue_release(struct vhu_queue *q)
{
	vhu_record_end(q);
	free(q->shadow);
	free(q->stamp);
	q->shadow = NULL;
	q->stamp = NULL;
	q->shadow_max = 0;
	q->nr_shadow = 0;
	q->any_writable = false;
}

void vhu_queue_start(struct vhu_queue *q, const struct vhu_view *view, uint32_t base)
{
	q->packed = view->packed;
	if (view->packed)
		vhu_packed_start(q, view, base);
	else
		vhu_split_start(q, view, base);
	q->committed = q->avail_pos;
	q->signalled_valid = false;
	q->armed = VHU_ARM_UNKNOWN;
	q->serial_seen = view->serial - 1;
	q->nr_shadow = 0;
	q->any_writable = false;
	q->buffer_len = 0;
	q->push_steps = 0;
	vhu_queue_forget_faults(q);
}

uint32_t vhu_queue_base(const struct vhu_queue *q)
{
	uint16_t avail = q->committed;

	/* whoever goes on without our record takes what is still to be handed out again as new */
	if (q->inflight && q->inflight->left)
		avail = q->used_pos;
	return q->packed ? (uint32_t)q->used_pos << 16 | avail : avail;
}

bool vhu_ring_base_is_good(uint32_t base, uint32_t num, bool packed)
{
	return packed ? vhu_packed_base_is_good(base, num) : base <= UINT16_MAX;
}

void vhu_queue_forget_faults(struct vhu_queue *q)
{
	vhu_write_once(&q->fault, (uint32_t)VHU_FAULT_NONE);
	vhu_write_once(&q->chain_fault, (uint32_t)VHU_FAULT_NONE);
}

void vhu_ring_undo(struct vhu_queue *q, struct vhu_ring_mark mark)
{
	for (uint32_t i = mark.nr_shadow; i < q->nr_shadow; i++)
		q->stamp[(uint16_t)q->shadow[i].id] = 0;
	vhu_record_untake(q, q->nr_shadow - mark.nr_shadow);
	q->nr_shadow = mark.nr_shadow;
	q->avail_pos = mark.avail_pos;
}

void vhu_ring_put_back(struct vhu_queue *q, const struct vhu_view *view, unsigned int nr)
{
	struct vhu_ring_mark mark = { .nr_shadow = q->nr_shadow - nr };
	uint32_t places = 0;

	for (uint32_t i = mark.nr_shadow; i < q->nr_shadow; i++)
		places += q->shadow[i].id >> VHU_USED_PLACES_SHIFT;
	mark.avail_pos = view->packed ? vhu_packed_retreat(q->avail_pos, places, view->num) :
					(uint16_t)(q->avail_pos - nr);
	vhu_ring_undo(q, mark);
}

void vhu_ring_rewind(struct vhu_queue *q)
{
	vhu_ring_undo(q, (struct vhu_ring_mark){ .nr_shadow = 0, .avail_pos = q->committed });
	q->push_steps = 0;
}

void vhu_ring_bad_chain(struct vhu_queue *q, enum vhu_ring_fault fault, uint64_t value)
{
	vhu_count(&q->stats.bad_chains, 1);
	if (vhu_read_once(&q->chain_fault))
		return;
	vhu_write_once(&q->chain_value, value);
	vhu_store_release(&q->chain_fault, (uint32_t)fault);
	vhu_queue_wake_control(q);
}

/* What is published may be taken again: no stamp that was made so far counts from now on. */
static void next_stamp(struct vhu_queue *q)
{
	if (vhu_likely(++q->now))
		return;
	memset(q->stamp, 0, q->nr_stamps * sizeof(*q->stamp));
	q->now = 1;
}

void vhu_ring_publish(struct vhu_queue *q, const struct vhu_view *view)
{
	uint32_t n = q->nr_shadow;

	if (n) {
		vhu_record_publishing(q);
		if (view->packed)
			vhu_packed_publish(q, view);
		else
			vhu_split_publish(q, view);
		vhu_record_published(q);
		q->nr_shadow = 0;
		q->any_writable = false;
		next_stamp(q);
		vhu_count(&q->stats.chains, n);
	}
	q->committed = q->avail_pos;
	q->push_steps = 0;
	vhu_queue_notify(q, view, n);
}

static bool wants_call(struct vhu_queue *q, const struct vhu_view *view)
{
	return view->packed ? vhu_packed_wants_call(q, view) : vhu_split_wants_call(q, view);
}

static void set_kicks(struct vhu_queue *q, const struct vhu_view *view, bool wanted)
{
	if (view->packed)
		vhu_packed_set_kicks(q, view, wanted);
	else
		vhu_split_set_kicks(q, view, wanted);
}

static bool has_more(const struct vhu_queue *q, const struct vhu_view *view)
{
	if (vhu_record_has_again(q))
		return true;
	return view->packed ? vhu_packed_has_more(q, view) : vhu_split_has_more(q, view);
}

static void call(struct vhu_queue *q, const struct vhu_view *view)
{
	int err;

	if (view->call_fd < 0)
		return;
	err = signal_fd(view->call_fd);
	/* EAGAIN: the counter is at its maximum, so the driver has plenty to wake up for */
	if (vhu_unlikely(err == EINTR))
		vhu_queue_break(q, view, VHU_FAULT_CALL_BLOCKED, (uint64_t)err);
	else if (vhu_unlikely(err && err != EAGAIN))
		vhu_queue_break(q, view, VHU_FAULT_CALL_FAILED, (uint64_t)err);
	else
		vhu_count(&q->stats.calls, 1);
}

void vhu_queue_notify(struct vhu_queue *q, const struct vhu_view *view, uint32_t n)
{
	bool wanted = false;

	if (vhu_unlikely(q->serial_seen != view->serial)) {
		/*
		 * The old call fd may have swallowed a call: raise it on the new one. The same at a start,
		 * since nothing tells a ring that is new from one whose indices have gone round, and whose
		 * last call may be missing. One call too many does no harm.
		 */
		wanted = true;
		q->serial_seen = view->serial;
		q->signalled_valid = false;
	}
	if (n)
		wanted |= wants_call(q, view);
	if (wanted)
		call(q, view);
	else if (n)
		vhu_count(&q->stats.calls_suppressed, 1);
}

bool vhu_queue_arm(struct vhu_queue *queue)
{
	const struct vhu_view *view = vhu_queue_view(queue);

	if (!view)
		return false;
	set_kicks(queue, view, true);
	queue->armed = VHU_ARM_ON;
	vhu_count(&queue->stats.arms, 1);
	/*
	 * Arm, then look. Pairs with the driver's barrier between its store to avail->idx (or a
	 * descriptor's flags) and its load of avail_event (or used->flags, or our event area).
	 */
	vhu_full_barrier();
	if (!has_more(queue, view))
		return false;
	vhu_queue_disarm(queue);
	return true;
}

void vhu_queue_disarm(struct vhu_queue *queue)
{
	const struct vhu_view *view = vhu_queue_view(queue);

	if (!view || queue->armed == VHU_ARM_OFF)
		return;
	set_kicks(queue, view, false);
	queue->armed = VHU_ARM_OFF;
}

bool vhu_queue_is_running(const struct vhu_queue *queue)
{
	return vhu_queue_view(queue) != NULL;
}

bool vhu_queue_trylock(struct vhu_queue *queue)
{
	return !__atomic_exchange_n(&queue->locked, 1, __ATOMIC_ACQUIRE);
}

void vhu_queue_unlock(struct vhu_queue *queue)
{
	vhu_store_release(&queue->locked, 0u);
}

void vhu_queue_stats(const struct vhu_queue *queue, struct vhu_queue_stats *ret_stats)
{
	const struct vhu_queue_stats *s = &queue->stats;

	ret_stats->chains = vhu_read_once(&s->chains);
	ret_stats->bad_chains = vhu_read_once(&s->bad_chains);
	ret_stats->calls = vhu_read_once(&s->calls);
	ret_stats->calls_suppressed = vhu_read_once(&s->calls_suppressed);
	ret_stats->arms = vhu_read_once(&s->arms);
}
