#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""vhu vm as its command line, its console and its trace show it, with the guest of vm_guest.c, which runs on any KVM:
usage, what cannot be started, the terminal, ends, what is given up, the walk of a status write and of a doorbell. Linux in
it is tests/guest's."""
# tier: fast
# timeout: 180

import json
import os
import pty
import re
import resource
import select
import signal
import socket
import statistics
import subprocess
import sys
import termios
import time

from cases import BASE, PATIENCE, ROOT, VHU, Skip, check, main, running, test, wait_for

GUEST = os.path.join(os.environ.get("VHU_BUILD") or os.path.join(ROOT, "build"), "tests", "vm_guest")
if not os.path.exists(GUEST):
    GUEST = os.path.join(os.path.dirname(VHU), "tests", "vm_guest")


def is_sanitized():
    with open(VHU, "rb") as file:
        program = file.read()
    return b"__asan_init" in program or b"__tsan_init" in program


SANITIZED = os.path.exists(VHU) and is_sanitized()
BOOT = ("--kernel", GUEST, "--mem", "32M")


def need_kvm():
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise Skip("no /dev/kvm")
    if not os.path.exists(GUEST):
        raise Skip("no guest of the tests for this processor")


def path(name):
    return os.path.join(BASE, name)


def vm(*words, stdin=b"", prefix=(), seconds=20):
    """Runs a machine to its end: exit status, console, what it said."""
    done = subprocess.run([*prefix, VHU, "vm", *words], input=stdin, capture_output=True, timeout=seconds * PATIENCE,
                          check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def start(*words, **kwargs):
    process = subprocess.Popen([VHU, "vm", *words], **kwargs)
    running.append(process)
    return process


def refused(words, *parts):
    """A wrong command line: exit 2, nothing on the console, one line that names what is wrong."""
    status, out, err = vm(*words)
    check(status == 2 and out == "", words, "gave", status, out, err)
    first = err.splitlines()[0]
    check(first.startswith("vhu vm: "), first)
    for part in parts:
        check(part in first, words, "does not say", repr(part), "but", first)


def fails(words, *parts, **kwargs):
    """It cannot be done: exit 1, and one line that says why."""
    status, out, err = vm(*words, **kwargs)
    check(status == 1 and out == "", words, "gave", status, out, err)
    check(len(err.splitlines()) == 1, words, "says more than one line:", err)
    for part in parts:
        check(part in err, words, "does not say", repr(part), "but", err)


def switch(name="a"):
    """The socket of a port of a switch."""
    sock = path(name + ".sock")
    process = subprocess.Popen([VHU, "switch", "--ctl", "none", "--port", "%s=vhost-user:%s" % (name, sock)],
                               stderr=subprocess.PIPE, text=True)
    running.append(process)
    wait_for("the switch", lambda: os.path.exists(sock))
    return "vhost-user:" + sock


# ---- What is refused ----

@test
def wrong_command_lines_are_named_with_status_2():
    refused((), "--kernel")
    refused(("--kernel", "x", "y"), "y")
    for size in ("0", "x", "1T", "-1", "", "G", "99999999999999999999G"):
        refused(("--kernel", "x", "--mem", size), "--mem")
    for cpus in ("0", "9", "x"):
        refused(("--kernel", "x", "--cpus", cpus), "--cpus", cpus)
    refused(("--kernel", "x", "--trace", "run"), "--trace", "run")
    for spec in ("tap:x", "vhost-user:", "vhost-user:,server", ""):
        refused(("--kernel", "x", "--net", spec), "--net", spec)
    for word in ("mac=01:00:00:00:00:00", "mac=1:2:3:4:5:6", "queues=0", "queues=65", "mtu=67", "nonsense", ""):
        refused(("--kernel", "x", "--net", "vhost-user:/x," + word), "--net", word)
    refused(("--kernel", "x", "--blk", "vhost-user:/x,mac=52:54:00:00:00:01"), "--blk", "mac=")
    refused(("--kernel", "x", *("--net", "vhost-user:/x") * 9), "--net", "8 devices")


@test
def help_tells_all_options():
    status, out, err = vm("--help")
    check(status == 0 and err == "", status, err)
    for option in ("--kernel", "--initrd", "--append", "--mem", "--cpus", "--huge", "--net", "--blk", "--trace walk", "--json"):
        check(option in out, option, "is missing")
    check(all(len(line) <= 80 for line in out.splitlines()), out)


@test
def what_is_no_kernel_is_one_line_and_status_1():
    need_kvm()
    fails(("--kernel", path("nowhere")), "nowhere", "No such file")
    fails(("--kernel", BASE), BASE)
    fails(("--kernel", "/dev/null"), "/dev/null")
    with open(path("junk"), "wb") as file:
        file.write(os.urandom(8192))
    fails(("--kernel", path("junk")), "junk")
    with open(GUEST, "rb") as whole, open(path("short"), "wb") as file:
        file.write(whole.read(0x500))
    fails(("--kernel", path("short")), "short", "truncated")
    fails((*BOOT, "--initrd", path("nowhere")), "nowhere")
    # however long the path is, the reason is there
    fails(("--kernel", path("x" * 250)), "--kernel", "xxx", "No such file")
    fails(("--kernel", "/" + "x" * 300), "--kernel", "xxx", "File name too long")


@test
def more_memory_than_there_is_is_refused():
    need_kvm()
    fails(("--kernel", GUEST, "--mem", "255G"), "this host itself has" if os.sysconf("SC_PHYS_PAGES") < 60 << 20 else "")
    fails(("--kernel", GUEST, "--mem", "256G"), "255 GiB")
    fails(("--kernel", GUEST, "--mem", "1"), "16 MiB")
    fails((*BOOT, "--mem", "33", "--huge"), "pages")
    with open("/proc/meminfo") as file:
        if "HugePages_Free:        0\n" in file.read():
            fails((*BOOT, "--huge"), "huge pages")


@test
def without_kvm_or_without_permission_it_says_so():
    need_kvm()
    if os.geteuid() or subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        raise Skip("not root, or no mount namespaces")
    shell = 'mount --bind %s /dev/kvm && exec "$0" "$@"'
    fails(BOOT, "/dev/kvm is not KVM", prefix=("unshare", "-m", "sh", "-c", shell % "/dev/null"))
    # /dev laid over by an empty one
    fails(BOOT, "/dev/kvm is not there", prefix=("unshare", "-m", "sh", "-c", 'mount -t tmpfs none /dev && exec "$0" "$@"'))
    os.chmod(BASE, 0o755)
    fails(BOOT, "no permission", prefix=("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"))


@test
def a_socket_with_nobody_behind_it_fails_and_leaves_nothing():
    need_kvm()
    fails((*BOOT, "--net", "vhost-user:" + path("nobody")), "net0", "nobody", "No such file")
    fails((*BOOT, "--blk", "vhost-user:" + path("nobody")), "blk0", "nobody")
    # one that listens, and never says a word
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path("mute"))
        sock.listen()
        fails((*BOOT, "--net", "vhost-user:" + path("mute")), "net0", "mute")
    # one that listened
    fails((*BOOT, "--net", "vhost-user:" + path("mute")), "net0", "mute", "Connection refused")


