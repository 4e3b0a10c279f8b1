"""What a run gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

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
        invocation = PipesClientCompletedInvocation(session, namespaced(facts))
        results = cast("Sequence[Result]", invocation.get_results())  # pyright: ignore[reportUnknownMemberType]
        return super().__new__(cls, results)

    def __reduce__(self) -> tuple[type, tuple[tuple[Result, ...]]]:
        """Pickle the results alone: an op's output is stored, and the session is bound to this process."""
        return tuple, (tuple(self),)

    def __init__(self, session: PipesSession, facts: dict[str, Fact]) -> None:
        super().__init__(session, namespaced(facts))  # pyright: ignore[reportUnknownMemberType]
        self.facts = facts
