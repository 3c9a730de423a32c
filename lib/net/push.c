/* SPDX-License-Identifier: MIT */
/*
 * Frames into a receive ring: the one copy, from the sender's memory into the receiver's. Knows
 * nothing of where a frame came from.
 */
#include <vhu/net.h>

#include <errno.h>
#include <string.h>

#include <net/virtio_hdr.h>
#include <ring/ring.h>

/* The sender's time is not the receiver's to spend. */
enum {
	BAD_MAX = 16, /* refused chains that one frame puts up with */
	/* Descriptors walked for all frames up to a publication; the last may go beyond. */
	PUSH_STEPS_MAX = 2 * VHU_STEPS_MAX,
};

/* The buffers taken for one frame. */
struct target {
	unsigned int nr_segs;
	struct vhu_seg segs[VHU_CHAIN_MAX];
};

/* A position in the receiver's pieces, with the log that the stores keep. */
struct sink {
	const struct vhu_dirty *dirty;
	const struct vhu_seg *seg;
	uint32_t off;
};

static VHU_ALWAYS_INLINE void put(struct sink *s, const void *from, size_t len)
{
	const uint8_t *at = from;

	while (len) {
		/* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): hdr_len is not 0, so there are buffers */
		uint32_t part = (uint32_t)vhu_min_u64(len, s->seg->len - s->off);

		vhu_guest_store(s->dirty, s->seg->host + s->off, s->seg->gpa + s->off, at, part);
		at += part;
		len -= part;
		s->off += part;
		if (s->off == s->seg->len) {
			s->seg++;
			s->off = 0;
		}
	}
}

/*
 * A chain of a frame's buffers was refused. The buffers of one frame have to follow each other in
 * the used ring, so those before it go back unused together with it, and the frame begins afresh
 * with the next.
 */
static struct vhu_ring_mark give_up_buffers(struct vhu_queue *q, struct vhu_ring_mark mark)
{
	for (uint32_t i = mark.nr_shadow; i < q->nr_shadow; i++)
		q->shadow[i].len = 0;
	return vhu_ring_mark(q);
}

/*
 * Takes chains until they hold need bytes, and notes each as used with its share. The number of
 * buffers, or -errno with nothing kept but chains that were refused.
 */
static int take_buffers(struct vhu_queue *q, const struct vhu_view *view, uint32_t need,
			struct target *t)
{
	struct vhu_ring_mark mark = vhu_ring_mark(q);
	unsigned int nr_buffers = 0, nr_bad = 0;
	uint32_t left = need, steps = 0;
	int err;

	if (vhu_unlikely(q->push_steps > PUSH_STEPS_MAX))
		return -EAGAIN;
	t->nr_segs = 0;
	while (left) {
		struct vhu_returned *used;
		struct vhu_chain chain;

		err = -ENOSPC;
		if (nr_bad == BAD_MAX || q->nr_shadow == q->shadow_max ||
		    vhu_ring_take(q, view, &t->segs[t->nr_segs], VHU_CHAIN_MAX - t->nr_segs,
				  &chain) <= 0)
			goto fail;
		used = vhu_ring_return(q, &chain, 0);
		steps += chain.steps;
		q->push_steps += chain.steps;
		if (vhu_unlikely(!chain.fault && (chain.nr_read || !chain.write_len))) {
			chain.fault = VHU_FAULT_ORDER;
			chain.value = chain.id;
		}
		err = -EMSGSIZE;
		if (vhu_unlikely((chain.fault == VHU_FAULT_PIECES && t->nr_segs) ||
				 steps > VHU_STEPS_MAX))
			goto fail;
		if (vhu_unlikely(chain.fault)) {
			vhu_ring_bad_chain(q, chain.fault, chain.value);
			mark = give_up_buffers(q, mark);
			left = need;
			nr_buffers = 0;
			nr_bad++;
			t->nr_segs = 0;
			continue;
		}
		if (!view->mergeable && chain.write_len < left)
			goto fail;
		used->len = vhu_min_u32(chain.write_len, left);
		t->nr_segs += chain.nr_write;
		left -= used->len;
		nr_buffers++;
	}
	return (int)nr_buffers;
fail:
	vhu_ring_undo(q, mark);
	return vhu_read_once(&q->fault) ? -ENOTCONN : err;
}

/*
 * A word of the header, if the buffer does not have it already. Most are the same for all frames, and where
 * the header has a line of cache of its own that line then stays with both sides. While a log is kept all is
 * written: what the buffer holds here may not be what it holds where it is moved to, if its driver
 * called the page free before.
 */
