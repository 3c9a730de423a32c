#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make demo: two Linux guests talk through `vhu switch`, and `vhu trace` shows how they got there.
It must not know how guests or switches are started: that is tests/guest/harness.py."""

import fcntl
import os
import pty
import struct
import sys
import termios
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "guest"))
sys.dont_write_bytecode = True

from harness import (VHU, Failure, Guest, Port, Process, Skip, Switch, boot, clean_up,  # noqa: E402
                     guest_image, iperf_mbit, iperf_server, path_of, transfer, wait_for)

A, B = "10.9.0.1", "10.9.0.2"
WIDTH = 80
TTY = sys.stdout.isatty()
COLOUR = TTY and not os.environ.get("NO_COLOR")
STARTED = time.monotonic()


def paint(code, text):
    return "\033[%sm%s\033[0m" % (code, text) if COLOUR else text


class Screen:
    """Lines that stay, and on a terminal one line below them that says what is being waited for."""

    def __init__(self):
        self.lock = threading.Lock()
        self.waiting = None
        self.since = 0.0
        self.over = threading.Event()
        if TTY:
            threading.Thread(target=self._turn, daemon=True).start()

    def line(self, text=""):
        with self.lock:
            sys.stdout.write(("\r\033[K" if TTY and self.waiting else "") + text + "\n")
            self._status()
            sys.stdout.flush()

    def section(self, number, text):
        self.line()
        self.line(paint("1;36", "%s  %s " % (number, text)) +
                  paint("36", "-" * max(0, WIDTH - len(text) - 4)))

    def wait(self, text):
        """What the line below says from now on; None: nothing."""
        with self.lock:
            if TTY and self.waiting:
                sys.stdout.write("\r\033[K")
            self.waiting, self.since = text, time.monotonic()
            self._status()
            sys.stdout.flush()

    def _status(self):
        if TTY and self.waiting:
            sys.stdout.write("\r\033[K" + paint("33", "... %s (%.0f s)" % (
                self.waiting, time.monotonic() - self.since)))

    def _turn(self):
        while not self.over.wait(0.5):
            with self.lock:
                self._status()
                sys.stdout.flush()


class Trace:
    """`vhu trace`, its lines put on the screen as they come."""

    def __init__(self, screen, listen, connect):
        self.screen = screen
        self.lines = 0
        self.quiet = False
        if TTY:
            # on a terminal of its own, so that it paints
            ours, theirs = pty.openpty()
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, WIDTH, 0, 0))
        else:
            ours, theirs = os.pipe()
        self.process = Process("trace", [VHU, "trace", listen, connect], stdout=theirs)
        os.close(theirs)
        self.reader = threading.Thread(target=self._copy, args=(ours,), daemon=True)
        self.reader.start()
        wait_for("vhu trace to listen", lambda: self._listens(listen), 20)
        self.process.watch()

    def _listens(self, path):
        self.process.check_alive()
        return os.path.exists(path)

    def _copy(self, fd):
        with open(fd, "rb", buffering=0) as source:
            rest = b""
            while True:
                try:
                    data = source.read(65536)
                except OSError:  # the terminal's other side is closed
                    return
                if not data:
                    return
                *lines, rest = (rest + data.replace(b"\r", b"")).split(b"\n")
                for line in lines:
                    self.lines += 1
                    if not self.quiet:
                        self.screen.line(line.decode(errors="replace"))


def say(screen, what, result):
    screen.wait(None)
    screen.line("  %-34s %s" % (what, paint("1;32", result)))


def throughput(screen, guest, what, reverse):
    screen.wait(what)
    text = guest.run("iperf3 -c %s -t 4 %s --connect-timeout 10000" %
                     (B, "-R" if reverse else ""), 60)
    say(screen, what, "%.0f Mbit/s" % iperf_mbit(text))


def pings(screen, a):
    for size in (56, 1472, 8000):
        screen.wait("ping of %d bytes" % size)
        text = a.run("ping -c 4 -i 0.2 -s %d -W 10 %s" % (size, B), 60)
        lines = [line for line in text.splitlines() if "packet loss" in line or "round-trip" in line]
        if len(lines) < 2 or " 0% packet loss" not in lines[0]:
            raise Failure("ping of %d bytes: %s" % (size, text))
        say(screen, "ping, %d bytes" % size, "4 of 4, %s" % lines[1].split("= ")[-1])


def demo(screen):
    screen.line(paint("1", "vhu: two Linux guests on one vhost-user switch"))
    screen.line("guest a -- vhu trace -- vhu switch -- guest b    (QEMU; no root, no huge pages)")

    screen.section(1, "the switch, and a tracer between guest a and it")
    screen.wait("the guests' kernel and initramfs (downloaded once)")
    guest_image()
    screen.wait(None)
    paths = {name: path_of(name + ".sock") for name in ("a", "b", "traced")}
    switch = Switch(["%s=vhost-user:%s" % (name, paths[name]) for name in ("a", "b")])
    for line in ("vhu switch --port a=vhost-user:a.sock --port b=vhost-user:b.sock",
                 "vhu trace traced.sock a.sock",
                 "qemu ... -chardev socket,id=c,path=traced.sock -netdev vhost-user,chardev=c"):
        screen.line(paint("2", "  $ " + line))

    screen.section(2, "guest a's driver starts its device: the handshake")
    trace = Trace(screen, paths["traced"], paths["a"])
    a = Guest("a", [Port(paths["traced"])], ip=A + "/24")
    b = Guest("b", [Port(paths["b"])], ip=B + "/24")
    screen.wait("two Linux guests boot")
    boot(a, b)
    wait_for("the link to carry", lambda: a.try_run("ping -c 1 -W 1 " + B)[0] == 0, 30)
    screen.wait(None)
    trace.quiet = True

    screen.section(3, "from here on kicks and calls go straight: the guests talk")
    iperf_server(b)
    pings(screen, a)
    throughput(screen, a, "TCP, a to b", False)
    throughput(screen, a, "TCP, b to a", True)
    screen.wait("a file of random bytes")
    say(screen, "file, a to b, sha256 equal", transfer(a, b, B, 16))

    screen.section(4, "what the switch counted: vhu ctl show counters")
    for line in switch.counters_text().splitlines():
        screen.line(line)
    screen.line()
    screen.line(paint("1", "%.0f s in all. Nothing is left behind." % (time.monotonic() - STARTED)))


def main():
    screen = Screen()
    status = 1
    try:
        demo(screen)
        status = 0
    except (Failure, Skip) as reason:
        screen.wait(None)
        screen.line(paint("1;31", "demo: %s" % reason))
    except SystemExit as end:  # Ctrl-C
        screen.wait(None)
        screen.line("stopped; cleaning up")
        status = end.code
    finally:
        screen.over.set()
        clean_up()
    sys.exit(status)


if __name__ == "__main__":
    main()
