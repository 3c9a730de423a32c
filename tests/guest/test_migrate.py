#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# tier: check
# timeout: 400
"""A guest moves to a second QEMU on a third port of the same switch and back, twice, while it is
pinged and a TCP connection runs: no connection may be lost; the lost ping run is reported.

QEMU 7.2 under TCG misses pages that its own processors wrote, with and without a vhost device, and
the guest dies of it. There the two QEMUs share the guest's memory, so that only the devices move.
The newer QEMU of the backports copies the memory and so depends on the switch's dirty log."""

import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import (Failure, Guest, Port, at_end, backports_qemu, boot, have_kvm, iperf_mbit,
                     iperf_server, main, make_switch, path_of, ping, tmpdir, transfer, wait_for)

A, B = "10.9.0.1", "10.9.0.2"


class Travel:
    """The guest that moves, wherever it is."""

    def __init__(self, here, away, qemu=None, ram=None):
        self.ports = (here, away)   # sockets
        self.more = {"qemu": qemu, "ram": ram}
        self.at = 0
        self.moves = 0
        self.guest = Guest("a", [Port(here)], ip=A + "/24", **self.more)

    def move(self):
        """To the other port; returns QEMU's figures."""
        self.moves += 1
        self.at ^= 1
        path = path_of("move%d" % self.moves)
        there = Guest("a", [Port(self.ports[self.at])], ip=A + "/24", label="a%d" % self.moves,
                      incoming="unix:" + path, **self.more)
        there.qmp.cmd("query-status")  # it waits by now
        info = self.guest.migrate_to(there, path)
        self.guest.stop()
        self.guest = there
        return info


def lost_run(text):
    """The longest time without a reply, and how many were lost, of a ping with time stamps."""
    stamps, numbers = [], []
    for line in text.splitlines():
        if " seq=" in line:
            stamps.append(float(line.split(" ", 1)[0]))
            numbers.append(int(line.split(" seq=")[1].split(" ")[0]))
    if len(stamps) < 50:
        raise Failure("only %d pings were answered: %s" % (len(stamps), text[-300:]))
    gaps = [b - a for a, b in zip(stamps, stamps[1:])]
    return max(gaps), numbers[-1] + 1 - len(set(numbers)), len(numbers)


def there_and_back(travel, b, seconds):
    """One round trip under traffic. False if the traffic ended before the trip did."""
    a = travel.guest
    # the connection is the moving guest's own, and most of its frames come out of it
    a.background("iperf3 -c %s -t %d" % (B, seconds), "tcp")
    b.background("ping -i 0.02 -w %d %s | ts '%%.s'" % (seconds, A), "ping")
    wait_for("the traffic", lambda: a.try_run("netstat -tn | grep -q ':5201.*ESTAB'")[0] == 0, 30, 0.1)
    said = []
    for _ in range(2):
        start = time.monotonic()
        info = travel.move()
        said.append("%.1f s, guest stopped for %s ms" %
                    (time.monotonic() - start, info.get("downtime")))
    overlapped = not travel.guest.finished("tcp")
    status, text = travel.guest.output("tcp", seconds + 60)
    if status:
        raise Failure("iperf3 did not end well: %s\nits server: %s" %
                      (text[-600:], b.run("tail -n 6 /tmp/iperf3.log")))
    _, pings = b.output("ping", seconds + 60)
    gap, lost, count = lost_run(pings)
    ping(travel.guest, B)
    return overlapped, ("%s; longest time without a ping reply %.0f ms, %d of %d lost; "
                        "TCP %.0f Mbit/s" %
                        ("; ".join(said), gap * 1000, lost, count + lost, iperf_mbit(text)))


def round_trip(travel, b):
    # memory that both share is not copied: such a move takes less than a second
    for seconds in ((6,) if travel.more["ram"] else ()) + (12, 30, 90):
        overlapped, said = there_and_back(travel, b, seconds)
        if overlapped:
            return said
    raise Failure("the traffic always ended before the migration: %s" % said)


def moving(tap, what, qemu, ram):
    """A pair of guests of one QEMU, from boot to end."""
    paths = [path_of("%s-%s.sock" % (what, n)) for n in "abc"]
    switch = make_switch(["%s=vhost-user:%s" % (n, p) for n, p in zip("abc", paths)],
                         name="switch-" + what)
    travel = Travel(paths[0], paths[2], qemu, ram)
    b = Guest("b", [Port(paths[1])], ip=B + "/24", qemu=qemu)
    boot(travel.guest, b)
    iperf_server(b)
    ping(b, A)
    tap.case("%s_migrates_and_returns_without_losing_a_connection" % what, round_trip, travel, b)
    tap.case("%s_migrates_and_returns_a_second_time" % what, round_trip, travel, b)
    tap.case("%s_still_sends_a_file_whole" % what, transfer, travel.guest, b, B, 4)
    switch.process.check_alive()
    tap.diag(switch.counters_text())
    for each in (travel.guest, b):
        each.process.check_alive()
        each.stop()
    switch.stop()


def shared_memory():
    """A file for the guest's memory; nothing but tmpfs will do for a backend."""
    folder = "/dev/shm" if os.path.isdir("/dev/shm") else tmpdir()
    path = os.path.join(folder, "vhu-test-%d.ram" % os.getpid())
    at_end(lambda: os.path.exists(path) and os.unlink(path))
    return path


def test(tap):
    tap.case("bench_of_the_installed_qemu", moving, tap, "guest", None,
             None if have_kvm() else shared_memory())

    def newer():
        qemu = backports_qemu()
        tap.diag(subprocess.run(qemu + ["--version"], stdout=subprocess.PIPE,
                                text=True).stdout.splitlines()[0])
        moving(tap, "guest_with_copied_memory", qemu, None)
    tap.case("bench_of_the_newer_qemu", newer)


if __name__ == "__main__":
    main(test)
