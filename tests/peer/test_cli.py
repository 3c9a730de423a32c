#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""vhu as a person or a program at its command line meets it: usage, exit statuses, sockets, signals,
and the control socket. It carries no frames."""
# tier: fast
# timeout: 120

import json
import os
import re
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time

from cases import BASE, PATIENCE, VHU, Skip, check, main, running, test, wait_for


def vhu(*words, **more):
    """Runs vhu to its end: exit status, standard output, standard error."""
    done = subprocess.run([VHU, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=20 * PATIENCE, **more)
    return done.returncode, done.stdout, done.stderr


def refused(words, *parts):
    """A wrong command line: exit 2, nothing on standard output, one line that names what is wrong."""
    status, out, err = vhu(*words)
    check(status == 2, words, "exited with", status, err)
    check(out == "", words, "wrote to standard output:", out)
    first = err.splitlines()[0]
    for part in parts:
        check(part in first, words, "does not say", repr(part), "but", first)


class Switch:
    """A running vhu switch with its log, in a folder of its own."""

    def __init__(self, *words, wait=True, **more):
        self.dir = tempfile.mkdtemp(dir=BASE)
        self.ctl = self.path("ctl")
        self.log_path = self.path("log")
        words = [w.replace("@", self.dir) for w in words]
        if not any(w.startswith("--ctl") for w in words):
            words = ["--ctl", self.ctl, *words]
        with open(self.log_path, "w") as log:
            self.process = subprocess.Popen([VHU, "switch", *words], stdin=subprocess.DEVNULL,
                                            stderr=log, **more)
        running.append(self.process)
        if wait:
            wait_for("control socket", lambda: self.process.poll() is not None or
                     (os.path.exists(self.ctl) and self.answers()))
            check(self.process.poll() is None, "it ended:", self.log())

    def answers(self):
        try:
            self.ask({"command": "show ports"})
            return True
        except OSError:
            return False

    def path(self, name):
        return os.path.join(self.dir, name)

    def log(self):
        with open(self.log_path) as log:
            return log.read()

    def said(self, pattern):
        return wait_for("a line like " + pattern, lambda: re.search(pattern, self.log(), re.M))

    def connect(self):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(10 * PATIENCE)
        for _ in range(500):
            try:
                sock.connect(self.ctl)
                break
            except BlockingIOError:  # it has yet to take in those before
                time.sleep(0.01)
        return sock

    def ask(self, request):
        with self.connect() as sock:
            return ask(sock, request)

    def ctl_run(self, *words):
        return vhu("ctl", "--socket", self.ctl, *words, cwd=self.dir)

    def fds(self):
        return len(os.listdir("/proc/%d/fd" % self.process.pid))

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


def receive_line(sock):
    line = b""
    while not line.endswith(b"\n"):
        more = sock.recv(65536)
        if not more:
            break
        line += more
    return line


def ask(sock, request):
    sock.sendall(json.dumps(request).encode() + b"\n")
    return json.loads(receive_line(sock))


def frontend(path):
    """A vhost-user frontend that has said hello and asked for the features."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(10 * PATIENCE)
    sock.connect(path)
    sock.sendall(struct.pack("=III", 1, 1, 0))
    reply = sock.recv(20)
    check(len(reply) == 20 and struct.unpack("=III", reply[:12]) == (1, 5, 8), "GET_FEATURES:", reply)
    return sock


A = "a=vhost-user:@/a.sock"
B = "b=vhost-user:@/b.sock"


# --- command lines -------------------------------------------------------------------------------


@test
def version_and_help_go_to_standard_output():
    check(re.fullmatch(r"vhu \d+\.\d+\.\d+\n", vhu("--version")[1]))
    for words in (["--help"], ["-h"], ["help"], ["help", "switch"], ["switch", "--help"],
                  ["help", "ctl"], ["ctl", "-h"], ["help", "trace"], ["trace", "--help"]):
        status, out, err = vhu(*words)
        check(status == 0 and err == "" and out.startswith("usage: vhu"), words, status, err, out)
        check(max(map(len, out.splitlines())) <= 80, words, "is wider than 80 columns")


