#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# tier: check
# timeout: 300
"""`vhu bench` against itself, as two processes and through `vhu switch`: a million verified frames
over every set of ring features, sizes of rings and frames, offloads and queue pairs; none lost,
changed, doubled or out of order. It must not know how frames are carried."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from measure import MILLION, Bench, bench, perfect, ring_is
from cover import pairwise
from harness import Failure, Switch, main, path_of, wait_for

QUEUES_MAX = 128
LIMIT_S = 20  # for a combination, which takes a fraction of a second
WRONG_MAX = 5
# What a set of features leaves out or asks for, one bit each
SETS = range(32)
PACKED, NO_INDIRECT, NO_EVENT_IDX, IN_ORDER, NO_MRG = 1, 2, 4, 8, 16
WORDS = {NO_INDIRECT: "--no-indirect", NO_EVENT_IDX: "--no-event-idx", IN_ORDER: "--in-order",
         NO_MRG: "--no-mrg"}
# Options of each kind of traffic; the part of a row's frames that it carries, receive buffers a frame
TRAFFIC = {"64": (["--size", "64"], 1, 1),
           "1518": (["--size", "1518"], 1, 1),
           "imix": (["--size", "imix"], 1, 1),
           "csum": (["--tso", "--size", "1000"], 1, 1),
           "tso_9000": (["--tso", "--size", "9000"], 1 / 4, 5),
           "tso": (["--tso"], 1 / 20, 33)}
# Entries of a ring, split and packed
RINGS = {"small": (64, 50), "usual": (256, 200), "large": (1024, 1000), "largest": (32768, 32767)}
FACTORS = {"set": SETS, "traffic": tuple(TRAFFIC), "ring": tuple(RINGS), "queues": (1, 2),
           "pieces": (1, 3), "csum": (True, False), "poll": (False, True)}
SEGMENTS = {"tso_9000": 7, "tso": 46}
# Two guests of the switch that agree on different things
BITS = (PACKED, NO_INDIRECT, NO_EVENT_IDX, IN_ORDER, NO_MRG)
UNEQUAL = {**{(side, bit): (0, bit) for side in ("set", "other") for bit in BITS},
           "traffic": tuple(TRAFFIC), "csum": (True, False), "ring": tuple(RINGS)}


class Row:
    """A combination, in words for either process."""

    def __init__(self, row):
        self.row = row
        self.set = row["set"]
        self.ring = "packed" if self.set & PACKED else "split"
        self.traffic, self.part, self.buffers = TRAFFIC[row["traffic"]]
        self.tso = "--tso" in self.traffic
        self.entries = RINGS[row["ring"]][self.set & PACKED]
        if self.set & NO_MRG and self.tso:
            self.entries = min(self.entries, 1024)  # of 64 KiB each
        self.queues = row.get("queues", 1)

    def __str__(self):
        return ", ".join("%s %s" % pair for pair in self.row.items())

    def features(self):
        """For the device's process and the driver's."""
        words = ["--ring", self.ring, "--queues", self.queues]
        words += [word for bit, word in WORDS.items() if self.set & bit]
        if not self.row["csum"] and not self.tso:
            words.append("--no-offloads")
        if self.row.get("poll"):
            words.append("--poll")
        return words

    def driver(self):
        return ["--ring-size", self.entries, "--pieces", self.row.get("pieces", 1)]

    def frames(self, frames):
        return max(1, int(frames * self.part * (0.25 if self.row.get("poll") else 1)))

    def window(self):
        """As many frames as the receive ring has buffers for, at the most half of them: so none
        finds it full."""
        buffers = 1 if self.set & NO_MRG else self.buffers
        return max(1, min(128, self.entries // buffers // 2))

    def echo_size(self):
        """What the process that makes no frames has to be told of them."""
        return ["--tso"] if self.tso else []


class Sum:
    """Counts what was carried, and collects what went wrong."""

    def __init__(self):
        self.frames = 0
        self.nr_wrong = 0

    def judge(self, row, frames, said, status):
        ring_is(said, row.ring)
        perfect(said, status, frames * len(said["sides"]))
        for side in said["sides"]:
            got = side["received"]["frames"]
            if got + said["verify"]["lost_before_open"] < frames:
                raise Failure("%d frames of %d came" % (got, frames))
        self.frames += frames * len(said["sides"])

    def rows(self, rows, carry):
        """Every row is tried until a few have failed: what loses frames takes its time."""
        wrong = []
        before = self.frames
        for row in rows:
            if self.nr_wrong >= WRONG_MAX:
                raise Failure("; ".join(wrong + ["not all were tried"]))
            try:
                carry(row)
            except Failure as reason:
                self.nr_wrong += 1
                wrong.append("%s: %s" % (row, reason))
        if wrong:
            raise Failure("; ".join(wrong))
        return "%d combinations, %d frames" % (len(rows), self.frames - before)


class Echoes:
    """Devices that send back what comes, one for each of what a driver has to agree to."""

    def __init__(self, queues):
        self.queues = queues
        self.running = {}

    def path(self, row):
        key = (bool(row.set & IN_ORDER), row.tso, bool(row.row.get("poll")))
        if key not in self.running:
            path = path_of("echo-%d-%d%d%d" % (self.queues, *key))
            words = ["--frontend", path, "--queues", self.queues]
            words += [word for word, wanted in zip(("--in-order", "--tso", "--poll"), key) if wanted]
            self.running[key] = (Bench("echo", *words, "--wait", 600).listens(path), path)
        return self.running[key][1]

    def rest(self, row):
        """One that polls does so for ever: not while others are measured."""
        key = next((key for key in self.running if key[2]), None)
        if row.row.get("poll") and key:
            self.running.pop(key)[0].stop()

    def stop(self):
        for echo, _ in self.running.values():
            echo.stop()
        self.running.clear()


def carry_as_driver(total, echoes, frames):
    def carry(row):
        try:
            count = row.frames(frames)
            said, status = bench("loop", "--backend", echoes.path(row), "--verify", "--frames", count,
                                 *row.features(), *row.driver(), *row.traffic, timeout=LIMIT_S)
            total.judge(row, count, said, status)
        finally:
            echoes.rest(row)
    return carry


def carry_as_device(total, frames):
    def carry(row):
        count = row.frames(frames)
        path = path_of("loop")
        loop = Bench("loop", "--frontend", path, "--verify", "--frames", count, *row.features(),
                     *row.traffic).listens(path)
        echo = Bench("echo", "--backend", path, *row.features(), *row.driver(), *row.echo_size())
        try:
            total.judge(row, count, loop.wait(LIMIT_S), loop.status)
        finally:
            echo.stop()
            loop.stop()
    return carry


def through(total, paths, frames):
    """Both ways between two ports of the switch."""
    def carry(row):
        count = row.frames(frames)
        said, status = bench("loop", "--backend", paths[0], "--backend", paths[1], "--verify", "--frames",
                             count, "--window", row.window(), *row.features(), *row.driver(), *row.traffic,
                             timeout=LIMIT_S)
        total.judge(row, count, said, status)
    return carry


def unequal_row(row):
    sides = {side: sum(row[side, bit] for bit in BITS) for side in ("set", "other")}
    return Row({**sides, **{name: row[name] for name in ("traffic", "csum", "ring")}})


def through_and_back(total, paths, frames):
    """There and back between ports that have not agreed on the same: the switch makes frames fit."""
    def carry(row):
        count = row.frames(frames)
        other = Row(dict(row.row, set=row.row["other"], traffic="64"))
        segments = SEGMENTS.get(row.row["traffic"], 1)
        echo = Bench("echo", "--backend", paths[1], "--swap", *other.features(), "--ring-size",
                     RINGS["largest"][other.set & PACKED])
        try:
            wait_for("the echo", lambda: echo.alive() and echo.said("connecting"))
            said, status = bench("loop", "--backend", paths[0], "--verify", "--frames", count, "--window",
                                 max(1, min(64, row.entries // segments // 2)), *row.features(), *row.driver(), *row.traffic,
                                 timeout=LIMIT_S)
            ring_is(said, row.ring)
            perfect(said, status, count)
            total.frames += count
        finally:
            echo.stop()
    return carry


def by_traffic(rows):
    return [(name, [row for row in rows if row.row["traffic"] == name]) for name in TRAFFIC]


def all_queues(total, switch, paths, frames):
    """Every one of as many queue pairs as there can be."""
    def carry(row):
        before = switch.show("counters")["ports"][0]["queues"]
        through(total, paths, frames)(row)
        after = switch.show("counters")["ports"][0]["queues"]
        for way in ("rx_frames", "tx_frames"):
            idle = [i for i, (now, then) in enumerate(zip(after, before)) if now[way] == then[way]]
            if len(after) != QUEUES_MAX or idle:
                raise Failure("%d queues, idle: %s" % (len(after), idle))
    return carry


def matrix(tap, rows, unequal, frames, wide_frames):
    """Returns how many frames were verified."""
    total = Sum()
    echoes = Echoes(2)
    rows = [Row(row) for row in rows]
    for name, some in by_traffic(rows):
        tap.case("driver_of_every_kind_%s" % name, total.rows, some, carry_as_driver(total, echoes, frames))
    echoes.stop()
    for name, some in by_traffic(rows):
        tap.case("device_of_every_kind_%s" % name, total.rows, some, carry_as_device(total, frames))

    paths = [path_of("a"), path_of("b")]
    switch = Switch(["%s=vhost-user:%s,queues=%d" % (name, path, QUEUES_MAX)
                     for name, path in zip("ab", paths)])
    for name, some in by_traffic([row for row in rows if not row.row["poll"]]):
        tap.case("through_the_switch_%s" % name, total.rows, some, through(total, paths, frames))
    for name, some in by_traffic([unequal_row(row) for row in unequal]):
        tap.case("unequal_ports_of_the_switch_%s" % name, total.rows, some,
                 through_and_back(total, paths, frames))

    wide = [Row(dict(set=layout | order, traffic=traffic, ring="usual", queues=QUEUES_MAX, csum=True))
            for layout in (0, PACKED) for order, traffic in ((0, "imix"), (IN_ORDER, "64"), (0, "tso_9000"))]
    echoes = Echoes(QUEUES_MAX)
    tap.case("%d_queue_pairs_as_driver" % QUEUES_MAX, total.rows, wide,
             carry_as_driver(total, echoes, wide_frames))
    echoes.stop()
    tap.case("%d_queue_pairs_as_device" % QUEUES_MAX, total.rows, wide[:2], carry_as_device(total, wide_frames))
    tap.case("%d_queue_pairs_through_the_switch" % QUEUES_MAX, total.rows, wide,
             all_queues(total, switch, paths, wide_frames))
    switch.stop()
    return total.frames


def enough(frames, wanted):
    if frames < wanted:
        raise Failure("%d frames of %d" % (frames, wanted))
    return "%d frames" % frames


def test(tap):
    frames = matrix(tap, pairwise(FACTORS), pairwise(UNEQUAL), 4000, 10000)
    tap.case("a_million_frames_were_verified", enough, frames, MILLION)


if __name__ == "__main__":
    main(test)
