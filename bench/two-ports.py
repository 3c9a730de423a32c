#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Two ports of one switch, a core for the switch and one for both its guests: `vhu switch`, testpmd and OVS in turns.

usage: bench/two-ports.py [--rows WORD,...] [--quick] [--no-ovs] [--rounds N] [--seconds S] [--json]

64 and 1518 bytes: one DPDK frontend with two ports has 128 frames on their way in each direction, and sends each
that arrives back again (mac), with the addresses of its ports, which every switch learns; Mpps, both directions.
tso: a frontend of our own (bench/pump.c) sends frames of 64 KiB, as `vhu bench source --tso` does, from one port to
the other, 16 on their way; Gbit/s.

testpmd forwards what comes without looking at it (io); OVS does what a switch does (NORMAL), and so does vhu, in
poll mode. null: a second testpmd against the first. ceil.: a backend that touches no data, against the peer; copy: one
that copies it, and does nothing else. adapt: vhu in its adaptive mode, against poll. Each round has a slice for every
contestant, forth and back again, and all others are stopped meanwhile; see bench/one-port.py.
"""

import argparse
import itertools
import os
import re
import signal
import sys

import lab
from lab import Backend, Cores, DpdkBackend, Frontend, Pair, Pump, path_of
from report import ROOT, Table, median

sys.path.insert(0, str(ROOT / "tests" / "peer"))
# pylint: disable=wrong-import-position
from backends import OVS_CONNECTS, OVS_LISTENS, OVS_VSWITCHD, Ovs  # noqa: E402

RINGS = ("split", "packed")
SIZES = ("64", "1518", "tso")
RING_SIZE = 256
OPTIONS = ",mrg_rxbuf=1,in_order=1"
MACS = ("02:00:00:00:01:01", "02:00:00:00:01:02")
TSO_LEN = 65226  # of a frame of 64 KiB, see guest.c
TSO_KBITS = TSO_LEN * 8 / 1000  # in thousandths of bits, for figures in Gbit/s

COLUMNS = [("ring", "ring", -6, ""), ("size", "size", -4, ""), ("against", "against", -7, ""),
           ("vhu", "vhu", 6, ".2f"), ("ratio", "ratio", 5, ".2f"),
           ("", "ratio_spread", 9, ""), ("null", "null", 5, ".2f"), ("", "null_spread", 9, ""),
           ("ceil.", "ceiling", 5, ".2f"), ("copy", "copy", 4, ".2f"), ("far", "far", 4, ".2f"),
           ("adapt", "adaptive", 5, ".2f")]


class OvsBackend:
    """ovs-vswitchd with two ports, all its threads on the backend's core."""

    def __init__(self, cpu, tso):
        # segmentation offload it has only where it connects
        self.ovs = Ovs(["p0", "p1"], mode=OVS_CONNECTS if tso else OVS_LISTENS, tso=tso)
        self.sockets = [self.ovs.sockets[name] for name in ("p0", "p1")]
        self.pid = self.ovs.vswitchd.pid
        for thread in os.listdir(f"/proc/{self.pid}/task"):
            os.sched_setaffinity(int(thread), {cpu})

    def frontend_is_there(self):
        """It sets a port up anew, in a thread of its own, when the first frontend has come."""
        lab.wait_for("both ports of OVS to be polled", lambda: len(re.findall(
            r"port: p[01] .*?enabled\)", self.ovs.appctl("dpif-netdev/pmd-rxq-show"))) == 2, 30, 0.1)

    def stop(self):
        self.ovs.stop()


