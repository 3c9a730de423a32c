#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# tier: check
# timeout: 200
"""A guest and the host through a tap in a namespace of the test's own, VLANs between tap ports and
a guest's trunk, and the mirror of it all in a capture that tcpdump and tshark read."""

import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import (Failure, Guest, Netns, Port, Process, Skip, Switch, boot, iperf,
                     main, need, path_of, ping, run, wait_for)

GUEST, HOST = "10.9.0.1", "10.9.0.2"
PING_SIZE = 333  # of the pings that are counted in the capture
PINGS = 5


class Station:
    """A namespace with one tap of the switch in it."""

    def __init__(self, tap, address, home):
        self.ns = Netns(tap)
        self.tap = tap
        self.address = address
        # made by the switch in the namespace `home`; its file goes along
        run(["ip", "link", "set", tap, "netns", self.ns.name], netns=home.name)
        self.ns.run("sysctl -qw net.ipv6.conf.%s.disable_ipv6=1; ip addr add %s/24 dev %s; "
                    "ip link set %s up" % (tap, address, tap, tap))

    def ping(self, target, count=2, size=56):
        """How many replies came."""
        text = self.ns.run("ping -q -c %d -i 0.2 -s %d -W 1 %s" % (count, size, target), check=False)
        return int(re.search(r"(\d+) (?:packets )?received", text).group(1))


def reaches(station, target):
    wait_for("a reply of %s to %s" % (target, station.tap), lambda: station.ping(target, 1), 20)


def reaches_not(station, target):
    if station.ping(target):
        raise Failure("%s is answered by %s" % (station.tap, target))


def host_and_guest(station, guest):
    for size in (64, 1500, 8000):
        ping(guest, HOST, size)
        if station.ping(GUEST, 3, size) != 3:
            raise Failure("the host's pings of %d bytes were not all answered" % size)


def tcp(station, guest):
    server = Process("iperf3-host", ["iperf3", "-s", "-1"], netns=station.ns.name)
    wait_for("iperf3's server", lambda: ":5201 " in station.ns.run("ss -ltn"), 20)
    there = iperf(guest, HOST, 2)
    server.popen.wait(30)
    server = Process("iperf3-host", ["iperf3", "-s", "-1"], netns=station.ns.name)
    wait_for("iperf3's server", lambda: ":5201 " in station.ns.run("ss -ltn"), 20)
    back = iperf(guest, HOST, 2, reverse=True)
    server.popen.wait(30)
    return "%.0f Mbit/s to the host, %.0f back" % (there, back)


LISTEN = r"""
import socket, struct, sys, time
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
sock.bind((sys.argv[1], 0))
sock.setsockopt(263, 8, 1)  # SOL_PACKET, PACKET_AUXDATA: the kernel takes the tag out of the frame
print("listening", flush=True)
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    sock.settimeout(max(0.01, end - time.monotonic()))
    try:
        data, more, _, addr = sock.recvmsg(4096, 256)
    except (TimeoutError, socket.timeout):
        break
    if addr[2] == 4:  # what this host sent itself
        continue
    tag = 0
    for level, kind, body in more:
        if (level, kind) == (263, 8):
            status, _, _, _, _, tci, _ = struct.unpack("IIIHHHH", body)
            if status & 0x10:
                tag = tci & 0xfff
    print(tag, data[12:14].hex(), data[14:].split(b"\0")[0].decode(errors="replace"), flush=True)
"""

SEND = r"""
import socket, sys
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sock.bind((sys.argv[1], 0))
for spec in sys.argv[2:]:
    vlan, text = spec.split(":")
    tag = b"" if vlan == "-" else b"\x81\x00" + int(vlan).to_bytes(2, "big")
    sock.send(b"\xff" * 6 + b"\x02\x00\x00\x00\x00\x77" + tag + b"\x88\xb5" +
              text.encode() + bytes(50))
"""


def listen(station, seconds=3):
    """Collects the frames of EtherType 0x88b5 that a station gets, as "VLAN text"."""
    argv = ["ip", "netns", "exec", station.ns.name, sys.executable, "-c", LISTEN, station.tap,
            str(seconds)]
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    if child.stdout.readline().strip() != "listening":
        raise Failure("no packet socket on %s" % station.tap)

    def collect():
        text, _ = child.communicate(timeout=60)
        return sorted("%s %s" % (tag, word) for tag, kind, word in
                      (line.split(" ", 2) for line in text.splitlines()) if kind == "88b5")
    return collect


def tags(stations, sender, specs, expected):
    """Sends tagged frames from one station; every other gets exactly what is expected."""
    collect = {s: listen(s) for s in stations if s is not sender}
    sender.ns.run("%s -c '%s' %s %s" % (sys.executable, SEND, sender.tap, " ".join(specs)))
    wrong = []
    for station, done in collect.items():
        got, want = done(), sorted(expected.get(station.tap, []))
        if got != want:
            wrong.append("%s got %s, expected %s" % (station.tap, got, want))
    if wrong:
        raise Failure("\n".join(wrong))


def capture_of_pings(station):
    if station.ping(GUEST, PINGS, PING_SIZE) != PINGS:
        raise Failure("the pings for the capture were not answered")


