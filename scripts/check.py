#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Builds, finds and runs all tests and counts their TAP cases; it knows nothing of what they test.

A test says what it is in comments among its first 30 lines:
    tier: fast | check | soak   (one or more words; a test without is of tier check)
    timeout: 300                (seconds; without sanitizer)
    tsan                        (a C test that is run under ThreadSanitizer too)
Last line: "N passed, N failed, N skipped". A program that dies, hangs or stops before its plan is done is a failure.
"""

import argparse
import concurrent.futures
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TIERS = ("fast", "check", "soak")
# Most of a test's time is waiting for deadlines and peers: more of them than processors.
C_JOBS = 4
KILL_GRACE = 10

# Sanitized programs are slower; the factor is for the time limit.
VARIANTS = {
    "plain": {"target": "all", "dir": None, "slower": 1},
    "asan": {"target": "asan", "dir": "build-asan", "slower": 5},
    "tsan": {"target": "tsan", "dir": "build-tsan", "slower": 10},
}
SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "halt_on_error=0:second_deadlock_stack=1",
}

# Memory that is freed into a thread's cache still counts as used in mallinfo2(): leak counts go without it.
LIBC_ENV = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}

# Checks of the sources that are tests too: name, tier, time limit, command.
SOURCE_CHECKS = (
    ("source/lists", "fast", 30, ["scripts/sources.py"]),
    ("source/rooms", "fast", 30, ["scripts/rooms-check.py"]),
    ("source/rooms_can_fail", "fast", 30, ["scripts/rooms-check.py", "--selftest"]),
    ("source/abi", "fast", 60, ["scripts/abi-check.py", "{build}"]),
    ("source/abi_can_fail", "fast", 60, ["scripts/abi-check.py", "--selftest", "{build}"]),
    ("source/runner_can_fail", "fast", 60, ["scripts/check.py", "--selftest"]),
    ("source/lint_rules", "fast", 30, ["scripts/lint.sh", "rules"]),
    ("source/format", "fast", 60, ["scripts/lint.sh", "format"]),
    ("source/clang_build", "check", 900, ["make", "--no-print-directory", "clang"]),
    ("source/install", "check", 900, ["scripts/install-check.sh"]),
    ("source/tidy", "check", 900, ["scripts/lint.sh", "tidy", "lib", "vmm", "tools"]),
    ("source/cppcheck", "check", 900, ["scripts/lint.sh", "cppcheck"]),
)


@dataclass
class Test:
    name: str
    command: list
    tiers: tuple
    timeout: float
    tap: bool = True
    env: dict = field(default_factory=dict)


@dataclass
class Result:
    passed: int = 0
    failed: int = 0
    skips: list = field(default_factory=list)
    trouble: str = ""
    output: str = ""
    seconds: float = 0


class Tap:
    """Counts the cases of one program's output. It takes cmocka 1.1.5's dialect: indented, several
    plans, and a skip as "not ok N # SKIP name"."""

    CASE = re.compile(r"\s*(not )?ok\b(?:\s+(\d+))?\s*(?:-\s*)?(.*)$")
    PLAN = re.compile(r"\s*1\.\.(\d+)\s*(?:#\s*(.*))?$")

    def __init__(self, text):
        self.passed = 0
        self.failed = 0
        self.skips = []
        self.planned = None
        self.bail = None
        for line in text.splitlines():
            self.take(line)

    def take(self, line):
        if line.lstrip().startswith("Bail out!"):
            self.bail = line.strip()
            return
        plan = self.PLAN.match(line)
        if plan:
            count, note = int(plan.group(1)), plan.group(2) or ""
            self.planned = (self.planned or 0) + count
            if count == 0:
                self.skips.append(re.sub(r"(?i)^skip\w*:?\s*", "", note) or "no reason given")
                self.planned += 1
            return
        case = self.CASE.match(line)
        if not case:
            return
        text = case.group(3)
        skip = re.search(r"#\s*skip\w*:?\s*(.*)$", text, re.I)
        if skip:
            name = text[: skip.start()].strip()
            self.skips.append(": ".join(filter(None, (name, skip.group(1).strip()))))
        elif case.group(1):
            self.failed += 1
        else:
            self.passed += 1

    def seen(self):
        return self.passed + self.failed + len(self.skips)


class Children:
    """The process groups that run now, so that an interrupted run leaves none behind."""

    def __init__(self):
        self.lock = threading.Lock()
        self.running = set()
        self.stopping = False

    def run(self, command, env, timeout):
        """Returns the exit status (None: out of time), the output and the seconds it took."""
        began = time.monotonic()
        with tempfile.TemporaryFile() as out:
            with self.lock:
                if self.stopping:
                    return -signal.SIGTERM, "", 0
                child = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL,
                                         stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
                self.running.add(child)
            try:
                status = child.wait(timeout)
            except subprocess.TimeoutExpired:
                status = None
                self.end(child)
            with self.lock:
                self.running.discard(child)
            # What the program may have left in its group has no business after its end.
            signal_group(child, signal.SIGKILL)
            out.seek(0)
            text = out.read().decode("utf-8", "replace")
        return status, text, time.monotonic() - began

    @staticmethod
    def end(child):
        """First politely: a test has guests to stop and files to remove."""
        signal_group(child, signal.SIGTERM)
        try:
            child.wait(KILL_GRACE)
        except subprocess.TimeoutExpired:
            signal_group(child, signal.SIGKILL)
            child.wait()

    def end_all(self):
        with self.lock:
            self.stopping = True
            left = list(self.running)
        for child in left:
            signal_group(child, signal.SIGTERM)
        for child in left:
            self.end(child)


def signal_group(child, number):
    try:
        os.killpg(child.pid, number)
    except (ProcessLookupError, PermissionError):
        pass


class Screen:
    def __init__(self, verbose):
        self.tty = sys.stdout.isatty()
        self.verbose = verbose
        self.lock = threading.Lock()

    def colour(self, code, text):
        return f"\033[{code}m{text}\033[0m" if self.tty else text

    def note(self, text):
        """What goes on now; overwritten by the next line, and only for people."""
        if self.tty:
            with self.lock:
                sys.stdout.write(f"\r\033[K{text[:78]}")
                sys.stdout.flush()

    def line(self, text):
        with self.lock:
            print(("\r\033[K" if self.tty else "") + text, flush=True)

    def result(self, test, result):
        bad = result.failed
        word, code = ("FAIL", 31) if bad else ("ok  ", 32) if result.passed else ("skip", 33)
        parts = [f"{result.passed} passed"]
        parts += [f"{bad} failed"] if bad else []
        parts += [f"{len(result.skips)} skipped"] if result.skips else []
        text = f"{self.colour(code, word)} {test.name:<44} {', '.join(parts)} ({result.seconds:.1f} s)"
        if bad or self.verbose:
            text += "\n" + "".join(f"    {line}\n" for line in result.output.splitlines())
            text += f"    -> {result.trouble}\n" if result.trouble else ""
            text = text.rstrip("\n")
        self.line(text)


class Runner:
    def __init__(self, args):
        self.args = args
        self.build = Path(args.build).resolve()
        self.wanted_tiers = {"fast": {"fast"}, "check": {"fast", "check"}, "soak": {"soak"}}[args.tier]
        self.children = Children()
        self.screen = Screen(args.verbose)
        self.results = []
        self.exact = any(args.only in self.short_names(name) for name in self.all_names())

    # Which tests there are

    def wants(self, name, tiers):
        """A whole name (with or without folder and test_) is that test of any tier; a part of one, those of the tier."""
        only = self.args.only
        if only and self.exact:
            return only in self.short_names(name)
        return bool(self.wanted_tiers & set(tiers)) and (not only or only in name)

    @staticmethod
    def short_names(name):
        stem = name.split("/")[-1]
        return {name, stem, stem.removeprefix("test_")}

    @staticmethod
    def all_names():
        scripts = (ROOT / "tests").glob("*/test_*.[cp]*")
        return {f"{p.parent.name}/{p.stem}" for p in scripts} | {check[0] for check in SOURCE_CHECKS}

    def tier_for(self, tiers):
        """What a test that adapts its counts is told: the highest wanted tier that it knows, or its lowest."""
        known = [t for t in TIERS if t in tiers]
        wanted = [t for t in known if t in self.wanted_tiers]
        return (wanted or known[::-1])[-1]

    def environment(self, tiers, build):
        env = dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP", PYTHONUNBUFFERED="1",
                   PYTHONDONTWRITEBYTECODE="1", VHU=str(self.build / "vhu"),
                   VHU_ASAN=str(ROOT / "build-asan" / "vhu"), VHU_BUILD=str(build),
                   VHU_TIER=self.tier_for(tiers))
        for name, value in (SANITIZER_ENV | LIBC_ENV).items():
            env.setdefault(name, value)
        return env

    def describe(self, path):
        """Tiers, time limit (0: not said) and whether it is for TSan, from the head of a test's source."""
        head = "".join(path.open(encoding="utf-8", errors="replace").readlines()[:30])
        tiers = re.search(r"^\W*tier:\s*([\w ,]+)", head, re.M)
        tiers = tuple(t for t in re.findall(r"\w+", tiers.group(1)) if t in TIERS) if tiers else ()
        limit = re.search(r"^\W*timeout:\s*(\d+)", head, re.M)
        tsan = re.search(r"^\s*/?\*\s*tsan\b", head, re.M)
        return tiers or ("check",), int(limit.group(1)) if limit else 0, bool(tsan)

    def c_tests(self, variant):
        what = VARIANTS[variant]
        build = ROOT / what["dir"] if what["dir"] else self.build
        prefix = ["setarch", os.uname().machine, "-R"] if variant == "tsan" and self.can_fix_layout() else []
        for directory in ("unit", "pair"):
            for source in sorted((ROOT / "tests" / directory).glob("test_*.c")):
                tiers, limit, tsan = self.describe(source)
                name = f"{directory}/{source.stem}"
                if (variant == "tsan" and not tsan) or not self.wants(name, tiers):
                    continue
                name += "" if variant == "plain" else f" [{variant}]"
                program = build / "tests" / f"{directory}_{source.stem}"
                yield Test(name, prefix + [str(program)], tiers, (limit or 60) * what["slower"],
                           env=self.environment(tiers, build))

    @staticmethod
    def can_fix_layout():
        """TSan of gcc 12 dies on kernels that spread addresses wider than it knows."""
        try:
            command = ["setarch", os.uname().machine, "-R", "true"]
            return subprocess.run(command, check=False, capture_output=True).returncode == 0
        except OSError:
            return False

    def script_tests(self):
        for directory in ("unit", "pair", "model", "peer", "guest"):
            for source in sorted((ROOT / "tests" / directory).glob("test_*.py")):
                tiers, limit, _ = self.describe(source)
                name = f"{directory}/{source.stem}"
                if self.wants(name, tiers):
                    yield Test(name, [sys.executable, str(source)], tiers, limit or 300,
                               env=self.environment(tiers, self.build))

    def source_checks(self):
        for name, tier, limit, command in SOURCE_CHECKS:
            if self.wants(name, (tier,)):
                command = [part.format(build=self.build) for part in command]
                yield Test(name, command, (tier,), limit, tap=False,
                           env=self.environment((tier,), self.build))

    # Running them

    def run_one(self, test):
        self.screen.note(f"... {test.name}")
        result = Result()
        status, result.output, result.seconds = self.run_command(test)
        if test.tap:
            self.judge_tap(result, status)
        elif status == 0:
            result.passed = 1
        elif status == 77:
            result.skips.append((result.output.strip().splitlines() or ["no reason given"])[-1])
        else:
            result.failed = 1
            result.trouble = self.ending(status, test)
        self.results.append((test, result))
        self.screen.result(test, result)

    def run_command(self, test):
        try:
            return self.children.run(test.command, test.env, test.timeout)
        except OSError as error:
            return 127, str(error), 0

    @staticmethod
    def ending(status, test):
        if status is None:
            return f"out of time after {test.timeout:.0f} s"
        return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"

    def judge_tap(self, result, status):
        tap = Tap(result.output)
        result.passed, result.failed, result.skips = tap.passed, tap.failed, tap.skips
        if status is None:
            trouble = f"out of time after {result.seconds:.0f} s"
        elif status < 0:
            trouble = f"killed by {signal.Signals(-status).name}"
        elif tap.bail:
            trouble = tap.bail
        elif status == 77 and tap.planned is None and tap.seen() == 0:
            result.skips.append((result.output.strip().splitlines() or ["no reason given"])[-1])
            return
        elif tap.planned is None:
            trouble = f"no TAP plan; exit status {status}"
        elif tap.planned != tap.seen():
            trouble = f"{tap.planned} cases planned, {tap.seen()} seen; exit status {status}"
        elif status != 0 and tap.failed == 0:
            trouble = f"all cases are ok, but the exit status is {status}"
        else:
            return
        # The program's own end is one more failure beside the cases that it reported.
        result.failed += 1
        result.trouble = trouble

    def make(self, target):
        """One build; a failed one counts as a failed test, so that the last line tells of it."""
        self.screen.note(f"... building: make {target}")
        limit = 1800
        test = Test(f"make {target}", ["make", "--no-print-directory", f"BUILD={self.args.build}", target],
                    ("fast",), limit, tap=False, env=dict(os.environ))
        status, output, seconds = self.run_command(test)
        if status == 0:
            told = f"\n{output.rstrip()}" if self.args.verbose else ""
            self.screen.line(f"     {test.name} ({seconds:.1f} s){told}")
            return True
        result = Result(failed=1, output=output, seconds=seconds, trouble=self.ending(status, test))
        self.results.append((test, result))
        self.screen.result(test, result)
        return False

    def run_c_tests(self):
        """All builds first, then all programs in one pool, the slow variants ahead. False: nothing was built."""
        found = {variant: list(self.c_tests(variant)) for variant in VARIANTS}
        tests = []
        for variant, mine in found.items():
            if mine or variant == "plain":
                if self.make(VARIANTS[variant]["target"]):
                    tests = mine + tests
                elif variant == "plain":
                    return False
        with concurrent.futures.ThreadPoolExecutor(C_JOBS) as pool:
            try:
                for future in [pool.submit(self.run_one, test) for test in tests]:
                    future.result()
            except KeyboardInterrupt:
                self.children.end_all()
                pool.shutdown(cancel_futures=True)
                raise
        return True

    def run(self):
        if self.run_c_tests():
            for test in list(self.source_checks()) + list(self.script_tests()):
                self.run_one(test)
        return self.sum_up()

    def sum_up(self):
        passed = sum(r.passed for _, r in self.results)
        failed = sum(r.failed for _, r in self.results)
        skips = [(t.name, reason) for t, r in self.results for reason in r.skips]
        if not self.results:
            self.screen.line(f"no test matches {self.args.only!r}" if self.args.only else "no tests")
            failed = 1
        for name, reason in skips:
            self.screen.line(f"skipped: {name}: {reason}")
        for test, result in self.results:
            if result.failed:
                self.screen.line(f"failed: {test.name}" + (f": {result.trouble}" if result.trouble else ""))
        self.screen.line(f"{passed} passed, {failed} failed, {len(skips)} skipped")
        return 1 if failed else 0


