#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# tier: check
# timeout: 600
"""Two guests on one switch, QEMU as client: traffic, offloads switched off and on with ethtool,
and everything that can happen to a device in its life."""

import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import (Failure, Guest, Port, boot, iperf, iperf_mbit, iperf_server, main, make_switch,
                     path_of, ping, transfer, wait_for)

A, B = "10.9.0.1", "10.9.0.2"
OFFLOADS = "tx rx tso gso gro"


def set_offloads(guest, state):
    # some are fixed to off where another one is off: what counts is the end
    guest.try_run("ethtool -K eth0 " + " ".join("%s %s" % (word, state) for word in OFFLOADS.split()))
    said = guest.run("ethtool -k eth0")
    for feature in ("tx-checksumming", "tcp-segmentation-offload"):
        if not re.search(r"^%s: %s" % (feature, state), said, re.M):
            raise Failure("%s of %s is not %s:\n%s" % (feature, guest.name, state, said))


def tx_packets(guest):
    return int(guest.run("cat /sys/class/net/eth0/statistics/tx_packets"))


def ping_jumbo(a, b):
    """8000 bytes as one frame: the sender must not have cut it up."""
    for guest in (a, b):
        guest.run("ip link set eth0 mtu 9000")
    try:
        a.run("ping -q -c 1 -W 10 %s" % B)  # the ARP exchange is not counted
        before = tx_packets(a)
        said = ping(a, B, 8000)
        sent = tx_packets(a) - before
        if sent > 3 + 2:
            raise Failure("3 pings of 8000 bytes took %d frames" % sent)
    finally:
        for guest in (a, b):
            guest.run("ip link set eth0 mtu 1500")
    return said


def offload_matrix(a, b):
    said = []
    # both on is what all others are; all combinations are in test_dataplane
    for on_a, on_b in (("off", "on"), ("off", "off")):
        set_offloads(a, on_a)
        set_offloads(b, on_b)
        there = iperf(a, B, 1)
        back = iperf(a, B, 1, reverse=True)
        said.append("%s/%s %.0f %.0f" % (on_a, on_b, there, back))
    set_offloads(a, "on")
    set_offloads(b, "on")
    transfer(a, b, B, 2)
    return "Mbit/s, offloads of a/b, there and back: " + ", ".join(said)


def link_down_and_up(a, b):
    a.qmp.cmd("set_link", name="n0", up=False)
    wait_for("no carrier", lambda: a.try_run("grep -q 0 /sys/class/net/eth0/carrier")[0] == 0, 20, 0.1)
    if a.try_run("ping -q -c 2 -i 0.2 -W 1 %s" % B, 30)[0] == 0:
        raise Failure("a ping was answered over a link that is down")
    a.qmp.cmd("set_link", name="n0", up=True)
    wait_for("carrier", lambda: a.try_run("grep -q 1 /sys/class/net/eth0/carrier")[0] == 0, 20, 0.1)
    alive_again(a)
    ping(a, B)
    return "%.0f Mbit/s after" % iperf(a, B, 1)


def alive_again(guest, target=B, timeout=30):
    wait_for("a ping of %s" % target,
             lambda: guest.try_run("ping -q -c 1 -W 1 %s" % target, 20)[0] == 0, timeout, 0.05)


def unbind_and_bind(a, _b):
    said = a.run("""
set -e
dev=$(basename $(readlink /sys/class/net/eth0/device))
cd /sys/bus/virtio/drivers/virtio_net
echo $dev >unbind
test ! -e /sys/class/net/eth0
echo $dev >bind
for i in $(seq 100); do test -e /sys/class/net/eth0 && break; usleep 50000; done
ip link set eth0 up
ip addr add %s/24 dev eth0
echo $dev""" % A)
    alive_again(a)
    ping(a, B, 1500)
    return "%s, %.0f Mbit/s after" % (said.strip(), iperf(a, B, 1))


def reboot(a, _b):
    a.send("reboot -f")
    a.ready()
    alive_again(a)
    ping(a, B, 1500)
    said = iperf(a, B, 1)
    a.run("iperf3 -s -D --logfile /tmp/iperf3.log >/dev/null 2>&1")
    return "%.0f Mbit/s after" % said


