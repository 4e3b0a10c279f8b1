"""What Dagster is told of results: on each materialization its own, and what stayed empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import dagster as dg

from dagster_slurm.core.data import Slot, Wanted, place
from dagster_slurm.core.facts import Fact
from dagster_slurm.core.record import Output
from dagster_slurm.pipes.failure import namespaced
from dagster_slurm.pipes.handles import Context

#: what goes on the materialization of one asset alone
Own = Mapping[dg.AssetKey, Mapping[str, dg.MetadataValue]]


def own_metadata(wanted: Wanted | None, outputs: Sequence[Output], host: str) -> Own:
    """Return what there is of each asset's result: its place, files and bytes."""
    if wanted is None or not outputs:
        return {}
    by_name = {output.name: output for output in outputs}
    found: dict[dg.AssetKey, dict[str, dg.MetadataValue]] = {}
    for asset in dict.fromkeys(slot.asset for slot in wanted.outputs):
        slots = [slot for slot in wanted.outputs if slot.asset == asset]
        mine = [by_name[slot.folder] for slot in slots if slot.folder in by_name]
        facts: dict[str, Fact] = {
            "output_path": place(wanted.root, slots[0] if len(slots) == 1 else Slot(asset)),
            "output_host": host,
            "output_files": sum(output.files for output in mine),
            "output_bytes": sum(output.size for output in mine),
            **({"output_partitions": len(slots)} if len(slots) > 1 else {"output_inode": mine[0].inode if mine else 0}),
        }
        found[dg.AssetKey(asset)] = namespaced(facts)
    return found


def merged(one: Own, other: Own) -> Own:
    """Return what both say."""
    return {key: {**one.get(key, {}), **other.get(key, {})} for key in (*one, *other)}


def say_what_is_empty(context: Context, wanted: Wanted | None, outputs: Sequence[Output]) -> None:
    """Say which outputs stayed empty. Not every payload has something to leave; old results are another matter."""
    empty = {output.name: output for output in outputs if not output.files}
    for slot in wanted.outputs if wanted else ():
        output = empty.get(slot.folder)
        if output is None:
            continue
        if output.inode:
            context.log.warning(
                f"The payload wrote nothing into its output folder: what lies in {output.path} is of an earlier run."
            )
        else:
            context.log.info(f"The payload left no files for {slot.text}: its output folder stayed empty.")
