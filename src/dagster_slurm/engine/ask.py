"""What the user asked for, and where it goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dagster_slurm.core.data import Wanted
from dagster_slurm.core.patterns import Pattern
from dagster_slurm.core.resources import Resources
from dagster_slurm.core.spec import LaunchKey
from dagster_slurm.environments.environment import Prepared
from dagster_slurm.launchers.launcher import ComputeLauncher
from dagster_slurm.payloads.extra_files import ExtraFiles
from dagster_slurm.payloads.payload import Payload


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What the user asked for.

    Args:
        payload: what to run.
        launcher: how it is started.
        resources: what was said of its needs, already merged.
        environment: the user's variables.
        extra_files: what else is to lie in the working directory.
        prelude: shell lines before the payload.
        prepared: the payload's Python environment.
        tools_python: the target's Python for our own programs. Not looked up in the payload's environment: a Python
            that is a shim (pyenv's) would change that environment for what it starts.
        force_environment: build it anew.
        upload: whether the payload's folder travels.
        keep: seconds to keep run directories, by outcome.
        data: what it reads and writes in the folder for results; None: there is none.
        fetch: what of its result is brought to this machine.
        fetch_into: the folder here, with one below it for each run.
        fetch_limit: bytes that may be brought.
        local: a process beside Dagster: nobody is asked for resources, launchers alone look at them.
    """

    payload: Payload
    launcher: ComputeLauncher
    resources: Resources
    prepared: Prepared
    tools_python: str
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    extra_files: tuple[ExtraFiles, ...] = ()
    prelude: tuple[str, ...] = ()
    upload: bool = True
    keep: Mapping[str, float] | None = None
    local: bool = False
    force_environment: bool = False
    data: Wanted | None = None
    fetch: tuple[Pattern, ...] = ()
    fetch_into: str = ""
    fetch_limit: int = 0


@dataclass(frozen=True)
class Place:
    """Where a run goes: the base folder, and whether other hosts see late there what was written."""

    base: str
    late: bool = False

    def directory(self, key: LaunchKey) -> str:
        """Return the run directory."""
        return f"{self.base}/runs/{key.folder}"

    def stored(self, key: str) -> str:
        """Return the folder of a bundle."""
        return f"{self.base}/store/{key}"
