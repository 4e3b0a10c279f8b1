"""What an asset's own metadata say about its job."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dagster_slurm.core.options import from_options, from_requirements
from dagster_slurm.core.resources import Resources, merge
from dagster_slurm.environments.choice import Named
from dagster_slurm.errors import ConfigurationError
from dagster_slurm.pipes.handles import Context

_PREFIXES = ("slurm_", "slurm/")
_RESOURCES, _DEPLOYED, _ENVIRONMENT = "resources", "pre_deployed_env_path", "environment"
#: of the public package: a command that packs with pixi-pack
_PACK_COMMAND = "pack_cmd"
_FETCH = "fetch"


@dataclass(frozen=True)
class Said:
    """What metadata say."""

    resources: Resources = field(default_factory=Resources)
    pre_deployed_env_path: str | None = None
    environment: Named | None = None
    fetch: Any = ()


def from_metadata(context: Context) -> Said:
    """Return what the metadata of the step's assets say; those of an op's assets must agree.

    ``slurm_resources={"cpus": 8}``, ``slurm_partition="gpu"`` and the like for any sbatch option,
    ``slurm_environment``, ``slurm_fetch``, ``slurm_pack_cmd``, ``slurm_pre_deployed_env_path``; ``extra_slurm_opts``
    and ``resource_requirements`` as well.

    Raises:
        ConfigurationError: an unknown option, or assets of one step that ask for different things.
    """
    found: list[Said] = []
    for metadata in _metadata(context):
        said = _said(metadata)
        if said not in found:
            found.append(said)
    if len(found) > 1:
        raise ConfigurationError(
            "the assets of this step ask for different resources in their metadata",
            hint="They run in one job: let them say the same, or pass resources= to run().",
        )
    return found[0] if found else Said()


def _metadata(context: Context) -> list[Mapping[str, Any]]:
    if not context.has_assets_def:
        return []
    by_key = context.assets_def.metadata_by_key
    return [by_key.get(key, {}) for key in context.selected_asset_keys]


def _said(metadata: Mapping[str, Any]) -> Said:
    options: dict[str, Any] = {}
    resources: list[Resources] = []
    deployed: str | None = None
    environment: Named | None = None
    fetch: Any = ()
    for name, wrapped in metadata.items():
        value = getattr(wrapped, "value", wrapped)
        prefix = next((prefix for prefix in _PREFIXES if name.startswith(prefix)), "")
        plain = name.removeprefix(prefix)
        if name == "extra_slurm_opts" or (prefix and plain == _RESOURCES):
            resources.append(from_options(value))
        elif name == "resource_requirements":
            resources.append(from_requirements(value))
        elif prefix and plain == _DEPLOYED:
            deployed = str(value)
        elif prefix and plain == _ENVIRONMENT:
            environment = value
        elif prefix and plain == _FETCH:
            fetch = value
        elif prefix and plain == _PACK_COMMAND:
            words = shlex.split(value) if isinstance(value, str) else list(value)
            environment = {"pixi": {"pack_cmd": words}}
        elif prefix:
            options[plain] = value
    return Said(merge(from_options(options), *resources), deployed, environment, fetch)
