"""The thread that keeps a host going."""

from __future__ import annotations

import threading
from collections.abc import Callable

_TICK = 0.2


class Keeper:
    """A thread that lives while it is needed.

    Args:
        name: of the thread.
        lock: what ``needed`` is asked with, and :meth:`have` is called with.
        needed: whether there is anything to keep.
        step: what is done five times a second, or as soon as :meth:`wake` is called.
    """

    def __init__(self, name: str, lock: threading.Lock, needed: Callable[[], bool], step: Callable[[], None]) -> None:
        self._name = name
        self._lock = lock
        self._needed = needed
        self._step = step
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def have(self) -> None:
        """Begin, if it does not live. Only with the lock."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep, name=self._name, daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """Let the next step come at once."""
        self._wake.set()

    def _keep(self) -> None:
        while True:
            self._wake.wait(_TICK)
            self._wake.clear()
            with self._lock:
                if not self._needed():
                    self._thread = None
                    return
            self._step()
