// SPDX-License-Identifier: MIT
/* From a burst of frames to their destinations; what a port is made of is its operations' affair. */

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include "switch/forward.h"

enum {
	VARIANT_UNTAGGED,
	VARIANT_TAGGED,
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static bool sender_is_spoilt(struct sw_forward *fwd)
{
	if (!fwd->is_spoilt && fwd->from->rx && vhu_net_is_poisoned(fwd->from->rx))
		fwd->is_spoilt = true;
	return fwd->is_spoilt;
}

/* ---- One destination ---- */

static int publish(struct sw_dest *dest)
{
	const struct sw_port_ops *ops = dest->queue->port->ops;
	int ret = ops->commit(dest->queue);

	if (!ret) {
		sw_count(&dest->counters->tx_frames, dest->frames);
		sw_count(&dest->counters->tx_bytes, dest->bytes);
	} else {
		sw_count(&dest->counters->tx_drop_error, dest->frames);
	}
	dest->frames = 0;
	dest->bytes = 0;
	return ret;
}

/* The receiver has taken frames: those that it let wait are paid off. */
static void note_pushed(struct sw_dest *dest, const struct vhu_net_frame *const *frames,
			unsigned int nr)
{
	struct sw_touch *touch = dest->touch;

	for (unsigned int i = 0; i < nr; i++)
		dest->bytes += frames[i]->len;
	dest->frames += nr;
	touch->is_stuck = false;
	touch->owed -= nr < touch->owed ? nr : touch->owed;
}

/*
 * The receive ring is full. What is there is published, so that the guest can make room, and it
 * gets a moment for that. Who lets that moment pass gets another only once it has taken some frames, and
 * more of them each time: nobody else's frames wait for it for more than a small share of the time.
 */
static int push_again(struct sw_forward *fwd, struct sw_dest *dest,
		      const struct vhu_net_frame *frame)
{
	struct sw_touch *touch = dest->touch;
	uint64_t start;
	int ret;

	if (touch->is_stuck || touch->owed || dest->waited_ns >= SW_WAITS_NS ||
	    sender_is_spoilt(fwd))
		return -ENOSPC;
	ret = publish(dest);
	if (ret)
		return ret;
	start = now_ns();
	do {
		ret = dest->queue->port->ops->push(dest->queue, frame);
		if (ret != -ENOSPC) {
			dest->waited_ns += now_ns() - start;
			touch->debt = 0;
			return ret;
		}
		sched_yield();
	} while (now_ns() - start < SW_RETRY_NS);
	touch->is_stuck = true;
	touch->debt = touch->debt ? touch->debt * 2 : SW_OWED_MIN;
	if (touch->debt > SW_OWED_MAX)
		touch->debt = SW_OWED_MAX;
	touch->owed = touch->debt;
	return ret;
}

/* Who is gone, or full, or has had its share of time, takes none of the rest. */
static bool takes_no_more(int err)
{
	return err == -ENOTCONN || err == -ENOSPC || err == -EAGAIN;
}

static void count_failures(struct sw_dest *dest, int err, unsigned int nr)
{
	struct sw_counters *counters = dest->counters;

	switch (err) {
	case -ENOSPC:
	case -EAGAIN:
		sw_count(&counters->tx_drop_rx_full, nr);
		break;
	case -EMSGSIZE:
		sw_count(&counters->tx_drop_too_big, nr);
		break;
	case -ENOTCONN:
		sw_count(&counters->tx_drop_not_ready, nr);
		break;
	default:
		sw_count(&counters->tx_drop_error, nr);
	}
}

/* Pushes one frame into a destination whose lock is ours. */
static int push(struct sw_forward *fwd, struct sw_dest *dest, const struct vhu_net_frame *frame)
{
	int ret = dest->queue->port->ops->push(dest->queue, frame);

	if (ret == -ENOSPC)
		ret = push_again(fwd, dest, frame);
	if (ret)
		count_failures(dest, ret, 1);
	else
		note_pushed(dest, &frame, 1);
	return ret;
}

/* As many as go in without a wait; if not even the first did, why. */
static int push_some(const struct sw_dest *dest, const struct vhu_net_frame *const *frames,
		     unsigned int nr)
{
	const struct sw_port_ops *ops = dest->queue->port->ops;
	int ret;

	if (ops->push_burst)
		return ops->push_burst(dest->queue, frames, nr);
	ret = ops->push(dest->queue, frames[0]);
	return ret ? ret : 1;
}

/* Pushes what waits, into a destination whose lock is ours. */
static void push_waiting(struct sw_forward *fwd, struct sw_dest *dest)
{
	const struct vhu_net_frame *const *frame = dest->waiting;
	unsigned int left = dest->nr_waiting, done;
	int ret;

	for (dest->nr_waiting = 0; left; left -= done, frame += done) {
		ret = push_some(dest, frame, left);
		if (ret == -ENOSPC) {
			ret = push_again(fwd, dest, *frame);
			ret = ret ? ret : 1;
		}
		if (ret > 0) {
			done = (unsigned int)ret;
			note_pushed(dest, frame, done);
			continue;
		}
		done = takes_no_more(ret) ? left : 1;
		count_failures(dest, ret, done);
	}
}

struct emit {
	struct sw_forward *fwd;
	struct sw_dest *dest;
};

static int emit(void *arg, const struct vhu_net_frame *frame)
{
	struct emit *to = arg;
	int ret = push(to->fwd, to->dest, frame);

	/* the rest was counted with the first */
	return takes_no_more(ret) ? ret : 0;
}

static bool try_hold(struct sw_dest *dest)
{
	if (!dest->is_held)
		dest->is_held = dest->queue->port->ops->trylock(dest->queue);
	return dest->is_held;
}

/* For a frame that cannot wait for the burst's end. False: another worker did not let it go. */
static bool hold(struct sw_dest *dest)
{
	for (int i = 0; i < SW_LOCK_TRIES && !try_hold(dest); i++)
		sched_yield();
	return dest->is_held;
}

/* A frame that was made for this destination, and is no more once this returns. */
static void push_now(struct sw_forward *fwd, struct sw_dest *dest,
		     const struct vhu_net_frame *frame)
{
	struct emit to = { .fwd = fwd, .dest = dest };
	int ret;

	if (!hold(dest)) {
		sw_count(&dest->counters->tx_drop_busy, 1);
		return;
	}
	push_waiting(fwd, dest); /* they came first */
	if (vhu_net_fits(frame, dest->caps)) {
		push(fwd, dest, frame);
		return;
	}
	ret = vhu_net_fit(frame, dest->caps, emit, &to);
	if (!ret)
		sw_count(&dest->counters->tx_segmented, 1);
	else if (!takes_no_more(ret))
		sw_count(&dest->counters->tx_drop_unfit, 1);
}

/* Publishes, or takes back if the sender's memory has vanished, what this burst has for a queue. */
static void finish_one(struct sw_forward *fwd, struct sw_dest *dest)
{
	push_waiting(fwd, dest);
	if (sender_is_spoilt(fwd))
		dest->queue->port->ops->rewind(dest->queue);
	else
		publish(dest);
	dest->queue->port->ops->unlock(dest->queue);
	dest->is_held = false;
}

/* The same for all of them; those that another worker holds after the others, and again, for a while. */
static void finish(struct sw_forward *fwd)
{
	unsigned int left = fwd->nr_dests;

	for (int tries = 0; left && tries < SW_LOCK_TRIES; tries++) {
		unsigned int busy = 0;

		if (tries)
			sched_yield();
		for (unsigned int i = 0; i < left; i++) {
			struct sw_dest *dest = &fwd->dest[i];

			if (try_hold(dest))
				finish_one(fwd, dest);
			else if (busy++ != i)
				fwd->dest[busy - 1] = *dest;
		}
		left = busy;
	}
	for (unsigned int i = 0; i < left; i++)
		sw_count(&fwd->dest[i].counters->tx_drop_busy, fwd->dest[i].nr_waiting);
	fwd->nr_dests = 0;
	fwd->same = NULL;
	fwd->burst++;
}

/* What this burst has for a queue so far. */
static struct sw_dest *dest_of(struct sw_forward *fwd, struct sw_queue *queue)
{
	struct sw_touch *touch = &queue->touch[fwd->worker];
	struct sw_dest *dest;

