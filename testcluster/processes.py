"""Starting, recognising and stopping processes; only our own, and never by name."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from testcluster.execute import ClusterError, clean_environment, run

_STARTER = Path(__file__).with_name("daemon.sh")
_STAT_STATE, _STAT_PARENT, _STAT_START = 0, 1, 19  # fields of /proc/PID/stat after the command's name


def start(command: Sequence[str], *, pid_file: Path, log_file: Path, env: Mapping[str, str]) -> None:
    """Start a daemon that outlives us."""
    run(["setsid", str(_STARTER), str(pid_file), str(log_file), *command], env={**clean_environment(), **env})


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    # A zombie is dead; it only waits for its parent.
    return None if fields[_STAT_STATE] in "ZX" else fields


def recorded_pid(pid_file: Path) -> int | None:
    """The process that a file names, if it is still that process."""
    try:
        pid, start_time = pid_file.read_text().split()
    except (FileNotFoundError, ValueError):
        return None
    fields = _stat(int(pid))
    return int(pid) if fields is not None and fields[_STAT_START] == start_time else None


def all_pids() -> list[int]:
    """Every process of the host."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def descendants(pid: int) -> list[int]:
    """Children of a process, their children, and so on."""
    parents = {each: int(fields[_STAT_PARENT]) for each in all_pids() if (fields := _stat(each)) is not None}
    found = [pid]
    for ancestor in found:
        found += [child for child, parent in parents.items() if parent == ancestor]
    return found[1:]


def writing_below(folder: Path) -> list[int]:
    """Processes that write to a file below `folder`, as our daemons and what they started do to their logs.

    The environment would be a plainer mark, but sshd and slurmstepd overwrite theirs with a title.
    """
    return [pid for pid in all_pids() if _writes_below(pid, f"{folder}/")]


def _writes_below(pid: int, folder: str) -> bool:
    try:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            if folder in str(link.readlink()):  # not at its start where the process runs in a tree of its own
                flags = Path(f"/proc/{pid}/fdinfo/{link.name}").read_text().split("flags:")[1].split()[0]
                if int(flags, 8) & os.O_ACCMODE != os.O_RDONLY:
                    return True
    except OSError:
        pass  # it ended or closed the file while we looked; or even root may not look, then it is none of ours
    return False


def of_user(uid: int) -> list[int]:
    """Processes that run as `uid`."""
    found: list[int] = []
    for pid in all_pids():
        try:
            owner = Path(f"/proc/{pid}").stat().st_uid
        except FileNotFoundError:
            continue
        if owner == uid and _stat(pid) is not None:
            found.append(pid)
    return found


def send(pids: Iterable[int], number: int) -> None:
    """Send a signal to processes, some of which may have ended."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def stop(pids: Sequence[int], *, patience: float) -> None:
    """End processes with TERM, and after `patience` seconds with KILL."""
    send(pids, signal.SIGTERM if patience else signal.SIGKILL)
    if not _gone(pids, patience):
        send(pids, signal.SIGKILL)
    if not _gone(pids, 10):
        left = [pid for pid in pids if _stat(pid) is not None]
        msg = f"processes {left} do not end"
        raise ClusterError(msg)


def _gone(pids: Sequence[int], timeout: float) -> bool:
    """Whether all have ended within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while any(_stat(pid) is not None for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
