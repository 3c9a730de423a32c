#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""vhu tap as its command line and its interface show it: usage, names, rights, the carrier, its end;
and backends of this script's own that do what they should not. It carries no traffic."""
# tier: fast
# timeout: 120

import json
import mmap
import os
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time

from cases import BASE, PATIENCE, VHU, Skip, check, main, running, test, wait_for

# This script starts itself once more in a network namespace of its own, without being root if need be
INSIDE = os.environ.get("VHU_TEST_INSIDE")
NO_RIGHTS = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]


def vhu(*words, prefix=()):
    """Runs vhu to its end: exit status, standard output, standard error."""
    done = subprocess.run([*prefix, VHU, *words], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=20 * PATIENCE, cwd=BASE)
    return done.returncode, done.stdout, done.stderr


def refused(words, *parts):
    """A wrong command line: exit 2, nothing on standard output, one line that names what is wrong."""
    status, out, err = vhu("tap", *words)
    check(status == 2, words, "exited with", status, err)
    check(out == "", words, "wrote to standard output:", out)
    first = err.splitlines()[0]
    check(first.startswith("vhu tap: "), first)
    for part in parts:
        check(part in first, words, "does not say", repr(part), "but", first)


def fails(words, *parts, prefix=()):
    """It cannot be done: exit 1, and one line that says why."""
    status, _, err = vhu("tap", *words, prefix=prefix)
    check(status == 1, words, "exited with", status, err)
    check(len(err.splitlines()) == 1, words, "says more than one line:", err)
    for part in parts:
        check(part in err, words, "does not say", repr(part), "but", err)


def need_interfaces():
    if not INSIDE:
        raise Skip("no network namespace of one's own here (unshare -rn)")
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        raise Skip("no /dev/net/tun")
    if not shutil.which("ip"):
        raise Skip("ip is not here")


def link(name):
    """What the kernel says of an interface; None: there is none of that name."""
    done = subprocess.run(["ip", "-d", "-j", "link", "show", "dev", name], capture_output=True,
                          text=True)
    return json.loads(done.stdout)[0] if done.returncode == 0 else None


def has_carrier(name):
    return "LOWER_UP" in link(name)["flags"]


