# SPDX-License-Identifier: MIT
"""A machine in which `vhu vm` has a KVM: a guest whose emulated processor has one, with the command
and all that it needs, and the guests in that guest. It must not know what a test wants of them."""

import glob
import os
import re
import shutil
import socket
import struct
import subprocess
import threading

from bench import VHU, Failure, Skip, path_of, wait_for
from machine import Guest, guest_image
from overlay import Overlay

# in the outer guest: the kernel as Debian has it, the same unpacked, the inner guests' initramfs
KERNEL, PVH_KERNEL, INITRD = "/vm/kernel", "/vm/vmlinux", "/vm/initrd"
# what testpmd is not linked with
DPDK_DRIVERS = ("librte_net_vhost", "librte_mempool_ring")
# one with SVM; its XSAVE is not intercepted, and the inner guest's would be the outer one's
CPU = "EPYC,-xsave"
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
            if all(name in found for name in MODULES + ("virtio_blk",)):
                return found
    raise Skip("kernel %s has no modules of KVM" % release)


def pvh_kernel(kernel):
    """The ELF image that a bzImage unpacks itself to; None where nobody here can."""
    with open(kernel, "rb") as file:
        image = file.read()
    offset, length = struct.unpack_from("<II", image, 0x248)
    begin = (image[0x1f1] + 1) * 512 + offset
    # what packed it, by its first bytes; its last four are the size, which are not part of it
    for magic, argv in ((b"\x02\x21\x4c\x18", ["lz4", "-dc"]), (b"\xfd7zX", ["xz", "-dc"]),
                        (b"\x28\xb5\x2f\xfd", ["zstd", "-dc"]), (b"\x1f\x8b", ["gzip", "-dc"])):
        if image[begin:].startswith(magic) and shutil.which(argv[0]):
            done = subprocess.run(argv, input=image[begin:begin + length - 4],
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            if not done.returncode and done.stdout.startswith(b"\x7fELF"):
                return done.stdout
    return None


def _add_testpmd(overlay):
    testpmd = shutil.which("dpdk-testpmd")
    if not testpmd:
        return
    overlay.program("bin/dpdk-testpmd", testpmd)
    # drivers are loaded by name: any folder does
    for name in DPDK_DRIVERS:
        found = glob.glob("/usr/lib/*/%s.so.[0-9][0-9]" % name) + \
            glob.glob("/usr/lib/*/dpdk/pmds-*/%s.so.[0-9][0-9]" % name)
        if found:
            overlay.program("vm/dpdk/" + os.path.basename(found[0]), found[0])


def _archive_behind(path, overlay):
    """An initramfs with an archive behind it."""
    with open(path, "rb") as file:
        image = file.read()
    # one that is not packed has to begin at a multiple of four
    return image + b"\0" * (-len(image) % 4) + overlay.archive()


_image = None


def host_image():
    """The initramfs of the outer guest: that of all guests, and what is laid over it."""
    global _image
    if _image is None:
        if not os.access(VHU, os.X_OK):
            raise Failure("%s is not built" % VHU)
        kernel, initrd = guest_image()
        modules = _modules(kernel)
        inner = Overlay()
        inner.file("vm/virtio_blk.ko", modules["virtio_blk"])
        overlay = Overlay()
        overlay.program("bin/vhu", VHU)
        overlay.file(KERNEL, kernel)
        unpacked = pvh_kernel(kernel)
        if unpacked:
            overlay.content(PVH_KERNEL, unpacked)
        overlay.content(INITRD, _archive_behind(initrd, inner))
        for name in MODULES:
            overlay.file("vm/%s.ko" % name, modules[name])
        _add_testpmd(overlay)
        storage = shutil.which("qemu-storage-daemon")
        if storage:
            overlay.program("bin/qemu-storage-daemon", storage)
        _image = path_of("vm-host.img")
        with open(_image, "wb") as file:
            file.write(_archive_behind(initrd, overlay))
    return _image


class VmHost(Guest):
    """The outer guest. Its guests' consoles are serial ports of its own, which we reach by sockets. It has one
    processor: with two, both stood still within kvm-amd now and then when the machine was busy with other things."""

    def __init__(self, name="host", consoles=2, mem=1536, smp=1):
        self.console_paths = [path_of("%s.c%d" % (name, i)) for i in range(consoles)]
        extra = []
        for i, path in enumerate(self.console_paths):
            extra += ["-chardev", "socket,id=vc%d,server=on,wait=off,path=%s" % (i, path),
                      "-device", "virtserialport,bus=vs0.0,chardev=vc%d,name=vm.%d" % (i, i)]
        super().__init__(name, [], mem=mem, smp=smp, cpu=CPU, initrd=host_image(), extra=extra)

    def ready(self, timeout=180):
        super().ready(timeout)
        for name in MODULES[:2]:
            self.run("insmod /vm/%s.ko" % name)
        self.run("insmod /vm/kvm-amd.ko || insmod /vm/kvm-intel.ko")
        self.run("test -c /dev/kvm")
        return self


class VmGuest(Guest):
    """A guest of `vhu vm` in the outer guest; its serial console takes the commands."""

    def __init__(self, host, number, devices, ip="", mem=160, smp=1, kernel=KERNEL,
                 append="", args=""):
        self.host = host
        self.number = number  # of its console
        self.name = self.label = self.tag = "vm%d" % number
        self.next_id = 0
        self.buffer = b""
        self.qmp_sock = None
        self.lock = threading.Lock()
        self.console = None
        self.process = host.process
        append = ("console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check mitigations=off "
                  "rcupdate.rcu_expedited=1 cryptomgr.notests vhu.shell=ttyS0 vhu.name=%s vhu.ip=%s %s"
                  % (self.name, ip, append))
        self.command = "vhu vm --kernel %s --initrd %s --mem %dM --cpus %d --append '%s' %s %s" % (
            kernel, INITRD, mem, smp, append, " ".join(devices), args)
        self.start()

    def start(self):
        self.connect_shell()
        self.buffer = b""
        self.host.background(
            "for p in /sys/class/virtio-ports/*; do [ $(cat $p/name) != vm.%d ] || "
            "exec 3<>/dev/${p##*/}; done; echo $$ >/tmp/%s.pid; exec %s <&3 >&3" %
            (self.number, self.tag, self.command), self.tag)

    def connect_shell(self):
        if self.console is None:
            self.console = socket.socket(socket.AF_UNIX)
            self.console.connect(self.host.console_paths[self.number])

    def ready(self, timeout=120):
        try:
            return super().ready(timeout)
        except Failure as reason:
            raise Failure("%s; `vhu vm` said: %s; exits: %s, then %s" %
                          (reason, self.said()[-600:], self.exits(), self.exits()))

    def said(self):
        """What `vhu vm` itself said so far."""
        return self.host.run("cat /tmp/" + self.tag)

    def ended(self, timeout=60):
        """Waits for the end of `vhu vm`; returns its status and what it said."""
        return self.host.output(self.tag, timeout)

    def signal(self, name):
        self.host.run("kill -%s $(cat /tmp/%s.pid)" % (name, self.tag))

    def exits(self):
        """How often its vCPUs came back to `vhu vm` so far: {"port": ..., "mmio": ...}."""
        before = self.said().count("exits:")
        self.signal("USR1")
        said = wait_for("the exits of " + self.name, lambda: self._exits_after(before), 20, 0.1)
        return {kind: int(number) for kind, number in re.findall(r"(\w+) (\d+)", said)}

    def _exits_after(self, before):
        said = re.findall(r"exits: (.*)", self.said())
        return said[-1] if len(said) > before else None

    def stop(self):
        if self.console:
            self.console.close()
            self.console = None