@test
def wrong_commands_are_named():
    status, out, err = vhu()
    check(status == 2 and out == "" and err.startswith("usage: vhu"), err)
    refused(["frobnicate"], "vhu: frobnicate: no such command")
    refused(["help", "frobnicate"], "frobnicate")


@test
def wrong_switch_lines_are_named():
    refused(["switch"], "vhu switch: --port", "at least one")
    refused(["switch", "--port"], "--port", "value is missing")
    refused(["switch", "--prot", "x"], "--prot", "no such option")
    refused(["switch", "--verbose=3"], "--verbose", "takes no value")
    refused(["switch", "-y"], "-y", "no such option")
    refused(["switch", "a=vhost-user:/x"], "a=vhost-user:/x")
    refused(["switch", "--fd", "x"], "--fd", "x")
    refused(["switch", "--fd", "999"], "--fd", "999", "not open")
    refused(["switch", "--socket-path="], "--socket-path")
    refused(["switch", "--socket-path=/x", "--socket-path=/y"], "--socket-path")
    refused(["switch", "--mode", "lazy", "--port", "a=pcap:/x"], "--mode", "lazy", "interrupt")
    refused(["switch", "--workers", "65", "--port", "a=pcap:/x"], "--workers", "65")
    for option in ("--workers", "--fdb-size", "--ageing", "--spin"):
        for value in ("0", "-1", "x", "", "99999999999999999999"):
            refused(["switch", option, value, "--port", "a=pcap:/x"], option, value)
    refused(["switch", "--ctl", "/x,mode=8", "--port", "a=pcap:/x"], "--ctl", "mode=8")
    refused(["switch", "--ctl", ",mode=0600", "--port", "a=pcap:/x"], "--ctl", "empty")


@test
def wrong_ports_are_named():
    for spec in ("x", "=vhost-user:/x", "a=", "a=frob:/x", "a=vhost-user:", "a b=vhost-user:/x",
                 "a=vhost-user:/x,frob", "a=vhost-user:/x,mode=999", "a=vhost-user:/x,vlan=0",
                 "a=vhost-user:/x,vlan=4095", "a=vhost-user:/x,vlan=1,trunk=2",
                 "a=vhost-user:/x,trunk=9-2", "a=vhost-user:/x,mtu=x", "a=vhost-user:fd=x",
                 "a" * 40 + "=vhost-user:/x", "a=vhost-user:/" + "x" * 200,
                 "a=vhost-user:/x,rate=1x", "a=vhost-user:/x,rate=2000G", "a=vhost-user:/x,pps=",
                 "a=pcap:/x,rate=1M", "a=tap:x,mode=0660", "a=tap:", "a=tap:" + "i" * 20):
        refused(["switch", "--ctl", "none", "--port", spec], "vhu switch: --port " + spec[:60])


@test
def a_name_is_given_once():
    status, out, err = vhu("switch", "--ctl", "none", "--port", "a=vhost-user:%s/n1" % BASE,
                           "--port", "a=vhost-user:%s/n2" % BASE)
    check(status == 2 and "n2" in err, status, err)
    check(not os.path.exists(BASE + "/n1"), "a socket file was left")


@test
def control_characters_do_not_reach_the_terminal():
    status, _, err = vhu("switch", "--port", "a\033[2J\r\n=x")
    check(status == 2 and "\033" not in err and "\r" not in err and "\\x1b" in err, repr(err))


