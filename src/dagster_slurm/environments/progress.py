"""How far it is, in sparse lines for a log."""

from __future__ import annotations

import time

from dagster_slurm.environments.environment import Tell

#: seconds between two lines
_EVERY = 10.0


class Progress:
    """Counts what is sent, and says so now and then.

    Args:
        tell: takes the lines.
        packages: how many there are to send.
        size: their bytes, as far as they are known.
    """

    def __init__(self, tell: Tell, packages: int, size: int) -> None:
        self._tell = tell
        self._packages = packages
        self._size = size
        self._sent = self._done = 0
        self._begun = self._told = time.monotonic()

    def sent(self, count: int) -> None:
        """Count bytes."""
        self._sent += count
        now = time.monotonic()
        if now - self._told >= _EVERY:
            self._told = now
            self._tell(
                f"Sent {megabytes(self._sent)} of {megabytes(self._size)}, {self._done} of {self._packages} packages, "
                f"{self.speed()}."
            )

    def done(self) -> None:
        """Count a package."""
        self._done += 1

    def speed(self) -> str:
        """Return the mean speed."""
        return f"{megabytes(int(self._sent / max(time.monotonic() - self._begun, 1e-3)))}/s"


def megabytes(count: int) -> str:
    """Return a number of bytes for people."""
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.2f} GB"
