"""What an asset's past materializations tell of its jobs."""

from __future__ import annotations

import dagster as dg

from dagster_slurm.core import right_sizing
from dagster_slurm.core.facts import Fact
from dagster_slurm.pipes.handles import Context, is_direct

_NAMESPACE = "slurm/"


def jobs_of(instance: dg.DagsterInstance, key: dg.AssetKey, most: int) -> list[dict[str, object]]:
    """Return the facts of the jobs of the latest materializations, the latest first: one query of Dagster's storage."""
    found: list[dict[str, object]] = []
    for record in instance.fetch_materializations(key, limit=most).records:
        materialization = record.asset_materialization
        if materialization is not None:
            metadata = materialization.metadata
            named = {
                name.removeprefix(_NAMESPACE): item for name, item in metadata.items() if name.startswith(_NAMESPACE)
            }
            found.append({name: item.value for name, item in named.items()})
    return found


def hint(context: Context, facts: dict[str, Fact]) -> dict[str, Fact]:
    """Return what this run and those before it say about what the asset asks for, as one more fact."""
    if is_direct(context) or not context.has_assets_def or len(context.selected_asset_keys) != 1:
        return {}
    (key,) = context.selected_asset_keys
    runs = [facts, *jobs_of(context.instance, key, right_sizing.MOST_RUNS - 1)]
    said = right_sizing.hints(runs)
    return {"right_sizing": "; ".join(said)} if said else {}
