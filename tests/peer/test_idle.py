#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A switch that has nothing to do does nothing at all: no thread of it wakes up, however many ports it has and whatever
they did before."""
# tier: check
# timeout: 120

import os
import sys
import time

from cases import check, main, test, wait_for
from ports import Switch

WATCHED_S = 10


def switches(process):
    """Context switches of all threads: who wakes up has to go to sleep again."""
    found = 0
    for thread in os.listdir("/proc/%d/task" % process.pid):
        with open("/proc/%d/task/%s/status" % (process.pid, thread), encoding="utf-8") as status:
            found += sum(int(line.split()[1]) for line in status if "_ctxt_switches" in line)
    return found


def falls_asleep(switch):
    """The last look of the watchdog over, and whatever else belongs to the work that was."""
    last = [None]

    def quiet():
        before, last[0] = last[0], switches(switch.process)
        if before == last[0]:
            return True
        time.sleep(2.5)
        return False
    wait_for("the switch to fall asleep", quiet, 30)


@test
def an_idle_switch_makes_no_wake_up_in_ten_seconds():
    few = Switch()
    few.add_ports(1)
    few.plug(2)
    many = Switch("--workers", "4")
    many.add_ports(255)
    many.plug(256)
    # Its addresses are forgotten meanwhile, and then there is nothing to forget.
    short = Switch("--ageing", "1", "--mode", "interrupt")
    short.add_ports(1)
    short.plug(2)
    for switch, last in ((few, 1), (many, 255), (short, 1)):
        switch.send(last, 0)
        switch.arrives(0, last)
        switch.send(0, last)
        switch.arrives(last, 0)
        # As when it has been busy: for adaptive rings to be looked at for longer.
        for _ in range(200):
            switch.send(0, last)
            switch.arrives(last, 0)
    wait_for("addresses to be forgotten", lambda: not short.ask("show fdb")["fdb"])
    for switch in few, many, short:
        falls_asleep(switch)
    before = [switches(switch.process) for switch in (few, many, short)]
    time.sleep(WATCHED_S)
    after = [switches(switch.process) for switch in (few, many, short)]
    check(before == after, "wake-ups with 2 ports, 256, 2 without addresses:", [b - a for a, b in zip(before, after)])
    for switch, last in ((few, 1), (many, 255), (short, 1)):
        switch.send(0, last)
        switch.arrives(last, 0)


if __name__ == "__main__":
    sys.exit(main())
