#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The notification protocol, modelled in notification.pml and searched by spin in all its states: no kick and no
call is lost; and each step of the protocol, left out, loses one. It knows nothing of the library's code."""
# tier: check, soak
# timeout: 7200

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

MODEL = Path(__file__).resolve().parent / "notification.pml"
SOAK = os.environ.get("VHU_TIER") == "soak"
# Two at once, as many as a small machine has processors; a long search takes some GiB.
JOBS = min(2, os.cpu_count() or 1)
DEPTH = 2_000_000  # steps of one path; the longest has some thousand
LAST_STEPS = 40    # of a path to an error, shown

KINDS = {
    "split_flags": (),
    "split_event_idx": ("EVENT_IDX",),
    "packed_flags": ("PACKED",),
    "packed_event_idx": ("PACKED", "EVENT_IDX"),
}
SPLIT_EVENT = ("split_event_idx",)
PACKED_EVENT = ("packed_event_idx",)
PACKED = ("packed_flags", "packed_event_idx")
SPLIT = ("split_flags", "split_event_idx")
# Where the four kinds differ in nothing that matters, two of them do, or one.
TWO = tuple(KINDS) if SOAK else ("split_event_idx", "packed_flags")
ONE = tuple(KINDS) if SOAK else ("split_event_idx",)

KICK = ("DEVICE_SLEEPS",)
CALL = ("DRIVER_SLEEPS",)
BOTH = KICK + CALL
WEAK = ("WEAK",)

# A promise, what is modelled, how many chains go through the ring (check, soak), which kinds of rings.
PROMISES = (
    ("kicks_and_calls_are_not_lost", BOTH, (4, 6), KINDS),
    ("nor_where_stores_and_loads_pass_each_other", BOTH + WEAK, (2, 4), KINDS),
    ("a_new_call_file_is_told_what_the_old_one_swallowed", CALL + ("NEW_CALL",), (3, 5), TWO),
    ("a_ring_stopped_and_started_looks_for_work", KICK + ("RESTART",), (3, 5), TWO),
    ("a_kick_at_the_start_alone_would_do", KICK + ("RESTART", "NO_LOOK_AT_CHANGE", "KICK_AT_START"), (2, 5), TWO),
    ("a_ring_stopped_and_started_with_a_new_call_file_calls", CALL + ("RESTART", "NEW_CALL"), (2, 5), TWO),
    ("a_device_that_takes_over_calls_for_the_dead_one", CALL + ("DEATH",), (3, 5), TWO),
)
LONG_PROMISES = (
    ("all_at_once", BOTH + ("RESTART", "NEW_CALL"), (3, 4), KINDS),
    ("all_at_once_where_stores_and_loads_pass_each_other", BOTH + WEAK + ("NEW_CALL",), (3, 3), KINDS),
)

# What is left out or spoilt, and what is modelled then: an error has to be found.
MUTANTS = (
    # The publishing side: publish, full barrier, look.
    ("NO_PUBLISH_BARRIER", KICK, TWO),
    ("NO_NOTIFY_BARRIER", CALL, TWO),
    # The waiting side: arm, full barrier, look, sleep.
    ("NO_DEVICE_ARM_BARRIER", KICK, TWO),
    ("NO_DRIVER_ARM_BARRIER", CALL, TWO),
    ("NO_DEVICE_LOOK", KICK, TWO),
    ("NO_DRIVER_LOOK", CALL, TWO),
    ("CLEARS_LATE", CALL, TWO),
    # Where one asks to be notified, and since when the other has not notified.
    ("KICK_EVENT_BEHIND", KICK, SPLIT_EVENT),
    ("KICK_EVENT_WITHOUT_WRAP", KICK, PACKED_EVENT),
    ("CALL_EVENT_WITHOUT_WRAP", CALL, PACKED_EVENT),
    ("SIGNALLED_AT_CALLS", CALL, PACKED_EVENT),
    # The control side.
    ("NO_CALL_AGAIN", CALL + ("NEW_CALL",), ONE),
    ("NO_CALL_AGAIN", CALL + ("DEATH",), ONE),
    ("NO_LOOK_AT_CHANGE", CALL + ("NEW_CALL",), ONE),
    ("NO_LOOK_AT_CHANGE", KICK + ("RESTART",), ONE),
    ("INDEX_TELLS_USE", CALL + ("RESTART", "NEW_CALL"), SPLIT if SOAK else ("split_flags",)),
    # Entries before their index; unneeded with total store order.
    ("NO_AVAIL_RELEASE", WEAK, TWO),
    ("NO_USED_RELEASE", WEAK, TWO),
    ("NO_AVAIL_ACQUIRE", WEAK, TWO),
    ("NO_USED_ACQUIRE", WEAK, TWO),
)
# These are found when indices or positions have been all the way round; all others with a chain or two.
WRAPPING = ("KICK_EVENT_WITHOUT_WRAP", "CALL_EVENT_WITHOUT_WRAP", "SIGNALLED_AT_CALLS", "INDEX_TELLS_USE")


