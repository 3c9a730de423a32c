#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# tier: soak
# timeout: 14400
"""The long runs of the frontend half against backends that are not ours, and of backends that die; what
they do in short is in the tests of those names. It must not know more than the counts."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import test_bench_dpdk as dpdk
import test_bench_ovs as ovs
import test_blk as blk
import test_recovery as recovery
import test_tap_switch as tap_switch
from backends import OVS_LISTENS, NetVhost, Ovs
from harness import main, path_of
from stations import pings, tcp

FRAMES = int(os.environ.get("VHU_SOAK_FRAMES", "100000000"))
KILLS = int(os.environ.get("VHU_SOAK_KILLS", "1000"))
RINGS = ("split", "packed")


def frames(tap):
    path = path_of("soak")
    backend = NetVhost([path])
    for ring in RINGS:
        tap.case("dpdk_%s_%d_frames_each_way" % (ring, FRAMES), dpdk.around, [path], FRAMES, ring)
        tap.case("dpdk_%s_imix" % ring, dpdk.around, [path], FRAMES // 4, ring, "--size", "imix",
                 "--poll")
    backend.stop()
    switch = Ovs(["a", "b"], OVS_LISTENS)
    for ring in RINGS:
        tap.case("ovs_%s_%d_frames_each_way" % (ring, FRAMES), ovs.across, switch, FRAMES, ring)
    switch.stop()
    for ring in RINGS:
        tap.case("virtio_user_%s_%d_frames_each_way" % (ring, FRAMES), dpdk.served,
                 path_of("soak-" + ring), ring, "", FRAMES)


def deaths(tap):
    for ring in RINGS:
        tap.case("%s_%d_killings" % (ring, KILLS), recovery.killed, ring, KILLS)
        tap.case("%s_%d_killings_two_queues" % (ring, KILLS // 4),
                 lambda r=ring: recovery.killed(r, KILLS // 4, "--no-mrg", queues=2))
        tap.case("%s_%d_killings_without_an_inflight_region" % (ring, KILLS // 4),
                 lambda r=ring: recovery.killed(r, KILLS // 4, with_record=False))
        tap.case("%s_%d_frontends_killed" % (ring, KILLS // 4), recovery.frontend_killed, ring,
                 KILLS // 4)
    disk = blk.Disk()
    tap.case("disk_%d_killings" % (KILLS // 5), blk.kills, disk, KILLS // 5, "--indirect", "--queues",
             "2")
    disk.daemon.stop()


def stations(pair):
    said = [tcp(pair.a, pair.b, "-P", "4", seconds=60)]
    for _ in range(max(1, KILLS // 50)):
        said.append(tap_switch.killed(pair))
    said.append(pings(pair.a, pair.b, 64, 1500))
    return "\n".join(said)


def test(tap):
    frames(tap)
    deaths(tap)
    tap.case("taps_for_minutes_and_%d_dead_switches" % max(1, KILLS // 50),
             lambda: tap_switch.with_pair(stations))


if __name__ == "__main__":
    main(test)
