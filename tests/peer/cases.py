# SPDX-License-Identifier: MIT
"""The cases of one script: found, run one after the other, told in TAP, and nothing left behind. It must not know what any
case wants to show."""

import atexit
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VHU = os.path.abspath(os.environ.get("VHU") or os.path.join(os.environ.get("VHU_BUILD") or os.path.join(ROOT, "build"), "vhu"))
PATIENCE = float(os.environ.get("VHU_PATIENCE", "1"))
BASE = tempfile.mkdtemp(prefix="vhu-%s-" % os.path.splitext(os.path.basename(sys.argv[0]))[0])
TESTS = []
running = []  # processes that end with their case
deeds = []


def at_end(deed):
    """Remembers a deed for the end of the case; the last remembered is done first."""
    deeds.append(deed)


def stop_all():
    while deeds:
        deeds.pop()()
    for process in running:
        if process.poll() is None:
            process.kill()
            process.wait()
    running.clear()


def clean_up():
    stop_all()
    shutil.rmtree(BASE, ignore_errors=True)


atexit.register(clean_up)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda n, _: sys.exit(128 + n))


class Skip(Exception):
    """The machine lacks what this needs."""


def test(function):
    TESTS.append(function)
    return function


def check(true, *said):
    if not true:
        raise AssertionError(" ".join(str(s) for s in said))


def wait_for(what, look, seconds=20):
    end = time.monotonic() + seconds * PATIENCE
    while time.monotonic() < end:
        seen = look()
        if seen:
            return seen
        time.sleep(0.005)
    raise AssertionError("waited in vain: " + what)


def main():
    """Runs all cases, or those named on the command line; the exit status."""
    only = sys.argv[1:]
    if not os.path.exists(VHU):
        print("1..0 # SKIP %s has not been built" % VHU)
        return 0
    failed = 0
    chosen = [t for t in TESTS if not only or t.__name__ in only]
    print("1..%d" % len(chosen))
    for i, function in enumerate(chosen, 1):
        try:
            function()
            print("ok %d - %s" % (i, function.__name__))
        except Skip as why:
            print("ok %d - %s # SKIP %s" % (i, function.__name__, why))
        except Exception:  # whatever it is, the next one runs
            failed += 1
            print("not ok %d - %s" % (i, function.__name__))
            print("".join("# %s\n" % line for line in traceback.format_exc().splitlines()), end="")
        sys.stdout.flush()
        stop_all()
    return 1 if failed else 0
