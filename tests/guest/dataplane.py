# SPDX-License-Identifier: MIT
"""Two guests with many network devices each, joined in pairs by one switch: what frames have to
survive in all layouts and offloads, and the account of every one. It must not know how often
anything is done."""

import json
import re

from cover import product
from harness import (Failure, Guest, Port, boot, iperf, iperf_mbit, make_switch, path_of, ping,
                     wait_for)

# What a device can be told to have or not to have: its name for QEMU, and its bit.
FEATURES = {"csum": 0, "guest_csum": 1, "guest_tso4": 7, "guest_tso6": 8, "guest_ecn": 9,
            "guest_ufo": 10, "host_tso4": 11, "host_tso6": 12, "host_ecn": 13, "host_ufo": 14,
            "mrg_rxbuf": 15, "indirect_desc": 28, "event_idx": 29, "packed": 34}
QUEUES = 4
CPUS = 2  # with 4, QEMU 7.2 under TCG now and then leaves one of them without a timer
JUMBO = 9000
MEMORY_MBYTES = 1024  # a device without mergeable buffers fills its ring with 64 KiB each
FILE = "/tmp/payload"
FILE_KBYTES = 256
PORT = 7100


def options(properties):
    """A device's properties as QEMU wants to hear them."""
    return ",".join("%s=%s" % pair for pair in properties.items())


class Pair:
    """A device of each guest, alone with each other in a VLAN."""

    def __init__(self, a, b, queues=1, port=("", "")):
        self.properties = {"a": a, "b": b}
        self.queues = queues
        self.port = dict(zip("ab", port))


class Bench:
    """Both guests, in which eth0, eth1... are the devices of the pairs."""

    def __init__(self, pairs, smp=(CPUS, CPUS), workers=1):
        self.pairs = pairs
        ports, specs = {"a": [], "b": []}, []
        for i, pair in enumerate(pairs):
            for name in "ab":
                path = path_of("%s%d.sock" % (name, i))
                specs.append("%s%d=vhost-user:%s,vlan=%d%s" % (name, i, path, 100 + i, pair.port[name]))
                ports[name].append(Port(path, queues=pair.queues, opts=options(pair.properties[name])))
        self.switch = make_switch(specs, args=["--workers", str(workers)])
        self.a, self.b = (Guest(name, ports[name], smp=cpus, mem=MEMORY_MBYTES,
                                ip=",".join("10.9.%d.%d/24" % (i, 1 + (name == "b"))
                                            for i in range(len(pairs))))
                          for name, cpus in zip("ab", smp))
        self.guests = {"a": self.a, "b": self.b}
        boot(self.a, self.b)

    def stop(self):
        for guest in self.guests.values():
            guest.stop()
        self.switch.stop()

    def counters(self, name, index):
        """What the switch counted at a port: for all of it, and queue by queue."""
        for port in self.switch.show("counters")["ports"]:
            if port["name"] == "%s%d" % (name, index):
                return port["counters"], port["queues"]
        raise Failure("the switch has no port %s%d" % (name, index))


def address(name, index, ipv6=False):
    return ("fd00:%d::%d" if ipv6 else "10.9.%d.%d") % (index, 1 + (name == "b"))


def other(name):
    return "b" if name == "a" else "a"


# --- devices are what was asked for ---------------------------------------------------------------


def features_are_as_told(bench, reference):
    """Each device has exactly those features that it was told to have, of those that the reference
    has: with all of them on it has what the switch offers."""
    lines = {name: guest.run("for i in $(seq 0 %d); do cat /sys/class/net/eth$i/device/features; done"
                             % (len(bench.pairs) - 1)).split() for name, guest in bench.guests.items()}
    for i, pair in enumerate(bench.pairs):
        for name in "ab":
            for feature, bit in FEATURES.items():
                asked = pair.properties[name].get(feature, "off" if feature == "packed" else "on")
                wanted = asked == "on" and (feature == "packed" or lines["a"][reference][bit] == "1")
                if (lines[name][i][bit] == "1") != wanted:
                    raise Failure("eth%d of %s: %s is %s, not %s" %
                                  (i, name, feature, lines[name][i][bit], asked))
    return "%d devices" % (2 * len(bench.pairs))


