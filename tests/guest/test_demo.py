#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# tier: check
# timeout: 240
"""The demo on a terminal of 80 columns: it shows what it promises, and leaves nothing behind, also
when it is stopped with Ctrl-C at any time."""

import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import PATIENCE, ROOT, VHU, Failure, at_end, guest_image, main, need, wait_for

# Ctrl-C as soon as this is on the screen
MOMENTS = {"at_once": "vhu: two Linux guests", "while_the_switch_starts": "the switch, and a tracer",
           "while_the_guests_boot": "the handshake", "during_the_handshake": "SET_VRING_KICK",
           "during_traffic": "ping, 1472 bytes"}
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """The demo on a pseudo-terminal, with a folder of its own for all that is temporary."""

    def __init__(self):
        self.tmp = tempfile.mkdtemp(prefix="vhu-demo.")
        at_end(lambda: shutil.rmtree(self.tmp, ignore_errors=True))
        self.fd, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        env = dict(os.environ, TMPDIR=self.tmp, VHU=VHU, TERM="xterm")
        env.pop("VHU_LOGS", None)

        def become_foreground():
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        self.child = subprocess.Popen([sys.executable, os.path.join(ROOT, "scripts", "demo.py")],
                                      stdin=theirs, stdout=theirs, stderr=theirs, env=env,
                                      start_new_session=True, preexec_fn=become_foreground)
        os.close(theirs)
        at_end(self.end)
        self.raw = ""

    def end(self):
        if self.child.poll() is None:
            self.child.terminate()
            self.child.wait(60)

    def read_until(self, text, timeout):
        """Reads until the text is there, or to the end for None."""
        until = time.monotonic() + timeout * PATIENCE
        while text is None or text not in ESCAPES.sub("", self.raw):
            if time.monotonic() > until:
                raise Failure("no %r in %d s:\n%s" % (text, timeout * PATIENCE, self.raw[-1500:]))
            if not select.select([self.fd], [], [], 0.5)[0]:
                continue
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                data = b""
            if not data:
                if text is None:
                    break
                raise Failure("it ended before %r:\n%s" % (text, self.raw[-1500:]))
            self.raw += data.decode(errors="replace")
        return ESCAPES.sub("", self.raw)

    def left(self):
        """Files, processes and sockets of it that are there still."""
        found = ["file " + name for name in os.listdir(self.tmp)]
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/environ" % pid, "rb") as environ:
                    ours = ("TMPDIR=" + self.tmp).encode() in environ.read().split(b"\0")
                with open("/proc/%s/cmdline" % pid, "rb") as line:
                    words = line.read().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if ours:
                found.append("process %s: %s" % (pid, words[:200]))
        with open("/proc/net/unix") as sockets:
            found += ["socket " + line for line in sockets if self.tmp in line]
        return found

    def check_gone(self):
        # what was killed may take a moment to be gone
        try:
            wait_for("nothing to be left", lambda: not self.left(), 3)
        except Failure:
            raise Failure("\n".join(self.left()) or "something was left for 3 s")


def whole():
    start = time.monotonic()
    terminal = Terminal()
    text = terminal.read_until(None, 120)
    status = terminal.child.wait(30)
    seconds = time.monotonic() - start
    if status:
        raise Failure("status %d:\n%s" % (status, text[-1500:]))
    for promised in ("SET_VRING_CALL", "SET_VRING_KICK", "[1] ring 0", "(2) ring 0", "[3] ring 0",
                     "(4) ring 0", "[5] ring 0", "ring 1 is ready", "ping, 8000 bytes", "Mbit/s",
                     "sha256 equal", "RX FRAMES"):
        if promised not in text:
            raise Failure("it does not show %r:\n%s" % (promised, text[-3000:]))
    # what a carriage return overwrites is no line of its own
    wide = [line for part in text.split("\n") for line in part.strip("\r").split("\r")
            if len(line) > 80]
    if wide:
        raise Failure("wider than 80 columns: %r" % wide[:3])
    terminal.check_gone()
    return "%.0f s" % seconds


def stopped(moment):
    terminal = Terminal()
    terminal.read_until(moment, 60)
    os.write(terminal.fd, b"\x03")
    terminal.read_until(None, 60)
    status = terminal.child.wait(30)
    if status not in (128 + signal.SIGINT, -signal.SIGINT):
        raise Failure("status %d:\n%s" % (status, terminal.raw[-1500:]))
    terminal.check_gone()


def test(tap):
    need("qemu-system-x86_64")
    guest_image()
    tap.case("demo_shows_what_it_promises_and_leaves_nothing", whole)
    for name, moment in MOMENTS.items():
        tap.case("ctrl_c_%s_leaves_nothing" % name, stopped, moment)


if __name__ == "__main__":
    main(test)
