#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# tier: check
# timeout: 400
"""DPDK's virtio-user on both ports of a switch: what it sent and what it got have to be, to the
frame and to the byte, what the switch says, also for frames that were dropped; it must not know
how the switch counts."""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "guest"))
from harness import PATIENCE, Failure, Switch, Testpmd, main, path_of, wait_for

NAMES = ("a", "b")
MACS = ("02:00:00:00:01:01", "02:00:00:00:01:02")
MILLION = 1000000
# How much of a flood has to arrive: many times what the ring held when it was full
FLOOD_ARRIVES = 20000
# Seconds without a single frame after which none is expected any more
STANDSTILL = 15
# What is dropped for these causes never was a frame, and is not counted as one
NO_FRAMES = ("rx_drop_bad_chain", "rx_drop_short", "rx_drop_long", "rx_drop_bad_hdr",
             "rx_drop_disabled")
SIZES = {"64": "64", "1518": "1518",
         # one to three segments at random: 64, 1064 or 1518 bytes, in as many buffers
         "mixed": "64,1000,454"}
MULTI_SEGS = "--tx-offloads=0x8000"


def drops_of(counted, prefix, besides=()):
    return sum(value for name, value in counted.items()
               if name.startswith(prefix + "_drop_") and name not in besides)


class Bench:
    """A switch, and testpmd on its ports: one for both, or one for each."""

    def __init__(self, options="", queues=1, apart=False, role="server"):
        serving = role == "server"
        self.queues = queues
        self.processes = []
        sockets = [path_of(name + ".sock") for name in NAMES]
        try:
            self.switch = Switch(["%s=vhost-user:%s%s,queues=%d" %
                                  (name, sock, "" if serving else ",client", queues)
                                  for name, sock in zip(NAMES, sockets)],
                                 args=["--workers", str(queues)])
            self.processes.append(self.switch)
            vdevs = ["net_virtio_user%d,path=%s,mac=%s,queues=%d,queue_size=1024%s%s" %
                     (i, sock, MACS[i], queues, options, "" if serving else ",server=1")
                     for i, sock in enumerate(sockets)]
            if apart:
                self.at = [(self._testpmd("fe-a", vdevs[:1], [MACS[1]], 0), 0),
                           (self._testpmd("fe-b", vdevs[1:], [MACS[0]], 1), 0)]
            else:
                testpmd = self._testpmd("fe", vdevs, [MACS[1], MACS[0]])
                self.at = [(testpmd, 0), (testpmd, 1)]
            wait_for("all rings run", self.runs)
        except BaseException:
            self.stop()
            raise

    def _testpmd(self, name, vdevs, peers, main_core=0):
        args = ["--eth-peer=%d,%s" % (i, mac) for i, mac in enumerate(peers)]
        args += [MULTI_SEGS, "--rxq=%d" % self.queues, "--txq=%d" % self.queues]
        testpmd = Testpmd(name, vdevs, args, ["--main-lcore=%d" % main_core])
        self.processes.append(testpmd)
        return testpmd

    def runs(self):
        return all(port["state"] == "running" and port["running"] == self.queues
                   for port in self.switch.show("ports")["ports"])

    def stop(self):
        """The frontends first; a status that is not 0 is a crash or a leak, and is reported."""
        wrong = []
        for process in reversed(self.processes):
            status = process.stop()
            if status:
                wrong.append("%s ended with status %d: %s" %
                             (process.name, status, process.process.log_tail()))
        self.processes = []
        return wrong

    def counters(self):
        return {port["name"]: port for port in self.switch.show("counters")["ports"]}

    def total(self, name):
        return sum(port["counters"][name] for port in self.counters().values())

    def stats(self):
        return [testpmd.stats(port) for testpmd, port in self.at]

    def quiet(self):
        """Waits until the counters stand still, and returns them."""
        last = [None]

        def same():
            before, last[0] = last[0], self.counters()
            return before == last[0]
        wait_for("the switch's counters stand still", same, 30, 0.2)
        return last[0]

    def settle(self):
        """After the last frame was sent: has the receivers take what still lies in their rings."""
        seen = self.quiet()
        testpmds = {testpmd.name: testpmd for testpmd, _ in self.at}.values()
        for testpmd in testpmds:
            begin(testpmd, "rxonly")

        def taken():
            return all(stats["RX-packets"] >= seen[name]["counters"]["tx_frames"]
                       for name, stats in zip(NAMES, self.stats()))
        try:
            wait_for("the receivers' rings are empty", taken, 10, 0.1)
        except Failure:
            pass  # the ledger will say by how much
        for testpmd in testpmds:
            end(testpmd)

    def ledger(self):
        """Compares all accounts, and returns the switch's."""
        stats, seen = self.stats(), self.quiet()
        wrong = []
        for here, there in ((0, 1), (1, 0)):
            name = NAMES[here]
            mine, other = seen[name]["counters"], seen[NAMES[there]]["counters"]
            refused = sum(mine[cause] for cause in NO_FRAMES)
            for what, one, another in (
                    ("frames sent", stats[here]["TX-packets"], mine["rx_frames"] + refused),
                    ("frames got", stats[here]["RX-packets"], mine["tx_frames"]),
                    ("bytes got", stats[here]["RX-bytes"], mine["tx_bytes"]),
                    ("bytes sent", stats[here]["TX-bytes"],
                     stats[here]["TX-bytes"] if refused else mine["rx_bytes"]),
                    ("frames passed on or dropped", mine["rx_frames"],
                     other["tx_frames"] + drops_of(other, "tx") +
                     drops_of(mine, "rx", NO_FRAMES)),
                    ("testpmd's own losses", 0, sum(stats[here].get(kind, 0) for kind in
                                                    ("RX-missed", "RX-errors", "RX-nombuf"))),
                    ("sums of the queues", [sum(queue[counter] for queue in seen[name]["queues"])
                                            for counter in mine], list(mine.values()))):
                if one != another:
                    wrong.append("%s, port %s: %s, not %s" % (what, name, one, another))
        if wrong:
            raise Failure("\n".join(wrong + [told(seen)]))
        return seen


