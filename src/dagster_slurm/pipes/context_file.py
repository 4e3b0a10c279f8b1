"""The Pipes context as a file of the run directory."""

from __future__ import annotations

import json
from collections.abc import Collection, Generator
from contextlib import contextmanager

from dagster import TimeWindowPartitionsDefinition
from dagster._core.pipes.client import PipesContextInjector
from dagster_pipes import (
    PipesContextData,
    PipesDefaultContextLoader,
    PipesParams,
    PipesPartitionKeyRange,
    PipesTimeWindow,
)

from dagster_slurm.pipes.handles import Context


class ContextFile(PipesContextInjector):
    """Keeps the context for the run directory: it can be large, so it is no variable.

    Args:
        path: where it will lie.
        context: of the step.
        assets: of those that the step makes, the ones that this payload makes; None: all.

    Attributes:
        content: the context, once the session is open.
    """

    def __init__(self, path: str, context: Context, assets: Collection[str] | None = None) -> None:
        self._path = path
        self._assets = assets
        self._context = context
        self.content = b""

    @contextmanager
    def inject_context(self, context_data: PipesContextData) -> Generator[PipesParams]:
        """Keep the context, and yield where the payload finds it."""
        _add_range(context_data, self._context)
        if self._assets is not None:
            _narrow(context_data, self._assets)
        self.content = json.dumps(context_data).encode()
        yield {PipesDefaultContextLoader.FILE_PATH_KEY: self._path}

    def no_messages_debug_text(self) -> str:
        """Say where it lies."""
        return f"The context lies in {self._path}."


def _narrow(data: PipesContextData, assets: Collection[str]) -> None:
    """Leave the other assets of the step out, so that a payload with one asset need not name it."""
    if data["asset_keys"] is None:
        return
    data["asset_keys"] = [key for key in data["asset_keys"] if key in assets]
    versions, provenance = data["code_version_by_asset_key"], data["provenance_by_asset_key"]
    if versions is not None:
        data["code_version_by_asset_key"] = {key: value for key, value in versions.items() if key in assets}
    if provenance is not None:
        data["provenance_by_asset_key"] = {key: value for key, value in provenance.items() if key in assets}


def _add_range(data: PipesContextData, context: Context) -> None:
    """Complete what Dagster tells of a run over several partitions: of a range it tells nothing."""
    if data["partition_key_range"] is not None or not context.has_partition_key_range:
        return
    ends = context.partition_key_range
    data["partition_key_range"] = PipesPartitionKeyRange(start=ends.start, end=ends.end)
    if context.has_assets_def and isinstance(context.assets_def.partitions_def, TimeWindowPartitionsDefinition):
        window = context.partition_time_window
        data["partition_time_window"] = PipesTimeWindow(start=window.start.isoformat(), end=window.end.isoformat())