@test
def wrong_ctl_lines_are_named():
    refused(["ctl"], "vhu ctl: the command is missing")
    refused(["ctl", "frob"], "frob", "no such command")
    refused(["ctl", "show"], "show", "missing")
    refused(["ctl", "show", "x"], "x", "ports, counters, fdb or workers")
    refused(["ctl", "show", "ports", "extra"], "extra", "too many")
    refused(["ctl", "add-port"], "add-port", "missing")
    refused(["ctl", "del-port"], "del-port", "missing")
    refused(["ctl", "set-port", "a"], "set-port", "missing")
    refused(["ctl", "set-port", "a:128", "mode=poll"], "a:128")
    refused(["ctl", "move-queue", "a", "0"], "NAME:QUEUE")
    refused(["ctl", "move-queue", "a:0", "64"], "64")
    refused(["ctl", "fdb", "add", "52:54:00:00:00:01"], "fdb add", "port is missing")
    refused(["ctl", "fdb", "add", "52:54:00:00:00:01,vlan=4095", "a"], "vlan=4095")
    refused(["ctl", "--json", "del-port", "a"], "--json")
    refused(["ctl", "--socket"], "--socket")


@test
def a_switch_that_is_not_there_is_said_so():
    status, out, err = vhu("ctl", "--socket", BASE + "/none", "show", "ports")
    check(status == 1 and out == "" and BASE + "/none" in err and "no switch listens" in err, err)


@test
def output_that_cannot_be_written_is_an_error():
    with open("/dev/full", "w") as full:
        done = subprocess.run([VHU, "--help"], stdout=full, stderr=subprocess.PIPE, timeout=20)
    check(done.returncode == 1 and b"standard output" in done.stderr, done)


# --- a backend program, as the specification wants it --------------------------------------------


@test
def print_capabilities_is_json_of_type_net():
    for words in (["switch", "--print-capabilities"],
                  ["switch", "--socket-path=/nowhere/x", "--print-capabilities"]):
        status, out, _ = vhu(*words)
        check(status == 0 and json.loads(out)["type"] == "net", out)


@test
def called_as_vhost_user_net_it_is_the_switch():
    link = os.path.join(BASE, "vhost-user-net")
    os.symlink(os.path.abspath(VHU), link)
    done = subprocess.run([link, "--print-capabilities"], capture_output=True, timeout=20)
    check(json.loads(done.stdout)["type"] == "net", done)


@test
def socket_path_makes_one_port():
    with Switch("--socket-path=@/p.sock") as switch:
        ports = switch.ask({"command": "show ports"})["ports"]
        check([p["name"] for p in ports] == ["port0"], ports)
        frontend(switch.path("p.sock")).close()


@test
def fd_takes_a_connected_socket():
    ours, theirs = socket.socketpair()
    with theirs:
        switch = Switch("--fd=%d" % theirs.fileno(), pass_fds=[theirs.fileno()])
    with switch, ours:
        ours.settimeout(10 * PATIENCE)
        ours.sendall(struct.pack("=III", 1, 1, 0))
        check(len(ours.recv(20)) == 20, "no answer to GET_FEATURES")


@test
def fd_that_is_no_socket_is_refused():
    with open(os.devnull) as null:
        fd = null.fileno()
        status, _, err = vhu("switch", "--ctl", "none", "--fd=%d" % fd, pass_fds=[fd])
    check(status in (1, 2) and "fd=%d" % fd in err, status, err)


# --- sockets and signals -------------------------------------------------------------------------


@test
def every_port_is_named_at_the_start():
    with Switch("--port", A, "--port", B + ",client", "--port", "c=pcap:@/c.pcap") as switch:
        log = switch.log()
        for name, where in (("a", "a.sock"), ("b", "b.sock"), ("c", "c.pcap")):
            check(re.search(r"^vhu switch: %s: .*/%s" % (name, re.escape(where)), log, re.M), log)


@test
def signals_end_it_and_remove_its_sockets():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        switch = Switch("--port", A, "--port", B)
        with frontend(switch.path("a.sock")):
            check(os.path.exists(switch.path("b.sock")))
            status = switch.end(number)
        check(status == 0, signal.Signals(number).name, "ended it with", status, switch.log())
        left = [f for f in os.listdir(switch.dir) if f != "log"]
        check(not left, "left behind:", left)


