#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One port, poll mode, a core for each side: our backend and DPDK's under the same DPDK frontend, in turns.

usage: bench/one-port.py [--rows WORD,...] [--quick] [--rounds N] [--seconds S] [--backend COMMAND] [--json]

  sink    the frontend sends as fast as it can (txonly), the backend takes (testpmd: rxonly)
  source  the backend sends (testpmd: txonly), the frontend takes (rxonly)
  echo    128 frames go round: the backend gives back what comes, and so does the frontend (testpmd: io)

In each round every contestant has one slice of time, in the order vhu, DPDK, null, ceiling and then back again;
all others are stopped meanwhile. Ratios are those of one round; their median is printed, with first and third
quartile. null: a second DPDK, that is what the ratio says where there is no difference. ceiling: a backend that
touches no data at all. near, far: the ratio in rounds in which the cores were that far apart.
"""

import argparse
import itertools
import shlex
import sys

import lab
from lab import Backend, Cores, DpdkBackend, Frontend, Pair, path_of
from report import Table, median

RINGS = ("split", "packed")
MODES = ("sink", "source", "echo")
SIZES = (64, 1518)
# The mode of the backend, as testpmd calls it.
ENGINES = {"sink": "rxonly", "source": "txonly", "echo": "io"}
RING_SIZE = 256
# Ring options of the frontend, as DPDK's driver has them by itself.
OPTIONS = ",mrg_rxbuf=1,in_order=1"

COLUMNS = [("ring", "ring", -6, ""), ("mode", "mode", -6, ""), ("size", "size", 4, ""),
           ("vhu", "vhu", 5, ".2f"), ("DPDK", "dpdk", 5, ".2f"), ("ratio", "ratio", 5, ".2f"),
           ("", "ratio_spread", 9, ""), ("null", "null", 5, ".2f"), ("", "null_spread", 9, ""),
           ("ceil.", "ceiling", 5, ".2f"), ("near", "near", 4, ".2f"), ("far", "far", 4, ".2f")]


class Row:
    """All contestants of a row of the table, up and stopped."""

    number = 0

    def __init__(self, cpus, ring, mode, size, ours):
        Row.number += 1
        self.cpus, self.ring, self.mode, self.size, self.ours = cpus, ring, mode, size, ours
        self.pairs = {}
        for name in ("vhu", "dpdk", "null", "ceiling"):
            self.pairs[name] = self.pair(name)

    def backend(self, name, path):
        cpu = self.cpus[1]
        if name in ("dpdk", "null"):
            return DpdkBackend(cpu, [path], ENGINES[self.mode], self.size)
        if name == "ceiling":
            return Backend(cpu, [lab.need("ceiling"), self.mode, path, str(self.size)], [path])
        command = self.ours.format(sock=path, mode=self.mode, size=self.size)
        return Backend(cpu, shlex.split(command), [path])

    def pair(self, name):
        path = path_of(f"{Row.number}-{name}")
        backend = self.backend(name, path)
        frontend = Frontend(self.cpus[0], [path], self.ring, RING_SIZE, OPTIONS)
        if self.mode == "sink":
            frontend.begin("txonly", self.size)
        elif self.mode == "source":
            frontend.begin("rxonly")
        else:
            frontend.begin("io", self.size, f"start tx_first {RING_SIZE // 64}")
        backend.frontend_is_there()
        sends = self.mode == "sink"
        pair = Pair(name, frontend, backend, lambda rates: rates[0][1 if sends else 0])
        pair.pause()
        return pair

    def stop(self):
        for pair in self.pairs.values():
            pair.stop()
        self.pairs = {}


def measure(args, cpus, cores, ring, mode, size):
    row = Row(cpus, ring, mode, size, args.backend)
    try:
        figures, places = lab.interleave(row.pairs, args.rounds, args.seconds, cores, args.note)
    finally:
        row.stop()
    ratio, ratio_spread = lab.spread(lab.ratios(figures, "vhu", "dpdk"))
    null, null_spread = lab.spread(lab.ratios(figures, "null", "dpdk"))
    result = {"ring": ring, "mode": mode, "size": size, "vhu": median(figures["vhu"]),
              "dpdk": median(figures["dpdk"]), "ratio": ratio, "ratio_spread": ratio_spread, "null": null,
              "null_spread": null_spread, "ceiling": median(lab.ratios(figures, "ceiling", "dpdk")),
              "rounds": len(places)}
    for place in ("near", "far"):
        result[place] = median(lab.ratios(figures, "vhu", "dpdk", places, place))
        result[f"rounds_{place}"] = places.count(place)
    if args.json:
        result |= {"slices": figures, "places": places}
    return result


def parse():
    parser = argparse.ArgumentParser(description="one port: our backend and DPDK's in turns")
    parser.add_argument("--rows", default="", help="only rows that have all of these words: split,sink,64 say")
    parser.add_argument("--quick", action="store_true", help="about a minute: 64 bytes, few rounds")
    parser.add_argument("--rounds", type=int, help="slices of each contestant (24)")
    parser.add_argument("--seconds", type=float, default=0.1, help="length of a slice (0.1)")
    parser.add_argument("--backend", help="another command as our backend, with {sock} {mode} {size}; one process")
    parser.add_argument("--json", action="store_true", help="with every slice")
    parser.add_argument("--verbose", action="store_true", help="a line on standard error for each round")
    args = parser.parse_args()
    args.rounds = args.rounds or (4 if args.quick else 24)
    args.backend = args.backend or shlex.quote(lab.need("backend")) + " {mode} {sock} --size {size}"
    args.note = (lambda text: print(text, file=sys.stderr)) if args.verbose else (lambda text: None)
    return args


def main():
    args = parse()
    table = Table(COLUMNS, args.json)
    words = set(filter(None, args.rows.split(",")))

    def work():
        cpus = lab.two_cores()
        cores = Cores(cpus)
        for ring, mode, size in itertools.product(RINGS, MODES, SIZES):
            if words <= {ring, mode, str(size)} and (size == 64 or not args.quick):
                table.add(measure(args, cpus, cores, ring, mode, size))

    return lab.ends(table, work)


if __name__ == "__main__":
    sys.exit(main())
