/* SPDX-License-Identifier: MIT */
/*
 * A frontend and a driver for tests: guest memory, the driver's side of split rings, a raw socket.
 *
 * It shares nothing with the library but the names of <vhu/wire.h>, and it can misbehave at will:
 * every message, every descriptor and every index can be put where it does not belong.
 */
#ifndef TESTS_PAIR_DRIVER_H
#define TESTS_PAIR_DRIVER_H

#include <sys/types.h>
#include <vhu/wire.h>

#include "check.h"

/*
 * ---- Guest memory ----
 *
 * Each region is a memfd of its own with made-up guest and user addresses: regions 0 and 1 touch in
 * guest addresses (and in nothing else), before each further one there is a hole.
 */
enum {
	DRV_MAX_REGIONS = 16,
};

struct drv_region {
	uint64_t gpa;
	uint64_t size;
	uint64_t uva;
	uint64_t offset; /* where the region begins in its file */
	int fd;
	uint8_t *host; /* where the region begins in this process */
	uint64_t used; /* bytes given out by drv_mem_alloc() */
};

struct drv_mem {
	struct drv_region region[DRV_MAX_REGIONS];
	unsigned int nr;
};

void drv_mem_init(struct drv_mem *mem, unsigned int nr_regions, uint64_t region_size);
/* One more region behind a hole. */
struct drv_region *drv_mem_grow(struct drv_mem *mem, uint64_t size);
void drv_mem_free(struct drv_mem *mem);
/* Guest address of size fresh bytes. */
uint64_t drv_mem_alloc(struct drv_mem *mem, unsigned int region, uint64_t size, uint64_t align);
/* Where a guest address lies in this process; it has to lie in a region. */
void *drv_mem_ptr(const struct drv_mem *mem, uint64_t gpa);
uint64_t drv_mem_uva(const struct drv_mem *mem, uint64_t gpa);
/* Where the bytes [gpa, gpa + len) may span regions. */
void drv_mem_read(const struct drv_mem *mem, uint64_t gpa, void *to, size_t len);
void drv_mem_write(const struct drv_mem *mem, uint64_t gpa, const void *from, size_t len);
void drv_mem_wire_region(const struct drv_region *region, struct vhu_region *ret_region);

/*
 * While on, mmap() of a file that is mapped already (by the driver, or since this was turned on)
 * returns the mapping that is there, so that a race detector sees both sides touch the same bytes.
 * Only for programs that are linked with --wrap=mmap, as those in this folder are.
 */
void drv_mem_share_mapping(bool on);
/* How often a mapping has been handed out so. */
unsigned int drv_mem_shared_count(void);

/*
 * ---- Split ring, the driver's side (virtio 1.2, 2.7) ----
 */
enum {
	DRV_DESC_NEXT = 1,
	DRV_DESC_WRITE = 2,
	DRV_DESC_INDIRECT = 4,
	DRV_AVAIL_NO_INTERRUPT = 1,
	DRV_USED_NO_NOTIFY = 1,
	DRV_MAX_SEGS = 64,
};

struct drv_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

struct drv_used_elem {
	uint32_t id;
	uint32_t len;
};

/* A piece of a chain. */
struct drv_seg {
	uint64_t gpa;
	uint32_t len;
	bool write; /* for the device to write */
};

struct drv_ring {
	struct drv_mem *mem;
	unsigned int num;
	uint64_t desc_gpa, avail_gpa, used_gpa;
	struct drv_desc *desc;
	uint16_t *avail;    /* flags, idx, ring[num], used_event */
	uint16_t *used;	    /* flags, idx, then elements, avail_event */
	uint16_t avail_idx; /* what drv_ring_publish() will store */
	uint16_t published;
	uint16_t used_idx; /* the next used entry to look at */
	bool event_idx;
	bool kick_anyway; /* kick whatever the device asked for */

	uint16_t nr_free, free_head;
	uint16_t *next;	    /* free list, and private copy of chains */
	uint16_t *nr_chain; /* descriptors of the chain with that head; 0: not given out */
	uint32_t *room;	    /* writable bytes of the chain */
	uint32_t *token;    /* what drv_ring_add() was told */

	int kick_fd, call_fd, err_fd;
	uint64_t kicks, kicks_saved;

	/* Buffers for frames. */
	uint32_t slot_size;
	unsigned int nr_slots;
	uint64_t slots_gpa;
	uint64_t indirect_gpa; /* a table of DRV_MAX_SEGS for each slot */
	unsigned int nr_free_slots;
	uint32_t *free_slot;
};

