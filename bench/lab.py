# SPDX-License-Identifier: MIT
"""Two sides on two cores, one measurement running at a time: testpmd as frontend and as backend, other backends,
and what is stopped while another has the cores. It must not know what is compared with what."""

import os
import re
import signal
import subprocess
import sys
import threading
import time

from report import BUILD, ROOT, median, need

sys.path.insert(0, str(ROOT / "tests" / "guest"))
# pylint: disable=wrong-import-position
from bench import Failure, Process, Skip, path_of, wait_for  # noqa: E402
from bench import need as need_programs  # noqa: E402
from switches import huge_pages  # noqa: E402

__all__ = ["Failure", "Process", "Skip", "Backend", "Cores", "DpdkBackend", "Frontend", "Pair", "Pump", "ends",
           "huge_pages", "instructions", "interleave", "need", "need_programs", "path_of", "placement",
           "ratios", "spread", "switch_modes", "two_cores", "vhu", "vhu_switch", "wait_for"]

MBUFS = 8192
MEGABYTES = 64
HUGE_PAGE = 2
COUNT_WINDOW = 128  # frames on their way while instructions are counted


def ends(table, work):
    """Does the work, which adds rows to the table, and ends it. The exit status: 1, failed; 77, it cannot be here."""
    try:
        work()
    except Skip as reason:
        print(f"cannot measure here: {reason}", file=sys.stderr)
        return 77
    except Failure as reason:
        print(f"failed: {reason}", file=sys.stderr)
        return 1
    table.end()
    return 0


def two_cores():
    """The frontend's and the backend's."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        raise Skip("two processors are needed, one for each side")
    return cpus[0], cpus[-1]


def on_cpu(cpu):
    """The beginning of a command line; None: anywhere."""
    return [] if cpu is None else ["taskset", "-c", str(cpu)]


class Cores:
    """How far apart the two cores are at this moment."""

    def __init__(self, cpus):
        self.process = Process("cores", [need("cores"), *map(str, cpus)], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)

    def look(self):
        self.process.popen.stdin.write(b"\n")
        self.process.popen.stdin.flush()
        return int(self.process.popen.stdout.readline() or 0)


def placement(*nanoseconds):
    """near: a round trip of a cache line below 250 ns, before and after; far; or mixed."""
    kinds = {"near" if ns < 250 else "far" for ns in nanoseconds}
    return kinds.pop() if len(kinds) == 1 else "mixed"


class Testpmd:
    """dpdk-testpmd over pipes, so that nobody has to look into a file while it measures. Both its threads are
    on one core: the one of the prompt sleeps."""

    number = 0

    def __init__(self, cpu, vdevs, args=(), megabytes=MEGABYTES, mbufs=MBUFS):
        need_programs("dpdk-testpmd", "stdbuf", "taskset")
        # DPDK leaves empty folders where it runs: let them go with ours
        os.environ["RUNTIME_DIRECTORY"] = path_of("run")
        os.makedirs(path_of("run"), exist_ok=True)
        huge_pages(megabytes // HUGE_PAGE + 4)
        Testpmd.number += 1
        name = f"testpmd{Testpmd.number}"
        self.nr_ports = len(vdevs)
        self.text = ""
        self.change = threading.Condition()
        self.process = Process(name, [
            "taskset", "-c", str(cpu), "stdbuf", "-oL", "dpdk-testpmd", "--lcores", f"0@{cpu},1@{cpu}",
            "-m", str(megabytes), "--in-memory", "--single-file-segments", "--no-pci", "--no-telemetry",
            "--file-prefix", f"{name}-{os.getpid()}", *(f"--vdev={vdev}" for vdev in vdevs),
            "--", "-i", "--nb-cores=1", "--rxq=1", "--txq=1", f"--total-num-mbufs={mbufs}", "--burst=32",
            "--disable-link-check", "--no-lsc-interrupt", *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        threading.Thread(target=self.read, daemon=True).start()
        self.wait("testpmd> ", 0, 60)

    @property
    def pid(self):
        return self.process.pid

    def read(self):
        pipe = self.process.popen.stdout.fileno()
        while True:
            data = os.read(pipe, 65536)
            with self.change:
                self.text = self.text + data.decode("latin1") if data else None
                self.change.notify_all()
            if not data:
                return

    def wait(self, pattern, start, seconds=15):
        """What matches in the output from start on."""
        end = time.monotonic() + seconds
        with self.change:
            while True:
                if self.text is None:
                    raise Failure("testpmd has ended: " + self.process.log_tail())
                found = re.compile(pattern, re.S).search(self.text, start)
                if found:
                    return found
                left = end - time.monotonic()
                if left <= 0:
                    raise Failure(f"testpmd did not say /{pattern}/: {self.text[-600:]}")
                self.change.wait(left)

    def cmd(self, line, until=None, seconds=15):
        with self.change:
            start = len(self.text or "")
        self.process.popen.stdin.write(f"{line}\n".encode())
        self.process.popen.stdin.flush()
        return self.wait(until, start, seconds) if until else None

    def begin(self, engine, size=None, how="start", segments=None):
        if segments or size:
            self.cmd(f"set txpkts {segments or size}")
        self.cmd(f"set fwd {engine}", f"Set {engine} packet")
        self.cmd(how, "packets/burst")

    def end(self):
        self.cmd("stop", r"Done\.|not started")

    def rates(self):
        """(received, sent) a second of each port, by testpmd's own clock, since this was last asked."""
        one = r"NIC statistics for port {} .*?Rx-pps:\s*(\d+).*?Tx-pps:\s*(\d+).*?#####"
        found = self.cmd("show port stats all", ".*?".join(one.format(i) for i in range(self.nr_ports)))
        values = [int(value) for value in found.groups()]
        return list(zip(values[::2], values[1::2]))

    def stop(self):
        if self.process.alive():
            try:
                self.process.popen.stdin.write(b"quit\n")
                self.process.popen.stdin.flush()
                self.process.popen.wait(10)
            except (OSError, subprocess.TimeoutExpired):
                pass
        self.process.stop()


