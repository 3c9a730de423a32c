#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# tier: check
# timeout: 240
"""Backends that are killed with -9 in the midst of verified traffic, and frontends too: all that was
under way comes back, none of it more often than a burst can be repeated, and every descriptor with it.
How long that took is told and no verdict. It must not know how descriptors are kept account of."""

import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from backends import NetVhost
from harness import VHU, Failure, Process, main, path_of, wait_for
from measure import Bench

KILLS = 20
BURST = 32  # frames that a backend of ours takes at once
QUIET = 0.01  # seconds of its own time that a backend needs at most to begin


def ran(process):
    """Seconds of processor time; finer than /proc/PID/stat has it."""
    process.check_alive()
    with open("/proc/%d/schedstat" % process.pid) as stat:
        return int(stat.read().split()[0]) / 1e9


def works(process, more):
    """Waits until it has worked for so long that frames have passed."""
    start = ran(process)
    wait_for("%s to work" % process.name, lambda: ran(process) - start > more, every=0.001)


class Echo:
    """Our backend, which gives frames back; another takes the place of one that was killed."""

    def __init__(self, path, *args):
        self.argv = [VHU, "bench", "echo", "--frontend", path, "--quiet"] + [str(a) for a in args]
        self.path = path
        self.start()

    def start(self):
        self.process = Process("echo", self.argv)

    def again(self):
        self.process.kill9()
        self.start()

    def stop(self):
        self.process.stop()


def told(said, kills):
    side, verify = said["sides"][0], said["verify"]
    return "%s: %d frames, %d killings, %d lost at death, %d duplicates; back after (ms) median %.1f, " \
        "p99 %.1f, most %.1f; out for median %.1f, p99 %.1f" % (
            side["ring"], verify["unique"], kills, verify["lost_at_death"], verify["duplicates"],
            side["recovery_ms"]["p50"], side["recovery_ms"]["p99"], side["recovery_ms"]["max"],
            side["outage_ms"]["p50"], side["outage_ms"]["p99"])


def whole(said, status, kills, queues, with_record):
    """What has to hold after so many deaths."""
    side, verify = said["sides"][0], said["verify"]
    # a backend that keeps no record takes along what it holds; nothing else may be missing
    wrong = {name: verify[name] for name in ("lost", "corrupt", "foreign", "without_pattern") +
             (("lost_at_death",) if with_record else ()) if verify[name]}
    if side["chains_lost"]:
        wrong["chains_lost"] = side["chains_lost"]
    if side["recoveries"] != kills:
        wrong["recoveries"] = side["recoveries"]
    if verify["duplicates"] > kills * BURST * queues:
        wrong["duplicates"] = verify["duplicates"]
    if status or not said["ok"] or wrong:
        raise Failure("status %s, %s; %s\n%s" % (status, wrong, said["reasons"], told(said, kills)))
    return told(said, kills)


def killed(ring, kills, *args, queues=1, with_record=True):
    """args go to both halves."""
    path = path_of("killed-" + ring)
    both = ["--ring", ring, "--queues", queues] + list(args) + (["--in-flight"] if with_record else [])
    chance = random.Random(kills)
    echo = Echo(path, *both)
    run = None
    try:
        wait_for("the socket", lambda: os.path.exists(path))
        run = Bench("loop", "--backend", path, "--verify", "--size", "imix", *both)
        for _ in range(kills):
            works(echo.process, QUIET + chance.random() * 0.02)
            echo.again()
        works(echo.process, 0.05)
        said = run.end()
    finally:
        if run:
            run.stop()
        echo.stop()
    return whole(said, run.status, kills, queues, with_record)


def dpdk_killed(kills):
    path = path_of("dpdk")
    backend = NetVhost([path], name="be-killed")
    run = Bench("loop", "--backend", path, "--verify")
    try:
        for kill in range(kills + 1):
            # testpmd polls: it is the frontend's time that tells of frames
            works(run.process, 0.1)
            if kill < kills:
                backend.kill9()
                backend.start()
        said = run.end()
    finally:
        run.stop()
        backend.stop()
    return whole(said, run.status, kills, 1, False)


def frontend_killed(ring, kills):
    """The backend goes on, and keeps nothing of those who are gone."""
    path = path_of("stays-" + ring)
    echo = Echo(path, "--ring", ring, "--in-flight")

    def fds():
        return len(os.listdir("/proc/%d/fd" % echo.process.pid))

    def settled(last=[0]):
        before, last[0] = last[0], fds()
        return last[0] == before and before

    def frontend(*args):
        return Bench("loop", "--backend", path, "--verify", "--ring", ring, "--in-flight", *args)
    try:
        wait_for("the socket", lambda: os.path.exists(path))
        frontend("--frames", 1000).wait()
        idle = wait_for("fds that stand still", settled, every=0.1)
        for _ in range(kills):
            run = frontend()
            works(run.process, 0.03)
            run.process.kill9()
            run.stop()
            wait_for("no more than %d fds" % idle, lambda: fds() <= idle)
        run = frontend("--frames", 10000)
        said = run.wait()
    finally:
        echo.stop()
    if run.status or not said["ok"] or said["verify"]["unique"] != 10000:
        raise Failure("the last frontend: %s" % said)
    return "%d fds after each" % idle


def test(tap, kills=KILLS):
    for ring in ("split", "packed"):
        tap.case("%s_%d_killings" % (ring, kills), killed, ring, kills)
        tap.case("%s_two_queues_not_mergeable" % ring, lambda r=ring: killed(
            r, kills // 4, "--no-mrg", queues=2))
        tap.case("%s_without_an_inflight_region" % ring, lambda r=ring: killed(
            r, kills // 4, with_record=False))
        tap.case("%s_frontend_killed" % ring, frontend_killed, ring, kills // 4)
    tap.case("dpdk_killed", dpdk_killed, max(2, kills // 50))


if __name__ == "__main__":
    main(test)
