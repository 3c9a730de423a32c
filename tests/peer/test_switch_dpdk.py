#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# tier: check
# timeout: 180
"""DPDK's virtio-user as the frontend of both ports of a switch: a million frames go round between
them, and each is counted exactly on both sides of each port."""

import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "guest"))
from harness import Failure, Switch, Testpmd, main, path_of, wait_for

FRAMES = 1000000


def counters(switch):
    return {port["name"]: port["counters"] for port in switch.show("counters")["ports"]}


def drops(counted):
    return sum(value for name, value in counted.items() if "_drop_" in name)


def port_stats(testpmd, port):
    """What testpmd has counted, by its own names."""
    start = testpmd.mark()
    testpmd.cmd("show port stats %d" % port)
    text = testpmd.wait(r"statistics for port %d +#+\n(.*?)\n *#{20}" % port, start).group(1)
    return {name: int(value) for name, value in re.findall(r"([RT]X-\w+):\s*(\d+)", text)}


def run_round(switch, testpmd, frames):
    """Frames go from each port to the other until there were that many."""
    testpmd.cmd("set fwd io", r"Set io")
    begin = time.monotonic()
    testpmd.cmd("start tx_first 8", r"packets/burst")
    wait_for("%d frames" % frames,
             lambda: sum(c["rx_frames"] for c in counters(switch).values()) >= frames, 60, 0.2)
    seconds = time.monotonic() - begin
    testpmd.cmd("stop", r"Done\.")
    # what has arrived and was not looked at yet
    testpmd.cmd("set fwd rxonly", r"Set rxonly")
    testpmd.cmd("start", r"packets/burst")
    time.sleep(0.5)
    testpmd.cmd("stop", r"Done\.")
    return seconds


def check_counts(switch, testpmd):
    stats = [port_stats(testpmd, 0), port_stats(testpmd, 1)]
    seen = counters(switch)
    wrong = []
    for mine, other, port in (("a", "b", 0), ("b", "a", 1)):
        for what, ours, theirs in (
                ("sent", seen[mine]["rx_frames"], stats[port]["TX-packets"]),
                ("received", seen[mine]["tx_frames"], stats[port]["RX-packets"]),
                ("sent bytes", seen[mine]["rx_bytes"], stats[port]["TX-bytes"]),
                ("delivered or dropped", seen[other]["tx_frames"] +
                 drops(seen[mine]) + drops(seen[other]), seen[mine]["rx_frames"])):
            if ours != theirs:
                wrong.append("%s by %s: %d, not %d" % (what, mine, ours, theirs))
    if wrong:
        raise Failure("\n".join(wrong))
    return seen


def million(options):
    paths = [path_of("%s.sock" % n) for n in "ab"]
    switch = Switch(["a=vhost-user:" + paths[0], "b=vhost-user:" + paths[1]])
    testpmd = Testpmd("fe", ["net_virtio_user%d,path=%s,queues=1,queue_size=1024%s" %
                             (i, path, options) for i, path in enumerate(paths)])
    try:
        seconds = run_round(switch, testpmd, FRAMES)
        seen = check_counts(switch, testpmd)
    finally:
        testpmd.stop()
        switch.stop()
    frames = sum(c["rx_frames"] for c in seen.values())
    dropped = sum(drops(c) for c in seen.values())
    return "%d frames in %.1f s, %d dropped, %d kicks, %d calls" % (
        frames, seconds, dropped, sum(c["rx_kicks"] for c in seen.values()),
        sum(c["rx_calls"] + c["tx_calls"] for c in seen.values()))


def test(tap):
    for name, options in (("as_it_comes", ""), ("without_mergeable_buffers", ",mrg_rxbuf=0"),
                          ("without_in_order", ",in_order=0")):
        tap.case("a_million_frames_are_counted_exactly_" + name, million, options)


if __name__ == "__main__":
    main(test)
