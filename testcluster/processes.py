"""Starting, recognising and stopping processes; only our own, and never by name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from testcluster.execute import ClusterError, clean_environment, run

# Inherited by all that a cluster starts, so that what a crash left behind can be told from other people's processes.
MARKER = "DAGSTER_SLURM_TEST_CLUSTER"
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


def marked(state_dir: Path) -> list[int]:
    """Processes that were started on behalf of the cluster in `state_dir`."""
    marker = f"{MARKER}={state_dir}".encode()
    found = []
    for pid in all_pids():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:  # gone, or not ours to read
            continue
        if marker in environment.split(b"\0") and pid != os.getpid():
            found.append(pid)
    return found


def of_user(uid: int) -> list[int]:
    """Processes that run as `uid`."""
    found = []
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
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


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