def rings_are_as_told(bench):
    said = []
    for name, guest in bench.guests.items():
        texts = guest.run("for i in $(seq 0 %d); do ethtool -g eth$i; done" % (len(bench.pairs) - 1))
        for i, (pair, text) in enumerate(zip(bench.pairs, texts.split("Ring parameters")[1:])):
            wanted = tuple(int(pair.properties[name].get(way + "_queue_size", 256)) for way in ("rx", "tx"))
            got = tuple(int(re.search(r"%s:\s+(\d+)" % way, text.partition("Current")[2]).group(1))
                        for way in ("RX", "TX"))
            if got != wanted:
                raise Failure("eth%d of %s has rings of %s, not %s" % (i, name, got, wanted))
            said.append(got)
    return "rings of " + ", ".join("%d/%d" % ring for ring in sorted(set(said)))


# --- the account ----------------------------------------------------------------------------------


def statistics(guest, index):
    words = guest.run("cd /sys/class/net/eth%d/statistics; cat tx_packets rx_packets rx_dropped"
                      " rx_errors" % index).split()
    return dict(zip(("tx", "rx", "rx_dropped", "rx_errors"), map(int, words)))


def drops(counters, way):
    return sum(count for name, count in counters.items() if name.startswith(way + "_drop_"))


def every_frame_is_accounted_for(bench, index):
    """What one guest gave to its device the switch took in; what it took in it put out or counted as
    dropped, unless it cut it up; what it put out the other guest got."""
    def look():
        guest = {name: statistics(bench.guests[name], index) for name in "ab"}
        port = {name: bench.counters(name, index)[0] for name in "ab"}
        wrong = []
        for name in "ab":
            sent, taken = guest[name]["tx"], port[name]["rx_frames"]
            put, got = port[name]["tx_frames"], guest[name]["rx"]
            if sent != taken:
                wrong.append("%s sent %d, taken in %d" % (name, sent, taken))
            if put != got:
                wrong.append("put out %d, %s got %d" % (put, name, got))
            onward = port[other(name)]
            out = onward["tx_frames"] + drops(onward, "tx") + drops(port[name], "rx")
            if not onward["tx_segmented"] and taken != out:
                wrong.append("from %s %d, put out or dropped %d" % (name, taken, out))
        last[:] = [wrong, port]
        return not wrong
    last = []
    try:
        # what is on its way is not there yet; what was lost never will be
        wait_for("", look, 10, 0.1)
    except Failure:
        if not last[0]:
            raise
        raise Failure("eth%d: %s" % (index, "; ".join(last[0])))
    return ["%d" % last[1]["a"]["rx_frames"], "%d" % last[1]["b"]["rx_frames"],
            "%d" % sum(drops(last[1][name], way) for name in "ab" for way in ("rx", "tx"))]


def all_frames_are_accounted_for(bench):
    rows = [every_frame_is_accounted_for(bench, i) for i in range(len(bench.pairs))]
    return "frames of a, of b, dropped: " + ", ".join("/".join(row) for row in rows)


# --- TCP and UDP ----------------------------------------------------------------------------------


def iperf_servers(guest, ports):
    """A server for one connection at a time for each of the ports, from where on they stay."""
    guest.run("for p in %s; do iperf3 -s -D -p $p --logfile /tmp/iperf3.$p >/dev/null 2>&1; done" %
              " ".join(map(str, ports)))
    wait_for("iperf3's servers", lambda: all(":%d " % port in guest.run("netstat -ltn")
                                             for port in ports), 20, 0.1)


def tcp_both_ways(bench, index, seconds=1):
    target = address("b", index)
    return "%.0f and %.0f Mbit/s" % (iperf(bench.a, target, seconds),
                                     iperf(bench.a, target, seconds, reverse=True))


def tcp_in_turns(bench, indices, rounds, seconds=1):
    """TCP over one pair of devices after the other, again and again: for each the rates, sorted, and how
    often it was notified. A report, no verdict."""
    seen = {}
    for turn in range(rounds):
        for index in indices if turn % 2 else reversed(indices):
            for reverse in (False, True):
                source, sink = ("b", "a") if reverse else ("a", "b")
                before = [bench.counters(name, index)[0] for name in (source, sink)]
                mbit = iperf(bench.a, address("b", index), seconds, reverse=reverse)
                after = [bench.counters(name, index)[0] for name in (source, sink)]
                sent, got = ({name: now[name] - then[name] for name in now} for now, then in zip(after, before))
                seen.setdefault(index, []).append((mbit, sent["rx_kicks"] / sent["rx_frames"],
                                                   got["tx_calls"] / got["tx_frames"]))
    return "; ".join("eth%d: %s Mbit/s, %.2f kicks and %.2f calls a frame" % (
        index, [round(row[0]) for row in sorted(rows)],
        *(sum(row[i] for row in rows) / len(rows) for i in (1, 2))) for index, rows in seen.items())