@test
def a_server_waits_says_so_and_takes_its_socket_away():
    need_kvm()
    process = start(*BOOT, "--net", "vhost-user:%s,server" % path("s"), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE, text=True)
    check("waiting for a backend" in process.stderr.readline(), "it does not say that it waits")
    check(os.path.exists(path("s")), "no socket")
    process.send_signal(signal.SIGTERM)
    check(process.wait(10 * PATIENCE) == 0, "status", process.returncode)
    check(not os.path.exists(path("s")), "the socket is still there")


@test
def a_signal_while_it_is_being_built_leaves_no_socket():
    need_kvm()
    with open(path("big"), "wb") as file:
        file.truncate(192 << 20)
    process = start("--kernel", GUEST, "--mem", "256M", "--initrd", path("big"), "--net", "vhost-user:%s,server" % path("s"),
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not os.path.exists(path("s")):
        pass
    process.send_signal(signal.SIGTERM)
    check(process.wait(20 * PATIENCE) == 0, "status", process.returncode)
    check(not os.path.exists(path("s")), "the socket is still there")
    os.unlink(path("big"))


@test
def many_queues_need_no_more_files_than_the_user_may_have():
    need_kvm()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 4096:
        raise Skip("not that many files are allowed here")
    process = start(*BOOT, *("--net", "vhost-user:%s,server,queues=64" % path("s0")),
                    *("--net", "vhost-user:%s,server,queues=64" % path("s1")), stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard)))
    said = process.stderr.readline()
    check("waiting for a backend" in said, said)
    process.send_signal(signal.SIGTERM)
    check(process.wait(10 * PATIENCE) == 0, "status", process.returncode)