static VHU_ALWAYS_INLINE void put_hdr(const struct vhu_dirty *dirty, uint8_t *at, uint64_t gpa,
				      const void *word, const size_t size)
{
	if (dirty || __builtin_memcmp(at, word, size))
		vhu_guest_store(dirty, at, gpa, word, size);
}

/* Copies one frame with its header into one buffer whose first piece has room for all of it. */
static VHU_ALWAYS_INLINE void fill(const struct vhu_seg *seg, const struct vhu_net_frame *frame,
				   const size_t hdr_len, const struct vhu_dirty *dirty)
{
	const uint32_t nr_buffers = 1, head_len = frame->head_len;
	uint8_t *at = seg->host;
	uint64_t gpa = seg->gpa;
	uint64_t first;
	uint32_t second;

	/* from registers: what is stored in small pieces is slow to be read in one */
	_Static_assert(offsetof(struct vhu_net_hdr, csum_offset) == sizeof(first),
		       "as the net header, less num_buffers");
	__builtin_memcpy(&first, &frame->hdr, sizeof(first));
	second = frame->hdr.csum_offset | nr_buffers << 16;
	put_hdr(dirty, at, gpa, &first, sizeof(first));
	if (vhu_likely(hdr_len == sizeof(first) + sizeof(second)))
		put_hdr(dirty, at + sizeof(first), gpa + sizeof(first), &second, sizeof(second));
	else
		put_hdr(dirty, at + sizeof(first), gpa + sizeof(first), &second,
			sizeof(second) / 2);
	at += hdr_len;
	gpa += hdr_len;
	vhu_guest_store(dirty, at, gpa, frame->head, head_len);
	if (vhu_likely(!frame->nr_iov))
		return;
	at += head_len;
	gpa += head_len;
	for (unsigned int i = 0; i < frame->nr_iov; i++) {
		const struct iovec *iov = &frame->iov[i];

		vhu_guest_store(dirty, at, gpa, iov->iov_base, iov->iov_len);
		at += iov->iov_len;
		gpa += iov->iov_len;
	}
}

/* The same for buffers of any number of pieces. */
static void fill_pieces(const struct vhu_view *view, const struct vhu_seg *segs, unsigned int nr,
			const struct vhu_net_frame *frame)
{
	struct sink sink = { .dirty = view->log_data, .seg = segs, .off = 0 };
	struct vhu_virtio_net_hdr raw;

	vhu_virtio_hdr_pack(&frame->hdr, (uint16_t)nr, &raw);
	put(&sink, &raw, view->hdr_len);
	put(&sink, frame->head, frame->head_len);
	for (unsigned int i = 0; i < frame->nr_iov; i++)
		put(&sink, frame->iov[i].iov_base, frame->iov[i].iov_len);
}

/* Copies one frame into as many buffers as it needs, of whatever kind. */
static __attribute__((noinline)) int push_any(struct vhu_queue *queue, const struct vhu_view *view,
					      const struct vhu_net_frame *frame)
{
	struct target target;
	int nr = take_buffers(queue, view, view->hdr_len + frame->len, &target);

	if (vhu_unlikely(nr < 0))
		return nr;
	fill_pieces(view, target.segs, (unsigned int)nr, frame);
	return 0;
}

/* How many buffers the frames want, if the next are like the last that one did not do for. */
static unsigned int guess_buffers(struct vhu_queue *queue, const struct vhu_view *view,
				  const struct vhu_net_frame *const *frames, unsigned int nr)
{
	uint32_t len = queue->buffer_len, sum = 0;

	if (vhu_likely(!len))
		return vhu_min_u32(nr, VHU_PLAIN_MAX);
	for (unsigned int i = 0; i < nr && sum < VHU_PLAIN_MAX; i++)
		sum += (view->hdr_len + frames[i]->len - 1) / len + 1;
	if (sum <= nr)
		queue->buffer_len = 0;
	return vhu_min_u32(sum, VHU_PLAIN_MAX);
}

/*
 * Copies a frame into the buffers from seg on, of nr at most, whatever pieces they are made of, and
 * notes each with its share. How many it takes; 0: they are too few, or too small. *ret_seg is behind
 * them.
 */
static __attribute__((noinline)) unsigned int
fill_several(struct vhu_queue *queue, const struct vhu_view *view, const struct vhu_seg *seg,
	     unsigned int nr, const struct vhu_net_frame *frame, struct vhu_returned *used,
	     const struct vhu_seg **ret_seg)
{
	const struct vhu_seg *const first = seg;
	uint32_t need = view->hdr_len + frame->len, len;
	unsigned int n = 0;

	while (need && n < nr && (view->mergeable || !n)) {
		seg = vhu_plain_end(seg, &len);
		used[n].len = vhu_min_u32(len, need);
		need -= used[n].len;
		n++;
	}
	if (view->mergeable && (need || n != 1))
		vhu_plain_end(first, &queue->buffer_len);
	if (need)
		return 0;
	fill_pieces(view, first, n, frame);
	*ret_seg = seg;
	return n;
}

