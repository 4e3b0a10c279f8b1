"""What a run gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from dagster import AssetCheckResult, AssetKey, MaterializeResult, PipesClientCompletedInvocation, PipesSession

from dagster_slurm.core.facts import Fact
from dagster_slurm.pipes.failure import namespaced
from dagster_slurm.pipes.outputs import Own

Result = MaterializeResult[Any] | AssetCheckResult


class CompletedRun(PipesClientCompletedInvocation, tuple[Result, ...]):  # noqa: SLOT001 - its base has attributes
    """A completed invocation that is also a tuple of its results.

    So ``return compute.run(...)``, ``yield from compute.run(...)``, ``.get_results()`` and
    ``.get_materialize_result()`` all work.

    Attributes:
        facts: what is known of the job, without the ``slurm/`` namespace.
        fetched: the files that were brought to this machine, by their names below the output folder; where a call
            writes several results, each name begins with that of the result's folder.
    """

    facts: Mapping[str, Fact]
    fetched: Mapping[str, Path]

    def __new__(
        cls,
        session: PipesSession,
        facts: dict[str, Fact],
        own: Own | None = None,
        fetched: Mapping[str, Path] | None = None,  # noqa: ARG004 - see __init__
    ) -> CompletedRun:
        """Make the tuple of all results, with the job's metadata on each, and what is each one's own."""
        invocation = PipesClientCompletedInvocation(session, namespaced(facts))
        results = cast("Sequence[Result]", invocation.get_results())  # pyright: ignore[reportUnknownMemberType]
        return super().__new__(cls, [_with_own(result, own or {}) for result in results])

    def __reduce__(self) -> tuple[type, tuple[tuple[Result, ...]]]:
        """Pickle the results alone: an op's output is stored, and the session is bound to this process."""
        return tuple, (tuple(self),)

    def get_results(self, *, implicit_materializations: bool = True) -> Sequence[Result]:
        """Return the same results; without implicit ones, only what the payload reported."""
        results = cast(
            "Sequence[Result]",
            super().get_results(  # pyright: ignore[reportUnknownMemberType]
                implicit_materializations=implicit_materializations
            ),
        )
        return tuple(_with_own(result, self._own) for result in results)

    def __init__(
        self,
        session: PipesSession,
        facts: dict[str, Fact],
        own: Own | None = None,
        fetched: Mapping[str, Path] | None = None,
    ) -> None:
        super().__init__(session, namespaced(facts))  # pyright: ignore[reportUnknownMemberType]
        self.facts = facts
        self.fetched = fetched or {}
        self._own = own or {}


def _with_own(result: Result, own: Own) -> Result:
    """Return a result with what is known of its asset alone."""
    if not isinstance(result, MaterializeResult):
        return result
    key = result.asset_key if result.asset_key is not None else next(iter(own)) if len(own) == 1 else None
    found = own.get(AssetKey.from_coercible(key)) if key is not None else None
    if not found:
        return result
    metadata = cast("Mapping[str, Any]", result.metadata or {})  # pyright: ignore[reportUnknownMemberType]
    return MaterializeResult(
        asset_key=result.asset_key,
        metadata={**metadata, **found},
        check_results=result.check_results,
        data_version=result.data_version,
        tags=result.tags,
        value=result.value,
    )
