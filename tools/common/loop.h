/* SPDX-License-Identifier: MIT */
/*
 * A small event loop on epoll: file descriptors, timers and signals, one thread. It knows nothing
 * of what they are for.
 *
 * A source may be removed at any time, also from within a callback, its own included.
 */
#ifndef COMMON_LOOP_H
#define COMMON_LOOP_H

#include <stdint.h>
#include <sys/epoll.h>
#include <sys/types.h>

struct loop;
struct loop_source;

typedef void loop_fd_fn(void *arg, uint32_t events);
typedef void loop_timer_fn(void *arg);
typedef void loop_signal_fn(void *arg, int signal, pid_t sender);

/* 0 or -errno. */
int loop_new(struct loop **ret_loop);
/* Frees all its sources too. NULL is allowed. */
void loop_free(struct loop *loop);

/* Watches a borrowed fd for EPOLLIN, EPOLLOUT, EPOLLET and so on. 0 or -errno. */
int loop_add_fd(struct loop *loop, int fd, uint32_t events, loop_fd_fn *fn, void *arg,
		struct loop_source **ret_source);
/* Watches for something else from now on. */
int loop_set_events(struct loop_source *source, uint32_t events);

/* A timer; it does not run yet. */
int loop_add_timer(struct loop *loop, loop_timer_fn *fn, void *arg,
		   struct loop_source **ret_source);
/* Fires after first_ns, then every period_ns (0: once). first_ns 0 stops it. */
int loop_set_timer(struct loop_source *source, uint64_t first_ns, uint64_t period_ns);

/* Blocks these signals in the calling thread, to be inherited by those it starts, and reads them. */
int loop_add_signals(struct loop *loop, const int *signals, unsigned int nr, loop_signal_fn *fn,
		     void *arg, struct loop_source **ret_source);

/* Takes it out of the loop and frees it. NULL is allowed. */
void loop_remove(struct loop_source *source);

/* Runs until loop_stop(); the status given there, or -errno. */
int loop_run(struct loop *loop);
/* One round, for programs that have other work: waits up to timeout_ms (-1: for ever, 0: not at all)
 * for something to happen, and serves it. 0 or -errno. */
int loop_turn(struct loop *loop, int timeout_ms);
void loop_stop(struct loop *loop, int status);

/* CLOCK_MONOTONIC. */
uint64_t loop_now_ns(void);

#define LOOP_MS UINT64_C(1000000)
#define LOOP_S UINT64_C(1000000000)

#endif
