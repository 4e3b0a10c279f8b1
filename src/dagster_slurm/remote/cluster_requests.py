"""What the agent does for warm clusters when it is asked. Each request may be repeated."""

import os
import time
from typing import Any, Dict, List

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
        for scope in head["scopes"] if head["scopes"] is not None else scopes(head["base"]):
            if not rundir.read_text(os.path.join(scope, clusters.FILE)):
                continue
            with clusters.change(scope) as state:
                for entry in state["clusters"]:
                    if head["name"] in (None, entry["name"]):
                        entry["ending"] = entry["ending"] or "it was told to end"
                        ended.append(entry["name"])
        return {"ended": ended}


def scopes(base: str) -> List[str]:
    """Return the folders of all scopes below a base folder."""
    found: List[str] = []
    for top in ("clusters",):
        folder = os.path.join(base, top)
        found += [os.path.join(folder, name) for name in sorted(os.listdir(folder))] if os.path.isdir(folder) else []
    return found


def _who(pid: int) -> Dict[str, Any]:
    number, ticks = clusters.identity(pid)
    return {"pid": number, "ticks": ticks} if pid else {}
