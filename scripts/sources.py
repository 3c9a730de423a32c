#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Keeps the lists of files in the meson.build files equal to the tree; knows nothing of compiling.

usage: scripts/sources.py            name what is missing from a list or listed without being there; 1 if any
       scripts/sources.py --update   write the lists anew
"""

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# The rooms of lib/ in the order in which they may use each other.
ROOMS = ("base", "trace", "wire", "sock", "mem", "ring", "net", "backend", "frontend")


def is_test(path):
    return path.name.startswith("test_")


# The list's meson.build and name, the glob that finds its files, and which of those it takes.
LISTS = (
    ("include/meson.build", "public_headers", "vhu/*.h", lambda p: True),
    ("lib/meson.build", "lib_sources", "**/*.c", lambda p: True),
    ("vmm/meson.build", "vmm_sources", "**/*.c", lambda p: True),
    ("tools/meson.build", "tool_sources", "**/*.c", lambda p: p != Path("vhu.c")),
    ("tests/meson.build", "unit_tests", "unit/*.c", is_test),
    ("tests/meson.build", "unit_shared", "unit/*.c", lambda p: not is_test(p)),
    ("tests/meson.build", "pair_tests", "pair/*.c", is_test),
    ("tests/meson.build", "pair_shared", "pair/*.c", lambda p: not is_test(p)),
    ("man/meson.build", "man_pages", "*.[1-8]", lambda p: True),
)


def order(path):
    room = path.parts[0]
    return (ROOMS.index(room) if room in ROOMS else -1, path.as_posix())


def main():
    parser = argparse.ArgumentParser(description="compare the lists of files with the tree")
    parser.add_argument("--update", action="store_true", help="write the lists anew")
    args = parser.parse_args()
    wrong = 0
    for build_file, name, pattern, takes in LISTS:
        path = ROOT / build_file
        if not path.exists():
            continue
        text = path.read_text()
        found = re.search(rf"^{name} = files\(\n((?:.*\n)*?)\)$", text, re.M)
        if not found:
            sys.exit(f"{build_file}: no list {name}")
        listed = re.findall(r"'([^']+)'", found.group(1))
        there = (p.relative_to(path.parent) for p in path.parent.glob(pattern))
        there = [p.as_posix() for p in sorted(filter(takes, there), key=order)]
        if listed == there:
            continue
        if args.update:
            lines = "".join(f"  '{p}',\n" for p in there)
            text = text[: found.start(1)] + lines + text[found.end(1) :]
            path.write_text(text)
            print(f"{build_file}: {name} has {len(there)} files")
            continue
        wrong += 1
        for p in sorted(set(listed) - set(there)):
            print(f"{build_file}: {name} lists {p}, which is not there")
        for p in sorted(set(there) - set(listed)):
            print(f"{build_file}: {name} lacks {p}")
        if set(listed) == set(there):
            print(f"{build_file}: {name} is out of order")
    if wrong:
        print("scripts/sources.py --update mends the lists")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