	if (touch->burst != fwd->burst) {
		if (fwd->nr_dests == SW_DESTS_MAX)
			finish(fwd);
		dest = &fwd->dest[fwd->nr_dests];
		dest->queue = queue;
		dest->touch = touch;
		dest->counters = &queue->counters[fwd->worker];
		dest->caps = queue->port->ops->caps(queue);
		dest->is_held = false;
		dest->nr_waiting = 0;
		dest->frames = 0;
		dest->bytes = 0;
		dest->waited_ns = 0;
		touch->burst = fwd->burst;
		touch->dest = fwd->nr_dests++;
	}
	return &fwd->dest[touch->dest];
}

/* A frame of the burst as it came: it waits for the others. */
static void push_later(struct sw_forward *fwd, struct sw_dest *dest,
		       const struct vhu_net_frame *frame)
{
	if (dest->nr_waiting == VHU_NET_BURST) {
		if (!hold(dest)) {
			sw_count(&dest->counters->tx_drop_busy, dest->nr_waiting);
			dest->nr_waiting = 0;
		}
		push_waiting(fwd, dest);
	}
	dest->waiting[dest->nr_waiting++] = frame;
}

/* ---- One frame, one port ---- */

static unsigned int nr_up(struct sw_port *port, uint64_t up[2])
{
	up[0] = atomic_load_explicit(&port->tx_up[0], memory_order_relaxed);
	up[1] = atomic_load_explicit(&port->tx_up[1], memory_order_relaxed);
	return (unsigned int)(__builtin_popcountll(up[0]) + __builtin_popcountll(up[1]));
}

static unsigned int nth_up(const uint64_t up[2], unsigned int n)
{
	unsigned int in_first = (unsigned int)__builtin_popcountll(up[0]);
	unsigned int word = n >= in_first;
	uint64_t bits = up[word];

	for (n -= word ? in_first : 0; n; n--)
		bits &= bits - 1;
	return word * 64 + (unsigned int)__builtin_ctzll(bits);
}

/*
 * The queue for the present frame, or NULL. Ports with equally many queues use the same one on both
 * sides, since the sender has spread its flows already; else a flow decides.
 */
static struct sw_queue *choose_queue(struct sw_forward *fwd, struct sw_port *port)
{
	uint64_t up[2], from_up[2];
	unsigned int index = fwd->from->index, nr;

