/* SPDX-License-Identifier: MIT */
/*
 * Domains and readers: who has to have passed before something may be taken away, and the guard
 * for memory that vanishes. Knows nothing of devices.
 *
 * Quiescent-state reclamation. Unpublish, then take a ticket (the epoch after an increment); a
 * reader that has seen that epoch, or is offline, holds nothing from before.
 */
#include <mem/domain.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <base/atomics.h>
#include <base/fd.h>

int vhu_domain_new(struct vhu_domain **ret_domain)
{
	struct vhu_domain *domain = calloc(1, sizeof(*domain));
	int err;

	if (!domain)
		return -ENOMEM;
	domain->epoch = 1;
	domain->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (domain->event_fd < 0) {
		err = -errno;
		free(domain);
		return err;
	}
	pthread_mutex_init(&domain->lock, NULL);
	*ret_domain = domain;
	return 0;
}

void vhu_domain_free(struct vhu_domain *domain)
{
	if (!domain)
		return;
	while (domain->chunks) {
		struct vhu_fault_chunk *chunk = domain->chunks;

		domain->chunks = chunk->next;
		free(chunk);
	}
	vhu_fd_close(&domain->event_fd);
	pthread_mutex_destroy(&domain->lock);
	free(domain);
}

int vhu_reader_new(struct vhu_reader **ret_reader, struct vhu_domain *domain)
{
	struct vhu_reader *reader = aligned_alloc(64, sizeof(*reader));

	if (!reader)
		return -ENOMEM;
	reader->seen = 0;
	reader->domain = domain;
	pthread_mutex_lock(&domain->lock);
	reader->next = domain->readers;
	domain->readers = reader;
	pthread_mutex_unlock(&domain->lock);
	*ret_reader = reader;
	return 0;
}

void vhu_reader_free(struct vhu_reader *reader)
{
	struct vhu_domain *domain;

	if (!reader)
		return;
	domain = reader->domain;
	pthread_mutex_lock(&domain->lock);
	for (struct vhu_reader **link = &domain->readers; *link; link = &(*link)->next) {
		if (*link == reader) {
			*link = reader->next;
			break;
		}
	}
	pthread_mutex_unlock(&domain->lock);
	free(reader);
}

static void wake_control(struct vhu_domain *domain)
{
	uint64_t one = 1;
	ssize_t sent = write(domain->event_fd, &one, sizeof(one));

	(void)sent; /* it is non-blocking and ours; at its maximum it is readable anyway */
}

void vhu_reader_online(struct vhu_reader *reader)
{
	vhu_write_once(&reader->seen, vhu_load_acquire(&reader->domain->epoch));
	/* pairs with the barrier in vhu_domain_ticket(): seen before any published pointer is read */
	vhu_full_barrier();
}

void vhu_reader_quiescent(struct vhu_reader *reader)
{
	/* acquire: whoever sees the new epoch sees what was unpublished before it */
	uint64_t epoch = vhu_load_acquire(&reader->domain->epoch);

	if (vhu_likely(epoch == reader->seen))
		return;
	/* release: what the reader did with the old pointers happened before */
	vhu_store_release(&reader->seen, epoch);
	wake_control(reader->domain);
}

void vhu_reader_offline(struct vhu_reader *reader)
{
	uint64_t seen = reader->seen;

	vhu_store_release(&reader->seen, 0);
	/* pairs with the barrier in vhu_domain_ticket(): either it sees 0, or we its epoch */
	vhu_full_barrier();
	if (vhu_read_once(&reader->domain->epoch) != seen)
		wake_control(reader->domain);
}

uint64_t vhu_domain_ticket(struct vhu_domain *domain)
{
	uint64_t ticket = __atomic_add_fetch(&domain->epoch, 1, __ATOMIC_SEQ_CST);

	/* pairs with the barriers in vhu_reader_online() and _offline() */
	vhu_full_barrier();
	return ticket;
}

