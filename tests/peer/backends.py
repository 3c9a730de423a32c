# SPDX-License-Identifier: MIT
"""Backends that are not ours, started and stopped: DPDK's net_vhost, OVS with its userspace datapath,
qemu-storage-daemon. It must not know what any single test wants to show."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "guest"))
from harness import (Failure, Netns, Process, Skip, Testpmd, huge_pages, need, path_of, wait_for)

OVS_VSWITCHD = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
OVS_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
OVS_MEM_MIB = 384
# Which modes of vhost-user port OVS has: who listens
OVS_LISTENS, OVS_CONNECTS = "dpdkvhostuser", "dpdkvhostuserclient"


def dpdk_runtime_here():
    """DPDK leaves empty folders where it runs: let them go with the test's own."""
    os.environ["RUNTIME_DIRECTORY"] = path_of("run")
    os.makedirs(path_of("run"), exist_ok=True)


class NetVhost(Testpmd):
    """dpdk-testpmd with one net_vhost port for each socket; "io" passes frames from one port to the
    other, a single port gives them back to where they came from."""

    def __init__(self, sockets, name="be", client=False, queues=1, options="", forward="io", args=(),
                 start=True):
        dpdk_runtime_here()
        self.sockets = sockets
        self.client = client
        self.forward = forward
        vdevs = ["net_vhost%d,iface=%s,queues=%d%s%s" % (i, path, queues, ",client=1" if client else "",
                                                        options)
                 for i, path in enumerate(sockets)]
        args = list(args)
        if queues > 1:
            args += ["--rxq=%d" % queues, "--txq=%d" % queues]
        super().__init__(name, vdevs, args, start=False)
        if start:
            self.start()

    def start(self):
        if not self.client:  # it refuses a path that is there, also a dead one's
            for path in self.sockets:
                if os.path.exists(path):
                    os.unlink(path)
        super().start()
        self.cmd("set fwd " + self.forward, r"Set %s packet" % self.forward)
        self.cmd("start", r"packets/burst")
        return self


class VirtioUser(Testpmd):
    """dpdk-testpmd as a frontend, one virtio-user port for each socket."""

    def __init__(self, sockets, name="fe", queues=1, options="", server=False, args=(), start=True):
        dpdk_runtime_here()
        vdevs = ["net_virtio_user%d,path=%s,queues=%d,mac=02:00:00:00:02:%02x%s%s" %
                 (i, path, queues, i + 1, ",server=1" if server else "", options)
                 for i, path in enumerate(sockets)]
        # what came before the forwarding was started is not to be thrown away
        args = list(args) + ["--no-flush-rx"]
        if queues > 1:
            args += ["--rxq=%d" % queues, "--txq=%d" % queues]
        super().__init__(name, vdevs, args, start=start)

    def begin(self, engine, how="start"):
        self.cmd("set fwd " + engine, r"Set %s packet" % engine)
        self.cmd(how, r"packets/burst")

    def end(self):
        self.cmd("stop", r"Done\.")


