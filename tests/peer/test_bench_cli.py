#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""vhu bench as its users meet it: command line, result, and both of its parts against each other in all modes. In the tier
check the counts are those that a measurement has."""
# tier: fast check
# timeout: 300

import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

from cases import BASE, PATIENCE, VHU, check, main, running, test, wait_for

LONG = os.environ.get("VHU_TIER", "fast") != "fast"


class Bench:
    """A running vhu bench, in words of which "@" is its folder."""

    def __init__(self, folder, words, json_result=True):
        self.words = [w.replace("@", folder) for w in words.split()] + (["--json"] if json_result else [])
        self.out, self.err = (tempfile.TemporaryFile("w+", dir=BASE) for _ in range(2))
        self.process = subprocess.Popen([VHU, "bench", *self.words], stdin=subprocess.DEVNULL, stdout=self.out,
                                        stderr=self.err, cwd=folder)
        running.append(self.process)

    def said(self):
        self.err.seek(0)
        return self.err.read()

    def text(self):
        self.out.seek(0)
        return self.out.read()

    def wait(self, seconds=60):
        try:
            return self.process.wait(seconds * PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError("it does not end: %s\n%s" % (self.words, self.said()))

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.wait()

    def result(self, status=0):
        """Its end, and what it says of it."""
        got = self.wait()
        check(got == status, self.words, "exited with", got, self.said(), self.text())
        return json.loads(self.text())


def folder():
    return tempfile.mkdtemp(dir=BASE)


def listens(path):
    """Whether somebody is behind the socket; asks without connecting."""
    with open("/proc/net/unix") as table:
        return any(line.rstrip().endswith(" " + path) for line in table)


def start(place, words, **more):
    """A program that is met by others: with its socket when this returns."""
    bench = Bench(place, words, **more)
    paths = re.findall(r"--frontend (\S+)", words)
    for path in paths:
        path = path.replace("@", place)
        wait_for("socket of " + words, lambda: bench.process.poll() is not None or listens(path))
    check(bench.process.poll() is None, "it ended:", bench.said())
    return bench


def refused(words, *parts):
    """A wrong command line: exit 2, nothing on standard output, one line that names what is wrong."""
    done = subprocess.run([VHU, "bench", *words.split()], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=20 * PATIENCE)
    check(done.returncode == 2, words, "exited with", done.returncode, done.stderr)
    check(done.stdout == "", words, "wrote to standard output:", done.stdout)
    first = done.stderr.splitlines()[0]
    for part in parts:
        check(part in first, words, "does not say", repr(part), "but", first)


def check_whole(result, frames=None, duplicates=0):
    """All that was sent came back as it was."""
    seen = result["verify"]
    check(result["ok"] is True and not result["reasons"], result)
    check(seen["lost"] == 0 and seen["corrupt"] == 0, seen)
    # what forwards between two connections may not have the second one yet when the first frame comes
    check(seen["lost_before_open"] <= 10 * (len(result["sides"]) - 1), seen)
    check(seen["duplicates"] <= duplicates and seen["foreign"] == 0, seen)
    check(all(side["chains_lost"] == 0 for side in result["sides"]), result["sides"])
    if frames:
        check(seen["unique"] + seen["lost_before_open"] == frames, "not", frames, "but", seen)


# --- command lines -------------------------------------------------------------------------------


@test
def help_goes_to_standard_output_and_names_all_modes():
    for words in (["bench", "--help"], ["help", "bench"], ["bench", "-h"]):
        done = subprocess.run([VHU, *words], capture_output=True, text=True, timeout=20)
        check(done.returncode == 0 and done.stderr == "", words, done)
        check(max(map(len, done.stdout.splitlines())) <= 80, words, "is wider than 80 columns")
        for mode in ("source", "sink", "echo", "forward", "loop", "latency"):
            check(re.search(r"^  %s +\w" % mode, done.stdout, re.M), "no word of", mode)


@test
def a_wrong_command_line_is_refused_in_one_line_that_names_what_is_wrong():
    refused("", "mode")
    refused("drain --backend s", "drain")
    refused("source sink --backend s", "sink")
    refused("source", "--backend", "--frontend")
    refused("forward --backend s", "two connections")
    refused("sink --backend a --frontend b", "one connection")
    refused("loop --backend a --backend a", "one socket")
    refused("loop --backend a --backend b --backend c", "--backend", "2")
    refused("source --backend", "--backend", "missing")
    for size in ("63", "65536", "x", "-64", "64k"):
        refused("source --backend s --size " + size, "--size", size)
    refused("sink --backend s --size imix", "imix")
    refused("source --backend s --tso --no-offloads", "--tso")
    refused("source --backend s --tso --size imix", "--tso")
    refused("source --backend s --tso --size 100", "--size", "100")
    refused("source --backend s --rate 5", "--rate", "5")
    refused("sink --backend s --rate 5kpps", "--rate", "sink")
    refused("sink --backend s --window 5", "--window", "sink")
    refused("source --backend s --swap", "--swap", "source")
    refused("loop --backend s --one-way", "--one-way")
    refused("loop --backend s --window 0", "--window", "0")
    refused("loop --backend s --ring round", "--ring", "round")
    refused("loop --backend s --ring-size 100", "--ring-size", "100")
    refused("loop --backend s --ring packed --ring-size 32769", "--ring-size", "32769")
    refused("loop --frontend s --ring-size 256", "--ring-size")
    refused("loop --frontend s --huge", "--huge")
    refused("loop --backend s --ring-size 4 --pieces 5", "--pieces", "5")
    refused("loop --backend s --queues 129", "--queues", "129")
    refused("latency --backend s --queues 2", "--queues")
    refused("source --backend s --src 03:00:00:00:00:01", "--src")
    refused("source --backend s --dst 02:00:00:00:00", "--dst")
    refused("source --backend s --vlan 4095", "--vlan", "4095")
    refused("source --backend s --seconds 0", "--seconds")
    refused("source --backend s --seconds 1e3", "--seconds", "1e3")
    refused("source --backend s --frames 0", "--frames")
    refused("source --backend s --fast", "--fast")


@test
def what_cannot_be_done_is_said_in_one_line():
    place = folder()
    open(place + "/file", "w").close()
    live = start(place, "sink --frontend @/live")
    for words, part in (("sink --frontend @/file", "no socket"), ("sink --frontend @/no/s", "No such file"),
                        ("sink --frontend @/live", "live program"), ("source --backend @/none --wait 0.2", "0.2")):
        bench = Bench(place, words)
        check(bench.wait() == 1, words, bench.said())
        lines = [line for line in bench.said().splitlines() if "connecting" not in line]
        check(len(lines) == 1 and part in lines[0] and lines[0].startswith("vhu bench: "), words, bench.said())
    live.end()
    check(not os.path.exists(place + "/live"), "the socket is left")


@test
def a_peer_that_lacks_what_was_asked_for_is_refused_by_name():
    for other, words, part in (("echo --frontend @/s --ring split", "loop --backend @/s --ring packed", "PACKED"),
                               ("echo --frontend @/s", "loop --backend @/s --in-order", "IN_ORDER"),
                               ("echo --frontend @/s", "loop --backend @/s --tso", "TSO4"),
                               ("echo --frontend @/s", "loop --backend @/s --queues 2", "--queues 2"),
                               ("echo --frontend @/s --queues 2", "loop --backend @/s --queues 3", "--queues 3"),
                               ("loop --frontend @/s --ring packed", "echo --backend @/s", None),
                               ("loop --frontend @/s --in-order", "echo --backend @/s", None),
                               ("loop --frontend @/s --tso", "echo --backend @/s", None)):
        place = folder()
        first = start(place, other)
        second = Bench(place, words + " --wait 20")
        if part:
            check(second.wait() == 1, words, second.said())
            check(part in second.said(), words, "does not say", part, "but", second.said())
            first.end()
        else:
            check(first.wait() == 1, other, first.said())
            check(re.search(r"--(ring|in-order|tso)", first.said()), first.said())
            second.end()


@test
def a_peer_that_talks_nonsense_costs_one_line_and_no_crash():
    place = folder()
    backend = start(place, "sink --frontend @/s")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(place + "/s")
        sock.sendall(struct.pack("=III", 77777, 1, 4000) + b"x" * 100)
        check(sock.recv(100) == b"", "it answers nonsense")
    wait_for("a word of it", lambda: "disconnected" in backend.said())
    check(backend.end() == 0, backend.said())
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(place + "/t")
        sock.listen()
        frontend = Bench(place, "source --backend @/t")
        peer = sock.accept()[0]
        check(len(peer.recv(12)) == 12, "no greeting")
        peer.sendall(struct.pack("=IIIQ", 1, 5, 4, 1))
        check(frontend.wait() == 1, frontend.said())
        check(len([line for line in frontend.said().splitlines() if "GET_FEATURES" in line]) == 1, frontend.said())
        peer.close()


# --- results -------------------------------------------------------------------------------------


@test
def the_table_fits_a_terminal_and_says_what_was_asked():
    place = folder()
    echo = start(place, "echo --frontend @/s", json_result=False)
    bench = Bench(place, "loop --backend @/s --verify --frames 20000", json_result=False)
    check(bench.wait() == 0, bench.said())
    latency = Bench(place, "latency --backend @/s --frames 500", json_result=False)
    check(latency.wait() == 0, latency.said())
    check(echo.end(signal.SIGINT) == 0, echo.said())
    for program, parts in ((bench, ("loop:", "Mpps", "Gbit/s", "20000", "kicks", "lost 0", "split rings of 256")),
                           (latency, ("round trip, 500 frames", "99.9%", "max")), (echo, ("echo:", "20500"))):
        text = program.text()
        check(max(map(len, text.splitlines())) <= 80, "wider than 80 columns:", text)
        for part in parts:
            check(part in text, "does not say", part, ":", text)


@test
def the_result_for_programs_has_all_fields():
    place = folder()
    echo = start(place, "echo --frontend @/s")
    bench = Bench(place, "latency --backend @/s --frames 200 --verify").result()
    echo.end()
    numbers = {"seconds", "stopped_seconds", "cpu_seconds", "size"}
    check(set(bench) == numbers | {"mode", "ok", "poll", "sides", "verify", "latency_us", "reasons"}, bench)
    check(all(isinstance(bench[n], (int, float)) for n in numbers), bench)
    side = bench["sides"][0]
    check(set(side) == {"peer", "path", "ring", "features", "queues", "ring_size", "sent", "received", "kicks", "kicks_exact",
                        "kicks_per_frame", "calls", "calls_exact", "calls_per_frame", "dropped", "refused", "chains_lost",
                        "connections", "recoveries", "outage_ms", "recovery_ms"}, side)
    check(side["peer"] == "backend" and side["path"] == place + "/s" and side["ring"] == "split", side)
    check(set(side["sent"]) == {"frames", "bytes", "seconds", "mpps", "gbit_per_s"}, side)
    check(side["sent"]["frames"] == side["received"]["frames"] == 200, side)
    check(side["sent"]["bytes"] == 200 * 64 and side["connections"] == 1, side)
    check(side["kicks"] >= 2 and side["kicks_exact"] is True, side)
    check(set(bench["verify"]) == {"bytes", "unit", "unique", "lost", "lost_at_death", "lost_before_open", "duplicates",
                                   "reordered", "corrupt", "foreign", "without_pattern"}, bench)
    percentiles = [bench["latency_us"][name] for name in ("min", "p50", "p90", "p99", "p999", "max")]
    check(percentiles == sorted(percentiles) and percentiles[0] > 0, percentiles)
    check(bench["latency_us"]["count"] == 200, bench["latency_us"])
    device = json.loads(echo.text())["sides"][0]
    check(device["peer"] == "frontend" and device["received"]["frames"] == 200 and "ring_size" not in device, device)


# --- both parts against each other ---------------------------------------------------------------


FEATURES = ("", "--poll", "--no-mrg", "--no-indirect --pieces 3", "--pieces 4", "--no-event-idx", "--in-order", "--size imix",
            "--size 65535", "--size 9000 --no-mrg", "--tso", "--tso --no-mrg", "--queues 4", "--in-flight", "--no-offloads",
            "--vlan 7 --size 1518", "--ring-size 16", "--window 1")


def meet(ring, words, we_are_driver, frames):
    """A loop through an echo; words are for both as far as they mean something to both."""
    place = folder()
    to_echo = re.sub(r"--(vlan|window) \d+|--size imix", "", words)
    if we_are_driver:
        to_echo = re.sub(r"--(pieces|ring-size) \d+", "", to_echo)
        mine, echo_side = "--backend @/s " + words, "--frontend @/s " + to_echo
    else:
        mine, echo_side = "--frontend @/s " + re.sub(r"--(pieces|ring-size) \d+", "", words), "--backend @/s " + to_echo
    ring = " --ring %s " % ring
    programs = ["echo " + echo_side + ring, "loop " + mine + ring + "--verify --frames %d" % frames]
    if we_are_driver:
        echo = start(place, programs[0])
        result = Bench(place, programs[1]).result()
    else:
        loop = start(place, programs[1])
        echo = Bench(place, programs[0])
        result = loop.result()
    check(echo.end() == 0, echo.said())
    check(result["sides"][0]["ring"] == ring.split()[1], result["sides"][0])
    return result


def matrix(ring, we_are_driver):
    for words in FEATURES:
        frames = 3000 if "--poll" not in words else 300
        if "--tso" in words or "65535" in words:
            frames = 500
        if LONG:
            frames *= 20
        result = meet(ring, words, we_are_driver, frames)
        try:
            check_whole(result)
            check(result["sides"][0]["received"]["frames"] == frames, result["sides"][0])
            check(result["verify"]["unique"] == frames * (46 if "--tso" in words else 1), result["verify"])
        except AssertionError as error:
            raise AssertionError("%s %s: %s" % (ring, words, error)) from error


@test
def split_rings_carry_all_as_driver_with_every_feature():
    matrix("split", True)


@test
def split_rings_carry_all_as_device_with_every_feature():
    matrix("split", False)


@test
def packed_rings_carry_all_as_driver_with_every_feature():
    matrix("packed", True)


@test
def packed_rings_carry_all_as_device_with_every_feature():
    matrix("packed", False)


@test
def a_million_frames_each_way_over_two_connections():
    """Through a forwarder that is device on one side and driver on the other, whoever listens."""
    frames = 1000000 if LONG else 30000
    for forward, loop in (("--frontend @/a --frontend @/b", "--backend @/a --backend @/b"),
                          ("--frontend @/a --frontend @/b --ring packed", "--backend @/a --backend @/b --ring packed"),
                          ("--frontend @/a --backend @/b --server", "--backend @/a --frontend @/b --client")):
        place = folder()
        through = start(place, "forward " + forward)
        if "--server" in forward:
            wait_for("the second socket", lambda: listens(place + "/b"))
        result = Bench(place, "loop %s --verify --frames %d" % (loop, frames)).result()
        check_whole(result, 2 * frames)
        for side in result["sides"]:
            check(side["sent"]["frames"] == frames >= side["received"]["frames"] >= frames - 10, side)
        one_way = Bench(place, "loop %s --verify --one-way --size imix --frames 5000" % loop).result()
        check_whole(one_way, 5000)
        check(one_way["sides"][1]["received"]["frames"] >= 4990 and one_way["sides"][1]["sent"]["frames"] == 0, one_way)
        across = Bench(place, "latency %s --frames 200" % loop).result()
        check(across["latency_us"]["count"] >= 190, across)
        check(through.end() == 0, through.said())


@test
def frames_that_wait_for_room_are_kept_when_control_messages_come():
    # whether one comes while the ring is full is chance: 1 in 10 of these
    for _ in range(60 if LONG else 20):
        place = folder()
        loop = start(place, "loop --frontend @/s --no-indirect --verify --frames 1000")
        echo = Bench(place, "echo --backend @/s --no-indirect --ring-size 64 --pieces 3")
        check_whole(loop.result(), 1000)
        check(echo.end() == 0, echo.said())
        check(json.loads(echo.text())["sides"][0]["dropped"] == 0, echo.text())


@test
def frames_for_a_switch_find_their_way():
    place = folder()
    switch = subprocess.Popen([VHU, "switch", "-q", "--ctl", "none", "--port", "a=vhost-user:a", "--port", "b=vhost-user:b"],
                              cwd=place, stdin=subprocess.DEVNULL)
    running.append(switch)
    wait_for("the switch", lambda: os.path.exists(place + "/b"))
    check_whole(Bench(place, "loop --backend @/a --backend @/b --verify --frames 20000").result(), 40000)
    # frames of 64 KiB: no more on their way than the receive rings have buffers for
    long = Bench(place, "loop --backend @/a --backend @/b --tso --frames 2000").result()
    check(long["verify"]["lost"] == 0 and long["sides"][0]["received"]["frames"] == 2000, long)
    echo = Bench(place, "echo --backend @/b --swap")
    result = Bench(place, "loop --backend @/a --verify --frames 20000").result()
    check(result["verify"]["lost"] == 0 and result["verify"]["unique"] >= 20000 - 100, result)
    check(echo.end() == 0, echo.said())
    switch.terminate()
    check(switch.wait(20 * PATIENCE) == 0, "the switch")


@test
def source_and_sink_agree_on_what_was_sent():
    for sink_words, source_words in (("--frontend @/s", "--backend @/s"), ("--frontend @/s", "--backend @/s --size imix"),
                                     ("--frontend @/s --tso", "--backend @/s --tso")):
        place = folder()
        sink = start(place, "sink --verify " + sink_words)
        sent = Bench(place, "source --verify --frames 5000 " + source_words).result()["sides"][0]["sent"]
        wait_for("the source's end", lambda: "has gone" in sink.said())
        check(sink.end() == 0, sink.said())
        result = json.loads(sink.text())
        received = result["sides"][0]["received"]
        check((sent["frames"], sent["bytes"]) == (received["frames"], received["bytes"]), sent, received)
        check(sent["frames"] == 5000 and result["verify"]["lost"] == 0 and result["verify"]["corrupt"] == 0, result)
    place = folder()
    source = start(place, "source --frontend @/s --frames 5000 --size 300")
    sink = Bench(place, "sink --backend @/s --verify --frames 5000").result()
    check(source.result()["sides"][0]["sent"]["frames"] == 5000, source.said())
    check(sink["sides"][0]["received"]["frames"] == 5000, sink)
    check(sink["verify"]["without_pattern"] == sink["verify"]["unique"] == 5000, sink)


@test
def a_loop_that_never_closes_or_changes_frames_fails():
    place = folder()
    sink = start(place, "sink --frontend @/s")
    result = Bench(place, "loop --backend @/s --seconds 9 --wait 1").result(1)
    check(result["ok"] is False and result["verify"]["unique"] == 0 and result["verify"]["lost"] and result["reasons"], result)
    sink.end()
    # as many as fit into the ring come back, one side sends more than the other takes
    place = folder()
    echo = start(place, "echo --frontend @/s --drop --size 1518 --no-mrg")
    result = Bench(place, "loop --backend @/s --ring-size 4 --window 64 --frames 2000 --no-mrg --poll")
    status = result.wait()
    lost = json.loads(result.text())["verify"]["lost"]
    check(status == (1 if lost else 0), status, lost)
    echo.end()
    dropped = json.loads(echo.text())["sides"][0]["dropped"]
    check(dropped == lost, "dropped", dropped, "and missed", lost)


@test
def a_rate_is_not_exceeded():
    place = folder()
    sink = start(place, "sink --frontend @/s")
    for rate, most in (("200pps", 200), ("1mbit", 125)):
        for poll in ("", " --poll"):
            sent = Bench(place, "source --backend @/s --size 1000 --seconds 0.5 --rate " + rate + poll).result()["sides"][0]
            # a millisecond here or there, and the first
            check(sent["sent"]["frames"] <= 0.5 * most * 1.3 + 5, rate, poll, sent["sent"])
            check(sent["sent"]["frames"] >= 2, rate, poll, sent["sent"])
    sink.end()


# --- what happens in between ---------------------------------------------------------------------


@test
def a_stopped_process_goes_on_and_its_time_stood_still():
    for poll in ("", " --poll"):
        place = folder()
        echo = start(place, "echo --frontend @/s" + poll)
        bench = Bench(place, "loop --backend @/s --verify --seconds 1" + poll)
        wait_for("the echo to run", lambda: "connected" in echo.said())
        time.sleep(0.3)
        bench.process.send_signal(signal.SIGSTOP)
        time.sleep(1)
        bench.process.send_signal(signal.SIGCONT)
        result = bench.result()
        check_whole(result)
        check(result["stopped_seconds"] >= 0.9, result["stopped_seconds"])
        echo.end()


@test
def the_other_side_may_die_and_nothing_gets_lost_for_good():
    deaths = 20 if LONG else 3
    for ring in ("split", "packed"):
        for more in ("", " --in-flight"):
            place = folder()
            words = "echo --frontend @/s --ring " + ring + more
            echo = start(place, words)
            bench = Bench(place, "loop --backend @/s --verify --ring " + ring + more)
            for death in range(deaths):
                wait_for("traffic", lambda: "has connected" in echo.said())
                time.sleep(0.1 + 0.013 * (death % 5))
                echo.process.kill()
                echo.process.wait()
                echo = start(place, words)
            wait_for("traffic", lambda: "has connected" in echo.said())
            time.sleep(0.3)
            check(bench.end() == 0, bench.said(), bench.text())
            result = json.loads(bench.text())
            # a burst each time, at the most
            check_whole(result, duplicates=32 * deaths)
            side = result["sides"][0]
            check(1 <= side["recoveries"] <= deaths and side["connections"] <= deaths + 1, side)
            check(side["recovery_ms"]["count"] == side["recoveries"] and
                  0 < side["recovery_ms"]["p50"] <= side["recovery_ms"]["p99"] <= side["outage_ms"]["max"], side)
            echo.end()
            print("# %s%s: %d deaths, %d duplicates, %d lost in the other side, recovery median %.1f ms, 99 %% %.1f ms" %
                  (ring, more, side["recoveries"], result["verify"]["duplicates"], result["verify"]["lost_at_death"],
                   side["recovery_ms"]["p50"], side["recovery_ms"]["p99"]))


@test
def a_frontend_may_die_too_and_the_next_is_served():
    place = folder()
    loop = start(place, "loop --frontend @/s --verify")
    for _ in range(3):
        echo = Bench(place, "echo --backend @/s")
        before = loop.said().count("has connected")
        wait_for("the echo", lambda: loop.said().count("has connected") > before or before)
        time.sleep(0.15)
        echo.process.kill()
        echo.process.wait()
        wait_for("its end to be seen", lambda: "has gone" in loop.said() or "disconnected" in loop.said())
    echo = Bench(place, "echo --backend @/s")
    time.sleep(0.3)
    check(loop.end() == 0, loop.said(), loop.text())
    result = json.loads(loop.text())
    check(result["verify"]["lost"] == 0 and result["verify"]["corrupt"] == 0, result)
    check(result["sides"][0]["connections"] == 4, result["sides"][0])
    echo.end()


@test
def it_ends_by_signal_with_a_result():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        place = folder()
        sink = start(place, "sink --frontend @/s")
        source = Bench(place, "source --backend @/s")
        wait_for("them to meet", lambda: "has connected" in sink.said())
        time.sleep(0.1)
        check(source.end(number) == 0 and sink.end(number) == 0, source.said(), sink.said())
        check(json.loads(source.text())["sides"][0]["sent"]["frames"] > 0, source.text())
        check(json.loads(sink.text())["sides"][0]["received"]["frames"] > 0, sink.text())
        check(not os.path.exists(place + "/s"), "the socket is left")


@test
def it_gives_up_privileges_before_it_listens_to_a_peer():
    place = folder()
    for words in ("sink --frontend @/s", "source --backend @/t"):
        bench = Bench(place, words)
        wait_for("its start", lambda: "listening" in bench.said() or "connecting" in bench.said())

        def status():
            with open("/proc/%d/status" % bench.process.pid) as text:
                return dict(line.rstrip("\n").split(":\t", 1) for line in text if ":\t" in line)

        wait_for("no privileges", lambda: int(status()["CapEff"], 16) == 0 and status()["NoNewPrivs"] == "1")
        bench.end()


@test
def notified_sides_sleep_while_nothing_comes():
    place = folder()
    sink = start(place, "sink --frontend @/s")
    source = Bench(place, "source --backend @/s --rate 5pps --seconds 1")
    source.result()
    sink.end()
    used = json.loads(sink.text())["cpu_seconds"]
    check(used < 0.3, "it used", used, "seconds of processor time")


if __name__ == "__main__":
    sys.exit(main())
