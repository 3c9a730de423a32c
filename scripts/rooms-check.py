#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks that a file includes only what its room may know; it reads #include lines and nothing else.

usage: scripts/rooms-check.py [TREE]      1 and one line for each include that is not allowed
       scripts/rooms-check.py --selftest  makes good and bad trees and looks whether the check tells them apart
"""

import argparse
import re
import sys
import tempfile
from pathlib import Path

from sources import ROOMS

# A public header that is named like a room belongs to it; the others (types, queue, ...) are for all.
PEERS = {"backend", "frontend"}
# vhu ctl speaks with vhu switch, and shares its vocabulary. All other tools know tools/common alone.
TOOL_PEERS = {"ctl": "switch"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def includes(path):
    text = path.read_text(encoding="utf-8", errors="replace")
    for found in INCLUDE.finditer(text):
        yield text.count("\n", 0, found.start()) + 1, found.group(1), found.group(2)


def may_use(room, other):
    """A room uses itself and the rooms above it; backend and frontend never meet."""
    if other == room:
        return True
    return ROOMS.index(other) < ROOMS.index(room) and {room, other} != PEERS


def public_room(name):
    stem = Path(name).stem
    return stem if stem in ROOMS else None


def judge_public(kind, name):
    if kind == '"':
        return "a public header includes with <vhu/...> only"
    return None


def judge_lib(tree, path, kind, name):
    room = path.relative_to(tree / "lib").parts[0]
    if room not in ROOMS:
        return f"lib/{room} is no room; rooms are {', '.join(ROOMS)}"
    if kind == "<":
        other = public_room(name) if name.startswith("vhu/") else None
    elif "/" not in name:
        return 'lib/ files include "room/file.h", with the room'
    else:
        other = name.split("/")[0]
        if other not in ROOMS or not (tree / "lib" / name).is_file():
            return "no such file in lib/"
    if other and not may_use(room, other):
        return f"room {room} may not know room {other}"
    return None


def judge_tool(tree, path, kind, name):
    room = path.relative_to(tree / "tools").parts[0]
    if kind == "<" and name.startswith("vmm/") and room != "vm":
        return f"tools/{room} may not know vmm/, which is for tools/vm"
    if kind == "<" or name == "config.h":
        return None
    if not (tree / "tools" / name).is_file():
        if (tree / "lib" / name).is_file() or (path.parent / name).is_file():
            return 'tools/ files include <vhu/...> and "room/file.h" of tools/, nothing of lib/'
        return "no such file in tools/"
    other = name.split("/")[0]
    if room == "common" and other != "common":
        return f"tools/common may not know tools/{other}"
    if room not in ("common", "vhu.c") and other not in ("common", "commands.h", room, TOOL_PEERS.get(room)):
        return f"tools/{room} may not know tools/{other}; what both need belongs into tools/common"
    return None


def judge_vmm(kind):
    return 'vmm/ files include <vmm/...> and <vhu/...>, nothing of lib/ or tools/' if kind == '"' else None


def judge(tree, path, kind, name):
    top = path.relative_to(tree).parts[0]
    if kind == "<" and name.startswith("vhu/") and not (tree / "include" / name).is_file():
        return "no such public header"
    if kind == "<" and name.startswith("vmm/") and (top not in ("vmm", "tools") or not (tree / name).is_file()):
        return "no such file in vmm/" if top in ("vmm", "tools") else f"{top}/ may not know vmm/"
    if kind == "<" and top == "vmm" and name.split("/")[0] in ROOMS:
        return "vmm/ may not know lib/"
    if top == "include":
        return judge_public(kind, name)
    if top == "vmm":
        return judge_vmm(kind)
    return judge_lib(tree, path, kind, name) if top == "lib" else judge_tool(tree, path, kind, name)


def check(tree):
    faults = []
    for top in ("include", "lib", "vmm", "tools"):
        for path in sorted(p for p in (tree / top).rglob("*.[ch]")):
            for line, kind, name in includes(path):
                fault = judge(tree, path, kind, name)
                if fault:
                    shown = f'"{name}"' if kind == '"' else f"<{name}>"
                    faults.append(f"{path.relative_to(tree)}:{line}: {shown}: {fault}")
    return faults


GOOD = {
    "include/vhu/types.h": "#include <stdint.h>\n",
    "include/vhu/backend.h": "#include <vhu/types.h>\n",
    "include/vhu/frontend.h": "#include <vhu/types.h>\n",
    "lib/base/bits.h": "#include <vhu/types.h>\n",
    "lib/ring/split.h": '#include "base/bits.h"\n',
    "lib/backend/backend.c": '#include <vhu/backend.h>\n#include "ring/split.h"\n',
    "lib/frontend/frontend.c": '#include <vhu/frontend.h>\n#include "ring/split.h"\n',
    "tools/vhu.c": '#include "switch/switch.h"\n',
    "vmm/bus.h": "#include <vhu/types.h>\n",
    "vmm/pci.c": "#include <vmm/bus.h>\n#include <vhu/frontend.h>\n",
    "tools/vm/main.c": '#include <vmm/bus.h>\n#include "common/loop.h"\n',
    "tools/common/loop.h": "#include <stddef.h>\n",
    "tools/trace/show.h": "#include <stddef.h>\n",
    "tools/switch/switch.h": '#include <vhu/backend.h>\n#include "common/loop.h"\n#include "config.h"\n',
}
# One file put into the good tree, each of which has to be found.
BAD = (
    ("lib/base/fd.c", '#include "ring/split.h"\n'),
    ("lib/base/fd.c", "#include <vhu/backend.h>\n"),
    ("lib/base/fd.c", '#  include  "ring/split.h"\n'),
    ("lib/ring/walk.c", '#include "../backend/x.h"\n'),
    ("lib/ring/walk.c", '#include "split.h"\n'),
    ("lib/frontend/x.c", "#include <vhu/backend.h>\n"),
    ("lib/backend/x.c", "#include <vhu/frontend.h>\n"),
    ("lib/attic/x.c", "#include <vhu/types.h>\n"),
    ("include/vhu/net.h", '#include "base/bits.h"\n'),
    ("include/vhu/net.h", "#include <vhu/gone.h>\n"),
    ("vmm/pci.c", '#include "bus.h"\n'),
    ("vmm/pci.c", "#include <vmm/gone.h>\n"),
    ("vmm/pci.c", "#include <base/bits.h>\n"),
    ("lib/ring/walk.c", "#include <vmm/bus.h>\n"),
    ("tools/switch/fdb.c", "#include <vmm/bus.h>\n"),
    ("tools/switch/fdb.c", '#include "base/bits.h"\n'),
    ("tools/switch/fdb.c", '#include "trace/show.h"\n'),
    ("tools/common/out.c", '#include "switch/switch.h"\n'),
)


def write_tree(tree, files):
    for name, text in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def selftest():
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        good = Path(folder) / "good"
        write_tree(good, GOOD)
        for fault in check(good):
            wrong += 1
            print(f"found in the good tree: {fault}")
        for number, (name, text) in enumerate(BAD):
            tree = Path(folder) / f"bad{number}"
            write_tree(tree, GOOD | {name: text})
            if not check(tree):
                wrong += 1
                print(f"not found: {name}: {text.strip()}")
    print(f"{len(BAD)} bad trees, {wrong} wrong answers")
    return 1 if wrong else 0


def main():
    parser = argparse.ArgumentParser(description="check that rooms include only what they may know")
    parser.add_argument("tree", nargs="?", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--selftest", action="store_true")
    args = parser.parse_args()
    if args.selftest:
        return selftest()
    faults = check(args.tree)
    print("\n".join(faults) if faults else "every include is allowed")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
