#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""vhu trace between a frontend and a backend that are made here: what it passes on and what it shows. It knows
nothing of virtual machines."""
# tier: fast
# timeout: 120

import json
import os
import pty
import random
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

from tracing import (
    BACKEND_CONFIG_CHANGE, BACKEND_REQ, BACKEND_SHARED_OBJECT_LOOKUP, BASE, CONFIG, GET_FEATURES, NEED_REPLY,
    NO_FD, PATIENCE, REPLY, REPLY_ACK, SET_BACKEND_REQ_FD, SET_FEATURES, SET_MEM_TABLE, SET_OWNER,
    SET_STATUS, SET_VRING_CALL, SET_VRING_ENABLE, SET_VRING_KICK, SET_VRING_NUM, VERSION, VHU, Peer, Place,
    Tracer, ask, check, eventfd, handshake, joined, main, negotiate, pass_fd, state, test, u64, wait_for)

# --- the command line ---------------------------------------------------------------------------


@test
def a_wrong_command_line_is_told_and_ends_with_2():
    for words in ([], ["a"], ["a", "b", "c"], ["--frontend", "listen:a"], ["--frontend", "a", "--backend", "b"],
                  ["--frontend", "listen:", "--backend", "connect:b"], ["--no-such"], ["", "b"],
                  ["--frontend", "listen:a", "--backend", "connect:b", "c", "d"]):
        done = subprocess.run([VHU, "trace", *words], capture_output=True, text=True)
        check(done.returncode == 2, words, done.returncode)
        check(done.stderr.startswith("vhu trace: ") and not done.stdout, words, done.stderr)
    done = subprocess.run([VHU, "trace", "--help"], capture_output=True, text=True)
    check(done.returncode == 0 and "--frontend" in done.stdout)
    check(max(len(x) for x in done.stdout.splitlines()) <= 80)


@test
def a_live_socket_is_refused_and_a_stale_one_replaced():
    place = Place()
    place.listen()
    done = subprocess.run([VHU, "trace", place.backend_path, place.backend_path], capture_output=True, text=True)
    check(done.returncode == 1 and place.backend_path in done.stderr, done)
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(place.frontend_path)
    stale.listen(1)
    stale.close()
    Tracer(place.frontend_path, place.backend_path)
    place.accept()
    place.connect()


@test
def both_signals_end_it_cleanly_and_remove_its_socket():
    for number in (signal.SIGINT, signal.SIGTERM):
        place, tracer, frontend, backend = joined()
        negotiate(frontend, backend, 0)
        check(os.path.exists(place.frontend_path))
        check(tracer.end(number) == 0)
        check(not os.path.exists(place.frontend_path) and not tracer.err, tracer.err)
        check(frontend.is_closed() and backend.is_closed())
        tracer.reader.join(10)
        check("this program ends" in " ".join(tracer.lines[-2:]), tracer.lines[-2:])


# --- what passes --------------------------------------------------------------------------------


@test
def messages_pass_byte_for_byte_both_ways():
    rnd = random.Random(1)
    _, _, frontend, backend = joined()
    sizes = [0, 1, 7, 8, 12, 16, 40, 264, 4095, 4096]
    for request in list(range(0, 50)) + [99, 0xffffffff]:
        if request == SET_BACKEND_REQ_FD:
            continue
        for size in rnd.sample(sizes, 3):
            payload, flags = rnd.randbytes(size), rnd.choice([0, NEED_REPLY, 0xfff0])
            frontend.send(request, payload, flags)
            check(backend.receive() == (request, flags | VERSION, payload, []), request, size)
            backend.send(request, payload[::-1], flags | REPLY)
            check(frontend.receive() == (request, flags | VERSION | REPLY, payload[::-1], []), request, size)


@test
def a_burst_in_small_pieces_arrives_whole():
    _, _, frontend, backend = joined()
    data = b"".join(struct.pack("<III", SET_VRING_NUM, VERSION, 8) + state(i % 4, 256) for i in range(100))
    for i in range(0, len(data), 7):
        frontend.send_raw(data[i: i + 7])
    for i in range(100):
        check(backend.receive() == (SET_VRING_NUM, VERSION, state(i % 4, 256), []))


@test
def fds_arrive_as_the_same_files_and_none_is_kept():
    _, tracer, frontend, backend = joined()
    frontend.send(SET_OWNER)
    backend.receive()
    before = tracer.fds()
    for count in range(1, 9):
        files = [tempfile.TemporaryFile(dir=BASE) for _ in range(count)]
        frontend.send(SET_MEM_TABLE, b"\0" * (8 + 32 * count), fds=[f.fileno() for f in files])
        got = backend.receive()
        check([os.fstat(fd).st_ino for fd in got[3]] == [os.fstat(f.fileno()).st_ino for f in files])
        for fd in got[3]:
            os.close(fd)
    fd = eventfd()
    backend.send(31, b"\0" * 24, REPLY, [fd])  # GET_INFLIGHT_FD
    got = frontend.receive()
    check(len(got[3]) == 1 and os.fstat(got[3][0]).st_ino == os.fstat(fd).st_ino)
    wait_for("its fds to be as before", lambda: tracer.fds() <= before)


@test
def the_backends_channel_passes_both_ways_and_is_shown():
    _, tracer, frontend, backend = joined("--json")
    negotiate(frontend, backend, REPLY_ACK | BACKEND_REQ | CONFIG)
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    frontend.send(SET_BACKEND_REQ_FD, flags=NEED_REPLY, fds=[theirs.fileno()])
    theirs.close()
    got = backend.receive()
    check(got[0] == SET_BACKEND_REQ_FD and len(got[3]) == 1)
    backend.send(SET_BACKEND_REQ_FD, u64(0), REPLY)
    frontend.receive()
    channel_back, channel_front = Peer(socket.socket(fileno=got[3][0])), Peer(ours)
    channel_back.send(BACKEND_CONFIG_CHANGE, flags=NEED_REPLY)
    check(channel_front.receive() == (BACKEND_CONFIG_CHANGE, VERSION | NEED_REPLY, b"", []))
    channel_front.send(BACKEND_CONFIG_CHANGE, u64(0), REPLY)
    check(channel_back.receive() == (BACKEND_CONFIG_CHANGE, VERSION | REPLY, u64(0), []))
    channel_back.send(BACKEND_SHARED_OBJECT_LOOKUP, b"u" * 16)
    check(channel_front.receive()[2] == b"u" * 16)
    fd = eventfd()
    channel_front.send(BACKEND_SHARED_OBJECT_LOOKUP, u64(0), REPLY, [fd])
    check(len(channel_back.receive()[3]) == 1)
    seen = tracer.wait_object(channel="backend", kind="ack", msg="CONFIG_CHANGE")
    check(seen["dir"] == "frontend" and seen["us"] >= 0 and seen["fields"] == {"result": 0}, seen)
    seen = tracer.wait_object(channel="backend", kind="request", msg="SHARED_OBJECT_LOOKUP")
    check(seen["dir"] == "backend" and "SHARED_OBJECT was not agreed" in seen["violation"], seen)
    # its end is passed on as well, and is not the end of the connection
    channel_back.close()
    check(channel_front.is_closed())
    tracer.wait_object(event="note", text="the backend's channel is closed by the backend")
    ask(frontend, backend, GET_FEATURES, u64(0))


@test
def what_is_no_socket_goes_to_the_backend_as_it_is():
    _, _, frontend, backend = joined()
    pass_fd(frontend, backend, SET_BACKEND_REQ_FD, b"")
    datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    frontend.send(SET_BACKEND_REQ_FD, fds=[datagram.fileno()])
    got = backend.receive()
    check(os.fstat(got[3][0]).st_ino == os.fstat(datagram.fileno()).st_ino)
    frontend.send(SET_BACKEND_REQ_FD)
    check(backend.receive() == (SET_BACKEND_REQ_FD, VERSION, b"", []))


@test
def what_was_sent_before_the_end_still_arrives():
    _, _, frontend, backend = joined()
    for i in range(50):
        frontend.send(SET_VRING_NUM, state(0, i))
    frontend.close()
    for i in range(50):
        check(backend.receive()[2] == state(0, i))
    check(backend.is_closed())


# --- what is shown ------------------------------------------------------------------------------


@test
def the_handshake_is_told_in_json_with_all_five_steps():
    _, tracer, frontend, backend = joined("--json")
    handshake(frontend, backend)
    tracer.wait_object(event="ring_ready", ring=0)
    seen = tracer.objects()
    for o in seen:
        check(isinstance(o["t"], float) and isinstance(o["conn"], int) and "event" in o, o)
    times = [o["t"] for o in seen]
    check(times == sorted(times))
    steps = [(o["step"], o["inferred"]) for o in seen if o["event"] == "step"]
    check(steps == [(1, False), (2, True), (3, False), (5, False), (4, True)], steps)
    evidence = [o["evidence"] for o in seen if o.get("inferred")]
    check(evidence == ["reply to GET_FEATURES", "the rings are set up", "reply to SET_STATUS"], evidence)
    states = [o["state"] for o in seen if o["event"] == "ring_state"]
    check(states == ["started, disabled", "started, enabled"], states)
    ready = next(o for o in seen if o["event"] == "ring_ready")["steps"]
    check(sorted(ready) == ["1", "2", "3", "4", "5"] and ready["1"] <= ready["2"] <= ready["3"] <= ready["5"])
    table = next(o for o in seen if o.get("msg") == "SET_MEM_TABLE" and o["kind"] == "request")
    check(table["need_reply"] and table["fds"] == ["memfd:guest 2 MiB"] * 2, table)
    check(table["regions"][1] == {"gpa": "0x100000", "size": 1 << 20, "uva": "0x7f0000100000",
                                  "offset": "0x100000"}, table)
    ack = next(o for o in seen if o.get("msg") == "SET_MEM_TABLE" and o["kind"] == "ack")
    check(ack["dir"] == "backend" and ack["us"] > 0 and ack["id"] == SET_MEM_TABLE, ack)
    kick = next(o for o in seen if o.get("msg") == "SET_VRING_KICK")
    check(kick["ring"] == 0 and kick["fields"] == {"index": 0, "no_fd": False} and kick["dir"] == "frontend")
    features = next(o for o in seen if o.get("msg") == "SET_FEATURES")["fields"]["features"]
    check(features == {"hex": "0x140008000", "names": ["MRG_RXBUF", "PROTOCOL_FEATURES", "VERSION_1"]}, features)
    check(not [o for o in seen if "violation" in o])


@test
def the_handshake_is_told_in_text_of_80_columns():
    _, tracer, frontend, backend = joined()
    handshake(frontend, backend)
    tracer.wait_line(r"=== ring 0 is ready:  1 .*  2 .*  3 .*  4 .*  5 \d")
    for line in tracer.lines:
        check(len(line) <= 80, line)
        check("\033" not in line, line)
    text = "\n".join(tracer.lines)
    for pattern in (r"\d\.\d{6} --> GET_FEATURES\n",
                    r"\d\.\d{6} <-- GET_FEATURES +0x140008000 +\d+ [mu]s\n +MRG_RXBUF PROTOCOL_FEATURES VERSION_1\n",
                    r"\[1\] ring 0: first call fd given\n",
                    r"\(2\) ring 0: backend has the call fd +inferred: reply to GET_FEATURES\n",
                    r"of memfd:guest 2 MiB:\n +0x0 +640 KiB  0x7f0000000000  0x0\n +0x100000 +1 MiB ",
                    r"\(3\) driver has set DRIVER_OK +inferred: the rings are set up\n",
                    r"SET_VRING_KICK +ring 0, (eventfd \d+|pipe)\n +\[3\] ring 0: kick fd given\n",
                    r"~  ring 0: stopped, disabled -> started, disabled\n",
                    r"\[5\] ring 0: call fd of the guest's interrupt given\n",
                    r"\(4\) ring 0: backend has the kick fd"):
        check(re.search(pattern, text), pattern, "\n" + text)


@test
def steps_that_do_not_occur_are_said_to_be_absent():
    _, tracer, frontend, backend = joined("--json")
    pass_fd(frontend, backend, SET_VRING_CALL, u64(1))
    pass_fd(frontend, backend, SET_VRING_KICK, u64(1))
    frontend.send(SET_VRING_ENABLE, state(1, 1))
    backend.receive()
    absent = tracer.wait_object(event="step_absent", ring=1)
    check(absent["absent"] == 5, absent)
    # no reply ever came: that the messages were read is what can be known
    ready = tracer.wait_object(event="ring_ready", ring=1)
    check(sorted(ready["steps"]) == ["1", "2", "3", "4"], ready)
    check([o["evidence"] for o in tracer.objects() if o.get("step") in (2, 4)] == ["message read"] * 2)


@test
def a_backend_that_has_not_read_has_not_stored():
    _, tracer, frontend, backend = joined("--json")
    frontend.send(SET_VRING_CALL, u64(0), fds=[eventfd()])
    tracer.wait_object(event="step", step=1)
    time.sleep(0.3)
    check(not [o for o in tracer.objects() if o.get("step") == 2])
    backend.receive()
    tracer.wait_object(event="step", step=2)


@test
def polled_rings_are_told_as_such():
    _, tracer, frontend, backend = joined("--json")
    frontend.send(SET_VRING_CALL, u64(NO_FD))
    frontend.send(SET_VRING_KICK, u64(NO_FD))
    backend.receive()
    seen = tracer.wait_object(event="step", step=3)
    check("poll" in seen["note"], seen)
    check(not [o for o in tracer.objects() if "violation" in o])


@test
def unknown_requests_are_shown_by_their_number():
    _, tracer, frontend, backend = joined("--json")
    frontend.send(99, b"abc")
    seen = tracer.wait_object(msg="unknown", id=99)
    check(seen["size"] == 3 and seen["kind"] == "request", seen)
    _, tracer, frontend, backend = joined()
    frontend.send(99, b"abc")
    tracer.wait_line(r"--> request 99 +3 bytes: 61 62 63$")


@test
def violations_are_named_and_passed_on():
    _, tracer, frontend, backend = joined("--json")
    fd = eventfd()
    cases = (
        ((SET_VRING_NUM, b"\0" * 4), "SET_VRING_NUM: size 4"),
        ((SET_VRING_NUM, state(256, 1)), "ring index 256"),
        ((SET_FEATURES, u64(0), 0, (fd,)), "SET_FEATURES: 1 fds came, must be 0"),
        ((SET_VRING_KICK, u64(0)), "SET_VRING_KICK: 0 fds came, must be 1"),
        ((SET_VRING_CALL, u64(NO_FD), 0, (fd,)), "no-fd bit"),
        ((SET_MEM_TABLE, struct.pack("<IIQQQQ", 1, 0, 0, 4096, 0, 0)), "memory is not shared"),
        ((SET_STATUS, u64(15)), "STATUS was not agreed"),
        ((GET_FEATURES, b"", REPLY), "the reply bit is set in a request"),
        ((GET_FEATURES, b"", 0, (), 0, 2), "version 2"),
    )
    for words, want in cases:
        frontend.send(*words)
        backend.receive()
        wait_for(want, lambda want=want: [o for o in tracer.objects() if want in o.get("violation", "")])
    backend.send(SET_OWNER, u64(0), REPLY)
    check(frontend.receive()[2] == u64(0))
    wait_for("a reply unasked for", lambda: [o for o in tracer.objects() if "nobody waits" in o.get("violation", "")])
    backend.send(SET_OWNER, u64(0))
    check(frontend.receive()[2] == u64(0))
    wait_for("no reply bit", lambda: [o for o in tracer.objects() if "missing in a reply" in o.get("violation", "")])


@test
def the_table_that_comes_back_in_postcopy_may_be_acknowledged():
    _, tracer, frontend, backend = joined("--json")
    fd = eventfd()
    table = struct.pack("<IIQQQQ", 1, 0, 0, 4096, 0, 0)
    negotiate(frontend, backend, REPLY_ACK)
    frontend.send(SET_MEM_TABLE, table, NEED_REPLY, [fd])
    backend.receive()
    backend.send(SET_MEM_TABLE, table, REPLY)
    frontend.receive()
    frontend.send(SET_MEM_TABLE, u64(0))
    backend.receive()
    wait_for("all three", lambda: len([o for o in tracer.objects() if o.get("msg") == "SET_MEM_TABLE"]) == 3)
    check(not [o for o in tracer.objects() if "violation" in o])
    frontend.send(SET_MEM_TABLE, u64(0))
    wait_for("a fourth that is wrong", lambda: [o for o in tracer.objects() if "violation" in o])


@test
def names_that_peers_choose_are_harmless():
    name = 'm\033[31m"\\\n\x9b' + "\u00e9"
    for words in ([], ["--json"]):
        _, tracer, frontend, backend = joined(*words)
        fd = os.memfd_create(name)
        frontend.send(SET_VRING_KICK, u64(0), fds=[fd])
        backend.receive()
        tracer.wait_line("SET_VRING_KICK")
        for line in tracer.lines:
            check(not re.search("[\x00-\x1f\x7f-\x9f]", line), repr(line))
        if words:
            check(tracer.wait_object(msg="SET_VRING_KICK")["fds"])


@test
def what_is_waited_for_long_is_said():
    _, tracer, frontend, backend = joined()
    frontend.send(GET_FEATURES)
    backend.receive()
    frontend.send_raw(b"\1\0\0\0")
    tracer.wait_line(r"GET_FEATURES has not been replied to for 1 s")
    tracer.wait_line(r"the frontend has begun a message and not ended it for 1 s")
    frontend.close()
    tracer.wait_line(r"\*\*\* the frontend cannot be followed any more: the peer closed after 4")


@test
def output_goes_to_a_file_if_wanted():
    place = Place()
    place.listen()
    path = os.path.join(place.path, "log")
    tracer = Tracer("-o", path, "--json", place.frontend_path, place.backend_path)
    backend, frontend = place.accept(), place.connect()
    negotiate(frontend, backend, 0)
    check(tracer.end() == 0)
    with open(path) as log:
        seen = [json.loads(line) for line in log]
    check(seen[-1]["event"] == "closed" and not tracer.lines, seen[-1])


@test
def a_terminal_gets_colour_unless_it_is_unwanted():
    for more, want in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        place = Place()
        place.listen()
        master, slave = pty.openpty()
        environment = dict(os.environ, TERM="xterm")
        environment.pop("NO_COLOR", None)
        environment.update(more)
        process = subprocess.Popen([VHU, "trace", place.frontend_path, place.backend_path], env=environment,
                                   stdin=subprocess.DEVNULL, stdout=slave, stderr=subprocess.DEVNULL)
        os.close(slave)
        backend, frontend = place.accept(), place.connect()
        negotiate(frontend, backend, 0)
        seen = b""
        while b"SET_PROTOCOL_FEATURES" not in seen:
            check(select.select([master], [], [], 10 * PATIENCE)[0], seen)
            seen += os.read(master, 65536)
        process.terminate()
        check(process.wait(10 * PATIENCE) == 0)
        os.close(master)
        check((b"\033[" in seen) == want, more, seen)


if __name__ == "__main__":
    sys.exit(main())
