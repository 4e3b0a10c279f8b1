"""Patterns of file names below a folder, as regular expressions. Pure.

``*`` stands for any characters of one name, ``?`` for one, ``**`` for any number of folders; all else for itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from dagster_slurm.errors import ConfigurationError

_HINT = 'fetch=["metrics.json", "plots/*.png"]: names below the output folder, where ** stands for any folders.'


@dataclass(frozen=True)
class Pattern:
    """What files are wanted.

    Args:
        text: as the user wrote it.
        regex: matches whole names, relative to the folder, with ``/`` between their parts.
        depth: how many folders deep such names lie; None: any number.
    """

    text: str
    regex: str
    depth: int | None


def patterns(given: object) -> tuple[Pattern, ...]:
    """Return what ``fetch=`` names.

    Raises:
        ConfigurationError: it is no list of texts, or one of them leads out of the folder.
    """
    if isinstance(given, (str, bytes)) or not isinstance(given, Sequence):
        raise ConfigurationError(f"fetch={given!r} is not a list", hint=_HINT)
    return tuple(dict.fromkeys(_pattern(text) for text in cast("Sequence[object]", given)))


def _pattern(text: object) -> Pattern:
    if not isinstance(text, str) or not text.strip("/.") or "\0" in text:
        raise ConfigurationError(f"fetch: {text!r} names no file", hint=_HINT)
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if text.startswith(("/", "~")) or ".." in parts:
        raise ConfigurationError(f"fetch: {text!r} leads out of the output folder", hint=_HINT)
    if text.endswith("/"):
        parts.append("**")
    if parts[-1] == "**":
        parts.append("*")
    depth = None if "**" in parts else len(parts) - 1
    # folders that ** stands for, one after another, are the same as once
    folders = [part for number, part in enumerate(parts) if part != "**" or parts[number - 1 : number] != ["**"]]
    regex = "".join("(?:[^/]+/)*" if part == "**" else f"{_of_one(part)}/" for part in folders)
    return Pattern(text, regex[:-1], depth)


def _of_one(part: str) -> str:
    """Return the expression for one name."""
    signs = {"*": "[^/]*", "?": "[^/]"}
    return "".join(signs.get(sign) or re.escape(sign) for sign in re.sub(r"\*+", "*", part))
