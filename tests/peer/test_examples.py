#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The programs of examples/ do what their first line says, and are as short as the README says."""
# tier: fast
# timeout: 60

import os
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("VHU_BUILD") or os.path.join(ROOT, "build")
VHU = os.path.abspath(os.environ.get("VHU") or os.path.join(BUILD, "vhu"))
LINES = {"echo_backend": 60, "send_frame": 80}
number = 0
failed = 0


def example(name):
    return os.path.join(BUILD, "examples", "example_" + name)


def report(good, name, said=""):
    global number, failed
    number += 1
    failed += not good
    print("%s %d - %s" % ("ok" if good else "not ok", number, name))
    if not good:
        print("# " + "\n# ".join(str(said).splitlines()))
    sys.stdout.flush()


def run(*words):
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    return done.returncode, done.stdout, done.stderr


def main():
    for name, limit in LINES.items():
        with open(os.path.join(ROOT, "examples", name + ".c"), encoding="utf-8") as text:
            lines = len(text.readlines())
        report(lines < limit, "%s.c has fewer than %d lines" % (name, limit), lines)
        status, _, err = run(example(name))
        report(status == 1 and "usage" in err, "%s without arguments says how to use it" % name, err)
    with tempfile.TemporaryDirectory(prefix="vhu-examples-") as base:
        path = os.path.join(base, "echo.sock")
        status, _, err = run(example("send_frame"), path)
        report(status == 1 and path in err, "send_frame says that nobody is there", err)
        backend = subprocess.Popen([example("echo_backend"), path], stdin=subprocess.DEVNULL)
        try:
            end = time.monotonic() + 20
            while not os.path.exists(path) and time.monotonic() < end:
                time.sleep(0.01)
            for nth in ("a first", "a second"):
                status, out, err = run(example("send_frame"), path)
                report(status == 0 and out == "60 bytes sent and taken\n",
                       "the frame of %s frontend is taken" % nth, out + err)
            status, out, err = run(VHU, "bench", "latency", "--backend", path, "--frames", "1000", "--verify")
            report(status == 0, "1000 frames come back as they were sent", out + err)
            report(backend.poll() is None, "the backend is still there")
        finally:
            backend.send_signal(signal.SIGKILL)
            backend.wait()
    print("1..%d" % number)
    return 1 if failed else 0


sys.exit(main())
