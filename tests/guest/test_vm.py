#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# tier: check
# timeout: 600
"""Linux in `vhu vm`, on a KVM that is an emulated processor's: two guests on one `vhu switch` whose
frames pass without the VMM, a switch that dies and comes back, foreign backends, the guest's end."""

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import Failure, Skip, boot, iperf_mbit, iperf_server, main, ping, transfer, wait_for
from vm import KERNEL, PVH_KERNEL, VmGuest, VmHost

A, B = "10.9.0.1", "10.9.0.2"
TESTPMD = "10.9.1.2"
CTL = "/tmp/switch.ctl"


def has_kvm(host):
    host.ready()
    return host.run("dmesg | grep -i 'kvm.*enabled' | tail -n 1")


def start_switch(host):
    """Its port b is a client: the VMM listens."""
    host.background("echo $$ >/tmp/switch.pid; exec vhu switch --port a=vhost-user:/tmp/a.sock,queues=2 "
                    "--port b=vhost-user:/tmp/b.sock,client --ctl %s" % CTL, "switch")
    wait_for("the switch in the outer guest",
             lambda: host.try_run("vhu ctl --socket %s show ports" % CTL)[0] == 0, 30, 0.1)


def has_booted(guest, loader, queues, packed):
    boot(guest)
    found = guest.run("cat /proc/sys/kernel/bootloader_type; ls /sys/class/net/eth0/queues | wc -l; "
                      "dmesg | grep -c 'Booting paravirtualized kernel on KVM'").split()
    if found != [str(loader), str(2 * queues), "1"]:
        raise Failure("loader, queues, KVM: %s" % found)
    # virtio 1.2, 6: bit 32 is VERSION_1, bit 34 RING_PACKED
    features = features_of(guest)
    if features[32] + features[34] != "1" + "01"[packed]:
        raise Failure("agreed on %s" % features)
    return "%s CPUs" % guest.run("nproc")


def features_of(guest):
    return guest.run("cat /sys/bus/virtio/devices/virtio0/features")


def frames_of(guest):
    return sum(int(word) for word in guest.run("cd /sys/class/net/eth0/statistics; "
                                               "cat rx_packets tx_packets").split())


def interrupts_of(guest):
    """How many messages all vectors of the device have sent."""
    lines = guest.run("grep virtio0- /proc/interrupts").splitlines()
    return sum(int(word) for line in lines for word in line.split()[1:] if word.isdigit())


def frames_pass_without_the_vmm(a, b):
    """Many frames, many interrupts, and hardly an exit: KVM passes on doorbells and calls itself."""
    frames, messages = frames_of(a), interrupts_of(a)
    start = {guest: guest.exits() for guest in (a, b)}
    said = [iperf_mbit(a.run("iperf3 -c %s -n 16M %s" % (B, way), 120)) for way in ("", "-R")]
    ends = {guest: guest.exits() for guest in (a, b)}
    frames, messages = frames_of(a) - frames, interrupts_of(a) - messages
    # a's commands come by its serial port; a doorbell would be an exit by memory, at any of the two
    exits = {"a": ends[a]["mmio"] - start[a]["mmio"],
             "b": sum(ends[b].values()) - sum(start[b].values())}
    said = "%d frames, %d interrupts, exits: %s; %.0f and %.0f Mbit/s" % (
        frames, messages, exits, said[0], said[1])
    if frames < 500 or messages < 50 or exits["a"] + exits["b"] > 20:
        raise Failure(said)
    return said


def vectors_move_under_traffic(a):
    """Each vector of a's device is sent to one CPU, then the other, while frames flow: Linux writes to
    the table of MSI-X for it, masked in between. An interrupt that is lost would end the traffic."""
    a.background("iperf3 -c %s -n 24M" % B, "moving")
    moved = a.run("vectors=$(grep virtio0- /proc/interrupts | cut -d : -f 1); n=0; "
                  "until [ -s /tmp/moving.status ]; do n=$((n + 1)); for v in $vectors; do "
                  "echo $((1 + n % 2)) >/proc/irq/$v/smp_affinity 2>/dev/null; done; done; echo $n", 120)
    status, said = a.output("moving")
    if status or int(moved) < 2:
        raise Failure("%s moves, iperf3 ended with %d: %s" % (moved, status, said))
    ping(a, B)
    return "%s times; %.0f Mbit/s" % (moved, iperf_mbit(said))


def queue_pairs_come_and_go(a):
    """The control queue: fewer pairs, more, promiscuous, other addresses."""
    for pairs in (1, 2, 1, 2):
        a.run("ethtool -L eth0 combined %d" % pairs)
        ping(a, B)
    a.run("ip link set eth0 promisc on && ip link set eth0 promisc off")
    a.run("ip link set eth0 down && ip link set eth0 address 52:54:00:00:0a:0a && "
          "ip link set eth0 up && ip addr show dev eth0 | grep -q 52:54:00:00:0a:0a")
    return ping(a, B)


