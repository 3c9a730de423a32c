/* SPDX-License-Identifier: MIT */
/* The command line of vhu vm, taken apart; knows nothing of what is done with it. */
#ifndef VM_OPTIONS_H
#define VM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum {
	VM_MAX_DEVICES = 8, /* a pin of the interrupt controller for each */
};

/* --net and --blk: a device whose backend is at a socket. */
struct vm_device {
	bool is_blk;
	char name[16]; /* "net0" */
	char *path;
	bool server, packed;
	bool reconnect; /* nobody there at the start: wait */
	bool has_mac;
	uint8_t mac[6];
	unsigned int queues; /* 0: as many as one has */
	uint16_t mtu;	     /* 0: not said */
};

struct vm_options {
	const char *kernel, *initrd, *append;
	uint64_t memory_size;
	unsigned int nr_cpus;
	bool with_huge_pages;
	struct vm_device devices[VM_MAX_DEVICES];
	unsigned int nr_devices;
	bool trace_walk;
	bool json;
	bool with_sandbox;
	int log_level;
};

/* OPT_END: go on. Else the exit status; all has been said. Freed in any case. */
int vm_options_parse(struct vm_options *ret_options, int argc, char **argv);
void vm_options_free(struct vm_options *options);

#endif
