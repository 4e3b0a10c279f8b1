"""What a cluster may leave behind, and must not."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil


def processes(run_base: Path) -> list[psutil.Process]:
    """Processes that our launchers started for runs below a folder."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get("DAGSTER_SLURM_RUN_DIR", "-").startswith(str(run_base)):
                found.append(process)
    return found


def words(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.Error, OSError):
        return ""


def kill(run_base: Path, word: str) -> None:
    """Kill one of those processes, by a word of its command line."""
    found = [process for process in processes(run_base) if word in words(process)]
    assert found, word
    found[-1].send_signal(signal.SIGKILL)


def folders() -> set[str]:
    """Temporary folders of daemons, and what is in shared memory."""
    # semaphores of that name are multiprocessing's: those of other tests on this machine
    shared = (path for path in Path("/dev/shm").iterdir() if not path.name.startswith("sem.mp-"))
    return {str(path) for path in (*Path("/tmp").glob("dsc.*"), *shared)}


def used_by_others(folder: str, run_base: Path) -> bool:
    """Whether a process that is not ours uses it: other tests may run on this machine."""
    ours = {process.pid for process in processes(run_base)}
    for place in Path("/proc").glob("[0-9]*"):
        if int(place.name) in ours:
            continue
        with contextlib.suppress(OSError):
            known = (place / "environ").read_bytes() + (place / "maps").read_bytes()
            if folder.encode() in known or any(str(item.readlink()) == folder for item in (place / "fd").iterdir()):
                return True
    return False


def left(run_base: Path, before: set[str]) -> list[str]:
    there = [words(process)[:120] for process in processes(run_base)]
    return there + [folder for folder in folders() - before if not used_by_others(folder, run_base)]


@contextlib.contextmanager
def none_left(base: Path, timeout: float = 10.0) -> Iterator[None]:
    """Afterwards nothing is left but what was there before."""
    before = folders()
    yield
    deadline = time.monotonic() + timeout
    while found := left(base, before):
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
