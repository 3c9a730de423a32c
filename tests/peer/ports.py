# SPDX-License-Identifier: MIT
"""A switch with many ports, and the virtual machines behind them, which tests/peer/hold_ports.c plays. It must not know what
is looked at."""

import json
import os
import resource
import socket
import subprocess
import tempfile

from cases import BASE, VHU, Skip, at_end, check, running, wait_for

HOLDER = os.path.join(os.environ.get("VHU_BUILD") or os.path.dirname(VHU), "tests", "hold_ports")
FDS_A_PORT = 14  # of the frontend, which has more of them than the switch: one queue pair, the channel back


def ports_a_process():
    """How many ports the limit of open files allows in one process."""
    return (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 200) // FDS_A_PORT


class Switch:
    """vhu switch with ports p0, p1, ... whose sockets are named 0, 1, ... in its folder."""

    def __init__(self, *words, group=None):
        self.folder = tempfile.mkdtemp(dir=BASE)
        self.log = tempfile.TemporaryFile("w+", dir=BASE)
        self.group = group
        self.nr = 1
        ctl = os.path.join(self.folder, "ctl")
        self.process = self.start([VHU, "switch", "-q", "--ctl", ctl, "--port", self.spec(0), *words], stderr=self.log)
        self.ctl = socket.socket(socket.AF_UNIX)
        at_end(self.ctl.close)
        wait_for("the control socket", lambda: self.listens(ctl))
        self.lines = self.ctl.makefile("rw")
        self.machines = None

    def listens(self, ctl):
        check(self.process.poll() is None, "it ended:", self.said())
        try:
            self.ctl.connect(ctl)
        except OSError:  # no file yet, or nobody behind it yet
            return False
        return True

    def start(self, words, **how):
        process = subprocess.Popen(words, preexec_fn=self.group and self.group.enter, **how)
        running.append(process)
        return process

    def spec(self, i, options=""):
        return "p%d=vhost-user:%s/%d%s" % (i, self.folder, i, options)

    def ask(self, command, **more):
        self.lines.write(json.dumps({"command": command, **more}) + "\n")
        self.lines.flush()
        return json.loads(self.lines.readline())

    def add_ports(self, nr):
        for i in range(self.nr, self.nr + nr):
            said = self.ask("add-port", spec=self.spec(i))
            check("ok" in said, said)
        self.nr += nr

    def plug(self, nr):
        """Connects the first nr machines; later the next nr."""
        if not os.access(HOLDER, os.X_OK):
            raise Skip("%s has not been built" % HOLDER)
        if self.machines:
            said = self.tell("more %d" % nr)
        else:
            self.machines = self.start([HOLDER, self.folder, str(nr)], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True)
            said = self.machines.stdout.readline()
        check(said.startswith("ready"), said, self.said())

    def tell(self, line):
        self.machines.stdin.write(line + "\n")
        self.machines.stdin.flush()
        return self.machines.stdout.readline()

    def send(self, source, to):
        check(self.tell("send %d %d" % (source, to)) == "sent\n", "not taken:", self.said())

    def arrives(self, to, source):
        check(self.tell("take %d %d" % (to, source)) == "taken\n", "no frame at", to, self.said())

    def said(self):
        self.log.seek(0)
        return self.log.read()
