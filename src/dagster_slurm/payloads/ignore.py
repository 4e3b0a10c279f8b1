"""What never travels, and what ``.gitignore`` files leave out."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import gitignore

#: left out wherever they are: version control, caches, environments, what editors and desktops leave behind
ALWAYS = (
    ".tmp_dagster_home_*",
    ".git",
    ".hg",
    ".svn",
    "__pycache__",
    "*.pyc",
    "*.pyo",
    ".venv",
    ".pixi",
    ".tox",
    ".nox",
    ".eggs",
    "node_modules",
    ".ipynb_checkpoints",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".hypothesis",
    ".cache",
    ".DS_Store",
    "*.swp",
)
#: a folder that holds one of these is an environment: of no use on another machine
_ENVIRONMENT_MARKS = ("pyvenv.cfg", "conda-meta")


@dataclass(frozen=True)
class IgnoreFile:
    """One ``.gitignore``: its folder (posix, no slash at the end) and its patterns."""

    folder: str
    patterns: tuple[gitignore.Pattern, ...]


#: outermost first
Rules = tuple[IgnoreFile, ...]


def never_travels(name: str) -> bool:
    """Return whether a file or folder of that name is left out wherever it is."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in ALWAYS)


def is_environment(names: Sequence[str]) -> bool:
    """Return whether a folder with these entries is a Python or conda environment."""
    return not set(_ENVIRONMENT_MARKS).isdisjoint(names)


def is_ignored(path: str, rules: Rules, *, folder: bool) -> bool:
    """Return whether git would ignore ``path`` (absolute, posix), its parent folders not being ignored.

    The last matching pattern of the innermost file that has one decides.
    """
    for rule in reversed(rules):
        verdict = gitignore.verdict(rule.patterns, path[len(rule.folder) + 1 :], folder=folder)
        if verdict is not None:
            return verdict
    return False


def rules_above(folder: Path) -> tuple[Rules, bool]:
    """Return the rules that hold in ``folder`` from the top of its git checkout down, and whether they ignore it.

    Those of ``folder`` itself are not among them. Outside of a checkout there are none.
    """
    top = next((place for place in (folder, *folder.parents) if (place / ".git").exists()), None)
    if top is None or top == folder:
        return (), False
    rules: Rules = ()
    for place in (*reversed(folder.parents), folder):
        if place != top and not place.is_relative_to(top):
            continue
        if place != top and is_ignored(place.as_posix(), rules, folder=True):
            return rules, True
        if place != folder:
            rules = with_file(rules, place)
    return rules, False


def with_file(rules: Rules, folder: Path) -> Rules:
    """Return ``rules`` and, after them, the ones of the folder's own ``.gitignore``, if it has one."""
    try:
        text = (folder / ".gitignore").read_bytes().decode("utf-8", "surrogateescape")
    except OSError:
        return rules
    return (*rules, IgnoreFile(folder.as_posix().rstrip("/"), gitignore.parse(text)))
