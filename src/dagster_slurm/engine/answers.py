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

#: the setting that names the folder
_BASE = "remote_base (for environments: env_base)"
_STORAGE_HINTS = {
    errno.ENOSPC: f"Free some space there, or set {_BASE} to another file system.",
    errno.EDQUOT: f"Your quota there is used up: free some space, or set {_BASE} to another file system.",
    errno.EACCES: f"Set {_BASE} to a folder that you may write to, such as $SCRATCH/dagster-slurm.",
    errno.EROFS: f"That file system is read-only: set {_BASE} to another.",
    errno.ENOENT: f"Set {_BASE} to a folder that can be made there.",
    errno.ENOTDIR: f"A file is in the way: set {_BASE} to a folder.",
}


class LookupUnanswered(RequestFailed):
    """Whether a job exists is not known: the queue does not answer."""


class FileGone(RequestFailed):
    """A file that was there a moment ago is not, or cannot be read."""


class SessionOver(RequestFailed):
    """A session takes no more work."""


class NotSubmitted(RequestFailed):
    """The submit command gave no job id; ``text`` is what it said."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        super().__init__("the job was not submitted", command=facts.get("command"), exit_code=facts.get("code"))
        self.text = str(facts.get("text", ""))


def error_for(facts: Mapping[str, Any], host: str) -> DagsterSlurmError:
    """Return the error for what the agent answered."""
    kind, text = str(facts.get("kind")), str(facts.get("text", ""))
    if kind == "sbatch":
        return NotSubmitted(facts)
    if kind in ("lookup", "locked", "session over"):
        return SessionOver(text) if kind == "session over" else LookupUnanswered(text)
    if kind == "storage":
        return _storage(facts, host)
    if kind in ("build", "prelude", "gone"):
        gone = f"{facts.get('path')} on {host} cannot be read: {text}"
        return FileGone(gone) if kind == "gone" else _environment(kind, facts, host)
    where = {"where": host}
    known: dict[str, tuple[str, str | None]] = {
        "no command": (
            f"{text} was not found on {host}",
            "Slurm's commands must be on the PATH of a login shell there. Is this a login node of the cluster?",
        ),
        "cancelled": (f"this launch cannot go on: {text}", "Run the step again: it begins anew."),
        "damaged": (f"files arrived damaged: {text}", "Run it again."),
        "command": (text, None),
    }
    if kind in known:
        message, hint = known[kind]
        return RequestFailed(
            message, hint=hint, command=facts.get("command"), exit_code=facts.get("code"), details=where
        )
    details = {**where, **({"trace": str(facts["trace"])} if facts.get("trace") else {})}
    return RequestFailed(
        f"the agent failed: {text}", details=details, hint="This is a fault of ours: please report it."
    )


def _storage(facts: Mapping[str, Any], host: str) -> RemoteStorageError:
    path, number = facts.get("path"), facts.get("errno")
    hint = facts.get("hint") or _STORAGE_HINTS.get(number or 0, "See the folder and its file system on that host.")
    where = f"{path} on {host}" if path else host
    return RemoteStorageError(f"{where} cannot be used: {facts.get('text')}", hint=hint)


def _environment(kind: str, facts: Mapping[str, Any], host: str) -> DagsterSlurmError:
    if kind == "prelude":
        return EnvironmentUnavailable(
            f"the prelude fails on {host}, where the environment is to be built; nothing was sent",
            log_tail=str(facts.get("text", "")),
            hint="The login node must know the modules as well. See the queue's prelude.",
        )
    return EnvironmentNotBuilt(
        f"the environment cannot be built on {host}: {facts.get('text')}",
        command=facts.get("command"),
        exit_code=facts.get("code"),
        log_tail=str(facts.get("log", "")),
        hint="Nothing of it is left there. With a full disk or quota, free some space or set env_base elsewhere.",
    )
