# SPDX-License-Identifier: MIT
"""What every test here stands on: waiting, processes, cleaning up at any end, TAP. It must not know
of guests or switches."""

import atexit
import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("VHU_BUILD") or os.path.join(ROOT, "build")
VHU = os.environ.get("VHU") or os.path.join(BUILD, "vhu")
# Everything slow is waited for by looking, up to a limit; a slow machine may stretch the limits.
PATIENCE = float(os.environ.get("VHU_PATIENCE", "1"))

os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


class Failure(Exception):
    """Something that was to happen did not."""


class Skip(Exception):
    """The machine lacks what this needs."""


def need(*programs):
    """Raises Skip unless every program is there."""
    for prog in programs:
        if not shutil.which(prog):
            raise Skip("no %s here" % prog)


def wait_for(what, look, timeout=30.0, every=0.02):
    """Looks until it is true, and returns what was seen; Failure when the time is up."""
    end = time.monotonic() + timeout * PATIENCE
    while True:
        seen = look()
        if seen:
            return seen
        check_watched()
        if time.monotonic() > end:
            raise Failure("waited %.0f s in vain: %s" % (timeout * PATIENCE, what))
        time.sleep(every)


_cleanups = []
_tmp = None
_libc = ctypes.CDLL(None, use_errno=True)


def at_end(deed, last=False):
    """Remembers a deed for the end of the program; the last remembered is done first, but for
    those that are to be last of all."""
    if last:
        _cleanups.insert(0, deed)
    else:
        _cleanups.append(deed)


def clean_up():
    while _cleanups:
        deed = _cleanups.pop()
        try:
            deed()
        except Exception:  # the rest has to be cleaned all the same
            traceback.print_exc()


def _on_signal(signum, _frame):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + signum)


@contextlib.contextmanager
def signals_held():
    """No end in here: what is made is remembered for the end first."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK,
                                    (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


atexit.register(clean_up)
signal.signal(signal.SIGINT, _on_signal)
signal.signal(signal.SIGTERM, _on_signal)
signal.signal(signal.SIGHUP, _on_signal)


def _remove_tmp():
    # a child that was interrupted while it started may be making a socket there this very moment
    for _ in range(50):
        shutil.rmtree(_tmp, ignore_errors=True)
        if not os.path.exists(_tmp):
            return
        time.sleep(0.1)


def tmpdir():
    """The folder for sockets and the like, removed at the end."""
    global _tmp
    if _tmp is None:
        with signals_held():
            _tmp = tempfile.mkdtemp(prefix="vhu-test.")
            # everything that lives in it is stopped before
            at_end(_remove_tmp, last=True)
    return _tmp


def logdir():
    """The folder for logs: a folder of this test's own under VHU_LOGS, else a temporary one."""
    base = os.environ.get("VHU_LOGS")
    if not base:
        path = os.path.join(tmpdir(), "logs")
    else:
        name = os.path.splitext(os.path.basename(sys.argv[0]))[0]
        path = os.path.join(base, name)
    os.makedirs(path, exist_ok=True)
    return path


def path_of(name):
    return os.path.join(tmpdir(), name)


def child_setup():
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    # PR_SET_PDEATHSIG: nothing outlives a test that was killed with -9
    _libc.prctl(1, signal.SIGKILL)


_logs_begun = set()
_watched = []


def check_watched():
    for process in _watched:
        process.check_alive()


