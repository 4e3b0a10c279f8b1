"""What a cluster may leave behind, and must not."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import psutil


def marked(run_base: Path) -> list[str]:
    """Processes that our launchers' daemons started for runs below a folder."""
    found: list[str] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("DAGSTER_SLURM_RUN_DIR", "-").startswith(str(run_base)):
                found.append(" ".join(process.cmdline())[:120])
        except (psutil.Error, OSError):
            continue
    return found


def folders() -> set[str]:
    """Temporary folders of daemons, and what is in shared memory."""
    # semaphores of that name are multiprocessing's: those of other tests on this machine
    shared = (path for path in Path("/dev/shm").iterdir() if not path.name.startswith("sem.mp-"))
    return {str(path) for path in (*Path("/tmp").glob("dsc.*"), *shared)}


@contextlib.contextmanager
def none_left(base: Path, timeout: float = 10.0) -> Iterator[None]:
    """Afterwards nothing is left but what was there before."""
    before = folders()
    yield
    deadline = time.monotonic() + timeout
    while marked(base) or folders() - before:
        assert time.monotonic() < deadline, (marked(base), folders() - before)
        time.sleep(0.2)