# ---- Ends ----

@test
def power_off_and_reset_end_with_0_and_a_crash_with_1():
    need_kvm()
    check(vm(*BOOT) == (0, "hello\n", ""), vm(*BOOT))
    check(vm(*BOOT, "--append", "reset") == (0, "goes\n", ""), vm(*BOOT, "--append", "reset"))
    status, out, err = vm(*BOOT, "--append", "crash")
    check(status == 1 and out == "" and len(err.splitlines()) == 1, status, out, err)
    check("triple fault" in err and "0x1000" in err, err)


@test
def the_end_is_told_as_json():
    need_kvm()
    for append, end in (("", "power-off"), ("reset", "reset"), ("crash", "crash")):
        status, _, err = vm(*BOOT, "--append", append, "--json")
        said = json.loads(err.splitlines()[-1])
        check(said["end"] == end and said["status"] == status, said)
        check(said["exits"]["mmio"] == 0 and said["entered_ns"], said)
        check(said["exits"]["port"] or end == "crash", said)


@test
def several_vcpus_and_memory_above_4_gib_start_and_end():
    need_kvm()
    check(vm(*BOOT, "--cpus", "8") == (0, "hello\n", ""), "8 vCPUs")
    with open("/proc/meminfo") as file:
        if int(file.readline().split()[1]) < 6 << 20:
            raise Skip("less than 6 GiB of memory")
    check(vm(*BOOT, "--mem", "5G") == (0, "hello\n", ""), "5 GiB")


# ---- The console ----

@test
def input_from_a_pipe_and_from_a_file_reaches_the_guest():
    need_kvm()
    check(vm(*BOOT, "--append", "echo", stdin=b"over the line\x01xq") == (0, "ready\nover the line\x01xq", ""), "pipe")
    text = b"0123456789" * 1000 + b"q"
    with open(path("text"), "wb") as file:
        file.write(text)
    with open(path("text"), "rb") as file, open(path("out"), "wb") as out:
        check(start(*BOOT, "--append", "echo", stdin=file, stdout=out).wait(20 * PATIENCE) == 0, "status")
    with open(path("out"), "rb") as file:
        check(file.read() == b"ready\n" + text, "the file came back otherwise")


@test
def output_waits_for_a_slow_reader_and_is_not_lost():
    need_kvm()
    ours, theirs = os.pipe()
    process = start(*BOOT, "--append", "flood", stdin=subprocess.DEVNULL, stdout=theirs)
    os.close(theirs)
    got = b""
    while True:
        more = os.read(ours, 100)
        if not more:
            break
        got += more
    os.close(ours)
    check(process.wait(10 * PATIENCE) == 0, "status", process.returncode)
    check(got == bytes(97 + i % 26 for i in range(20000)), "20000 bytes became", len(got))


def fill(fd):
    os.set_blocking(fd, False)
    try:
        while True:
            os.write(fd, b"." * 4096)
    except BlockingIOError:
        pass
    os.set_blocking(fd, True)