@test
def a_stale_socket_is_replaced():
    switch = Switch("--port", A)
    switch.end(signal.SIGKILL)
    check(os.path.exists(switch.path("a.sock")) and os.path.exists(switch.ctl))
    with Switch("--port", "a=vhost-user:" + switch.path("a.sock"), "--ctl", switch.ctl, wait=False) as again:
        again.ctl = switch.ctl
        wait_for("control socket", again.answers)
        frontend(switch.path("a.sock")).close()
    check(not os.path.exists(switch.path("a.sock")) and not os.path.exists(switch.ctl))


@test
def a_live_socket_is_refused():
    with Switch("--port", A) as switch:
        path = switch.path("a.sock")
        status, _, err = vhu("switch", "--ctl", "none", "--port", "x=vhost-user:" + path)
        check(status == 1 and path in err, status, err)
        status, _, err = vhu("switch", "--ctl", switch.ctl, "--port", "x=vhost-user:%s/y" % switch.dir)
        check(status == 1 and switch.ctl in err and "listens on it" in err, status, err)
        check(not os.path.exists(switch.path("y")), "the refused one left its socket")
        frontend(path).close()


@test
def a_file_that_is_no_socket_is_kept():
    path = os.path.join(BASE, "precious")
    with open(path, "w") as file:
        file.write("x")
    status, _, err = vhu("switch", "--ctl", "none", "--port", "x=vhost-user:" + path)
    check(status == 1 and path in err, status, err)
    status, _, err = vhu("switch", "--ctl", path, "--port", "x=vhost-user:%s/z" % BASE)
    check(status == 1 and path in err, status, err)
    check(open(path).read() == "x")


@test
def modes_of_sockets_are_as_asked():
    def mode(path):
        return stat.S_IMODE(os.stat(path).st_mode)

    with Switch("--port", A + ",mode=0620", "--ctl", "@/ctl,mode=0640") as switch:
        check(mode(switch.path("a.sock")) == 0o620, oct(mode(switch.path("a.sock"))))
        check(mode(switch.ctl) == 0o640, oct(mode(switch.ctl)))
    with Switch("--port", A) as switch:
        check(mode(switch.ctl) == 0o600, oct(mode(switch.ctl)))


@test
def without_a_place_for_it_there_is_no_control_socket():
    if not os.geteuid():
        raise Skip("root has one")
    path = os.path.join(BASE, "d.sock")
    env = {k: v for k, v in os.environ.items() if k != "XDG_RUNTIME_DIR"}
    with Switch("--ctl=none", "--port", "a=vhost-user:" + path, wait=False, env=env) as switch:
        switch.said("a: ")


@test
def it_has_given_up_its_privileges():
    with Switch("--port", A) as switch:
        with open("/proc/%d/status" % switch.process.pid) as file:
            status = dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
        check(int(status["CapEff"], 16) == 0 and int(status["CapPrm"], 16) == 0, status)
        check(int(status["CapAmb"], 16) == 0 and status["NoNewPrivs"] == "1", status)
        check(status["Seccomp"] == "2" or "asan" in VHU or "tsan" in VHU, "no system call filter")


@test
def user_is_become():
    if os.geteuid():
        raise Skip("not root")
    os.chmod(BASE, 0o711)
    place = tempfile.mkdtemp(dir=BASE)
    os.chown(place, 65534, -1)
    with Switch("--user", "nobody", "--port", "a=vhost-user:%s/a" % place, "--ctl", place + "/ctl", wait=False) as switch:
        switch.ctl = place + "/ctl"
        wait_for("control socket", lambda: os.path.exists(switch.ctl) and switch.answers())
        check(os.stat(place + "/a").st_uid == 65534)
        check(os.stat("/proc/%d" % switch.process.pid).st_uid == 65534)
    check(os.listdir(place) == [], os.listdir(place))
    status, _, err = vhu("switch", "--ctl", "none", "--user", "no-such-user", "--port", "a=vhost-user:%s/b" % BASE)
    check(status == 1 and "no-such-user" in err, err)


