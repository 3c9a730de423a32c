#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# tier: check
# timeout: 240
"""Two namespaces that reach each other through `vhu tap`, OVS with its userspace datapath, and `vhu
tap`, in both modes of its vhost-user ports; it must not know how either of them does it."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from backends import OVS_CONNECTS, OVS_LISTENS, Ovs
from stations import OUTSIDE, Station, ends, meet, need_stations, outage, pings, tcp, udp
from harness import Failure, main, wait_for

A, B = "10.12.0.1", "10.12.0.2"


class Pair:
    """OVS and a station on each of its two ports."""

    def __init__(self, mode, args=(), mtu=1500, queues=1, tso=False):
        self.stations = []
        self.ovs = Ovs(["a", "b"], mode, queues=queues, mtu=mtu, tso=tso)
        args = list(args) + (["--server"] if mode == OVS_CONNECTS else [])
        for name, address in (("a", A), ("b", B)):
            self.stations.append(Station(name, self.ovs.sockets[name], address, args, OUTSIDE,
                                         mtu=mtu))
        self.a, self.b = self.stations
        for station in self.stations:
            station.wait_carrier()
        # while OVS shares its rings out anew, frames are lost
        wait_for("OVS to serve all rings", lambda: self.rings_served() == 2 * queues)
        meet(self.a, self.b)

    def rings_served(self):
        return self.ovs.appctl("dpif-netdev/pmd-rxq-show").count("(enabled)")

    def stop(self):
        try:
            ends(*self.stations)
        finally:
            for station in self.stations:
                station.stop()
                station.ns.delete()
            self.ovs.stop()


def killed(pair):
    return outage(pair.a, pair.b, pair.ovs.kill9, pair.ovs.start, seconds=5)


def several_queues(pair):
    for station in pair.stations:
        if station.link()["num_tx_queues"] < 2:
            raise Failure("the interface has one queue: %s" % station.link())
    said = tcp(pair.a, pair.b, "-P", "16")
    return said


def agreed_packed(pair):
    for station in pair.stations:
        if "packed rings" not in station.process.log_text()[station.process.log_start:]:
            raise Failure("not agreed on: %s" % station.process.log_tail())


def on(tap, name, deeds, **how):
    pair = None
    try:
        pair = Pair(**how)
        for what, deed in deeds:
            tap.case("%s: %s" % (name, what), deed, pair)
    except Failure as failure:
        tap.ok(False, "%s: the stations stand" % name, str(failure))
    finally:
        if pair:
            tap.case("%s: all end with status 0" % name, pair.stop)


def both(deed, *more):
    return lambda pair: deed(pair.a, pair.b, *more)


def test(tap):
    need_stations()
    on(tap, "OVS listens", (
        ("pings of 64 and 1500 bytes", both(pings, 64, 1500)),
        ("TCP both ways", both(tcp)),
        ("UDP both ways", both(udp)),
        ("TCP outlives OVS", killed)), mode=OVS_LISTENS)
    on(tap, "OVS connects, packed rings", (
        ("they are agreed on", agreed_packed),
        ("pings of 64 and 1500 bytes", both(pings, 64, 1500)),
        ("TCP outlives OVS", killed)), mode=OVS_CONNECTS, args=["--ring", "packed"])
    on(tap, "OVS with segmentation offload, two queues, frames of 9000 bytes", (
        ("pings of 64, 1500 and 9000 bytes", both(pings, 64, 1500, 9000)),
        ("TCP over both queues", several_queues)), mode=OVS_CONNECTS, args=["--queues", "2"], queues=2,
       mtu=9000, tso=True)


if __name__ == "__main__":
    main(test)
