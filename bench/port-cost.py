#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a frame costs `vhu switch` in instructions, from 2 to 1024 live ports with traffic between two of them.

usage: bench/port-cost.py [--ports N,...] [--mode MODE] [--seconds S] [--ring split|packed] [--quick] [--json]

All ports have a frontend whose rings run. The switch is under callgrind, so it is the slow side and always finds
frames; counting begins once it carries them, and ends after so many seconds. Everything that the process does in
that time is in the figure, whichever thread does it. "more" is against the first row.
"""

import argparse
import resource
import sys

import lab
from lab import Skip
from report import Table, need

COLUMNS = [("ports", "ports", 5, ""), ("frames", "frames", 8, ""), ("instr. a frame", "instructions", 14, ".1f"),
           ("more", "more", 7, "+.1%")]
# What a port has open in the switch: its sockets, its rings' eventfds, its memory.
FDS_A_PORT = 16


def raise_open_files(ports):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ports * FDS_A_PORT + 1024
    if hard not in (resource.RLIM_INFINITY,) and wanted > hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
        except (OSError, ValueError) as error:
            raise Skip(f"{ports} ports want {wanted} open files: {error}") from error
    elif soft != resource.RLIM_INFINITY and wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def measure(args, ports):
    raise_open_files(ports)
    return {"ports": ports} | lab.instructions(args, str(ports), ports, args.ring)


def main():
    parser = argparse.ArgumentParser(description="instructions for a frame, by the number of ports")
    parser.add_argument("--ports", default="2,16,128,1024", help="2,16,128,1024")
    parser.add_argument("--mode", help="--mode of vhu switch; else its own")
    parser.add_argument("--ring", choices=("split", "packed"), default="split")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--quick", action="store_true", help="2 and 64 ports, 2 seconds each")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.quick:
        args.ports, args.seconds = "2,64", 2
    table = Table(COLUMNS, args.json)

    def work():
        lab.need_programs("valgrind", "callgrind_control")
        need("pump")
        for ports in map(int, args.ports.split(",")):
            row = measure(args, ports)
            first = table.rows[0] if table.rows else row
            table.add(row | {"more": row["instructions"] / first["instructions"] - 1})

    return lab.ends(table, work)


if __name__ == "__main__":
    sys.exit(main())
