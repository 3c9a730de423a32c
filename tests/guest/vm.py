# SPDX-License-Identifier: MIT
"""A machine in which `vhu vm` has a KVM: a guest whose emulated processor has one, with the command
and all that it needs, and the guests in that guest. It must not know what a test wants of them."""

import glob
import os
import shutil
import socket
import threading

from bench import VHU, Failure, Skip, path_of
from machine import Guest, guest_image
from overlay import Overlay

KERNEL, INITRD = "/vm/kernel", "/vm/initrd"
DPDK_DRIVERS = ("librte_net_vhost", "librte_mempool_ring", "librte_bus_vdev")
# KVM's modules, those first that others need; one of the last two finds its processor
MODULES = ("irqbypass", "kvm", "kvm-amd", "kvm-intel")


def _modules(kernel):
    """Where the modules of a kernel are that was unpacked beside its boot folder."""
    release = os.path.basename(kernel).partition("-")[2]
    for root in (os.path.dirname(os.path.dirname(kernel)), "/"):
        for base in ("lib/modules", "usr/lib/modules"):
            found = {}
            for path in glob.glob(os.path.join(root, base, release, "kernel", "**", "*.ko"),
                                  recursive=True):
                found[os.path.basename(path)[:-len(".ko")]] = path
            if all(name in found for name in MODULES):
                return found
    raise Skip("kernel %s has no modules of KVM" % release)


def _add_testpmd(overlay):
    testpmd = shutil.which("dpdk-testpmd")
    if not testpmd:
        return
    overlay.program("bin/dpdk-testpmd", testpmd)
    # drivers are loaded by name: any folder does
    for name in DPDK_DRIVERS:
        for path in glob.glob("/usr/lib/x86_64-linux-gnu/%s.so.??" % name) + \
                glob.glob("/usr/lib/x86_64-linux-gnu/dpdk/pmds-*/%s.so.??" % name):
            overlay.program("vm/dpdk/" + os.path.basename(path), path)
            break


_image = None


def host_image():
    """The initramfs of the outer guest: that of all guests, and what is laid over it."""
    global _image
    if _image is None:
        if not os.access(VHU, os.X_OK):
            raise Failure("%s is not built" % VHU)
        kernel, initrd = guest_image()
        modules = _modules(kernel)
        overlay = Overlay()
        overlay.program("bin/vhu", VHU)
        overlay.file(KERNEL, kernel)
        overlay.file(INITRD, initrd)
        for name in MODULES:
            overlay.file("vm/%s.ko" % name, modules[name])
        _add_testpmd(overlay)
        for program in ("qemu-storage-daemon",):
            if shutil.which(program):
                overlay.program("bin/" + program, shutil.which(program))
        with open(initrd, "rb") as file:
            image = file.read()
        # an archive that is not packed has to begin at a multiple of four
        _image = path_of("vm-host.img")
        with open(_image, "wb") as file:
            file.write(image + b"\0" * (-len(image) % 4) + overlay.archive())
    return _image


class VmHost(Guest):
    """The outer guest. Its guests' consoles are serial ports of its own, which we reach by sockets."""

    def __init__(self, name="host", consoles=2, mem=1536, smp=2):
        self.console_paths = [path_of("%s.c%d" % (name, i)) for i in range(consoles)]
        extra = []
        for i, path in enumerate(self.console_paths):
            extra += ["-chardev", "socket,id=vc%d,server=on,wait=off,path=%s" % (i, path),
                      "-device", "virtserialport,bus=vs0.0,chardev=vc%d,name=vm.%d" % (i, i)]
        super().__init__(name, [], mem=mem, smp=smp, cpu="EPYC", initrd=host_image(), extra=extra)

    def ready(self, timeout=180):
        super().ready(timeout)
        for name in MODULES[:2]:
            self.run("insmod /vm/%s.ko" % name)
        self.run("insmod /vm/kvm-amd.ko || insmod /vm/kvm-intel.ko")
        self.run("test -c /dev/kvm")
        return self


class VmGuest(Guest):
    """A guest of `vhu vm` in the outer guest; its serial console takes the commands."""

    def __init__(self, host, number, nets, ip="", mem=160, smp=1, append="", args=""):
        self.host = host
        self.name = self.label = "vm%d" % number
        self.tag = self.name
        self.next_id = 0
        self.buffer = b""
        self.qmp_sock = None
        self.lock = threading.Lock()
        self.console = None
        self.process = host.process
        self.console_path = host.console_paths[number]
        append = ("console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check mitigations=off "
                  "rcupdate.rcu_expedited=1 cryptomgr.notests vhu.shell=ttyS0 vhu.name=%s "
                  "vhu.ip=%s %s" % (self.name, ip, append)).strip()
        self.command = "vhu vm --kernel %s --initrd %s --mem %dM --cpus %d --append '%s' %s%s" % (
            KERNEL, INITRD, mem, smp, append, "".join("--net '%s' " % net for net in nets), args)
        self.start()

    def start(self):
        self.connect_shell()
        self.buffer = b""
        self.host.background(
            "for p in /sys/class/virtio-ports/*; do [ $(cat $p/name) != vm.%s ] || "
            "exec 3<>/dev/${p##*/}; done; exec %s <&3 >&3" % (self.name[2:], self.command), self.tag)

    def connect_shell(self):
        if self.console is None:
            self.console = socket.socket(socket.AF_UNIX)
            self.console.connect(self.console_path)

    def check(self):
        """Failure unless its `vhu vm` still runs."""
        if self.host.finished(self.tag):
            raise Failure("%s: `vhu vm` ended: %s" % (self.name, self.host.output(self.tag)))

    def ended(self, timeout=60):
        """Waits for the end of `vhu vm`; returns its status and what it said."""
        return self.host.output(self.tag, timeout)

    def pid(self):
        """Of `vhu vm`, in the outer guest."""
        return int(self.host.run("pgrep -f 'vhu vm .*vhu.name=%s ' | head -n 1" % self.name))

    def stop(self):
        if self.console:
            self.console.close()
            self.console = None