def told(seen):
    """The counters that are not 0."""
    return "\n".join("%s: %s" % (name, {k: v for k, v in port["counters"].items() if v})
                     for name, port in sorted(seen.items()))


def begin(testpmd, engine, how="start"):
    testpmd.cmd("set fwd " + engine, r"Set %s packet" % engine)
    testpmd.cmd(how, r"packets/burst")


def end(testpmd):
    testpmd.cmd("stop", r"Done\.")


def wait_for_frames(what, count, goal):
    """However slow the machine is; but frames that all got lost are not waited for."""
    last = [-1, 0.0]

    def enough():
        now = count()
        if now != last[0]:
            last[:] = now, time.monotonic()
        elif time.monotonic() - last[1] > STANDSTILL * PATIENCE:
            raise Failure("%s: no more than %d of %d in %.0f s" %
                          (what, now, goal, STANDSTILL * PATIENCE))
        return now >= goal
    wait_for(what, enough, 120, 0.1)


def set_size(testpmd, size):
    testpmd.cmd("set txsplit " + ("rand" if "," in SIZES[size] else "off"))
    testpmd.cmd("set txpkts " + SIZES[size])


def loop(bench, size, frames):
    """What is sent at first goes round through both ports until there were that many frames."""
    testpmd = bench.at[0][0]
    set_size(testpmd, size)
    goal = bench.total("rx_frames") + frames
    since = time.monotonic()
    # 8 bursts of 32 frames on each queue: no ring is ever full, so none has to be dropped
    begin(testpmd, "io", "start tx_first 8")
    wait_for_frames("frames of " + size, lambda: bench.total("rx_frames"), goal)
    seconds = time.monotonic() - since
    end(testpmd)
    bench.settle()
    seen = bench.ledger()
    lost = sum(drops_of(port["counters"], way) for port in seen.values() for way in ("rx", "tx"))
    if lost:
        raise Failure("%d frames were dropped: %s" % (lost, told(seen)))
    done = bench.total("rx_frames") - goal + frames
    return "%s: %d in %.1f s, none lost" % (size, done, seconds)


def loops(sizes, **how):
    """A bench, a loop of each size on it, then perhaps a look at what was agreed on."""
    look = how.pop("look", None)
    bench = Bench(**how)
    try:
        said = [loop(bench, size, frames) for size, frames in sizes]
        if look:
            said.append(look(bench))
    finally:
        wrong = bench.stop()
    if wrong:
        raise Failure("\n".join(wrong))
    return "; ".join(said)


def features(bench):
    return [port["features_names"] for port in bench.switch.show("ports")["ports"]]


def agreed(*want, without=()):
    """A look that holds if all of these were agreed on, and none of those."""
    def look(bench):
        for names in features(bench):
            if not set(want) <= set(names) or set(without) & set(names):
                raise Failure("agreed on %s, not on %s without %s" % (names, want, without))
        return " + ".join(want)
    return look


def both_queues(bench):
    """Each queue has carried its part, and kept to itself."""
    said = []
    for name, port in sorted(bench.counters().items()):
        used = [(queue["rx_frames"], queue["tx_frames"]) for queue in port["queues"]]
        if len(used) != 2 or any(not count for pair in used for count in pair):
            raise Failure("port %s, frames of the queues: %s" % (name, used))
        said.append("%s %s" % (name, " + ".join(str(pair[0]) for pair in used)))
    crossed = zip(*(bench.counters()[name]["queues"] for name in NAMES))
    for index, (one, other) in enumerate(crossed):
        if (one["rx_frames"], other["rx_frames"]) != (other["tx_frames"], one["tx_frames"]):
            raise Failure("queue %d: %s, %s" % (index, one, other))
    return ", ".join(said)


