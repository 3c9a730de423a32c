/* SPDX-License-Identifier: MIT */
/* How long a line is in which a part of the machine says why it refuses something. */
#ifndef VMM_TEXT_H
#define VMM_TEXT_H

enum {
	VMM_TEXT = 200, /* bytes, the 0 included; no line feed */
};

/* A line for whoever looks after the machine: device is "net0". Both are valid during the call. */
typedef void vmm_say_fn(void *arg, const char *device, const char *text);

#endif