def hot_add(a, b):
    """Memory comes while frames flow, and is used by frames then."""
    before = int(a.run("sed -n 's/^MemTotal: *\\([0-9]*\\).*/\\1/p' /proc/meminfo"))
    a.background("iperf3 -c %s -t 4" % B, "hot")
    wait_for("some traffic", lambda: tx_packets(a) > 100, 20)
    a.qmp.cmd("object-add", **{"qom-type": "memory-backend-memfd", "id": "hot0",
                               "size": 256 << 20, "share": True})
    a.qmp.cmd("device_add", driver="pc-dimm", id="dimm0", memdev="hot0")

    def grown():
        now = int(a.run("sed -n 's/^MemTotal: *\\([0-9]*\\).*/\\1/p' /proc/meminfo"))
        return now if now > before + 200 * 1024 else 0
    after = wait_for("the new memory", grown, 30, 0.2)
    status, text = a.output("hot", 60)
    if status:
        raise Failure("iperf3 under the hot-add: %s" % text)
    transfer(a, b, B, 8)
    transfer(b, a, A, 8)
    # the zone Normal begins at 4 GiB, where only the new memory is
    used = int(a.run("awk '/zone +Normal/ {n = 1} n && /pages free/ {f = $3}"
                     " n && /managed/ {print $2 - f; exit}' /proc/zoneinfo") or 0)
    if used <= 0:
        raise Failure("the new memory was not used")
    ping(a, B, 1500)
    return ("%.0f Mbit/s meanwhile; %d -> %d MiB, %d KiB of the new in use" %
            (iperf_mbit(text), before >> 10, after >> 10, used * 4))


def kill_and_restart(switch, a, _b):
    """The switch dies under a running TCP connection; QEMU reconnects by itself."""
    a.background("iperf3 -c %s -t 6" % B, "killed")
    before = tx_packets(a)
    wait_for("some traffic", lambda: tx_packets(a) > before + 200, 20)
    switch.kill9()
    if a.try_run("ping -q -c 2 -i 0.2 -W 1 %s" % B, 30)[0] == 0:
        raise Failure("a ping was answered without a switch")
    start = time.monotonic()
    switch.start()
    alive_again(a, timeout=30)
    gap = time.monotonic() - start
    status, text = a.output("killed", 60)
    if status:
        raise Failure("the TCP connection did not survive: %s" % text)
    ping(a, B, 1500)
    return "traffic %.1f s after the restart; %.0f Mbit/s with the gap in it" % (gap, iperf_mbit(text))


def test(tap):
    pa, pb = path_of("a.sock"), path_of("b.sock")
    switch = make_switch(["a=vhost-user:" + pa, "b=vhost-user:" + pb])
    a = Guest("a", [Port(pa)], ip=A + "/24", hotplug=True)
    b = Guest("b", [Port(pb)], ip=B + "/24")
    start = time.monotonic()
    boot(a, b)
    tap.diag("two guests booted in %.1f s, %s" %
             (time.monotonic() - start, a.run("uname -r").strip()))
    iperf_server(b)
    iperf_server(a)
    # packet_size - 8 bytes of ICMP header - 20 of IP
    tap.case("guests_ping_64_bytes", lambda: ping(a, B, 64))
    tap.case("guests_ping_1500_bytes", lambda: ping(b, A, 1500))
    tap.case("guests_ping_8000_bytes_in_fragments", lambda: ping(a, B, 8000))
    tap.case("guests_ping_8000_bytes_as_one_frame", ping_jumbo, a, b)
    tap.case("tcp_from_a_to_b", lambda: "%.0f Mbit/s" % iperf(a, B))
    tap.case("tcp_from_b_to_a", lambda: "%.0f Mbit/s" % iperf(a, B, reverse=True))
    tap.case("file_keeps_its_sha256_from_a_to_b", transfer, a, b, B)
    tap.case("file_keeps_its_sha256_from_b_to_a", transfer, b, a, A)
    tap.case("offloads_may_differ_between_the_guests", offload_matrix, a, b)
    tap.case("link_down_and_up", link_down_and_up, a, b)
    tap.case("driver_unbound_and_bound", unbind_and_bind, a, b)
    tap.case("guest_rebooted", reboot, a, b)
    tap.case("memory_hot_added_under_traffic", hot_add, a, b)
    tap.case("switch_killed_and_restarted", kill_and_restart, switch, a, b)
    tap.case("switch_killed_and_restarted_again", kill_and_restart, switch, a, b)
    switch.process.check_alive()
    for guest in (a, b):
        guest.process.check_alive()
    tap.diag(switch.counters_text())


if __name__ == "__main__":
    main(test)
