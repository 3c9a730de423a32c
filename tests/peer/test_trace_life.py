#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""vhu trace when its peers come and go, stand still, or send what they should not."""
# tier: fast
# timeout: 180

import fcntl
import os
import random
import socket
import struct
import sys
import threading
import time

from tracing import (
    GET_FEATURES, PATIENCE, SET_BACKEND_REQ_FD, SET_MEM_TABLE, SET_OWNER, SET_VRING_NUM, VERSION, Place, Skip,
    Tracer, ask, check, eventfd, handshake, joined, main, negotiate, state, test, u64, wait_for)

# --- coming and going ---------------------------------------------------------------------------


@test
def a_frontend_finds_nobody_while_there_is_no_backend():
    place = Place()
    tracer = Tracer("--json", place.frontend_path, place.backend_path)
    tracer.wait_object(event="waiting", **{"for": "backend"})
    check(not os.path.exists(place.frontend_path))
    place.listen()
    frontend, backend = place.connect(), place.accept()
    negotiate(frontend, backend, 0)
    # the backend dies, socket and all
    place.server.close()
    os.unlink(place.backend_path)
    backend.close()
    check(frontend.is_closed())
    wait_for("the frontend's socket to go", lambda: not os.path.exists(place.frontend_path))
    place.listen()
    frontend, backend = place.connect(), place.accept()
    negotiate(frontend, backend, 0)
    reasons = [(o["by"], o["reason"]) for o in tracer.objects() if o["event"] == "closed"]
    check(len(reasons) == 1 and reasons[0][0] == "backend", reasons)


@test
def either_side_may_come_again_and_again_and_nothing_is_left():
    place = Place()
    place.listen()
    tracer = Tracer("--json", place.frontend_path, place.backend_path)
    before = None
    for i in range(60):
        backend = place.accept()
        frontend = place.connect()
        handshake(frontend, backend)
        ours, theirs = socket.socketpair(socket.AF_UNIX)
        frontend.send(SET_BACKEND_REQ_FD, fds=[theirs.fileno()])
        os.close(backend.receive()[3][0])
        first, second = (frontend, backend) if i % 2 else (backend, frontend)
        first.close()
        check(second.is_closed())
        second.close()
        ours.close()
        theirs.close()
        if i == 9:
            wait_for("a frontend waited for", lambda: tracer.objects()[-1]["event"] == "waiting")
            before = tracer.fds(), tracer.memory_kib()
    wait_for("a frontend waited for", lambda: tracer.objects()[-1]["event"] == "waiting")
    check(tracer.objects()[-1]["conn"] == 60)
    wait_for("its fds to be as before", lambda: tracer.fds() <= before[0])
    check(tracer.memory_kib() < before[1] + 4096, before[1], tracer.memory_kib())


@test
def the_roles_at_the_sockets_can_be_turned_round():
    place = Place()
    place.listen(place.frontend_path)  # a VMM that is the server
    tracer = Tracer("--json", "--frontend", "connect:" + place.frontend_path,
                    "--backend", "listen:" + place.backend_path)
    tracer.wait_object(event="waiting", **{"for": "backend"})
    for _ in range(3):
        backend = place.connect(place.backend_path)
        frontend = place.accept()
        negotiate(frontend, backend, 0)
        backend.close()
        check(frontend.is_closed())
    check(tracer.end() == 0)
    check(not os.path.exists(place.backend_path) and os.path.exists(place.frontend_path))


@test
def one_more_frontend_is_turned_away_and_the_first_goes_on():
    place, tracer, frontend, backend = joined()
    negotiate(frontend, backend, 0)
    check(place.connect().is_closed())
    tracer.wait_line("one more frontend is turned away")
    ask(frontend, backend, GET_FEATURES, u64(0))


@test
def a_backend_that_takes_nobody_is_not_asked_at_full_speed():
    place = Place()
    place.listen()
    Tracer(place.frontend_path, place.backend_path)
    count, end = 0, time.monotonic() + 1.2
    while time.monotonic() < end:
        place.accept().close()
        count += 1
    check(count < 12, count)


@test
def it_can_do_little_once_it_hears_from_a_peer():
    _, tracer, frontend, backend = joined()
    negotiate(frontend, backend, 0)
    with open("/proc/%d/status" % tracer.process.pid) as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file)
    check(int(status["CapEff"], 16) == 0 and int(status["CapPrm"], 16) == 0, status["CapEff"])
    check(status["NoNewPrivs"] == "1")
    if status["Seccomp"] != "2":
        raise Skip("this program was built without a filter")


# --- bad peers ----------------------------------------------------------------------------------


