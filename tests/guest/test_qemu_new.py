#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# tier: check
# timeout: 300
"""The same pair of guests with the newer QEMU of this Debian's backports and MSI-X vectors, whose
masking and unmasking reaches the switch as other messages than with the installed QEMU."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import (Failure, Guest, Port, backports_qemu, boot, iperf, iperf_server, main,
                     make_switch, path_of, ping, transfer, wait_for)

A, B = "10.9.0.1", "10.9.0.2"


def msix_is_used(a):
    said = a.run("cat /proc/interrupts")
    if "virtio0-input.0" not in said and "virtio1-input.0" not in said:
        raise Failure("no MSI-X vector for a queue:\n%s" % said)


def reboot(a):
    a.send("reboot -f")
    a.ready()
    wait_for("a ping", lambda: a.try_run("ping -q -c 1 -W 1 %s" % B, 20)[0] == 0, 30, 0.05)
    return "%.0f Mbit/s after" % iperf(a, B, 1)


def link_down_and_up(a):
    """Takes the device through a reset of its link, which masks and unmasks nothing by itself."""
    a.run("for i in 1 2 3; do ip link set eth0 down; ip link set eth0 up; done")
    wait_for("a ping", lambda: a.try_run("ping -q -c 1 -W 1 %s" % B, 20)[0] == 0, 30, 0.05)


def test(tap):
    qemu = backports_qemu()
    tap.diag(subprocess.run(qemu + ["--version"], stdout=subprocess.PIPE,
                            text=True).stdout.splitlines()[0])
    pa, pb = path_of("a.sock"), path_of("b.sock")
    switch = make_switch(["a=vhost-user:" + pa, "b=vhost-user:" + pb])
    a = Guest("a", [Port(pa, vectors=4)], ip=A + "/24", qemu=qemu)
    b = Guest("b", [Port(pb, vectors=4)], ip=B + "/24", qemu=qemu)
    boot(a, b)
    iperf_server(b)
    tap.case("queues_have_msix_vectors", msix_is_used, a)
    for size in (64, 1500, 8000):
        tap.case("msix_guests_ping_%d_bytes" % size, lambda size=size: ping(a, B, size))
    tap.case("msix_tcp_both_ways", lambda: "%.0f and %.0f Mbit/s" %
             (iperf(a, B), iperf(a, B, reverse=True)))
    tap.case("msix_file_keeps_its_sha256", transfer, a, b, B)
    tap.case("msix_device_down_and_up", link_down_and_up, a)
    tap.case("msix_guest_rebooted", reboot, a)
    switch.process.check_alive()
    for guest in (a, b):
        guest.process.check_alive()
    tap.diag(switch.counters_text())


if __name__ == "__main__":
    main(test)
