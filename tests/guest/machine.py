# SPDX-License-Identifier: MIT
"""A QEMU with a Linux in it that runs commands: its image, its start, its control socket, its shell.
It must not know what a test wants of it."""

import base64
import json
import os
import re
import select
import signal
import socket
import subprocess
import threading
import time

from bench import (PATIENCE, ROOT, Failure, Process, Skip, check_watched, child_setup, logdir, need,
                   path_of, signals_held, wait_for)


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
                                      start_new_session=True, preexec_fn=child_setup)
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
        self.alive = alive

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
        try:
            line = self.file.readline()
        except OSError as error:
            self.alive()  # says how it died, if it did
            raise Failure("QMP: %s" % error)
        if not line:
            self.alive()
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
                 hotplug=False, mtu=None, start=True, label=None, ram=None, cpu=None, initrd=None):
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
        kernel, image = guest_image()
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
            "-kernel", kernel, "-initrd", initrd or image, "-append", append,
            "-chardev", "file,id=s0,path=" + self.serial_log,
            "-serial", "chardev:s0",
            "-chardev", "socket,id=s1,server=on,wait=off,path=" + self.shell_path,
            # not a second UART: those lose an edge of their interrupt now and then under TCG
            "-device", "virtio-serial-pci,id=vs0%s" % ("" if kvm else ",vectors=0"),
            "-device", "virtserialport,bus=vs0.0,chardev=s1,name=vhu.shell",
            "-qmp", "unix:%s,server=on,wait=off" % self.qmp_path]
        # without RDRAND the guest's first random number takes a second or two
        argv += ["-cpu", "host" if kvm else cpu or "qemu64,+rdrand"]
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
