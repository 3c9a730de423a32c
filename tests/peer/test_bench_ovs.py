#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# tier: check
# timeout: 180
"""`vhu bench` on two ports of OVS with its userspace datapath, a switch that is not ours: a million
verified frames each way, none lost, changed, doubled or out of order while no more are under way than
rings hold; and one that OVS does change is noticed. It must not know how frames are carried."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from backends import OVS_CONNECTS, OVS_LISTENS, Ovs
from measure import MILLION, bench, perfect, ring_is
from harness import Failure, main

RINGS = ("split", "packed")


def sockets_of(ovs):
    return [word for name in ovs.ports for word in ("--backend", ovs.sockets[name])]


def loop(ovs, frames, *args):
    serving = ["--server"] if ovs.mode == OVS_CONNECTS else []
    return bench("loop", *serving, *sockets_of(ovs), "--verify", "--frames", frames, *args,
                 timeout=60 + frames / 20000)


def across(ovs, frames, ring, *args):
    """Both ways through the switch."""
    said, status = loop(ovs, frames, "--ring", ring, *args)
    ring_is(said, ring)
    return perfect(said, status, 2 * frames)


def jumbo(ovs, frames, ring):
    return across(ovs, frames, ring, "--size", "9014", "--window", "32")


def changed(ovs):
    """OVS changes an address; that must not pass for a frame that came back."""
    ovs.ofctl("add-flow", "priority=9,udp,actions=mod_nw_src:192.0.2.1,NORMAL")
    try:
        said, status = loop(ovs, 5)  # few: each is waited for
    finally:
        ovs.ofctl("del-flows", "--strict", "priority=9,udp")
    verify = said["verify"]
    if status != 1 or said["ok"] or verify["unique"] or not verify["foreign"]:
        raise Failure("status %s: %s" % (status, said["verify"]))
    return str(said["verify"])


def test(tap, frames=MILLION):
    ovs = Ovs(["a", "b"], OVS_LISTENS)
    for ring in RINGS:
        tap.case(ring + "_64", across, ovs, frames, ring)
        tap.case(ring + "_imix", across, ovs, frames // 4, ring, "--size", "imix")
        tap.case(ring + "_1518_polled_not_mergeable", across, ovs, frames // 4, ring, "--size", "1514",
                 "--poll", "--no-mrg")
    tap.case("frame_that_ovs_changes_is_noticed", changed, ovs)
    ovs.stop()
    ovs = Ovs(["a", "b"], OVS_CONNECTS, mtu=9000)
    for ring in RINGS:
        tap.case(ring + "_imix_ovs_connects", across, ovs, frames // 4, ring, "--size", "imix")
        tap.case(ring + "_9014_ovs_connects", jumbo, ovs, frames // 16, ring)
    ovs.stop()


if __name__ == "__main__":
    main(test)
