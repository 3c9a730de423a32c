#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# tier: check
# timeout: 240
"""`vhu bench` and DPDK, each in both roles: a million verified frames each way, none of them lost,
changed, doubled or out of order while no more are under way than rings hold. It must not know how
frames are carried."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from backends import NetVhost, VirtioUser
from measure import MILLION, Bench, bench, perfect, ring_is, summary
from harness import Failure, main, path_of, wait_for

# Options of `vhu bench` towards net_vhost, beside each ring's layout
VARIANTS = {
    "64": [],
    "1518": ["--size", "1518"],
    "imix_polled": ["--size", "imix", "--poll"],
    "imix_not_mergeable": ["--size", "imix", "--no-mrg"],
    "imix_in_pieces": ["--size", "imix", "--pieces", "3", "--no-indirect"],
    "imix_in_pieces_indirect": ["--size", "imix", "--pieces", "4"],
    "imix_no_event_index": ["--size", "imix", "--no-event-idx"],
    "imix_in_order": ["--size", "imix", "--in-order"],
    "imix_no_offloads_big_ring": ["--size", "imix", "--no-offloads", "--ring-size", "1024",
                                  "--window", "512"],
    "imix_two_queues": ["--size", "imix", "--queues", "2"],
}
# Those that carry all frames; the others carry a quarter
IN_FULL = ("64", "imix_polled", "imix_in_pieces_indirect")
RINGS = ("split", "packed")


def around(paths, frames, ring, *args):
    """Frames go out, and come back through the backends at these paths."""
    words = [word for path in paths for word in ("--backend", path)]
    said, status = bench("loop", *words, "--verify", "--frames", frames, "--ring", ring, *args,
                         timeout=60 + frames / 50000)
    ring_is(said, ring)
    return perfect(said, status, frames)


def served(path, ring, virtio_user, frames, *args, serving=True):
    """Frames go out, and come back through a frontend of DPDK that passes on what comes."""
    run = Bench("loop", "--frontend", path, "--verify", "--frames", frames, "--ring", ring,
                *([] if serving else ["--client"]), *args)
    frontend = None
    try:
        if serving:
            run.listens(path)
        options = ",queue_size=256" + (",packed_vq=1" if ring == "packed" else "") + virtio_user
        frontend = VirtioUser([path], options=options, server=not serving)
        frontend.begin("io")
        said = run.wait(60 + frames / 50000)
    finally:
        run.stop()
        if frontend:
            frontend.stop()  # of SIGPIPE: its backend has gone
    ring_is(said, ring)
    return perfect(said, run.status, frames)


def taken(path, ring, frames):
    """DPDK sends as fast as it can; every frame that it says it sent has come."""
    run = Bench("sink", "--frontend", path, "--ring", ring).listens(path)
    frontend = None
    try:
        frontend = VirtioUser([path], options=",packed_vq=%d" % (ring == "packed"))
        frontend.begin("txonly")
        wait_for("%d frames sent" % frames, lambda: frontend.stats(0)["TX-packets"] >= frames, 60, 0.1)
        frontend.end()
        sent = frontend.stats(0)
        said = run.end()
    finally:
        run.stop()
        if frontend:
            frontend.stop()
    ring_is(said, ring)
    got = said["sides"][0]["received"]
    if (got["frames"], got["bytes"]) != (sent["TX-packets"], sent["TX-bytes"]):
        raise Failure("sent %s, received %s" % (sent, got))
    return summary(said)


def given(path, ring, frames):
    """DPDK takes what comes; every frame that was sent has arrived."""
    run = Bench("source", "--frontend", path, "--ring", ring, "--frames", frames,
                "--size", "imix").listens(path)
    frontend = None
    try:
        frontend = VirtioUser([path], options=",packed_vq=%d" % (ring == "packed"), start=False)
        frontend.start()
        frontend.begin("rxonly")
        said = run.wait()
        sent = said["sides"][0]["sent"]
        got = frontend.stats(0)
    finally:
        run.stop()
        if frontend:
            frontend.stop()
    ring_is(said, ring)
    if sent["frames"] != frames or (got["RX-packets"], got["RX-bytes"]) != (frames, sent["bytes"]):
        raise Failure("sent %s, received %s" % (sent, got))
    return summary(said)


def as_frontend(tap, frames, variants=None):
    one, two = path_of("one"), [path_of("two-a"), path_of("two-b")]
    variants = variants or VARIANTS
    backend = NetVhost([one], queues=2)
    for ring in RINGS:
        for name, args in variants.items():
            count = frames if name in IN_FULL else frames // 4
            tap.case("frontend_%s_%s" % (ring, name), around, [one], count, ring, *args)
    backend.stop()
    backend = NetVhost(two)
    for ring in RINGS:
        tap.case("frontend_%s_over_two_ports" % ring, around, two, frames // 2, ring, "--size",
                 "imix")
    backend.stop()
    backend = NetVhost([one], client=True)
    for ring in RINGS:
        tap.case("frontend_%s_that_listens" % ring, around, [one], frames // 4, ring, "--server")
    backend.stop()


def as_backend(tap, frames):
    for ring in RINGS:
        name, path = "backend_%s_" % ring, path_of("served-" + ring)
        tap.case(name + "64", served, path, ring, "", frames)
        tap.case(name + "imix_not_mergeable_in_order", served, path, ring, ",mrg_rxbuf=0,in_order=1",
                 frames // 4, "--size", "imix", "--in-order")
        tap.case(name + "sink", taken, path, ring, frames)
        tap.case(name + "source", given, path, ring, frames)
    tap.case("backend_that_connects", lambda: served(path_of("client"), "split", "", frames // 4,
                                                     "--size", "imix", serving=False))


def test(tap):
    as_frontend(tap, MILLION)
    as_backend(tap, MILLION)


if __name__ == "__main__":
    main(test)