/* Copies frames as long as the next buffers are plain and big enough; how many frames. */
static VHU_ALWAYS_INLINE unsigned int push_plain(struct vhu_queue *queue,
						 const struct vhu_view *view,
						 const struct vhu_net_frame *const *frames,
						 unsigned int nr, const struct vhu_dirty *dirty)
{
	const size_t hdr_len = view->hdr_len;
	struct vhu_seg segs[4 * VHU_PLAIN_MAX];
	struct vhu_returned *used = queue->shadow + queue->nr_shadow, *end;
	const struct vhu_net_frame *const *f = frames, *const *const frames_end = frames + nr;
	const struct vhu_seg *seg = segs;

	end = used + vhu_ring_take_plain(queue, view, segs, VHU_ARRAY_SIZE(segs),
					 guess_buffers(queue, view, frames, nr), true);
	for (; f < frames_end && used < end; f++) {
		const struct vhu_net_frame *const frame = *f;
		const uint32_t need = (uint32_t)hdr_len + frame->len;
		const struct vhu_seg *next;
		unsigned int n;

		if (vhu_likely(seg->len >= need) && vhu_likely(!seg->more)) {
			used->len = need;
			fill(seg, frame, hdr_len, dirty);
			used++;
			seg++;
			continue;
		}
		n = fill_several(queue, view, seg, (unsigned int)(end - used), frame, used, &next);
		if (!n)
			break;
		used += n;
		seg = next;
	}
	if (used < end) {
		/* too many for the frames: they are larger than the one that the guess is from */
		if (f == frames_end)
			vhu_plain_end(segs, &queue->buffer_len);
		vhu_ring_put_back(queue, view, (unsigned int)(end - used));
	}
	return (unsigned int)(f - frames);
}

static __attribute__((noinline)) unsigned int push_logged(struct vhu_queue *queue,
							  const struct vhu_view *view,
							  const struct vhu_net_frame *const *frames,
							  unsigned int nr)
{
	return push_plain(queue, view, frames, nr, view->log_data);
}

int vhu_net_push_burst(struct vhu_queue *queue, const struct vhu_net_frame *const *frames,
		       unsigned int nr)
{
	const struct vhu_view *view = vhu_queue_view(queue);
	unsigned int done = 0;
	int err;

	if (!view || !view->enabled)
		return -ENOTCONN;
	while (done < nr) {
		unsigned int pushed =
			vhu_likely(!view->log_data) ?
				push_plain(queue, view, frames + done, nr - done, NULL) :
				push_logged(queue, view, frames + done, nr - done);

		done += pushed;
		if (pushed || done == nr)
			continue;
		/*
		 * A frame that may take several buffers has had all there are. Where it may not, the one
		 * there is may be too small, and that is something else.
		 */
		if (queue->dry && view->mergeable)
			err = vhu_read_once(&queue->fault) ? -ENOTCONN : -ENOSPC;
		else
			err = push_any(queue, view, frames[done]);
		if (err)
			return done ? (int)done : err;
		done++;
	}
	return (int)done;
}

int vhu_net_push(struct vhu_queue *queue, const struct vhu_net_frame *frame)
{
	int ret = vhu_net_push_burst(queue, &frame, 1);

	return ret < 0 ? ret : 0;
}

int vhu_net_commit(struct vhu_queue *queue)
{
	const struct vhu_view *view = vhu_queue_view(queue);

	if (!view)
		return -ENOTCONN;
	if (vhu_net_is_poisoned(queue)) {
		vhu_queue_break(queue, view, VHU_FAULT_POISONED, 0);
		return -EFAULT;
	}
	/* a ring that is disabled is not called either */
	if (queue->nr_shadow || view->enabled)
		vhu_ring_publish(queue, view);
	/* the used ring itself may be what vanished */
	if (vhu_net_is_poisoned(queue)) {
		vhu_queue_break(queue, view, VHU_FAULT_POISONED, 0);
		return -EFAULT;
	}
	return 0;
}

void vhu_net_rewind(struct vhu_queue *queue)
{
	vhu_ring_rewind(queue);
}

uint32_t vhu_net_queue_caps(const struct vhu_queue *queue)
{
	const struct vhu_view *view = vhu_queue_view(queue);

	return view ? vhu_net_caps(view->features) : 0;
}
