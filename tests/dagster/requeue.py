"""A job that Slurm starts again in the middle of its work."""

import contextlib
import threading
import time
from collections.abc import Iterator

from testcluster import Cluster


@contextlib.contextmanager
def requeue_once_it_runs(cluster: Cluster, mark: str = "first") -> Iterator[None]:
    """Requeue the only job once its payload has made a file of that name in its working directory."""

    def watch() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if list((cluster.home / "dagster-slurm" / "runs").glob(f"*/*/*/work/{mark}")):
                job = cluster.run(["squeue", "-h", "-o", "%i"]).stdout.split()[0]
                cluster.admin(["scontrol", "requeue", job])
                return
            time.sleep(0.1)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        thread.join()
