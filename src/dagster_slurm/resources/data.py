"""What a step reads and writes: its assets, what they depend on, and the partitions of each."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import dagster as dg

from dagster_slurm.core.data import Slot, Wanted, place
from dagster_slurm.engine.target import Target
from dagster_slurm.errors import ConfigurationError
from dagster_slurm.pipes.handles import Context, is_direct
from dagster_slurm.resources.session import SlurmSessionResource
from dagster_slurm.resources.slurm import SlurmResource
from dagster_slurm.resources.surroundings import expanded

#: more partitions than this are not named one by one to a payload
_MOST = 1000
_NAME_ONE = (
    'Set SlurmResource(data_base="$SCRATCH/results"), for instance; in local mode ComputeResource(data_base=...), a '
    "folder on this machine."
)


def wanted(context: Context, target: Target, data_base: str | None, *, resume: bool) -> Wanted | None:
    """Return what the payload of a step reads and writes; None: nobody said where results live.

    Args:
        context: of the step.
        target: where it runs.
        data_base: the folder of results as the user wrote it.
        resume: what an attempt wrote stays for the next one.

    Raises:
        ConfigurationError: the folder has a variable that is not set there; or there is none, and what an attempt wrote
            is to stay.
        HostError: the host never answered, or refuses us.
    """
    if data_base is None:
        if resume:
            raise ConfigurationError("resume_output=True needs a folder for results", hint=_NAME_ONE)
        return None
    return Wanted(root(target, data_base), _outputs(context), _inputs(context), resume)


class Settings(Protocol):
    """What the resource says."""

    slurm: SlurmResource | None
    session: SlurmSessionResource | None
    data_base: str | None


def data_base(settings: Settings, target: Target) -> str | None:
    """Return the folder of results as the user wrote it."""
    slurm = _cluster(settings)
    there = slurm.data_base if slurm is not None else None
    return settings.data_base or there if target.local else there


def root(target: Target, data_base: str | None) -> str:
    """Return the folder of results, as the target understands it.

    Raises:
        ConfigurationError: there is none, it has a variable that is not set there, or is no absolute path.
        HostError: the host never answered, or refuses us.
    """
    if data_base is None:
        raise ConfigurationError("nobody said where results live", hint=_NAME_ONE)
    if not data_base.startswith(("/", "~", "$")):
        raise ConfigurationError(
            f"data_base={data_base!r} is not an absolute path", hint='data_base="$SCRATCH/results", for instance.'
        )
    return expanded(data_base, "data_base", target).rstrip("/") or "/"


def _cluster(settings: Settings) -> SlurmResource | None:
    return settings.slurm or (settings.session.cluster() if settings.session is not None else None)


def sending(settings: Settings, target: Target) -> Callable[[Sequence[Path]], str]:
    """Return what says how large files get to the data folder."""

    def say(sources: Sequence[Path]) -> str:
        base = data_base(settings, target)
        folder = f"{root(target, base) if base is not None else target.place().base}/sent"
        words = ["rsync", "-a", "--partial", *map(str, sources)]
        if target.local:
            return f"Hand the path over instead, in extras; or {shlex.join([*words, f'{folder}/'])}"
        slurm = _cluster(settings)
        ssh = slurm.ssh if slurm is not None else None
        if ssh is not None:
            words[2:2] = ["-e", f"ssh -p {ssh.port}"] if ssh.port else []
            folder = f"{f'{ssh.user}@' if ssh.user else ''}{ssh.host}:{folder}"
        return f"{shlex.join([*words, f'{folder}/'])}   Then hand the path there over, in extras."

    return say


def folder_of(asset: Any, partition: str | None, settings: Settings, target: Target) -> str:
    """Return the folder of a result; see :meth:`ComputeResource.path`.

    Raises:
        ConfigurationError: no asset is named so, or there is no folder for results.
        HostError: the host never answered, or refuses us.
    """
    return place(root(target, data_base(settings, target)), slot(asset, partition))


def slot(asset: Any, partition: str | None) -> Slot:
    """Return the place of what a user names: a key, its text ``raw/daily``, its parts, or the asset itself.

    Raises:
        ConfigurationError: it names no asset, or the partition is no text.
    """
    if partition is not None and not isinstance(partition, str):  # pyright: ignore[reportUnnecessaryIsInstance] - users
        raise ConfigurationError(f"partition={partition!r} is not a text", hint=f"Write {str(partition)!r}.")
    parts = tuple(_key(asset).path)
    if not all(parts):
        raise ConfigurationError(f"asset_key={asset!r} names no asset", hint='compute.path("raw/daily").')
    return Slot(parts, partition)


def _key(asset: Any) -> dg.AssetKey:
    try:
        if isinstance(asset, str):
            return dg.AssetKey.from_user_string(asset)
        if isinstance(asset, dg.AssetKey):
            return asset
        if isinstance(asset, Sequence):
            return dg.AssetKey([*asset])  # pyright: ignore[reportUnknownArgumentType] - checked by Dagster
        return dg.AssetKey.from_coercible_or_definition(asset)
    except Exception as error:  # noqa: BLE001 - Dagster's checks have many types; all say that this is no asset
        raise ConfigurationError(
            f"asset_key={asset!r} names no asset: {error}", hint='compute.path("raw/daily", partition="2024-01-01").'
        ) from None


def _outputs(context: Context) -> tuple[Slot, ...]:
    if not context.has_assets_def:
        return ()
    partitions = _partitions(context)
    keys = sorted(context.selected_asset_keys)
    return tuple(Slot(tuple(key.path), partition) for key in keys for partition in partitions)


def _partitions(context: Context) -> Sequence[str | None]:
    """Return the partitions of this step; that of an asset that has none is None."""
    if is_direct(context):
        return [context.partition_key] if context.has_partition_key else [None]
    return context.partition_keys if context.has_partition_key or context.has_partition_key_range else [None]


def _inputs(context: Context) -> tuple[Slot, ...]:
    if not context.has_assets_def:
        return ()
    found: list[Slot] = []
    for name, key in sorted(context.assets_def.keys_by_input_name.items()):
        found += [Slot(tuple(key.path), partition) for partition in _input_partitions(context, name)]
    return tuple(dict.fromkeys(found))


def _input_partitions(context: Context, name: str) -> Sequence[str | None]:
    """Return the partitions to read; None: there are none, or all of them are meant."""
    if is_direct(context) or not (context.has_partition_key or context.has_partition_key_range):
        return [None]
    step = context.get_step_execution_context()
    if name not in step.op_def.input_dict or not step.has_asset_partitions_for_input(name):
        return [None]
    keys = context.asset_partition_keys_for_input(name)
    return keys if 0 < len(keys) <= _MOST else [None]