@test
def readiness_is_told():
    if not re.search("libsystemd", subprocess.run(["ldd", VHU], capture_output=True, text=True).stdout):
        raise Skip("built without libsystemd")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        path = os.path.join(BASE, "notify")
        notify.bind(path)
        notify.settimeout(10 * PATIENCE)
        with Switch("--port", A, env={**os.environ, "NOTIFY_SOCKET": path}):
            check(b"READY=1" in notify.recv(4096))
        check(b"STOPPING=1" in notify.recv(4096))


# --- control -------------------------------------------------------------------------------------


@test
def tables_fit_a_terminal():
    with Switch("--port", A, "--port", B + ",client,trunk=1-10+20", "--port", "c=pcap:@/c.pcap") as switch:
        with frontend(switch.path("a.sock")):
            for what, title in (("ports", "PORT"), ("counters", "PORT"), ("fdb", "ADDRESS")):
                status, out, err = switch.ctl_run("show", what)
                check(status == 0 and err == "" and out.startswith(title), what, status, err, out)
            lines = switch.ctl_run("show", "counters")[1].splitlines()
            check(max(map(len, lines)) <= 80 and len(lines) == 4, lines)
            lines = switch.ctl_run("show", "ports")[1].splitlines()
            check([line.split()[0] for line in lines[1:4]] == ["a", "b", "c"], lines)