	up[0] = atomic_load_explicit(&port->tx_up[0], memory_order_relaxed);
	up[1] = atomic_load_explicit(&port->tx_up[1], memory_order_relaxed);
	/* one queue, as most ports have */
	if (up[0] == 1 && !up[1])
		return &port->queue[0];
	nr = nr_up(port, up);
	if (!nr)
		return NULL;
	if (nr > 1 && nr_up(fwd->from->port, from_up) == nr && up[index / 64] >> (index & 63) & 1)
		return &port->queue[index];
	return &port->queue[nth_up(up, nr > 1 ? sw_frame_flow(fwd->frame) % nr : 0)];
}

/* The present frame with or without a tag, made when first wanted. NULL: it cannot be. */
static const struct vhu_net_frame *variant(struct sw_forward *fwd, unsigned int which)
{
	const struct vhu_net_frame *base = fwd->frame;
	struct sw_space *space = &fwd->space[which];
	unsigned int tci = (fwd->judged.tci & 0xf000u) | fwd->judged.vlan;
	bool is_made;

	if (!fwd->variant_state[which]) {
		/* A tag that says a priority and no VLAN is taken off before the right one is put on. */
		if (which == VARIANT_TAGGED && fwd->judged.is_tagged)
			base = variant(fwd, VARIANT_UNTAGGED);
		if (which == VARIANT_UNTAGGED)
			is_made = sw_frame_untag(base, space, &fwd->variant[which]);
		else
			is_made = base &&
				  sw_frame_tag(base, (uint16_t)tci, space, &fwd->variant[which]);
		fwd->variant_state[which] = is_made ? 1 : -1;
	}
	return fwd->variant_state[which] > 0 ? &fwd->variant[which] : NULL;
}

/* The present frame as it leaves by this port. */
static const struct vhu_net_frame *dress(struct sw_forward *fwd, const struct sw_port *port)
{
	bool is_right = fwd->judged.is_tagged && (fwd->judged.tci & 0xfff) == fwd->judged.vlan;

	if (port->spec.vlans.mode == SW_VLAN_ACCESS && fwd->judged.is_tagged)
		return variant(fwd, VARIANT_UNTAGGED);
	if (port->spec.vlans.mode == SW_VLAN_TRUNK && !is_right)
		return variant(fwd, VARIANT_TAGGED);
	return fwd->frame;
}

/* Whether what was decided depends on nothing but the Ethernet header, as long as no offload is asked for. */
static bool is_for_all_alike(const struct sw_forward *fwd, const struct sw_port *port)
{
	return !fwd->view->nr_mirrors && fwd->from->port->spec.vlans.mode == SW_VLAN_UNAWARE &&
	       port->spec.vlans.mode == SW_VLAN_UNAWARE &&
	       atomic_load_explicit(&port->tx_up[0], memory_order_relaxed) == 1 &&
	       !atomic_load_explicit(&port->mtu, memory_order_relaxed);
}

static bool has_same_header(const uint8_t *a, const uint8_t *b)
{
	uint64_t a_to, a_from, b_to, b_from;

	memcpy(&a_to, a, sizeof(a_to));
	memcpy(&b_to, b, sizeof(b_to));
	memcpy(&a_from, a + SW_ETH_LEN - sizeof(a_from), sizeof(a_from));
	memcpy(&b_from, b + SW_ETH_LEN - sizeof(b_from), sizeof(b_from));
	return !((a_to ^ b_to) | (a_from ^ b_from));
}

/* The destination if the frame waits there as it came; NULL: it was dealt with otherwise. */
static struct sw_dest *to_port(struct sw_forward *fwd, struct sw_port *port)
{
	struct sw_queue *queue = choose_queue(fwd, port);
	const struct vhu_net_frame *frame;
	struct sw_dest *dest;
	unsigned int mtu;

