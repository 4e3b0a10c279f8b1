"""Taking turns where a shared connection gives fewer sessions than there are processes (sshd's MaxSessions).

Processes of one user on one machine see each other through files in a private folder: who waits leaves a mark; who
holds a session looks for marks and gives its session up for a while.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

#: how long a session is used at least before it is given up, in seconds
HOLD = 1.0
#: how often the holder looks for marks, in seconds
_LOOK_EVERY = 0.5
#: a mark that was not renewed for so long belongs to a process that is gone, in seconds
_STALE = 10.0


class Turns:
    """One process's part in it.

    Args:
        folder: private, of this machine and user, one per connection.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mark = folder / f"waiting.{os.getpid()}.{id(self):x}"
        self._looked = 0.0

    def wait(self) -> None:
        """Leave a mark, or renew it."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._mark.write_bytes(b"")

    def served(self) -> None:
        """Take the mark away."""
        with contextlib.suppress(OSError):
            self._mark.unlink()

    def others_wait(self) -> bool:
        """Whether another process waits for a session; asks the file system twice a second at most."""
        now = time.monotonic()
        if now - self._looked < _LOOK_EVERY:
            return False
        self._looked = now
        try:
            marks = [entry for entry in os.scandir(self._folder) if entry.name.startswith("waiting.")]
            return any(time.time() - entry.stat().st_mtime < _STALE for entry in marks if entry.name != self._mark.name)
        except OSError:
            return False
