"""What Dagster hears of the partitions of one step: each is materialized by itself, and none a second time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from dagster import (
    AssetCheckResult,
    AssetKey,
    AssetMaterialization,
    DagsterEventType,
    DataVersion,
    MaterializeResult,
    MetadataValue,
)
from dagster._core.definitions.data_version import compute_logical_data_version
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION
from dagster._core.execution.plan import execute_step
from dagster._core.storage.tags import ASSET_RESUME_RETRY_TAG, RESUME_RETRY_TAG

from dagster_slurm.pipes.completed import Result
from dagster_slurm.pipes.handles import Context

_ANCESTORS = 64
#: a result with it tells Dagster that the step has reported its assets itself; see execute_step
REPORTED = SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION


def materialized(context: Context, assets: Sequence[AssetKey]) -> set[str]:
    """Return the partitions that this run, or those that it retries from failure, have materialized in this step."""
    found: dict[str, set[AssetKey]] = {}
    step = context.get_step_execution_context().step.key
    run = context.dagster_run
    for _ in range(_ANCESTORS):
        for entry in context.instance.all_logs(run.run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION):
            event = entry.dagster_event
            if event is not None and entry.step_key == step and event.partition is not None and event.asset_key:
                found.setdefault(event.partition, set()).add(event.asset_key)
        again = "true" in (run.tags.get(RESUME_RETRY_TAG), run.tags.get(ASSET_RESUME_RETRY_TAG))
        parent = context.instance.get_run_by_id(run.parent_run_id) if again and run.parent_run_id else None
        if parent is None:
            break
        run = parent
    return {partition for partition, made in found.items() if made >= set(assets)}


def materialize(
    context: Context,
    assets: Sequence[AssetKey],
    partition: str,
    results: Sequence[Result],
    metadata: Mapping[str, MetadataValue],
) -> None:
    """Write down that a partition of all assets of the step is there, with what its payload said of it."""
    for key in assets:
        said = [item for item in results if isinstance(item, MaterializeResult) and item.asset_key == key]
        own: dict[str, Any] = dict(metadata)
        version: DataVersion | None = None
        for item in said:
            own.update(cast("Mapping[str, Any]", item.metadata or {}))  # pyright: ignore[reportUnknownMemberType]
            version = item.data_version or version
        tags = _version_tags(context, key, version)
        context.log_event(AssetMaterialization(key, metadata=own, partition=partition, tags=tags))


def at_the_end(assets: Sequence[AssetKey], checks: Mapping[str, Sequence[AssetCheckResult]]) -> list[Result]:
    """Return the results of the step: its assets are reported already; a check is passed if it is in each partition."""
    found: list[Result] = [MaterializeResult(asset_key=key, metadata={REPORTED: True}) for key in assets]
    return [*found, *_checks(checks)]


def _checks(checks: Mapping[str, Sequence[AssetCheckResult]]) -> list[AssetCheckResult]:
    found: dict[tuple[AssetKey | None, str | None], list[tuple[str, AssetCheckResult]]] = {}
    for partition, results in checks.items():
        for result in results:
            found.setdefault((result.asset_key, result.check_name), []).append((partition, result))
    return [_together(items) for items in found.values()]


def _together(items: Sequence[tuple[str, AssetCheckResult]]) -> AssetCheckResult:
    failed = [(partition, result) for partition, result in items if not result.passed]
    _, model = (failed or items)[0]
    metadata: dict[str, Any] = {"partitions": len(items), "failed_partitions": [partition for partition, _ in failed]}
    return AssetCheckResult(
        passed=not failed,
        asset_key=model.asset_key,
        check_name=model.check_name,
        severity=model.severity,
        description=model.description,
        metadata={**cast("Mapping[str, Any]", model.metadata or {}), **metadata},  # pyright: ignore[reportUnknownMemberType]
    )


def _version_tags(context: Context, key: AssetKey, version: DataVersion | None) -> dict[str, str]:
    """Return the tags by which Dagster knows what is stale, as it makes them itself for an asset that is returned."""
    step = context.get_step_execution_context()
    if not step.is_external_input_asset_version_info_loaded:
        return {}
    code = execute_step._get_code_version(key, step)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    inputs = execute_step._get_input_provenance_data(key, step)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    own = version or compute_logical_data_version(code, {name: item["data_version"] for name, item in inputs.items()})
    return execute_step._build_data_version_tags(  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        own, code, inputs, version is not None
    )
