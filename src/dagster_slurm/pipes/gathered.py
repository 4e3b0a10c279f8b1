"""What the components of a job gave back, as the results of one step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from dagster import (
    AssetCheckResult,
    AssetKey,
    AssetMaterialization,
    DataVersion,
    MaterializeResult,
    MetadataValue,
    PipesClientCompletedInvocation,
    PipesSession,
)
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.pipes.client import (
    materialize_result_from_pipes_results,  # pyright: ignore[reportUnknownVariableType]
)

from dagster_slurm.core.facts import Fact
from dagster_slurm.errors import ConfigurationError
from dagster_slurm.pipes.completed import Result
from dagster_slurm.pipes.failure import namespaced
from dagster_slurm.pipes.handles import Context
from dagster_slurm.pipes.outputs import Own

#: asset keys by component; a component that is not in it has none of its own
Assets = Mapping[str, tuple[AssetKey, ...]]


@dataclass(frozen=True)
class Told:
    """What is known of a component that has ended.

    Args:
        id: its name.
        facts: of its part of the job.
        session: has what its payload reported.
        success: whether it succeeded.
    """

    id: str
    facts: Mapping[str, Fact]
    session: PipesSession
    success: bool

    def results(self) -> Sequence[Result]:
        """Return what the payload reported."""
        return cast("Sequence[Result]", self.session.get_reported_results())  # pyright: ignore[reportUnknownMemberType]

    def reported(self, key: AssetKey) -> list[MaterializeResult[Any]]:
        """Return what it reported of an asset."""
        return [item for item in self.results() if isinstance(item, MaterializeResult) and item.asset_key == key]


class CompletedComponents(PipesClientCompletedInvocation, tuple[Result, ...]):  # noqa: SLOT001 - its base has attributes
    """A completed heterogeneous job: a tuple of its results, and all that a completed invocation can do.

    Attributes:
        facts: what is known of each component, by its name.
        fetched: the files that were brought to this machine, by component and name: ``"train/plot.png"``.
    """

    facts: Mapping[str, Mapping[str, Fact]]
    fetched: Mapping[str, Path]

    def __new__(
        cls,
        told: Sequence[Told],  # noqa: ARG004 - for __init__
        results: Sequence[Result],
        fetched: Mapping[str, Path],  # noqa: ARG004 - for __init__
    ) -> CompletedComponents:
        """Make the tuple."""
        return super().__new__(cls, results)

    def __init__(
        self,
        told: Sequence[Told],
        results: Sequence[Result],  # noqa: ARG002 - see __new__
        fetched: Mapping[str, Path],
    ) -> None:
        super().__init__(told[0].session, all_metadata(told))  # pyright: ignore[reportUnknownMemberType]
        self._told = tuple(told)
        self.fetched = fetched
        self.facts = {item.id: item.facts for item in told}

    def __reduce__(self) -> tuple[type, tuple[tuple[Result, ...]]]:
        """Pickle the results alone: an op's output is stored, and sessions are bound to this process."""
        return tuple, (tuple(self),)

    def get_results(self, *, implicit_materializations: bool = True) -> Sequence[Result]:
        """Return the results; without implicit ones only those of assets that a payload reported."""
        if implicit_materializations:
            return tuple(self)
        reported = {
            result.asset_key
            for item in self._told
            for result in item.results()
            if isinstance(result, MaterializeResult)
        }
        return [item for item in self if not isinstance(item, MaterializeResult) or item.asset_key in reported]

    def get_materialize_result(self, *, implicit_materialization: bool = True) -> MaterializeResult[Any]:
        """Return the result of the step's only asset, with its checks."""
        results = self.get_results(implicit_materializations=implicit_materialization)
        merged = materialize_result_from_pipes_results(results)  # pyright: ignore[reportUnknownVariableType]
        return cast("MaterializeResult[Any]", merged)

    def get_custom_messages(self) -> Sequence[Any]:
        """Return what the payloads reported with ``report_custom_message``, component by component."""
        return [message for item in self._told for message in item.session.get_custom_messages()]


def all_metadata(told: Sequence[Told]) -> dict[str, MetadataValue]:
    """Return the facts of all components, each below its name."""
    return {name: value for item in told for name, value in namespaced(item.facts, item.id).items()}