class Trouble(Exception):
    """The search itself did not work: neither a promise kept nor an error found."""


def run(words, cwd):
    done = subprocess.run(words, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def path_to_error(folder, flags):
    """The last steps before the error, without those of the memory and of loops in one step."""
    _, out = run(["spin", "-t", "-p", "-k", MODEL.name + ".trail", *flags, str(MODEL)], folder)
    steps = [re.sub(r"^\s*(\d+):\s*proc\s+\d+ \((\w+):\d+\) \S*/(\S+) \(state \d+\)\s*", r"\1 \2 \3 ", line)
             for line in out.splitlines() if "\t[" in line]
    of_use = re.compile(r"notification\.pml:\d+ \[(?!\(1\)|\.\(|else|goto|break|assert)|"
                        r"\[mem\[|\[buf_(word|value)\[.*= [^0]")
    steps = [step for step in steps if of_use.search(step) and "sub-sequence" not in step]
    return [step[:110] for step in steps[-LAST_STEPS:]]


def search(defines, wants_path, is_short=False):
    """All states, or up to the first error: number of errors, of states, and the end of the path to an error."""
    flags = [f"-D{define}" for define in defines]
    with tempfile.TemporaryDirectory() as folder:
        status, out = run(["spin", "-a", *flags, str(MODEL)], folder)
        if status or "rror" in out:
            raise Trouble(f"spin: {out}")
        # A short search is over before an optimised one is compiled.
        compiler = ["gcc", "-O0" if is_short else "-O2" if SOAK else "-O1", "-w", "-DSAFETY", "-DVECTORSZ=512"]
        compiler += ["-DCOLLAPSE"] if SOAK and not is_short else []
        status, out = run([*compiler, "-o", "pan", "pan.c"], folder)
        if status:
            raise Trouble(f"gcc: {out}")
        _, out = run(["./pan", f"-m{DEPTH}", "-w20" if is_short else "-w23"], folder)
        errors = re.search(r"errors: (\d+)", out)
        states = re.search(r"([\d.e+]+) states, stored", out)
        if not errors or not states or "too small" in out or "out of memory" in out:
            raise Trouble(f"pan: {out}")
        path = path_to_error(folder, flags) if int(errors.group(1)) and wants_path else []
        return int(errors.group(1)), int(float(states.group(1))), path


def keeps(defines):
    errors, states, path = search(defines, True)
    return not errors, [f"{states} states"] + path


def loses(defines):
    errors, states, _ = search(defines, False, "INDEX_TELLS_USE" not in defines)
    return errors > 0, [f"{states} states" + ("" if errors else ", no error: the model does not see it")]


def cases():
    for name, defines, chains, kinds in PROMISES + (LONG_PROMISES if SOAK else ()):
        for kind in kinds:
            yield f"{name}: {kind}", keeps, KINDS[kind] + defines + (f"CHAINS={chains[SOAK]}",)
    for mutant, defines, kinds in MUTANTS:
        for kind in kinds:
            where = "_".join(d for d in defines if d not in BOTH).lower()
            name = f"without_it_the_model_fails: {mutant}: {kind}" + (f", {where}" if where else "")
            chains = 4 if mutant in WRAPPING else 2
            yield name, loses, KINDS[kind] + defines + (mutant, f"CHAINS={chains}")


def judge(case):
    name, deed, defines = case
    try:
        good, notes = deed(defines)
    except Trouble as trouble:
        good, notes = False, str(trouble).splitlines()
    return name, good, notes


def main():
    for program in ("spin", "gcc"):
        if not shutil.which(program):
            print(f"1..0 # SKIP {program} is not installed")
            return 0
    wanted = [case for case in cases() if not sys.argv[1:] or sys.argv[1] in case[0]]
    failed = 0
    print(f"1..{len(wanted)}", flush=True)
    with ThreadPoolExecutor(JOBS) as pool:
        for number, (name, good, notes) in enumerate(pool.map(judge, wanted), 1):
            failed += not good
            print(f"{'ok' if good else 'not ok'} {number} - {name}")
            for note in notes:
                print(f"# {note}")
            sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