def tcpdump_reads(path):
    need("tcpdump")
    counts = {}
    for kind in ("icmp-echo", "icmp-echoreply"):
        # from its standard input: it drops its rights before it opens a file
        with open(path, "rb") as capture:
            done = subprocess.run(["tcpdump", "-nn", "-r", "-",
                                   "icmp[icmptype]=%s and ip[2:2]=%d" % (kind, PING_SIZE + 28)],
                                  stdin=capture, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True)
        if done.returncode:
            raise Failure(done.stderr)
        counts[kind] = len(done.stdout.splitlines())
    if set(counts.values()) != {PINGS}:
        raise Failure("%d pings show as %s" % (PINGS, counts))
    return "%s" % counts


def tshark_reads(path):
    need("tshark")
    done = subprocess.run(["tshark", "-n", "-r", path, "-Y",
                           "icmp && ip.len == %d" % (PING_SIZE + 28), "-T", "fields",
                           "-e", "icmp.type", "-e", "icmp.checksum.status"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise Failure(done.stderr)
    kinds = [line.split("\t")[0] for line in done.stdout.splitlines()]
    if sorted(kinds) != ["0"] * PINGS + ["8"] * PINGS:
        raise Failure("%d pings show as types %s" % (PINGS, kinds))
    if any(line.split("\t")[1] != "1" for line in done.stdout.splitlines()):
        raise Failure("a checksum is not right:\n%s" % done.stdout)
    bad = subprocess.run(["tshark", "-n", "-r", path, "-Y", "_ws.malformed"],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True).stdout
    if bad:
        raise Failure("malformed frames:\n%s" % bad[:600])


def host_part(tap, switch, guest, home):
    host = Station("th", HOST, home)
    tap.case("host_and_guest_ping_through_a_tap", host_and_guest, host, guest)
    tap.case("tcp_between_host_and_guest", tcp, host, guest)
    tap.case("pings_for_the_capture", capture_of_pings, host)
    tap.diag(switch.counters_text())


def vlan_part(tap, switch, guest, home):
    a, b, c, trunk = stations = [Station("ta", "10.10.0.11", home), Station("tb", "10.10.0.12", home),
                                 Station("tc", "10.10.0.13", home), Station("tt", "10.30.0.14", home)]
    tap.case("access_ports_of_one_vlan_reach_each_other", reaches, a, b.address)
    tap.case("access_port_of_another_vlan_is_not_reached", reaches_not, c, a.address)
    tap.case("untagged_frame_of_an_access_port_leaves_the_trunk_tagged", tags, stations, a,
             ["-:hello"], {"tb": ["0 hello"], "tt": ["10 hello"]})
    tap.case("tagged_frames_of_a_trunk_go_to_their_vlans_alone", tags, stations, trunk,
             ["10:ten", "20:twenty", "30:thirty"],
             {"ta": ["0 ten"], "tb": ["0 ten"], "tc": ["0 twenty"]})
    tap.case("access_port_refuses_a_foreign_tag", tags, stations, a, ["20:foreign"], {})

    # the guest's own port is a trunk too
    guest.run("ip link set eth1 up; vconfig add eth1 10; vconfig add eth1 20; "
              "ip addr add 10.10.0.1/24 dev eth1.10; ip link set eth1.10 up; "
              "ip addr add 10.20.0.1/24 dev eth1.20; ip link set eth1.20 up")
    c.ns.run("ip addr add 10.20.0.13/24 dev tc")
    b.ns.run("ip addr add 10.20.0.12/24 dev tb")  # in VLAN 10, where that network is not
    tap.case("guest_on_a_trunk_reaches_an_access_port", reaches, a, "10.10.0.1")
    tap.case("guest_on_a_trunk_reaches_another_vlan", reaches, c, "10.20.0.1")
    tap.case("guest_keeps_its_vlans_apart", reaches_not, b, "10.20.0.1")
    counters = {p["name"]: p["counters"] for p in switch.show("counters")["ports"]}
    tap.case("refused_tags_are_counted_drops", lambda: check_drops(counters))


def check_drops(counters):
    drops = {name: c["rx_drop_vlan"] for name, c in counters.items()}
    if drops["ta"] < 1 or drops["tt"] < 1:
        raise Failure("rx_drop_vlan is %s" % drops)
    return str(drops)


def test(tap):
    need("ping", "ip")
    if os.geteuid():
        raise Skip("namespaces and taps want root")
    if not os.path.exists("/dev/net/tun"):
        raise Skip("no /dev/net/tun")
    home = Netns("home")
    pcap = path_of("mirror.pcap")
    first = Switch(["g=vhost-user:" + path_of("g0.sock"), "th=tap:th", "m=pcap:" + pcap],
                   name="switch-tap", netns=home.name)
    second = Switch(["g=vhost-user:%s,trunk=10-20" % path_of("g1.sock"), "ta=tap:ta,vlan=10",
                     "tb=tap:tb,vlan=10", "tc=tap:tc,vlan=20", "tt=tap:tt,trunk=10-20"],
                    name="switch-vlan", netns=home.name)
    guest = Guest("g", [Port(path_of("g0.sock")), Port(path_of("g1.sock"))], ip=GUEST + "/24")
    boot(guest)
    host_part(tap, first, guest, home)
    vlan_part(tap, second, guest, home)
    guest.stop()
    tap.case("switch_ends_with_status_0", lambda: check_end(first))
    tap.case("tcpdump_reads_the_mirror", tcpdump_reads, pcap)
    tap.case("tshark_reads_the_mirror", tshark_reads, pcap)


def check_end(switch):
    status = switch.stop()
    if status != 0:
        raise Failure("status %s" % status)


if __name__ == "__main__":
    main(test)