class Frontend(Testpmd):
    """virtio-user, a port for each socket."""

    def __init__(self, cpu, sockets, ring, size=256, options="", args=(), megabytes=MEGABYTES, mbufs=MBUFS,
                 server=False):
        options += ",packed_vq=1" if ring == "packed" else ""
        options += ",server=1" if server else ""
        vdevs = [f"net_virtio_user{i},path={path},queues=1,queue_size={size},mac=02:00:00:00:01:{i + 1:02x}{options}"
                 for i, path in enumerate(sockets)]
        super().__init__(cpu, vdevs, [f"--rxd={size}", f"--txd={size}", *args], megabytes, mbufs)


class Pump:
    """Our own frontend, from the first of its ports to the second; frames of 64 bytes, or of 64 KiB with tso."""

    def __init__(self, cpu, sockets, ring, tso=True, window=16, listens=False, beside=None):
        self.process = Process("pump", [*on_cpu(cpu), need("pump"), *sockets, "--window", str(window),
                                        *(["--tso"] if tso else []), *(["--packed"] if ring == "packed" else []),
                                        *(["--server"] if listens else []), *(["--beside", beside] if beside else [])],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.before = self.ask()

    @property
    def pid(self):
        return self.process.pid

    def ask(self):
        self.process.popen.stdin.write(b"\n")
        self.process.popen.stdin.flush()
        line = self.process.popen.stdout.readline()
        if not line:
            raise Failure("pump has ended: " + self.process.log_tail())
        return [int(word) for word in line.split()]

    def rates(self):
        """As a testpmd's."""
        now = self.ask()
        frames, ns = now[0] - self.before[0], now[1] - self.before[1]
        self.before = now
        return [(0, 0), (frames * 1e9 / ns, 0)]

    def stop(self):
        self.process.stop()


def count(pump, pid, what):
    """Tells callgrind (--zero, --dump); how many frames had arrived then: it takes a moment, whose middle is meant."""
    before = pump.ask()[0]
    done = subprocess.run(["callgrind_control", what, str(pid)], check=False, capture_output=True, text=True,
                          timeout=60)
    if done.returncode:
        raise Failure(f"callgrind_control {what}: {done.stderr.strip() or done.stdout.strip()}")
    return (before + pump.ask()[0]) // 2


def counted_in(out):
    """Instructions of the first dump."""
    with open(out + ".1", encoding="ascii", errors="replace") as dump:
        return int(re.search(r"^totals:\s*(\d+)", dump.read(), re.M).group(1))


def instructions(args, name, ports, ring, beside=None):
    """Of `vhu switch` under callgrind with so many ports and a pump at them, for args.seconds: frames that arrived, and
    instructions for each. Counting begins once frames pass."""
    sockets = [path_of(f"{name}-{i}") for i in range(ports)]
    out = path_of(f"{name}-callgrind")
    argv = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", vhu(), "switch", "--quiet", "--no-sandbox",
            "--ctl", path_of(f"{name}-ctl")]
    argv += ["--mode", args.mode] if args.mode else []
    for i, path in enumerate(sockets):
        argv += ["--port", f"p{i}=vhost-user:{path},queues=1"]
    patience = 60 + ports / 4
    switch = Backend(None, argv, sockets, seconds=patience)
    pump = Pump(None, sockets, ring, tso=False, window=COUNT_WINDOW, beside=beside)
    try:
        wait_for(f"frames through {ports} ports", lambda: pump.ask()[0] > 10 * COUNT_WINDOW, patience, 0.1)
        before = count(pump, switch.pid, "--zero")
        time.sleep(args.seconds)
        frames = count(pump, switch.pid, "--dump") - before
    finally:
        pump.stop()
        switch.stop()
    if not frames:
        raise Failure(f"{name}: no frame passed")
    return {"frames": frames, "instructions": counted_in(out) / frames}


