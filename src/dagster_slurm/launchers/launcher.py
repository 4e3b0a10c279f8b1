"""What a launcher is: from the payload's command to the command of the job. Pure rendering."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dagster_slurm.core.resources import Resources


@dataclass(frozen=True)
class Started:
    """What the job script starts.

    Args:
        command: word by word; no shell reads it.
        environment: further variables.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class ComputeLauncher:
    """How a payload is started in its job. Subclass it for a launcher of your own."""

    def needs(self) -> Resources:
        """Return what the job must ask for so that this launcher can work, where nothing else says."""
        return Resources()

    def start(self, command: tuple[str, ...], resources: Resources) -> Started:
        """Return what to start for a payload.

        Args:
            command: the payload's own command.
            resources: what the job asks for, after all sayings were merged.
        """
        raise NotImplementedError
