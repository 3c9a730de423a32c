# SPDX-License-Identifier: MIT
"""A frontend and a backend made of sockets, with vhu trace between them. It must not know what any single test wants
to show."""

import array
import json
import os
import re
import signal
import socket
import struct
import subprocess
import tempfile
import threading

from cases import BASE, PATIENCE, ROOT, VHU, Skip, at_end, check, main, running, stop_all, test, wait_for

SANITIZED = os.path.exists(VHU) and b"__asan_init" in open(VHU, "rb").read()

GET_FEATURES, SET_FEATURES, SET_OWNER, SET_MEM_TABLE = 1, 2, 3, 5
SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE = 8, 9, 10, 11
SET_VRING_KICK, SET_VRING_CALL, GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES = 12, 13, 15, 16
SET_VRING_ENABLE, SET_BACKEND_REQ_FD, SET_STATUS = 18, 21, 39
BACKEND_CONFIG_CHANGE, BACKEND_SHARED_OBJECT_LOOKUP = 2, 8
VERSION, REPLY, NEED_REPLY, NO_FD = 1, 4, 8, 0x100
MRG_RXBUF, PROTOCOL_FEATURES, VERSION_1 = 1 << 15, 1 << 30, 1 << 32
REPLY_ACK, BACKEND_REQ, CONFIG, STATUS = 1 << 3, 1 << 5, 1 << 9, 1 << 16


def u64(value):
    return struct.pack("<Q", value)


def state(index, num):
    return struct.pack("<II", index, num)


class Peer:
    """One end of a connection, blocking, with a limit."""

    def __init__(self, sock):
        self.sock = sock
        self.sock.settimeout(10 * PATIENCE)

    def send(self, request, payload=b"", flags=0, fds=(), size=None, version=VERSION):
        header = struct.pack("<III", request, flags | version, len(payload) if size is None else size)
        self.send_raw(header + payload, fds)

    def send_raw(self, data, fds=()):
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        sent = self.sock.sendmsg([data], ancillary)
        if sent < len(data):
            self.sock.sendall(data[sent:])

    def receive(self):
        """request, flags, payload, fds; None at the end."""
        fds = array.array("i")
        header = b""
        while len(header) < 12:
            data, ancillary, flags, _ = self.sock.recvmsg(12 - len(header), socket.CMSG_SPACE(16 * 4))
            for _, _, bits in ancillary:
                fds.frombytes(bits[: len(bits) - len(bits) % 4])
            check(not flags & socket.MSG_CTRUNC, "fds were cut")
            if not data:
                check(not header, "closed in mid-message")
                return None
            header += data
        request, flags, size = struct.unpack("<III", header)
        payload = b""
        while len(payload) < size:
            data = self.sock.recv(size - len(payload))
            check(data, "closed in mid-message")
            payload += data
        return request, flags, payload, list(fds)

    def is_closed(self):
        try:
            return self.receive() is None
        except ConnectionResetError:
            return True

    def close(self):
        self.sock.close()


class Tracer:
    """vhu trace with its output read all the time, unless that is what is tested."""

    def __init__(self, *words, read=True, program=VHU, **more):
        self.lines, self.err = [], ""
        self.process = subprocess.Popen([program, "trace", *words], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
        at_end(self.kill)
        if read:
            self.reader = threading.Thread(target=self.read, daemon=True)
            self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line.decode().rstrip("\n"))

    def objects(self):
        return [json.loads(line) for line in list(self.lines)]

    def wait_line(self, pattern):
        return wait_for("a line like " + pattern,
                        lambda: next((x for x in list(self.lines) if re.search(pattern, x)), None))

    def wait_object(self, **want):
        def look():
            return next((o for o in self.objects() if all(o.get(k) == v for k, v in want.items())), None)
        return wait_for("an object with %s" % want, look)

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        status = self.process.wait(10 * PATIENCE)
        self.err = self.process.stderr.read().decode()
        return status

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            try:
                stream.close()
            except OSError:
                pass

    def fds(self):
        return len(os.listdir("/proc/%d/fd" % self.process.pid))

    def memory_kib(self):
        """Resident memory; a sanitizer's own is not counted, for there is no telling it apart."""
        if SANITIZED:
            return 0
        with open("/proc/%d/status" % self.process.pid) as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1))


