"""What befalls a job in the middle of its work."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from testcluster import Cluster


@contextlib.contextmanager
def requeue_once_it_runs(cluster: Cluster, mark: str = "first") -> Iterator[None]:
    """Requeue the only job once its payload has made a file of that name in its working directory."""
    with once_it_runs(cluster, lambda job: cluster.admin(["scontrol", "requeue", job]), mark):
        yield


@contextlib.contextmanager
def once_it_runs(cluster: Cluster, strike: Callable[[str], object], mark: str = "first") -> Iterator[None]:
    """Do something to the only job (its id is handed over) once its payload has made a file of that name.

    Files that are there from before do not count.
    """
    runs = cluster.home / "dagster-slurm" / "runs"
    before = set(runs.glob(f"*/*/*/**/work/{mark}"))

    def watch() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if set(runs.glob(f"*/*/*/**/work/{mark}")) - before:
                strike(cluster.run(["squeue", "-h", "-o", "%i"]).stdout.split()[0].partition("+")[0])
                return
            time.sleep(0.1)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        thread.join()
