#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# tier: check
# timeout: 400
"""Unequal guests on one switch: QEMU as server beside QEMU as client, two queue pairs beside one,
a device with every offload beside one without any, so that the switch segments and checksums."""

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import switches
from harness import (OFFLOADS_OFF, Failure, Guest, Port, boot, iperf, iperf_server, main,
                     make_switch, path_of, ping, transfer, wait_for)

A, B = "10.9.0.1", "10.9.0.2"
A6, B6 = "fd00:0::1", "fd00:0::2"


def queue_packets(guest, way):
    """Frames of each queue, as the guest's driver counts them."""
    text = guest.run("ethtool -S eth0")
    found = re.findall(r"%s_queue_(\d+)_packets: (\d+)" % way, text)
    if not found:
        raise Failure("no queue counters: %s" % text)
    return [int(count) for _, count in sorted(found, key=lambda pair: int(pair[0]))]


def two_queues(a, b):
    a.run("ethtool -L eth0 combined 2")
    said = a.run("ethtool -l eth0")
    if not re.search(r"Current hardware settings:.*Combined:\s*2", said, re.S):
        raise Failure("not two queues: %s" % said)
    # Several connections at once, from both processors: some on each queue
    before_tx, before_rx = queue_packets(a, "tx"), queue_packets(a, "rx")
    there = iperf(a, B, 2, extra="-P 4")
    a.run("for c in 1 2; do taskset $c ping -q -c 5 -i 0.1 -W 10 %s || exit 1; done" % B)
    back = iperf(a, B, 2, reverse=True, extra="-P 4")
    tx = [n - m for n, m in zip(queue_packets(a, "tx"), before_tx)]
    rx = [n - m for n, m in zip(queue_packets(a, "rx"), before_rx)]
    if len(tx) != 2 or min(tx) == 0:
        raise Failure("a transmit queue stayed idle: %s" % tx)
    return "tx frames per queue %s, rx %s; %.0f and %.0f Mbit/s with 4 connections" % (tx, rx, there, back)


def one_queue_again(a, b):
    a.run("ethtool -L eth0 combined 1")
    ping(a, B, 1500)
    said = iperf(a, B, 1)
    a.run("ethtool -L eth0 combined 2")
    ping(b, A, 1500)
    return "%.0f Mbit/s with one queue" % said


def no_offload_is_there(b):
    """The device of b offers none: what is shown below would else be nothing."""
    bits = b.run("cat /sys/class/net/eth0/device/features").strip()
    names = {0: "CSUM", 1: "GUEST_CSUM", 7: "GUEST_TSO4", 8: "GUEST_TSO6", 9: "GUEST_ECN",
             10: "GUEST_UFO", 11: "HOST_TSO4", 12: "HOST_TSO6", 15: "MRG_RXBUF"}
    there = [name for bit, name in names.items() if bits[bit] != "0"]
    if there:
        raise Failure("it has " + " ".join(there))


def frames_fit(a, b):
    """What b received is no longer than its MTU, though a sends segments of up to 64 KiB."""
    def count(what):
        return int(b.run("cat /sys/class/net/eth0/statistics/rx_%s" % what))
    packets, octets, errors = count("packets"), count("bytes"), count("errors")
    mbit = iperf(a, B, 1)
    packets, octets = count("packets") - packets, count("bytes") - octets
    if octets / packets > 1514:
        raise Failure("frames of %.0f bytes on average" % (octets / packets))
    if count("errors") != errors:
        raise Failure("%d receive errors" % (count("errors") - errors))
    names, values = [line.split() for line in b.run("grep ^Tcp: /proc/net/snmp").splitlines()]
    bad = values[names.index("InCsumErrors")]
    if int(bad):
        raise Failure("%s TCP segments with a bad checksum" % bad)
    return "%.0f Mbit/s; %d frames of %.0f bytes on average" % (mbit, packets, octets / packets)


def test(tap):
    pa, pb = path_of("a.sock"), path_of("b.sock")
    queues_b = 1
    if os.environ.get("VHU_BENCH") == "testpmd":
        switches.QUEUES_OF_TESTPMD = queues_b = 2
    # the one listens, the other connects; QEMU waits for its peer before it goes on
    switch = make_switch(["a=vhost-user:%s,client" % pa, "b=vhost-user:" + pb])
    a = Guest("a", [Port(pa, server=True, queues=2)], ip=A + "/24", smp=2)
    b = Guest("b", [Port(pb, queues=queues_b, opts=OFFLOADS_OFF)], ip=B + "/24", smp=queues_b)
    boot(a, b)
    iperf_server(b)
    tap.case("device_without_offloads_offers_none", no_offload_is_there, b)
    for size in (64, 1500, 8000):
        tap.case("unequal_guests_ping_%d_bytes" % size, lambda size=size: ping(a, B, size))
    tap.case("tcp_is_segmented_for_a_guest_that_cannot", frames_fit, a, b)
    tap.case("tcp_to_a_guest_that_can", lambda: "%.0f Mbit/s" % iperf(a, B, 1, reverse=True))
    tap.case("tcp_over_ipv6_both_ways", lambda: "%.0f and %.0f Mbit/s" %
             (iperf(a, B6, 1), iperf(a, B6, 1, reverse=True)))
    tap.case("udp_both_ways", lambda: "%.1f and %.1f Mbit/s" %
             (iperf(a, B, 1, extra="-u -b 5M"), iperf(a, B, 1, reverse=True, extra="-u -b 5M")))
    tap.case("file_keeps_its_sha256_from_a_to_b", transfer, a, b, B, 4)
    tap.case("file_keeps_its_sha256_from_b_to_a", transfer, b, a, A, 4)
    tap.case("two_queues_carry_traffic", two_queues, a, b)
    tap.case("queues_come_and_go", one_queue_again, a, b)
    tap.case("switch_as_client_comes_back", restart, switch, a)
    switch.process.check_alive()
    tap.diag(switch.counters_text())


def restart(switch, a):
    """The switch that connects finds the listening QEMU again after its death."""
    switch.kill9()
    switch.start()
    wait_for("a ping", lambda: a.try_run("ping -q -c 1 -W 1 %s" % B, 20)[0] == 0, 40, 0.05)
    return "%.0f Mbit/s after" % iperf(a, B, 1)


if __name__ == "__main__":
    main(test)