@test
def a_reader_that_never_reads_does_not_hold_it_up():
    need_kvm()
    for ours, theirs in (os.pipe(), (sock.detach() for sock in socket.socketpair())):
        fill(theirs)
        process = start(*BOOT, stdin=subprocess.DEVNULL, stdout=theirs)
        check(process.wait(20 * PATIENCE) == 0, "status", process.returncode)
        process = start(*BOOT, "--json", stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
        check(process.wait(20 * PATIENCE) == 0, "status with --json", process.returncode)
        os.close(theirs)
        os.close(ours)


@test
def a_reader_that_has_gone_does_not_end_it():
    need_kvm()
    ours, theirs = os.pipe()
    os.close(ours)
    process = start(*BOOT, "--append", "flood", stdin=subprocess.DEVNULL, stdout=theirs)
    os.close(theirs)
    check(process.wait(20 * PATIENCE) == 0, "status", process.returncode)


class Terminal:
    """A terminal with a machine on it."""

    def __init__(self, *words):
        self.ours, theirs = pty.openpty()
        self.before = termios.tcgetattr(theirs)
        self.process = start(*BOOT, *words, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
        self.theirs = theirs
        self.text = b""

    def wait(self, text):
        def look():
            while select.select([self.ours], [], [], 0)[0]:
                self.text += os.read(self.ours, 4096)
            return text in self.text
        wait_for("%r on the terminal" % text, look)

    def is_raw(self):
        return not termios.tcgetattr(self.theirs)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)

    def check_restored(self):
        wait_for("the terminal as it was", lambda: termios.tcgetattr(self.theirs) == self.before)
        os.close(self.theirs)
        os.close(self.ours)


@test
def ctrl_a_x_ends_it_and_ctrl_a_ctrl_a_is_one():
    need_kvm()
    terminal = Terminal("--append", "echo")
    terminal.wait(b"ready")
    check(terminal.is_raw(), "the terminal is not raw")
    os.write(terminal.ours, b"a\x01\x01b\x03\x01zc")
    terminal.wait(b"a\x01b\x03c")
    os.write(terminal.ours, b"\x01x")
    check(terminal.process.wait(10 * PATIENCE) == 0, "status", terminal.process.returncode)
    terminal.check_restored()


@test
def ctrl_a_x_ends_a_guest_that_does_not_listen():
    need_kvm()
    terminal = Terminal("--append", "deaf")
    terminal.wait(b"deaf")
    # More than any queue holds.
    os.write(terminal.ours, b"." * 3000)
    os.write(terminal.ours, b"\x01x")
    check(terminal.process.wait(10 * PATIENCE) == 0, "status", terminal.process.returncode)
    terminal.check_restored()


@test
def the_terminal_is_as_it_was_after_every_end():
    need_kvm()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGKILL, signal.SIGSEGV):
        terminal = Terminal("--append", "echo")
        terminal.wait(b"ready")
        check(terminal.is_raw(), "the terminal is not raw")
        terminal.process.send_signal(number)
        status = terminal.process.wait(10 * PATIENCE)
        check(status == 0 if number in (signal.SIGTERM, signal.SIGHUP) else status, number, "gave", status)
        terminal.check_restored()
    terminal = Terminal("--append", "crash")
    check(terminal.process.wait(10 * PATIENCE) == 1, "status", terminal.process.returncode)
    terminal.check_restored()


