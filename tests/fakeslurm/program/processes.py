"""Finding and ending the processes of a run, wherever they moved."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

from .environment import MARK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

STEP_MARK = "FAKESLURM_STEP"
ATTEMPTS = 50


def run_mark(directory: Path, job_id: int, run: int) -> str:
    return f"{MARK}={directory}:{job_id}.{run}"


def step_mark(directory: Path, job_id: int, step: int) -> str:
    return f"{STEP_MARK}={directory}:{job_id}.{step}"


def members(mark: str, session: int = 0) -> list[int]:
    """Everything that carries the mark in its environment or lives in the session."""
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208
    except OSError:  # no /proc (macOS): the process group of the session's leader, which kill takes as a negative id
        return [-session] if session and _exists(-session) else []
    wanted = mark.encode()
    return [pid for pid in pids if pid != os.getpid() and _belongs(pid, wanted, session)]


def _belongs(pid: int, wanted: bytes, session: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            fields = file.read().rpartition(b")")[2].split()
        if fields[0] in {b"Z", b"X"}:
            return False
        if session and int(fields[3]) == session:
            return True
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123
            return wanted in file.read().split(b"\0")
    except OSError:  # it ended, or is not ours
        return False


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def send(pids: list[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def kill_all(mark: str, session: int = 0) -> None:
    """KILL until nothing is left; what forks meanwhile is found in the next round."""
    for _ in range(ATTEMPTS):
        found = members(mark, session)
        if not found:
            return
        send(found, signal.SIGKILL)
        time.sleep(0.005)
