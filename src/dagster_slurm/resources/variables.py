"""``dg.EnvVar`` in resources that Dagster did not set up: in a call as a function, or in a client."""

from __future__ import annotations

import os
from typing import Any, TypeVar

import dagster as dg
from dagster._config.field_utils import IntEnvVar

from dagster_slurm.errors import ConfigurationError

Configured = TypeVar("Configured", bound=dg.Config)


def filled_in(config: Configured) -> Configured:
    """Return a configuration with the values of its variables; the same one, if it has none.

    Raises:
        ConfigurationError: a variable is not set.
    """
    values: dict[str, Any] = {name: getattr(config, name) for name in type(config).model_fields}
    filled = {name: _value(value) for name, value in values.items()}
    if all(filled[name] is value for name, value in values.items()):
        return config
    return type(config)(**filled)


def _value(value: Any) -> Any:
    if isinstance(value, IntEnvVar):
        return int(_looked_up(value.name))
    if isinstance(value, dg.EnvVar):
        return _looked_up(value.env_var_name)
    return filled_in(value) if isinstance(value, dg.Config) else value


def _looked_up(name: str) -> str:
    if name not in os.environ:
        raise ConfigurationError(f"the environment variable {name} is not set", hint="The resource refers to it.")
    return os.environ[name]
