"""Launchers as YAML names them: ``bash``, or ``{ray: {num_gpus_per_node: 2}}``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

from dagster_slurm.core.options import suggestion
from dagster_slurm.errors import ConfigurationError
from dagster_slurm.launchers.bash import BashLauncher
from dagster_slurm.launchers.launcher import ComputeLauncher
from dagster_slurm.launchers.ray import RayLauncher
from dagster_slurm.launchers.spark import SparkLauncher

_KINDS: dict[str, type[ComputeLauncher]] = {"bash": BashLauncher, "ray": RayLauncher, "spark": SparkLauncher}


def named(said: str | Mapping[str, Any]) -> ComputeLauncher:
    """Return the launcher that a text or a mapping names.

    Raises:
        ConfigurationError: there is no such launcher, or it has no such setting.
    """
    if isinstance(said, str):
        kind, settings = said, dict[str, Any]()
    elif len(said) == 1:
        kind, given = next(iter(said.items()))
        settings = dict(given or {})
    else:
        raise ConfigurationError(f"launcher={dict(said)!r} names not one launcher", hint="launcher: {ray: {...}}")
    if kind not in _KINDS:
        raise ConfigurationError(f"launcher={kind!r} is not known", hint=suggestion(kind, frozenset(_KINDS)))
    known = frozenset(field.name for field in dataclasses.fields(_KINDS[kind]))
    for name in settings:
        if name not in known:
            raise ConfigurationError(f"launcher {kind} has no setting {name!r}", hint=suggestion(name, known))
    return _KINDS[kind](**{name: _tuples(value) for name, value in settings.items()})


def _tuples(value: Any) -> Any:
    """YAML has lists where dataclasses have tuples."""
    return tuple(cast("list[Any]", value)) if isinstance(value, list) else value
