#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# tier: check
# timeout: 120
"""Two user-mode Linux guests on one switch: frontends that send no eventfds, take every feature that
they are offered, and are told of everything by messages."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import (Failure, Switch, boot, iperf, iperf_server, main, path_of, ping, transfer,
                     wait_for)
from uml import UmlGuest

A, B = "10.9.0.1", "10.9.0.2"
BOUND = "/sys/bus/virtio/drivers/virtio_net"


def they_are_what_this_is_about(switch):
    """In-band notifications were agreed on, and both ports run."""
    for port in switch.show("ports")["ports"]:
        if port["state"] != "running":
            raise Failure("%s is %s" % (port["name"], port["state"]))
        if "INBAND_NOTIFICATIONS" not in port["protocol_features_names"]:
            raise Failure("%s agreed on %s" % (port["name"], port["protocol_features_names"]))


def speed_is_read(a):
    said = a.run("cat /sys/class/net/eth0/speed /sys/class/net/eth0/duplex /sys/class/net/eth0/mtu")
    if said.split() != ["2500", "full", "4000"]:
        raise Failure("speed, duplex, MTU: %s" % said)


def driver_goes_and_comes(a, b):
    """All that this frontend says at the end of a ring is that it is disabled."""
    for _ in range(2):
        a.run("echo virtio0 >%s/unbind" % BOUND)
        a.run("echo virtio0 >%s/bind" % BOUND)
        a.run("ip link set eth0 mtu 1500 up && ip addr add %s/24 dev eth0" % A)
        ping(a, B)
        ping(b, A, 1400)


def one_goes_and_another_comes(switch, a):
    a.stop()
    wait_for("the port to be free", lambda: switch.show("ports")["ports"][0]["state"] == "listening")
    again = UmlGuest("again", path_of("a"), A + "/24")
    boot(again)
    return ping(again, B)


def test(tap):
    switch = Switch(["a=vhost-user:%s,inband,speed=2500,duplex=full,mtu=4000" % path_of("a"),
                     "b=vhost-user:%s,inband" % path_of("b")])
    a = UmlGuest("a", path_of("a"), A + "/24")
    b = UmlGuest("b", path_of("b"), B + "/24")
    boot(a, b)
    tap.case("in_band_notifications_are_agreed", they_are_what_this_is_about, switch)
    tap.case("speed_duplex_and_mtu_are_read", speed_is_read, a)
    tap.case("ping_from_a_to_b", ping, a, B)
    tap.case("ping_from_b_to_a", ping, b, A, 1400)
    tap.case("ping_in_fragments", ping, a, B, 20000)
    iperf_server(b)
    tap.case("tcp_both_ways", lambda: "%.0f and %.0f Mbit/s" %
             (iperf(a, B, 1), iperf(a, B, 1, reverse=True)))
    tap.case("file_keeps_its_sha256", transfer, b, a, A, 2)
    tap.case("driver_unbound_and_bound", driver_goes_and_comes, a, b)
    tap.case("another_guest_on_the_same_port", one_goes_and_another_comes, switch, a)
    tap.diag(switch.counters_text())


if __name__ == "__main__":
    main(test)
