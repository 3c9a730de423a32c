# SPDX-License-Identifier: MIT
"""What is laid over the guests' initramfs: an archive of its own behind it, which the kernel unpacks
after it. It must not know who boots it."""

import os
import re

from bench import run


def cpio(entries):
    """An archive in cpio's newc form of (path, mode, content)."""
    out = []
    for number, (path, mode, content) in enumerate(entries + [("TRAILER!!!", 0, b"")], 1):
        name = path.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + name
        out += [head, b"\0" * (-len(head) % 4), content, b"\0" * (-len(content) % 4)]
    return b"".join(out)


class Overlay:
    """Files and the folders above them, each once."""

    def __init__(self):
        self.entries = []
        self.seen = set()

    def folder(self, path):
        path = path.strip("/")
        if path and path not in self.seen:
            self.folder(os.path.dirname(path))
            self.seen.add(path)
            self.entries.append((path, 0o040755, b""))

    def content(self, path, content, mode=0o100644):
        path = path.strip("/")
        if path not in self.seen:
            self.folder(os.path.dirname(path))
            self.seen.add(path)
            self.entries.append((path, mode, content))

    def file(self, path, source):
        with open(source, "rb") as file:
            self.content(path, file.read(), 0o100755 if os.access(source, os.X_OK) else 0o100644)

    def program(self, path, source):
        """A program, or a library that one loads, with the libraries that it is linked with."""
        self.file(path, source)
        for needed in re.findall(r"(/\S+) \(0x", run(["ldd", source])):
            folder = "lib64" if needed.startswith("/lib64/") else "lib/x86_64-linux-gnu"
            self.file("%s/%s" % (folder, os.path.basename(needed)), needed)

    def archive(self):
        return cpio(self.entries)
