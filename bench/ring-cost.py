#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a frame costs the device's side of a ring: libvhu beside DPDK's librte_vhost, under the same driver.

usage: bench/ring-cost.py [--rows WORD,...] [--all | --quick] [--cache] [--no-clock] [--json]
Instructions are counted with callgrind within the device's calls alone, nanoseconds taken around them, on one
core, with a hot ring. What else runs on the machine changes nothing about the former and little about the latter.

  take     pull a burst and give its buffers back; DPDK: dequeue (which allocates mbufs), and free them
  give     push a burst and publish it;            DPDK: enqueue, and free the mbufs
  forward  from one device's ring into another's;  DPDK: dequeue, enqueue, free
"bare" is the ratio to DPDK's calls without the freeing of mbufs.
"""

import argparse
import itertools
import json
import re
import shutil
import subprocess
import sys
import tempfile

from report import Table, median, need, program

DEEDS = ("take", "give", "forward")
RINGS = ("split", "packed")
SIZES = ("64", "1518", "tso")
SHORT = {"mergeable": "mrg", "in-order": "ino", "indirect": "ind", "event-index": "evt"}
TIMED = ("device_take", "device_give", "device_forward")
CACHE = {"D1mr": "d1_read", "D1mw": "d1_write", "DLmr": "ll_read", "DLmw": "ll_write"}


def rows_default():
    """Layouts, sizes and deeds with the features that DPDK's driver has by itself; then what each of them does."""
    base = ("mergeable", "in-order")
    for ring, size, deed in itertools.product(RINGS, SIZES, DEEDS):
        yield ring, base, size, deed, None
    for ring in RINGS:
        for features, pieces in (((), None), (("mergeable",), None), (("in-order",), None),
                                 (base + ("event-index",), None), (base, 2), (base + ("indirect",), 2)):
            yield ring, features, "64", "forward", pieces


def rows_all():
    for ring, size, deed in itertools.product(RINGS, SIZES, DEEDS):
        for bits in itertools.product((True, False), repeat=len(SHORT)):
            features = tuple(name for name, on in zip(SHORT, bits) if on)
            yield ring, features, size, deed, 2 if size != "tso" else None


def rows_quick():
    for ring, deed in itertools.product(RINGS, DEEDS):
        yield ring, ("mergeable", "in-order"), "64", deed, None


def describe(row):
    ring, features, size, deed, pieces = row
    short = " ".join(SHORT[name] for name in features) + (f" {pieces}p" if pieces else "")
    return {"ring": ring, "features": short or "-", "size": size, "do": deed}


def command(path, row, bursts, *more):
    ring, features, size, deed, pieces = row
    names = (("packed",) if ring == "packed" else ()) + features
    line = [path, "--do", deed, "--bursts", str(bursts), "--features", ",".join(names), *more]
    line += ["--tso"] if size == "tso" else ["--size", size]
    return line + (["--pieces", str(pieces)] if pieces else [])


def run(line):
    done = subprocess.run(line, check=False, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        sys.exit(f"{' '.join(line)}\n{done.stderr}")
    return done


def count(line, cache):
    """Instructions a frame, and misses of the first and the last cache with cache."""
    with tempfile.TemporaryDirectory() as folder:
        grind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out",
                 *(f"--toggle-collect={name}" for name in TIMED)]
        done = run(grind + (["--cache-sim=yes"] if cache else []) + line)
    frames = json.loads(done.stdout)["collected"]
    names = re.search(r"Events\s*:\s*(.*)", done.stderr).group(1).split()
    counts = re.search(r"Collected\s*:\s*(.*)", done.stderr).group(1).split()
    # callgrind leaves zeros at the end of the line out
    found = {name: int(number) / frames for name, number in zip(names, counts)}
    misses = {key: found.get(name, 0) for name, key in CACHE.items()} if cache else {}
    return {"instructions": found["Ir"]} | misses


def clock(paths, row, rounds, bursts):
    """Nanoseconds a frame: the median of short runs, in turns."""
    found = {path: [] for path in paths}
    for turn in range(rounds):
        for path in paths if turn % 2 == 0 else paths[::-1]:
            found[path].append(json.loads(run(command(path, row, bursts)).stdout)["ns"])
    return [median(found[path]) for path in paths]


def ratio(ours, theirs):
    return ours / theirs if ours is not None and theirs else None


def measure(args, row, ours, theirs):
    bursts = 100 if row[2] == "tso" else 500
    result = describe(row)
    mine = count(command(ours, row, bursts), args.cache)
    result |= {f"vhu_{key}": value for key, value in mine.items()}
    if theirs:
        whole = count(command(theirs, row, bursts), args.cache)
        bare = count(command(theirs, row, bursts, "--no-free"), False)
        result |= {f"dpdk_{key}": value for key, value in whole.items()}
        result["ratio"] = ratio(mine["instructions"], whole["instructions"])
        result["bare"] = ratio(mine["instructions"], bare["instructions"])
    if args.clock:
        times = clock([ours] + ([theirs] if theirs else []), row, args.rounds, bursts * 10)
        result["vhu_ns"] = times[0]
        if theirs:
            result["dpdk_ns"] = times[1]
            result["ns_ratio"] = ratio(*times)
    if args.cache:
        for who in ("vhu", "dpdk") if theirs else ("vhu",):
            for level in ("d1", "ll"):
                result[f"{who}_{level}"] = result[f"{who}_{level}_read"] + result[f"{who}_{level}_write"]
    return result


def columns(args):
    found = [("ring", "ring", -6, ""), ("features", "features", -15, ""), ("size", "size", -4, ""),
             ("do", "do", -7, ""), ("instr.", "vhu_instructions", 6, ".0f"),
             ("DPDK", "dpdk_instructions", 5, ".0f"), ("ratio", "ratio", 5, ".2f")]
    if args.cache:
        return found + [("D1", "vhu_d1", 5, ".1f"), ("DPDK", "dpdk_d1", 5, ".1f"),
                        ("LL", "vhu_ll", 5, ".1f"), ("DPDK", "dpdk_ll", 5, ".1f")]
    return found + [("bare", "bare", 5, ".2f"), ("ns", "vhu_ns", 5, ".0f"), ("DPDK", "dpdk_ns", 5, ".0f"),
                    ("ratio", "ns_ratio", 5, ".2f")]


def main():
    parser = argparse.ArgumentParser(description="cost of a frame on the device's side of a ring")
    parser.add_argument("--rows", default="", help="only rows that have all of these words, split,64,take say")
    parser.add_argument("--all", action="store_true", help="every combination of features")
    parser.add_argument("--quick", action="store_true", help="64 bytes, one set of features")
    parser.add_argument("--cache", action="store_true", help="misses of the first and the last cache too (simulated)")
    parser.add_argument("--no-clock", dest="clock", action="store_false", help="count only")
    parser.add_argument("--no-dpdk", dest="dpdk", action="store_false", help="libvhu alone")
    parser.add_argument("--rounds", type=int, default=5, help="runs for the clock, of each side")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if not shutil.which("valgrind"):
        print("cannot measure here: no valgrind, whose callgrind counts instructions", file=sys.stderr)
        return 77
    ours = need("ring_cost")
    theirs = program("ring_cost_dpdk") if args.dpdk else None
    table = Table(columns(args), args.json)
    words = set(filter(None, args.rows.split(",")))
    rows = rows_all() if args.all else rows_quick() if args.quick else rows_default()
    for row in rows:
        about = describe(row)
        if words <= {about["ring"], about["size"], about["do"], *about["features"].split()}:
            table.add(measure(args, row, ours, theirs))
    table.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
