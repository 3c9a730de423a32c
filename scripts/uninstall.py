#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Removes what `make install` with the same PREFIX and DESTDIR installs; it asks meson what that is.

usage: scripts/uninstall.py BUILD PREFIX DESTDIR
"""

import os
import subprocess
import sys
from pathlib import Path


def installed(build, prefix, destdir):
    """The paths that a dry run of the installation names, symbolic links included."""
    subprocess.run(["meson", "configure", build, f"-Dprefix={prefix}"], check=True)
    subprocess.run(["ninja", "--quiet", "-C", build], check=True, stdout=subprocess.DEVNULL)
    env = dict(os.environ, DESTDIR=destdir)
    command = ["meson", "install", "-C", build, "--no-rebuild", "--dry-run"]
    lines = subprocess.run(command, check=True, env=env, capture_output=True, text=True).stdout
    for line in lines.splitlines():
        if line.startswith("Installing symlink pointing to "):
            yield Path(line.split(" to ")[-1])
        elif line.startswith("Installing "):
            source, folder = line[len("Installing ") :].split(" to ")
            yield Path(folder) / Path(source).name


def main():
    build, prefix, destdir = sys.argv[1:4]
    top = Path(f"{destdir}{prefix}")
    for path in list(installed(build, prefix, destdir)):
        if path.is_symlink() or path.is_file():
            path.unlink()
            print(f"removed {path}")
        # A folder that only we had filled goes too, but none above the prefix.
        folder = path.parent
        while top in folder.parents and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent


if __name__ == "__main__":
    main()