# What programs may do (in Python), and what has to be counted: passed, failed, skipped.
SELFTESTS = (
    ("print('1..2\\nok 1 - a\\nok 2 - b')", (2, 0, 0)),
    ("print('\\t1..2\\n\\tok 1 - a\\n\\tnot ok 2 # SKIP b')", (1, 0, 1)),
    ("print('1..2\\nok 1 - a\\nnot ok 2 - b')", (1, 1, 0)),
    ("print('1..1\\nok 1\\n1..1\\nok 1')", (2, 0, 0)),
    ("print('ok 1\\nok 2\\n1..2')", (2, 0, 0)),
    ("print('1..0 # SKIP no guest')", (0, 0, 1)),
    ("print('no root'); raise SystemExit(77)", (0, 0, 1)),
    ("print('ok 1')", (1, 1, 0)),
    ("print('1..2\\nok 1')", (1, 1, 0)),
    ("print('1..1\\nok 1\\nok 2')", (2, 1, 0)),
    ("print('1..1\\nok 1'); raise SystemExit(1)", (1, 1, 0)),
    ("print('1..1\\nBail out! no memory')", (0, 1, 0)),
    ("print('1..1\\nok 1', flush=True); import os; os.abort()", (1, 1, 0)),
    ("print('1..1', flush=True); import time; time.sleep(60)", (0, 1, 0)),
    ("pass", (0, 1, 0)),
)


