#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# tier: check
# timeout: 180
"""A disk of qemu-storage-daemon, read and written through libvhu's frontend by a small client that
is nobody's network device; the image file tells whether it was. It must not know how the frontend
does it."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from backends import StorageDaemon
from harness import PATIENCE, Failure, Process, Skip, main, path_of, wait_for

BUILD = os.environ.get("VHU_BUILD") or os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                                    "..", "..", "build")
CLIENT = os.path.join(BUILD, "tests", "blk_client")
MIB = 1 << 20
IMAGE_BYTES = 16 * MIB + 3 * 512  # no round number of anything but sectors
QUEUES = 2
WAYS = {"plain": [], "indirect": ["--indirect"], "two_queues": ["--queues", "2"],
        "deep": ["--indirect", "--depth", "100"], "one_at_a_time": ["--depth", "1"]}
PACKED = 1 << 34  # VIRTIO_F_RING_PACKED
KILLS = 5
KILLS_SOAK = 200


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def content(path):
    with open(path, "rb") as file:
        return file.read()


def fill(path, size=IMAGE_BYTES):
    """Random bytes into a file; returns them."""
    data = os.urandom(size)
    with open(path, "wb") as file:
        file.write(data)
    return data


class Disk:
    def __init__(self, **more):
        if not os.access(CLIENT, os.X_OK):
            raise Failure("%s is not built" % CLIENT)
        self.image = path_of("disk.img")
        self.before = fill(self.image)
        self.daemon = StorageDaemon(self.image, path_of("blk.sock"), QUEUES, **more)

    def argv(self, *words):
        command = list(words[-2:]) if words[-1] != "info" else ["info"]
        return [CLIENT, *words[:-len(command)], self.daemon.path, *command]

    def client(self, *words):
        done = subprocess.run(self.argv(*words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=60 * PATIENCE)
        if done.returncode == 77:
            raise Skip(done.stdout.strip())
        if done.returncode:
            raise Failure("%s: status %d: %s" % (" ".join(words), done.returncode, done.stderr))
        return json.loads(done.stdout)


def configuration(disk):
    info = disk.client("info")
    for name, want in (("capacity", IMAGE_BYTES // 512), ("num_queues", QUEUES), ("blk_size", 512),
                       ("queue_num", QUEUES)):
        if info[name] != want:
            raise Failure("%s is %s, not %d" % (name, info[name], want))
    return "offered %#x, protocol features agreed %#x" % (info["offered"], info["protocol"])


def whole(said):
    """No request may be missing, and none may have come twice."""
    if said["added"] != said["taken"] or said["requests"] != said["taken"]:
        raise Failure("%s" % said)


def read(disk, *words):
    got = path_of("got")
    said = disk.client(*words, "read", got)
    whole(said)
    data, want = content(got), content(disk.image)
    if data != want:
        raise Failure("read sha256 %s, the image's is %s" % (sha256(data), sha256(want)))
    return "%d requests, at most %d at once, %d kicks, sha256 %s..." % (
        said["requests"], said["most_out"], said["kicks"], sha256(data)[:12])


def turned(data, rounds):
    """What the client makes of the file: another content in each round."""
    return data.translate(bytes(value ^ rounds & 0xff for value in range(256)))


def written(disk, said, data):
    want, got = turned(data, said["rounds"]), content(disk.image)
    if got != want:
        raise Failure("the image's sha256 is %s, written was %s" % (sha256(got), sha256(want)))
    return "sha256 %s..." % sha256(got)[:12]


def write(disk, *words):
    source = path_of("source")
    data = fill(source)
    said = disk.client(*words, "write", source)
    whole(said)
    return "%d requests, at most %d at once, %s" % (said["requests"], said["most_out"],
                                                    written(disk, said, data))


def stands_still(process):
    """True if the process did nothing since the last look."""
    with open("/proc/%d/status" % process.pid) as status:
        text = status.read()
    switches = tuple(re.findall(r"ctxt_switches:\s*(\d+)", text))
    state = re.search(r"State:\s*(\w)", text).group(1)
    before, process.last_switches = getattr(process, "last_switches", None), switches
    return state == "S" and before == switches


def kills(disk, count, *words):
    """The daemon stops in the midst of requests, is killed, and another takes its place."""
    source = path_of("source")
    data = fill(source)
    client = Process("client", disk.argv(*words, "--until-term", "write", source),
                     stdout=subprocess.PIPE).watch()

    def seen(word):
        return client.log_text()[client.log_start:].count("\n" + word)
    try:
        wait_for("the client's start", lambda: seen("started"))
        for kill in range(count):
            disk.daemon.process.signal(signal.SIGSTOP)
            wait_for("the client's waiting", lambda: stands_still(client), every=0.05)
            disk.daemon.kill9()
            disk.daemon.start()
            wait_for("the daemon to be met again", lambda: seen("back") > kill)
            before = client.cpu_seconds()
            wait_for("requests to be served again", lambda: client.cpu_seconds() > before)
        client.signal(signal.SIGTERM)
        text, _ = client.popen.communicate(timeout=60 * PATIENCE)
    finally:
        status = client.stop()
    if status:
        raise Failure("status %d: %s" % (status, client.log_tail()))
    said = json.loads(text)
    whole(said)
    if (said["gone"], said["back"]) != (count, count) or not said["most_out_gone"]:
        raise Failure("%s" % said)
    return "%d requests in %d rounds, %d submitted again, %s" % (
        said["requests"], said["rounds"], said["resubmitted"], written(disk, said, data))


def refused_when_read_only():
    disk = Disk(writable=False)
    source = path_of("source")
    fill(source)
    try:
        disk.client("write", source)
    except Failure as failure:
        if "status 1" not in str(failure):
            raise
    else:
        raise Failure("a disk that cannot be written to was written to")
    finally:
        disk.daemon.stop()
    if content(disk.image) != disk.before:
        raise Failure("the image changed")


def test(tap, count=KILLS):
    disk = Disk()
    tap.case("configuration_tells_capacity_and_queues", configuration, disk)
    ways = dict(WAYS)
    if disk.client("info")["offered"] & PACKED:
        ways["packed"] = ["--packed"]
    for way, words in ways.items():
        tap.case("image_is_read_%s" % way, read, disk, *words)
    for way, words in ways.items():
        tap.case("image_is_written_and_read_back_%s" % way, write, disk, *words)
    for way in ("plain", "two_queues"):
        tap.case("requests_outlive_the_daemon_%d_times_%s" % (count, way), kills, disk, count,
                 "--indirect", *WAYS[way])
    disk.daemon.stop()
    tap.case("daemon_s_errors_reach_the_client", refused_when_read_only)


if __name__ == "__main__":
    main(test)
