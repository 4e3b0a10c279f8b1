"""Site profiles: a cluster's settings in a YAML file, as ``dagster-slurm doctor`` writes it. Without Dagster."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from dagster_slurm.core.options import suggestion
from dagster_slurm.errors import ConfigurationError

#: names the profile that ``from_env`` begins with
VARIABLE = "DAGSTER_SLURM_PROFILE"
_PARTS = frozenset({"slurm", "site"})
_NUMBERS = {
    "tag:yaml.org,2002:int": re.compile(r"[-+]?[0-9]+$"),
    "tag:yaml.org,2002:float": re.compile(r"[-+]?[0-9]+\.[0-9]+$"),
}
_SECRET = "password"  # noqa: S105 - the name of a field


def read(path: str | os.PathLike[str], variable: Callable[[str], Any]) -> dict[str, Any]:
    """Return the fields of ``SlurmResource`` that a profile gives; ``ssh`` and ``queue`` among them as dictionaries.

    Args:
        path: of the file.
        variable: what ``{env: NAME}`` becomes, which may stand for any value.

    Raises:
        ConfigurationError: there is no such file, it is not understood, or it holds a password.
    """
    file = Path(path).expanduser()
    whole = _mapping(_load(file), str(file), "a profile")
    for name in whole:
        check_name(name, _PARTS, f"{file}")
    slurm = _mapping(whole.get("slurm"), str(file), "its part `slurm`")
    for part in ("ssh", "queue"):
        if slurm.get(part) is not None:
            fields = _mapping(slurm[part], str(file), f"its part `{part}`")
            _refuse_secret(fields, file)
            slurm[part] = _filled(fields, variable)
    return _filled(slurm, variable)


def check_name(name: str, known: frozenset[str], where: str) -> None:
    """Refuse a name that nobody would read.

    Raises:
        ConfigurationError: it is not among those known.
    """
    if name not in known:
        raise ConfigurationError(f"{where}: {name!r} is not known", hint=suggestion(name, known))


def _load(file: Path) -> object:
    import yaml  # noqa: PLC0415 - most commands do without it, and start sooner

    class Loader(yaml.SafeLoader):
        """To YAML 1.1, 10:00:00 is the number 36000. Here it is a time limit: a number has no colon."""

        yaml_implicit_resolvers = {  # noqa: RUF012 - of the class that it replaces
            first: [(tag, _NUMBERS.get(tag, pattern)) for tag, pattern in resolvers]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    try:
        return yaml.load(file.read_text(encoding="utf-8"), Loader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise ConfigurationError(
            f"the profile {file} cannot be read: {error.strerror}",
            hint=f"`dagster-slurm doctor HOST --profile {file}` writes one. See also {VARIABLE}.",
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the profile {file} is no YAML: {error}") from error


def _refuse_secret(fields: Mapping[str, Any], file: Path) -> None:
    if isinstance(fields.get(_SECRET), str):
        raise ConfigurationError(
            f"{file} holds a password",
            hint="Profiles are shared: write `password: {env: NAME}`, and set that variable.",
        )


def _mapping(value: object, file: str, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigurationError(f"{file}: {what} is not a mapping", hint="slurm: {ssh: {host: cluster}}")
    return {str(name): item for name, item in cast("dict[object, Any]", value).items()}


def _filled(values: Mapping[str, Any], variable: Callable[[str], Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        named = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
        found[name] = variable(str(named["env"])) if set(named) == {"env"} else value
    return found
