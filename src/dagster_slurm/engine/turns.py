"""Taking turns where a shared connection gives fewer sessions than there are processes (sshd's MaxSessions).

Processes of one user on one machine see each other through files in a private folder: who waits leaves a mark, and only
the one that has waited longest tries; who holds a session looks for marks and gives its session up for a while.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

#: how long a session is used at least before it is given up, in seconds
HOLD = 0.5
#: how often the holder looks for marks, and one who waits looks whether it is first, in seconds
_LOOK_EVERY = 0.2
_LOOK_FIRST = 0.1
#: a mark that was not renewed for so long belongs to a process that is gone, in seconds
_STALE = 5.0
#: ... and may be removed, in seconds
_FORGOTTEN = 600.0


class Turns:
    """One process's part in it.

    Args:
        folder: private, of this machine and user, one per connection.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mark: Path | None = None
        self._looked = 0.0

    def wait(self, longest: float) -> None:
        """Stand in line until nobody has waited longer than we have, at most ``longest`` seconds."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._mark is None:
            self._mark = self._folder / f"waiting.{time.time_ns():020d}.{os.getpid()}.{id(self):x}"
        deadline = time.monotonic() + longest
        while True:
            self._mark.write_bytes(b"")
            time.sleep(_LOOK_FIRST)
            if time.monotonic() > deadline or min(self._marks(), default=self._mark.name) >= self._mark.name:
                return

    def served(self) -> None:
        """Leave the line."""
        if self._mark is not None:
            with contextlib.suppress(OSError):
                self._mark.unlink()
            self._mark = None

    def others_wait(self) -> bool:
        """Whether another process waits for a session; asks the file system a few times a second at most."""
        now = time.monotonic()
        if now - self._looked < _LOOK_EVERY:
            return False
        self._looked = now
        return bool(self._marks())

    def _marks(self) -> list[str]:
        """Return the marks of those who wait; the name begins with the moment at which they began to."""
        try:
            entries = [entry for entry in os.scandir(self._folder) if entry.name.startswith("waiting.")]
        except OSError:
            return []
        found: list[str] = []
        for entry in entries:
            with contextlib.suppress(OSError):  # it was just served
                age = time.time() - entry.stat().st_mtime
                if age < _STALE:
                    found.append(entry.name)
                elif age > _FORGOTTEN:
                    Path(entry.path).unlink()
        return found