def flood(sizes, frames, options=""):
    """One side sends as fast as it can; at first nobody takes anything, so the ring gets full."""
    bench = Bench(options=options, apart=True)
    said = []
    try:
        sender, receiver = bench.at[0][0], bench.at[1][0]
        for size in sizes:
            before = bench.counters()
            was = before["b"]["counters"]
            goal = before["a"]["counters"]["rx_frames"] + frames

            def sent():
                return bench.counters()["a"]["counters"]["rx_frames"]

            def got(name):
                return bench.counters()["b"]["counters"][name] - was[name]
            set_size(sender, size)
            begin(sender, "txonly")
            wait_for("the ring is full", lambda: got("tx_drop_rx_full"))
            begin(receiver, "rxonly")
            wait_for_frames("sent of " + size, sent, goal)
            wait_for_frames("delivered of " + size, lambda: got("tx_frames"), FLOOD_ARRIVES)
            end(sender)
            bench.quiet()
            end(receiver)
            bench.settle()
            now = bench.ledger()["b"]["counters"]
            delivered, full = [now[name] - was[name] for name in ("tx_frames", "tx_drop_rx_full")]
            lost = drops_of(now, "tx") - drops_of(was, "tx")
            if lost != full:
                raise Failure("dropped for other causes than a full ring: " + told(bench.quiet()))
            said.append("%s: %d delivered + %d dropped" % (size, delivered, lost))
    finally:
        wrong = bench.stop()
    if wrong:
        raise Failure("\n".join(wrong))
    return "; ".join(said)


def test(tap):
    tap.case("a_million_frames_of_each_size_pass_without_loss", lambda: loops(
        (("64", MILLION), ("1518", MILLION), ("mixed", MILLION // 4)),
        look=agreed("MRG_RXBUF", "IN_ORDER", without=("RING_PACKED",))))
    tap.case("a_million_frames_pass_a_switch_that_connects", lambda: loops(
        (("mixed", MILLION),), role="client"))
    tap.case("no_frame_is_lost_without_mergeable_buffers", lambda: loops(
        (("64", MILLION // 4), ("1518", MILLION // 4)), options=",mrg_rxbuf=0,in_order=0",
        look=agreed("VERSION_1", without=("MRG_RXBUF", "IN_ORDER", "RING_PACKED"))))
    tap.case("no_frame_is_lost_with_two_queues_and_two_workers", lambda: loops(
        (("64", MILLION // 4), ("1518", MILLION // 4)), queues=2, look=both_queues))
    tap.case("a_million_frames_of_each_size_pass_packed_rings", lambda: loops(
        (("64", MILLION), ("1518", MILLION), ("mixed", MILLION // 4)),
        options=",packed_vq=1,in_order=0",
        look=agreed("RING_PACKED", "MRG_RXBUF", without=("IN_ORDER",))))
    tap.case("a_million_frames_of_each_size_pass_packed_rings_in_order", lambda: loops(
        (("64", MILLION), ("1518", MILLION), ("mixed", MILLION // 4)),
        options=",packed_vq=1,in_order=1", look=agreed("RING_PACKED", "MRG_RXBUF", "IN_ORDER")))
    tap.case("no_frame_is_lost_in_packed_rings_without_mergeable_buffers", lambda: loops(
        (("64", MILLION // 4), ("1518", MILLION // 4)),
        options=",packed_vq=1,mrg_rxbuf=0,in_order=1",
        look=agreed("RING_PACKED", "IN_ORDER", without=("MRG_RXBUF",))))
    tap.case("no_frame_is_lost_in_split_rings_without_order", lambda: loops(
        (("mixed", MILLION // 4),), options=",in_order=0",
        look=agreed("MRG_RXBUF", without=("IN_ORDER", "RING_PACKED"))))
    tap.case("no_frame_is_lost_with_two_queues_of_packed_rings", lambda: loops(
        (("64", MILLION // 4), ("1518", MILLION // 4)), queues=2, options=",packed_vq=1",
        look=both_queues))
    tap.case("a_million_frames_pass_packed_rings_of_a_switch_that_connects", lambda: loops(
        (("mixed", MILLION),), role="client", options=",packed_vq=1"))
    tap.case("what_a_flood_loses_at_a_full_ring_is_counted", flood, ("64", "1518"), MILLION)
    tap.case("what_a_flood_loses_at_a_full_packed_ring_is_counted", flood, ("64", "1518"), MILLION,
             ",packed_vq=1")


if __name__ == "__main__":
    main(test)
