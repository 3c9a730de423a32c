# SPDX-License-Identifier: MIT
"""How much memory processes and the kernel use. It must not know what for."""

import os
import signal

from cases import at_end, wait_for


def meminfo():
    """/proc/meminfo, in KiB."""
    with open("/proc/meminfo", encoding="ascii") as lines:
        return {line.split(":")[0]: int(line.split()[1]) for line in lines}


def private_kib(pid):
    """What the process has for itself alone, and its page tables; what it shares with others is theirs too."""
    found = 0
    with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as lines:
        found += sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Dirty", "Private_Clean")))
    with open("/proc/%d/status" % pid, encoding="ascii") as lines:
        found += sum(int(line.split()[1]) for line in lines if line.startswith("VmPTE"))
    return found


class Group:
    """A control group, whose kernel objects are counted apart from those of the rest of the machine; without one, those of
    the whole machine are, and others disturb the count."""

    def __init__(self, name):
        self.path = None
        for base, usage in (("/sys/fs/cgroup/memory", "memory.kmem.usage_in_bytes"), ("/sys/fs/cgroup", "memory.stat")):
            path = os.path.join(base, "%s-%d" % (name, os.getpid()))
            try:
                os.mkdir(path)
            except OSError:
                continue
            if os.path.exists(os.path.join(path, usage)):
                self.path, self.usage = path, usage
                at_end(self.remove)
                return
            os.rmdir(path)

    def enter(self):
        """Of the calling process, and what it starts."""
        if self.path:
            with open(os.path.join(self.path, "cgroup.procs"), "w", encoding="ascii") as procs:
                procs.write("0")

    def members(self):
        with open(os.path.join(self.path, "cgroup.procs"), encoding="ascii") as procs:
            return [int(pid) for pid in procs]

    def remove(self):
        """Ends who is in it: nobody else can be."""
        for pid in self.members():
            os.kill(pid, signal.SIGKILL)
        wait_for("the group to be empty", lambda: not self.members())
        os.rmdir(self.path)

    def kernel_kib(self):
        if not self.path:
            seen = meminfo()
            return seen["Slab"] + seen["KernelStack"] + seen["Percpu"]
        with open(os.path.join(self.path, self.usage), encoding="ascii") as text:
            if self.usage != "memory.stat":
                return int(text.read()) // 1024
            return next(int(line.split()[1]) for line in text if line.startswith("kernel ")) // 1024
