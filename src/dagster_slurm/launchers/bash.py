"""The payload as it is: one process."""

from __future__ import annotations

from dataclasses import dataclass

from dagster_slurm.core.resources import Resources
from dagster_slurm.launchers.launcher import ComputeLauncher, Started


@dataclass(frozen=True)
class BashLauncher(ComputeLauncher):
    """Starts the payload as one process on the job's first node."""

    def start(self, command: tuple[str, ...], resources: Resources) -> Started:  # noqa: ARG002 - others need them
        """Return the payload's own command."""
        return Started(command)
