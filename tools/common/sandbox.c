// SPDX-License-Identifier: MIT
/*
 * Gives up privileges and system calls; knows nothing of what the tool does with the rest.
 *
 * Core dumps stay possible: what a peer shares is kept out of them by the library, and a switch
 * that cannot be looked at after a crash helps nobody. That is why PR_SET_DUMPABLE is put back
 * after a change of user, which the kernel takes as a reason to clear it.
 */

#include "common/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <linux/securebits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "config.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define UNDER_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNDER_SANITIZER 1
#endif

/* Sanitizers start threads and call what no list of ours should allow. */
#if HAVE_SECCOMP && !defined(UNDER_SANITIZER)
#define WITH_FILTER 1
#include <seccomp.h>
#else
#define WITH_FILTER 0
#endif

enum {
	FILES_WANTED = 1 << 20
};

static int failed(char *text, int err, const char *what)
{
	snprintf(text, SANDBOX_TEXT, "%s: %s", what, strerror(err));
	return -err;
}

bool sandbox_has_filter(void)
{
	return WITH_FILTER;
}

void sandbox_raise_files(void)
{
	struct rlimit limit;

	/* A port needs some six of them, and up to five for each queue pair; the default is 1,024. */
	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	if (limit.rlim_max < FILES_WANTED) {
		const struct rlimit more = { .rlim_cur = FILES_WANTED, .rlim_max = FILES_WANTED };

		/* Root may. */
		if (!setrlimit(RLIMIT_NOFILE, &more))
			return;
	}
	if (limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int sandbox_become(const char *user, char text[SANDBOX_TEXT])
{
	const struct passwd *pw;

	errno = 0;
	pw = getpwnam(user);
	if (!pw) {
		snprintf(text, SANDBOX_TEXT, "%s",
			 errno ? strerror(errno) : "no such user on this machine");
		return errno ? -errno : -ENOENT;
	}
	if (pw->pw_uid == geteuid())
		return 0;
	if (initgroups(user, pw->pw_gid) < 0)
		return failed(text, errno, "setting the groups");
	if (setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0)
		return failed(text, errno, "setting the group");
	if (setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0)
		return failed(text, errno, "setting the user");
	prctl(PR_SET_DUMPABLE, 1);
	return 0;
}

/* keep: the low 32 of them, a bit each; the others go. */
static int drop_capabilities(uint32_t keep, char *text)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct kept[_LINUX_CAPABILITY_U32S_3] = {
		{ .effective = keep, .permitted = keep },
	};

	/* These two need CAP_SETPCAP. Who lacks that has nothing to lose by them. */
	for (unsigned long cap = 0; !prctl(PR_CAPBSET_DROP, cap, 0, 0, 0); cap++)
		;
	prctl(PR_SET_SECUREBITS,
	      SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
		      SECBIT_NO_SETUID_FIXUP_LOCKED,
	      0, 0, 0);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &header, kept) < 0)
		return failed(text, errno, "giving up capabilities");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return failed(text, errno, "PR_SET_NO_NEW_PRIVS");
	return 0;
}

#if WITH_FILTER
#define CALL(name, reason)                                                                         \
	{                                                                                          \
		.nr = SCMP_SYS(name), .why = reason                                                \
	}
#define CALL_IF(name, n, m, v, reason)                                                             \
	{                                                                                          \
		.nr = SCMP_SYS(name), .why = reason, .has_value = true, .arg = n, .mask = m,       \
		.value = v                                                                         \
	}

