"""What a run gives back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagster import AssetCheckResult, MaterializeResult, PipesClientCompletedInvocation, PipesSession

from dagster_slurm.core.facts import Fact
from dagster_slurm.pipes.failure import namespaced

Result = MaterializeResult[Any] | AssetCheckResult


class CompletedRun(PipesClientCompletedInvocation, tuple[Result, ...]):  # noqa: SLOT001 - its base has attributes
    """A completed invocation that is also a tuple of its results.

    So ``return compute.run(...)``, ``yield from compute.run(...)``, ``.get_results()`` and
    ``.get_materialize_result()`` all work.

    Attributes:
        facts: what is known of the job, without the ``slurm/`` namespace.
    """

    facts: Mapping[str, Fact]

    def __new__(cls, session: PipesSession, facts: dict[str, Fact]) -> CompletedRun:
        """Make the tuple of all results, with the job's metadata on each."""
        results = PipesClientCompletedInvocation(session, namespaced(facts)).get_results()
        return tuple.__new__(cls, results)

    def __init__(self, session: PipesSession, facts: dict[str, Fact]) -> None:
        super().__init__(session, namespaced(facts))
        self.facts = facts
