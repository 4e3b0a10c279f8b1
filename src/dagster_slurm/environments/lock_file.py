"""A lock in the common format (pylock.toml, PEP 751): which packages a target needs, and in which files. Pure."""

from __future__ import annotations

import posixpath
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from packaging.markers import Marker
from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from dagster_slurm.environments.target_python import TargetPython, markers, tags
from dagster_slurm.errors import ConfigurationError, EnvironmentUnavailable


@dataclass(frozen=True)
class Locked:
    """A package that the lock names, and where it comes from.

    Args:
        name: as indexes spell it.
        version: empty for a folder, which says so itself.
        kind: ``wheel``: travels as it is. ``source``: an archive to build a wheel from. ``folder``: so is that.
        location: a URL, or a path relative to the lock file.
        file: the file's name; empty for a folder.
        sha256: of the file; empty for a folder.
        size: of the file in bytes; None if the lock does not say.
    """

    name: str
    version: str
    kind: Literal["wheel", "source", "folder"]
    location: str
    file: str = ""
    sha256: str = ""
    size: int | None = None


def select(lock: Mapping[str, Any], python: TargetPython) -> list[Locked]:
    """Return what the target needs of a lock, sorted by name.

    Raises:
        ConfigurationError: the lock is of a kind that we do not understand, or lacks a hash.
        EnvironmentUnavailable: a package has nothing for this platform.
    """
    if str(lock.get("lock-version", "")).split(".")[0] != "1":
        raise ConfigurationError(
            f"the lock file has lock-version {lock.get('lock-version')!r}, which we do not know",
            hint="Write it anew with a current uv, or use a newer dagster-slurm.",
        )
    meaning = markers(python)
    ranks = {tag: number for number, tag in reversed(list(enumerate(tags(python))))}
    needed = [row for row in lock.get("packages", ()) if _applies(row, meaning)]
    return sorted((_locked(row, ranks, python) for row in needed), key=lambda item: (item.name, item.version))


def _applies(row: Mapping[str, Any], meaning: Mapping[str, str]) -> bool:
    marker = row.get("marker")
    return marker is None or Marker(str(marker)).evaluate(dict(meaning))


def _locked(row: Mapping[str, Any], ranks: Mapping[Tag, int], python: TargetPython) -> Locked:
    name, version = str(row["name"]), str(row.get("version", ""))
    if "directory" in row:
        return Locked(name, version, "folder", str(row["directory"]["path"]))
    wheels = [*row.get("wheels", ()), *([row["archive"]] if _is_wheel(row.get("archive")) else [])]
    ranked = [(rank, number) for number, wheel in enumerate(wheels) if (rank := _rank(_file(wheel), ranks)) is not None]
    if ranked:
        return _of_file(name, version, "wheel", wheels[min(ranked)[1]])
    source = row.get("sdist") or row.get("archive")
    if source is not None and not _is_wheel(source):
        return _of_file(name, version, "source", source)
    if "vcs" in row:
        raise ConfigurationError(
            f"{name} comes from {row['vcs'].get('url') or row['vcs'].get('path')}, which cannot travel",
            hint="Name a wheel, a release or a local folder in [tool.uv.sources] instead.",
        )
    raise EnvironmentUnavailable(
        f"{name} {version} has no wheel for {python}",
        details={"wheels": ", ".join(_file(wheel) for wheel in wheels[:8]) or "none"},
        hint="Choose another Python (UvEnvironment(python=...)) or another version of the package.",
    )


def _of_file(name: str, version: str, kind: Literal["wheel", "source"], row: Mapping[str, Any]) -> Locked:
    sha256 = str(row.get("hashes", {}).get("sha256", ""))
    if not sha256:
        raise ConfigurationError(f"the lock file has no SHA-256 of {_file(row)}", hint="Lock anew, with hashes.")
    location = str(row.get("url") or row["path"])
    size = row.get("size")
    return Locked(name, version, kind, location, _file(row), sha256, None if size is None else int(size))


def _file(row: Mapping[str, Any]) -> str:
    """Return a file's name: as written, else the last part of its URL or path."""
    if row.get("name"):
        return str(row["name"])
    location = str(row.get("url") or row.get("path") or "")
    path = urllib.parse.urlsplit(location).path if "://" in location else location
    return posixpath.basename(urllib.parse.unquote(path) if "://" in location else path)


def _is_wheel(row: Mapping[str, Any] | None) -> bool:
    return row is not None and _file(row).endswith(".whl")


def _rank(file: str, ranks: Mapping[Tag, int]) -> int | None:
    try:
        fitting = [ranks[tag] for tag in parse_wheel_filename(file)[3] if tag in ranks]
    except InvalidWheelFilename:
        return None
    return min(fitting, default=None)


def fits(file: str, python: TargetPython) -> bool:
    """Whether a wheel of this name can be installed on the target."""
    known: Sequence[Tag] = tags(python)
    return _rank(file, {tag: number for number, tag in enumerate(known)}) is not None
