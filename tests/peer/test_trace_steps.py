#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The handshakes of real frontends, recorded by vhu trace on the way to vhu switch, beside the five steps of the
notification path. No guest's operating system is needed: the boot ROM of QEMU's network device drives it."""
# tier: check
# timeout: 300

import os
import shutil
import signal
import subprocess
import sys

from tracing import (PATIENCE, VHU, Place, Skip, Tracer, at_end, check, main, test, wait_for)


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            raise Skip("no %s here" % program)


def start(words, log, **more):
    """A program that is ended with the test, its output in a file."""
    with open(log, "w") as file:
        process = subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT, **more)

    def end():
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(10 * PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdin:
            process.stdin.close()
    at_end(end)
    return process, end


def switch_and_tracer():
    place = Place()
    start([VHU, "switch", "--port", "a=vhost-user:" + place.backend_path, "--ctl", "none"],
          os.path.join(place.path, "switch.log"), stdin=subprocess.DEVNULL)
    tracer = Tracer("--json", place.frontend_path, place.backend_path)
    wait_for("the tracer's socket", lambda: os.path.exists(place.frontend_path))
    return place, tracer


def wait_ready(tracer, rings, place, conn=1):
    def look():
        seen = tracer.objects()
        ready = {o["ring"] for o in seen if o["event"] == "ring_ready" and o["conn"] == conn}
        return ready >= rings and seen
    try:
        return wait_for("rings %s to be ready" % sorted(rings), look, 60)
    except AssertionError:
        for name in ("frontend.log", "switch.log"):
            with open(os.path.join(place.path, name)) as log:
                print("".join("# %s: %s\n" % (name, line.rstrip()) for line in log), end="")
        raise


def compare(seen, rings, want, conn=1):
    """The steps of each ring: want has those that occur, by their own time and not that of their evidence."""
    seen = [o for o in seen if o["conn"] == conn]
    check(not [o for o in seen if "violation" in o], [o for o in seen if "violation" in o])
    driver_ok = next(o["t"] for o in seen if o["event"] == "driver_ok")
    for ring in rings:
        steps = {o["step"]: o for o in reversed(seen) if o["event"] == "step" and o["ring"] == ring}
        check(sorted(steps) == want, ring, sorted(steps))
        for step in want:
            check(steps[step]["inferred"] == (step in (2, 4)), steps[step])
        # a message is in order with messages, and its effect behind its cause
        messages = [steps[step]["t"] for step in want if step in (1, 3, 5)]
        check(messages == sorted(messages), ring, messages)
        check(steps[1]["t"] <= steps[2]["t"] <= driver_ok <= steps[3]["t"] <= steps[4]["t"], ring, steps)
        states = [o["state"] for o in seen if o["event"] == "ring_state" and o["ring"] == ring]
        check("started, enabled" in states, ring, states)


def qemu(place, *more):
    need("qemu-system-x86_64")
    return start(["qemu-system-x86_64", "-M", "pc", "-accel", "tcg", "-m", "128", "-nodefaults", "-display", "none",
                  "-object", "memory-backend-memfd,id=m0,size=128M,share=on", "-machine", "memory-backend=m0",
                  "-chardev", "socket,id=c0,reconnect=1,path=" + place.frontend_path,
                  "-netdev", "vhost-user,id=n0,chardev=c0", "-device", "virtio-net-pci,netdev=n0,vectors=0",
                  "-boot", "n", *more], os.path.join(place.path, "frontend.log"), stdin=subprocess.DEVNULL)


@test
def qemu_takes_all_five_steps():
    need("qemu-system-x86_64")
    place, tracer = switch_and_tracer()
    qemu(place)
    compare(wait_ready(tracer, {0, 1}, place), (0, 1), [1, 2, 3, 4, 5])
    fds = {}
    for o in tracer.objects():
        if o.get("msg") in ("SET_VRING_CALL", "SET_VRING_KICK"):
            fds.setdefault(o["ring"], []).append(o["fds"][0])
    for ring in (0, 1):
        check(len(set(fds[ring])) == 3, "first call fd, kick fd and the guest's are not three", fds)


@test
def qemu_comes_back_through_the_tracer_when_the_switch_does():
    need("qemu-system-x86_64")
    place = Place()
    words = [VHU, "switch", "--port", "a=vhost-user:" + place.backend_path, "--ctl", "none"]
    log = os.path.join(place.path, "switch.log")
    switch, _ = start(words, log, stdin=subprocess.DEVNULL)
    tracer = Tracer("--json", place.frontend_path, place.backend_path)
    wait_for("the tracer's socket", lambda: os.path.exists(place.frontend_path))
    qemu(place)
    wait_ready(tracer, {0, 1}, place)
    switch.kill()
    switch.wait()
    start(words, log, stdin=subprocess.DEVNULL)
    seen = wait_ready(tracer, {0, 1}, place, conn=2)
    # the guest's driver wrote nothing new: the VMM starts the rings at once, and all five steps are there again
    compare(seen, (0, 1), [1, 2, 3, 4, 5], conn=2)
    ended = next(o for o in seen if o["event"] == "closed")
    check(ended["by"] == "backend", ended)


@test
def dpdk_virtio_user_gives_one_call_fd_for_good():
    need("dpdk-testpmd")
    place, tracer = switch_and_tracer()
    start(["dpdk-testpmd", "-l", "0,1", "--no-pci", "--no-huge", "-m", "128", "--single-file-segments",
           "--file-prefix=trace%d" % os.getpid(), "--vdev=net_virtio_user0,path=%s,queues=1" % place.frontend_path, "--",
           "--forward-mode=rxonly", "--auto-start", "--total-num-mbufs=4096", "--disable-link-check"],
          os.path.join(place.path, "frontend.log"), stdin=subprocess.PIPE)
    compare(wait_ready(tracer, {0, 1}, place), (0, 1), [1, 2, 3, 4])
    absent = [(o["ring"], o["absent"]) for o in tracer.objects() if o["event"] == "step_absent"]
    check(sorted(absent) == [(0, 5), (1, 5)], absent)


if __name__ == "__main__":
    sys.exit(main())
