# SPDX-License-Identifier: MIT
"""Hosts that hang on a vhost-user switch by `vhu tap`, each in a namespace of the test's own, and the
traffic between them. It must not know whose switch it is."""

import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "guest"))
from harness import VHU, PATIENCE, Failure, Netns, Process, Skip, need, wait_for

# From where a station's `vhu tap` is started
INSIDE, OUTSIDE, OUTSIDE_PATH = "inside", "outside", "outside, by path"
NET_ADMIN_ALONE = ["setpriv", "--inh-caps=-all,+net_admin", "--bounding-set=-all,+net_admin"]
NOTHING = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]


def need_stations():
    need("ip", "ping", "iperf3", "ss")
    if os.geteuid():
        raise Skip("namespaces and taps want root")
    if not os.path.exists("/dev/net/tun"):
        raise Skip("no /dev/net/tun")
    if not os.access(VHU, os.X_OK):
        raise Failure("%s is not built" % VHU)


class Station:
    def __init__(self, name, socket, address, args=(), how=INSIDE, prefix=(), mtu=1500, start=True):
        self.name, self.socket, self.address = name, socket, address
        self.ifname = "tap-" + name
        self.mtu = mtu
        self.ns = Netns(name)
        self.how = how
        self.argv = list(prefix) + [VHU, "tap", "--socket", socket, "--ifname", self.ifname, "--up",
                                    "--mtu", str(mtu)] + list(args)
        if how == OUTSIDE:
            self.argv += ["--netns", self.ns.name]
        elif how == OUTSIDE_PATH:
            self.argv += ["--netns", "/run/netns/" + self.ns.name]
        self.process = None
        self.server = None
        if start:
            self.start()

    def start(self):
        self.process = Process("tap-" + self.name, self.argv,
                               netns=self.ns.name if self.how == INSIDE else None)
        wait_for("interface " + self.ifname, self.exists)
        # an address of its own choice would make noise that nobody counts
        self.ns.run("sysctl -qw net.ipv6.conf.%s.disable_ipv6=1; ip addr add %s/24 dev %s" %
                    (self.ifname, self.address, self.ifname))
        self.process.watch()
        return self

    def exists(self):
        self.process.check_alive()
        return self.ifname in self.ns.run("ip -o link show")

    def has_carrier(self):
        return "LOWER_UP" in self.ns.run("ip -o link show dev " + self.ifname)

    def wait_carrier(self, there=True):
        wait_for("%s %s a carrier" % (self.ifname, "has" if there else "has not"),
                 lambda: self.has_carrier() == there, 20)

    def link(self):
        return json.loads(self.ns.run("ip -d -j link show dev " + self.ifname))[0]

    def pings(self, other, count=5, size=56, more=""):
        """How many replies came."""
        text = self.ns.run("ping -q -n -c %d -i 0.05 -s %d -W 2 %s %s" %
                           (count, size, more, other.address), check=False)
        found = re.search(r"(\d+) received", text)
        if not found:
            raise Failure("ping: " + text)
        return int(found.group(1))

    def listen(self):
        """iperf3's server, for one connection: it is deaf for a moment after each."""
        if self.server:
            self.server.stop()
        self.server = Process("iperf3-" + self.name, ["iperf3", "-s", "-1", "-B", self.address],
                              netns=self.ns.name)
        wait_for("iperf3's server", lambda: ":5201 " in self.ns.run("ss -ltn"), 20)

    def iperf(self, other, *args, seconds=1):
        """What iperf3 says of a connection to the other's server."""
        other.listen()
        argv = ["ip", "netns", "exec", self.ns.name, "iperf3", "-c", other.address, "-J", "-t",
                str(seconds), "--connect-timeout", "10000", *args]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=(seconds + 40) * PATIENCE)
        try:
            said = json.loads(done.stdout)
        except ValueError:
            said = {"error": done.stderr or done.stdout}
        if done.returncode or "error" in said:
            raise Failure("iperf3 %s: %s" % (" ".join(args), said.get("error")))
        return said

    def stop(self):
        if self.server:
            self.server.stop()
        return self.process.stop()


def meet(a, b):
    """Waits until the stations hear each other."""
    for one, other in ((a, b), (b, a)):
        wait_for("a reply of %s to %s" % (other.name, one.name), lambda: one.pings(other, 1), 30)


def pings(a, b, *sizes):
    """Every one has to be answered; sizes are those of the IP packets, which may not be cut."""
    for one, other in ((a, b), (b, a)):
        for size in sizes:
            got = one.pings(other, 10, size - 28, "-M do")
            if got != 10:
                raise Failure("%d of 10 pings of %d bytes from %s were answered" %
                              (got, size, one.name))
    return "%s bytes, both ways" % ", ".join(str(size) for size in sizes)


def tcp(a, b, *args, seconds=1):
    """Mbit/s there and back."""
    rates = []
    for more in ((), ("-R",)):
        end = a.iperf(b, *args, *more, seconds=seconds)["end"]
        rates.append(end["sum_received"]["bits_per_second"] / 1e6)
        if end["sum_received"]["bytes"] <= 0:
            raise Failure("nothing arrived: %s" % end["sum_received"])
    return "%.0f Mbit/s there, %.0f back" % tuple(rates)


def udp(a, b, rate="50M"):
    said = []
    for more in ((), ("-R",)):
        total = a.iperf(b, "-u", "-b", rate, "-l", "1400", *more)["end"]["sum"]
        if total["packets"] <= 0 or total["lost_packets"] * 2 > total["packets"]:
            raise Failure("%d of %d datagrams were lost" % (total["lost_packets"], total["packets"]))
        said.append("%d of %d lost" % (total["lost_packets"], total["packets"]))
    return ", ".join(said)


def outage(a, b, break_it, mend, seconds=4):
    """A TCP connection outlives the switch: in its last second it moves bytes again."""
    b.listen()
    client = Process("iperf3-client", ["iperf3", "-c", b.address, "-J", "-t", str(seconds)],
                     netns=a.ns.name, stdout=subprocess.PIPE)
    wait_for("iperf3's connection", lambda: len(
        [line for line in a.ns.run("ss -tnH state established").splitlines() if ":5201" in line]) > 1)
    break_it()
    for station in (a, b):
        station.wait_carrier(False)
    mend()
    for station in (a, b):
        station.wait_carrier()
    meet(a, b)
    text, _ = client.popen.communicate(timeout=(seconds + 60) * PATIENCE)
    said = json.loads(text)
    if client.popen.returncode or "error" in said:
        raise Failure("iperf3: %s" % said.get("error"))
    moved = [interval["sum"]["bytes"] for interval in said["intervals"]]
    if not moved[-1]:
        raise Failure("nothing moves after the outage: bytes a second %s" % moved)
    return "bytes each second: %s" % moved


def ends(*stations):
    """Asked to end, it does, and takes its interface along."""
    for station in stations:
        status = station.stop()
        if status:
            raise Failure("%s ended with status %s: %s" %
                          (station.name, status, station.process.log_tail()))
        if station.ifname in station.ns.run("ip -o link show"):
            raise Failure("%s is still there" % station.ifname)