void drv_ring_init(struct drv_ring *ring, struct drv_mem *mem, unsigned int num,
		   unsigned int region);
/* The ring memory begins anew, as after a device reset. */
void drv_ring_reset(struct drv_ring *ring);
void drv_ring_slots(struct drv_ring *ring, unsigned int nr_slots, uint32_t slot_size);
void drv_ring_free(struct drv_ring *ring);

/* Puts a chain into the available ring without publishing it. The head, or -ENOSPC. */
int drv_ring_add(struct drv_ring *ring, const struct drv_seg *segs, unsigned int nr,
		 uint32_t token);
/* The same through a table at table_gpa. */
int drv_ring_add_indirect(struct drv_ring *ring, const struct drv_seg *segs, unsigned int nr,
			  uint64_t table_gpa, uint32_t token);
/* Puts any head into the available ring, without bookkeeping. */
void drv_ring_add_head(struct drv_ring *ring, uint16_t head);
void drv_ring_publish(struct drv_ring *ring);
/* Publishes, and kicks if the device asked for that. True if it kicked. */
bool drv_ring_kick(struct drv_ring *ring);
void drv_ring_kick_always(struct drv_ring *ring);

/* 1: the next used entry. 0: none. -EPROTO: the entry cannot be. */
int drv_ring_pop_used(struct drv_ring *ring, uint32_t *ret_token, uint32_t *ret_len);
bool drv_ring_has_used(const struct drv_ring *ring);
uint16_t drv_ring_used_idx(const struct drv_ring *ring);
struct drv_used_elem drv_ring_used_elem(const struct drv_ring *ring, uint16_t idx);
/* Asks for calls from the next used entry on, or not at all. */
void drv_ring_want_calls(struct drv_ring *ring, bool want);
void drv_ring_set_used_event(struct drv_ring *ring, uint16_t idx);
uint16_t drv_ring_avail_event(const struct drv_ring *ring);
uint16_t drv_ring_used_flags(const struct drv_ring *ring);
/* How many calls came since this was last asked. */
uint64_t drv_ring_calls(struct drv_ring *ring);

/*
 * ---- Connection ----
 */
struct drv_options {
	uint64_t features;	    /* asked for, as far as offered; 0: all that are offered */
	uint64_t no_features;	    /* never asked for */
	uint64_t protocol_features; /* the same */
	uint64_t no_protocol_features;
	unsigned int nr_rings;	 /* 0: 2 */
	unsigned int ring_size;	 /* 0: 256 */
	unsigned int nr_slots;	 /* for frames, a ring; 0: 64 */
	uint32_t slot_size;	 /* 0: 2048 */
	unsigned int nr_regions; /* 0: 2 */
	uint64_t region_size;	 /* 0: 16 MiB */
	bool need_reply;	 /* NEED_REPLY on each message once REPLY_ACK is agreed */
	bool mem_slots;		 /* ADD_MEM_REG in place of SET_MEM_TABLE */
};

struct drv {
	struct drv_options options;
	struct drv_mem mem;
	struct drv_ring *ring; /* options.nr_rings of them */
	int sock;
	int channel; /* our end of SET_BACKEND_REQ_FD, or -1 */
	uint64_t offered, features;
	uint64_t protocol_offered, protocol_features;
	/* Keeps the other side going while we wait; true if it did something. */
	bool (*pump)(void *arg);
	void *pump_arg;
};

void drv_init(struct drv *drv, const struct drv_options *options);
void drv_free(struct drv *drv);
/* Connects to a listening socket. 0 or -errno. */
int drv_connect(struct drv *drv, const char *path);
void drv_disconnect(struct drv *drv);

/* Any bytes with any fds: 0 or -errno. */
int drv_send_bytes(struct drv *drv, const void *bytes, size_t len, const int *fds,
		   unsigned int nr_fds);
int drv_send(struct drv *drv, uint32_t request, uint32_t flags, const void *payload, uint32_t size,
	     const int *fds, unsigned int nr_fds);
/* 1: a message; 0: none within ms; -ECONNRESET: the other side has closed. */
int drv_recv(struct drv *drv, struct vhu_msg *ret_msg, unsigned int ms);
/*
 * Sends with NEED_REPLY and waits for the plain ack: 0, 1 if the ack is an error, -ECONNRESET if
 * the connection closed. Fails the test on any other answer.
 */