def carrier(guest):
    return guest.run("cat /sys/class/net/eth0/carrier")


def device_status(guest):
    """Of virtio 1.2, 2.1."""
    return int(guest.run("cat /sys/bus/virtio/devices/virtio0/status"), 16)


def switch_dies(host, a, b):
    host.run("kill -9 $(cat /tmp/switch.pid)")
    for guest in (a, b):
        wait_for("%s to have no carrier" % guest.name, lambda guest=guest: carrier(guest) == "0", 30)
    start_switch(host)


def split_rings_go_on(a):
    """The guest sees a link that is up again, and nothing else."""
    wait_for("the carrier of a", lambda: carrier(a) == "1", 30)
    if device_status(a) != 0xf:
        raise Failure("the device's status is %#x" % device_status(a))


def packed_ring_needs_a_reset(a, b):
    """A packed ring's position died with the switch: the device says so, and a driver that is bound
    anew finds all well. (Linux's own does nothing about it.)"""
    wait_for("NEEDS_RESET", lambda: device_status(b) & 0x40, 30)
    b.run("echo virtio0 >/sys/bus/virtio/drivers/virtio_net/unbind")
    b.run("echo virtio0 >/sys/bus/virtio/drivers/virtio_net/bind")
    b.run("ip link set eth0 up && ip addr add %s/24 dev eth0" % B)
    wait_for("the carrier of b", lambda: carrier(b) == "1", 30)
    ping(a, B)
    return ping(b, A, 1400)


def guest_ends(guest, command):
    guest.send(command)
    status, said = guest.ended()
    guest.stop()
    if status:
        raise Failure("`vhu vm` ended with %d: %s" % (status, said))


def testpmd_answers(host):
    """Pings, and testpmd's driver for vhost-user as the backend that turns them round; the guest's
    memory is of huge pages."""
    if host.try_run("test -x /bin/dpdk-testpmd")[0]:
        raise Skip("no dpdk-testpmd here")
    host.run("mkdir -p /var/run && mkfifo /tmp/testpmd.in")
    # standard input stays open: its end would be testpmd's
    host.background("echo $$ >/tmp/testpmd.pid; exec dpdk-testpmd --lcores 0@0,1@0 --no-huge --no-shconf --no-pci --no-telemetry -m 64 "
                    "$(for d in /vm/dpdk/*; do echo -d $d; done) "
                    "--vdev=net_vhost0,iface=/tmp/t.sock,queues=1 -- -i --nb-cores=1 "
                    "--total-num-mbufs=2048 --forward-mode=icmpecho --auto-start --no-lsc-interrupt "
                    "<>/tmp/testpmd.in", "testpmd")
    wait_for("testpmd's socket", lambda: host.try_run("test -S /tmp/t.sock")[0] == 0, 60, 0.2)
    host.run("echo 96 >/proc/sys/vm/nr_hugepages")
    guest = VmGuest(host, 0, ["--net vhost-user:/tmp/t.sock,mac=52:54:00:00:01:01"],
                    "10.9.1.1/24", args="--huge")
    boot(guest)
    if guest.run("cat /sys/class/net/eth0/address") != "52:54:00:00:01:01":
        raise Failure("the device has another MAC address")
    said = ping(guest, TESTPMD, count=5)
    guest_ends(guest, "poweroff -f")
    host.run("kill $(cat /tmp/testpmd.pid)")
    return said


def disk_is_read_and_written(host, told):
    """A block device whose backend is QEMU's storage daemon, and whose interrupts are a pin's: what is
    written is there afterwards."""
    if host.try_run("test -x /bin/qemu-storage-daemon")[0]:
        raise Skip("no qemu-storage-daemon here")
    host.run("dd if=/dev/urandom of=/tmp/disk bs=1M count=8 2>/dev/null")
    host.background("echo $$ >/tmp/disk.pid; exec qemu-storage-daemon "
                    "--blockdev file,node-name=disk,filename=/tmp/disk "
                    "--export vhost-user-blk,id=x,node-name=disk,writable=on,num-queues=1,"
                    "addr.type=unix,addr.path=/tmp/d.sock", "storage")
    wait_for("the storage daemon's socket",
             lambda: host.try_run("test -S /tmp/d.sock")[0] == 0, 60, 0.2)
    guest = VmGuest(host, 1, ["--blk vhost-user:/tmp/d.sock,queues=1"], append="pci=nomsi", args="--trace walk")
    boot(guest)
    guest.run("insmod /vm/virtio_blk.ko")
    guest.run("grep -q 'IO-APIC .*virtio' /proc/interrupts")
    if guest.run("cat /sys/block/vda/size") != "16384":
        raise Failure("the disk has %s sectors" % guest.run("cat /sys/block/vda/size"))
    seen, there = guest.run("sha256sum </dev/vda"), host.run("sha256sum </tmp/disk")
    if seen != there:
        raise Failure("read: %s, there is: %s" % (seen, there))
    guest.run("dd if=/dev/urandom of=/dev/vda bs=64k count=64 seek=32 conv=fsync 2>/dev/null")
    written = guest.run("echo 3 >/proc/sys/vm/drop_caches; sha256sum </dev/vda")
    guest.signal("TERM")
    status, said = guest.ended()
    guest.stop()
    told.append(said)
    if status:
        raise Failure("ended by SIGTERM with %d: %s" % (status, said))
    there = host.run("kill $(cat /tmp/disk.pid); sha256sum </tmp/disk")
    if written != there or written == seen:
        raise Failure("written: %s, there is: %s" % (written, there))