class Process:
    """A child with its output in a log file, ended with the test."""

    def __init__(self, name, argv, netns=None, stdin=None, stdout=None, env=None):
        self.name = name
        self.log_path = os.path.join(logdir(), name + ".log")
        if netns:
            argv = ["ip", "netns", "exec", netns] + argv
        self.argv = argv
        # a program that is started again goes on in the log of its first start
        with open(self.log_path, "ab" if self.log_path in _logs_begun else "wb") as log:
            _logs_begun.add(self.log_path)
            self.log_start = log.tell()
            log.write(("\n# %s\n" % " ".join(argv)).encode())
            log.flush()
            # its own group: Ctrl-C on the terminal is for the test, which ends things in order
            with signals_held():
                self.popen = subprocess.Popen(argv, stdin=stdin or subprocess.DEVNULL,
                                              stdout=stdout or log, stderr=log, env=env,
                                              preexec_fn=child_setup, start_new_session=True)
                at_end(self.stop)

    @property
    def pid(self):
        return self.popen.pid

    def watch(self):
        """From here on every wait of this test fails at once when this process is dead."""
        _watched.append(self)
        return self

    def alive(self):
        return self.popen.poll() is None

    def check_alive(self):
        if not self.alive():
            if self in _watched:
                _watched.remove(self)
            raise Failure("%s ended with status %s: %s" %
                          (self.name, self.popen.returncode, self.log_tail()))

    def signal(self, signum):
        if self.alive():
            os.kill(self.popen.pid, signum)

    def kill9(self):
        if self in _watched:
            _watched.remove(self)
        self.signal(signal.SIGKILL)
        self.popen.wait()

    def stop(self, timeout=10):
        """Asks it to end, in the end insists; returns its exit status."""
        if self in _watched:
            _watched.remove(self)
        if self.alive():
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            try:
                self.popen.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill9()
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe:
                pipe.close()
        return self.popen.returncode

    def log_text(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def log_tail(self, size=600):
        return self.log_text()[-size:]

    def cpu_seconds(self):
        with open("/proc/%d/stat" % self.pid) as stat:
            field = stat.read().rsplit(")", 1)[1].split()
        return (int(field[11]) + int(field[12])) / os.sysconf("SC_CLK_TCK")


def run(argv, timeout=60, check=True, netns=None, stdin_text=None):
    """Runs a program on the host and returns its output."""
    if netns:
        argv = ["ip", "netns", "exec", netns] + argv
    done = subprocess.run(argv, input=stdin_text, stdin=None if stdin_text else subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          errors="replace", timeout=timeout * PATIENCE)
    if check and done.returncode:
        raise Failure("%s: status %d: %s" %
                      (" ".join(argv), done.returncode, (done.stderr or done.stdout).strip()))
    return done.stdout


class Tap:
    """Prints the results of a test; the plan comes at the end."""

    def __init__(self):
        self.count = 0
        self.failed = 0
        self.skipped = 0
        self.started = time.monotonic()

    def _line(self, text):
        print(text, flush=True)

    def diag(self, text):
        for line in str(text).splitlines():
            self._line("# " + line)

    def ok(self, good, name, why=""):
        self.count += 1
        if not good:
            self.failed += 1
        self._line("%sok %d - %s" % ("" if good else "not ", self.count, name))
        if why and not good:
            self.diag(why)
        return bool(good)

    def skip(self, name, reason):
        self.count += 1
        self.skipped += 1
        self._line("ok %d - %s # SKIP %s" % (self.count, name, reason))

    def case(self, name, deed, *args):
        """One result out of a deed: it passes unless it raises. Returns whether it passed."""
        start = time.monotonic()
        try:
            said = deed(*args)
        except Skip as reason:
            self.skip(name, str(reason))
            return False
        except Failure as reason:
            return self.ok(False, name, str(reason))
        except Exception:
            return self.ok(False, name, traceback.format_exc())
        self.ok(True, name)
        self.diag("%.1f s%s" % (time.monotonic() - start, "; %s" % said if said else ""))
        return True

    def done(self):
        """Cleans up, prints the plan and ends the program."""
        clean_up()
        self.diag("%.0f s in all" % (time.monotonic() - self.started))
        self._line("1..%d" % self.count)
        sys.exit(1 if self.failed or not self.count else 0)


def main(test):
    """Runs test(tap) and ends the program as Tap.done does, whatever happens in it."""
    tap = Tap()
    try:
        test(tap)
    except Skip as reason:
        tap.skip(os.path.basename(sys.argv[0]), str(reason))
    except SystemExit:
        raise
    except BaseException as error:
        text = str(error) if isinstance(error, Failure) else traceback.format_exc()
        try:
            tap.ok(False, "the bench stands", text)
        except BrokenPipeError:
            sys.exit(1)
    tap.done()