	if (!queue) {
		/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a port in the view has queues */
		sw_count(&port->queue[0].counters[fwd->worker].tx_drop_not_ready, 1);
		return NULL;
	}
	dest = dest_of(fwd, queue);
	frame = dress(fwd, port);
	if (!frame) {
		sw_count(&dest->counters->tx_drop_unfit, 1);
		return NULL;
	}
	mtu = atomic_load_explicit(&port->mtu, memory_order_relaxed);
	if (mtu && !sw_frame_keeps_mtu(frame, mtu)) {
		sw_count(&dest->counters->tx_drop_mtu, 1);
		return NULL;
	}
	if (frame != fwd->frame || !vhu_net_fits(frame, dest->caps)) {
		push_now(fwd, dest, frame);
		return NULL;
	}
	push_later(fwd, dest, frame);
	return dest;
}

static void mirror(struct sw_forward *fwd)
{
	for (unsigned int i = 0; i < fwd->view->nr_mirrors; i++)
		push_later(fwd, dest_of(fwd, &fwd->view->mirror[i]->queue[0]), fwd->frame);
}

static void flood(struct sw_forward *fwd)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < fwd->view->nr_members && !fwd->is_spoilt; i++) {
		struct sw_port *port = fwd->view->member[i];
		uint64_t up[2];

		/* Nobody behind the port is no loss when nobody was meant in particular. */
		if (port == fwd->from->port || !sw_vlans_has(&port->spec.vlans, fwd->judged.vlan) ||
		    !nr_up(port, up))
			continue;
		to_port(fwd, port);
		nr++;
	}
	if (!nr)
		sw_count(&fwd->counters->rx_drop_no_port, 1);
}

