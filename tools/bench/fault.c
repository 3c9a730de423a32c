// SPDX-License-Identifier: MIT
/* SIGBUS, and a signal that interrupts a write that hangs; knows nothing of connections. */

#include "bench/fault.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>

#include "bench/options.h"

/* A signal handler has no argument: the process knows what may vanish. */
static struct vhu_domain *_Atomic domains[BENCH_SIDES_MAX];

static void on_sigbus(int signal_nr, siginfo_t *info, void *context)
{
	int saved = errno;

	(void)context;
	for (int i = 0; i < BENCH_SIDES_MAX; i++) {
		struct vhu_domain *domain = atomic_load(&domains[i]);

		if (info->si_code > 0 && domain && vhu_domain_fault(domain, info->si_addr)) {
			errno = saved;
			return;
		}
	}
	/* Not ours: what it would have done. A real fault comes again on return. */
	signal(SIGBUS, SIG_DFL);
	if (info->si_code <= 0)
		raise(signal_nr);
	errno = saved;
}

static void on_alarm(int signal_nr)
{
	(void)signal_nr;
}

int fault_watch(struct vhu_domain *domain)
{
	struct sigaction bus = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };

	for (int i = 0; i < BENCH_SIDES_MAX; i++) {
		struct vhu_domain *none = NULL;

		if (!atomic_compare_exchange_strong(&domains[i], &none, domain))
			continue;
		sigemptyset(&bus.sa_mask);
		return sigaction(SIGBUS, &bus, NULL) ? -errno : 0;
	}
	return -EBUSY;
}

void fault_unwatch(struct vhu_domain *domain)
{
	for (int i = 0; domain && i < BENCH_SIDES_MAX; i++) {
		struct vhu_domain *ours = domain;

		atomic_compare_exchange_strong(&domains[i], &ours, NULL);
	}
}

int fault_begin(void)
{
	/* without SA_RESTART: to interrupt is the point */
	struct sigaction quiet = { .sa_handler = on_alarm };
	struct itimerval every = { { .tv_sec = 1 }, { .tv_sec = 1 } };

	sigemptyset(&quiet.sa_mask);
	if (sigaction(SIGALRM, &quiet, NULL) || setitimer(ITIMER_REAL, &every, NULL))
		return -errno;
	return 0;
}