def _snmp(guest):
    """UDP and TCP counters, and what the guest's own stack dropped before a socket."""
    text = guest.run("cat /proc/net/snmp; echo; cat /proc/net/softnet_stat")
    values = {}
    for kind in ("Udp", "Tcp"):
        names, numbers = [line.split()[1:] for line in re.findall(r"^%s: .*$" % kind, text, re.M)]
        values.update({kind + name: int(number) for name, number in zip(names, numbers)})
    values["softnet"] = sum(int(line.split()[1], 16) for line in text.partition("\n\n")[2].splitlines())
    return values


def udp_loss_is_counted(bench, index, extra, seconds=1, reverse=False):
    """Datagrams that iperf3 misses were dropped by the switch, or by a guest, and counted there."""
    source, sink = ("b", "a") if reverse else ("a", "b")

    def look():
        return {"source": dict(_snmp(bench.guests[source]), **statistics(bench.guests[source], index)),
                "sink": dict(_snmp(bench.guests[sink]), **statistics(bench.guests[sink], index)),
                "switch": {"dropped": drops(bench.counters(sink, index)[0], "tx") +
                                      drops(bench.counters(source, index)[0], "rx")}}
    every_frame_is_accounted_for(bench, index)
    before = look()
    said = json.loads(bench.a.run("iperf3 -c %s -u -t %d %s %s --json --connect-timeout 10000" %
                                  (address("b", index), seconds, extra, "-R" if reverse else ""),
                                  seconds + 40))
    every_frame_is_accounted_for(bench, index)
    after = look()
    grown = {who: {name: after[who][name] - before[who][name] for name in after[who]} for who in after}
    lost, sent = said["end"]["sum"]["lost_packets"], said["end"]["sum"]["packets"]
    if said["end"]["sum"]["bytes"] <= 0:
        raise Failure("iperf3 moved nothing")
    # what a queue in the sender's stack dropped; segments of TCP leave in fewer frames, some ARP
    here = max(0, grown["source"]["UdpOutDatagrams"] + grown["source"]["TcpOutSegs"] + 8 -
               grown["source"]["tx"])
    there = grown["sink"]["UdpInErrors"] + grown["sink"]["softnet"] + grown["sink"]["rx_dropped"]
    dropped = grown["switch"]["dropped"]
    if lost > dropped + here + there:
        raise Failure("iperf3 misses %d of %d datagrams; the switch dropped %d, the sender up to %d, "
                      "the receiver %d" % (lost, sent, dropped, here, there))
    return "%s: %d datagrams, %d missed; the switch dropped %d, the receiver %d" % (
        extra, sent, lost, dropped, there)


# --- queues ---------------------------------------------------------------------------------------


def use_queues(bench, index, count):
    for name, guest in bench.guests.items():
        guest.run("ethtool -L eth%d combined %d" % (index, count))
        said = guest.run("ethtool -l eth%d" % index)
        if not re.search(r"Current hardware settings:.*Combined:\s*%d" % count, said, re.S):
            raise Failure("%s has not %d queues: %s" % (name, count, said))


def flows_on_several_queues(bench, index, ports, seconds=1):
    """A connection from each processor, both ways at once; the queues that carried a share of it."""
    before = {name: bench.counters(name, index)[1] for name in "ab"}
    for i, port in enumerate(ports):
        bench.a.background("taskset %x iperf3 -c %s -p %d -t %d --bidir --connect-timeout 10000" %
                           (1 << i % CPUS, address("b", index), port, seconds), "flow%d" % i)
    for i in range(len(ports)):
        status, text = bench.a.output("flow%d" % i, seconds + 60)
        if status:
            raise Failure("iperf3: %s" % text)
        iperf_mbit(text)
    carried = {}
    for name in "ab":
        after = bench.counters(name, index)[1]
        for way in ("rx", "tx"):
            carried[name, way] = [now[way + "_frames"] - then[way + "_frames"]
                                  for now, then in zip(after, before[name])][:QUEUES]
    said = "; ".join("%s of %s %s" % (way, name, frames) for (name, way), frames in carried.items())
    for frames in carried.values():
        if sum(count * 50 > sum(frames) for count in frames) < 2:
            raise Failure("one queue alone: %s" % said)
    return said


