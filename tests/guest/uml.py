# SPDX-License-Identifier: MIT
"""User-mode Linux as a guest that runs commands: a process whose network device is a vhost-user
frontend with in-band notifications. It must not know what a test wants of it."""

import gzip
import os
import signal
import socket
import subprocess
import threading

from bench import Failure, Process, Skip, need, path_of, run
from machine import Guest, guest_image
from overlay import cpio

MODULES = "/usr/lib/uml/modules"
SHM = "/dev/shm"


def _modules(kernel, wanted):
    """The files of a module and of those that it needs, in the order in which they load."""
    release = run([kernel, "--version"]).strip()
    base = os.path.join(MODULES, release)
    try:
        with open(os.path.join(base, "modules.dep")) as table:
            for line in table:
                file, needs = line.rstrip("\n").split(":")
                if os.path.basename(file) == wanted + ".ko":
                    return [os.path.join(base, name) for name in reversed([file] + needs.split())]
    except OSError as error:
        raise Skip("no modules of user-mode Linux: %s" % error)
    raise Skip("user-mode Linux %s has no %s" % (release, wanted))


_image = None


def uml_image():
    """Kernel and initramfs: that of the other guests, with this kernel's modules laid over it."""
    global _image
    if _image is None:
        need("linux.uml")
        kernel = "linux.uml"
        files = _modules(kernel, "virtio_net")
        entries, order = [], ""
        for path in files:
            with open(path, "rb") as file:
                entries.append(("modules/" + os.path.basename(path), 0o100644, file.read()))
            order += os.path.basename(path)[:-len(".ko")] + "\n"
        entries.append(("modules/order", 0o100644, order.encode()))
        with open(guest_image()[1], "rb") as file:
            image = file.read()
        path = path_of("uml.img")
        with open(path, "wb") as file:
            file.write(image + gzip.compress(cpio(entries), 1))
        _image = kernel, path
    return _image


def need_shared_memory():
    """What user-mode Linux keeps its memory in has to be a tmpfs: nothing else is mapped."""
    found = subprocess.run(["stat", "-f", "-c", "%T", SHM], stdout=subprocess.PIPE, text=True)
    if found.stdout.strip() != "tmpfs" or not os.access(SHM, os.W_OK):
        raise Skip("%s is no tmpfs that can be written" % SHM)


_namespace = None


def namespace():
    """What a user-mode Linux is started with: a process namespace of its own, with which all of its
    processes end. They are traced, and would outlive the one that traces them."""
    global _namespace
    if _namespace is None:
        need("unshare")
        words = ["unshare", "--pid", "--fork", "--kill-child"]
        if os.geteuid():
            words += ["--user", "--map-root-user"]
        try:
            run(words + ["true"])
        except Failure as reason:
            raise Skip("no process namespace: %s" % reason)
        _namespace = words
    return _namespace


class _Namespace(Process):
    def stop(self, timeout=10):
        """Kills the first process in there, and with it all others; unshare ends behind them."""
        try:
            with open("/proc/%d/task/%d/children" % (self.pid, self.pid)) as children:
                for pid in children.read().split():
                    os.kill(int(pid), signal.SIGKILL)
            self.popen.wait(timeout)
        except (OSError, subprocess.TimeoutExpired):
            self.kill9()
        return self.popen.returncode


class UmlGuest(Guest):
    """One user-mode Linux. Its console is a socket of ours, on which it takes commands."""

    def __init__(self, name, path, ip="", mem=128):
        need_shared_memory()
        kernel, image = uml_image()
        self.name = self.label = name
        self.next_id = 0
        self.buffer = b""
        self.qmp_sock = None
        self.lock = threading.Lock()
        self.argv = namespace() + [
            kernel, "mem=%dM" % mem, "initrd=" + image, "con=null", "con0=fd:0,fd:1",
            "umid=" + name, "uml_dir=" + path_of("uml"), "quiet", "panic=-1", "cryptomgr.notests",
            "raid=noautodetect", "virtio_uml.device=%s:1" % path, "vhu.name=" + name,
            "vhu.ip=" + ip, "vhu.shell=tty0"]
        self.console, theirs = socket.socketpair()
        try:
            self.process = _Namespace("uml-" + name, self.argv, stdin=theirs.fileno(),
                                      stdout=theirs.fileno(), env=dict(os.environ, TMPDIR=SHM))
        finally:
            theirs.close()

    def connect_shell(self):
        if self.console is None:
            raise Failure("%s has been stopped" % self.label)
