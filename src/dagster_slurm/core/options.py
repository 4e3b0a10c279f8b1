"""What users say in the words of sbatch, as :class:`Resources`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagster_slurm.core.option_names import suggestion
from dagster_slurm.core.resources import Resources
from dagster_slurm.errors import ConfigurationError

__all__ = ["from_options", "from_requirements", "suggestion"]


def from_options(options: Mapping[str, Any] | None) -> Resources:
    """Return the resources that a mapping of sbatch options or field names describes.

    ``extra_slurm_opts={"cpus_per_task": 4, "mem": "8G", "exclusive": True}``: names with ``-`` or ``_``, long or short.

    Raises:
        ConfigurationError: an unknown option, or a value that sbatch would not understand.
    """
    given = {name: value for name, value in (options or {}).items() if value is not None}
    return Resources(gpu_directive=given.pop("gpu_directive", None), options=given)


def from_requirements(requirements: Mapping[str, Any] | None) -> Resources:
    """Return the resources for ``resource_requirements={"cpus": 8, "gpus": 1, "memory_gb": 32, "framework": "ray"}``.

    Raises:
        ConfigurationError: an unknown key, or a value that is no amount.
    """
    known = frozenset({"framework", "cpus", "gpus", "memory_gb", "nodes", "time_limit"})
    wanted = dict(requirements or {})
    for name in wanted:
        if name not in known:
            raise ConfigurationError(f"resource_requirements has no {name!r}", hint=suggestion(name, known))
    memory, gpus = wanted.get("memory_gb"), wanted.get("gpus")
    return Resources(
        cpus=wanted.get("cpus"),
        gpus_per_node=gpus or None,
        mem=None if memory is None else _mebibytes_of(memory),
        nodes=wanted.get("nodes"),
        time_limit=wanted.get("time_limit"),
    )


def _mebibytes_of(gibibytes: Any) -> int:
    try:
        return max(int(float(gibibytes) * 1024), 1)
    except (TypeError, ValueError, OverflowError):
        raise ConfigurationError(
            f"memory_gb={gibibytes!r} is not an amount of memory", hint="Give a number of gigabytes, such as 32 or 0.5."
        ) from None
