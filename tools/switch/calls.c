// SPDX-License-Identifier: MIT
/* The system calls of a switch, each with its reason; knows nothing of how they are enforced. */

#include "switch/calls.h"

#include "config.h"

#if HAVE_SECCOMP
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <seccomp.h>
#include <sys/ioctl.h>

#define CALL(name, reason)                                                                         \
	{                                                                                          \
		.nr = SCMP_SYS(name), .why = reason                                                \
	}
#define IOCTL(request, reason)                                                                     \
	{                                                                                          \
		.nr = SCMP_SYS(ioctl), .why = reason, .has_value = true, .arg = 1,                 \
		.mask = UINT32_MAX, .value = request                                               \
	}

const struct sandbox_call switch_calls[] = {
	/* What a frontend hands over. */
	CALL(readlink, "whether an fd is an eventfd: its name in /proc/self/fd tells"),
	CALL(readlinkat, "the same"),
	/* add-port, later on. */
	CALL(open, "a capture, /dev/net/tun, /etc/group for group="),
	CALL(openat, "the same"),
	CALL(umask, "the mode of a socket file from its birth"),
	CALL(fchmod, "mode= of a socket before it has a name"),
	CALL(chmod, "mode= of a socket file"),
	CALL(fchmodat, "the same"),
	CALL(chown, "group= of a socket file"),
	CALL(lchown, "the same"),
	CALL(fchownat, "the same"),
	CALL(stat, "whether a socket file is one"),
	CALL(lstat, "the same"),
	CALL(ftruncate, "a capture begun anew"),
	/* Taps. */
	IOCTL(TUNSETIFF, "the interface that a tap belongs to"),
	IOCTL(TUNGETIFF, "its name"),
	IOCTL(TUNGETFEATURES, "what the host's taps can do"),
	IOCTL(TUNSETVNETHDRSZ, "the header before each frame"),
	IOCTL(TUNSETVNETLE, "its byte order"),
	IOCTL(TUNSETOFFLOAD, "what the host may leave to us"),
	IOCTL(SIOCGIFFLAGS, "whether the interface is up"),
	IOCTL(SIOCSIFFLAGS, "to set it up"),
	IOCTL(SIOCGIFMTU, "its MTU"),
	IOCTL(SIOCSIFMTU, "mtu= of a tap"),
	IOCTL(SIOCGIFINDEX, "its number"),
};
const size_t nr_switch_calls = sizeof(switch_calls) / sizeof(switch_calls[0]);
#else
const struct sandbox_call switch_calls[1];
const size_t nr_switch_calls;
#endif