/* ---- One frame ---- */

static bool is_admitted(struct sw_forward *fwd)
{
	const struct sw_vlans *vlans = &fwd->from->port->spec.vlans;

	switch (sw_frame_judge(fwd->frame, vlans, &fwd->judged)) {
	case SW_PASS:
		return true;
	case SW_BAD_SOURCE:
		sw_count(&fwd->counters->rx_drop_bad_source, 1);
		break;
	case SW_LINK_LOCAL:
		sw_count(&fwd->counters->rx_drop_link_local, 1);
		break;
	case SW_BAD_VLAN:
		sw_count(&fwd->counters->rx_drop_vlan, 1);
		break;
	}
	return false;
}

/* Learns where the frame comes from, unless the one before it said the same. */
static void learn(struct sw_forward *fwd, const uint8_t *head)
{
	uint64_t key = sw_fdb_key(head + 6, fwd->judged.vlan);

	if (key == fwd->source)
		return;
	fwd->source = key;
	if (sw_fdb_learn(fwd->fdb, key, fwd->from->port->slot, fwd->view->nr_members,
			 fwd->now_ms) == SW_LEARN_FIRST &&
	    fwd->aging)
		fwd->aging(fwd->arg);
}

/* The port that the frame is for, or NULL: nobody knows. Frames of a burst often go one way. */
static struct sw_port *look_up(struct sw_forward *fwd, const uint8_t *head)
{
	uint64_t key = sw_fdb_key(head, fwd->judged.vlan);
	int slot;

	if (key == fwd->station)
		return fwd->port;
	slot = sw_fdb_lookup(fwd->fdb, key);
	fwd->station = key;
	fwd->port = slot >= 0 ? fwd->view->slot[slot] : NULL;
	return fwd->port;
}

static void forward(struct sw_forward *fwd, const struct vhu_net_frame *frame)
{
	struct sw_port *port;

	if (fwd->same && !(frame->hdr.flags | frame->hdr.gso_type) &&
	    has_same_header(frame->head, fwd->same_head)) {
		push_later(fwd, fwd->same, frame);
		return;
	}
	fwd->same = NULL;
	fwd->frame = frame;
	fwd->variant_state[VARIANT_UNTAGGED] = 0;
	fwd->variant_state[VARIANT_TAGGED] = 0;
	if (!is_admitted(fwd))
		return;
	learn(fwd, frame->head);
	mirror(fwd);
	port = fwd->judged.is_group ? NULL : look_up(fwd, frame->head);
	if (!port)
		flood(fwd);
	else if (port == fwd->from->port)
		sw_count(&fwd->counters->rx_drop_same_port, 1);
	else if (!sw_vlans_has(&port->spec.vlans, fwd->judged.vlan))
		sw_count(&fwd->counters->rx_drop_vlan, 1);
	else if (!is_for_all_alike(fwd, port))
		to_port(fwd, port);
	else
		fwd->same = to_port(fwd, port);
	fwd->same_head = frame->head;
}

void sw_forward_burst(struct sw_forward *fwd, const struct sw_view *view, struct sw_queue *from,
		      const struct vhu_net_frame *frames, unsigned int nr_frames)
{
	uint64_t bytes = 0;

	fwd->view = view;
	fwd->from = from;
	fwd->counters = &from->counters[fwd->worker];
	fwd->is_spoilt = false;
	fwd->source = 0;
	fwd->station = 0;
	fwd->same = NULL;
	fwd->nr_dests = 0;
	fwd->burst++; /* from 1: a queue that was never touched has 0 */
	for (unsigned int i = 0; i < nr_frames; i++)
		bytes += frames[i].len;
	sw_count(&fwd->counters->rx_frames, nr_frames);
	sw_count(&fwd->counters->rx_bytes, bytes);

	for (unsigned int i = 0; i < nr_frames && !fwd->is_spoilt; i++)
		forward(fwd, &frames[i]);
	finish(fwd);
	if (fwd->is_spoilt)
		sw_count(&fwd->counters->rx_drop_poisoned, nr_frames);
}
