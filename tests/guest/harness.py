# SPDX-License-Identifier: MIT
"""All that a test of the guest bench imports, and the traffic that many of them make; it must not
know what any single test wants to show."""

import os
import re

from bench import (PATIENCE, ROOT, VHU, Failure, Process, Skip, Tap, at_end, check_watched, clean_up,
                   logdir, main, need, path_of, run, tmpdir, wait_for)
from machine import (OFFLOADS_OFF, Guest, Port, Qmp, backports_qemu, boot, guest_image, have_kvm)
from switches import Switch, Testpmd, TestpmdSwitch, huge_pages, make_switch

__all__ = ["PATIENCE", "ROOT", "VHU", "Failure", "Process", "Skip", "Tap", "at_end", "check_watched",
           "clean_up", "logdir", "main", "need", "path_of", "run", "tmpdir", "wait_for",
           "OFFLOADS_OFF", "Guest", "Port", "Qmp", "backports_qemu", "boot", "guest_image",
           "have_kvm", "Switch", "Testpmd", "TestpmdSwitch", "huge_pages", "make_switch",
           "Netns", "ping", "iperf", "iperf_mbit", "iperf_server", "transfer"]


class Netns:
    """A network namespace of the test's own."""

    def __init__(self, name):
        need("ip")
        self.name = "vhu-%d-%s" % (os.getpid(), name)
        try:
            run(["ip", "netns", "add", self.name])
        except Failure as reason:
            raise Skip("no network namespace: %s" % reason)
        at_end(self.delete)
        self.run("ip link set lo up")

    def run(self, command, check=True, timeout=60):
        return run(["sh", "-c", command], netns=self.name, check=check, timeout=timeout)

    def delete(self):
        run(["ip", "netns", "del", self.name], check=False)


def ping(guest, target, size=56, count=3, wait=10):
    """All replies have to come."""
    text = guest.run("ping -q -c %d -i 0.2 -s %d -W %d %s" % (count, size, wait, target),
                     count + wait + 20)
    found = re.search(r"(\d+) packets transmitted, (\d+) packets received", text)
    if not found or found.group(1) != found.group(2):
        raise Failure("ping of %d bytes: %s" % (size, text))
    return text.splitlines()[-1].replace("round-trip ", "")


def iperf_server(guest, port=5201):
    """Starts iperf3's server in the guest, unless it runs already."""
    guest.run("pidof iperf3 >/dev/null && netstat -ltn | grep -q ':%d ' || "
              "iperf3 -s -D -p %d --logfile /tmp/iperf3.log >/dev/null 2>&1" % (port, port))
    wait_for("iperf3's server", lambda: guest.try_run("netstat -ltn | grep -q ':%d '" % port)[0] == 0,
             20, 0.1)


_UNIT = {"K": 1e-3, "M": 1.0, "G": 1e3, "": 1e-6}


def iperf_mbit(text):
    """The receiver's figure out of iperf3's report, in Mbit/s."""
    found = re.findall(r"([\d.]+) ([KMG]?)bits/sec.*receiver", text)
    if not found:
        raise Failure("iperf3 reports no figure: %s" % text[-400:])
    mbit = float(found[-1][0]) * _UNIT[found[-1][1]]  # with several connections the sum comes last
    if mbit <= 0:
        raise Failure("iperf3 moved nothing: %s" % text[-400:])
    return mbit


def iperf(guest, target, seconds=2, reverse=False, extra=""):
    """TCP throughput from this guest to the target's server, in Mbit/s."""
    text = guest.run("iperf3 -c %s -t %d %s --connect-timeout 10000 %s" %
                     (target, seconds, "-R" if reverse else "", extra), seconds + 40)
    return iperf_mbit(text)


def transfer(source, sink, target, mbytes=8, port=7000):
    """Sends a file of random bytes; both ends' sha256 have to be equal."""
    # its standard input stays open: nc would tell the sender to stop at the end of it
    sink.run("rm -f /tmp/got /tmp/got.sum; [ -p /tmp/hold ] || mkfifo /tmp/hold; "
             "(timeout 120 nc -l -p %d 0<>/tmp/hold >/tmp/got; sha256sum </tmp/got >/tmp/got.sum)"
             " >/dev/null 2>&1 & "
             "for i in $(seq 100); do netstat -ltn | grep -q ':%d ' && exit 0; usleep 50000; done; "
             "exit 1" % (port, port))
    source.run("head -c %d /dev/urandom >/tmp/file && sha256sum </tmp/file >/tmp/file.sum" %
               (mbytes << 20))
    source.run("nc -w 20 %s %d </tmp/file" % (target, port), 150)
    wait_for("the file's end", lambda: sink.try_run("test -s /tmp/got.sum")[0] == 0, 60, 0.2)
    sent = source.run("cat /tmp/file.sum")
    got = sink.run("cat /tmp/got.sum")
    size = int(sink.run("wc -c </tmp/got"))
    if size != mbytes << 20:
        raise Failure("%d bytes of %d arrived" % (size, mbytes << 20))
    if sent != got or len(sent.split()[0]) != 64:
        raise Failure("sha256 differs: sent %s, got %s" % (sent, got))
    source.run("rm -f /tmp/file /tmp/file.sum")
    sink.run("rm -f /tmp/got /tmp/got.sum")
    return "%d MiB, sha256 %s..." % (mbytes, sent[:12])
