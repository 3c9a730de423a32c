# SPDX-License-Identifier: MIT
"""What the scripts of bench/ share: where things are, medians and their spread, tables of 80 columns, JSON."""

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = Path(os.environ.get("VHU_BUILD") or ROOT / "build")


def program(name):
    """A program of bench/, or None where it was not built (without libdpdk)."""
    path = BUILD / "bench" / name
    return str(path) if path.exists() else None


def need(name):
    return program(name) or sys.exit(f"{BUILD / 'bench' / name} is not there: run make first")


def quantile(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * part))] if values else None


def median(values):
    return quantile(values, 0.5)


def machine():
    """What has to stand beside a figure."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    version = subprocess.run(["pkg-config", "--modversion", "libdpdk"], check=False,
                             capture_output=True, text=True)
    commit = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"], check=False,
                            capture_output=True, text=True)
    return {"date": time.strftime("%Y-%m-%d"), "processor": model, "processors": os.cpu_count(),
            "kernel": platform.release(), "dpdk": version.stdout.strip() or None,
            "commit": commit.stdout.strip() or None, "load": os.getloadavg()[0]}


class Table:
    """Rows are printed as they come, the head before the first; with as_json all at the end."""

    def __init__(self, columns, as_json=False):
        """columns: name, key of the row, width (negative: left-aligned), format of a number."""
        self.columns = columns
        self.as_json = as_json
        self.rows = []

    def say(self, text):
        if not self.as_json:
            print(text, flush=True)

    def line(self, cells):
        parts = [f"{cell:<{-width}}" if width < 0 else f"{cell:>{width}}"
                 for cell, (_, _, width, _) in zip(cells, self.columns)]
        self.say(" ".join(parts).rstrip())

    def add(self, row):
        if not self.rows:
            self.line([name for name, _, _, _ in self.columns])
        self.rows.append(row)
        cells = []
        for _, key, _, fmt in self.columns:
            value = row.get(key)
            cells.append("-" if value is None else f"{value:{fmt}}")
        self.line(cells)

    def end(self, **more):
        if self.as_json:
            print(json.dumps({"machine": machine(), "rows": self.rows} | more, indent=1))
            return
        about = machine()
        self.say(f"{about['date']}, {about['processors']} x {about['processor']}, Linux {about['kernel']},"
                 f" DPDK {about['dpdk']}, commit {about['commit']}, load {about['load']:.1f}")