/* What every tool with a loop, a log and threads needs. */
static const struct sandbox_call common_calls[] = {
	/* Bytes: sockets, eventfds, timers, standard error and output. */
	CALL(read, "eventfds, timers, signals, files"),
	CALL(readv, "the same in pieces"),
	CALL(preadv2, "an eventfd whose peer may have made it blocking"),
	CALL(write, "eventfds (a call or kick), the log, output"),
	CALL(writev, "the same in pieces"),
	CALL(close, "every fd in the end"),
	CALL(lseek, "stdio on a file"),
	CALL(recvmsg, "messages with fds"),
	CALL(recvfrom, "recv()"),
	CALL(sendmsg, "messages with fds"),
	CALL(sendto, "send()"),
	/* Waiting. */
	CALL(epoll_create1, "one set for each device and thread"),
	CALL(epoll_ctl, "rings come and go"),
	CALL(epoll_wait, "the loop"),
	CALL(epoll_pwait, "epoll_wait() where there is no call of that name"),
	CALL(poll, "whether standard error would block"),
	CALL(ppoll, "poll() where there is no call of that name"),
	CALL(eventfd2, "wake-ups between threads"),
	CALL(timerfd_create, "deadlines, reconnects"),
	CALL(timerfd_settime, "deadlines, reconnects"),
	CALL(clock_gettime, "time, where the vDSO has none"),
	CALL(gettimeofday, "the same"),
	CALL(clock_nanosleep, "short waits"),
	CALL(nanosleep, "short waits"),
	CALL(restart_syscall, "a wait that a signal interrupted"),
	/* What an fd that arrived is. */
	CALL(fcntl, "close-on-exec, non-blocking, seals"),
	CALL(fstat, "size and kind"),
	CALL(newfstatat, "fstat() of newer libcs"),
	CALL(statx, "the same where there is no other"),
	CALL(fstatfs, "which file system memory comes from"),
	CALL(getsockopt, "whether it is a socket and listens"),
	CALL(setsockopt, "buffer sizes, credentials"),
	CALL(getsockname, "which socket a handed-in one is"),
	CALL(getpeername, "whether it is connected"),
	/* Sockets of peers come and go. */
	CALL_IF(socket, 0, UINT32_MAX, 1 /* AF_UNIX */, "reconnects, service manager, system log"),
	CALL(connect, "reconnects, service manager"),
	CALL(bind, "a socket made anew"),
	CALL(listen, "a socket made anew"),
	CALL(accept4, "peers that connect"),
	CALL(shutdown, "a peer told to go"),
	CALL(unlink, "socket files at the end"),
	CALL(unlinkat, "the same"),
	/* Memory. Nothing executable: see below. */
	CALL_IF(mmap, 2, PROT_EXEC, 0, "memory of peers, malloc()"),
	CALL_IF(mprotect, 2, PROT_EXEC, 0, "stacks of threads, malloc()"),
	CALL(munmap, "memory of peers"),
	CALL(mremap, "realloc()"),
	CALL(madvise, "memory of peers out of core dumps, free()"),
	CALL(brk, "malloc()"),
	CALL(sysinfo, "qsort(), which asks how much memory there is"),
	CALL(getrandom, "malloc() and hash seeds"),
	/* Threads of our own; no other process. */
	CALL_IF(clone, 0, CLONE_THREAD, CLONE_THREAD, "pthread_create()"),
	CALL(set_robust_list, "the C library, in a new thread"),
	CALL(rseq, "the same"),
	CALL(futex, "mutexes"),
	CALL(membarrier, "readers that have gone offline"),
	CALL(sched_yield, "a short wait for a reader"),
	CALL(sched_getaffinity, "how many processors there are"),
	CALL(prlimit64, "the stack size of a new thread"),
	CALL(getpid, "abort(), the service manager"),
	CALL(getuid, "credentials for the service manager"),
	CALL(geteuid, "the same"),
	CALL(getgid, "the same"),
	CALL(getegid, "the same"),
	CALL(gettid, "abort()"),
	CALL(tgkill, "abort(), a signal to a thread that hangs"),
	CALL(rt_sigaction, "fault handler, abort()"),
	CALL(rt_sigprocmask, "signals of new threads"),
	CALL(rt_sigreturn, "the end of a handler"),
	CALL(sigaltstack, "fault handlers of their own stack"),
	CALL(exit, "the end of a thread"),
	CALL(exit_group, "the end"),
};

static int allow(scmp_filter_ctx ctx, const struct sandbox_call *calls, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		const struct sandbox_call *call = &calls[i];
		int err;

		if (call->has_value)
			err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, call->nr, 1,
					       SCMP_CMP(call->arg, SCMP_CMP_MASKED_EQ, call->mask,
							call->value));
		else
			err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, call->nr, 0);
		if (err)
			return err;
	}
	return 0;
}

/* Refused and not killed: the C library asks, and goes on without. */
static int refuse(scmp_filter_ctx ctx)
{
	int err;

	/* Its flags lie in memory and cannot be judged; clone() is used instead. */
	err = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	/* A name service that wants to load a plug-in, for a group that is not in /etc/group. */
	if (!err)
		err = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(mmap), 1,
				       SCMP_CMP(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
	return err;
}

static int install_filter(const struct sandbox_call *calls, size_t nr_calls, char *text)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int err;

	if (!ctx)
		return failed(text, ENOMEM, "system call filter");
	/* A tree instead of a list: the calls of the data path are found in a few steps. */
	err = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (!err)
		err = allow(ctx, common_calls, sizeof(common_calls) / sizeof(common_calls[0]));
	if (!err)
		err = allow(ctx, calls, nr_calls);
	if (!err)
		err = refuse(ctx);
	if (!err)
		err = seccomp_load(ctx);
	seccomp_release(ctx);
	return err ? failed(text, -err, "system call filter") : 0;
}
#else
static int install_filter(const struct sandbox_call *calls, size_t nr_calls, char *text)
{
	(void)calls;
	(void)nr_calls;
	(void)text;
	return 0;
}
#endif

int sandbox_enter(const struct sandbox_call *calls, size_t nr_calls, bool with_filter,
		  char text[SANDBOX_TEXT])
{
	int err = drop_capabilities(0, text);

	if (!err && with_filter)
		err = install_filter(calls, nr_calls, text);
	return err;
}

int sandbox_keep_net_admin(void)
{
	char text[SANDBOX_TEXT];

	return drop_capabilities(UINT32_C(1) << CAP_NET_ADMIN, text);
}
