#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# tier: check
# timeout: 180
"""Each script of bench/ measures, in its smallest form, and prints the columns that docs/performance.md speaks of, in 80
characters. What the figures are is nobody's verdict."""

import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cases import PATIENCE, ROOT, Skip, check, main, test

BUILD = os.environ.get("VHU_BUILD") or os.path.join(ROOT, "build")
NOT_HERE = 77


def bench(name, *args):
    """What a script prints, or Skip with what it says that it lacks."""
    if not os.path.exists(os.path.join(BUILD, "bench", "ring_cost")):
        raise Skip("built without bench")
    done = subprocess.run([sys.executable, os.path.join(ROOT, "bench", name), *args], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=60 * PATIENCE, env=dict(os.environ, VHU_BUILD=BUILD))
    if done.returncode == NOT_HERE:
        raise Skip(done.stderr.strip())
    check(done.returncode == 0, done.stdout, done.stderr)
    return done.stdout


def table(text, columns, rows):
    """The words of each row under a head with these names, all in 80 characters."""
    lines = text.splitlines()
    check(lines and lines[0].split() == columns.split(), text)
    check(len(lines) >= rows + 2, text)
    for line in lines[:rows + 1]:
        check(len(line) <= 80, len(line), line)
    for word in ("DPDK", "commit", "load"):
        check(word in lines[-1], lines[-1])
    return [line.split() for line in lines[1:rows + 1]]


def need_dpdk():
    if not os.path.exists(os.path.join(BUILD, "bench", "ring_cost_dpdk")):
        raise Skip("built without libdpdk")


@test
def ring_cost_counts_instructions_of_both_libraries():
    need_dpdk()
    said = json.loads(bench("ring-cost.py", "--rows", "packed,64,take", "--rounds", "1", "--json"))
    check(len(said["rows"]) == 1, said)
    row = said["rows"][0]
    for who in ("vhu", "dpdk"):
        # one burst of 32 costs at least some instructions a frame, and no burst a thousand for each
        check(10 < row[who + "_instructions"] < 10000, row)
        check(row[who + "_ns"] > 0, row)
    check(abs(row["ratio"] - row["vhu_instructions"] / row["dpdk_instructions"]) < 1e-9, row)


@test
def ring_cost_counts_cache_misses():
    text = bench("ring-cost.py", "--rows", "split,1518,give", "--cache", "--no-clock", "--no-dpdk")
    row, = table(text, "ring features size do instr. DPDK ratio D1 DPDK LL DPDK", 1)
    check(row[:5] == ["split", "mrg", "ino", "1518", "give"], row)
    check(float(row[8]) > 0, "copies of 1518 bytes that miss no cache", row)


@test
def one_port_takes_turns_with_dpdk():
    text = bench("one-port.py", "--rows", "packed,echo,64", "--rounds", "2", "--seconds", "0.05")
    row, = table(text, "ring mode size vhu DPDK ratio null ceil. near far", 1)
    check(row[:3] == ["packed", "echo", "64"], row)


@test
def two_ports_takes_turns_with_testpmd():
    text = bench("two-ports.py", "--rows", "split,64", "--rounds", "2", "--seconds", "0.05", "--no-ovs")
    row, = table(text, "ring size against vhu ratio null ceil. copy far adapt", 1)
    check(row[:3] == ["split", "64", "testpmd"], row)


@test
def latency_stands_beside_a_ping_pong():
    text = bench("latency.py", "--samples", "32", "--runs", "1", "--idle", "200")
    rows = table(text, "what ring eventfd p50 p99 frame p50 p99 ratio p50 p99", 4)
    check(rows[0][:2] == ["echo", "split"] and rows[2][0].startswith("switch"), rows)


@test
def port_cost_counts_a_switch_with_more_and_more_ports():
    text = bench("port-cost.py", "--ports", "2,9", "--seconds", "0.5")
    rows = table(text, "ports frames instr. a frame more", 2)
    check([row[0] for row in rows] == ["2", "9"], rows)
    for row in rows:
        check(int(row[1]) > 0 and 50 < float(row[2]) < 50000, row)


@test
def stuck_port_counts_what_a_full_receiver_costs_the_others():
    text = bench("stuck-port.py", "--ring", "split", "--seconds", "0.5")
    rows = table(text, "ring beside frames instr. a frame more", 3)
    check([row[1] for row in rows] == ["emptied", "stuck", "nothing"], rows)
    # instructions, and far apart: with nothing beside it is half the work; a stuck one is not waited for again
    cost = {row[1]: float(row[3]) for row in rows}
    check(cost["nothing"] < cost["stuck"] < 1.01 * cost["emptied"], rows)


@test
def a_name_that_there_is_not_is_refused():
    done = subprocess.run([sys.executable, os.path.join(ROOT, "bench", "run.py"), "one-prot"], check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    check(done.returncode == 2 and "ring-cost" in done.stderr, done)


if __name__ == "__main__":
    sys.exit(main())
