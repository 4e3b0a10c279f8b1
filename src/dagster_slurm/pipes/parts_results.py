"""What components leave in the folder for results: each its own, and one that several of them write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dagster_slurm.core import data
from dagster_slurm.core.record import Output
from dagster_slurm.engine.components import Together
from dagster_slurm.engine.launch import Launch
from dagster_slurm.engine.target import Target
from dagster_slurm.pipes.fetched import bring, shown
from dagster_slurm.pipes.handles import Context
from dagster_slurm.pipes.outputs import Own, merged, own_metadata, say_what_is_empty


def extras_of(together: Together, number: int, directory: str, job: str) -> dict[str, Any]:
    """Return what Pipes says to a component of results: its own, and those that it writes with others.

    Args:
        together: the components.
        number: which of them.
        directory: its run directory.
        job: the run directory of the job, which leads to what several write.
    """
    own = together.asks[number].ask.data
    shared = data.extras(together.data, job) if together.data else {}
    return data.together(data.extras(own, directory) if own else {}, shared)


@dataclass(frozen=True, kw_only=True)
class PartsResults:
    """The results of components that have ended.

    Args:
        target: where they ran.
        context: of the step.
        together: the components.
        launches: of each.
        outputs: what the record of each says.
        shared: what the record of their job says.
    """

    target: Target
    context: Context
    together: Together
    launches: Sequence[Launch]
    outputs: Sequence[Sequence[Output]]
    shared: Sequence[Output] = ()

    def own(self) -> Own:
        """What there is of each asset's result; said, where it stayed empty."""
        found = self._told_of(self.together.data, self.shared)
        for item, outputs in zip(self.together.asks, self.outputs, strict=True):
            found = merged(found, self._told_of(item.ask.data, outputs))
        return found

    def fetched(self) -> tuple[Own, Mapping[str, Path]]:
        """Bring what components ask for, of their own results, or of those that they write with others.

        Returns:
            What goes on the materialization of each asset, and the files by component and name.

        Raises:
            ResultNotFetched: they are too large, changed under our hands, or there is no room for them here.
        """
        own, found = self.own(), dict[str, Path]()
        for item, launch, outputs in zip(self.together.asks, self.launches, self.outputs, strict=True):
            alone = self.together.data is None or (item.ask.data is not None and item.ask.data.outputs)
            wanted, mine = (item.ask.data, outputs) if alone else (self.together.data, self.shared)
            files = bring(self.target, self.context, replace(item.ask, data=wanted), launch, mine)
            own = merged(own, shown(self.context, wanted, files))
            found.update({f"{item.id}/{name}": path for name, path in files.items()})
        return own, found

    def _told_of(self, wanted: data.Wanted | None, outputs: Sequence[Output]) -> Own:
        say_what_is_empty(self.context, wanted, outputs)
        return own_metadata(wanted, outputs, self.target.host.name)
