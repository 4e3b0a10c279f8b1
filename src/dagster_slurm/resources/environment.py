"""Settings from environment variables: blank means absent."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from dagster_slurm.errors import ConfigurationError

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


class Variables:
    """The variables that begin with a prefix; a trailing underscore of it is optional."""

    def __init__(self, prefix: str, environment: Mapping[str, str] | None = None) -> None:
        self._prefix = prefix if not prefix or prefix.endswith("_") else f"{prefix}_"
        self._environment = os.environ if environment is None else environment

    def name(self, *names: str) -> str | None:
        """Return the full name of the first variable that is set and not blank."""
        return next((self._prefix + name for name in names if self._value(name)), None)

    def text(self, *names: str) -> str | None:
        """Return the first of several variables that is set and not blank."""
        return next((value for name in names if (value := self._value(name))), None)

    def required(self, name: str) -> str:
        """Return a variable that must be set.

        Raises:
            ConfigurationError: it is not.
        """
        value = self._value(name)
        if value is None:
            raise ConfigurationError(
                f"the environment variable {self._prefix}{name} is not set", hint="Set it, or give the value in code."
            )
        return value

    def number(self, name: str) -> int | None:
        """Return a whole number.

        Raises:
            ConfigurationError: it is something else.
        """
        value = self._value(name)
        if value is None:
            return None
        if not value.isdigit():
            raise ConfigurationError(f"{self._prefix}{name}={value!r} is not a whole number")
        return int(value)

    def words(self, name: str) -> list[str]:
        """Return the words of a command line.

        Raises:
            ConfigurationError: quotes do not match.
        """
        value = self._value(name)
        try:
            return shlex.split(value or "")
        except ValueError as error:
            raise ConfigurationError(f"{self._prefix}{name}={value!r} cannot be split into words: {error}") from error

    def flag(self, name: str) -> bool | None:
        """Return yes or no.

        Raises:
            ConfigurationError: it is something else.
        """
        value = self._value(name)
        if value is None:
            return None
        if value.lower() not in _TRUE + _FALSE:
            raise ConfigurationError(f"{self._prefix}{name}={value!r} is neither yes nor no", hint='Use "1" or "0".')
        return value.lower() in _TRUE

    def _value(self, name: str) -> str | None:
        return self._environment.get(self._prefix + name, "").strip() or None


def default_local_base() -> str:
    """Return where local runs go: below Dagster's home, which outlives processes, else in the user's cache."""
    home = os.environ.get("DAGSTER_HOME", "").strip()
    if home:
        return str(Path(home).expanduser() / "dagster-slurm")
    cache = os.environ.get("XDG_CACHE_HOME", "").strip() or "~/.cache"
    return str(Path(cache).expanduser() / "dagster-slurm" / "local")
