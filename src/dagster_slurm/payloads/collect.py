"""Which files of a payload's folder travel."""

from __future__ import annotations

import itertools
import os
import stat
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ConfigurationError, PayloadTooLarge
from . import ignore
from .modules import is_installed
from .payload import Payload


@dataclass(frozen=True)
class Limits:
    """How much may travel."""

    files: int = 500
    size: int = 20_000_000
    #: files after which counting ends: enough to say which folder is to blame
    counted: int = 2_000
    #: directory entries looked at, ignored ones among them
    seen: int = 50_000


@dataclass(frozen=True)
class Collected:
    """What travels: name there (posix, relative) to file here, its size in bytes, and what the user should know."""

    files: Mapping[str, Path]
    size: int
    warnings: tuple[str, ...] = ()


@dataclass
class _Walk:
    """A walk in progress; what Dagster itself keeps changing (its home) is no payload."""

    root: Path
    limits: Limits
    tidy: bool = True
    sizes: dict[str, int] = field(default_factory=dict[str, int])
    warnings: list[str] = field(default_factory=list[str])
    seen: int = 0
    ended_early: bool = False


def collect(payload: Payload, limits: Limits | None = None) -> Collected:
    """Return the files that travel with a payload.

    Raises:
        PayloadTooLarge: more than ``limits`` allow; names the largest.
        ConfigurationError: a folder is unreadable, or is no payload's folder (``/``, a home).
    """
    if payload.root is None:
        return Collected({}, 0)
    walk = _Walk(payload.root, limits or Limits())
    if not payload.parts:
        refuse_home(payload.root)
    for part in payload.parts or ("",):
        _part(walk, payload.root / part)
    if payload.entry is not None and payload.entry not in walk.sizes:
        walk.sizes[payload.entry] = _size(payload.root / payload.entry)
    return _collected(walk)


def collect_folder(folder: Path, limits: Limits) -> Collected:
    """Return all files of a folder that the user named as such: nothing is left out.

    Raises:
        PayloadTooLarge: more than ``limits`` allow.
        ConfigurationError: a folder is unreadable, or is ``/`` or a home.
    """
    refuse_home(folder)
    walk = _Walk(folder, limits, tidy=False)
    _folders(walk, folder, ())
    return _collected(walk)


def refuse_home(folder: Path) -> None:
    """Raise if the folder is a home, or holds one: nobody means to send that."""
    home = Path(os.path.realpath(os.path.expanduser("~")))  # noqa: PTH111 - Path.home raises without a home
    folder = Path(os.path.realpath(folder))
    if folder in (home, *home.parents):
        raise ConfigurationError(
            f"The whole of {folder} would travel with the run",
            hint="put the payload, and what it needs, into a folder of its own",
        )


# --- the walk


def _part(walk: _Walk, start: Path) -> None:
    if not start.is_dir():
        walk.sizes[start.relative_to(walk.root).as_posix()] = _size(start)
        return
    rules, ignored = ((), False) if is_installed(start) else ignore.rules_above(start)
    if ignored:
        rules = ()
        walk.warnings.append(
            f"{start} is ignored by a .gitignore above it; its files travel, since the payload is there"
        )
    _folders(walk, start, rules)


def _folders(walk: _Walk, start: Path, rules: ignore.Rules) -> None:
    waiting = deque([(start, rules)])
    while waiting and not walk.ended_early:
        folder, above = waiting.popleft()
        entries = _entries(walk, folder)
        if walk.tidy and folder != walk.root and ignore.is_environment([entry.name for entry in entries]):
            continue
        if folder == _dagster_home() and folder != walk.root:
            continue
        inner = ignore.with_file(above, folder) if walk.tidy else ()
        for entry in _wanted(walk, entries, inner):
            if entry.is_dir(follow_symlinks=False):
                waiting.append((Path(entry.path), inner))
            else:
                _file(walk, entry)
        walk.ended_early |= len(walk.sizes) > walk.limits.counted


def _dagster_home() -> Path | None:
    home = os.environ.get("DAGSTER_HOME", "").strip()
    return Path(os.path.realpath(Path(home).expanduser())) if home else None


def _entries(walk: _Walk, folder: Path) -> list[os.DirEntry[str]]:
    """Return a folder's entries by name; notes when there are too many."""
    left = walk.limits.seen - walk.seen
    try:
        with os.scandir(folder) as found:
            entries = list(itertools.islice(found, left + 1))
    except OSError as error:
        raise ConfigurationError(
            f"The folder {folder} cannot be read: {error.strerror}",
            hint="it would travel with the payload; make it readable, or list it in .gitignore",
        ) from error
    walk.seen += len(entries)
    walk.ended_early |= len(entries) > left
    return sorted(entries[:left], key=lambda entry: entry.name)


def _wanted(walk: _Walk, entries: list[os.DirEntry[str]], rules: ignore.Rules) -> Iterator[os.DirEntry[str]]:
    for entry in entries:
        if not walk.tidy or not (
            ignore.never_travels(entry.name)
            or ignore.is_ignored(Path(entry.path).as_posix(), rules, folder=entry.is_dir(follow_symlinks=False))
        ):
            yield entry


def _file(walk: _Walk, entry: os.DirEntry[str]) -> None:
    """Note a file, or what a link points to; sockets and the like do not travel."""
    name = Path(entry.path).relative_to(walk.root).as_posix()
    try:
        status = entry.stat()
    except OSError:
        walk.warnings.append(f"{name} is a link to nothing: left out")
        return
    if stat.S_ISDIR(status.st_mode):
        walk.warnings.append(f"{name} is a link to a folder: left out (only links to files are followed)")
    elif stat.S_ISREG(status.st_mode):
        if entry.is_symlink() and not Path(os.path.realpath(entry.path)).is_relative_to(walk.root):
            walk.warnings.append(f"{name} is a link to {os.path.realpath(entry.path)}: its content is sent")
        walk.sizes[name] = status.st_size


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error


# --- what to say


def _collected(walk: _Walk) -> Collected:
    if walk.ended_early or len(walk.sizes) > walk.limits.files or sum(walk.sizes.values()) > walk.limits.size:
        raise _too_large(walk)
    files = {name: walk.root / name for name in sorted(walk.sizes)}
    return Collected(files, sum(walk.sizes.values()), tuple(walk.warnings))


def _too_large(walk: _Walk) -> PayloadTooLarge:
    more = "more than " if walk.ended_early else ""
    largest = sorted(walk.sizes.items(), key=lambda item: -item[1])[:5]
    folders = Counter(name.rpartition("/")[0] or "." for name in walk.sizes).most_common(3)
    details = {"largest files": ", ".join(f"{name} ({human(size)})" for name, size in largest)}
    if walk.ended_early or len(walk.sizes) > walk.limits.files:
        details["most files"] = ", ".join(f"{name} ({count} files)" for name, count in folders)
    size = human(sum(walk.sizes.values()))
    return PayloadTooLarge(
        f"The folder {walk.root} holds {more}{len(walk.sizes)} files of {size} in all; "
        f"at most {walk.limits.files} files and {human(walk.limits.size)} travel with a run",
        hint=f"list what the payload does not need in {walk.root / '.gitignore'}, move the payload into a folder of "
        "its own, or keep data on the cluster and pass its path"
        if walk.tidy
        else "name fewer files, pack them into an archive, or keep data on the cluster and pass its path",
        details=details,
    )


def human(size: int) -> str:
    """Return a number of bytes for people."""
    if size < 1000:
        return f"{size} B"
    value = size / 1000
    for unit in ("kB", "MB"):
        if value < 1000:
            return f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"
