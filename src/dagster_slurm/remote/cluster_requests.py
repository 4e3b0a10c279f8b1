"""What the agent does for warm clusters when it is asked. Each request may be repeated."""

import os
import time
from typing import Any, Dict, List, Optional

from . import clusters, rundir

Head = Dict[str, Any]
CLUSTER_REQUESTS = ("clusters", "take_cluster", "leave_clusters", "end_clusters")


class ClusterRequests:
    """The requests that concern warm clusters."""

    def clusters(self, head: Head) -> Dict[str, Any]:
        """Say which clusters a scope has."""
        return clusters.read(head["scope"])

    def take_cluster(self, head: Head) -> Dict[str, Any]:
        """Let a run use a cluster: one that is there, or a new one; as decided by what version ``version`` said.

        Answers with the cluster, or without one, if things have changed since: then decide again. A run that has a
        cluster keeps it.
        """
        with clusters.change(head["scope"]) as state:
            for entry in state["clusters"]:
                if head["user"] in entry["users"]:
                    return {"cluster": entry}
            if state["version"] != head["version"]:
                return {}
            for entry in state["clusters"]:
                if entry["number"] == head["replaces"]:
                    entry["ending"] = "another took its place"
            if head["number"] is None:
                entry = dict(head["new"], users={}, ending="")
                state["number"] = entry["number"] + 1
                state["clusters"].append(entry)
            else:
                entry = next(item for item in state["clusters"] if item["number"] == head["number"])
            entry["users"][head["user"]] = dict(head["facts"], since=time.time(), **_who(head["pid"]))
            if head["pid"]:
                # from its end on until it lets go, the run itself is no proof that somebody is there
                state["kept"].append(clusters.identity(head["pid"]))
            return {"cluster": entry}

    def leave_clusters(self, head: Head) -> Dict[str, Any]:
        """Let go of what a step used; ``keep`` are the processes whose end would mean that nobody comes any more."""
        if not os.path.isdir(head["scope"]):
            return {}
        with clusters.change(head["scope"]) as state:
            for entry in state["clusters"]:
                for user, facts in list(entry["users"].items()):
                    # one that runs says itself when it has ended
                    if facts["step"] == head["step"] and not rundir.proves_job(rundir.evidence(user)):
                        del entry["users"][user]
            state["kept"] = [clusters.identity(pid) for pid in head["keep"]]
            state["linger"] = time.time() + clusters.LINGER
        return {}

    def end_clusters(self, head: Head) -> Dict[str, Any]:
        """Let clusters take no more users, and end when they have none: those with a name, or all."""
        ended: List[str] = []
        for scope in scopes(head["base"], head["sessions"]):
            if not rundir.read_text(os.path.join(scope, clusters.FILE)):
                continue
            with clusters.change(scope) as state:
                for entry in state["clusters"]:
                    if head["name"] in (None, entry["name"]):
                        entry["ending"] = entry["ending"] or "it was told to end"
                        ended.append(entry["name"])
        return {"ended": ended}


def scopes(base: str, sessions: Optional[str]) -> List[str]:
    """Return the folders of scopes below a base folder.

    Args:
        base: where.
        sessions: those of the session with this key, or, if it ends in a hyphen, of all whose keys begin so; None:
            those beside Dagster.
    """
    top = os.path.join(base, "clusters" if sessions is None else "sessions")
    found = [os.path.join(top, name) for name in sorted(os.listdir(top))] if os.path.isdir(top) else []
    if sessions is None:
        return found
    places: List[str] = []
    for path in found:
        key = os.path.basename(path)
        if key == sessions or (sessions.endswith("-") and key.startswith(sessions)):
            latest = max((int(name) for name in os.listdir(path) if name.isdigit()), default=-1)
            places += [os.path.join(path, str(latest))] if latest >= 0 else []
    # those of an allocation that is over are over
    return [os.path.join(place, clusters.FOLDER) for place in places if not _is_over(place)]


def _is_over(place: str) -> bool:
    return '"event":"exit"' in rundir.read_text(os.path.join(place, rundir.RECORD))


def _who(pid: int) -> Dict[str, Any]:
    number, ticks = clusters.identity(pid)
    return {"pid": number, "ticks": ticks} if pid else {}
