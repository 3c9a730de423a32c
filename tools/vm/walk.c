// SPDX-License-Identifier: MIT
/*
 * Collects the stations of each vCPU's walk; the vCPU never waits for who reads: a walk is put down as
 * text in a buffer, which the device thread writes, and dropped and counted when that is full.
 *
 * The device thread may be done with what a walk left to it before the vCPU is back in the guest, above all where both
 * share a processor. What it says of a walk that is under way waits for that walk's end.
 */

#include "vm/walk.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/log.h"
#include "vm/outlet.h"
#include "vm/walk_show.h"

enum {
	MAX_CPUS = 8,
	MAX_DEVICES = 8,
	BUFFER_SIZE = 1 << 18,
	OUTLET_SIZE = 1 << 14,
	LATER_SIZE = 1 << 13, /* a start's messages, some 30 lines */
};

/* A walk that leaves something to others, and when it began. */
struct cause {
	uint64_t number, exit_ns; /* number 0: there was none yet */
};

/* A device's last write of its status, which messages follow, and its last doorbell, which calls do. */
struct causes {
	char device[WALK_DEVICE];
	struct cause status, doorbell;
};

/* Of one vCPU. */
struct under_way {
	struct walk_way way; /* number 0: it leaves nothing to others so far */
	bool is_open;	     /* between exit and return */
	size_t len;	     /* of what was said of it meanwhile */
	char later[LATER_SIZE];
};

struct walk {
	struct vmm_probe probe;
	struct outlet *outlet;
	struct loop_source *source;
	int wake_fd;
	bool json, all;

	pthread_mutex_t lock; /* all below */
	struct under_way cpus[MAX_CPUS];
	struct causes causes[MAX_DEVICES];
	uint64_t nr_walks, nr_lost;
	size_t len;
	char buffer[BUFFER_SIZE];
};

static void wake(struct walk *walk)
{
	const uint64_t one = 1;

	(void)!write(walk->wake_fd, &one, sizeof(one));
}

/* Puts down a whole text, or nothing of it. */
static void put(struct walk *walk, const char *text, size_t len)
{
	if (len > BUFFER_SIZE - walk->len) {
		walk->nr_lost++;
		return;
	}
	memcpy(walk->buffer + walk->len, text, len);
	walk->len += len;
	wake(walk);
}

/* ---- Causes ---- */

/* The device's, or free ones; NULL: none are left. */
static struct causes *causes_of(struct walk *walk, const char *device)
{
	for (unsigned int i = 0; i < MAX_DEVICES; i++) {
		struct causes *causes = &walk->causes[i];

		if (!causes->device[0])
			snprintf(causes->device, sizeof(causes->device), "%s", device);
		if (!strncmp(causes->device, device, sizeof(causes->device) - 1))
			return causes;
	}
	return NULL;
}

/* This walk leaves something to others from this station on: it has a number by which they name it. */
static void note_cause(struct walk *walk, struct walk_way *way, const struct walk_station *station)
{
	struct causes *causes = station->device[0] ? causes_of(walk, station->device) : NULL;
	struct cause *cause;

	if (!causes)
		return;
	if (!way->number)
		way->number = ++walk->nr_walks;
	cause = station->at == VMM_AT_KICK ? &causes->doorbell : &causes->status;
	*cause = (struct cause){ way->number, way->stations[0].time_ns };
}

static bool is_cause(enum vmm_station station)
{
	return station == VMM_AT_STATUS || station == VMM_AT_START || station == VMM_AT_KICK;
}

/* ---- Records ---- */

static void take_station(struct walk_station *station, const struct vmm_record *record)
{
	station->time_ns = record->time_ns;
	station->at = (enum vmm_station)record->station;
	station->a = record->a;
	station->b = record->b;
	snprintf(station->what, sizeof(station->what), "%s", record->what ? record->what : "");
	snprintf(station->device, sizeof(station->device), "%s",
		 record->device ? record->device : "");
}

static bool is_shown(const struct walk *walk, const struct walk_way *way)
{
	/* It read: see VMM_AT_ENTER. */
	if (!walk->all && way->stations[way->nr - 1].what[0])
		return false;
	for (unsigned int i = 0; i < way->nr; i++)
		if (way->stations[i].at == VMM_AT_REGISTER || way->stations[i].at == VMM_AT_KICK)
			return true;
	return walk->all;
}

static void begin(struct under_way *cpu, int number)
{
	cpu->way.number = 0;
	cpu->way.nr = 0;
	cpu->way.nr_dropped = 0;
	cpu->way.cpu = number;
	cpu->is_open = true;
}

static void end(struct walk *walk, struct under_way *cpu)
{
	char text[WALK_TEXT];
	size_t len;

	cpu->is_open = false;
	if (is_shown(walk, &cpu->way)) {
		if (!cpu->way.number)
			cpu->way.number = ++walk->nr_walks;
		len = walk_show(text, &cpu->way, walk->json);
		put(walk, text, len);
	}
	if (cpu->len)
		put(walk, cpu->later, cpu->len);
	cpu->len = 0;
}

