#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks that the public headers, lib/libvhu.map and libvhu.so name the same functions under the same versions.

usage: scripts/abi-check.py BUILD     compare; 1 if they differ
       scripts/abi-check.py --update  write the map anew from the headers
       scripts/abi-check.py --selftest BUILD  leave a function out of each of the three and see it found
Each header is compiled alone too, as C and (where there is a compiler) as C++.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAP = ROOT / "lib" / "libvhu.map"
STABLE, EXPERIMENTAL = "VHU_0.1", "VHU_EXPERIMENTAL"
# What may still change: the data sides of a queue, of a driver's and of a local ring, and the net bursts on them.
EXPERIMENTAL_PREFIXES = ("vhu_queue_", "vhu_driver_", "vhu_local_", "vhu_net_")
MAP_HEAD = """# SPDX-License-Identifier: MIT
# The functions that libvhu.so exports; scripts/abi-check.py --update writes it from include/vhu/*.h.
"""


def version_of(name):
    return EXPERIMENTAL if name.startswith(EXPERIMENTAL_PREFIXES) else STABLE


def headers():
    return sorted((ROOT / "include" / "vhu").glob("*.h"))


def declared():
    """Functions declared in the headers: {name: version}, and those that lack VHU_API."""
    names, unmarked = {}, []
    for path in headers():
        text = re.sub(r"/\*.*?\*/|//[^\n]*", " ", path.read_text(), flags=re.S)
        text = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*$", "", text, flags=re.M)
        text = re.sub(r'extern\s+"C"\s*\{', "", text)
        # What stands in braces is no declaration of a function: bodies, structs, enums.
        while re.search(r"\{[^{}]*\}", text):
            text = re.sub(r"\{[^{}]*\}", ";", text)
        for statement in text.split(";"):
            found = re.search(r"\b(vhu_\w+)\s*\(", statement)
            if not found or re.search(r"\b(typedef|static)\b", statement):
                continue
            names[found.group(1)] = version_of(found.group(1))
            if "VHU_API" not in statement[: found.start()]:
                unmarked.append(f"{path.name}: {found.group(1)} lacks VHU_API")
    return names, unmarked


def mapped():
    names = {}
    for version, body in re.findall(r"^(\w[\w.]*)\s*\{(.*?)\}", MAP.read_text(), re.S | re.M):
        for name in re.findall(r"\b(vhu_\w+)\s*;", body):
            names[name] = version
    return names


def exported(build):
    library = Path(build) / "lib" / "libvhu.so"
    command = ["nm", "-D", "--defined-only", str(library)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    names = {}
    for line in lines:
        kind, symbol = line.split()[-2:]
        name, _, version = symbol.partition("@@")
        if kind != "A":
            names[name] = version
    return names


def update():
    names = declared()[0]
    text = MAP_HEAD
    for version, last in ((STABLE, "local:\n\t*;\n"), (EXPERIMENTAL, "")):
        mine = sorted(n for n in names if names[n] == version)
        lines = "".join(f"\t{n};\n" for n in mine)
        text += f"\n{version} {{\n" + (f"global:\n{lines}" if mine else "") + last + "};\n"
    if not MAP.exists() or MAP.read_text() != text:
        MAP.write_text(text)
        print(f"lib/libvhu.map has {len(names)} functions")


def differences(sets):
    faults = []
    for name in sorted(set().union(*sets.values())):
        versions = {place: names.get(name) for place, names in sets.items()}
        if len(set(versions.values())) > 1:
            told = ", ".join(f"{place}: {version or 'no'}" for place, version in versions.items())
            faults.append(f"{name}: {told}")
    return faults


def compile_alone():
    """A user may include any one header, in any order, also from C++."""
    faults = []
    c = [os.environ.get("CC", "cc"), "-x", "c", "-std=c11"]
    compilers = [c] + ([["c++", "-x", "c++", "-std=c++17"]] if shutil.which("c++") else [])
    for command in compilers:
        for path in headers():
            options = ["-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{ROOT / 'include'}"]
            source = f"#include <vhu/{path.name}>\n#include <vhu/{path.name}>\n"
            done = subprocess.run(command + options + ["-"], input=source, check=False,
                                  capture_output=True, text=True)
            if done.returncode != 0:
                faults.append(f"{path.name} alone with {' '.join(command)}:\n{done.stderr.rstrip()}")
    return faults


def selftest(sets):
    """Takes one function away at a time from each place: the comparison has to find it."""
    some = sorted(set.intersection(*(set(names) for names in sets.values())))[:1]
    missed = [place for place in sets for name in some
              if not differences(sets | {place: {n: v for n, v in sets[place].items() if n != name}})]
    print(f"{len(some) * len(sets)} omissions, {len(missed)} not found")
    return 1 if missed or not some else 0


def main():
    parser = argparse.ArgumentParser(description="compare headers, symbol map and shared library")
    parser.add_argument("build", nargs="?", default="build")
    parser.add_argument("--update", action="store_true", help="write lib/libvhu.map anew")
    parser.add_argument("--selftest", action="store_true")
    args = parser.parse_args()
    if args.update:
        update()
        return 0
    names, faults = declared()
    sets = {"headers": names, "map": mapped(), "libvhu.so": exported(args.build)}
    if args.selftest:
        return selftest(sets)
    faults += differences(sets) + compile_alone()
    print("\n".join(faults) if faults else f"{len(names)} functions, the same in headers, map and library")
    if faults:
        print("a new function: scripts/abi-check.py --update; then its definition in lib/")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
