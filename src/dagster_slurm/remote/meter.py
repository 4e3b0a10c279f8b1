"""Starts the payload and says what it used: one line in the run's record.

``python3 -I -S meter.py RECORD RESTART COMMAND...``: peak memory is that of the largest process (getrusage(2),
ru_maxrss), CPU time that of all of them. Ends as the payload did, with 128 + signal if a signal ended it.
"""

import json
import os
import signal
import sys
from typing import List

_NOT_FOUND, _NOT_EXECUTABLE = 127, 126
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
    signal.pthread_sigmask(signal.SIG_BLOCK, _ANSWERED)
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
    _, status, usage = os.wait4(pid, 0)
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    kibibytes = usage.ru_maxrss // 1024 if sys.platform == "darwin" else usage.ru_maxrss
    line = {
        "event": "usage",
        "restart": restart,
        "signal": number,
        "cpu": round(usage.ru_utime + usage.ru_stime, 3),
        "peak_kib": kibibytes,
    }
    with open(record, "ab", 0) as file:
        file.write(json.dumps(line).encode() + b"\n")
    return 128 + number if number else os.WEXITSTATUS(status)


def _become(command: List[str], early: bytes) -> None:
    """Be the payload, to which these signals were sent before there was one."""
    for number in _ANSWERED:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and that would be inherited
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    for number in set(early).difference(signal.sigpending()):
        os.kill(os.getpid(), number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ANSWERED)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.stderr.write("dagster-slurm: cannot start %s: %s\n" % (command[0], error.strerror))
        sys.stderr.flush()
        os._exit(_NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE)


if __name__ == "__main__":
    os._exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
