#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# tier: check
# timeout: 300
"""TCP throughput of two guests over `vhu switch` beside dpdk-testpmd with tso=1, in one run, in
turns; the ratio is reported and is no verdict. Each guest has a device on both."""

import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import (Failure, Guest, Port, Switch, TestpmdSwitch, boot, iperf, iperf_server, main,
                     path_of, ping)

TARGETS = {"vhu": "10.9.0.2", "dpdk": "10.9.1.2"}
SECONDS = 1
ROUNDS = 3


def middle(values):
    values = sorted(values)
    half = len(values) // 2
    return values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2


def measure(tap, switches, a):
    figures = {}
    for number in range(ROUNDS):
        order = ("vhu", "dpdk") if number % 2 == 0 else ("dpdk", "vhu")
        for name in order:
            # testpmd polls: the one that is not measured must not take a processor
            for other in switches:
                switches[other].process.signal(
                    signal.SIGCONT if other == name else signal.SIGSTOP)
            for way in ("forward", "reverse"):
                figures.setdefault((name, way), []).append(
                    iperf(a, TARGETS[name], SECONDS, reverse=way == "reverse"))
    for switch in switches.values():
        switch.process.signal(signal.SIGCONT)
    for way in ("forward", "reverse"):
        ours, theirs = figures["vhu", way], figures["dpdk", way]
        tap.diag("%s: vhu %s, testpmd tso=1 %s Mbit/s; ratio of the medians %.2f" %
                 (way, " ".join("%.0f" % v for v in ours), " ".join("%.0f" % v for v in theirs),
                  middle(ours) / middle(theirs)))


def idle_cost(switch, a):
    """An idle switch makes no wake-ups: no processor time while nobody sends."""
    a.run("true")
    before = switch.process.cpu_seconds()
    a.run("sleep 2")
    used = switch.process.cpu_seconds() - before
    if used > 0.2:
        raise Failure("%.2f s of processor time in 2 s" % used)
    return "%.2f s of processor time in 2 s" % used


def test(tap):
    paths = {n: path_of(n + ".sock") for n in ("va", "vb", "da", "db")}
    switches = {
        "vhu": Switch(["a=vhost-user:" + paths["va"], "b=vhost-user:" + paths["vb"]]),
        "dpdk": TestpmdSwitch(["a=vhost-user:" + paths["da"], "b=vhost-user:" + paths["db"]]),
    }
    a = Guest("a", [Port(paths["va"]), Port(paths["da"])], ip="10.9.0.1/24,10.9.1.1/24")
    b = Guest("b", [Port(paths["vb"]), Port(paths["db"])], ip="10.9.0.2/24,10.9.1.2/24")
    boot(a, b)
    iperf_server(b)
    for target in TARGETS.values():
        ping(a, target)
    tap.case("throughput_beside_testpmd_is_measured", measure, tap, switches, a)
    switches["dpdk"].process.signal(signal.SIGSTOP)
    tap.case("idle_switch_takes_no_time", idle_cost, switches["vhu"], a)
    switches["dpdk"].process.signal(signal.SIGCONT)


if __name__ == "__main__":
    main(test)
