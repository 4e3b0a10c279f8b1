"""How long a session lives. Arithmetic only: times are seconds of the allocation's own monotonic clock.

A lease keeps an *idle* session alive, and a running unit is never ended by a missing one. Between two steps of a run
there may be no process of Dagster's that could renew a lease: the step that ended says which steps will come.
"""

from typing import Dict, List, Optional, Set

#: a lease that was not renewed for so long is over
LEASE = 60.0
#: of the time that is left: no work is begun in the last part of it
_LAST_PART, _LAST_SECONDS = 0.1, 120.0
#: a unit that asks for more of the session's time than this is not measured by it: it would fit in no session
_NEARLY_ALL = 0.8
#: a step that has ended may only be between two calls: so many seconds are left for the next
_LINGER = 5.0
#: how much earlier than it took to wait for this allocation the next one is asked for
_AHEAD = 30.0


class Life:
    """What is known of who needs the session.

    Args:
        now: the session begins.
        idle_timeout: seconds without work after which it ends.
        left: seconds until its time limit; None: no limit.
        waited: how long this allocation was waited for, in seconds.
    """

    def __init__(self, now: float, idle_timeout: float, left: Optional[float], waited: float) -> None:
        self._idle_timeout = idle_timeout
        self._limit = left
        self._end = None if left is None else now + left
        self._margin = 0.0 if left is None else min(left * _LAST_PART, _LAST_SECONDS)
        self._waited = waited
        self._leased = self._busy = now
        self._kept = False
        self._stop = ""
        self._done: Dict[str, Set[str]] = {}
        self._unfinished: Dict[str, Set[str]] = {}

    def lease(self, now: float) -> None:
        """Somebody is there."""
        self._leased, self._kept = now, False

    def work(self, now: float) -> None:
        """There is work, running or waiting."""
        self._busy = now

    def begin(self, run: str, step: str) -> None:
        """A step of a run (again) has work for the session."""
        self._done.setdefault(run, set()).discard(step)
        self._unfinished.setdefault(run, set()).add(step)
        if not self.asked_to_stop:
            self._stop = ""

    def done(self, run: str, step: str, unfinished: List[str], keep: bool) -> None:
        """A step has ended; these steps of its run may still come. ``keep``: other runs may come, too."""
        self._done.setdefault(run, set()).add(step)
        self._unfinished[run] = set(unfinished)
        self._kept = keep or self._needed()
        if not self._kept:
            self._stop = "no unfinished step needs it"

    def stop(self, why: str) -> None:
        """Somebody asked for its end."""
        self._stop = why

    @property
    def asked_to_stop(self) -> bool:
        """Whether somebody asked for its end, whatever goes on."""
        return bool(self._stop) and not self._stop.startswith("no unfinished")

    def attended(self, now: float) -> bool:
        """Whether somebody waits for what would be begun."""
        return now - self._leased < LEASE

    def too_late_for(self, now: float, seconds: Optional[float]) -> bool:
        """Whether work that asks for so many seconds does not fit into the time that is left."""
        if self._end is None or self._limit is None:
            return False
        needs = 0.0 if seconds is None or seconds > self._limit * _NEARLY_ALL else seconds
        return self._end - now < max(needs, self._margin)

    def wants_successor(self, now: float) -> bool:
        """Whether work that waits now should have another allocation by the time that this one takes no more."""
        if self._end is None:
            return False
        return self._end - now < self._margin + self._waited + _AHEAD

    def why_close(self, now: float, busy: bool) -> str:
        """Return why no more work is taken from now on; nothing as long as it is."""
        if self.asked_to_stop:
            return self._stop
        if self.too_late_for(now, None):
            return "its time limit is near"
        return "" if busy else self._why_idle(now)

    def _why_idle(self, now: float) -> str:
        if self._stop and not self._needed() and now - self._busy >= _LINGER:
            return self._stop
        if now - self._busy >= self._idle_timeout:
            return "it was idle for %d s" % self._idle_timeout
        if not self.attended(now) and not self._kept:
            return "no process of Dagster's is there any more"
        return ""

    def _needed(self) -> bool:
        return any(steps - self._done.get(run, set()) for run, steps in self._unfinished.items())
