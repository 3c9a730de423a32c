# SPDX-License-Identifier: MIT
"""Starts guests, switches and namespaces for a test and speaks TAP; it must not know what any
single test wants to show."""

import atexit
import base64
import contextlib
import ctypes
import fcntl
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("VHU_BUILD") or os.path.join(ROOT, "build")
VHU = os.environ.get("VHU") or os.path.join(BUILD, "vhu")
# Everything slow is waited for by looking, up to a limit; a slow machine may stretch the limits.
PATIENCE = float(os.environ.get("VHU_PATIENCE", "1"))

os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


class Failure(Exception):
    """Something that was to happen did not."""


class Skip(Exception):
    """The machine lacks what this needs."""


def need(*programs):
    """Raises Skip unless every program is there."""
    for prog in programs:
        if not shutil.which(prog):
            raise Skip("no %s here" % prog)


def wait_for(what, look, timeout=30.0, every=0.02):
    """Looks until it is true, and returns what was seen; Failure when the time is up."""
    end = time.monotonic() + timeout * PATIENCE
    while True:
        seen = look()
        if seen:
            return seen
        check_watched()
        if time.monotonic() > end:
            raise Failure("waited %.0f s in vain: %s" % (timeout * PATIENCE, what))
        time.sleep(every)


# --- what has to go away at the end -------------------------------------------------------------

_cleanups = []
_tmp = None
_libc = ctypes.CDLL(None, use_errno=True)


def at_end(deed):
    """Remembers a deed for the end of the program; the last remembered is done first."""
    _cleanups.append(deed)


def clean_up():
    while _cleanups:
        deed = _cleanups.pop()
        try:
            deed()
        except Exception:  # the rest has to be cleaned all the same
            traceback.print_exc()


def _on_signal(signum, _frame):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + signum)


@contextlib.contextmanager
def signals_held():
    """No end in here: what is made is remembered for the end first."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK,
                                    (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


atexit.register(clean_up)
signal.signal(signal.SIGINT, _on_signal)
signal.signal(signal.SIGTERM, _on_signal)
signal.signal(signal.SIGHUP, _on_signal)


def tmpdir():
    """The folder for sockets and the like, removed at the end."""
    global _tmp
    if _tmp is None:
        with signals_held():
            _tmp = tempfile.mkdtemp(prefix="vhu-test.")
            # first in, last out: everything that lives in it is stopped before
            _cleanups.insert(0, lambda: shutil.rmtree(_tmp, ignore_errors=True))
    return _tmp


def logdir():
    """The folder for logs: a folder of this test's own under VHU_LOGS, else a temporary one."""
    base = os.environ.get("VHU_LOGS")
    if not base:
        path = os.path.join(tmpdir(), "logs")
    else:
        name = os.path.splitext(os.path.basename(sys.argv[0]))[0]
        path = os.path.join(base, name)
    os.makedirs(path, exist_ok=True)
    return path


def path_of(name):
    return os.path.join(tmpdir(), name)


def _child_setup():
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    # PR_SET_PDEATHSIG: nothing outlives a test that was killed with -9
    _libc.prctl(1, signal.SIGKILL)


_logs_begun = set()
_watched = []


def check_watched():
    for process in _watched:
        process.check_alive()