@test
def watch_goes_on_until_it_is_stopped():
    with Switch("--port", A) as switch:
        for more, mark in (([], "EACH SECOND"), (["--json"], '{"ports"')):
            with subprocess.Popen([VHU, "ctl", "-s", switch.ctl, "show", "counters", "--watch", *more],
                                  stdout=subprocess.PIPE, text=True) as watch:
                try:
                    for line in watch.stdout:
                        if mark in line:
                            break
                    check(mark in line and watch.poll() is None, line)
                finally:
                    watch.terminate()
        with subprocess.Popen([VHU, "ctl", "-s", switch.ctl, "show", "ports", "-w"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as watch:
            watch.stdout.readline()
            switch.end()
            check(watch.wait(10 * PATIENCE) == 1 and "closed the connection" in watch.stderr.read())


@test
def json_has_every_counter():
    with Switch("--port", A) as switch:
        status, out, _ = switch.ctl_run("show", "counters", "--json")
        port = json.loads(out)["ports"][0]
        check(status == 0 and port["name"] == "a" and port["counters"]["rx_frames"] == 0, port)
        check(len([k for k in port["counters"] if "drop" in k]) >= 10, port)
        status, out, _ = switch.ctl_run("show", "ports", "--json")
        port = json.loads(out)["ports"][0]
        check(port["kind"] == "vhost-user" and port["target"] == switch.path("a.sock"), port)
        check(port["features"] == "0x0" and port["features_names"] == [], port)


@test
def ports_come_and_go():
    with Switch("--port", A) as switch:
        check(switch.ctl_run("add-port", "b=vhost-user:b.sock")[0] == 0)
        check(os.path.exists(switch.path("b.sock")), "a relative path is the client's")
        frontend(switch.path("b.sock")).close()
        names = [p["name"] for p in switch.ask({"command": "show ports"})["ports"]]
        check(names == ["a", "b"], names)
        status, out, err = switch.ctl_run("add-port", "b=vhost-user:c.sock")
        check(status == 1 and out == "" and err.startswith("vhu ctl: add-port b="), err)
        check(not os.path.exists(switch.path("c.sock")))
        with frontend(switch.path("b.sock")) as peer:
            check(switch.ctl_run("del-port", "b")[0] == 0)
            check(peer.recv(1) == b"", "the peer of a removed port was kept")
        wait_for("the socket's removal", lambda: not os.path.exists(switch.path("b.sock")))
        status, _, err = switch.ctl_run("del-port", "b")
        check(status == 1 and "b: there is no such port" in err, err)
        status, _, err = switch.ctl_run("add-port", "d=vhost-user:fd=3")
        check(status == 1 and "fd=" in err, err)
        check(switch.ctl_run("add-port", "e=pcap:e.pcap")[0] == 0)
        check(switch.ctl_run("add-port", "f=frob:x")[0] == 1)
        check(switch.ctl_run("add-port", "g=vhost-user:g.sock,group=no-such-group-here")[0] == 1)
        check(switch.ctl_run("add-port", "h=tap:vhu-no-such-tap-0")[0] == 1)
        check(switch.ctl_run("add-port", "i=vhost-user:i.sock,mode=0660,group=%d" % os.getgid())[0] == 0)
        check(switch.ctl_run("add-port", "j=vhost-user:nobody.sock,client")[0] == 0)
        check(switch.answers() and switch.ctl_run("del-port", "j")[0] == 0)
        switch.said("control socket: del-port j")
        check(switch.process.poll() is None, switch.log())


@test
def what_a_running_port_is_can_be_changed():
    with Switch("--workers", "2", "--port", A + ",mode=poll,rate=10M", "--port", "c=pcap:@/c.pcap") as switch:
        for words in (["a", "mode=interrupt"], ["a:7", "mode=adaptive"], ["a", "rate=1G,pps=10k,mode=poll"],
                      ["a", "rate=0,pps=0"]):
            status, _, err = switch.ctl_run("set-port", *words)
            check(status == 0, words, err)
        switch.said("control socket: set-port a:7 mode=adaptive")
        for words, part in ((["a", "mode=0660"], "0660"), (["a", "queues=2"], "queues cannot change"),
                            (["a:0", "rate=1M"], "whole port"), (["a:8", "mode=poll"], "no such queue"),
                            (["z", "mode=poll"], "no such port"), (["c", "mode=poll"], "no option")):
            status, _, err = switch.ctl_run("set-port", *words)
            check(status == 1 and part in err, words, status, err)
        for words, part in ((["a:0", "2"], "0 to 1"), (["a:8", "0"], "no such"), (["c:0", "1"], "capture")):
            status, _, err = switch.ctl_run("move-queue", *words)
            check(status == 1 and part in err, words, status, err)
        check(switch.ctl_run("move-queue", "a:3", "0")[0] == 0)
        workers = json.loads(switch.ctl_run("show", "workers", "--json")[1])["workers"]
        check([w["worker"] for w in workers] == [0, 1], workers)
        check(switch.ctl_run("show", "workers")[1].startswith("WORKER"))


@test
def static_addresses_come_and_go():
    mac = "52:54:00:12:34:56"
    with Switch("--port", A) as switch:
        check(switch.ctl_run("fdb", "add", mac, "a")[0] == 0)
        entry = json.loads(switch.ctl_run("show", "fdb", "--json")[1])["fdb"]
        check(len(entry) == 1 and entry[0]["mac"] == mac and entry[0]["static"] is True, entry)
        check(mac in switch.ctl_run("show", "fdb", "a")[1])
        check(switch.ctl_run("fdb", "flush")[0] == 0)
        check(mac in switch.ctl_run("show", "fdb")[1], "a static address was flushed")
        for words, part in ((["add", mac, "z"], "no port z"), (["add", "52:54:00", "a"], "52:54:00"),
                            (["add", "01:00:5e:00:00:01", "a"], "group"), (["del", mac + ",vlan=7"], "VLAN 7"),
                            (["flush", "z"], "z")):
            status, _, err = switch.ctl_run("fdb", *words)
            check(status == 1 and part in err, words, status, err)
        check(switch.ctl_run("show", "fdb", "z")[0] == 1)
        check(switch.ctl_run("fdb", "del", mac)[0] == 0)
        check(switch.ask({"command": "show fdb"})["fdb"] == [])


@test
def wrong_requests_get_an_error_and_the_next_an_answer():
    lines = (b"", b"x", b"[]", b"{}", b"null", b'{"command": 1}', b'{"command": "frob"}', b"[" * 5000,
             b'{"command": "add-port"}', b'{"command": "add-port", "spec": 1}', b'{"command": "del-port"}',
             b'{"command": "set-port", "name": "a"}', b'{"command": "set-port", "name": "a", "options": "mtu=1500"}',
             b'{"command": "set-port", "name": "a", "options": "pps=1", "queue": 0}',
             b'{"command": "set-port", "name": "a", "options": "mode=poll", "queue": -1}',
             b'{"command": "set-port", "name": "z", "options": "mode=poll"}',
             b'{"command": "move-queue", "name": "a", "queue": 0}', b'{"command": "move-queue", "name": "a", "worker": 0}',
             b'{"command": "move-queue", "name": "a", "queue": 8, "worker": 0}',
             b'{"command": "move-queue", "name": "a", "queue": 0, "worker": 1}',
             b'{"command": "fdb add", "mac": "x", "port": "a"}', b'{"a": 1, "a": 2}', b"\xff\xfe", b'{"command": "\\u0000"}',
             b'{"command": "fdb del", "mac": "52:54:00:12:34:56", "vlan": 1e99}',
             b'{"command": "fdb del", "mac": "52:54:00:12:34:56", "vlan": -1}')
    with Switch("--port", A) as switch, switch.connect() as sock:
        for line in lines:
            sock.sendall(line + b"\n")
            reply = json.loads(receive_line(sock))
            check(list(reply) == ["error"], line, reply)
        check("ports" in ask(sock, {"command": "show ports"}))


@test
def many_requests_at_once_are_answered_in_order():
    with Switch("--port", A) as switch, switch.connect() as sock:
        requests = b"".join(b'{"command": "frob%d"}\n' % i for i in range(500))
        sock.sendall(requests)
        with sock.makefile("rb") as replies:
            for i in range(500):
                check(b"frob%d:" % i in replies.readline(), i)


@test
def a_request_without_end_is_bounded():
    with Switch("--port", A) as switch:
        with switch.connect() as sock:
            sock.sendall(b'{"x": "' + b"y" * 65529)
            reply = json.loads(receive_line(sock))
            check("65536" in reply["error"], reply)
            check(sock.recv(1) == b"", "the connection goes on")
        check(switch.answers())


@test
def clients_that_stall_hurt_nobody():
    with Switch("--port", A) as switch:
        before = switch.fds()
        stalled = []
        for _ in range(100):
            sock = switch.connect()
            sock.setblocking(False)
            try:
                for _ in range(50):
                    sock.send(b'{"command": "show counters"}\n' * 100 + b'{"com')
            except BlockingIOError:
                pass
            except OSError:
                pass  # it was among the oldest, and had to go
            stalled.append(sock)
        began = time.monotonic()
        check(switch.answers(), "no answer beside stalled clients")
        check(time.monotonic() - began < 2 * PATIENCE, "a slow answer beside stalled clients")
        check(switch.fds() <= before + 40, "as many clients as want")
        for sock in stalled:
            sock.close()
        wait_for("the end of closed clients", lambda: switch.fds() <= before)


@test
def connections_leak_no_fd():
    with Switch("--port", A) as switch:
        with frontend(switch.path("a.sock")):
            pass
        wait_for("waiting", lambda: switch.answers())
        before = wait_for("a count", lambda: switch.fds())
        for i in range(100):
            with frontend(switch.path("a.sock")) as peer:
                if i % 3 == 0:
                    peer.sendall(b"\xff" * 12)  # no header of this protocol
                elif i % 3 == 1:
                    peer.sendall(b"\x01")  # the beginning of one
            switch.ask({"command": "show ports"})
        for i in range(20):
            check(switch.ctl_run("add-port", "x=vhost-user:x%d" % i)[0] == 0)
            check(switch.ctl_run("del-port", "x")[0] == 0)
        wait_for("%d open files, not %d" % (before, switch.fds()), lambda: switch.fds() <= before)


@test
def a_peer_that_makes_noise_does_not_fill_the_log():
    with Switch("--port", A) as switch:
        for _ in range(200):
            with frontend(switch.path("a.sock")) as peer:
                peer.sendall(b"\xff" * 12)
        switch.said("a: .*left out")
        check(len(switch.log().splitlines()) < 100, len(switch.log().splitlines()))
        check(len(switch.log().splitlines()) > 3, switch.log())


if __name__ == "__main__":
    sys.exit(main())
