#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Many live ports: what one more costs in memory, and that frames find their way between them. Each has a frontend connected
and one queue pair running."""
# tier: check soak
# timeout: 300

import os
import sys
import time

from cases import Skip, check, main, test
from memory import Group, meminfo, private_kib
from ports import Switch, ports_a_process

LIMIT_KIB = 64
SOAK = os.environ.get("VHU_TIER") == "soak"


def frames_pass(switch, a, b):
    switch.send(b, a)
    switch.arrives(a, b)
    switch.send(a, b)
    switch.arrives(b, a)


@test
def one_more_of_1000_live_ports_costs_less_than_64_kib():
    """What is counted: the switch's private memory and page tables; and kernel objects of both ends, since they are made by
    either. What is left out: the memory of the process that plays the machines, and what they share with the switch as
    their guests' memory."""
    if ports_a_process() < 1010:
        raise Skip("the limit of open files has room for %d ports" % ports_a_process())
    group = Group("vhu-scale")
    switch = Switch(group=group)
    switch.add_ports(9)
    switch.plug(10)
    frames_pass(switch, 0, 9)
    before = private_kib(switch.process.pid), group.kernel_kib(), meminfo()
    start = time.monotonic()
    switch.add_ports(1000)
    switch.plug(1000)
    frames_pass(switch, 3, 1007)
    private = (private_kib(switch.process.pid) - before[0]) / 1000
    kernel = (group.kernel_kib() - before[1]) / 1000
    after = meminfo()
    print("# %.1f KiB a port: %.1f of the switch, %.1f kernel objects of both ends%s; up in %.1f s" %
          (private + kernel, private, kernel, "" if group.path else " (and of all others on this machine)",
           time.monotonic() - start))
    print("# /proc/meminfo, KiB a port, both ends and all others: " +
          ", ".join("%s %.1f" % (key, (after[key] - before[2][key]) / 1000)
                    for key in ("MemFree", "AnonPages", "Shmem", "Slab", "PageTables")))
    states = [port["state"] for port in switch.ask("show ports")["ports"]]
    check(states.count("running") == 1010, states.count("running"), "ports run", switch.said())
    check(private + kernel < LIMIT_KIB, private + kernel, "KiB")


@test
def live_ports_on_one_machine_are_4096():
    """In one process if the limit of open files allows that, else in as many as it takes."""
    if not SOAK:
        raise Skip("a long one")
    left, switches = 4096, []
    while left:
        nr = min(left, ports_a_process())
        switch = Switch("--workers", "2")
        switch.add_ports(nr - 1)
        switch.plug(nr)
        switches.append((switch, nr))
        left -= nr
    for switch, nr in switches:
        frames_pass(switch, 0, nr - 1)
        states = [port["state"] for port in switch.ask("show ports")["ports"]]
        check(states.count("running") == nr, states.count("running"), "of", nr, switch.said())
    print("# 4096 ports, in switches of %s" % [nr for _, nr in switches])


if __name__ == "__main__":
    sys.exit(main())
