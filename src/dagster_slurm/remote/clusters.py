"""The warm clusters of a scope (a Dagster run beside us, or a session): which there are, and who uses them.

One small file in the scope's folder, ``clusters.json``, replaced as a whole under a lock. Each entry names the run
directory of the cluster and those of its users; what they say of themselves decides who is still there.
"""

import contextlib
import json
import os
import time
from typing import Any, Dict, Generator, List

from . import rundir
from .direct import start_time

#: of a session
FOLDER = "clusters"
FILE = "clusters.json"
State = Dict[str, Any]
Entry = Dict[str, Any]
_LOCK_WAIT = 60.0
#: a user that was not submitted after so many seconds never will be, where nobody can see whether its process lives
_ON_ITS_WAY = 600.0
#: a step that has let go of a cluster may only be between two calls: so many seconds are left for the next
LINGER = 3.0


def read(scope: str) -> State:
    """Return the scope's clusters, without those that are over and users that are gone."""
    text = rundir.read_text(os.path.join(scope, FILE))
    state: State = json.loads(text) if text else {"version": 0, "number": 0, "clusters": [], "kept": [], "linger": 0}
    for entry in state["clusters"]:
        entry["users"] = {user: facts for user, facts in entry["users"].items() if not user_is_gone(user, facts)}
    state["clusters"] = [entry for entry in state["clusters"] if not cluster_is_over(entry)]
    return state


@contextlib.contextmanager
def change(scope: str, wait: float = _LOCK_WAIT) -> Generator[State, None, None]:
    """Change what is known of a scope; nobody else does meanwhile. ``wait``: seconds for which others may."""
    rundir.make_private(scope)
    path = os.path.join(scope, FILE)
    with rundir.lock(path + ".lock", wait):
        state = read(scope)
        before = json.dumps(state, sort_keys=True)
        yield state
        if json.dumps(state, sort_keys=True) != before:
            state["version"] += 1
            rundir.write_whole(path, json.dumps(state).encode())


def cluster_is_over(entry: Entry) -> bool:
    """Whether a cluster has ended, died, or was never begun by somebody who is gone."""
    found = rundir.evidence(entry["dir"])
    if '"event":"exit"' in found["record"] or found["claim"] == rundir.CANCELLED:
        return True
    if not rundir.proves_job(found):
        return not entry["users"]
    return "ticks" in found["job"] and not lives(int(found["job"]["id"]), found["job"]["ticks"])


def user_is_gone(directory: str, facts: Dict[str, Any]) -> bool:
    """Whether an asset has ended, or its process died before it was submitted."""
    found = rundir.evidence(directory)
    if '"event":"exit"' in found["record"] or found["claim"] == rundir.CANCELLED:
        return True
    if "ticks" in found["job"]:
        return not lives(int(found["job"]["id"]), found["job"]["ticks"])
    if rundir.proves_job(found):
        return False
    if facts.get("pid"):
        return not lives(facts["pid"], facts["ticks"])
    return time.time() - float(facts["since"]) > _ON_ITS_WAY


def lives(pid: int, ticks: str) -> bool:
    """Whether this process, and not another that got its number later, runs here."""
    return start_time(pid) == ticks


def identity(pid: int) -> List[Any]:
    """Return what :func:`lives` needs to know of a process."""
    return [pid, start_time(pid) or ""]


def stop_file(entry: Entry) -> str:
    """Return the file in which a line tells a cluster to end."""
    return os.path.join(str(entry["dir"]), "%s.0" % entry["framework"], "stop")