def processes_of(terminal):
    """Those of its session: process, parent, state."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % pid) as file:
                words = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(words[3]) == terminal.process.pid:
            found.append((int(pid), int(words[1]), words[0]))
    return found


@test
def who_guards_the_terminal_leaves_it_alone_after_an_end_of_ours():
    need_kvm()
    terminal = Terminal("--append", "echo")
    terminal.wait(b"ready")
    others = [found for found in processes_of(terminal) if found[0] != terminal.process.pid]
    check(len(others) == 1 and others[0][2] != "Z", "one other process guards:", others)
    guard = others[0][0]
    os.kill(guard, signal.SIGSTOP)
    os.write(terminal.ours, b"\x01x")
    check(terminal.process.wait(10 * PATIENCE) == 0, "status", terminal.process.returncode)
    check(termios.tcgetattr(terminal.theirs) == terminal.before, "the terminal is not as it was")
    # The shell goes on with modes of its own.
    modes = termios.tcgetattr(terminal.theirs)
    modes[3] &= ~(termios.ICANON | termios.ECHO)
    termios.tcsetattr(terminal.theirs, termios.TCSANOW, modes)
    os.kill(guard, signal.SIGCONT)
    wait_for("the guard to end", lambda: all(found[0] != guard or found[2] == "Z" for found in processes_of(terminal)))
    check(termios.tcgetattr(terminal.theirs)[:4] == modes[:4], "the guard changed the terminal of somebody else")
    os.close(terminal.theirs)
    os.close(terminal.ours)


# ---- What is given up ----

def status_of(pid, task):
    with open("/proc/%d/task/%s/status" % (pid, task)) as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


@test
def no_thread_has_a_capability_or_lacks_the_filter():
    need_kvm()
    process = start(*BOOT, "--append", "echo", "--cpus", "2", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    check(process.stdout.readline() == b"ready\n", "not ready")
    tasks = os.listdir("/proc/%d/task" % process.pid)
    names = [status_of(process.pid, task) for task in tasks]
    ours = [status for status in names if not status["Name"].startswith("kvm-")]
    check(len(ours) == 3 or SANITIZED, [status["Name"] for status in names])
    for status in ours:
        for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            check(int(status[kind], 16) == 0 or kind == "CapBnd" and os.geteuid(), kind, status[kind])
        check(status["NoNewPrivs"] == "1" and (SANITIZED or status["Seccomp"] == "2"), status)
    process.stdin.write(b"q")
    process.stdin.close()
    check(process.wait(10 * PATIENCE) == 0, "status", process.returncode)


@test
def the_vmm_itself_is_small_and_starts_fast():
    need_kvm()
    process = start(*BOOT, "--append", "echo", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    check(process.stdout.readline() == b"ready\n", "not ready")
    status = status_of(process.pid, process.pid)
    own = int(status["RssAnon"].split()[0]) + int(status["RssFile"].split()[0])
    check(SANITIZED or own < 8192, "the VMM itself has", own, "KiB")
    times = []
    for _ in range(20):
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        _, _, err = vm(*BOOT, "--json")
        times.append((json.loads(err.splitlines()[-1])["entered_ns"] - before) / 1e6)
    print("# resident without the guest's memory: %d KiB; exec to the first instruction: median %.1f ms, %.1f to %.1f" %
          (own, statistics.median(times), min(times), max(times)))


# ---- Devices, and the walk ----

def walks_of(err):
    lines = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    return [line for line in lines if "walk" in line], [line for line in lines if "after" in line], lines[-1]


def names(walk):
    return [station["station"] for station in walk["stations"]]


def walk_with(walks, **wanted):
    """The walks that pass a station with these values."""
    return [walk for walk in walks if any(all(station.get(key) == value for key, value in wanted.items())
                                          for station in walk["stations"])]


@test
def the_walk_of_a_status_write_and_of_a_doorbell_can_be_seen():
    need_kvm()
    status, out, err = vm(*BOOT, "--append", "net", "--net", switch(), "--trace", "walk", "--json")
    check(status == 0 and out == "found\ndriver ok\ninterrupted\nreset\n", status, out, err)
    walks, later, _ = walks_of(err)
    for walk in walks:
        times = [station["us"] for station in walk["stations"]]
        check(times[0] == 0 and times == sorted(times), walk)
        check(names(walk)[0] == "exit" and names(walk)[-1] == "enter", walk)
    # DRIVER_OK: 15 after 11
    write, = walk_with(walks, station="status", a=15, b=11)
    check(names(write) == ["exit", "bus", "register", "status", "start", "enter"], names(write))
    check(write["stations"][2]["what"] == "device_status" and write["stations"][4]["a"] == 1, write)
    told = [line["stations"][0] for line in later if line["after"] == write["walk"]]
    said = [station["what"] for station in told if station["station"] == "message"]
    for message in ("SET_VRING_NUM", "SET_VRING_KICK", "SET_VRING_CALL"):
        check(message in said, message, "is not among", said)
    doorbell, = walk_with(walks, station="kick", a=1)
    check(names(doorbell) == ["exit", "bus", "register", "kick", "enter"], names(doorbell))
    check(doorbell["stations"][2]["what"] == "notify", doorbell)
    # a ring makes one call at its start, too: it may come between the two writes, and be all that the guest waits for
    told = [line["stations"][0] for line in later if line["after"] in (write["walk"], doorbell["walk"])]
    told = [station for station in told if station["station"] in ("call", "interrupt")]
    check([station["station"] for station in told[:2]] == ["call", "interrupt"], told)
    check(told[0]["a"] == 1 and told[1]["what"] == "msi" and told[1]["a"] == 0x41, told)
    check(all(station["device"] == "net0" for station in told), told)


@test
def the_walk_is_a_table_for_people():
    need_kvm()
    status, _, err = vm(*BOOT, "--append", "net", "--net", switch(), "--trace", "walk")
    check(status == 0, status, err)
    for text in ("kick       net0   queue 1\n", "status     net0   0xf, was 0xb\n", "-> SET_VRING_KICK", ", vCPU 0 (us)\n"):
        check(text in err, repr(text), "is missing in", err)
    check(all(len(line) <= 80 for line in err.splitlines()), "lines too long")


@test
def other_tracers_find_the_stations_as_a_probe():
    if not os.path.exists("/usr/include/x86_64-linux-gnu/sys/sdt.h"):
        raise Skip("built without probes")
    notes = subprocess.run(["readelf", "--notes", VHU], capture_output=True, text=True, check=True).stdout
    probe = re.search(r"Provider: vhu\s+Name: vm_station\s+Location: (\S+),.*\s+Arguments: (.*)", notes)
    check(probe and int(probe[1], 16), notes)
    # station, device, what, a, b
    check([word.split("@")[0] for word in probe[2].split()] == ["4", "8", "8", "8", "8"], probe[2])


@test
def doorbells_and_interrupts_pass_without_us_unless_they_are_traced():
    need_kvm()
    sock = switch()
    status, out, err = vm(*BOOT, "--append", "many", "--net", sock, "--json")
    check(status == 0 and out == "found\ndriver ok\ninterrupted\n", status, out, err)
    untraced = walks_of(err)[2]["exits"]["mmio"]
    status, out, err = vm(*BOOT, "--append", "many", "--net", sock, "--trace", "walk", "--json", seconds=60)
    check(status == 0 and out == "found\ndriver ok\ninterrupted\n", status, out, err)
    walks, later, end = walks_of(err)
    # 200 frames, a doorbell and an interrupt each
    check(untraced < 100, untraced, "exits by memory")
    check(end["exits"]["mmio"] == untraced + 200, end, untraced)
    check(len(walk_with(walks, station="kick", a=1)) == 200, len(walks))
    # calls that come together are one interrupt
    interrupts = [line for line in later if line["stations"][0]["station"] == "interrupt"]
    check(100 <= len(interrupts) <= 210, len(interrupts), "interrupts")


@test
def the_walk_does_not_hold_the_guest_up_when_nobody_reads_it():
    need_kvm()
    ours, theirs = os.pipe()
    process = start(*BOOT, "--append", "many", "--net", switch(), "--trace", "walk", stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    check(process.wait(20 * PATIENCE) == 0, "status", process.returncode)
    check(process.stdout.read() == b"found\ndriver ok\ninterrupted\n", "the guest said something else")
    os.close(ours)
    # more of them than there is room for, which is said at the end
    ours, theirs = os.pipe()
    process = start(*BOOT, "--append", "flood", "--trace", "walk", "-v", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                    stderr=theirs)
    os.close(theirs)
    check(process.wait(20 * PATIENCE) == 0, "status", process.returncode)
    os.close(ours)


if __name__ == "__main__":
    sys.exit(main())