def results_of(
    told: Sequence[Told], assets: Assets, keys: Sequence[AssetKey], own: Own, *, several: bool
) -> list[Result]:
    """Return one result for each asset, and the checks.

    An asset that one component makes has that one's metadata as they are. One that several make (the only asset of a
    step: all of them) has each one's below its name.

    Args:
        told: the components.
        assets: which component makes what.
        keys: the assets.
        own: what is known of each asset alone.
        several: the step makes more than one.
    """
    found: list[Result] = [_result_of(key, told, assets, own.get(key, {}), several=several) for key in keys]
    for item in told:
        found += [result for result in item.results() if isinstance(result, AssetCheckResult)]
    return found


def _result_of(
    key: AssetKey, told: Sequence[Told], assets: Assets, own: Mapping[str, MetadataValue], *, several: bool
) -> MaterializeResult[Any]:
    makers = [item for item in told if key in assets.get(item.id, ())]
    alone = len(makers) == 1 and several
    metadata: dict[str, Any] = {}
    version: DataVersion | None = None
    for item in makers:
        metadata.update(namespaced(item.facts, "" if alone else item.id))
        for result in item.reported(key):
            said = cast("Mapping[str, Any]", result.metadata or {})  # pyright: ignore[reportUnknownMemberType]
            metadata.update({name if alone else f"{item.id}/{name}": value for name, value in said.items()})
            version = result.data_version or version
    metadata.update(all_metadata([item for item in told if not assets.get(item.id)]))
    metadata.update(own)
    return MaterializeResult(asset_key=key, metadata=metadata, data_version=version)


def record(context: Context, results: Sequence[Result]) -> None:
    """Write down in Dagster what succeeded although the step fails."""
    step = context.get_step_execution_context()
    for result in results:
        if isinstance(result, AssetCheckResult):
            evaluation = result.to_asset_check_evaluation(step)
            context.log_event(evaluation)  # pyright: ignore[reportArgumentType] - it takes them, its type does not say so
            continue
        metadata = cast("Mapping[str, Any]", result.metadata or {})  # pyright: ignore[reportUnknownMemberType]
        tags = {DATA_VERSION_TAG: result.data_version.value} if result.data_version else None
        partitions = context.partition_keys if context.has_partition_key or context.has_partition_key_range else [None]
        for partition in partitions:
            assert result.asset_key is not None  # noqa: S101 - we named it
            context.log_event(AssetMaterialization(result.asset_key, metadata=metadata, partition=partition, tags=tags))


def assets_of(context: Context, ids: Sequence[str], named: Mapping[str, Any] | None) -> Assets:
    """Return which component makes which assets of the step.

    One asset is made by all. Of several, each is made by the component of its name, or as ``named`` says.

    Raises:
        ConfigurationError: an asset that no component makes, or a name that means nothing.
    """
    keys = list(context.selected_asset_keys) if context.has_assets_def else []
    if named is None:
        if len(keys) <= 1:
            return {name: tuple(keys) for name in ids}
        found = {name: tuple(key for key in keys if name in (key.path[-1], key.to_user_string())) for name in ids}
        lost = [name for name in ids if not found[name]]
        if lost:
            raise ConfigurationError(
                f"component {lost[0]!r} has the name of no asset of this step",
                hint=f"The assets are {_names(keys)}: say assets={{{lost[0]!r}: '...'}}, for all components.",
            )
    else:
        found = {name: _keys(value) for name, value in named.items()}
        for name in found:
            if name not in ids:
                raise ConfigurationError(f"assets= names {name!r}, which is no component", hint=f"{', '.join(ids)}")
    made = {key for some in found.values() for key in some}
    for key in made - set(keys):
        raise ConfigurationError(
            f"assets= names {key.to_user_string()!r}, which this step does not make", hint=f"It makes {_names(keys)}."
        )
    for key in keys:
        if key not in made:
            raise ConfigurationError(
                f"no component makes the asset {key.to_user_string()!r}",
                hint="Name the component after it, or say so: assets={component_id: asset_key}.",
            )
    return found


def _keys(value: Any) -> tuple[AssetKey, ...]:
    if isinstance(value, AssetKey):
        return (value,)
    if isinstance(value, str):
        return (AssetKey.from_user_string(value),)
    return tuple(key for item in value for key in _keys(item))


def _names(keys: Sequence[AssetKey]) -> str:
    return ", ".join(key.to_user_string() for key in keys)
