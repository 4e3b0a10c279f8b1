"""The run that a session is: a job whose payload is the session's agent. Pure but for reading our own programs."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dagster_slurm.core.names import digest, folder_name
from dagster_slurm.core.resources import Resources
from dagster_slurm.core.spec import LaunchKey, RunPaths, RunSpec
from dagster_slurm.engine.ask import Place
from dagster_slurm.engine.launch import Launch
from dagster_slurm.payloads.bundle import Bundle
from dagster_slurm.remote.session_lines import LEASES, REQUESTS

_REMOTE = Path(__file__).parent.parent / "remote"
_MODULES = (
    "rundir refused direct clusters session_lines session_life session_words session_steps session_units "
    "session_clusters session_agent"
).split()


@dataclass(frozen=True, kw_only=True)
class SessionAsk:
    """What a session asks for.

    Args:
        scope: what it serves: the name that several runs know, or one run.
        name: for people.
        named: it serves several runs.
        resources: of the allocation.
        idle_timeout: seconds without work after which it ends.
        max_concurrent_jobs: how many units run at once; None: as many as fit.
        python: the target's, for our own programs.
        prelude: shell lines before the agent.
        keep: seconds to keep run directories, by outcome.
    """

    scope: str
    name: str
    named: bool
    resources: Resources
    idle_timeout: float
    max_concurrent_jobs: int | None
    python: str
    keep: Mapping[str, float] | None = None

    @property
    def key(self) -> str:
        """The name of its folder."""
        return folder_name(self.scope)


def session_launch(ask: SessionAsk, place: Place, generation: int) -> Launch:
    """Return what to submit for one generation of a session."""
    # two bases do not share a session, and so not the name by which its job is looked up
    key = LaunchKey("session", f"session-{ask.name}", digest(place.base, ask.key), generation)
    spec = RunSpec(
        key=key,
        paths=RunPaths(f"{place.base}/sessions/{ask.key}/{generation}"),
        command=(ask.python, "-I", "-S", "-B", f"{place.stored(agent().key)}/main.py"),
        resources=Resources(options={"requeue": False}).over(ask.resources),
        sync=place.late,
    )
    settings = {
        "name": ask.name,
        "key": ask.key,
        "generation": generation,
        "idle_timeout": ask.idle_timeout,
        "most": ask.max_concurrent_jobs,
    }
    more = {"session.json": json.dumps(settings), REQUESTS: "", LEASES: ""}
    return Launch(spec, place.base, b"{}", bundles={agent().key: agent()}, keep=ask.keep, more=more)


@functools.cache
def agent() -> Bundle:
    """Return the session's agent, and what it starts units with."""
    files = {f"session/{name}.py": _REMOTE / f"{name}.py" for name in ("__init__", *_MODULES)}
    files["main.py"] = _REMOTE / "session_main.py"
    files["unit.sh"] = _REMOTE / "unit.sh"
    return Bundle.from_files(files)