class Row:
    """All contestants of a row, up and stopped."""

    number = 0

    def __init__(self, cpus, ring, size, names):
        Row.number += 1
        self.cpus, self.ring, self.size = cpus, ring, size
        self.pairs = {}
        try:
            for name in names:
                self.pairs[name] = self.pair(name)
        except Exception:
            self.stop()
            raise

    def backend(self, name, sockets):
        """The backend, and where it listens."""
        cpu, tso = self.cpus[1], self.size == "tso"
        if name == "ovs":
            ovs = OvsBackend(cpu, tso)
            return ovs, ovs.sockets
        if name in ("testpmd", "null"):
            options = ",tso=1,legacy-ol-flags=1" if tso else ""
            return DpdkBackend(cpu, sockets, "io", options=options, mbufs=16384, megabytes=128), sockets
        if name in ("ceiling", "copy"):
            argv = [lab.need("ceiling"), "forward" if name == "ceiling" else "copy", *sockets]
            return Backend(cpu, [*argv, str(TSO_LEN) if tso else self.size], sockets), sockets
        mode = {"vhu": "poll", "adaptive": "adaptive"}[name] if lab.switch_modes() else None
        return lab.vhu_switch(cpu, sockets, mode), sockets

    def pair(self, name):
        backend, sockets = self.backend(name, [path_of(f"{Row.number}-{name}-{i}") for i in (0, 1)])
        if self.size == "tso":
            # OVS offers segmentation only where it connects
            pump = Pump(self.cpus[0], sockets, self.ring, listens=name == "ovs")
            lab.wait_for("frames through " + name, lambda: pump.ask()[0], 30, 0.1)
            pair = Pair(name, pump, backend, lambda rates: rates[1][0] * TSO_KBITS)
        else:
            args = [f"--eth-peer={i},{MACS[1 - i]}" for i in (0, 1)]
            frontend = Frontend(self.cpus[0], sockets, self.ring, RING_SIZE, OPTIONS, args)
            # a few first, by which the addresses are learnt
            frontend.begin("txonly", int(self.size))
            backend.frontend_is_there()
            frontend.end()
            frontend.begin("mac", int(self.size), f"start tx_first {RING_SIZE // 64}")
            pair = Pair(name, frontend, backend, lambda rates: sum(received for received, _ in rates))
        pair.pause()
        return pair

    def stop(self):
        for pair in self.pairs.values():
            pair.stop()
        self.pairs = {}


def contestants(args, size):
    """The peers stand on either side of ours, so that both are near it in time."""
    names = ["ovs"] if args.ovs else []
    names += ["vhu", "testpmd", "null", "ceiling"]
    # it copies from one buffer to one
    names += ["copy"] if size != "tso" else []
    return names + (["adaptive"] if lab.switch_modes() else [])


def measure(args, cpus, cores, ring, size):
    row = Row(cpus, ring, size, contestants(args, size))
    try:
        figures, places = lab.interleave(row.pairs, args.rounds, args.seconds, cores, args.note)
    finally:
        row.stop()
    null, null_spread = lab.spread(lab.ratios(figures, "null", "testpmd"))
    adaptive = median(lab.ratios(figures, "adaptive", "vhu")) if "adaptive" in figures else None
    for peer in ("testpmd", "ovs"):
        if peer not in figures:
            continue
        ratio, ratio_spread = lab.spread(lab.ratios(figures, "vhu", peer))
        ceiling, copying = (median(lab.ratios(figures, name, peer)) if name in figures else None
                            for name in ("ceiling", "copy"))
        result = {"ring": ring, "size": size, "against": peer, "vhu": median(figures["vhu"]),
                  "peer": median(figures[peer]), "ratio": ratio, "ratio_spread": ratio_spread, "null": null,
                  "null_spread": null_spread, "ceiling": ceiling, "copy": copying, "adaptive": adaptive,
                  "rounds": len(places), "unit": "Gbit/s" if size == "tso" else "Mpps"}
        for place in ("near", "far"):
            result[place] = median(lab.ratios(figures, "vhu", peer, places, place))
            result[f"rounds_{place}"] = places.count(place)
        yield result | ({"slices": figures, "places": places} if args.json else {})


def parse():
    parser = argparse.ArgumentParser(description="two ports: vhu switch, testpmd and OVS in turns")
    parser.add_argument("--rows", default="", help="only rows that have all of these words: packed,1518 say")
    parser.add_argument("--quick", action="store_true", help="about a minute: split rings, few rounds, no OVS")
    parser.add_argument("--no-ovs", dest="ovs", action="store_false")
    parser.add_argument("--rounds", type=int, help="slices of each contestant (24)")
    parser.add_argument("--seconds", type=float, default=0.1, help="length of a slice (0.1)")
    parser.add_argument("--json", action="store_true", help="with every slice")
    parser.add_argument("--verbose", action="store_true", help="a line on standard error for each round")
    args = parser.parse_args()
    args.rounds = args.rounds or (4 if args.quick else 24)
    args.ovs = args.ovs and not args.quick and os.path.exists(OVS_VSWITCHD)
    args.note = (lambda text: print(text, file=sys.stderr)) if args.verbose else (lambda text: None)
    return args


def main():
    args = parse()
    table = Table(COLUMNS, args.json)
    words = set(filter(None, args.rows.split(",")))

    def work():
        cpus = lab.two_cores()
        cores = Cores(cpus)
        for ring, size in itertools.product(RINGS, SIZES):
            if words <= {ring, size} and (ring == "split" or not args.quick):
                for result in measure(args, cpus, cores, ring, size):
                    table.add(result)
        if not lab.switch_modes():
            table.say("this vhu switch has no --mode: it was measured as it is")

    return lab.ends(table, work)


if __name__ == "__main__":
    sys.exit(main())
