"""The components of a heterogeneous job, side by side: what the batch script starts. Pure rendering."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dagster_slurm.core.components import Component, own_limits, variable
from dagster_slurm.launchers.launcher import Started
from dagster_slurm.launchers.programs import programs
from dagster_slurm.launchers.settings import FILE, render

OnFailure = Literal["cancel", "wait"]
#: seconds between TERM and KILL for a component that the job ends: Slurm's own KillWait
_KILL_AFTER = 30


@dataclass(frozen=True, kw_only=True)
class SideBySide:
    """Starts the components of one job, each when those it waits for have succeeded.

    Args:
        components: what they are.
        on_failure: whether a component that fails ends the others.
        grace: seconds that the others have before.
        local: processes beside Dagster.
    """

    components: Sequence[Component]
    on_failure: OnFailure = "cancel"
    grace: float = 10.0
    local: bool = False

    def programs(self) -> Mapping[str, Path]:
        """Return what travels along."""
        return programs("notes.sh", "step.sh", "machine.sh", "components.sh", "component.sh")

    def start(self, folder: str) -> Started:
        """Return what the job's script starts; the programs lie in ``folder``."""
        numbers = {component.id: str(number) for number, component in enumerate(self.components)}
        limits = [None for _ in self.components] if self.local else own_limits(self.components)
        settings = render(
            {
                "IDS": tuple(numbers),
                "NAMES": tuple(variable(name) for name in numbers),
                "AFTER": tuple(" ".join(numbers[name] for name in item.after) for item in self.components),
                "LIMITS": tuple("" if limit is None else str(limit) for limit in limits),
                "ON_FAILURE": self.on_failure,
                "GRACE": round(self.grace * 1000),
                "KILL_AFTER": _KILL_AFTER,
                "LOCAL": self.local,
            }
        )
        return Started(("bash", f"{folder}/components.sh"), files={FILE: settings})
