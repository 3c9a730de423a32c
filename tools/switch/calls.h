/* SPDX-License-Identifier: MIT */
/* The system calls that a switch needs beyond those that every tool needs; see common/sandbox.h. */
#ifndef SW_CALLS_H
#define SW_CALLS_H

#include "common/sandbox.h"

extern const struct sandbox_call switch_calls[];
extern const size_t nr_switch_calls;

#endif