def queues_come_and_go(bench, index):
    """Fewer and more queues on either side; every one that there is carries pings then."""
    for count_a, count_b in ((1, QUEUES), (QUEUES, 1), (2, 3), (QUEUES, QUEUES)):
        bench.a.run("ethtool -L eth%d combined %d" % (index, count_a))
        bench.b.run("ethtool -L eth%d combined %d" % (index, count_b))
        for name, guest in bench.guests.items():
            guest.run("for c in %s; do taskset $c ping -q -c 2 -i 0.01 -W 10 %s || exit 1; done" %
                      (" ".join("%x" % (1 << cpu) for cpu in range(CPUS)), address(other(name), index)))


# --- jumbo frames ---------------------------------------------------------------------------------


def mtu_of_the_port_is_the_devices(bench, index):
    """The device says so: it is what the interface begins with, and it takes no more."""
    for name, guest in bench.guests.items():
        mtu = int(guest.run("cat /sys/class/net/eth%d/mtu" % index))
        if mtu != JUMBO:
            raise Failure("the MTU of %s is %d" % (name, mtu))
        if guest.try_run("ip link set eth%d mtu %d" % (index, JUMBO + 1))[0] == 0:
            raise Failure("%s takes a larger MTU" % name)


def jumbo_frames_are_whole(bench, index):
    """8000 bytes are one frame, and so are the largest; TCP without offloads sends such."""
    for size in (8000, JUMBO - 28):
        for name, guest in bench.guests.items():
            target = address(other(name), index)
            guest.run("ping -q -c 1 -W 10 %s" % target)  # ARP is not counted
            before = statistics(guest, index)["tx"]
            ping(guest, target, size)
            sent = statistics(guest, index)["tx"] - before
            if not 3 <= sent <= 5:
                raise Failure("3 pings of %d bytes took %d frames" % (size, sent))
    set_features(bench.a, index, {"tso": "off", "gso": "off"})
    try:
        before = bench.counters("b", index)[0]
        mbit = iperf(bench.a, address("b", index), 1)
        after = bench.counters("b", index)[0]
    finally:
        set_features(bench.a, index, {"tso": "on", "gso": "on"})
    frames, octets = (after[name] - before[name] for name in ("tx_frames", "tx_bytes"))
    if not 5000 < octets / frames <= JUMBO + 14:
        raise Failure("frames of %.0f bytes on average" % (octets / frames))
    return "TCP in %d frames of %.0f bytes on average, %.0f Mbit/s" % (frames, octets / frames, mbit)


def frames_beyond_the_mtu_are_dropped(bench, index, limit):
    """The port of b has a smaller MTU than a has set."""
    bench.a.run("ip link set eth%d mtu %d" % (index, JUMBO))
    try:
        bench.a.run("ping -q -c 1 -W 10 %s" % address("b", index))
        before = bench.counters("b", index)[0]["tx_drop_mtu"]
        bench.a.run("ping -q -c 3 -i 0.01 -W 10 -s %d %s" % (limit - 28, address("b", index)))
        if bench.counters("b", index)[0]["tx_drop_mtu"] != before:
            raise Failure("a packet of the MTU was dropped")
        said = bench.a.try_run("ping -q -c 3 -i 0.01 -W 1 -s %d %s" % (limit - 27, address("b", index)))[1]
        if "3 packets transmitted, 0 packets received" not in said:
            raise Failure("larger than the MTU: %s" % said)
        dropped = bench.counters("b", index)[0]["tx_drop_mtu"] - before
        if dropped != 3:
            raise Failure("%d counted" % dropped)
    finally:
        bench.a.run("ip link set eth%d mtu 1500" % index)


# --- offloads -------------------------------------------------------------------------------------

# What ethtool -K can change in a sender and in a receiver
SENDING = {"tx": ("on", "off"), "sg": ("on", "off"), "tso": ("on", "off"), "gso": ("on", "off")}
RECEIVING = {"gro": ("on", "off"), "rx-gro-hw": ("on", "off")}


def set_features(guest, index, states):
    # those that another one fixes to off are refused: what counts is what is there in the end
    guest.try_run("ethtool -K eth%d %s" % (index, " ".join("%s %s" % pair for pair in states.items())))


