"""Further files that the user wants to find in the run's working directory."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import ConfigurationError, PayloadTooLarge
from .bundle import Bundle, check_names
from .collect import Limits, collect_folder
from .look_up import PathLike, is_file, is_folder, look_up, near_matches

#: what one folder may hold: more is not worth sending file by file
LIMITS = Limits(files=20_000, size=100_000_000_000, counted=20_000)
#: what all of a call may hold together, in bytes: more is data, which does not travel with a run
MOST = 100_000_000


class ExtraFiles(NamedTuple):
    """Files and the folder of the working directory (``"."``: itself) below which they belong."""

    into: str
    bundle: Bundle


def extra_files(
    given: Sequence[PathLike] | Mapping[str, PathLike],
    *,
    beside: Path | None,
    cwd: Path,
    instead: Callable[[Sequence[Path]], str] = lambda _: "",
) -> list[ExtraFiles]:
    """Find extra files and folders.

    Args:
        given: paths, each keeping its last name there, or destinations with their paths. A destination that ends in
            ``/`` is the folder to put a file into.
        beside: the folder of the file that defines the asset; relative paths are looked up there first.
        cwd: the working directory, looked at next.
        instead: says how so many files are sent; called where they are too large.

    Raises:
        PayloadTooLarge: they hold more than 100 MB together.
        ConfigurationError: a path is missing, or a destination lies outside the working directory or is taken.
    """
    taken: dict[str, Path] = {}
    found: list[ExtraFiles] = []
    sources = [(destination, _find(path, beside, cwd)) for destination, path in _pairs(given)]
    members = [(_members(destination, source), source) for destination, source in sources]
    size = sum(file.stat().st_size for (_, files), _ in members for file in files.values())
    if size > MOST:
        raise PayloadTooLarge(
            f"extra_files hold {size / 1e6:.1f} MB, and {MOST / 1e6:.0f} MB is the most that travels with a run",
            details={"files": ", ".join(str(source) for _, source in sources)},
            hint=instead([source for _, source in sources]) or None,
        )
    for (into, files), _ in members:
        for name, file in files.items():
            full = posixpath.normpath(posixpath.join(into, name))
            if full in taken:
                raise _twice(full, taken[full], file)
            taken[full] = file
        found.append(ExtraFiles(into, Bundle.from_files(files)))
    check_names(taken)
    return found


def _pairs(given: Sequence[PathLike] | Mapping[str, PathLike]) -> Iterable[tuple[str | None, PathLike]]:
    if isinstance(given, (str, bytes, os.PathLike)):
        raise ConfigurationError(f"extra_files={given!r} is not a list", hint=f"write extra_files=[{str(given)!r}]")
    if isinstance(given, Mapping):
        return given.items()
    return [(None, path) for path in given]


def _find(path: PathLike, beside: Path | None, cwd: Path) -> Path:
    places = look_up(path, beside, cwd)
    found = next((place for place in places if is_file(place) or is_folder(place)), None)
    if found is None:
        details = {"looked for": ", ".join(map(str, places)), "did you mean": ", ".join(near_matches(places))}
        raise ConfigurationError(
            f"extra_files: there is no {os.fspath(path)!r}",
            details={key: value for key, value in details.items() if value},
        )
    return found


def _members(destination: str | None, source: Path) -> tuple[str, Mapping[str, Path]]:
    """Return the folder of the working directory that a source goes into, and its files below that."""
    target = _checked(source.name if destination is None else destination)
    if source.is_dir():
        return target, collect_folder(Path(os.path.realpath(source)), LIMITS).files
    if destination is not None and destination.endswith("/"):
        return target, {source.name: source}
    folder, name = posixpath.split(target)
    if name == ".":
        raise ConfigurationError(f"extra_files: {source} needs a name there", hint=f"write {source.name!r} or './'")
    return folder or ".", {name: source}


def _checked(destination: str) -> str:
    """Return a destination in its plainest form, or raise if it lies outside the working directory."""
    parts = destination.split("/")
    if not destination or destination.startswith(("/", "~")) or ".." in parts or "\0" in destination:
        raise ConfigurationError(
            f"extra_files: the destination {destination!r} is not a place in the run's working directory",
            hint="give a relative path without '..'",
        )
    return posixpath.normpath(destination)


def _twice(name: str, first: Path, second: Path) -> ConfigurationError:
    return ConfigurationError(
        f"extra_files: {name!r} is named twice: {first} and {second}",
        hint="give destinations: extra_files={'name there': path, ...}",
    )
