"""A launcher's settings as text that a shell reads: ``launcher.sh`` in the run directory."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import cast

from dagster_slurm.errors import ConfigurationError

#: the file in the run directory
FILE = "launcher.sh"

Value = str | int | bool | None | tuple[str, ...]


def render(values: Mapping[str, Value], functions: Mapping[str, Sequence[str]] | None = None) -> str:
    """Return assignments, quoted, one per line; tuples become arrays, ``None`` and ``False`` become empty.

    Args:
        values: by the shell's name.
        functions: the user's own shell lines, as bodies of functions by name; without lines they do nothing.
    """
    lines = [f"{name}={_word(value)}" for name, value in values.items()]
    for name, body in (functions or {}).items():
        lines += [f"{name}() {{", *(f"    {line}" for line in (*body, ":" if not body else "")), "}"]
    return "\n".join(line.rstrip() for line in lines if line.strip()) + "\n"


def whole(name: str, value: object, least: int = 1) -> None:
    """Refuse what is no whole number of at least ``least``; None is none.

    Raises:
        ConfigurationError: so.
    """
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
        raise ConfigurationError(f"{name}={value!r} is not a whole number", hint=f"Give {least} or more.")


def number(name: str, value: object, *, zero: bool = False) -> None:
    """Refuse what is no number above 0 (with ``zero``: or 0); None is none.

    Raises:
        ConfigurationError: so.
    """
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and (value > 0 or (zero and value == 0))
    if value is not None and not good:
        raise ConfigurationError(f"{name}={value!r} is not a number above 0")


def words(launcher: object, *names: str) -> None:
    """Make tuples of a frozen launcher's lists; a single text in their place would be taken letter by letter.

    Raises:
        ConfigurationError: a field is neither a list nor a tuple of texts.
    """
    for name in names:
        value: object = getattr(launcher, name)
        if not isinstance(value, (list, tuple)) or not all(
            isinstance(word, str) for word in cast("list[object]", value)
        ):
            raise ConfigurationError(f"{name}={value!r} is not a list of texts", hint=f"{name}=[...], one for each.")
        object.__setattr__(launcher, name, tuple(cast("list[str]", value)))


def _word(value: Value) -> str:
    if isinstance(value, tuple):
        return f"({shlex.join(value)})"
    if value is None or value is False:
        return ""
    return "1" if value is True else shlex.quote(str(value))
