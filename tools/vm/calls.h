/* SPDX-License-Identifier: MIT */
/* The system calls that a machine needs beyond those that every tool needs; see common/sandbox.h. */
#ifndef VM_CALLS_H
#define VM_CALLS_H

#include "common/sandbox.h"

extern const struct sandbox_call vm_calls[];
extern const size_t nr_vm_calls;

#endif
