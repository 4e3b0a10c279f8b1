"""From what a user writes as ``environment=`` to an environment, and which of several sayings counts."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from dagster_slurm.environments import pixi_project, uv_project
from dagster_slurm.environments.environment import Environment, Prepared, Site
from dagster_slurm.environments.pixi import PixiEnvironment
from dagster_slurm.environments.prefix import CommandPrefix
from dagster_slurm.environments.present import PlainEnvironment, PredeployedEnvironment
from dagster_slurm.environments.uv import UvEnvironment
from dagster_slurm.errors import ConfigurationError

#: what ``environment=`` takes
Named = str | Environment | Mapping[str, Any]
_WORDS = ("auto", "uv", "pixi", "plain")
_KINDS: dict[str, Callable[..., Environment]] = {
    "uv": UvEnvironment,
    "pixi": PixiEnvironment,
    "prefix": CommandPrefix,
    "apptainer": CommandPrefix.apptainer,
    "podman-hpc": CommandPrefix.podman_hpc,
    "charliecloud": CommandPrefix.charliecloud,
}


@dataclass(frozen=True)
class AutoEnvironment:
    """Whatever the project's files ask for: the nearest that says something, else nothing is packed.

    In each folder: ``[tool.dagster-slurm] environment`` in ``pyproject.toml``, a pixi project, ``uv.lock``.
    """

    def prepare(self, site: Site) -> Prepared:
        """Prepare what was chosen."""
        return self.choose(site)[0].prepare(site)

    def choose(self, site: Site) -> tuple[Environment, str]:
        """Return an environment, and which rule chose it."""
        for place in (place for place in (site.beside, site.cwd) if place is not None):
            for folder in (place, *place.parents):
                found = _in(folder)
                if found is not None:
                    return found
        return (
            PlainEnvironment(),
            f"no pixi.lock or uv.lock beside the asset or above it, so payloads run with {site.python}",
        )


def _in(folder: Path) -> tuple[Environment, str] | None:
    """Return what a folder's files ask for."""
    named = uv_project.own_setting(folder / "pyproject.toml")
    if named is not None:
        environment = parse(named)
        if not isinstance(environment, AutoEnvironment):
            if isinstance(environment, UvEnvironment | PixiEnvironment) and environment.project is None:
                environment = replace(environment, project=folder)
            return environment, f"[tool.dagster-slurm] in {folder / 'pyproject.toml'} says {named!r}"
    if (folder / "pixi.lock").is_file():
        return PixiEnvironment(project=folder), f"{folder / 'pixi.lock'} is there, so pixi-pack packs"
    manifest = pixi_project.manifest(folder)
    if manifest is not None:
        return PixiEnvironment(project=folder), f"{manifest} is a pixi project, so pixi-pack packs"
    if (folder / "uv.lock").is_file():
        return UvEnvironment(project=folder), f"{folder / 'uv.lock'} is there, so uv packs"
    return None


def parse(named: Named) -> Environment:
    """Return the environment that a user named.

    Args:
        named: an environment; ``"auto"``, ``"uv"``, ``"pixi"``, ``"plain"``; the path of a requirements file or
            ``pylock.toml``; an absolute path on the cluster; or a kind with its options, as metadata and YAML write it:
            ``{"uv": {"python": "3.11"}}``, ``{"apptainer": {"image": "/images/torch.sif"}}``.

    Raises:
        ConfigurationError: it is nothing of these.
    """
    if isinstance(named, str):
        return _of_text(named)
    if isinstance(named, Mapping):
        return _of_mapping(named)
    if not callable(getattr(named, "prepare", None)):
        raise ConfigurationError(f"environment={named!r} is no environment", hint=_hint(""))
    return named


def _of_text(text: str) -> Environment:
    if text == "auto":
        return AutoEnvironment()
    if text == "uv":
        return UvEnvironment()
    if text == "pixi":
        return PixiEnvironment()
    if text == "plain":
        return PlainEnvironment()
    if text.endswith((".txt", ".in", ".toml", ".lock")):
        return UvEnvironment(project=text)
    if text.startswith("/"):
        return PredeployedEnvironment(text)
    raise ConfigurationError(f"environment={text!r} is not known", hint=_hint(text))


def _of_mapping(named: Mapping[str, Any]) -> Environment:
    kind, options = next(iter(named.items()), ("", None))
    if len(named) != 1 or kind not in _KINDS or not isinstance(options, Mapping):
        raise ConfigurationError(
            f"environment={dict(named)!r} is not known",
            hint=f'One of {", ".join(_KINDS)} with its options: {{"uv": {{"python": "3.11"}}}}.',
        )
    make = _KINDS[kind]
    known = [name for name in inspect.signature(make).parameters if name != "self"]
    values = cast("Mapping[str, Any]", options)
    for name in values:
        if name not in known:
            raise ConfigurationError(f"{kind} has no option {name!r}", hint=f"It has {', '.join(known)}.")
    try:
        return make(**{name: _hashable(value) for name, value in values.items()})
    except TypeError as error:
        raise ConfigurationError(
            f"environment={dict(named)!r}: {error}", hint=f"{kind} has {', '.join(known)}."
        ) from error


def _hashable(value: Any) -> Any:
    return tuple(cast("Sequence[str]", value)) if isinstance(value, list) else value


def _hint(text: str) -> str:
    near = difflib.get_close_matches(text, _WORDS, 1)
    meant = f'Did you mean "{near[0]}"? ' if near else ""
    words = ", ".join(f'"{word}"' for word in _WORDS)
    return f"{meant}{words}, a requirements file, UvEnvironment(...), or an absolute path on the cluster."
