"""The folder through which a test and the payload ``counted.py`` speak with each other."""

import itertools
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from testcluster import Cluster

PAYLOAD = Path(__file__).parent / "payloads" / "counted.py"
_NUMBERS = itertools.count()


class Counting:
    """One payload, however often it is started."""

    def __init__(self, folder: Path, owner: str | None = None) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        if owner is not None:
            shutil.chown(folder, owner)

    def config(self, where: str, **extras: Any) -> dict[str, Any]:
        """Of an asset of ``world.py`` that runs it."""
        return {"where": where, "payload": str(PAYLOAD), "extras": {"folder": str(self.folder), **extras}}

    @property
    def starts(self) -> list[str]:
        """The jobs in which it was started."""
        path = self.folder / "starts"
        return path.read_text().split() if path.exists() else []

    def wait(self, starts: int = 1) -> str:
        """Wait until it was started so often; return the last job."""
        wait_until(lambda: len(self.starts) >= starts)
        return self.starts[-1]

    def go(self) -> None:
        (self.folder / "go").touch()

    def stop(self) -> None:
        (self.folder / "go").unlink()

    def fail(self, *, really: bool = True) -> None:
        if really:
            (self.folder / "fail").touch()
        else:
            (self.folder / "fail").unlink()


def on_cluster(cluster: Cluster) -> Counting:
    return Counting(cluster.home / "counting" / f"{os.getpid()}-{next(_NUMBERS)}", cluster.user)


def wait_until(condition: Callable[[], Any], timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def state(cluster: Cluster, job: str) -> str:
    """A job's state in Slurm's words; the queue knows it at once, accounting somewhat later."""
    return cluster.run(["squeue", "-h", "--states=all", "-j", job, "-o", "%T"]).stdout.strip()