bool vhu_domain_passed(struct vhu_domain *domain, uint64_t ticket)
{
	bool passed = true;

	pthread_mutex_lock(&domain->lock);
	for (struct vhu_reader *r = domain->readers; r && passed; r = r->next) {
		uint64_t seen = vhu_load_acquire(&r->seen);

		passed = seen == 0 || seen >= ticket;
	}
	pthread_mutex_unlock(&domain->lock);
	return passed;
}

void vhu_domain_wait(struct vhu_domain *domain, uint64_t ticket)
{
	const struct timespec pause = { .tv_nsec = 50000 };

	while (!vhu_domain_passed(domain, ticket))
		nanosleep(&pause, NULL);
}

int vhu_domain_fd(const struct vhu_domain *domain)
{
	return domain->event_fd;
}

/* A slot is read by signal handlers at any time: they skip one that changes while they read it. */
static void set_slot(struct vhu_fault_slot *slot, uintptr_t start, size_t len, bool *poisoned)
{
	uint32_t seq = vhu_read_once(&slot->seq);

	vhu_write_once(&slot->seq, seq + 1);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	vhu_write_once(&slot->start, start);
	vhu_write_once(&slot->len, len);
	vhu_write_once(&slot->poisoned, poisoned);
	/* pairs with the loads in read_slot() */
	vhu_store_release(&slot->seq, seq + 2);
}

static bool read_slot(const struct vhu_fault_slot *slot, struct vhu_fault_slot *ret)
{
	uint32_t seq = vhu_load_acquire(&slot->seq);

	ret->start = vhu_read_once(&slot->start);
	ret->len = vhu_read_once(&slot->len);
	ret->poisoned = vhu_read_once(&slot->poisoned);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return !(seq & 1) && vhu_read_once(&slot->seq) == seq;
}

int vhu_fault_guard(struct vhu_domain *domain, void *start, size_t len, bool *poisoned,
		    struct vhu_fault_slot **ret_slot)
{
	struct vhu_fault_chunk *chunk;
	struct vhu_fault_slot *slot = NULL;

	pthread_mutex_lock(&domain->lock);
	for (chunk = domain->chunks; chunk && !slot; chunk = chunk->next) {
		for (size_t i = 0; i < VHU_ARRAY_SIZE(chunk->slot) && !slot; i++) {
			if (!vhu_read_once(&chunk->slot[i].start))
				slot = &chunk->slot[i];
		}
	}
	if (!slot) {
		chunk = calloc(1, sizeof(*chunk));
		if (!chunk) {
			pthread_mutex_unlock(&domain->lock);
			return -ENOMEM;
		}
		slot = &chunk->slot[0];
		chunk->next = domain->chunks;
		/* pairs with the load in vhu_domain_fault() */
		vhu_store_release(&domain->chunks, chunk);
	}
	set_slot(slot, (uintptr_t)start, len, poisoned);
	pthread_mutex_unlock(&domain->lock);
	*ret_slot = slot;
	return 0;
}

void vhu_fault_unguard(struct vhu_fault_slot *slot)
{
	set_slot(slot, 0, 0, NULL);
}

bool vhu_domain_fault(struct vhu_domain *domain, const void *addr)
{
	uintptr_t at = (uintptr_t)addr;

	for (struct vhu_fault_chunk *chunk = vhu_load_acquire(&domain->chunks); chunk;
	     chunk = chunk->next) {
		for (size_t i = 0; i < VHU_ARRAY_SIZE(chunk->slot); i++) {
			struct vhu_fault_slot slot;
			int saved = errno;
			void *map;

			/* the one that faults cannot be changing: whoever faults there holds it */
			if (!read_slot(&chunk->slot[i], &slot) || !slot.start || at < slot.start ||
			    at - slot.start >= slot.len)
				continue;
			vhu_store_release(slot.poisoned, true);
			map = mmap((void *)slot.start, slot.len, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
			errno = saved;
			return map != MAP_FAILED;
		}
	}
	return false;
}
