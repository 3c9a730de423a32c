#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# tier: check
# timeout: 600
"""Linux in `vhu vm`, on a KVM that is an emulated processor's: two guests on one `vhu switch` whose
frames pass without the VMM, a switch that dies and comes back, foreign backends, the guest's end."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import (Failure, Skip, boot, iperf, iperf_server, main, ping, transfer, wait_for)
from vm import INITRD, KERNEL, PVH_KERNEL, VmGuest, VmHost

A, B = "10.9.0.1", "10.9.0.2"
TESTPMD = "10.9.1.2"
CTL = "/tmp/switch.ctl"


def start_switch(host):
    host.background("echo $$ >/tmp/switch.pid; exec vhu switch --port a=vhost-user:/tmp/a.sock,queues=2 "
                    "--port b=vhost-user:/tmp/b.sock --ctl %s" % CTL, "switch")
    wait_for("the switch in the outer guest",
             lambda: host.try_run("vhu ctl --socket %s show ports" % CTL)[0] == 0, 30, 0.1)


def both_have_booted(a, b):
    boot(a, b)
    found = a.run("nproc; ls /sys/class/net/eth0/queues | wc -l").split()
    if found != ["2", "4"]:
        raise Failure("CPUs and queues of a: %s" % found)
    if b.run("dmesg | grep -c 'Booting paravirtualized kernel on KVM'") != "1":
        raise Failure("b has not found KVM")
    agreed = {guest: features_of(guest) for guest in (a, b)}
    # virtio 1.2, 6: bit 34 is RING_PACKED, bit 32 VERSION_1
    if agreed[a][32] + agreed[a][34] + agreed[b][32] + agreed[b][34] != "1011":
        raise Failure("a agreed on %s, b on %s" % (agreed[a], agreed[b]))


def features_of(guest):
    return guest.run("cat /sys/bus/virtio/devices/virtio0/features")


def interrupts_of(guest):
    """How many messages each vector of the device has sent."""
    lines = guest.run("grep virtio0- /proc/interrupts").splitlines()
    return {line.split()[-1]: sum(int(word) for word in line.split()[1:] if word.isdigit())
            for line in lines}


def frames_pass_without_the_vmm(a, b, deed):
    """Many frames, many interrupts, and hardly an exit: KVM passes on doorbells and calls itself."""
    before, start = interrupts_of(a), {guest: guest.exits() for guest in (a, b)}
    said = deed()
    ends = {guest: guest.exits() for guest in (a, b)}
    after = interrupts_of(a)
    messages = sum(after.values()) - sum(before.values())
    # The commands that look go by the serial port; a doorbell would be an exit by memory.
    exits = {guest.name: ends[guest]["mmio"] - start[guest]["mmio"] for guest in (a, b)}
    if messages < 200:
        raise Failure("only %d interrupts" % messages)
    if sum(exits.values()) > 20:
        raise Failure("%d interrupts, exits: %s" % (messages, exits))
    return "%s; %d interrupts, exits by memory: %s" % (said, messages, exits)


def traffic_both_ways(a):
    return "%.0f and %.0f Mbit/s" % (iperf(a, B, 2), iperf(a, B, 2, reverse=True))


def carrier(guest):
    return guest.run("cat /sys/class/net/eth0/carrier")


def switch_dies_and_another_comes(host, a, b):
    host.run("kill -9 $(cat /tmp/switch.pid)")
    for guest in (a, b):
        wait_for("%s to have no carrier" % guest.name, lambda guest=guest: carrier(guest) == "0", 30)
    start_switch(host)
    for guest in (a, b):
        wait_for("%s to have a carrier" % guest.name, lambda guest=guest: carrier(guest) == "1", 30)
    ping(a, B)
    return ping(b, A, 1400)


def guest_ends(guest, command):
    guest.send(command)
    status, said = guest.ended()
    guest.stop()
    if status:
        raise Failure("`vhu vm` ended with %d: %s" % (status, said))


def test(tap):
    host = VmHost()
    tap.case("outer_guest_has_kvm", host.ready)
    start_switch(host)
    a = VmGuest(host, 0, ["--net vhost-user:/tmp/a.sock,queues=2"], A + "/24", smp=2)
    has_pvh = host.try_run("test -s " + PVH_KERNEL)[0] == 0
    b = VmGuest(host, 1, ["--net vhost-user:/tmp/b.sock,packed"], B + "/24",
                kernel=PVH_KERNEL if has_pvh else KERNEL)
    tap.case("linux_boots_by_bzimage_and_by_pvh", both_have_booted, a, b)
    tap.case("ping_from_a_to_b", ping, a, B)
    tap.case("ping_from_b_to_a", ping, b, A, 1400)
    iperf_server(b)
    tap.case("frames_pass_without_the_vmm", frames_pass_without_the_vmm, a, b,
             lambda: traffic_both_ways(a))
    tap.case("file_keeps_its_sha256", transfer, b, a, A, 1)
    tap.case("switch_dies_and_another_comes", switch_dies_and_another_comes, host, a, b)
    tap.diag(host.run("vhu ctl --socket %s show counters" % CTL))
    tap.case("power_off_ends_it_with_0", guest_ends, a, "poweroff -f")
    tap.case("reboot_ends_it_with_0", guest_ends, b, "reboot -f")


if __name__ == "__main__":
    main(test)
