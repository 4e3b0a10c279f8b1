"""A lock for work that takes minutes: it is renewed meanwhile, so that nobody takes it for abandoned."""

import contextlib
import threading
from typing import Generator

from . import rundir


@contextlib.contextmanager
def hold(path: str, wait: float) -> Generator[None, None, None]:
    """Hold a lock as long as the work takes.

    Args:
        path: the lock's path, in a folder that exists.
        wait: seconds to wait for it.

    Raises:
        rundir.Locked: it was not free in time.
    """
    ended = threading.Event()
    with rundir.lock(path, wait) as renew:

        def beat() -> None:
            while not ended.wait(rundir.STALE_LOCK / 4):
                with contextlib.suppress(OSError):
                    renew()

        threading.Thread(target=beat, daemon=True).start()
        try:
            yield
        finally:
            ended.set()
