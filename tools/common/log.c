// SPDX-License-Identifier: MIT
/* Lines on standard error, with a limit for each source; knows nothing of what they are about. */

#include "common/log.h"

#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/loop.h"
#include "common/out.h"

enum {
	LOG_MAX = 1024,	     /* bytes of a line; a pipe takes that whole or not at all */
	LOG_BURST = 20,	     /* lines that a source may say at once */
	LOG_BUCKETS = 1024,  /* sources beyond that share a limit */
	LOG_SOURCE_MAX = 64, /* bytes of a source's name in log_text() */
};
#define LOG_REFILL_NS (2 * LOOP_S) /* one line more */

struct bucket {
	uint64_t time_ns; /* when it was last filled; 0: never */
	unsigned int tokens;
	unsigned int lost;
};

static struct {
	pthread_mutex_t mutex;
	const char *program;
	int max_level;
	bool with_time;
	bool with_level;
	struct bucket buckets[LOG_BUCKETS];
} log_state = {
	.mutex = PTHREAD_MUTEX_INITIALIZER,
	.program = "vhu",
	.max_level = LOG_INFO,
};

/* The journal names its stream in the environment; it understands "<4>" before a line. */
static bool is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	/* NOLINTNEXTLINE(cert-err34-c): too large a number is not ours either */
	return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
	       !fstat(STDERR_FILENO, &st) && st.st_dev == device && st.st_ino == inode;
}

void log_init(const char *program, int max_level, bool with_time)
{
	log_state.program = program;
	log_state.max_level = max_level;
	log_state.with_level = is_journal();
	log_state.with_time = with_time;
	/* Now, and not when the file with the time zone can no longer be opened. */
	tzset();
}

static void write_line(const char *line, size_t len)
{
	struct pollfd pfd = { .fd = STDERR_FILENO, .events = POLLOUT };

	/* A pipe that is ready takes PIPE_BUF bytes without waiting, and a line is shorter. */
	if (poll(&pfd, 1, 0) == 1 && (pfd.revents & POLLOUT)) {
		ssize_t n = write(STDERR_FILENO, line, len);

		(void)n; /* there is nobody left to tell */
	}
}

static void say(int level, const char *source, const char *text)
{
	char line[LOG_MAX], raw[LOG_MAX], prefix[64] = "";
	size_t len;

	if (log_state.with_level) {
		snprintf(prefix, sizeof(prefix), "<%d>", level);
	} else if (log_state.with_time) {
		struct timespec now;
		struct tm tm;

		clock_gettime(CLOCK_REALTIME, &now);
		localtime_r(&now.tv_sec, &tm);
		len = strftime(prefix, sizeof(prefix), "%Y-%m-%d %H:%M:%S", &tm);
		snprintf(prefix + len, sizeof(prefix) - len, ".%03ld ", now.tv_nsec / 1000000);
	}
	snprintf(raw, sizeof(raw), "%s%s: %s%s%s", prefix, log_state.program, source ? source : "",
		 source ? ": " : "", text);
	out_safe(line, sizeof(line) - 1, raw);
	len = strlen(line);
	line[len++] = '\n';
	write_line(line, len);
}

static struct bucket *bucket_of(const char *source)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (; *source; source++)
		hash = (hash ^ (uint8_t)*source) * 16777619u;
	return &log_state.buckets[hash % LOG_BUCKETS];
}

/* Takes a token. False: the source has to be silent. */
static bool may_speak(struct bucket *bucket)
{
	uint64_t now = loop_now_ns();

	if (!bucket->time_ns || now - bucket->time_ns >= LOG_BURST * LOG_REFILL_NS) {
		bucket->tokens = LOG_BURST;
		bucket->time_ns = now;
	}
	while (now - bucket->time_ns >= LOG_REFILL_NS) {
		bucket->time_ns += LOG_REFILL_NS;
		if (bucket->tokens < LOG_BURST)
			bucket->tokens++;
	}
	if (!bucket->tokens)
		return false;
	bucket->tokens--;
	return true;
}

static void say_limited(int level, const char *source, const char *text)
{
	struct bucket *bucket;
	char lost[64];

	if (level > log_state.max_level)
		return;
	pthread_mutex_lock(&log_state.mutex);
	bucket = source ? bucket_of(source) : NULL;
	if (bucket && !may_speak(bucket)) {
		if (!bucket->lost++)
			say(LOG_WARNING, source, "says too much; lines are left out from here on");
	} else {
		if (bucket && bucket->lost) {
			snprintf(lost, sizeof(lost), "%u lines were left out", bucket->lost);
			say(LOG_WARNING, source, lost);
			bucket->lost = 0;
		}
		say(level, source, text);
	}
	pthread_mutex_unlock(&log_state.mutex);
}

void log_line(int level, const char *source, const char *fmt, ...)
{
	char text[LOG_MAX];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	say_limited(level, source, text);
}

void log_text(int level, const char *text)
{
	const char *colon = strstr(text, ": ");
	char source[LOG_SOURCE_MAX];

	if (!colon || (size_t)(colon - text) >= sizeof(source)) {
		say_limited(level, NULL, text);
		return;
	}
	memcpy(source, text, (size_t)(colon - text));
	source[colon - text] = '\0';
	say_limited(level, source, colon + 2);
}
