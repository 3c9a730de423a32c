// SPDX-License-Identifier: MIT
/* The default place of the control socket; knows nothing of what is said over it. */

#include "common/ctl_path.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

bool ctl_default_path(char *buf, size_t size)
{
	const char *dir = getenv("XDG_RUNTIME_DIR");
	int len;

	if (!geteuid())
		len = snprintf(buf, size, "%s/switch.ctl", CTL_SYSTEM_DIR);
	else if (dir && *dir == '/')
		len = snprintf(buf, size, "%s/vhu-switch.ctl", dir);
	else
		return false;
	return len > 0 && (size_t)len < size;
}
