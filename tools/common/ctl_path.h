/* SPDX-License-Identifier: MIT */
/* Where the control socket of a switch is when nobody says: what both its ends have to agree on. */
#ifndef COMMON_CTL_PATH_H
#define COMMON_CTL_PATH_H

#include <stdbool.h>
#include <stddef.h>

#define CTL_SYSTEM_DIR "/run/vhu"

enum {
	CTL_MAX_REQUEST = 65536, /* bytes of one request, its line end included */
};

/* False: there is no such place for this user. */
bool ctl_default_path(char *buf, size_t size);

#endif
