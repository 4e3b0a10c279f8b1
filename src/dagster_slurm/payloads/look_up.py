"""Where a path of the user's may point, and what lies near it."""

from __future__ import annotations

import difflib
import itertools
import os
from collections.abc import Iterable
from pathlib import Path

PathLike = str | os.PathLike[str]

#: directory entries read for near matches
_MAX_SEEN = 2000


def look_up(path: PathLike, beside: Path | None, cwd: Path) -> list[Path]:
    """Return the places that a path of the user's may mean, in order."""
    given = Path(os.path.expanduser(os.fspath(path)))  # noqa: PTH111 - Path's raises for unknown users
    bases = [given] if given.is_absolute() else [base / given for base in (beside, cwd) if base is not None]
    return list(dict.fromkeys(Path(os.path.abspath(base)) for base in bases))  # noqa: PTH100 - no links followed


def is_file(path: Path) -> bool:
    """Return whether a regular file is there, also for names that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Return whether a folder is there, also for names that none can have."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def near_matches(places: Iterable[Path]) -> list[str]:
    """Return names like the ones looked for, in the same folders and one level down."""
    near: dict[str, None] = {}
    for place in places:
        names = {str(entry.relative_to(place.parent)): entry.name.lower() for entry in _entries(place.parent)}
        close = set(difflib.get_close_matches(place.name.lower(), list(names.values()), n=3, cutoff=0.6))
        near.update(dict.fromkeys(name for name, last in names.items() if last in close))
    return list(near)[:5]


def _entries(folder: Path) -> list[Path]:
    """Return files of a folder and of its folders, a bounded number of them."""
    return [entry for entry in itertools.islice(_walk(folder), _MAX_SEEN) if is_file(entry)]


def _walk(folder: Path) -> Iterable[Path]:
    try:
        children = sorted(itertools.islice(folder.iterdir(), _MAX_SEEN))
        yield from children
        for child in children:
            if child.is_dir() and not child.is_symlink() and not child.name.startswith((".", "__")):
                yield from sorted(itertools.islice(child.iterdir(), _MAX_SEEN))
    except OSError:
        return
