/* SPDX-License-Identifier: MIT */
/*
 * The control socket: clients, lines in, lines out, and that none of them can block or grow the
 * switch. What a line means is the affair of ctl_requests.
 */
#ifndef SW_CTL_SERVER_H
#define SW_CTL_SERVER_H

#include "common/loop.h"
#include "switch/switch.h"

struct ctl_server;

/* text of at least SW_ERR_MAX bytes gets a sentence when the result is not 0. */
int ctl_server_new(struct ctl_server **ret_server, struct loop *loop, struct vhu_switch *sw,
		   const char *path, unsigned int mode, const char *group, char *text);
/* Closes all clients and removes the socket file. NULL is allowed. */
void ctl_server_free(struct ctl_server *server);

#endif