@test
def a_stream_that_cannot_be_followed_is_closed_and_the_next_one_served():
    place, tracer, frontend, backend = joined("--json")
    many = [eventfd() for _ in range(9)]
    headers = (
        (struct.pack("<III", GET_FEATURES, VERSION, 4097), []),
        (struct.pack("<III", GET_FEATURES, VERSION, 0xffffffff), []),
        (struct.pack("<III", SET_MEM_TABLE, VERSION, 0), many),
    )
    conn = 0
    for data, fds in headers:
        for side in ("frontend", "backend"):
            bad, good = (frontend, backend) if side == "frontend" else (backend, frontend)
            ask(frontend, backend, GET_FEATURES, u64(0))
            bad.send_raw(data, fds)
            check(good.is_closed() and bad.is_closed())
            conn += 1
            closed = tracer.wait_object(event="closed", conn=conn)
            check("cannot be followed" in closed["reason"] and closed["by"] == side, closed)
            backend, frontend = place.accept(), place.connect()
    # fds in the middle of a message
    frontend.send_raw(struct.pack("<III", SET_OWNER, VERSION, 8))
    frontend.send_raw(u64(0), many[:1])
    check(backend.is_closed() and frontend.is_closed())


@test
def a_peer_that_does_not_read_holds_up_the_other_and_nothing_else():
    place, tracer, frontend, backend = joined(read=False)
    messages, sent = 200000, 0
    frontend.sock.setblocking(False)
    data = b"".join(struct.pack("<III", SET_OWNER, VERSION, 0) for _ in range(64))
    end = time.monotonic() + 0.7
    while time.monotonic() < end:
        try:
            sent += frontend.sock.send(data)
        except BlockingIOError:
            time.sleep(0.01)
    check(sent < messages * 12, "all was taken although nobody read")
    check(tracer.memory_kib() < 32 << 10, tracer.memory_kib())
    # it idles meanwhile, and one more frontend still gets its answer
    with open("/proc/%d/stat" % tracer.process.pid) as stat:
        before = sum(map(int, stat.read().split()[13:15]))
    check(place.connect().is_closed())
    time.sleep(0.5)
    with open("/proc/%d/stat" % tracer.process.pid) as stat:
        check(sum(map(int, stat.read().split()[13:15])) - before < 10, "it spins")
    got = 0
    frontend.sock.shutdown(socket.SHUT_WR)
    while True:
        data = backend.sock.recv(65536)
        if not data:
            break
        got += len(data)
    check(got == sent - sent % 12, got, sent)


@test
def a_reader_that_does_not_read_loses_lines_and_no_message():
    _, tracer, frontend, backend = joined("--json", read=False)
    fcntl.fcntl(tracer.process.stdout, fcntl.F_SETPIPE_SZ, 4096)
    for i in range(20000):
        frontend.send(SET_VRING_NUM, state(0, i))
        check(backend.receive()[2] == state(0, i))
    check(tracer.memory_kib() < 32 << 10, tracer.memory_kib())
    threading.Thread(target=tracer.read, daemon=True).start()
    wait_for("what had been kept", lambda: tracer.lines)
    time.sleep(0.3)
    ask(frontend, backend, GET_FEATURES, u64(0))
    note = wait_for("a word about the rest",
                    lambda: [o for o in tracer.objects() if "are not shown" in o.get("text", "")])
    lost = int(note[0]["text"].split()[0])
    kept = len([o for o in tracer.objects() if o.get("msg") == "SET_VRING_NUM"])
    check(kept + lost >= 20000 and kept > 1000, kept, lost)


@test
def a_reader_that_has_gone_ends_it():
    _, tracer, frontend, backend = joined(read=False)
    tracer.process.stdout.close()
    frontend.send(SET_OWNER)
    check(tracer.process.wait(10 * PATIENCE) == 0)


@test
def noise_never_brings_it_down():
    rnd = random.Random(7)
    place = Place()
    place.listen()
    tracer = Tracer(place.frontend_path, place.backend_path)
    for _ in range(60):
        backend, frontend = place.accept(), place.connect()
        ask(frontend, backend, GET_FEATURES, u64(0))
        for peer in rnd.sample((frontend, backend), 2):
            for _ in range(rnd.randrange(20)):
                fds = [rnd.choice((0, 1, 2))] * rnd.randrange(4)
                size = rnd.choice((0, 8, 8, 16, 40, 72, rnd.randrange(300)))
                try:
                    peer.send(rnd.randrange(50), rnd.randbytes(size), rnd.choice((0, 4, 8, 0x7fffffff)), fds)
                except OSError:
                    break
        frontend.close()
        backend.close()
    check(tracer.end() == 0, tracer.err)
    check(not tracer.err, tracer.err)


if __name__ == "__main__":
    sys.exit(main())
