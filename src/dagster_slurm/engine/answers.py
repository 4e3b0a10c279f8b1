"""The agent's "cannot" as an error of ours."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

from dagster_slurm.errors import (
    DagsterSlurmError,
    EnvironmentNotBuilt,
    EnvironmentUnavailable,
    RemoteStorageError,
    RequestFailed,
)

_STORAGE_HINTS = {
    errno.ENOSPC: "Free some space there, or set remote_base to another file system.",
    errno.EDQUOT: "Your quota there is used up: free some space, or set remote_base to another file system.",
    errno.EACCES: "Set remote_base to a folder that you may write to, such as $SCRATCH/dagster-slurm.",
    errno.EROFS: "That file system is read-only: set remote_base to another.",
    errno.ENOENT: "Set remote_base to a folder that can be made there.",
    errno.ENOTDIR: "A file is in the way: set remote_base to a folder.",
}


class LookupUnanswered(RequestFailed):
    """Whether a job exists is not known: the queue does not answer."""


class NotSubmitted(RequestFailed):
    """The submit command gave no job id; ``text`` is what it said."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        super().__init__("the job was not submitted", command=facts.get("command"), exit_code=facts.get("code"))
        self.text = str(facts.get("text", ""))


def error_for(facts: Mapping[str, Any], host: str) -> DagsterSlurmError:
    """Return the error for what the agent answered."""
    kind, text = facts.get("kind"), str(facts.get("text", ""))
    if kind == "sbatch":
        return NotSubmitted(facts)
    if kind in ("lookup", "locked"):
        return LookupUnanswered(text)
    if kind == "storage":
        path, number = facts.get("path"), facts.get("errno")
        hint = _STORAGE_HINTS.get(number or 0, "See the folder and its file system on that host.")
        where = f"{path} on {host}" if path else host
        return RemoteStorageError(f"{where} cannot be used: {text}", hint=hint)
    if kind == "build":
        return EnvironmentNotBuilt(
            f"the environment cannot be built on {host}: {text}",
            command=facts.get("command"),
            exit_code=facts.get("code"),
            log_tail=str(facts.get("log", "")),
            hint="Nothing of it is left there. With a full disk or quota, free some space or set env_base elsewhere.",
        )
    if kind == "prelude":
        return EnvironmentUnavailable(
            f"the prelude fails on {host}, where the environment is to be built; nothing was sent",
            log_tail=text,
            hint="The login node must know the modules as well. See the queue's prelude.",
        )
    if kind == "cancelled":
        return RequestFailed(f"this launch cannot go on: {text}", details={"run directory": str(facts.get("path"))})
    if kind == "command":
        return RequestFailed(text, command=facts.get("command"), exit_code=facts.get("code"))
    details = {"where": host, **({"trace": str(facts["trace"])} if facts.get("trace") else {})}
    return RequestFailed(
        f"the agent failed: {text}", details=details, hint="This is a fault of ours: please report it."
    )
