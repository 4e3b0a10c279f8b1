"""A request that waits for its answer: between the thread that asks and the one that reads the channel."""

from __future__ import annotations

import threading
from typing import Any

from dagster_slurm.errors import CannotConnect, HostError

Answer = tuple[dict[str, Any], bytes]


class Pending:
    """A request that waits for its answer."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._answer: Answer | HostError = CannotConnect("not answered")

    def set(self, answer: Answer | HostError) -> None:
        """Hand over the answer, or why there is none."""
        self._answer = answer
        self._done.set()

    def wait(self, seconds: float | None) -> Answer | HostError | None:
        """Return the answer, or why there is none; None if neither came within ``seconds``."""
        return self._answer if self._done.wait(seconds) else None
