# SPDX-License-Identifier: MIT
"""Runs `vhu bench` and judges its account of verified frames. It must not know who the other half
is."""

import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "guest"))
from harness import VHU, PATIENCE, Failure, Process, wait_for

MILLION = 1000000


class Bench:
    """One run of `vhu bench`, in the background until wait() or stop()."""

    number = 0

    def __init__(self, mode, *args, name=None, wait_s=30):
        if not os.access(VHU, os.X_OK):
            raise Failure("%s is not built" % VHU)
        Bench.number += 1
        self.process = Process(name or "bench%d" % Bench.number,
                               [VHU, "bench", mode, "--json", "--wait", str(int(wait_s * PATIENCE))] +
                               [str(arg) for arg in args], stdout=subprocess.PIPE)
        self.status = None

    def alive(self):
        return self.process.alive()

    def said(self, word):
        return self.process.log_text()[self.process.log_start:].count(word)

    def listens(self, path):
        def look():
            self.process.check_alive()
            return os.path.exists(path)
        wait_for("vhu bench's socket", look)
        return self

    def wait(self, timeout=60):
        """Its result, once it has ended by itself."""
        try:
            text, _ = self.process.popen.communicate(timeout=timeout * PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failure("vhu bench has not ended in %.0f s: %s" %
                          (timeout * PATIENCE, self.process.log_tail()))
        finally:
            self.status = self.process.stop()
        try:
            return json.loads(text)
        except ValueError:
            raise Failure("vhu bench, status %s: %s" % (self.status, self.process.log_tail()))

    def end(self, timeout=30):
        """Tells it to end, and returns its result."""
        self.process.signal(15)
        return self.wait(timeout)

    def stop(self):
        return self.process.stop()


def bench(mode, *args, timeout=60):
    """Runs it to its end; its result and its exit status."""
    run = Bench(mode, *args)
    said = run.wait(timeout)
    return said, run.status


BAD = ("lost", "lost_at_death", "duplicates", "reordered", "corrupt", "foreign", "without_pattern")


def perfect(said, status, frames):
    """Every frame came back, once, in order and as it was; every chain was given back. One line. What
    was sent before the way was open at all is told."""
    verify = said["verify"]
    early = verify["lost_before_open"]
    wrong = {name: verify[name] for name in BAD if verify[name]}
    for side in said["sides"]:
        for name in ("chains_lost", "dropped", "refused", "recoveries"):
            if side[name]:
                wrong["%s of %s" % (name, side["path"])] = side[name]
    if wrong or status or not said["ok"] or not verify["bytes"] or \
            verify["unique"] + early < frames:
        raise Failure("status %s, %s of %d frames, %s; %s" %
                      (status, verify["unique"], frames, wrong, said["reasons"]))
    return summary(said) + ("; %d before it was open" % early if early else "")


def summary(said):
    first = said["sides"][0]
    return "%s: %d frames in %.2f s, %.4f kicks and %.4f calls a frame" % (
        first["ring"], first["received"]["frames"] or first["sent"]["frames"], said["seconds"], first["kicks_per_frame"], first["calls_per_frame"])


def ring_is(said, ring):
    for side in said["sides"]:
        if side["ring"] != ring:
            raise Failure("the ring is %s, not %s" % (side["ring"], ring))
