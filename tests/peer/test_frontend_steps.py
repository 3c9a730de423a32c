#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# tier: check
# timeout: 120
"""The steps of the notification path that libvhu's frontend causes in DPDK's net_vhost: the first call
fd, the kick fd, the call fd of the unmasked interrupt, recorded by vhu trace between the two; also when
the backend comes back. It must not know how the frontend is made."""

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from backends import NetVhost
from harness import VHU, Failure, Process, main, path_of, wait_for
from measure import Bench
from stations import Station, need_stations

STEPS = [1, 2, 3, 4, 5]
INFERRED = (2, 4)  # they happen within the backend


class Tracer:
    def __init__(self, frontend, backend):
        self.process = Process("trace", [VHU, "trace", "--json", frontend, backend])
        wait_for("the tracer's socket", lambda: os.path.exists(frontend))
        self.process.watch()

    def seen(self, conn):
        text = self.process.log_text()[self.process.log_start:]
        objects = [json.loads(line) for line in text.splitlines()
                   if line.startswith("{") and line.endswith("}")]
        return [o for o in objects if o.get("conn") == conn]

    def wait_ready(self, rings, conn=1):
        def look():
            ready = {o["ring"] for o in self.seen(conn) if o["event"] == "ring_ready"}
            started = any(o["event"] == "driver_ok" and not o["inferred"] for o in self.seen(conn))
            return ready >= set(rings) and started and self.seen(conn)
        return wait_for("rings %s of connection %d to be ready" % (list(rings), conn), look)

    def stop(self):
        self.process.stop()


def check(true, *said):
    if not true:
        raise Failure(" ".join(str(word) for word in said))


def judge(seen, rings):
    """All five steps of each ring, each in its place; one line on them."""
    wrong = [o for o in seen if "violation" in o]
    check(not wrong, "violations of the protocol:", wrong)
    said = []
    for ring in rings:
        steps = {}
        for o in seen:
            if o["event"] == "step" and o["ring"] == ring:
                steps.setdefault(o["step"], o)
        check(sorted(steps) == STEPS, "ring", ring, "has the steps", sorted(steps))
        check(all(steps[n]["inferred"] == (n in INFERRED) for n in STEPS), "inferred:", steps)
        times = [steps[n]["t"] for n in STEPS]
        check(times == sorted(times), "ring", ring, "has its steps at", times)
        fds = {}
        for o in seen:
            if o.get("dir") == "frontend" and o.get("ring") == ring and \
                    o.get("msg") in ("SET_VRING_CALL", "SET_VRING_KICK"):
                fds.setdefault(o["msg"], []).append(o["fds"][0])
        calls, kicks = fds["SET_VRING_CALL"], fds["SET_VRING_KICK"]
        check(len({calls[0], kicks[0], calls[-1]}) == 3, "three different eventfds:", fds)
        states = [o["state"] for o in seen if o["event"] == "ring_state" and o["ring"] == ring]
        check("started, enabled" in states, "ring", ring, "was", states)
        said.append("ring %d: %s ms" % (ring, ", ".join(
            "%d at %.2f" % (n, (steps[n]["t"] - times[0]) * 1000) for n in STEPS)))
    return "\n".join(said)


def of_bench(ring, queues):
    frontend, backend_path = path_of("b.fe"), path_of("b.be")
    backend = NetVhost([backend_path], queues=2)
    tracer = Tracer(frontend, backend_path)
    run = Bench("loop", "--backend", frontend, "--ring", ring, "--queues", queues, "--frames", 1000)
    try:
        said = judge(tracer.wait_ready(range(2 * queues)), range(2 * queues))
        result = run.wait()
        check(result["verify"]["unique"] and result["ok"], "no frames came back", result)
    finally:
        for one in (run, tracer, backend):
            one.stop()
    return said


def of_tap():
    need_stations()
    frontend, backend_path = path_of("t.fe"), path_of("t.be")
    backend = NetVhost([backend_path])
    tracer = Tracer(frontend, backend_path)
    station = Station("t", frontend, "10.13.0.1")
    try:
        said = [judge(tracer.wait_ready((0, 1)), (0, 1))]
        backend.kill9()
        station.wait_carrier(False)
        backend.start()
        # the tracer counts the connections that found no backend, too
        conn = wait_for("another connection with rings", lambda: next(
            (n for n in range(2, 200) if any(o["event"] == "ring_ready" for o in tracer.seen(n))), None))
        said.append(judge(tracer.wait_ready((0, 1), conn), (0, 1)))
        station.wait_carrier()
    finally:
        for one in (station, tracer, backend):
            one.stop()
    return "\n".join(said)


def test(tap):
    tap.case("bench_split_takes_all_five_steps", of_bench, "split", 1)
    tap.case("bench_packed_two_queues_takes_all_five_steps", of_bench, "packed", 2)
    tap.case("tap_takes_all_five_steps_again_when_the_backend_is_back", of_tap)


if __name__ == "__main__":
    main(test)
