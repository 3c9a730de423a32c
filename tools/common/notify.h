/* SPDX-License-Identifier: MIT */
/* Tells the service manager how far the program is; nothing happens where there is none. */
#ifndef COMMON_NOTIFY_H
#define COMMON_NOTIFY_H

/* It serves now. status is one line for "systemctl status". */
void notify_ready(const char *status);
void notify_stopping(void);

#endif
