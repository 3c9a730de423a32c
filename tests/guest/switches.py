# SPDX-License-Identifier: MIT
"""Starts `vhu switch` and dpdk-testpmd, as a switch or as a frontend; it must not know of guests."""

import fcntl
import json
import os
import re
import subprocess
import tempfile

from bench import VHU, Failure, Process, Skip, at_end, need, path_of, run, wait_for


class Switch:
    """`vhu switch`, with its control socket."""

    def __init__(self, ports, name="switch", netns=None, args=(), start=True):
        if not os.access(VHU, os.X_OK):
            raise Failure("%s is not built" % VHU)
        self.name = name
        self.netns = netns
        self.ctl = path_of(name + ".ctl")
        self.argv = [VHU, "switch"]
        for port in ports:
            self.argv += ["--port", port]
        self.argv += ["--ctl", self.ctl] + list(args)
        self.process = None
        if start:
            self.start()

    def start(self):
        self.process = Process(self.name, self.argv, netns=self.netns)

        def answers():
            self.process.check_alive()
            return subprocess.run([VHU, "ctl", "--socket", self.ctl, "show", "ports", "--json"],
                                  stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL).returncode == 0
        wait_for("the control socket of vhu switch", answers, 20, 0.05)
        self.process.watch()
        return self

    def show(self, what):
        """ports, fdb or counters, as the program's own JSON."""
        return json.loads(run([VHU, "ctl", "--socket", self.ctl, "show", what, "--json"]))

    def ctl_run(self, *args, check=True):
        return run([VHU, "ctl", "--socket", self.ctl] + list(args), check=check)

    def counters_text(self):
        return run([VHU, "ctl", "--socket", self.ctl, "show", "counters"], check=False)

    def kill9(self):
        self.process.kill9()

    def stop(self):
        return self.process.stop()


class Testpmd:
    """dpdk-testpmd, driven over its prompt."""

    def __init__(self, name, vdevs, args=(), eal=(), mem=128, cores="0,1", start=True):
        need("dpdk-testpmd", "stdbuf")
        self.name = name
        self.argv = ["stdbuf", "-oL", "dpdk-testpmd", "-l", cores, "--in-memory", "--no-pci",
                     "--single-file-segments", "--no-telemetry", "-m", str(mem),
                     "--file-prefix=%s%d" % (name, os.getpid())] + list(eal)
        for vdev in vdevs:
            self.argv.append("--vdev=" + vdev)
        self.argv += ["--", "-i", "--nb-cores=1", "--total-num-mbufs=16384",
                      "--disable-link-check", "--no-lsc-interrupt"] + list(args)
        self.process = None
        if start:
            self.start()

    def start(self):
        huge_pages()
        self.process = Process(self.name, self.argv, stdin=subprocess.PIPE)
        self.wait(r"testpmd> ", self.process.log_start, 60)
        self.process.watch()
        return self

    def mark(self):
        return len(self.process.log_text())

    def wait(self, pattern, start=0, timeout=30):
        regex = re.compile(pattern, re.S)

        def look():
            found = regex.search(self.process.log_text(), start)
            if not found:
                self.process.check_alive()
            return found
        return wait_for("/%s/ from %s" % (pattern, self.name), look, timeout)

    def cmd(self, line, until=None, timeout=30):
        """Types a command; with a pattern, waits for it in what follows."""
        start = self.mark()
        self.process.popen.stdin.write((line + "\n").encode())
        self.process.popen.stdin.flush()
        return self.wait(until, start, timeout) if until else None

    def stats(self, port):
        """The counters of a port, as testpmd's names and numbers."""
        # xstats end with the prompt's echo of the next command; stats have a closing rule
        start = self.mark()
        self.cmd("show port stats %d" % port)
        text = self.wait(r"statistics for port %d +#+\n(.*?)\n *#{20}" % port, start).group(1)
        return {k: int(v) for k, v in re.findall(r"([RT]X-\w+):\s*(\d+)", text)}

    def signal(self, signum):
        self.process.signal(signum)

    def kill9(self):
        self.process.kill9()

    def stop(self):
        if self.process and self.process.alive():
            try:
                self.process.popen.stdin.write(b"quit\n")
                self.process.popen.stdin.flush()
                self.process.popen.wait(15)
            except (OSError, subprocess.TimeoutExpired):
                pass
        return self.process.stop() if self.process else None