class DpdkBackend(Testpmd):
    """net_vhost, a port for each socket; engine: what its forwarding thread does."""

    def __init__(self, cpu, sockets, engine, size=64, options="", args=(), megabytes=MEGABYTES, mbufs=MBUFS):
        vdevs = [f"net_vhost{i},iface={path},queues=1{options}" for i, path in enumerate(sockets)]
        super().__init__(cpu, vdevs, args, megabytes, mbufs)
        self.engine, self.size = engine, size
        if engine != "txonly":
            self.begin(engine)

    def frontend_is_there(self):
        if self.engine == "txonly":
            self.begin(self.engine, self.size)


class Backend:
    """Any program that is one process and listens on these sockets."""

    number = 0

    def __init__(self, cpu, argv, sockets, seconds=20):
        Backend.number += 1
        self.process = Process(f"backend{Backend.number}", [*on_cpu(cpu), *argv])

        def listens():
            self.process.check_alive()
            return all(map(os.path.exists, sockets))
        wait_for("sockets of " + argv[0], listens, seconds)

    @property
    def pid(self):
        return self.process.pid

    def frontend_is_there(self):
        pass

    def stop(self):
        self.process.stop()


class Pair:
    """A frontend and its backend that stand still but for their slices."""

    def __init__(self, name, frontend, backend, rate):
        """rate: of the frontend's rates(), frames a second."""
        self.name, self.frontend, self.backend, self.rate = name, frontend, backend, rate

    def signal(self, number):
        for side in (self.frontend, self.backend):
            os.kill(side.pid, number)

    def pause(self):
        self.signal(signal.SIGSTOP)

    def slice(self, seconds, settle=0.03):
        """Frames a second, in millions."""
        self.signal(signal.SIGCONT)
        try:
            time.sleep(settle)
            self.frontend.rates()
            for _ in range(50):
                time.sleep(seconds)
                figure = self.rate(self.frontend.rates()) / 1e6
                if figure:
                    return figure
            # not starved by whatever else runs here, but dead
            raise Failure("nothing passes any more: " + self.name)
        finally:
            self.pause()

    def stop(self):
        self.signal(signal.SIGCONT)
        self.frontend.stop()
        self.backend.stop()


def interleave(pairs, rounds, seconds, cores, note=lambda text: None):
    """Slices of all pairs, forth and back again: {name: figures}, and where the cores were in each round."""
    figures = {name: [] for name in pairs}
    places = []
    names = list(pairs)
    before = cores.look()
    for number in range(rounds):
        for name in names if number % 2 == 0 else names[::-1]:
            figures[name].append(pairs[name].slice(seconds))
        after = cores.look()
        places.append(placement(before, after))
        before = after
        note(f"round {number + 1} of {rounds}, cores {places[-1]} ({after} ns)")
    return figures, places


def ratios(figures, name, base, places=None, place=None):
    """Round by round, those of a placement or all."""
    return [a / b for i, (a, b) in enumerate(zip(figures[name], figures[base]))
            if b and (place is None or places[i] == place)]


def spread(values):
    """Median, and first and third quartile as text."""
    values = sorted(values)
    if not values:
        return None, None
    return median(values), f"{values[len(values) // 4]:.2f}-{values[min(len(values) - 1, 3 * len(values) // 4)]:.2f}"


def vhu():
    path = os.environ.get("VHU") or str(BUILD / "vhu")
    if not os.access(path, os.X_OK):
        raise Failure(f"{path} is not built")
    return path


def switch_modes():
    """Whether this vhu switch can be told to poll, or not to."""
    said = subprocess.run([vhu(), "switch", "--help"], check=False, capture_output=True, text=True)
    return "--mode" in said.stdout + said.stderr


def vhu_switch(cpu, sockets, mode=None):
    """`vhu switch` with a port for each socket; its control socket is beside the first."""
    argv = [vhu(), "switch", "--quiet", "--ctl", sockets[0] + ".ctl"]
    argv += ["--mode", mode] if mode else []
    for i, path in enumerate(sockets):
        argv += ["--port", f"p{i}=vhost-user:{path},queues=1"]
    return Backend(cpu, argv, sockets)
