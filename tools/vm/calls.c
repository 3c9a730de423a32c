// SPDX-License-Identifier: MIT
/* The system calls of vhu vm, each with its reason; knows nothing of how they are enforced. */

#include "vm/calls.h"

#include "config.h"

#if HAVE_SECCOMP
#include <linux/kvm.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <termios.h>

#define CALL(name, reason)                                                                         \
	{                                                                                          \
		.nr = SCMP_SYS(name), .why = reason                                                \
	}
#define IOCTL(request, reason)                                                                     \
	{                                                                                          \
		.nr = SCMP_SYS(ioctl), .why = reason, .has_value = true, .arg = 1,                 \
		.mask = UINT32_MAX, .value = request                                               \
	}

const struct sandbox_call vm_calls[] = {
	/* What is left to do once the machine is built: nothing of it makes another. */
	IOCTL(KVM_RUN, "the guest"),
	IOCTL(KVM_GET_REGS, "where it stood when it failed"),
	IOCTL(KVM_IRQFD, "a vector is masked, or not any more"),
	IOCTL(KVM_IOEVENTFD, "a queue's doorbell comes and goes with its BAR"),
	IOCTL(KVM_SET_GSI_ROUTING, "the message of a vector"),
	IOCTL(KVM_SIGNAL_MSI, "a change of a device's configuration"),
	IOCTL(KVM_IRQ_LINE, "serial port, power button, INTx"),
	/* What the frontends do when a backend comes. */
	CALL(memfd_create, "memory that is shared with the backend"),
	CALL(ftruncate, "its size"),
	CALL(socketpair, "the backend's own channel"),
	CALL(access, "whether its socket is there"),
	CALL(faccessat, "the same"),
	CALL(rt_sigpending, "whether one waits for a backend in vain"),
	/* The end. */
	IOCTL(TCSETS, "the terminal as it was"),
	IOCTL(TCGETS, "whether standard output is one, for stdio"),
};
const size_t nr_vm_calls = sizeof(vm_calls) / sizeof(vm_calls[0]);
#else
const struct sandbox_call vm_calls[1];
const size_t nr_vm_calls;
#endif
