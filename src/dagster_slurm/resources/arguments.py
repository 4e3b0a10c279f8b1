"""The arguments of ``run``: what users may hand over, checked as soon as it is there."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from dagster_slurm.core import former
from dagster_slurm.core.options import from_options, from_requirements, suggestion
from dagster_slurm.core.resources import Resources, merge
from dagster_slurm.core.retries import SlurmRetryPolicy
from dagster_slurm.environments.choice import Named
from dagster_slurm.errors import ConfigurationError
from dagster_slurm.launchers.launcher import ComputeLauncher
from dagster_slurm.resources.run_config import SlurmRunConfig

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The arguments of ``run``; see there.

    Raises:
        ConfigurationError: one of them is of another kind than it must be.
    """

    payload_path: PathLike | Sequence[str] | None
    launcher: ComputeLauncher
    resources: Resources
    extra_env: Mapping[str, str]
    extras: Mapping[str, Any]
    extra_files: Sequence[PathLike] | Mapping[str, PathLike]
    key: str | None
    skip_payload_upload: bool | None
    remote_payload_path: str | None
    environment: Named | None
    launchpad_environment: Named | None
    default_environment: Named | None
    force_env_push: bool
    poll_timeout: float | None
    resume_output: bool = False
    fetch: Sequence[str] | None = None
    retry: SlurmRetryPolicy | None = None

    def __post_init__(self) -> None:
        """Refuse at once what would end in a riddle later."""
        _check_kind("launcher", self.launcher, ComputeLauncher, "launcher=BashLauncher().")
        _check_kind("extra_env", self.extra_env, Mapping, 'extra_env={"NAME": "value"}.')
        for name, value in self.extra_env.items():
            _check_variable(name, value)
        _check_kind("extras", self.extras, Mapping, 'extras={"name": value}.')
        for name, value in self.extras.items():
            _check_extra(name, value)
        if self.key is not None:
            _check_name("key", self.key)
        if self.poll_timeout is not None:
            _check_seconds("poll_timeout", self.poll_timeout)
        if self.retry is not None:
            _check_kind("retry", self.retry, SlurmRetryPolicy, "retry=SlurmRetryPolicy().")


def said_in_call(
    resources: Resources | None,
    extra_slurm_opts: Mapping[str, Any] | None,
    resource_requirements: Mapping[str, Any] | None,
    config: SlurmRunConfig,
) -> Resources:
    """Return the resources that the call says, and after it the launchpad.

    Raises:
        ConfigurationError: an unknown option, or a value that sbatch would not understand.
    """
    _check_kind("resources", Resources() if resources is None else resources, Resources, _as_resources(resources))
    _check_kind("extra_slurm_opts", extra_slurm_opts or {}, Mapping, 'extra_slurm_opts={"mem": "8G"}.')
    _check_kind("resource_requirements", resource_requirements or {}, Mapping, 'resource_requirements={"cpus": 8}.')
    _check_kind("config", config, SlurmRunConfig, "config=SlurmRunConfig(...), as the asset is given it.")
    return merge(
        resources, from_options(extra_slurm_opts), from_requirements(resource_requirements), config.resources()
    )


def _check_kind(name: str, value: object, kind: type, hint: str) -> None:
    if not isinstance(value, kind):
        raise ConfigurationError(f"{name}={value!r} is not of the kind {kind.__name__}", hint=hint)


def _as_resources(given: object) -> str:
    fields = cast("dict[str, object]", given) if isinstance(given, dict) else {}
    return f"resources=Resources({', '.join(f'{name}={value!r}' for name, value in fields.items()) or '...'})."


def _check_seconds(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ConfigurationError(f"{name}={value!r} is not a number of seconds above 0")


def _check_name(name: str, value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{name}={value!r} is no name for a call", hint=f'{name}="train".')


def _check_variable(name: object, value: object) -> None:
    if not isinstance(name, str) or not isinstance(value, (str, int, float, os.PathLike)):
        raise ConfigurationError(
            f"extra_env: {name!r} is {value!r}",
            hint='Give texts; "" sets a variable to nothing, leaving it out does not.',
        )


def _check_extra(name: object, value: object) -> None:
    if not isinstance(name, str):
        raise ConfigurationError(f"extras: {name!r} is not a text", hint=f"Write {str(name)!r}.")
    try:
        json.dumps(value, sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"extras[{name!r}] cannot travel as JSON: {error}",
            hint="Hand over texts, numbers, lists and dictionaries of them; for data, its path.",
        ) from error


def refuse_unknown(unknown: Mapping[str, object], method: Callable[..., object]) -> None:
    """Refuse what a method does not take, and say what it may have been meant for.

    Raises:
        ConfigurationError: there is something.
    """
    if unknown:
        known = frozenset(inspect.signature(method).parameters) - {"unknown"}
        name = next(iter(unknown))
        instead = former.instead_of_argument(method.__name__, name)
        if instead is not None:
            raise ConfigurationError(f"{method.__name__}() has no argument {name!r} any more", hint=instead)
        raise ConfigurationError(f"{method.__name__}() has no argument {name!r}", hint=suggestion(name, known))
