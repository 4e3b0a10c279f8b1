"""``SlurmPathIOManager``: an upstream asset as a parameter is the path of its result."""
# No lazy annotations here: Dagster's metaclass reads ResourceDependency when the class is made.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from dagster_slurm.core.data import Slot
from dagster_slurm.engine.target import Target
from dagster_slurm.errors import ConfigurationError, DagsterSlurmError, ResultNotHere
from dagster_slurm.pipes.failure import failure
from dagster_slurm.resources.compute import ComputeResource
from dagster_slurm.resources.data import folder_of
from dagster_slurm.resources.variables import filled_in

#: Dagster's own IO managers know it too
_MAY_BE_MISSING = "allow_missing_partitions"


@dataclass(frozen=True)
class _Known:
    """What the latest materialization says of a result."""

    host: str
    path: str
    inode: int


class SlurmPathIOManager(dg.ConfigurableIOManager):
    """Gives assets the paths of upstream results, where they run: nothing is read, stored or moved.

    A parameter is the path, or, where several partitions are meant, a dictionary of paths by partition. What does not
    lie there, since it was made on another cluster or in local mode, ends the step before anything is submitted.
    """

    compute: dg.ResourceDependency[ComputeResource]  # pyright: ignore[reportAssignmentType]

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Take no value: payloads write their results themselves.

        Raises:
            SlurmFailure: the asset returned a value.
        """
        if obj is not None:
            raise failure(
                ConfigurationError(
                    f"{context.get_asset_identifier()} returned a value, and SlurmPathIOManager stores none",
                    hint="Return compute.run(...), or give the asset another io_manager_key.",
                )
            )

    def load_input(self, context: dg.InputContext) -> str | dict[str, str]:
        """Return the path of a result, or paths by partition.

        Raises:
            SlurmFailure: it does not lie where this asset runs; there is no folder for results.
        """
        try:
            settings = filled_in(self.compute)
            place = _Place(context, settings, settings.target())
            if not context.has_asset_partitions:
                return place.path_of(None)
            keys = list(context.asset_partition_keys)
            if len(keys) == 1:
                return place.path_of(keys[0])
            return place.paths_of(keys)
        except DagsterSlurmError as error:
            raise failure(error) from None


class _Place:
    """Where the results of one upstream asset lie."""

    def __init__(self, context: dg.InputContext, settings: ComputeResource, target: Target) -> None:
        self._context = context
        self._settings = settings
        self._target = target

    def paths_of(self, partitions: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        missing: list[ResultNotHere] = []
        for partition in partitions:
            try:
                found[partition] = self.path_of(partition)
            except ResultNotHere as error:
                missing.append(error)
        metadata: Mapping[str, Any] = self._context.definition_metadata or {}
        if missing and not metadata.get(_MAY_BE_MISSING):
            error = missing[0]
            error.details["missing"] = f"{len(missing)} of {len(partitions)} partitions"
            raise error
        return found

    def path_of(self, partition: str | None) -> str:
        """Return the path of a result that lies here.

        Raises:
            ResultNotHere: it does not.
        """
        key = self._context.asset_key
        path = folder_of(key, partition, self._settings, self._target)
        answer, _ = self._target.host.request("find_files", root=path, patterns=[], most=0)
        inode, known = answer["inode"], self._known(partition)
        text, host = Slot(tuple(key.path), partition).text, self._target.host.name
        if inode is None and known is None:
            raise ResultNotHere(
                f"{text} was never made: nothing lies at {path} on {host}", hint="Materialize it first."
            )
        other = known is not None and known.inode not in (0, inode)
        if inode is None or (known is not None and other and known.host != host):
            where = f"{known.path} on {known.host}" if known else path
            what = "nothing" if inode is None else "another result"
            raise ResultNotHere(
                f"{text} is not here: it was made at {where}, and {what} lies at {path} on {host}",
                hint="Materialize it where this asset runs, or copy it there; data does not travel by itself.",
            )
        if other:
            self._context.log.warning(f"{path} is not what the latest materialization of {text} left there.")
        return path

    def _known(self, partition: str | None) -> _Known | None:
        """Return what the latest materialization says."""
        wanted = dg.AssetRecordsFilter(
            asset_key=self._context.asset_key, asset_partitions=None if partition is None else [partition]
        )
        records = self._context.instance.fetch_materializations(wanted, limit=1).records
        event = records[0].asset_materialization if records else None
        if event is None or "slurm/output_path" not in event.metadata:
            return None
        said = {name: getattr(value, "value", None) for name, value in event.metadata.items()}
        inode = said.get("slurm/output_inode")
        return _Known(
            str(said.get("slurm/output_host")),
            str(said["slurm/output_path"]),
            inode if isinstance(inode, int) else 0,
        )