static void on_vcpu(struct walk *walk, const struct vmm_record *record)
{
	struct under_way *cpu = &walk->cpus[record->cpu];
	struct walk_way *way = &cpu->way;

	if (record->station == VMM_AT_EXIT)
		begin(cpu, record->cpu);
	/* The last place is the return's. */
	if (way->nr == WALK_STATIONS ||
	    (way->nr == WALK_STATIONS - 1 && record->station != VMM_AT_ENTER)) {
		way->nr_dropped++;
		return;
	}
	take_station(&way->stations[way->nr++], record);
	if (is_cause((enum vmm_station)record->station))
		note_cause(walk, way, &way->stations[way->nr - 1]);
	if (record->station == VMM_AT_ENTER)
		end(walk, cpu);
}

/* Puts down what was said of a walk of that number, behind the walk itself. */
static void put_later(struct walk *walk, uint64_t number, const char *text, size_t len)
{
	for (unsigned int i = 0; i < MAX_CPUS; i++) {
		struct under_way *cpu = &walk->cpus[i];

		if (!cpu->is_open || cpu->way.number != number || len > LATER_SIZE)
			continue;
		/* in their order, if not behind the walk */
		if (len > LATER_SIZE - cpu->len) {
			put(walk, cpu->later, cpu->len);
			cpu->len = 0;
		}
		memcpy(cpu->later + cpu->len, text, len);
		cpu->len += len;
		return;
	}
	put(walk, text, len);
}

static void on_device_thread(struct walk *walk, const struct vmm_record *record)
{
	const struct causes *causes = record->device ? causes_of(walk, record->device) : NULL;
	const bool is_call = record->station == VMM_AT_CALL || record->station == VMM_AT_INTERRUPT;
	const struct cause *cause;
	struct walk_station station;
	char text[WALK_TEXT];

	/* Nobody's: before the guest began, say. */
	if (!causes)
		return;
	cause = is_call ? &causes->doorbell : &causes->status;
	if (!cause->number)
		return;
	take_station(&station, record);
	put_later(walk, cause->number, text,
		  walk_show_later(text, &station, cause->number, cause->exit_ns, walk->json));
}

static void on_record(void *arg, const struct vmm_record *record)
{
	struct walk *walk = arg;

	pthread_mutex_lock(&walk->lock);
	if (record->cpu >= 0 && record->cpu < MAX_CPUS)
		on_vcpu(walk, record);
	else
		on_device_thread(walk, record);
	pthread_mutex_unlock(&walk->lock);
}

/* ---- The device thread writes ---- */

static void pump(void *arg)
{
	struct walk *walk = arg;
	size_t room = outlet_room(walk->outlet), len;
	char bytes[OUTLET_SIZE];

	pthread_mutex_lock(&walk->lock);
	len = walk->len < room ? walk->len : room;
	memcpy(bytes, walk->buffer, len);
	walk->len -= len;
	memmove(walk->buffer, walk->buffer + len, walk->len);
	if (walk->len)
		wake(walk);
	pthread_mutex_unlock(&walk->lock);
	/* Without the lock: a vCPU waits for nobody's terminal. */
	outlet_put(walk->outlet, bytes, len);
}

static void on_wake(void *arg, uint32_t events)
{
	struct walk *walk = arg;
	uint64_t count;

	(void)events;
	(void)!read(walk->wake_fd, &count, sizeof(count));
	if (outlet_room(walk->outlet))
		pump(walk);
}

int walk_new(struct walk **ret_walk, struct loop *loop, int fd, bool json, bool all)
{
	struct walk *walk = calloc(1, sizeof(*walk));
	int err;

	if (!walk)
		return -ENOMEM;
	pthread_mutex_init(&walk->lock, NULL);
	walk->probe = (struct vmm_probe){ .sink = on_record, .arg = walk };
	walk->json = json;
	walk->all = all;
	walk->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = walk->wake_fd < 0 ? -errno : 0;
	if (!err)
		err = outlet_new(&walk->outlet, loop, fd, OUTLET_SIZE, pump, walk);
	if (!err)
		err = loop_add_fd(loop, walk->wake_fd, EPOLLIN, on_wake, walk, &walk->source);
	if (err < 0) {
		walk_free(walk);
		return err;
	}
	*ret_walk = walk;
	return 0;
}

void walk_free(struct walk *walk)
{
	if (!walk)
		return;
	/* the guest's last exit may have no return */
	for (unsigned int i = 0; i < MAX_CPUS; i++)
		put(walk, walk->cpus[i].later, walk->cpus[i].len);
	while (walk->outlet && walk->len && outlet_room(walk->outlet))
		pump(walk);
	loop_remove(walk->source);
	outlet_free(walk->outlet);
	if (walk->nr_lost)
		log_line(LOG_WARNING, NULL, "%llu walks were not shown: nobody read them in time",
			 (unsigned long long)walk->nr_lost);
	if (walk->wake_fd >= 0)
		close(walk->wake_fd);
	pthread_mutex_destroy(&walk->lock);
	free(walk);
}

const struct vmm_probe *walk_probe(const struct walk *walk)
{
	return walk ? &walk->probe : NULL;
}