class Ovs:
    """An ovsdb-server and an ovs-vswitchd of the test's own, with one bridge of the userspace
    datapath that does what a switch does (NORMAL). Its interfaces are in a namespace of its own."""

    number = 0

    def __init__(self, ports, mode=OVS_LISTENS, queues=1, mtu=1500, tso=False, flows=()):
        """ports: names. A port's socket is self.sockets[name]."""
        need("ovsdb-tool", "ovsdb-server", "ovs-vsctl", "ovs-ofctl", "ovs-appctl", "ip")
        if not os.path.exists(OVS_VSWITCHD):
            raise Skip("no %s here" % OVS_VSWITCHD)
        if os.geteuid():
            raise Skip("OVS wants root")
        dpdk_runtime_here()
        self.queues, self.mtu, self.tso = queues, mtu, tso
        self.mode, self.ports, self.flows = mode, ports, flows
        Ovs.number += 1
        self.name = "ovs%d" % Ovs.number
        self.home = path_of(self.name)
        os.makedirs(self.home)
        self.sockets = {name: os.path.join(self.home, name) for name in ports}
        self.db = "unix:" + os.path.join(self.home, "db.sock")
        self.ctl = os.path.join(self.home, "vswitchd.ctl")
        self.env = dict(os.environ, OVS_RUNDIR=self.home, OVS_LOGDIR=self.home, OVS_DBDIR=self.home,
                        OVS_SYSCONFDIR=self.home)
        self.ns = Netns(self.name)
        self.database = self.vswitchd = None
        self._start_database()
        self.start()
        self._make_bridge()

    def _ovs(self, program, *args, check=True, timeout=40):
        done = subprocess.run([program, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, env=self.env, timeout=timeout)
        if check and done.returncode:
            raise Failure("%s %s: %s" % (program, " ".join(args), done.stdout.strip()))
        return done.stdout

    def vsctl(self, *args):
        return self._ovs("ovs-vsctl", "--db=" + self.db, "--timeout=30", *args)

    def appctl(self, *args):
        return self._ovs("ovs-appctl", "-t", self.ctl, *args)

    def ofctl(self, command, *args):
        return self._ovs("ovs-ofctl", command, "unix:" + os.path.join(self.home, "br0.mgmt"), *args)

    def _start_database(self):
        conf = os.path.join(self.home, "conf.db")
        self._ovs("ovsdb-tool", "create", conf, OVS_SCHEMA)
        self.database = Process("ovsdb", ["ovsdb-server", conf, "--remote=p" + self.db,
                                          "--unixctl=" + os.path.join(self.home, "ovsdb.ctl"),
                                          "-vconsole:warn"], env=self.env)
        wait_for("ovsdb-server", lambda: os.path.exists(self.db[len("unix:"):]), 20)
        self.database.watch()
        # the last two processors: one polls, one answers; with one processor they share it
        last = max(os.sched_getaffinity(0))
        extra = "--no-pci -m %d --single-file-segments --no-telemetry --file-prefix=ovs%d" % (
            OVS_MEM_MIB, os.getpid())
        self.vsctl("--no-wait", "init", "--", "set", "Open_vSwitch", ".",
                   "other_config:dpdk-init=true", "other_config:per-port-memory=false",
                   "other_config:dpdk-lcore-mask=0x1", "other_config:pmd-cpu-mask=%#x" % (1 << last),
                   "other_config:userspace-tso-enable=%s" % ("true" if self.tso else "false"),
                   "other_config:dpdk-extra=" + extra)

    def start(self):
        """Starts ovs-vswitchd, also again: the bridge is in its database."""
        huge_pages(OVS_MEM_MIB // 2 + 16)
        if self.mode == OVS_LISTENS:
            for path in self.sockets.values():
                if os.path.exists(path):
                    os.unlink(path)
        self.vswitchd = Process("vswitchd", [OVS_VSWITCHD, self.db, "--unixctl=" + self.ctl, "--no-chdir",
                                             "-vconsole:info", "-vsyslog:off", "-vfile:off"],
                                netns=self.ns.name, env=self.env)

        def answers():
            self.vswitchd.check_alive()
            return os.path.exists(self.ctl) and "Open vSwitch" in self._ovs(
                "ovs-appctl", "-t", self.ctl, "version", check=False)
        wait_for("ovs-vswitchd", answers, 60, 0.1)
        self.vswitchd.watch()
        return self

    def _make_bridge(self):
        words = ["--may-exist", "add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev",
                 "fail-mode=standalone"]
        for name in self.ports:
            words += ["--", "add-port", "br0", name, "--", "set", "Interface", name, "type=" + self.mode,
                      "options:n_rxq=%d" % self.queues, "mtu_request=%d" % self.mtu]
            if self.mode == OVS_CONNECTS:
                words.append("options:vhost-server-path=" + self.sockets[name])
        self.vsctl(*words)
        if self.vsctl("get", "Open_vSwitch", ".", "dpdk_initialized").strip() != "true":
            raise Failure("OVS has no DPDK: " + self.vswitchd.log_tail())
        for name in self.ports:
            wrong = self.vsctl("get", "Interface", name, "error").strip()
            if wrong not in ("[]", ""):
                raise Failure("OVS, port %s: %s" % (name, wrong))
        # its own end of the bridge takes no copies of floods
        self.ofctl("mod-port", "br0", "no-flood")
        for flow in self.flows:
            self.ofctl("add-flow", flow)

    def kill9(self):
        self.vswitchd.kill9()

    def stop(self):
        status = self.vswitchd.stop()
        self.database.stop()
        self.ns.delete()
        return status


class StorageDaemon:
    """qemu-storage-daemon with one image exported as a vhost-user-blk device."""

    def __init__(self, image, socket_path, queues=1, writable=True, start=True):
        need("qemu-storage-daemon")
        self.path = socket_path
        self.argv = ["qemu-storage-daemon", "--blockdev",
                     "driver=file,node-name=f0,filename=%s" % image, "--export",
                     "type=vhost-user-blk,id=e0,node-name=f0,addr.type=unix,addr.path=%s,"
                     "num-queues=%d,writable=%s" % (socket_path, queues, "on" if writable else "off")]
        self.process = None
        if start:
            self.start()

    def start(self):
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.process = Process("storage-daemon", self.argv)

        def listens():
            self.process.check_alive()
            return os.path.exists(self.path)
        wait_for("qemu-storage-daemon's socket", listens, 20)
        return self

    def kill9(self):
        self.process.kill9()

    def stop(self):
        return self.process.stop()


__all__ = ["NetVhost", "VirtioUser", "Ovs", "StorageDaemon", "OVS_LISTENS", "OVS_CONNECTS"]
