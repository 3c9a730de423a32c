#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# tier: soak
# timeout: 7200
"""All combinations of offloads and of device properties of which test_dataplane has a selection. It must
not know how they are tried."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import dataplane as dp
from cover import product
from harness import main

# Properties that are told together, or the product would have no end
GROUPS = {"csum": ("csum",), "guest_csum": ("guest_csum",),
          "host_tso": ("host_tso4", "host_tso6", "host_ecn", "host_ufo"),
          "guest_tso": ("guest_tso4", "guest_tso6", "guest_ecn", "guest_ufo"),
          "mrg_rxbuf": ("mrg_rxbuf",), "indirect_desc": ("indirect_desc",), "event_idx": ("event_idx",),
          "packed": ("packed",)}
# Devices of a guest, beside the first that has all features
DEVICES = 16


def properties(row, size):
    told = {name: row[group] for group, names in GROUPS.items() for name in names}
    return dict(told, rx_queue_size=size, tx_queue_size=size)


def all_pairs():
    """Each set of properties in either guest, beside another one that has little in common with it."""
    rows = product({group: ("on", "off") for group in GROUPS})
    # 101 and the number of rows have no divisor in common
    return [dp.Pair(properties(row, "256"), properties(rows[(101 * i + 77) % len(rows)], "1024"))
            for i, row in enumerate(rows)]


def offloads(tap):
    bench = dp.Bench([dp.Pair({}, {}), dp.Pair({"packed": "on"}, {"packed": "on"}), dp.Pair({"packed": "on"}, {})])
    for guest in bench.guests.values():
        dp.serve_files(guest)
    dp.iperf_servers(bench.b, (5201,))
    tap.case("tcp_over_split_and_packed_rings_in_turns", dp.tcp_in_turns, bench, (0, 1), 20)
    for index, what in enumerate(("split", "packed", "mixed")):
        for source in "ab":
            for ipv6 in (False, True):
                tap.case("all_offloads_of_%s_%s_over_ipv%d" % (what, source, 6 if ipv6 else 4),
                         dp.offloads_on_and_off, bench, index, source, dp.ALL_OFFLOADS, ipv6)
    tap.case("every_frame_is_accounted_for", dp.all_frames_are_accounted_for, bench)
    bench.stop()


def devices(tap):
    pairs = all_pairs()
    for first in range(0, len(pairs), DEVICES):
        bench = dp.Bench([dp.Pair({}, {}), *pairs[first:first + DEVICES]])
        for guest in bench.guests.values():
            dp.serve_files(guest)
        name = "devices_%d_to_%d_" % (first, first + DEVICES - 1)
        tap.case(name + "have_the_features_that_they_were_told", dp.features_are_as_told, bench, 0)
        tap.case(name + "send_files_both_ways", dp.devices_carry_files, bench)
        tap.case(name + "lose_no_frame_unseen", dp.all_frames_are_accounted_for, bench)
        bench.stop()


def test(tap):
    offloads(tap)
    devices(tap)


if __name__ == "__main__":
    main(test)
