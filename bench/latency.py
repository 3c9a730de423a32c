#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""From a kick to the call that answers it, out of idle, beside a blocking eventfd ping-pong between the same cores.

usage: bench/latency.py [--samples N] [--idle MICROSECONDS] [--quick] [--json]

eventfd: a process on the backend's core sleeps in a read, and writes another eventfd; there and back. frame: a guest
sends a frame, kicks, and sleeps until its call; from before the kick until it is awake. Both wake somebody up on
either core. They take turns within one run, and before each sample everybody has been idle for so long.

  echo      bench/backend echo --sleep: libvhu alone
  switch    from one port of vhu switch to another, in each of its modes that sleeps
"""

import argparse
import json
import subprocess
import sys

import lab
from lab import Backend, Failure, path_of
from report import Table, median, need

COLUMNS = [("what", "what", -20, ""), ("ring", "ring", -6, ""), ("eventfd p50", "floor_p50", 11, ".1f"),
           ("p99", "floor_p99", 6, ".1f"), ("frame p50", "frame_p50", 9, ".1f"), ("p99", "frame_p99", 6, ".1f"),
           ("ratio p50", "ratio_p50", 9, ".2f"), ("p99", "ratio_p99", 5, ".2f")]


def backends():
    """Name, how to make it, number of ports."""
    yield "echo", lambda cpu, sockets: Backend(cpu, [need("backend"), "echo", sockets[0], "--sleep"], sockets), 1
    for mode in ("interrupt", "adaptive") if lab.switch_modes() else (None,):
        yield (f"switch, {mode}" if mode else "switch",
               lambda cpu, sockets, mode=mode: lab.vhu_switch(cpu, sockets, mode), 2)


def run(args, cpus, sockets, ring):
    line = [need("latency"), *sockets, "--cpus", f"{cpus[0]},{cpus[1]}", "--samples", str(args.samples),
            "--idle", str(args.idle), *(["--packed"] if ring == "packed" else [])]
    done = subprocess.run(line, check=False, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise Failure(done.stderr.strip())
    return json.loads(done.stdout)


def measure(args, cpus, name, make, nr_ports, ring):
    runs = []
    for number in range(args.runs):
        sockets = [path_of(f"{ring}-{''.join(filter(str.isalpha, name))}-{number}-{i}") for i in range(nr_ports)]
        backend = make(cpus[1], sockets)
        try:
            runs.append(run(args, cpus, sockets, ring))
        finally:
            backend.stop()
    result = {"what": name, "ring": ring, "runs": runs}
    for part in ("p50", "p99"):
        result[f"floor_{part}"] = median([one["eventfd"][part] for one in runs])
        result[f"frame_{part}"] = median([one["frame"][part] for one in runs])
        result[f"ratio_{part}"] = median([one["frame"][part] / one["eventfd"][part] for one in runs])
    return result


def main():
    parser = argparse.ArgumentParser(description="from kick to call, out of idle")
    parser.add_argument("--samples", type=int, default=2000, help="of each kind in a run (2000)")
    parser.add_argument("--runs", type=int, default=3, help="medians of so many runs (3)")
    parser.add_argument("--idle", type=int, default=1000, help="microseconds before each sample (1000)")
    parser.add_argument("--quick", action="store_true", help="some seconds")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.quick:
        args.samples, args.runs = 200, 1
    table = Table(COLUMNS, args.json)

    def work():
        cpus = lab.two_cores()
        for name, make, nr_ports in backends():
            for ring in ("split", "packed"):
                table.add(measure(args, cpus, name, make, nr_ports, ring))

    return lab.ends(table, work)


if __name__ == "__main__":
    sys.exit(main())