class Place:
    """Two socket paths and whoever listens on the backend's."""

    def __init__(self):
        self.path = tempfile.mkdtemp(dir=BASE)
        self.frontend_path = os.path.join(self.path, "frontend")
        self.backend_path = os.path.join(self.path, "backend")
        self.server = None

    def listen(self, path=None):
        server = socket.socket(socket.AF_UNIX)
        server.settimeout(10 * PATIENCE)
        server.bind(path or self.backend_path)
        server.listen(8)
        self.server = server

    def accept(self):
        return Peer(self.server.accept()[0])

    def connect(self, path=None):
        path = path or self.frontend_path
        sock = socket.socket(socket.AF_UNIX)

        def look():
            try:
                sock.connect(path)
            except (FileNotFoundError, ConnectionRefusedError):
                return False
            return True
        wait_for("a listener on " + path, look)
        return Peer(sock)


def joined(*words, **more):
    """A tracer with a frontend and a backend on it."""
    place = Place()
    place.listen()
    tracer = Tracer(*words, place.frontend_path, place.backend_path, **more)
    backend = place.accept()
    frontend = place.connect()
    return place, tracer, frontend, backend


def ask(frontend, backend, request, answer, payload=b"", flags=0):
    """A request through to the backend, and its reply back."""
    frontend.send(request, payload, flags)
    check(backend.receive()[0] == request)
    backend.send(request, answer, REPLY)
    check(frontend.receive()[:3] == (request, VERSION | REPLY, answer))


def eventfd():
    return os.eventfd(0) if hasattr(os, "eventfd") else os.pipe()[0]


def pass_fd(frontend, backend, request, payload):
    """Sends an eventfd along and sees it arrive."""
    fd = eventfd()
    frontend.send(request, payload, fds=[fd])
    got = backend.receive()
    check(got[0] == request and got[2] == payload and len(got[3]) == 1, got)
    check(os.fstat(got[3][0]).st_ino == os.fstat(fd).st_ino)
    os.close(fd)
    os.close(got[3][0])


def negotiate(frontend, backend, protocol_features):
    ask(frontend, backend, GET_FEATURES, u64(MRG_RXBUF | PROTOCOL_FEATURES | VERSION_1))
    ask(frontend, backend, GET_PROTOCOL_FEATURES, u64(protocol_features))
    frontend.send(SET_PROTOCOL_FEATURES, u64(protocol_features))
    check(backend.receive()[2] == u64(protocol_features))


def handshake(frontend, backend):
    """What a VMM sends for one ring, up to the guest's driver running."""
    negotiate(frontend, backend, REPLY_ACK | STATUS)
    pass_fd(frontend, backend, SET_VRING_CALL, u64(0))
    ask(frontend, backend, GET_FEATURES, u64(MRG_RXBUF | PROTOCOL_FEATURES | VERSION_1))
    frontend.send(SET_FEATURES, u64(MRG_RXBUF | PROTOCOL_FEATURES | VERSION_1))
    backend.receive()
    memory = os.memfd_create("guest")
    os.ftruncate(memory, 2 << 20)
    regions = struct.pack("<IIQQQQQQQQ", 2, 0, 0, 0xa0000, 0x7f0000000000, 0,
                          0x100000, 1 << 20, 0x7f0000100000, 0x100000)
    frontend.send(SET_MEM_TABLE, regions, NEED_REPLY, [memory, memory])
    got = backend.receive()
    check(got[2] == regions and len(got[3]) == 2)
    for fd in got[3] + [memory]:
        os.close(fd)
    backend.send(SET_MEM_TABLE, u64(0), REPLY)
    frontend.receive()
    for request, payload in ((SET_VRING_NUM, state(0, 256)), (SET_VRING_BASE, state(0, 0)),
                             (SET_VRING_ADDR, struct.pack("<IIQQQQ", 0, 0, 0x7f0000001000, 0x7f0000002000,
                                                          0x7f0000003000, 0x3000))):
        frontend.send(request, payload)
        check(backend.receive()[2] == payload)
    pass_fd(frontend, backend, SET_VRING_KICK, u64(0))
    pass_fd(frontend, backend, SET_VRING_CALL, u64(0))
    frontend.send(SET_VRING_ENABLE, state(0, 1))
    backend.receive()
    ask(frontend, backend, SET_STATUS, u64(0), u64(15), NEED_REPLY)
