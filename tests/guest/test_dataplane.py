#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# tier: check
# timeout: 400
"""Real guests on the data plane: packed rings, four queues, packed beside split, jumbo frames, UDP
with an account of each frame, all offloads on and off in the guest and in the device."""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import dataplane as dp
from cover import pairwise
from harness import main, ping

PACKED, MIXED, NARROW = 0, 1, 2
IPERF_PORTS = (5301, 5302, 5303, 5304)
NARROW_MTU = 4000


def rows():
    """Devices with each two of the properties, of one side or of both, in each two of their states."""
    choices = {name: ("on", "off") for name in dp.FEATURES}
    choices.update(rx_queue_size=("256", "1024"), tx_queue_size=("256", "1024"))
    found = pairwise({(side, name): states for side in "ab" for name, states in choices.items()})
    return [dp.Pair(*({name: row[side, name] for name in choices} for side in "ab")) for row in found]


def pairs():
    packed = {"packed": "on", "rx_queue_size": "1024", "tx_queue_size": "1024", "host_mtu": dp.JUMBO}
    return [dp.Pair(packed, packed, queues=dp.QUEUES, port=(",mtu=%d" % dp.JUMBO,) * 2),
            dp.Pair({"packed": "on"}, {}),
            dp.Pair({"packed": "on"}, {"packed": "on"}, port=("", ",mtu=%d" % NARROW_MTU)),
            *rows()]


def test(tap):
    start = time.monotonic()
    bench = dp.Bench(pairs())
    tap.diag("two guests with %d devices each booted in %.1f s" %
             (len(bench.pairs), time.monotonic() - start))
    dp.iperf_servers(bench.b, (5201, *IPERF_PORTS))
    for guest in bench.guests.values():
        dp.serve_files(guest)

    tap.case("devices_have_the_features_that_they_were_told", dp.features_are_as_told, bench, MIXED)
    tap.case("rings_have_the_sizes_that_they_were_told", dp.rings_are_as_told, bench)
    tap.case("packed_guests_ping", lambda: ping(bench.a, dp.address("b", PACKED), 64))
    tap.case("packed_guests_speak_tcp_both_ways", dp.tcp_both_ways, bench, PACKED)
    tap.case("packed_guest_beside_a_split_one_pings",
             lambda: ping(bench.b, dp.address("a", MIXED), 8000))
    tap.case("packed_guest_beside_a_split_one_speaks_tcp_both_ways", dp.tcp_both_ways, bench, MIXED)

    dp.use_queues(bench, PACKED, dp.QUEUES)
    tap.case("several_flows_take_several_queues_both_ways", dp.flows_on_several_queues, bench, PACKED,
             IPERF_PORTS)
    tap.case("queues_come_and_go_on_packed_rings", dp.queues_come_and_go, bench, PACKED)

    tap.case("the_mtu_of_a_port_is_that_of_the_device", dp.mtu_of_the_port_is_the_devices, bench, PACKED)
    tap.case("jumbo_frames_pass_whole", dp.jumbo_frames_are_whole, bench, PACKED)
    tap.case("frames_beyond_the_mtu_of_a_port_are_dropped_and_counted",
             dp.frames_beyond_the_mtu_are_dropped, bench, NARROW, NARROW_MTU)

    for index, what, loads in ((PACKED, "packed", ("-b 20M", "-b 0 -l 200")), (MIXED, "mixed", ("-b 0 -l 200",))):
        for reverse in (False, True):
            tap.case("udp_loss_between_%s_guests_is_counted%s" % (what, "_in_reverse" * reverse),
                     lambda: "; ".join(dp.udp_loss_is_counted(bench, index, load, reverse=reverse)
                                       for load in loads))

    for turn, (source, ipv6) in enumerate((("a", False), ("a", True), ("b", False), ("b", True))):
        # each combination once, in each of the four ways every choice
        some = [row for i, row in enumerate(dp.ALL_OFFLOADS) if (i + i // 4) % 4 == turn]
        tap.case("offloads_of_%s_on_and_off_over_ipv%d" % (source, 6 if ipv6 else 4),
                 dp.offloads_on_and_off, bench, MIXED, source, some, ipv6)
    tap.case("devices_of_all_kinds_send_files_both_ways", dp.devices_carry_files, bench)
    tap.case("every_frame_is_accounted_for", dp.all_frames_are_accounted_for, bench)
    bench.switch.process.check_alive()
    for guest in bench.guests.values():
        guest.process.check_alive()
    tap.diag(bench.switch.counters_text())


if __name__ == "__main__":
    main(test)
