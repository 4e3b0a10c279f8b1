"""How much SSH this process has used: tests and the benchmark hold us to it."""

from __future__ import annotations

import threading


class Counts:
    """Counters since the start of the process (or the last reset)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: connections that tried to authenticate
        self.logins = 0
        #: programs started on a host
        self.sessions = 0
        #: ``ssh`` processes of any kind
        self.processes = 0

    def add(self, *, logins: int = 0, sessions: int = 0) -> None:
        """Count one ``ssh`` process, and what it was for."""
        with self._lock:
            self.logins += logins
            self.sessions += sessions
            self.processes += 1

    def reset(self) -> None:
        """Start from zero."""
        with self._lock:
            self.logins = self.sessions = self.processes = 0


#: of this process
counts = Counts()