class Process:
    """A child with its output in a log file, ended with the test."""

    def __init__(self, name, argv, netns=None, stdin=None, stdout=None, env=None):
        self.name = name
        self.log_path = os.path.join(logdir(), name + ".log")
        if netns:
            argv = ["ip", "netns", "exec", netns] + argv
        self.argv = argv
        # a program that is started again goes on in the log of its first start
        with open(self.log_path, "ab" if self.log_path in _logs_begun else "wb") as log:
            _logs_begun.add(self.log_path)
            self.log_start = log.tell()
            log.write(("\n# %s\n" % " ".join(argv)).encode())
            log.flush()
            # its own group: Ctrl-C on the terminal is for the test, which ends things in order
            with signals_held():
                self.popen = subprocess.Popen(argv, stdin=stdin or subprocess.DEVNULL,
                                              stdout=stdout or log, stderr=log, env=env,
                                              preexec_fn=_child_setup, start_new_session=True)
                at_end(self.stop)

    @property
    def pid(self):
        return self.popen.pid

    def watch(self):
        """From here on every wait of this test fails at once when this process is dead."""
        _watched.append(self)
        return self

    def alive(self):
        return self.popen.poll() is None

    def check_alive(self):
        if not self.alive():
            if self in _watched:
                _watched.remove(self)
            raise Failure("%s ended with status %s: %s" %
                          (self.name, self.popen.returncode, self.log_tail()))

    def signal(self, signum):
        if self.alive():
            os.kill(self.popen.pid, signum)

    def kill9(self):
        if self in _watched:
            _watched.remove(self)
        self.signal(signal.SIGKILL)
        self.popen.wait()

    def stop(self, timeout=10):
        """Asks it to end, in the end insists; returns its exit status."""
        if self in _watched:
            _watched.remove(self)
        if self.alive():
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            try:
                self.popen.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill9()
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe:
                pipe.close()
        return self.popen.returncode

    def log_text(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def log_tail(self, size=600):
        return self.log_text()[-size:]

    def cpu_seconds(self):
        with open("/proc/%d/stat" % self.pid) as stat:
            field = stat.read().rsplit(")", 1)[1].split()
        return (int(field[11]) + int(field[12])) / os.sysconf("SC_CLK_TCK")


def run(argv, timeout=60, check=True, netns=None, stdin_text=None):
    """Runs a program on the host and returns its output."""
    if netns:
        argv = ["ip", "netns", "exec", netns] + argv
    done = subprocess.run(argv, input=stdin_text, stdin=None if stdin_text else subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          errors="replace", timeout=timeout * PATIENCE)
    if check and done.returncode:
        raise Failure("%s: status %d: %s" %
                      (" ".join(argv), done.returncode, (done.stderr or done.stdout).strip()))
    return done.stdout


# --- TAP ----------------------------------------------------------------------------------------

class Tap:
    """Prints the results of a test; the plan comes at the end."""

    def __init__(self):
        self.count = 0
        self.failed = 0
        self.skipped = 0
        self.started = time.monotonic()

    def _line(self, text):
        print(text, flush=True)

    def diag(self, text):
        for line in str(text).splitlines():
            self._line("# " + line)

    def ok(self, good, name, why=""):
        self.count += 1
        if not good:
            self.failed += 1
        self._line("%sok %d - %s" % ("" if good else "not ", self.count, name))
        if why and not good:
            self.diag(why)
        return bool(good)

    def skip(self, name, reason):
        self.count += 1
        self.skipped += 1
        self._line("ok %d - %s # SKIP %s" % (self.count, name, reason))

    def case(self, name, deed, *args):
        """One result out of a deed: it passes unless it raises. Returns whether it passed."""
        start = time.monotonic()
        try:
            said = deed(*args)
        except Skip as reason:
            self.skip(name, str(reason))
            return False
        except Failure as reason:
            return self.ok(False, name, str(reason))
        except Exception:
            return self.ok(False, name, traceback.format_exc())
        self.ok(True, name)
        self.diag("%.1f s%s" % (time.monotonic() - start, "; %s" % said if said else ""))
        return True

    def done(self):
        """Cleans up, prints the plan and ends the program."""
        clean_up()
        self.diag("%.0f s in all" % (time.monotonic() - self.started))
        self._line("1..%d" % self.count)
        sys.exit(1 if self.failed or not self.count else 0)


def main(test):
    """Runs test(tap) and ends the program as Tap.done does, whatever happens in it."""
    tap = Tap()
    try:
        test(tap)
    except Skip as reason:
        tap.skip(os.path.basename(sys.argv[0]), str(reason))
    except SystemExit:
        raise
    except BaseException as error:
        text = str(error) if isinstance(error, Failure) else traceback.format_exc()
        try:
            tap.ok(False, "the bench stands", text)
        except BrokenPipeError:
            sys.exit(1)
    tap.done()


# --- guests -------------------------------------------------------------------------------------

def have_kvm():
    """A /dev/kvm that opens is no proof: the processor has to say that it has it."""
    try:
        with open("/proc/cpuinfo") as info:
            flags = re.search(r"^flags\s*:(.*)$", info.read(), re.M)
    except OSError:
        return False
    words = flags.group(1).split() if flags else []
    return ("vmx" in words or "svm" in words) and os.access("/dev/kvm", os.R_OK | os.W_OK)


def script_lines(what, *path):
    """What a script that fetches things prints; Skip, with its last word, where it could not."""
    script = None
    try:
        with signals_held():
            script = subprocess.Popen([os.path.join(ROOT, *path)], stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                      start_new_session=True, preexec_fn=_child_setup)
        said, wrong = script.communicate()
    except BaseException:
        if script:
            os.killpg(script.pid, signal.SIGTERM)  # it removes what it has begun
            script.wait()
        raise
    if script.returncode:
        raise Skip("%s: %s" % (what, (wrong.strip().splitlines() or ["no reason given"])[-1]))
    return said.split("\n")[:-1]


def backports_qemu():
    """The command of the newer QEMU of this Debian's backports; Skip where it cannot be had."""
    return script_lines("no newer QEMU", "tests", "guest", "qemu-backports.sh")


_image = None


def guest_image():
    """Kernel and initramfs, made where they are missing."""
    global _image
    if _image is None:
        need("busybox", "iperf3", "ethtool", "cpio")
        _image = script_lines("no guest image", "scripts", "guest-image.sh")
    return _image


class Port:
    """How a guest's network device reaches its backend."""

    def __init__(self, path, server=False, queues=1, opts="", mac=None, vectors=None, netid=None):
        self.path = path        # the Unix socket
        self.server = server    # QEMU listens, the backend connects
        self.queues = queues
        self.opts = opts        # more options of the virtio-net-pci device
        self.mac = mac
        self.vectors = vectors  # None: as the machine needs it
        self.netid = netid


# The same MAC address for the same guest name, in every test
def _mac(name, index):
    return "52:54:00:%02x:%02x:%02x" % (sum(name.encode()) & 0xff, ord(name[-1]), index)


OFFLOADS_OFF = ("csum=off,gso=off,host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off,"
                "guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off,"
                "mrg_rxbuf=off")


class Qmp:
    """QEMU's control socket."""

    def __init__(self, path, alive, timeout=60):
        def connect():
            alive()
            sock = socket.socket(socket.AF_UNIX)
            try:
                sock.connect(path)
            except OSError:
                sock.close()
                return None
            return sock
        self.sock = wait_for("QMP of %s" % path, connect, timeout)
        self.sock.settimeout(timeout * PATIENCE)
        self.file = self.sock.makefile("rw")
        self.events = []
        self._read()  # the greeting
        self.cmd("qmp_capabilities")

    def _read(self):
        line = self.file.readline()
        if not line:
            raise Failure("QEMU closed its QMP socket")
        return json.loads(line)

    def cmd(self, name, /, **arguments):
        self.file.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
        self.file.flush()
        while True:
            answer = self._read()
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                raise Failure("QMP %s: %s" % (name, answer["error"].get("desc")))
            else:
                return answer.get("return")

    def close(self):
        self.file.close()
        self.sock.close()


class Guest:
    """One QEMU with a Linux in it that runs commands."""

    def __init__(self, name, ports, ip="", mem=256, smp=1, incoming=None, qemu=None, extra=(),
                 hotplug=False, mtu=None, start=True, label=None, ram=None):
        self.name = name            # the guest's own name, the same after a migration
        self.label = label or name  # this QEMU's
        self.ports = ports
        self.mem = mem
        self.ram = ram              # a file that two QEMUs share as the guest's memory
        self.qemu = qemu or ["qemu-system-x86_64"]
        self.next_id = 0
        self.buffer = b""
        self.console = None
        self.lock = threading.Lock()
        need(self.qemu[0])
        kernel, initrd = guest_image()
        kvm = have_kvm()
        append = ("console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check mitigations=off "
                  "rcupdate.rcu_expedited=1 cryptomgr.notests i8042.noaux i8042.nokbd "
                  "vhu.name=%s vhu.ip=%s" % (name, ip))
        if mtu:
            append += " vhu.mtu=%d" % mtu
        self.shell_path = path_of(self.label + ".sh")
        self.qmp_path = path_of(self.label + ".qmp")
        self.serial_log = os.path.join(logdir(), self.label + ".serial")
        argv = self.qemu + [
            "-nodefaults", "-no-user-config", "-display", "none", "-name", self.label,
            "-machine", "pc,memory-backend=m0", "-smp", str(smp),
            "-accel", "kvm" if kvm else "tcg,thread=multi",
            "-m", "%dM%s" % (mem, ",slots=4,maxmem=2G" if hotplug else ""),
            "-object", "memory-backend-%s,id=m0,size=%dM,share=on" %
            ("file,mem-path=" + ram if ram else "memfd", mem),
            "-kernel", kernel, "-initrd", initrd, "-append", append,
            "-chardev", "file,id=s0,path=" + self.serial_log,
            "-serial", "chardev:s0",
            "-chardev", "socket,id=s1,server=on,wait=off,path=" + self.shell_path,
            # not a second UART: those lose an edge of their interrupt now and then under TCG
            "-device", "virtio-serial-pci,id=vs0%s" % ("" if kvm else ",vectors=0"),
            "-device", "virtserialport,bus=vs0.0,chardev=s1,name=vhu.shell",
            "-qmp", "unix:%s,server=on,wait=off" % self.qmp_path]
        if kvm:
            argv += ["-cpu", "host"]
        for i, port in enumerate(ports):
            # QEMU 7.2 under TCG crashes when a guest masks an MSI-X vector of vhost-user
            vectors = port.vectors
            if vectors is None and not kvm:
                vectors = 0
            argv += ["-chardev", "socket,id=c%d,path=%s,%s" %
                     (i, port.path, "server=on,wait=off" if port.server else "reconnect=1"),
                     "-netdev", "vhost-user,id=n%d,chardev=c%d,queues=%d" % (i, i, port.queues),
                     "-device", "virtio-net-pci,romfile=,id=d%d,netdev=n%d,mac=%s%s%s%s" %
                     (i, i, port.mac or _mac(name, i), ",mq=on" if port.queues > 1 else "",
                      "" if vectors is None else ",vectors=%d" % vectors,
                      "," + port.opts if port.opts else "")]
        if incoming:
            argv += ["-incoming", incoming]
        argv += list(extra)
        self.argv = argv
        self.process = None
        self.qmp_sock = None
        if start:
            self.start()

    def start(self):
        for path in (self.shell_path, self.qmp_path):
            if os.path.exists(path):
                os.unlink(path)
        self.process = Process("qemu-" + self.label, self.argv)
        # at once: what the guest says while nobody is connected is lost
        self.connect_shell()

    @property
    def qmp(self):
        if self.qmp_sock is None:
            self.qmp_sock = Qmp(self.qmp_path, self.process.check_alive)
        return self.qmp_sock

    # -- the shell behind a virtio-serial port

    def connect_shell(self):
        if self.console is not None:
            return

        def connect():
            self.process.check_alive()
            sock = socket.socket(socket.AF_UNIX)
            try:
                sock.connect(self.shell_path)
            except OSError:
                sock.close()
                return None
            return sock
        self.console = wait_for("the shell socket of %s" % self.label, connect, 60)

    def _read_until(self, marker, end, what):
        """Returns what came before the line that begins with the marker, and that line's rest."""
        while True:
            at = self.buffer.find(marker)
            if at >= 0:
                eol = self.buffer.find(b"\n", at)
                if eol >= 0:
                    before = self.buffer[:at]
                    line = self.buffer[at + len(marker):eol]
                    self.buffer = self.buffer[eol + 1:]
                    return before, line
            left = end - time.monotonic()
            if left <= 0:
                raise Failure("%s: no answer: %s; last: %r" % (self.label, what, self.buffer[-300:]))
            if select.select([self.console], [], [], min(left, 1.0))[0]:
                data = self.console.recv(65536)
                if not data:
                    self.process.popen.wait(10)
                    self.process.check_alive()
                    raise Failure("%s: its shell is closed" % self.label)
                self.buffer += data
            else:
                self.process.check_alive()
                check_watched()

    def ready(self, timeout=120):
        """Waits until the guest has booted."""
        self.connect_shell()
        self._read_until(b"\x01ready", time.monotonic() + timeout * PATIENCE, "boot")
        return self

    def send(self, command, timeout=60):
        """Begins a command and returns its number, for collect()."""
        self.connect_shell()
        self.next_id += 1
        # the number is the guest's, not this QEMU's: it must not repeat after a migration
        number = "%s%d" % (self.label, self.next_id)
        script = base64.b64encode(command.encode()).decode()
        self.console.sendall(("%s %d %s\n" % (number, max(1, int(timeout * PATIENCE)),
                                              script)).encode())
        return number

    def collect(self, number, command="", timeout=60):
        before, line = self._read_until(b"\x01" + number.encode() + b" ",
                                        time.monotonic() + timeout * PATIENCE + 30, command)
        text = before.decode(errors="replace").strip("\n").replace("\r\n", "\n")
        return int(line.strip()), text

    def try_run(self, command, timeout=60):
        """Runs a command in the guest; returns its exit status and output."""
        with self.lock:
            status, text = self.collect(self.send(command, timeout), command, timeout)
        with open(os.path.join(logdir(), self.name + ".commands"), "a") as log:
            log.write("$ %s\n%s\n= %d\n" % (command, text, status))
        return status, text

    def run(self, command, timeout=60):
        """Runs a command in the guest; Failure unless its status is 0."""
        status, text = self.try_run(command, timeout)
        if status:
            raise Failure("%s: `%s` gave %d: %s" % (self.label, command, status, text[-600:]))
        return text

    def background(self, command, tag):
        """Runs a command in the guest's background, its output in /tmp/TAG."""
        self.run("rm -f /tmp/%s /tmp/%s.status; (sh -c '%s' >/tmp/%s 2>&1; "
                 "echo $? >/tmp/%s.status) </dev/null >/dev/null 2>&1 &" %
                 (tag, tag, command.replace("'", "'\\''"), tag, tag))

    def finished(self, tag):
        return self.try_run("test -s /tmp/%s.status" % tag)[0] == 0

    def output(self, tag, timeout=60):
        """Waits for a background command to end; returns its status and output."""
        wait_for("%s in %s" % (tag, self.label), lambda: self.finished(tag), timeout, 0.2)
        return int(self.run("cat /tmp/%s.status" % tag)), self.run("cat /tmp/%s" % tag)

    def migrate_to(self, other, path, timeout=120):
        """Live migration into a QEMU that waits on unix:path; returns its figures. Memory that
        both share is not copied."""
        if self.ram:
            for qemu in (self, other):
                qemu.qmp.cmd("migrate-set-capabilities", capabilities=[
                    {"capability": "x-ignore-shared", "state": True}])
        self.qmp.cmd("migrate-set-parameters", **{"max-bandwidth": 4 << 30, "downtime-limit": 300})
        self.qmp.cmd("migrate", uri="unix:" + path)

        def over():
            self.process.check_alive()
            other.process.check_alive()
            info = self.qmp.cmd("query-migrate")
            if info.get("status") in ("failed", "cancelled"):
                raise Failure("migration: %s" % info)
            return info if info.get("status") == "completed" else None
        info = wait_for("the end of the migration", over, timeout, 0.05)
        wait_for("the guest to run over there",
                 lambda: other.qmp.cmd("query-status").get("running"), 30)
        return info

    def stop(self):
        if self.qmp_sock:
            self.qmp_sock.close()
            self.qmp_sock = None
        if self.console:
            self.console.close()
            self.console = None
            self.buffer = b""
        if self.process:
            self.process.stop()


def boot(*guests):
    """Waits until all these guests have booted."""
    for guest in guests:
        guest.ready()
    return guests


# --- switches -----------------------------------------------------------------------------------

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
            _cleanups.insert(0, _huge_pages_back)
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


# --- namespaces ---------------------------------------------------------------------------------

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


# --- what many tests do -------------------------------------------------------------------------

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
