/* SPDX-License-Identifier: MIT */
/*
 * How far apart two cores are: for each line on standard input, the median time of a cache line's way
 * there and back, in nanoseconds. On a machine that is itself virtual this changes from one second to
 * the next, and what polls between the cores changes with it.
 *
 * usage: cores CPU CPU
 */
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
	LOOK_NS = 2000000,     /* for so long at a time */
	GIVE_UP_NS = 50000000, /* the other core is somebody else's for so long */
	TRIPS = 50,	       /* between two readings of the clock */
	MAX_SAMPLES = 1024,
};

static _Alignas(128) atomic_uint ping;
static _Alignas(128) atomic_uint pong;
static _Alignas(128) atomic_bool is_over;
static sem_t begin;

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void pin(const char *cpu)
{
	const struct sched_param param = { .sched_priority = 50 };
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)strtoul(cpu, NULL, 10), &set);
	sched_setaffinity(0, sizeof(set), &set);
	/* Only where it is allowed: without, others may run in between. */
	pthread_setschedparam(pthread_self(), SCHED_FIFO, &param);
}

static void *answer(void *arg)
{
	pin(arg);
	for (;;) {
		sem_wait(&begin);
		while (!atomic_load_explicit(&is_over, memory_order_relaxed))
			atomic_store_explicit(&pong,
					      atomic_load_explicit(&ping, memory_order_acquire),
					      memory_order_release);
		atomic_store(&is_over, false);
	}
	return NULL;
}

static bool trip(uint64_t give_up)
{
	static unsigned int number;

	atomic_store_explicit(&ping, ++number, memory_order_release);
	for (unsigned int i = 1; atomic_load_explicit(&pong, memory_order_acquire) != number; i++) {
		if (i % 65536 == 0 && now_ns() > give_up)
			return false;
	}
	return true;
}

static int compare(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* 0: the other core did not answer. */
static uint64_t look(void)
{
	static uint64_t samples[MAX_SAMPLES];
	const uint64_t give_up = now_ns() + GIVE_UP_NS;
	unsigned int nr = 0;
	bool good;

	sem_post(&begin);
	good = trip(give_up);
	for (const uint64_t end = now_ns() + LOOK_NS; good && nr < MAX_SAMPLES && now_ns() < end;) {
		const uint64_t from = now_ns();

		for (unsigned int i = 0; i < TRIPS && good; i++)
			good = trip(give_up);
		samples[nr++] = (now_ns() - from) / TRIPS;
	}
	atomic_store(&is_over, true);
	while (atomic_load(&is_over))
		sched_yield();
	qsort(samples, nr, sizeof(samples[0]), compare);
	return good && nr ? samples[nr / 2] : 0;
}

int main(int argc, char **argv)
{
	pthread_t thread;
	char line[16];

	if (argc != 3) {
		fputs("usage: cores CPU CPU\n", stderr);
		return 2;
	}
	sem_init(&begin, 0, 0);
	if (pthread_create(&thread, NULL, answer, argv[2]) != 0)
		return 1;
	pin(argv[1]);
	while (fgets(line, sizeof(line), stdin)) {
		printf("%llu\n", (unsigned long long)look());
		fflush(stdout);
	}
	return 0;
}
