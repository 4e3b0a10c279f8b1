"""What the agent on the login node does for sessions when it is asked: find them, hand work over, renew leases."""

import contextlib
import os
import re
import time
from typing import Any, Callable, Dict, List, Set

from . import cleaning, rundir
from .commands import Result
from .refused import Refused
from .session_lines import LEASES, REQUESTS, append, closed, tell

Head = Dict[str, Any]
SESSION_REQUESTS = ("session", "tell_session", "sessions")
_COMMAND_TIMEOUT = 60.0
#: scancel's words on a step that has ended by itself meanwhile
_OVER = re.compile(r"already complet|Invalid job id|Invalid step", re.IGNORECASE)
Run = Callable[[List[str], float], Result]


class SessionRequests:
    """The requests that concern sessions, each of which may be repeated."""

    def session(self, head: Head) -> Dict[str, Any]:
        """Say what the latest generation of a session left to read; ``generation`` is -1 if there is none."""
        folder = os.path.join(head["base"], "sessions", head["key"])
        latest = max(_generations(folder), default=-1)
        if latest < 0:
            return {"generation": -1}
        return _described(folder, latest)

    def tell_session(self, head: Head) -> Dict[str, Any]:
        """Hand a request to a session; one that takes none any more needs to hear nothing."""
        with contextlib.suppress(OSError, Refused):
            tell(head["dir"], head["item"])
        return {}

    def sessions(self, head: Head) -> Dict[str, Any]:
        """Say which sessions there are below a base folder: the latest generation of each."""
        top = os.path.join(head["base"], "sessions")
        found: List[Dict[str, Any]] = []
        for key in sorted(os.listdir(top)) if os.path.isdir(top) else []:
            latest = max(_generations(os.path.join(top, key)), default=-1)
            if latest >= 0:
                found.append(dict(_described(os.path.join(top, key), latest), key=key))
        return {"sessions": found}


def hand_over(directory: str, unit: Head) -> Dict[str, Any]:
    """Hand a unit of work to a session; return what is known of it as a job."""
    tell(unit["session"], {"op": "unit", "dir": directory, "flags": unit["flags"]})
    return {
        "id": "%s.pending" % unit["holder"],
        "cluster": unit.get("cluster", ""),
        "session": unit["session"],
        "time": round(time.time(), 3),
    }


def has_it(found: Dict[str, Any], unit: Head) -> bool:
    """Whether this very session was asked for the unit before; it may have to be asked again all the same."""
    return bool(found["job"].get("session") == unit["session"])


def is_handed_over(found: Dict[str, Any], unit: Head) -> bool:
    """Whether a unit has begun, or this very session has said that it has it."""
    record = str(found["record"])
    if found["claim"] or '"event":"start"' in record or '"event":"exit"' in record:
        return True
    queued = '"event":"queued","job":"%s"' % unit["holder"]
    return has_it(found, unit) and queued in record and not unit.get("again")


def cancel_unit(directory: str, found: Dict[str, Any], run: Run) -> List[str]:
    """End a unit: its step, if it has one; else it is claimed already, so that none will begin. Others go on."""
    step = rundir.read_text(os.path.join(directory, rundir.CLAIM)).strip()
    if step == rundir.CANCELLED:
        if not found["job"]:
            return []
        with contextlib.suppress(OSError, Refused, rundir.Locked):
            tell(str(found["job"]["session"]), {"op": "cancel", "dir": directory})
        return [str(found["job"]["id"])]
    if "." not in step or '"event":"exit"' in str(found["record"]):
        return []
    cluster = found["job"].get("cluster")
    # through Slurm to the job script, which tells its payload and kills it if need be
    argv = ["scancel"] + (["-M", cluster] if cluster else []) + ["--signal=TERM", step]
    result = run(argv, _COMMAND_TIMEOUT)
    if result.code != 0 and not _OVER.search(result.err):
        raise Refused("command", result.err.strip() or "scancel gave no answer", command=argv, code=result.code)
    cleaning.forget_variables(directory)
    return [step]


class Leases:
    """The sessions that this agent keeps alive for its client: one more byte in a file says that somebody is there."""

    def __init__(self) -> None:
        self._held: Set[str] = set()

    def hold(self, session: str, on: bool) -> None:
        """Renew a session's lease from now on, or not any more."""
        if on:
            self._held.add(session)
            self._renew(session)
        else:
            self._held.discard(session)

    def renew(self) -> None:
        """Renew all that are held."""
        for session in list(self._held):
            self._renew(session)

    @staticmethod
    def _renew(session: str) -> None:
        with contextlib.suppress(OSError):  # it was cleaned away
            append(os.path.join(session, LEASES), b".")


def _generations(folder: str) -> List[int]:
    return [int(name) for name in os.listdir(folder) if name.isdigit()] if os.path.isdir(folder) else []


def _described(folder: str, generation: int) -> Dict[str, Any]:
    directory = os.path.join(folder, str(generation))
    why = ""
    with contextlib.suppress(OSError):
        why = closed(os.path.join(directory, REQUESTS))
    about = rundir.read_text(os.path.join(directory, "session.json"))
    return dict(rundir.evidence(directory), generation=generation, dir=directory, closed=why, about=about)
