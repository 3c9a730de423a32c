/* SPDX-License-Identifier: MIT */
/* The system calls that vhu tap needs beyond those that every tool needs; see common/sandbox.h. */
#ifndef TAP_CALLS_H
#define TAP_CALLS_H

#include "common/sandbox.h"

extern const struct sandbox_call tap_calls[];
extern const size_t nr_tap_calls;

#endif