class Program:
    """A vhu that runs, with its log."""

    def __init__(self, *words, prefix=()):
        self.log_path = tempfile.mktemp(prefix="log", dir=BASE)
        with open(self.log_path, "w") as log:
            self.process = subprocess.Popen([*prefix, VHU, *words], stdin=subprocess.DEVNULL,
                                            stderr=log, cwd=BASE)
        running.append(self.process)

    def log(self):
        with open(self.log_path) as log:
            return log.read()

    def said(self, pattern, times=1):
        def look():
            found = len(re.findall(pattern, self.log(), re.M)) >= times
            check(found or self.process.poll() is None, "it ended:", self.log())
            return found
        wait_for("%d lines like %s" % (times, pattern), look)

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(10 * PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            status = self.end()
            if kind is None:
                check(status == 0, "its end had status", status, self.log())
        if kind is None:
            check("Sanitizer" not in self.log(), self.log())
        else:
            print("".join("# log: %s\n" % line for line in self.log().splitlines()), end="")


class Tap(Program):
    def __init__(self, name, *words, sock="none", prefix=()):
        need_interfaces()
        super().__init__("tap", "--socket", sock, "--ifname", name, *words, prefix=prefix)
        self.said(r": \d+ queues?")


def switch(*ports):
    program = Program("switch", "--ctl", "none", *[w for port in ports for w in ("--port", port)])
    program.said(r": vhost-user ")
    return program


# --- command lines -------------------------------------------------------------------------------


@test
def help_fits_a_terminal():
    for words in (["help", "tap"], ["tap", "--help"], ["tap", "-h"]):
        status, out, err = vhu(*words)
        check(status == 0 and err == "" and out.startswith("usage: vhu tap"), words, status, err)
        check(max(map(len, out.splitlines())) <= 80, words, "is wider than 80 columns")


@test
def wrong_lines_are_named():
    both = ["--socket", "x", "--ifname", "t"]
    refused([], "--socket")
    refused(["--socket", "x"], "--ifname")
    refused(["--ifname", "t"], "--socket")
    refused(both + ["y"], "y")
    refused(both + ["--frob"], "--frob", "no such option")
    refused(both + ["--mtu"], "--mtu", "missing")
    refused(["--socket", "", "--ifname", "t"], "--socket", "empty")
    refused(["--socket", "/" + "x" * 200, "--ifname", "t"], "--socket", "longer")
    refused(["--socket", "x,mode=0660", "--ifname", "t"], "--socket", "--server")
    refused(["--server", "--socket", "x,mode=9", "--ifname", "t"], "--socket", "mode=9")
    refused(["--server", "--socket", "x,frob", "--ifname", "t"], "--socket", "frob")
    for option, values in {"--mtu": ("67", "65536", "x", "-1"), "--queues": ("0", "129", "x"),
                           "--ring-size": ("7", "32769", "1000", "x"), "--stats": ("0", "x"),
                           "--ring": ("frob", "", "spli"), "--netns": ("",),
                           "--mac": ("x", "52:54:00:00:00", "52:54:00:00:00:0g", "52540000:0:01",
                                     "53:54:00:00:00:01", "00:00:00:00:00:00",
                                     "52:54:00:00:00:01:02")}.items():
        for value in values:
            refused(both + [option, value], option, value)


@test
def impossible_names_are_named():
    for name in ("", ".", "..", "a/b", "a b", "a:b", "x" * 16, "a\nb"):
        refused(["--socket", "x", "--ifname", name], "--ifname")


@test
def control_characters_do_not_reach_the_terminal():
    status, _, err = vhu("tap", "--socket", "x", "--ifname", "t", "--ring", "a\033[2J\r\n")
    check(status == 2 and "\033" not in err and "\r" not in err and "\\x1b" in err, repr(err))


# --- rights --------------------------------------------------------------------------------------


@test
def without_rights_it_says_which():
    need_interfaces()
    fails(["--socket", "x", "--ifname", "t"], "t: ", "CAP_NET_ADMIN", prefix=NO_RIGHTS)
    fails(["--socket", "x", "--ifname", "t", "--netns", "/proc/%d/ns/net" % os.getpid()],
          "--netns", "CAP_SYS_ADMIN", prefix=NO_RIGHTS)
    check(link("t") is None, "an interface was left")


@test
def cap_net_admin_alone_is_enough():
    alone = ["setpriv", "--inh-caps=-all,+net_admin", "--bounding-set=-all,+net_admin"]
    with Tap("t", "--up", "--mtu", "1400", prefix=alone):
        check(link("t")["mtu"] == 1400, link("t"))


@test
def rights_are_given_up_before_a_backend_is_met():
    with Tap("t") as tap:
        with open("/proc/%d/status" % tap.process.pid) as status:
            text = status.read()
        for kind in ("CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb"):
            check(re.search(r"^%s:\s*0+$" % kind, text, re.M), kind, text)
        check(re.search(r"^NoNewPrivs:\s*1$", text, re.M), text)
        with open(VHU, "rb") as file:
            program = file.read()
        if b"seccomp_load" in program and b"__asan_init" not in program and b"__tsan_init" not in program:
            check(re.search(r"^Seccomp:\s*2$", text, re.M), text)


@test
def an_interface_made_for_the_user_wants_no_rights():
    need_interfaces()
    uid = os.getuid()
    for more in ([], ["multi_queue"]):
        subprocess.run(["ip", "tuntap", "add", "dev", "own", "mode", "tap", "user", str(uid),
                        "vnet_hdr", *more], check=True)
        subprocess.run(["ip", "link", "set", "dev", "own", "up", "mtu", "1300"], check=True)
        try:
            for _ in range(2):
                with Tap("own", "--up", "--mtu", "1300", "--mac", "52:54:00:00:00:05",
                         prefix=NO_RIGHTS):
                    check(link("own")["address"] == "52:54:00:00:00:05", link("own"))
            check(link("own"), "an interface that is persistent has gone")
            fails(["--socket", "x", "--ifname", "own", "--mtu", "1301"], "--mtu", "CAP_NET_ADMIN",
                  prefix=NO_RIGHTS)
            if not more:
                fails(["--socket", "x", "--ifname", "own", "--queues", "2"], "own", "multi_queue",
                      prefix=NO_RIGHTS)
        finally:
            subprocess.run(["ip", "link", "del", "dev", "own"], check=True)


# --- the interface -------------------------------------------------------------------------------


@test
def what_was_asked_for_is_set():
    with Tap("t", "--up", "--mtu", "4000", "--mac", "52:54:00:00:00:07", "--queues", "3"):
        seen = link("t")
        check(seen["mtu"] == 4000 and seen["address"] == "52:54:00:00:00:07", seen)
        check("UP" in seen["flags"] and seen["num_tx_queues"] >= 3, seen)
        check("NO-CARRIER" in seen["flags"], "a carrier without a backend:", seen)


@test
def what_was_not_asked_for_is_left_alone():
    with Tap("t") as tap:
        check("UP" not in link("t")["flags"], link("t"))
        check("none is not there yet" in tap.log(), tap.log())


@test
def the_kernel_finds_a_free_number():
    with Tap("tap%d") as first, Tap("tap%d") as second:
        check("tap0: " in first.log() and "tap1: " in second.log(), first.log(), second.log())
        check(link("tap0") and link("tap1"))


@test
def it_goes_with_the_program():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        with Tap("t") as tap:
            check(tap.end(number) == 0, tap.log())
        check(link("t") is None, "left after", number)
    # also when nothing could be tidied up
    with Tap("t") as tap:
        tap.end(signal.SIGKILL)
        wait_for("the end of the interface", lambda: link("t") is None)


@test
def an_interface_that_is_removed_ends_it():
    sock = os.path.join(BASE, "r.sock")
    with switch("r=vhost-user:" + sock), Tap("t", sock=sock) as tap:
        tap.said("running")
        subprocess.run(["ip", "link", "del", "dev", "t"], check=True)
        check(tap.process.wait(10 * PATIENCE) == 1, tap.log())
        check("t: the interface: it was removed" in tap.log(), tap.log())


@test
def others_interfaces_are_left_alone():
    need_interfaces()
    fails(["--socket", "x", "--ifname", "lo"], "lo: ", "no tap")
    with Tap("t"):
        fails(["--socket", "x", "--ifname", "t"], "t: ", "another program")


@test
def netns_makes_it_elsewhere():
    need_interfaces()
    other = subprocess.Popen(["unshare", "-n", "sleep", "60"])
    running.append(other)
    own = os.readlink("/proc/self/ns/net")
    path = "/proc/%d/ns/net" % other.pid
    wait_for("another namespace", lambda: os.readlink(path) != own)
    with Tap("t", "--up", "--netns", path) as tap:
        check(link("t") is None, "it is here")
        seen = subprocess.run(["nsenter", "--net=" + path, "ip", "-o", "link"], check=True,
                              capture_output=True, text=True).stdout
        check(" t: " in seen, seen)
        check(os.readlink("/proc/%d/ns/net" % tap.process.pid) == own, "the program is there too")


@test
def a_netns_that_is_none_is_refused():
    need_interfaces()
    fails(["--socket", "x", "--ifname", "t", "--netns", "vhu-none"], "--netns vhu-none: ",
          "no such")
    fails(["--socket", "x", "--ifname", "t", "--netns", "/proc/self/ns/mnt"], "--netns",
          "no network namespace")
    fails(["--socket", "x", "--ifname", "t", "--netns", VHU], "--netns", "no network namespace")


# --- backends ------------------------------------------------------------------------------------


@test
def carrier_follows_the_backend():
    sock = os.path.join(BASE, "a.sock")
    with Tap("t", "--up", sock=sock) as tap:
        for round_ in range(3):
            with switch("a=vhost-user:" + sock) as backend:
                wait_for("a carrier", lambda: has_carrier("t"))
                if round_ == 1:
                    backend.end(signal.SIGKILL)
            wait_for("no carrier", lambda: not has_carrier("t"))
        check("the backend is gone" in tap.log() and "the backend is back" in tap.log(), tap.log())


@test
def fewer_queues_than_asked_for():
    sock = os.path.join(BASE, "q.sock")
    with switch("q=vhost-user:%s,queues=2" % sock), Tap("t", "--queues", "4", sock=sock) as tap:
        tap.said("running: 2 queues")


def held_by_child(pid):
    """The capabilities of the one child of a process."""
    with open("/proc/%d/task/%d/children" % (pid, pid)) as children:
        child = children.read().split()
    check(len(child) == 1, child)
    with open("/proc/%s/status" % child[0]) as status:
        return int(re.search(r"^CapPrm:\s*(\w+)", status.read(), re.M).group(1), 16)


@test
def the_backends_mtu_is_taken_unless_one_is_given():
    sock = os.path.join(BASE, "m.sock")
    with switch("m=vhost-user:%s,config,mtu=2000" % sock):
        with Tap("t", sock=sock) as tap:
            tap.said("mtu 2000")
            check(link("t")["mtu"] == 2000, link("t"))
            check(held_by_child(tap.process.pid) == 1 << 12, "more than CAP_NET_ADMIN is kept")
        with Tap("t", "--mtu", "1600", sock=sock) as tap:
            tap.said("running")
            check(link("t")["mtu"] == 1600, link("t"))


@test
def a_server_has_a_socket_with_a_mode():
    sock = os.path.join(BASE, "s.sock")
    with Tap("t", "--server", "--up", sock=sock + ",mode=0620") as tap:
        check(stat.S_IMODE(os.stat(sock).st_mode) == 0o620, oct(os.stat(sock).st_mode))
        for _ in range(2):
            with switch("s=vhost-user:%s,client" % sock):
                wait_for("a carrier", lambda: has_carrier("t"))
            wait_for("no carrier", lambda: not has_carrier("t"))
        check(tap.end() == 0)
    check(not os.path.exists(sock), "the socket file was left")


VERSION_1, EVENT_IDX = 1 << 32, 1 << 29


class Backend(threading.Thread):
    """The least that a frontend takes for a backend: one connection after the other, no protocol
    features, each ring noted as it starts."""

    def __init__(self, path, features=VERSION_1):
        super().__init__(daemon=True)
        self.features = features
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(path)
        self.listening.listen()
        self.starts = 0
        self.rings = {}
        self.memory = None
        self.failed = None
        self.start()

    def run(self):
        try:
            while True:
                with self.listening.accept()[0] as sock:
                    self.serve(sock)
        except OSError as error:
            self.failed = error

    def serve(self, sock):
        while True:
            head, fds, _, _ = socket.recv_fds(sock, 12, 8)
            if len(head) < 12:
                return
            request, _, size = struct.unpack("=III", head)
            body = sock.recv(size, socket.MSG_WAITALL) if size else b""
            reply = self.answer(request, body, fds)
            if reply is not None:
                sock.sendall(struct.pack("=III", request, 5, len(reply)) + reply)
            for fd in fds:
                os.close(fd)

    def answer(self, request, body, fds):
        if request == 1:  # GET_FEATURES
            return struct.pack("=Q", self.features)
        if request == 5:  # SET_MEM_TABLE
            _, _, _, size, uva, offset = struct.unpack("=IIQQQQ", body[:40])
            self.uva = uva
            self.memory = mmap.mmap(fds[0], size, offset=offset)
        elif request == 9:  # SET_VRING_ADDR
            index, _, desc, used, avail, _ = struct.unpack("=IIQQQQ", body)
            self.ring(index).update(used=used - self.uva, avail=avail - self.uva)
        elif request == 11:  # GET_VRING_BASE
            return body[:4] + struct.pack("=I", 0)
        elif request == 12:  # SET_VRING_KICK
            self.starts += 1
        elif request == 13:  # SET_VRING_CALL
            ring = self.ring(body[0])
            if "call" in ring:
                os.close(ring["call"])
            ring["call"] = os.dup(fds[0])
        return None

    def ring(self, index):
        return self.rings.setdefault(index, {})

    def raise_call(self, index):
        os.write(self.rings[index]["call"], struct.pack("=Q", 1))

    def stop(self):
        # wakes accept() up
        self.listening.shutdown(socket.SHUT_RDWR)
        self.join(10)
        self.listening.close()


@test
def a_backend_that_breaks_a_ring_is_begun_anew_with():
    sock = os.path.join(BASE, "b.sock")
    backend = Backend(sock)
    with Tap("t", "--up", sock=sock) as tap:
        for round_ in range(1, 3):
            wait_for("a carrier", lambda: has_carrier("t"))
            wait_for("two rings", lambda: backend.starts >= 2 * round_)
            struct.pack_into("=H", backend.memory, backend.rings[0]["used"] + 2, 0x7fff)
            backend.raise_call(0)
            tap.said("the backend broke a ring: .*", round_)
        wait_for("two rings", lambda: backend.starts >= 6)
        wait_for("a carrier", lambda: has_carrier("t"))
        check(backend.failed is None, backend.failed)
    backend.stop()


@test
def frames_that_cannot_be_are_counted():
    sock = os.path.join(BASE, "f.sock")
    backend = Backend(sock)
    with Tap("t", "--up", "--stats", "1", sock=sock) as tap:
        wait_for("a carrier", lambda: has_carrier("t"))
        ring = backend.rings[0]
        head = struct.unpack_from("=H", backend.memory, ring["avail"] + 4)[0]
        struct.pack_into("=II", backend.memory, ring["used"] + 4, head, 3)  # less than its header
        struct.pack_into("=H", backend.memory, ring["used"] + 2, 1)
        backend.raise_call(0)
        tap.said("0 on the way out, 1 on the way in")
    backend.stop()


@test
def a_backend_that_will_not_do_is_said_so_once():
    sock = os.path.join(BASE, "l.sock")
    backend = Backend(sock, features=EVENT_IDX)
    with Tap("t", sock=sock) as tap:
        tap.said("VERSION_1")
        time.sleep(0.5)
        check(len(tap.log().splitlines()) <= 3, tap.log())
        check(not has_carrier("t"))
    backend.stop()


def go_inside():
    """Everything once more in a namespace of its own, if there can be one."""
    unshare = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-rn"]
    if INSIDE or not shutil.which("unshare"):
        return
    if subprocess.run(unshare + ["true"], stderr=subprocess.DEVNULL).returncode:
        return
    shutil.rmtree(BASE, ignore_errors=True)
    os.environ["VHU_TEST_INSIDE"] = "1"
    os.execvp("unshare", unshare + [sys.executable, os.path.abspath(__file__), *sys.argv[1:]])


if __name__ == "__main__":
    go_inside()
    sys.exit(main())
