#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a receiver that never empties its ring costs the others: instructions for each frame that one guest gets from
another, while beside them a second pair sends as much, and its receiver takes all of it, or nothing.

usage: bench/stuck-port.py [--mode MODE] [--seconds S] [--ring split|packed] [--quick] [--json]

"beside" is what the second pair does; "more" is against the row where its receiver takes all. All that the process does
is in the figure, the second pair's own share too. Counted by callgrind, as port-cost.py does.
"""

import argparse
import sys

import lab
from report import Table, need

COLUMNS = [("ring", "ring", 6, ""), ("beside", "beside", 8, ""), ("frames", "frames", 8, ""),
           ("instr. a frame", "instructions", 14, ".1f"), ("more", "more", 7, "+.1%")]
BESIDE = ("emptied", "stuck", None)


def measure(args, ring, beside):
    row = {"ring": ring, "beside": beside or "nothing"}
    return row | lab.instructions(args, f"{ring}-{beside}", 4, ring, beside)


def main():
    parser = argparse.ArgumentParser(description="what a receiver that never empties its ring costs the others")
    parser.add_argument("--mode", help="--mode of vhu switch; else its own")
    parser.add_argument("--ring", choices=("split", "packed"), help="only this one")
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--quick", action="store_true", help="2 seconds a row")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.quick:
        args.seconds = 2
    table = Table(COLUMNS, args.json)

    def work():
        lab.need_programs("valgrind", "callgrind_control")
        need("pump")
        for ring in [args.ring] if args.ring else ["split", "packed"]:
            first = None
            for beside in BESIDE:
                row = measure(args, ring, beside)
                first = first or row
                table.add(row | {"more": row["instructions"] / first["instructions"] - 1})

    return lab.ends(table, work)


if __name__ == "__main__":
    sys.exit(main())
