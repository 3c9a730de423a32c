#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# tier: check
# timeout: 240
"""Two namespaces that reach each other through `vhu tap`, `vhu switch` and `vhu tap`: frames of all
sizes, TCP and UDP, several queues, packed rings, a switch that is killed, few rights. It must not know
how either of them does it."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from stations import (INSIDE, NET_ADMIN_ALONE, NOTHING, OUTSIDE, OUTSIDE_PATH, Station, ends, meet,
                      need_stations, outage, pings, tcp, udp)
from harness import Failure, Process, Switch, main, need, path_of

A, B = "10.11.0.1", "10.11.0.2"


class Pair:
    """A switch and a station on each of its two ports."""

    def __init__(self, options="", args=(), how=(INSIDE, INSIDE), prefix=(), mtu=1500,
                 switch_args=()):
        sockets = [path_of(name + ".sock") for name in "ab"]
        self.switch = Switch(["%s=vhost-user:%s%s" % (name, sock, options)
                              for name, sock in zip("ab", sockets)], args=list(switch_args))
        self.a, self.b = [Station(name, sock, address, args, way, prefix, mtu)
                          for name, sock, address, way in zip("ab", sockets, (A, B), how)]
        for station in (self.a, self.b):
            station.wait_carrier()
        meet(self.a, self.b)

    def stop(self):
        try:
            ends(self.a, self.b)
        finally:
            for station in (self.a, self.b):
                station.stop()
                station.ns.delete()
            self.switch.stop()

    def queues_used(self):
        """Frames that the switch got on each queue of each port."""
        return {port["name"]: [queue["rx_frames"] for queue in port["queues"]]
                for port in self.switch.show("counters")["ports"]}

    def agreed(self):
        return [port["features_names"] for port in self.switch.show("ports")["ports"]]


def with_pair(deed, **how):
    pair = Pair(**how)
    try:
        said = deed(pair)
    finally:
        pair.stop()
    return said


def killed(pair):
    def mend():
        pair.switch.start()
    said = outage(pair.a, pair.b, pair.switch.kill9, mend)
    pair.switch.kill9()
    for station in (pair.a, pair.b):
        station.wait_carrier(False)
    pair.switch.start()
    meet(pair.a, pair.b)
    return said


def jumbo(pair):
    said = pings(pair.a, pair.b, 64, 1500, 9000)
    if [station.link()["mtu"] for station in (pair.a, pair.b)] != [9000, 9000]:
        raise Failure("the interfaces have another MTU")
    return "%s; %s" % (said, tcp(pair.a, pair.b))


def several_queues(pair):
    for station in (pair.a, pair.b):
        if station.link()["num_tx_queues"] < 2:
            raise Failure("the interface has one queue: %s" % station.link())
    said = tcp(pair.a, pair.b, "-P", "16")
    used = pair.queues_used()
    if any(not count for counts in used.values() for count in counts):
        raise Failure("a queue has carried nothing: %s" % used)
    return "%s; frames of the queues: %s" % (said, used)


def packed(pair):
    if not all("RING_PACKED" in names for names in pair.agreed()):
        raise Failure("packed rings not agreed on: %s" % pair.agreed())
    return "%s; %s; %s" % (pings(pair.a, pair.b, 64, 1500), tcp(pair.a, pair.b), killed(pair))


def plain(pair):
    said = "%s; %s; %s" % (pings(pair.a, pair.b, 64, 1500), tcp(pair.a, pair.b), udp(pair.a, pair.b))
    if any("CSUM" in names for names in pair.agreed()):
        raise Failure("offloads agreed on: %s" % pair.agreed())
    return said


def few_rights(pair):
    for station in (pair.a, pair.b):
        with open("/proc/%d/status" % station.process.pid) as status:
            held = [line for line in status if line.startswith(("CapPrm", "CapEff"))]
        if any(int(line.split()[1], 16) & ~(1 << 12) for line in held):  # CAP_NET_ADMIN
            raise Failure("more rights than it was given: %s" % held)
    return pings(pair.a, pair.b, 64, 1500)


def refused_without_rights():
    need("setpriv")
    station = Station("x", path_of("x.sock"), A, prefix=NOTHING, start=False)
    process = Process("tap-refused", station.argv, netns=station.ns.name)
    try:
        status = process.popen.wait(20)
    finally:
        process.stop()
    if status != 1 or "CAP_NET_ADMIN" not in process.log_text().split("\n", 2)[2]:
        raise Failure("status %s: %s" % (status, process.log_tail()))
    station.ns.delete()
    return process.log_text().splitlines()[-1]


def test(tap):
    need_stations()
    tap.case("pings_of_64_and_1500_bytes", with_pair, lambda pair: pings(pair.a, pair.b, 64, 1500))
    pair = None
    try:
        pair = Pair(how=(OUTSIDE, OUTSIDE_PATH))
        a, b = pair.a, pair.b
        tap.case("taps_made_from_outside_their_namespaces_meet", pings, a, b, 64, 1500)
        tap.case("tcp_with_offloads_both_ways", tcp, a, b)
        tap.case("udp_both_ways", udp, a, b)
        tap.case("tcp_outlives_a_switch_that_was_killed", killed, pair)
    except Failure as failure:
        tap.ok(False, "a pair of stations stands", str(failure))
    finally:
        if pair:
            tap.case("taps_end_with_status_0_and_leave_nothing", pair.stop)
    tap.case("tcp_and_udp_without_offloads", lambda: with_pair(plain, args=["--no-offloads"]))
    tap.case("packed_rings_and_a_switch_that_was_killed", lambda: with_pair(
        packed, args=["--ring", "packed"]))
    tap.case("frames_of_9000_bytes", lambda: with_pair(jumbo, mtu=9000, options=",mtu=9000"))
    tap.case("two_queues_carry_their_part", lambda: with_pair(
        several_queues, options=",queues=2", args=["--queues", "2"], switch_args=["--workers", "2"]))
    tap.case("cap_net_admin_alone_is_enough", lambda: need("setpriv") or with_pair(
        few_rights, prefix=NET_ADMIN_ALONE))
    tap.case("without_cap_net_admin_it_says_so", refused_without_rights)


if __name__ == "__main__":
    main(test)
