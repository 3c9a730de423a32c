/* SPDX-License-Identifier: MIT */
/*
 * Domains and readers: when something that data threads may be using can be taken away.
 *
 * One copy touches two devices, so before memory or a ring is taken away every thread that may be
 * copying has to have passed a point where it holds nothing. A reader tells of that point: online,
 * then quiescent after each burst, offline while it sleeps. A program that does everything on one
 * thread registers no reader.
 */
#ifndef VHU_DOMAIN_H
#define VHU_DOMAIN_H

#include <vhu/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vhu_domain;
struct vhu_reader;

VHU_API int vhu_domain_new(struct vhu_domain **ret_domain);
/* All backends and readers of the domain have to be gone. NULL is allowed. */
VHU_API void vhu_domain_free(struct vhu_domain *domain);

/* Any thread. The reader begins offline. */
VHU_API int vhu_reader_new(struct vhu_reader **ret_reader, struct vhu_domain *domain);
/* The reader has to be offline. NULL is allowed. */
VHU_API void vhu_reader_free(struct vhu_reader *reader);
/* The reader's own thread: from now on it may hold pointers of this domain. */
VHU_API void vhu_reader_online(struct vhu_reader *reader);
/* The reader's own thread: holds nothing now, goes on. Costs two loads and a store. */
VHU_API void vhu_reader_quiescent(struct vhu_reader *reader);
/* The reader's own thread: holds nothing until it says online again. */
VHU_API void vhu_reader_offline(struct vhu_reader *reader);

/*
 * For the program's own shared data: after unpublishing something, take a ticket; when the ticket
 * has passed no reader holds it any more. Any thread.
 */
VHU_API uint64_t vhu_domain_ticket(struct vhu_domain *domain);
VHU_API bool vhu_domain_passed(struct vhu_domain *domain, uint64_t ticket);
/* Waits until the ticket has passed. Never from a reader that is online. */
VHU_API void vhu_domain_wait(struct vhu_domain *domain, uint64_t ticket);
/* Edge-triggered: an event when tickets may have passed. Poll it with EPOLLET, never read it. */
VHU_API int vhu_domain_fd(const struct vhu_domain *domain);

/*
 * For the program's SIGBUS handler, with si_addr: if the address lies in memory mapped for this
 * domain, zero pages are put there, the device is marked as poisoned, and true is returned: the
 * handler returns and the burst goes on harmlessly; the device is closed at its end. False: the
 * fault is not ours. Async-signal-safe.
 */
VHU_API bool vhu_domain_fault(struct vhu_domain *domain, const void *addr);

#ifdef __cplusplus
}
#endif
#endif