# Stations in their order, whatever another thread said in between.
DOORBELL = (r"exit +mmio \S+ = 0$", r"bus +blk0: ", r"register +blk0 +notify = 0", r"kick +blk0 +queue 0",
            r"call +blk0 +queue 0", r"interrupt +blk0 +line \d+ high")
DRIVER_OK = (r"exit +mmio \S+ = 0xf$", r"bus +blk0: ", r"register +blk0 +device_status = 0xf",
             r"status +blk0 +0xf, was 0xb", r"start +blk0 ", r"enter$", r"message +blk0 +-> SET_VRING_ADDR",
             r"message +blk0 +-> SET_VRING_KICK", r"running +blk0 +1 rings?")


def is_walked(lines, walk):
    for station in walk:
        while lines and not re.search(station, lines[0]):
            del lines[0]
        if not lines:
            return False
    return True


def walks_are_told(told):
    """--trace walk: of a doorbell, and of the status write that started the device."""
    lines = told.splitlines()
    for name, walk in (("doorbell", DOORBELL), ("status write", DRIVER_OK)):
        begins = [i for i, line in enumerate(lines) if re.search(walk[0], line)]
        if not any(is_walked(lines[begin:begin + 100], walk) for begin in begins):
            raise Failure("no walk of a %s: %s" % (name, "\n".join(lines[-30:])))


def test(tap):
    host = VmHost()
    tap.case("outer_guest_has_kvm", has_kvm, host)
    a = VmGuest(host, 0, ["--net vhost-user:/tmp/a.sock,queues=2,reconnect"], A + "/24", smp=2)
    has_pvh = host.try_run("test -s " + PVH_KERNEL)[0] == 0
    b = VmGuest(host, 1, ["--net vhost-user:/tmp/b.sock,packed,server"], B + "/24",
                kernel=PVH_KERNEL if has_pvh else KERNEL)
    start_switch(host)
    # what Linux says of its loader: one without a number; that of PVH
    tap.case("linux_boots_by_bzimage", has_booted, a, 0xff, 2, False)
    if has_pvh:
        tap.case("linux_boots_by_pvh", has_booted, b, 0xb0, 1, True)
    else:
        tap.skip("linux_boots_by_pvh", "nobody here unpacks this kernel (lz4?)")
        boot(b)
    tap.case("ping_from_a_to_b", ping, a, B)
    tap.case("ping_from_b_to_a", ping, b, A, 1400)
    iperf_server(b)
    tap.case("frames_pass_without_the_vmm", frames_pass_without_the_vmm, a, b)
    tap.case("vectors_move_under_traffic", vectors_move_under_traffic, a)
    tap.case("queue_pairs_come_and_go", queue_pairs_come_and_go, a)
    tap.case("file_keeps_its_sha256", transfer, b, a, A, 1)
    tap.case("link_goes_down_with_the_switch", switch_dies, host, a, b)
    tap.case("split_rings_go_on_with_the_next_switch", split_rings_go_on, a)
    tap.case("packed_ring_says_that_it_needs_a_reset", packed_ring_needs_a_reset, a, b)
    tap.diag(host.run("vhu ctl --socket %s show counters" % CTL))
    tap.case("power_off_ends_it_with_0", guest_ends, a, "poweroff -f")
    tap.case("reboot_ends_it_with_0", guest_ends, b, "reboot -f")
    tap.case("testpmd_as_the_backend", testpmd_answers, host)
    told = []
    tap.case("disk_of_a_storage_daemon", disk_is_read_and_written, host, told)
    if told:
        tap.case("walks_are_told", walks_are_told, told[0])


if __name__ == "__main__":
    main(test)
