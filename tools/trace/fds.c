/* SPDX-License-Identifier: MIT */
/* File descriptors in words, by /proc and fstat(); knows nothing of messages. */
#include "trace/fds.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

char *fds_size(char *buf, size_t size, uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	unsigned int unit = 0;

	while (bytes && !(bytes % 1024) && unit + 1 < sizeof(units) / sizeof(units[0])) {
		bytes /= 1024;
		unit++;
	}
	snprintf(buf, size, "%llu %s", (unsigned long long)bytes, units[unit]);
	return buf;
}

/* The kernel's number of an eventfd: equal numbers are the same eventfd. -1: it has none. */
static long eventfd_number(int fd)
{
	char path[64], info[512], *at;
	int info_fd;
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	info_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (info_fd < 0)
		return -1;
	len = read(info_fd, info, sizeof(info) - 1);
	close(info_fd);
	if (len <= 0)
		return -1;
	info[len] = '\0';
	at = strstr(info, "eventfd-id:");
	return at ? strtol(at + strlen("eventfd-id:"), NULL, 10) : -1;
}

static void describe_anonymous(int fd, const char *name, char text[TRACE_FD_TEXT])
{
	size_t len = strlen(name);
	long number;

	if (len > 2 && name[0] == '[' && name[len - 1] == ']') {
		name++;
		len -= 2;
	}
	number = !strncmp(name, "eventfd", len) ? eventfd_number(fd) : -1;
	if (number >= 0)
		snprintf(text, TRACE_FD_TEXT, "eventfd %ld", number);
	else
		snprintf(text, TRACE_FD_TEXT, "%.*s", (int)len, name);
}

static void describe_socket(int fd, char text[TRACE_FD_TEXT])
{
	int domain = 0, type = 0;
	socklen_t len = sizeof(int);

	if (!getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) && domain == AF_UNIX &&
	    !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len))
		snprintf(text, TRACE_FD_TEXT, "unix %s socket",
			 type == SOCK_STREAM ? "stream" : "datagram");
	else
		snprintf(text, TRACE_FD_TEXT, "socket");
}

/* A file with a size: a memfd by its name, another by its path. */
static void describe_file(char *link, uint64_t bytes, char text[TRACE_FD_TEXT])
{
	static const char deleted[] = " (deleted)";
	size_t len = strlen(link), tail = sizeof(deleted) - 1;
	char size[32];

	if (len > tail && !strcmp(link + len - tail, deleted))
		link[len - tail] = '\0';
	if (!strncmp(link, "/memfd:", 7))
		link++;
	fds_size(size, sizeof(size), bytes);
	/* the end of a long path says more than its beginning */
	len = strlen(link);
	if (len > 48)
		snprintf(text, TRACE_FD_TEXT, "...%.45s %s", link + len - 45, size);
	else
		snprintf(text, TRACE_FD_TEXT, "%.48s %s", link, size);
}

void fds_describe(int fd, char text[TRACE_FD_TEXT])
{
	static const char anonymous[] = "anon_inode:";
	char path[64], link[512] = "";
	struct stat st;
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	len = readlinkat(AT_FDCWD, path, link, sizeof(link) - 1);
	if (len < 0 || fstat(fd, &st) < 0) {
		snprintf(text, TRACE_FD_TEXT, "fd of an unknown kind");
		return;
	}
	link[len] = '\0';
	if (!strncmp(link, anonymous, sizeof(anonymous) - 1))
		describe_anonymous(fd, link + sizeof(anonymous) - 1, text);
	else if (S_ISSOCK(st.st_mode))
		describe_socket(fd, text);
	else if (S_ISFIFO(st.st_mode))
		snprintf(text, TRACE_FD_TEXT, "pipe");
	else if (S_ISREG(st.st_mode))
		describe_file(link, (uint64_t)st.st_size, text);
	else if (S_ISDIR(st.st_mode))
		snprintf(text, TRACE_FD_TEXT, "directory %.64s", link);
	else
		snprintf(text, TRACE_FD_TEXT, "%.80s", link);
}
