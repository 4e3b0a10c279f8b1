"""Starts the payload and says what it used: one line in the run's record, and one with samples if it took some seconds.

``python3 -I -S meter.py RECORD RESTART COMMAND...``: peak memory is that of the largest process (getrusage(2),
ru_maxrss), CPU time that of all of them. Ends as the payload did, with 128 + signal if a signal ended it.
"""

import json
import os
import resource
import signal
import sys
import time
from typing import Dict, List, Tuple

_NOT_FOUND, _NOT_EXECUTABLE = 127, 126
#: samples that are worth a line; how many there are at most; processes that are looked at, at most
_LEAST, _MOST, _FAMILY = 3, 120, 200
#: signals that are the payload's to answer
_ANSWERED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGQUIT,
    signal.SIGALRM,
)


def main(record: str, restart: int, command: List[str]) -> int:
    """Run the command; return the exit code for a shell."""
    # The whole process group gets a signal; the payload answers it. A handler that does nothing is not inherited by the
    # payload, as SIG_IGN would be. Blocked until the payload has its own again, or one could be lost in between; and
    # what came before there was a payload is handed to it.
    signal.pthread_sigmask(signal.SIG_BLOCK, (*_ANSWERED, signal.SIGCHLD))
    for number in _ANSWERED:
        signal.signal(number, lambda _signal, _frame: None)
    heir, giver = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(giver)
        _become(command, os.read(heir, len(_ANSWERED)))
    os.write(giver, bytes(signal.sigpending()))
    os.close(giver)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ANSWERED)
    samples = Samples(pid)
    status, usage = _wait(pid, samples)
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    kibibytes = usage.ru_maxrss // 1024 if sys.platform == "darwin" else usage.ru_maxrss
    line: Dict[str, object] = {
        "event": "usage",
        "restart": restart,
        "signal": number,
        "cpu": round(usage.ru_utime + usage.ru_stime, 3),
        "peak_kib": kibibytes,
    }
    lines = [line] if len(samples.seconds) < _LEAST else [samples.line(restart), line]
    with open(record, "ab", 0) as file:
        file.write(b"".join(json.dumps(item).encode() + b"\n" for item in lines))
    return 128 + number if number else os.WEXITSTATUS(status)


class Samples:
    """CPU time and memory of the payload and its children over time, by /proc: at most so many, however long it takes.

    Args:
        pid: the payload.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.interval = 1.0
        self.begun = time.time()
        self.seconds: List[float] = []
        self.cpu: List[float] = []
        self.mib: List[float] = []

    def take(self) -> None:
        """Look once. When there are many, every second one is dropped, and looks become half as frequent."""
        cpu, mib = self._used()
        self.seconds.append(round(time.time() - self.begun, 1))
        self.cpu.append(round(cpu, 2))
        self.mib.append(round(mib, 1))
        if len(self.seconds) >= _MOST:
            for column in (self.seconds, self.cpu, self.mib):
                del column[::2]
            self.interval *= 2

    def line(self, restart: int) -> Dict[str, object]:
        """Return what is written down."""
        return {"event": "samples", "restart": restart, "seconds": self.seconds, "cpu": self.cpu, "mib": self.mib}

    def _used(self) -> Tuple[float, float]:
        """Return CPU seconds so far, and MiB now; a process that ends meanwhile does not count."""
        ticks = pages = 0
        family, number = [self.pid], 0
        while number < len(family) and number < _FAMILY:
            pid, number = family[number], number + 1
            try:
                with open("/proc/%d/stat" % pid) as file:
                    # proc(5): the name, in parentheses, may hold anything; utime is field 14, rss field 24
                    fields = file.read().rpartition(")")[2].split()
                with open("/proc/%d/task/%d/children" % (pid, pid)) as file:
                    family += [int(child) for child in file.read().split()]
            except (OSError, ValueError):
                continue
            ticks += sum(int(field) for field in fields[11:15])  # with those of children that it waited for
            pages += int(fields[21])
        return ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE") / 1048576.0


def _wait(pid: int, samples: Samples) -> Tuple[int, resource.struct_rusage]:
    """Return how the payload ended and what it used; look at it now and then meanwhile."""
    if not hasattr(signal, "sigtimedwait"):  # macOS
        _, status, usage = os.wait4(pid, 0)
        return status, usage
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            return status, usage
        if signal.sigtimedwait([signal.SIGCHLD], samples.interval) is None:
            samples.take()


def _become(command: List[str], early: bytes) -> None:
    """Be the payload, to which these signals were sent before there was one."""
    for number in _ANSWERED:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and that would be inherited
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    for number in set(early).difference(signal.sigpending()):
        os.kill(os.getpid(), number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (*_ANSWERED, signal.SIGCHLD))
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.stderr.write("dagster-slurm: cannot start %s: %s\n" % (command[0], error.strerror))
        sys.stderr.flush()
        os._exit(_NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE)


if __name__ == "__main__":
    os._exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
