#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""All measurements of bench/, or those that are named, one after the other; it must not know how any is made.

usage: bench/run.py [NAME...] [--quick] [--json FOLDER]
Names: ring-cost, one-port, two-ports, latency, port-cost, stuck-port. Without --quick the full tables, which take about
half an hour; with it some minutes. --json keeps each one's result as FOLDER/NAME.json, every slice in it.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAMES = ("ring-cost", "one-port", "two-ports", "latency", "port-cost", "stuck-port")
LACKING = 77


def run(name, args):
    command = [sys.executable, str(HERE / f"{name}.py")] + (["--quick"] if args.quick else [])
    print(f"$ bench/{name}.py{' --quick' if args.quick else ''}", flush=True)
    if not args.json:
        return subprocess.run(command, check=False).returncode
    path = Path(args.json) / f"{name}.json"
    with open(path, "w", encoding="utf-8") as out:
        status = subprocess.run(command + ["--json"], check=False, stdout=out).returncode
    print(path, flush=True)
    return status


def main():
    parser = argparse.ArgumentParser(description="all measurements of bench/")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--quick", action="store_true", help="few rows, few rounds")
    parser.add_argument("--json", metavar="FOLDER", help="keep the results there")
    args = parser.parse_args()
    unknown = set(args.names) - set(NAMES)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: none of {', '.join(NAMES)}")
    if args.json:
        os.makedirs(args.json, exist_ok=True)
    failed = []
    for name in args.names or NAMES:
        status = run(name, args)
        if status not in (0, LACKING):
            failed.append(name)
        print(flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
