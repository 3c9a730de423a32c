// SPDX-License-Identifier: MIT
/* The system calls of vhu tap, each with its reason; knows nothing of how they are enforced. */

#include "tap/calls.h"

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

const struct sandbox_call tap_calls[] = {
	/* Rings are made when it is known what the backend agrees on. */
	CALL(memfd_create, "memory that is shared with the backend"),
	CALL(ftruncate, "its size"),
	CALL(socketpair, "the backend's own channel"),
	CALL(access, "whether its socket is there"),
	CALL(faccessat, "the same"),
	/* The interface follows the backend. */
	IOCTL(TUNSETOFFLOAD, "what the host may leave to us"),
	IOCTL(TUNSETCARRIER, "whether there is a backend"),
	IOCTL(TUNSETQUEUE, "a backend with fewer queues"),
	IOCTL(SIOCGIFHWADDR, "the address that is announced"),
	IOCTL(SIOCGIFMTU, "whether the MTU is what the backend says"),
};
const size_t nr_tap_calls = sizeof(tap_calls) / sizeof(tap_calls[0]);
#else
const struct sandbox_call tap_calls[1];
const size_t nr_tap_calls;
#endif
