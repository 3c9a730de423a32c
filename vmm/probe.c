// SPDX-License-Identifier: MIT
/* The stations of the notification path: their names, probes and records. */

#include <vmm/probe.h>

#include <time.h>

#if HAVE_SDT
#include <sys/sdt.h>
#ifdef __clang__
/* How the probe's macro counts its arguments. */
#pragma clang diagnostic ignored "-Wgnu-zero-variadic-macro-arguments"
#endif
#endif

static const char *const station_names[VMM_STATION_END] = {
	[VMM_AT_EXIT] = "exit",		  [VMM_AT_BUS] = "bus",	    [VMM_AT_REGISTER] = "register",
	[VMM_AT_STATUS] = "status",	  [VMM_AT_START] = "start", [VMM_AT_MESSAGE] = "message",
	[VMM_AT_RUNNING] = "running",	  [VMM_AT_KICK] = "kick",   [VMM_AT_CALL] = "call",
	[VMM_AT_INTERRUPT] = "interrupt", [VMM_AT_ENTER] = "enter",
};

static _Thread_local int16_t this_cpu = -1;

const char *vmm_station_name(enum vmm_station station)
{
	return (unsigned int)station < VMM_STATION_END ? station_names[station] : "?";
}

void vmm_probe_set_cpu(int cpu)
{
	this_cpu = (int16_t)cpu;
}

void vmm_probe(const struct vmm_probe *probe, enum vmm_station station, const char *device,
	       const char *what, uint64_t a, uint64_t b)
{
	struct vmm_record record = { .station = (uint8_t)station,
				     .cpu = this_cpu,
				     .a = a,
				     .b = b,
				     .what = what,
				     .device = device };
	struct timespec now;

#if HAVE_SDT
	DTRACE_PROBE5(vhu, vm_station, station, device, what, a, b);
#endif
	if (!probe || !probe->sink)
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	record.time_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	probe->sink(probe->arg, &record);
}
