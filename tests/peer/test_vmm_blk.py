#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# tier: check
# timeout: 120
"""A disk of qemu-storage-daemon, read and written through vmm/'s block device by a guest that resets it again and
again; the image file tells whether it was. It must not know how the device does it."""

import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from backends import StorageDaemon
from harness import PATIENCE, Failure, main, path_of

BUILD = os.environ.get("VHU_BUILD") or os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                                    "..", "..", "build")
GUEST = os.path.join(BUILD, "tests", "vmm_disk")
IMAGE_BYTES = (8 << 20) + 3 * 512  # no round number of anything but sectors
QUEUES = 2
PACKED = 1 << 34  # VIRTIO_F_RING_PACKED
RESETS = 8


def content(path):
    with open(path, "rb") as file:
        return file.read()


def fill(path):
    with open(path, "wb") as file:
        file.write(os.urandom(IMAGE_BYTES))


def guest(daemon, *words):
    done = subprocess.run([GUEST, *words[:-2], daemon.path, *words[-2:]], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60 * PATIENCE)
    if done.returncode:
        raise Failure("%s: status %d: %s" % (" ".join(words), done.returncode, done.stderr))
    said = json.loads(done.stdout)
    if said["sectors"] != IMAGE_BYTES // 512 or said["resets"] < RESETS:
        raise Failure("%s" % said)
    return said


def read(daemon, image, *words):
    said = guest(daemon, *words, "read", path_of("got"))
    if content(path_of("got")) != content(image):
        raise Failure("what was read is not the image")
    return "%(requests)d requests, %(resets)d resets" % said


def write(daemon, image, *words):
    fill(path_of("source"))
    said = guest(daemon, *words, "write", path_of("source"))
    if content(path_of("source")) != content(image):
        raise Failure("the image is not what was written")
    return "%(requests)d requests, %(resets)d resets" % said


def test(tap):
    if not os.access(GUEST, os.X_OK):
        raise Failure("%s is not built" % GUEST)
    image = path_of("disk.img")
    fill(image)
    daemon = StorageDaemon(image, path_of("blk.sock"), QUEUES)
    ways = {"split": []}
    if guest(daemon, "--packed", "read", path_of("got"))["features"] & PACKED:
        ways["packed"] = ["--packed"]
    for way, words in ways.items():
        tap.case("image_is_read_%s" % way, read, daemon, image, *words)
        tap.case("image_is_written_%s" % way, write, daemon, image, *words)
    daemon.stop()


if __name__ == "__main__":
    main(test)
