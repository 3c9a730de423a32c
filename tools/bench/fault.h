/* SPDX-License-Identifier: MIT */
/*
 * Against peers that take memory away or make a write hang: the signals of the whole process. It
 * knows nothing of connections.
 */
#ifndef BENCH_FAULT_H
#define BENCH_FAULT_H

#include <vhu/domain.h>

/* Faults in the domain's memory are survived from now on. 0 or -errno; -EBUSY: too many domains. */
int fault_watch(struct vhu_domain *domain);
/* NULL, and a domain that is not watched, are allowed. */
void fault_unwatch(struct vhu_domain *domain);
/*
 * A signal each second, which does nothing but interrupt: an eventfd that a peer has made blocking
 * and full would hold the only thread for ever. 0 or -errno.
 */
int fault_begin(void);

#endif