int drv_ack(struct drv *drv, uint32_t request, const void *payload, uint32_t size, const int *fds,
	    unsigned int nr_fds);
/* A request of the setup: with an ack where options.need_reply says so; has to succeed. */
void drv_do(struct drv *drv, uint32_t request, const void *payload, uint32_t size, const int *fds,
	    unsigned int nr_fds);
void drv_do_u64(struct drv *drv, uint32_t request, uint64_t value);
void drv_do_state(struct drv *drv, uint32_t request, uint32_t index, uint32_t num);
void drv_do_vring_fd(struct drv *drv, uint32_t request, uint32_t index, int fd);
/* A request with a payload of its own in the reply. */
void drv_ask(struct drv *drv, uint32_t request, const void *payload, uint32_t size,
	     struct vhu_msg *ret_reply);
uint64_t drv_ask_u64(struct drv *drv, uint32_t request);
/* Asks for something harmless: fails the test unless exactly that is answered. */
void drv_check_in_step(struct drv *drv);
/* True once the other side has closed the connection. */
bool drv_is_closed(struct drv *drv);

/* Features and protocol features, owner, backend channel, first call fds. */
void drv_negotiate(struct drv *drv);
/* SET_FEATURES without RING_PACKED and IN_ORDER; with what it says. */
void drv_set_features(struct drv *drv, uint64_t features);
void drv_set_all_features(struct drv *drv, uint64_t features);
void drv_set_mem(struct drv *drv);
void drv_set_mem_table(struct drv *drv, unsigned int first, unsigned int nr);
int drv_add_mem(struct drv *drv, unsigned int region);
int drv_rem_mem(struct drv *drv, unsigned int region);
void drv_fill_addr(struct drv *drv, unsigned int ring, struct vhu_vring_addr *ret_addr);
/* NUM, BASE, ADDR, KICK, CALL. */
void drv_start_ring(struct drv *drv, unsigned int ring, uint16_t base);
void drv_enable_ring(struct drv *drv, unsigned int ring, bool enable);
/* GET_VRING_BASE: the base. */
uint16_t drv_stop_ring(struct drv *drv, unsigned int ring);
/* All of the above: every ring started and enabled. */
void drv_start(struct drv *drv);
void drv_stop(struct drv *drv);

/*
 * ---- Frames (virtio 1.2, 5.1.6) ----
 */
struct drv_net_hdr {
	uint8_t flags;
	uint8_t gso_type;
	uint16_t hdr_len;
	uint16_t gso_size;
	uint16_t csum_start;
	uint16_t csum_offset;
	uint16_t num_buffers; /* only if the header has 12 bytes */
};

/* How the bytes of header and frame are laid out: the sizes of the first pieces, the last takes all. */
struct drv_layout {
	unsigned int nr;
	uint32_t cut[DRV_MAX_SEGS];
	bool indirect;
	const struct drv_net_hdr *hdr; /* NULL: all zero */
};

/* 12 with VERSION_1 or MRG_RXBUF, else 10. */
unsigned int drv_net_hdr_size(const struct drv *drv);
/* A frame into a transmit ring, without publishing. The head, or -ENOSPC. */
int drv_net_add(struct drv *drv, unsigned int ring, const void *frame, size_t len,
		const struct drv_layout *layout);
/* Adds, publishes and kicks; the frame has to find room. */
void drv_net_send(struct drv *drv, unsigned int ring, const void *frame, size_t len);
/* Takes back what was transmitted. The count. */
unsigned int drv_net_reap(struct drv *drv, unsigned int ring);
/* Gives as many empty buffers as there are slots, or at most max. The count. */
unsigned int drv_net_fill(struct drv *drv, unsigned int ring, unsigned int max);
/*
 * 1: the next received frame, of *ret_len bytes behind the net header; its buffers are not given
 * back to the device by that. 0: none. Negative: what is there cannot be.
 */
int drv_net_receive(struct drv *drv, unsigned int ring, uint8_t *frame, size_t room,
		    size_t *ret_len, struct drv_net_hdr *ret_hdr);
/* A frame that can be told from others: number and size, verified by drv_net_verify(). */
void drv_net_make(uint8_t *frame, size_t len, uint32_t number);
bool drv_net_verify(const uint8_t *frame, size_t len, uint32_t number);
/* Sends nr frames one after the other and waits for each to be echoed on the ring before. */
void drv_net_echo(struct drv *drv, unsigned int tx_ring, uint32_t first, unsigned int nr);

#endif