def serve_files(guest):
    """Takes one file after the other, and keeps a list of their checksums."""
    guest.run("mkfifo /tmp/open; : >/tmp/sums; (while :; do nc -l -p %d 0<>/tmp/open | sha256sum"
              " >>/tmp/sums; done) >/dev/null 2>&1 &" % PORT)
    guest.run("head -c %d /dev/urandom >%s" % (FILE_KBYTES << 10, FILE))


# Sends the file, for which the next server may not listen yet; all answers have to come
SEND = """
exec 2>&1
send() {
	i=0
	until nc -w 20 $1 %d <%s 2>/dev/null; do
		i=$((i + 1)); [ $i -lt 200 ] || { echo "FAILED: a file to $1"; exit 1; }
		usleep 10000
	done
}
ask() { ping -q -c 1 -s $2 -W 10 $1 >/dev/null || { echo "FAILED: a ping of $1, $2 bytes"; exit 1; } }
""" % (PORT, FILE)


def run_script(guest, script, limit):
    status, said = guest.try_run(SEND + script, limit)
    if status:
        raise Failure("%s: %s" % (guest.name, said[-600:]))
    return said


def files_arrived(source, sink, count):
    """So many files came since the last call, all of them what was sent."""
    sums = wait_for("%d files" % count, lambda: (lambda lines: lines if len(lines) >= count else None)(
        sink.run("cat /tmp/sums").split("\n")), 20, 0.1)
    sent = source.run("sha256sum <" + FILE)
    sums = [line for line in sums if line]
    sink.run(": >/tmp/sums")
    if len(sums) != count or set(sums) != {sent}:
        raise Failure("%d files of %d, %d of them as sent" % (len(sums), count, sums.count(sent)))


def send_with(bench, index, source, rows, ipv6):
    """A ping and a file in each of the sender's states; what the frames were like."""
    guest, sink = bench.guests[source], bench.guests[other(source)]
    target = address(other(source), index, ipv6)
    said = run_script(guest, "cd /sys/class/net/eth%d/statistics\n" % index + "".join("""
ethtool -K eth%d %s >/dev/null 2>&1
ask %s 1400
read p <tx_packets; read b <tx_bytes
send %s
read q <tx_packets; read c <tx_bytes; echo $((q - p)) $((c - b))
""" % (index, " ".join("%s %s" % pair for pair in row.items()), target, target)
        for row in rows), 60 + 5 * len(rows))
    files_arrived(guest, sink, len(rows))
    for row, line in zip(rows, said.split("\n")):
        frames, octets = map(int, line.split())
        # with TSO frames are longer than packets, else never
        tso = all(row[name] == "on" for name in ("tx", "sg", "tso"))
        if octets < FILE_KBYTES << 10 or (octets / frames > 1514) != tso:
            raise Failure("%s: %d frames of %.0f bytes on average" % (row, frames, octets / frames))


def offloads_on_and_off(bench, index, source, rows, ipv6=False):
    """rows: states of the sender and the receiver in one; each group of a receiver's state at once."""
    groups = {}
    for row in rows:
        receiving = tuple((name, row[name]) for name in RECEIVING)
        groups.setdefault(receiving, []).append({name: row[name] for name in SENDING})
    sink = bench.guests[other(source)]
    try:
        for receiving, sending in groups.items():
            set_features(sink, index, dict(receiving))
            send_with(bench, index, source, sending, ipv6)
    finally:
        for guest in bench.guests.values():
            set_features(guest, index, {name: "on" for name in (*SENDING, *RECEIVING)})
    return "%d combinations" % len(rows)


ALL_OFFLOADS = product({**SENDING, **RECEIVING})


def devices_carry_files(bench):
    """Pings and files, IPv4 and IPv6, both ways between the devices of all pairs."""
    indices = range(len(bench.pairs))
    for source in "ab":
        guest, sink = bench.guests[source], bench.guests[other(source)]
        targets = [address(other(source), i, ipv6) for i in indices for ipv6 in (False, True)]
        run_script(guest, "for to in %s; do for size in 56 1400 6000; do ask $to $size; done; send $to; done" %
                   " ".join(targets), 60 + 20 * len(indices))
        files_arrived(guest, sink, 2 * len(indices))
    return "%d pairs of devices" % len(indices)
