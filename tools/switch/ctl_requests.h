/* SPDX-License-Identifier: MIT */
/*
 * What the control socket can be asked: one JSON object in, one out. It knows nothing of sockets.
 *
 *	{"command": "show ports"}		{"ports": [...]}
 *	{"command": "show counters"}		{"ports": [...]}
 *	{"command": "show fdb", "port": P}	{"fdb": [...]}		port may be left out
 *	{"command": "show workers"}		{"workers": [...]}
 *	{"command": "add-port", "spec": S}	{"ok": true}
 *	{"command": "del-port", "name": P}	{"ok": true}
 *	{"command": "set-port", "name": P, "queue": N, "options": O}	{"ok": true}	queue may be left out
 *	{"command": "move-queue", "name": P, "queue": N, "worker": W}	{"ok": true}
 *	{"command": "fdb add", "mac": M, "vlan": N, "port": P}	{"ok": true}	vlan may be left out
 *	{"command": "fdb del", "mac": M, "vlan": N}	{"ok": true}
 *	{"command": "fdb flush", "port": P}	{"ok": true}		port may be left out
 * Whatever goes wrong: {"error": "what, and why"}.
 */
#ifndef SW_CTL_REQUESTS_H
#define SW_CTL_REQUESTS_H

#include <stddef.h>

#include "switch/switch.h"

/*
 * Carries out the request in line and returns the reply, without line end, to be given to free().
 * NULL: no memory for one.
 */
char *ctl_request(struct vhu_switch *sw, const char *line, size_t len);
/* A reply that is nothing but an error. */
char *ctl_refusal(const char *text);

#endif