class TestpmdSwitch(Testpmd):
    """Two vhost-user ports joined by dpdk-testpmd, in the place of `vhu switch`: tells a fault of
    the tests from one of the switch, and is what throughput is compared with."""

    def __init__(self, ports, name="testpmd", tso=True):
        vdevs = []
        for i, port in enumerate(ports):
            kind, _, rest = port.partition("=")[2].partition(":")
            words = rest.split(",")
            if kind != "vhost-user" or len(ports) != 2:
                raise Skip("testpmd joins two vhost-user ports, nothing else")
            vdevs.append("net_vhost%d,iface=%s,queues=%d%s%s" %
                         (i, words[0], QUEUES_OF_TESTPMD, ",client=1" if "client" in words else "",
                          ",tso=1" if tso else ""))
        args = []
        if QUEUES_OF_TESTPMD > 1:
            args = ["--rxq=%d" % QUEUES_OF_TESTPMD, "--txq=%d" % QUEUES_OF_TESTPMD]
        super().__init__(name, vdevs, args)

    def start(self):
        # it refuses a path that is there, also a dead one's
        for vdev in re.findall(r"iface=([^,]*),queues=\d+(?!,client)", " ".join(self.argv)):
            if os.path.exists(vdev):
                os.unlink(vdev)
        super().start()
        self.cmd("start", r"packets/burst")
        return self

    def show(self, what):
        raise Skip("testpmd has no %s" % what)

    def ctl_run(self, *_args, check=True):
        raise Skip("testpmd has no control socket")

    def counters_text(self):
        return ""


QUEUES_OF_TESTPMD = 1


def make_switch(ports, **more):
    """`vhu switch`, or dpdk-testpmd where VHU_BENCH=testpmd asks for it."""
    if os.environ.get("VHU_BENCH") == "testpmd":
        if more:
            raise Skip("testpmd cannot do that")
        return TestpmdSwitch(ports)
    return Switch(ports, **more)


_huge_lock = None
HUGE_NR = "/proc/sys/vm/nr_hugepages"


def huge_pages(free=128):
    """Sees to it that so many huge pages are free for DPDK; the last test that wanted any puts back
    what was there before the first."""
    global _huge_lock
    try:
        if _huge_lock is None:
            lock = open(os.path.join(tempfile.gettempdir(), "vhu-test-hugepages.%d" % os.geteuid()),
                        "a+")
            fcntl.flock(lock, fcntl.LOCK_SH)
            with open(HUGE_NR) as now:
                before = now.read().strip()
            lock.seek(0)
            if not lock.read():
                lock.write(before)
                lock.flush()
            _huge_lock = lock
            at_end(_huge_pages_back, last=True)
        with open("/proc/meminfo") as info:
            text = info.read()
        missing = free - int(re.search(r"HugePages_Free:\s*(\d+)", text).group(1))
        if missing > 0:
            with open(HUGE_NR) as now:
                wanted = int(now.read()) + missing
            with open(HUGE_NR, "w") as now:
                now.write(str(wanted))
            with open(HUGE_NR) as now:
                got = int(now.read())
            if got < wanted:
                raise Skip("only %d of %d huge pages could be had" % (got, wanted))
    except OSError as error:
        raise Skip("no huge pages: %s" % error)


def _huge_pages_back():
    fcntl.flock(_huge_lock, fcntl.LOCK_UN)
    try:
        fcntl.flock(_huge_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # another test uses them still
    _huge_lock.seek(0)
    before = _huge_lock.read()
    if before:
        with open(HUGE_NR, "w") as now:
            now.write(before)
    os.unlink(_huge_lock.name)