def selftest(runner):
    """Runs programs that end in every way that there is, and looks how they were counted."""
    wrong = 0
    for code, wanted in SELFTESTS:
        test = Test("selftest", [sys.executable, "-c", code], ("fast",), 2, env=dict(os.environ))
        result = Result()
        status, result.output, result.seconds = runner.run_command(test)
        runner.judge_tap(result, status)
        counted = (result.passed, result.failed, len(result.skips))
        if counted != wanted:
            wrong += 1
            print(f"counted {counted}, not {wanted}: {code}")
    print(f"{len(SELFTESTS)} programs, {wrong} miscounted")
    return 1 if wrong else 0


def raise_open_files(wanted=65536):
    """Both ends of a device with 256 rings are in one test program: more files than most shells allow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def interrupted(number, _frame):
    raise KeyboardInterrupt(number)


def main():
    parser = argparse.ArgumentParser(description="build and run the tests")
    parser.add_argument("--tier", choices=TIERS, default="check")
    parser.add_argument("--build", default="build", help="folder of the plain build")
    parser.add_argument("--only", help="only the test of this name, or tests with it in their name")
    parser.add_argument("--verbose", action="store_true", help="show all output")
    parser.add_argument("--selftest", action="store_true", help="look whether failures are counted")
    args = parser.parse_args()
    runner = Runner(args)
    raise_open_files()
    signal.signal(signal.SIGTERM, interrupted)
    try:
        return selftest(runner) if args.selftest else runner.run()
    except KeyboardInterrupt:
        runner.children.end_all()
        runner.screen.line("interrupted")
        return 130


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
