"""Brings small results to this machine, over the channel: checked by hash, and taken up where it broke."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from dagster_slurm.core.patterns import Pattern
from dagster_slurm.engine.answers import FileGone
from dagster_slurm.engine.host import Host
from dagster_slurm.errors import ResultNotFetched

_PIECE = 1 << 20
#: more files than this are not a small result
_MOST = 1000
#: how long other hosts may not see on NFS what a job put in place, in seconds
_LATE = 75.0
_PAUSE = 3.0
_AGAIN = "The job ended well and its result is in place: a retry of this step does not run it again."


@dataclass(frozen=True)
class Source:
    """A folder to fetch from.

    Args:
        root: the folder on the host.
        name: what its files are called here, before their own names; may be empty.
        inode: of the folder as the job put it in place; 0: whatever lies there.
        late: the host may see late what was written there.
    """

    root: str
    name: str = ""
    inode: int = 0
    late: bool = False

    def is_seen(self, answer: Mapping[str, Any], patterns: Sequence[Pattern]) -> bool:
        """Whether a host's answer is of what the job left."""
        if self.inode:
            return bool(answer["inode"] == self.inode)
        return not self.late or all(_matching(pattern, [name for name, _ in answer["files"]]) for pattern in patterns)


@dataclass(frozen=True)
class _File:
    """A file that is wanted: where it lies, its name there and here, and its bytes."""

    root: str
    name: str
    here: str
    size: int


def fetch(
    host: Host,
    sources: Sequence[Source],
    patterns: Sequence[Pattern],
    into: Path,
    *,
    limit: int,
    warn: Callable[[str], None],
) -> dict[str, Path]:
    """Bring the files that match; may be repeated, and what is there already does not travel again.

    Args:
        host: where they lie.
        sources: the folders.
        patterns: what is wanted.
        into: the folder here.
        limit: bytes that all of them may have.
        warn: hears of patterns that match nothing, and of links that lead elsewhere.

    Returns:
        The files here, by their names.

    Raises:
        ResultNotFetched: they are too large or too many, changed under our hands, or there is no room for them here.
        HostError: the host refuses us.
    """
    files = [file for source in sources for file in _found(host, source, patterns, warn)]
    _say_what_matches_nothing(files, patterns, sources, warn)
    _check(files, limit)
    try:
        return {file.here: _brought(host, file, into / file.here) for file in files}
    except (FileGone, OSError) as error:
        raise ResultNotFetched(f"a result was not fetched: {error}", hint=_AGAIN) from None


def _found(host: Host, source: Source, patterns: Sequence[Pattern], warn: Callable[[str], None]) -> list[_File]:
    until = time.monotonic() + _LATE
    asked = [[pattern.regex, pattern.depth] for pattern in patterns]
    while True:
        answer, _ = host.request("find_files", root=source.root, patterns=asked, most=_MOST)
        if source.is_seen(answer, patterns):
            break
        if time.monotonic() > until or not source.late:
            if not source.inode:
                break
            raise ResultNotFetched(
                f"what lies in {source.root} on {host.name} is not what this job put there: another run replaced it",
                hint="Two runs that make the same result must not run at once. Run this step again.",
            )
        time.sleep(_PAUSE)
    if answer["more"]:
        raise ResultNotFetched(
            f"fetch: more than {_MOST} files match in {source.root}", hint=f"Name fewer, or pack them. {_AGAIN}"
        )
    for name in answer["links"]:
        warn(f"fetch: {name} is a link that leads out of {source.root}: it stays there.")
    return [_File(source.root, name, _here(source, name), size) for name, size in answer["files"]]


def _here(source: Source, name: str) -> str:
    """Return what a file is called here, or raise: what a host says must not lead out of our folder."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts:
        raise ResultNotFetched(f"fetch: the host named {name!r}, which is no name below {source.root}")
    return f"{source.name}/{name}" if source.name else name


def _say_what_matches_nothing(
    files: Sequence[_File], patterns: Sequence[Pattern], sources: Sequence[Source], warn: Callable[[str], None]
) -> None:
    for pattern in patterns:
        if not _matching(pattern, [file.name for file in files]):
            warn(f"fetch: {pattern.text!r} matches nothing in {', '.join(source.root for source in sources)}.")


def _matching(pattern: Pattern, names: Sequence[str]) -> bool:
    return any(re.fullmatch(pattern.regex, name, re.DOTALL) for name in names)


def _check(files: Sequence[_File], limit: int) -> None:
    size = sum(file.size for file in files)
    if size <= limit:
        return
    largest = sorted(files, key=lambda file: -file.size)[:5]
    raise ResultNotFetched(
        f"fetch: {len(files)} files of {size / 1e6:.1f} MB match, and {limit / 1e6:.1f} MB is the most that is fetched",
        details={"largest": ", ".join(f"{file.name} ({file.size / 1e6:.1f} MB)" for file in largest)},
        hint=f"Name fewer files, let ComputeResource(fetch_limit=...) be more bytes, or copy them by rsync. {_AGAIN}",
    )


def _brought(host: Host, file: _File, path: Path) -> Path:
    """Bring one file, or what is missing of it."""
    for _ in range(2):
        said, _ = host.request("file_digest", root=file.root, name=file.name)
        wanted = str(said["sha256"])
        if path.is_file() and _digest(path) == wanted:
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{wanted[:32]}.part")
        _fill(host, file, part, int(said["size"]))
        if _digest(part) == wanted:
            part.replace(path)
            return path
        part.unlink()
    raise ResultNotFetched(
        f"{file.root}/{file.name} on {host.name} changes while it is fetched", hint=f"See what writes there. {_AGAIN}"
    )


def _fill(host: Host, file: _File, part: Path, size: int) -> None:
    """Append what is missing: a part that is named after the content's hash is the beginning of it."""
    with part.open("ab") as out:
        at = out.tell()
        while at < size:
            _, data = host.request("file_piece", root=file.root, name=file.name, at=at, bytes=min(_PIECE, size - at))
            if not data:
                return
            out.write(data)
            at += len(data)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(_PIECE), b""):
            digest.update(block)
    return digest.hexdigest()
