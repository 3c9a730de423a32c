/* SPDX-License-Identifier: MIT */
/*
 * The text that goes with an error, and the library's version.
 */
#include <vhu/types.h>

#include <stdarg.h>
#include <stdio.h>

#include <base/bits.h>

#ifndef VHU_VERSION
#define VHU_VERSION "0.1.0"
#endif

int vhu_refuse(struct vhu_reason *why, int err, const char *fmt, ...)
{
	va_list ap;

	if (why) {
		va_start(ap, fmt);
		vsnprintf(why->text, sizeof(why->text), fmt, ap);
		va_end(ap);
	}
	return err;
}

const char *vhu_version(void)
{
	return VHU_VERSION;
}
