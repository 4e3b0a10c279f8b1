"""The warm clusters of a session: units that are no work by themselves, and end when nobody needs them.

Which there are and who uses them stands in the session's folder, where all processes of Dagster's change it under a
lock; see :mod:`.clusters`. Here they are ended: told to, in favour of work that finds no room, or with the session.
"""

import contextlib
import os
import subprocess
from typing import Any, Dict, List, Optional

from . import clusters, rundir
from .session_units import Unit, Units

_PAUSE = 0.5
#: seconds for which work has to wait for room before an idle cluster makes some
_STUCK = 1.5
#: seconds in which a cluster that was told to end has to
_PATIENCE = 20.0
#: seconds for which the list may be in use by others; later is soon enough
_LOCK_WAIT = 0.5
_MADE_ROOM = "it was idle and made room"


class Clusters:
    """Looks after the clusters among the units of a session."""

    def __init__(self, units: Units) -> None:
        self._units = units
        self._looked = 0.0
        #: since when which cluster has had no user
        self._idle: Dict[str, float] = {}
        #: since when which cluster has been told to end
        self._told: Dict[str, float] = {}

    def look(self, now: float) -> None:
        """End what is to end, and what is in the way."""
        mine = [unit for unit in self._units.running + self._units.waiting if unit.background]
        if not mine or now - self._looked < _PAUSE:
            return
        self._looked = now
        for unit in mine:
            entry = _entry(clusters.read(_scope(unit)), unit)
            if entry is not None and entry["users"]:
                self._idle.pop(unit.directory, None)
                continue
            self._idle.setdefault(unit.directory, now)
            if entry is None or entry["ending"]:
                self._stop(unit, now)
        if self._units.stuck_since(now) > _STUCK:
            self._make_room(now)

    def end_all(self, now: float) -> bool:
        """Tell all to end; whether none is left, or waited for any longer."""
        for unit in [unit for unit in self._units.running if unit.background]:
            self._stop(unit, now)
        left = [unit for unit in self._units.running if unit.background]
        return all(now - self._told.get(unit.directory, now) > _PATIENCE for unit in left)

    def _make_room(self, now: float) -> None:
        """Let one go that nobody uses, the one that has been idle longest; the next one, if that is not enough."""
        able = [unit for unit in self._units.running if unit.background and unit.step]
        if any(unit.directory in self._told for unit in able):
            return
        idle = sorted((self._idle[unit.directory], unit.directory) for unit in able if unit.directory in self._idle)
        for unit in [unit for _, place in idle[:1] for unit in able if unit.directory == place]:
            with contextlib.suppress(rundir.Locked), clusters.change(_scope(unit), _LOCK_WAIT) as state:
                entry = _entry(state, unit)
                if entry is None or not entry["users"]:
                    if entry is not None:
                        entry["ending"] = entry["ending"] or _MADE_ROOM
                    self._stop(unit, now)

    def _stop(self, unit: Unit, now: float) -> None:
        if unit in self._units.waiting:
            rundir.claim(unit.directory, rundir.CANCELLED)
            self._units.waiting.remove(unit)
            return
        if not unit.step and unit.process is not None:
            unit.process.terminate()
        elif now - self._told.setdefault(unit.directory, now) > _PATIENCE:
            quiet = subprocess.DEVNULL
            subprocess.Popen(["scancel", unit.step], stdin=quiet, stdout=quiet, stderr=quiet)
            self._told[unit.directory] = now
        stop = os.path.join(unit.directory, "%s.0" % unit.flags["cluster"]["framework"], "stop")
        with contextlib.suppress(OSError), open(stop, "r+b") as file:  # it may not have begun
            file.write(b"stop\n")


def _scope(unit: Unit) -> str:
    return str(unit.flags["cluster"]["scope"])


def _entry(state: Dict[str, Any], unit: Unit) -> Optional[Dict[str, Any]]:
    found: List[Dict[str, Any]] = [item for item in state["clusters"] if item["dir"] == unit.directory]
    return found[0] if found else None
