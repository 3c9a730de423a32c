// SPDX-License-Identifier: MIT
/*
 * Watches over the workers, and takes the signals that concern them. It knows nothing of what they
 * do.
 *
 * A worker writes to call eventfds, and a peer can make such a file blocking and full, since its
 * flags are shared: then the worker hangs in write(). A signal whose handler does nothing brings it
 * back; the library sees EINTR and gives up that ring. The timer runs only while a worker is awake.
 */

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "switch/control.h"

enum {
	CALM_MS = 1000, /* between looks while all is well */
	ALARM_MS = 100, /* between signals to a worker that does not move */
};

/* A signal handler has no argument: the domain whose memory may vanish is known to the process. */
static struct vhu_domain *_Atomic fault_domain;
static struct sigaction old_sigbus, old_signal;

static void set_timer(struct vhu_switch *sw, unsigned int ms)
{
	struct itimerspec spec = { 0 };

	spec.it_value.tv_sec = (time_t)(ms / 1000);
	spec.it_value.tv_nsec = (long)(ms % 1000) * 1000000;
	timerfd_settime(sw->watchdog_watch.fd, 0, &spec, NULL);
}

void sw_watchdog_begin(struct vhu_switch *sw)
{
	if (!atomic_load_explicit(&sw->is_guarding, memory_order_relaxed) &&
	    !atomic_exchange(&sw->is_guarding, true))
		set_timer(sw, CALM_MS);
}

static bool someone_is_awake(struct vhu_switch *sw)
{
	for (unsigned int i = 0; i < sw->nr_workers; i++)
		if (!atomic_load(&sw->worker[i].is_asleep))
			return true;
	return false;
}

/* True if the worker has not moved since the last look. */
static bool is_stuck(struct sw_worker *worker)
{
	uint64_t now = atomic_load(&worker->beat);
	bool ret = !atomic_load(&worker->is_asleep) && now == worker->last_beat;

	worker->last_beat = now;
	return ret;
}

static void look(void *arg)
{
	struct vhu_switch *sw = arg;
	bool is_alarm = false;

	for (unsigned int i = 0; i < sw->nr_workers; i++) {
		if (!is_stuck(&sw->worker[i]))
			continue;
		is_alarm = true;
		syscall(SYS_tgkill, getpid(), atomic_load(&sw->worker[i].tid), SW_SIGNAL);
	}
	atomic_store(&sw->is_guarding, false);
	/* A worker that woke before this has been seen here, one that wakes later starts the timer. */
	if (someone_is_awake(sw) && !atomic_exchange(&sw->is_guarding, true))
		set_timer(sw, is_alarm ? ALARM_MS : CALM_MS);
}

int sw_watchdog_init(struct vhu_switch *sw)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

	if (fd < 0)
		return -errno;
	return sw_watch_add(sw, &sw->watchdog_watch, fd, EPOLLIN | EPOLLET, look, sw);
}

/* ---- Signals ---- */

static void on_sigbus(int signal_nr, siginfo_t *info, void *context)
{
	struct vhu_domain *domain = atomic_load(&fault_domain);
	int saved = errno;

	(void)context;
	if (info->si_code > 0 && domain && vhu_domain_fault(domain, info->si_addr)) {
		errno = saved;
		return;
	}
	/* Not ours: back to what it would have done. A real fault comes again on return. */
	sigaction(SIGBUS, &old_sigbus, NULL);
	if (info->si_code <= 0)
		raise(signal_nr);
	errno = saved;
}

static void on_signal(int signal_nr)
{
	(void)signal_nr;
}

int sw_signals_take(struct vhu_switch *sw)
{
	struct sigaction bus = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
	struct sigaction quiet = { .sa_handler = on_signal }; /* no SA_RESTART: that is the point */
	struct vhu_domain *none = NULL;

	if (!atomic_compare_exchange_strong(&fault_domain, &none, sw->domain))
		return -EBUSY;
	sigemptyset(&bus.sa_mask);
	sigemptyset(&quiet.sa_mask);
	if (sigaction(SIGBUS, &bus, &old_sigbus) || sigaction(SW_SIGNAL, &quiet, &old_signal)) {
		atomic_store(&fault_domain, NULL);
		return -errno;
	}
	return 0;
}

void sw_signals_drop(struct vhu_switch *sw)
{
	struct vhu_domain *ours = sw->domain;

	if (!atomic_compare_exchange_strong(&fault_domain, &ours, NULL))
		return;
	sigaction(SIGBUS, &old_sigbus, NULL);
	sigaction(SW_SIGNAL, &old_signal, NULL);
}
