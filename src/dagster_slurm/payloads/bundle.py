r"""What travels, named by its content.

The bytes of a bundle are one line of JSON, ``[[relative path, mode, size], ...]`` sorted by path, ``\n``, and the
files' bytes in that order; its key is their SHA-256. ``remote/store.py`` unpacks them.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..errors import ConfigurationError

CHUNK = 256 * 1024
#: a file younger than this may change again without a new time stamp: its hash is not remembered
_RACY_NS = 2_000_000_000


class Member(NamedTuple):
    """One file of a bundle: its name there, the file here, and what tells whether that has changed."""

    name: str
    mode: int
    size: int
    source: str
    stamp: tuple[int, int, int, int]


@dataclass(frozen=True)
class Bundle:
    """Files that travel together and are stored once under their ``key``."""

    members: tuple[Member, ...]
    key: str

    @classmethod
    def from_files(cls, files: Mapping[str, Path]) -> Bundle:
        """Bundle files: name there (posix, relative) to file here. Reads them once to find the key.

        Raises:
            ConfigurationError: a name cannot be used there, or a file cannot be read.
        """
        check_names(files)
        members = tuple(_member(name, files[name]) for name in sorted(files))
        newest = max((max(member.stamp[:2]) for member in members), default=0)
        racy = newest > time.time_ns() - _RACY_NS
        return cls(members, (_digest.__wrapped__ if racy else _digest)(members))

    @property
    def manifest(self) -> bytes:
        """The first line, with its line break."""
        return _manifest(self.members)

    @property
    def size(self) -> int:
        """The length of what :meth:`chunks` yields, in bytes."""
        return len(self.manifest) + sum(member.size for member in self.members)

    def chunks(self, size: int = CHUNK) -> Iterator[bytes]:
        """Yield the bundle's bytes in pieces of ``size``, the last one shorter.

        Raises:
            ConfigurationError: a file is not any more what it was when the key was found.
        """
        digest = hashlib.sha256()
        for chunk in _chunked(_pieces(self.members, size), size):
            digest.update(chunk)
            yield chunk
        if digest.hexdigest() != self.key:
            raise ConfigurationError("The payload's files changed while they were being sent", hint="run it again")


def check_names(names: Mapping[str, object]) -> None:
    """Raise ConfigurationError for names that cannot be files below one folder there."""
    for name in names:
        why = _name_problem(name)
        if why:
            raise ConfigurationError(f"The file name {name!r} cannot travel: {why}", hint="rename the file")
        parent = next((above for above in _parents(name) if above in names), None)
        if parent is not None:
            raise ConfigurationError(
                f"{parent!r} would be a file, and the folder of {name!r}", hint="rename one of them"
            )


def _parents(name: str) -> Iterator[str]:
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name


def _name_problem(name: str) -> str | None:
    parts = name.split("/")
    checks: list[tuple[bool, str]] = [
        (not name, "it is empty"),
        (name.startswith("/"), "it is absolute"),
        (".." in parts, "it leads out of the folder"),
        ("" in parts or "." in parts, "it is not a plain relative path"),
        ("\0" in name, "it holds a NUL"),
    ]
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        checks.append((True, "it is not Unicode"))
    return next((why for wrong, why in checks if wrong), None)


def _member(name: str, source: Path) -> Member:
    try:
        status = source.stat()
    except OSError as error:
        raise _unreadable(source, error) from error
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(f"{source} is not a regular file")
    mode = 0o555 if status.st_mode & stat.S_IXUSR else 0o444
    stamp = (status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)
    return Member(name, mode, status.st_size, os.fspath(source), stamp)


def _manifest(members: tuple[Member, ...]) -> bytes:
    rows = [[member.name, member.mode, member.size] for member in members]
    return json.dumps(rows, separators=(",", ":")).encode() + b"\n"


@functools.lru_cache(maxsize=32)
def _digest(members: tuple[Member, ...]) -> str:
    digest = hashlib.sha256()
    for piece in _pieces(members, 1 << 20):
        digest.update(piece)
    return digest.hexdigest()


def _pieces(members: tuple[Member, ...], size: int) -> Iterator[bytes]:
    yield _manifest(members)
    for member in members:
        yield from _content(member, size)


def _content(member: Member, size: int) -> Iterator[bytes]:
    try:
        with open(member.source, "rb") as file:  # noqa: PTH123 - a name, not a Path
            yield from _exactly(member, file, size)
    except OSError as error:
        raise _unreadable(Path(member.source), error) from error


def _exactly(member: Member, file: BinaryIO, size: int) -> Iterator[bytes]:
    left = member.size
    while left:
        piece = file.read(min(size, left))
        if not piece:
            raise _changed(member)
        left -= len(piece)
        yield piece
    if file.read(1):
        raise _changed(member)


def _chunked(pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Cut and join pieces to ``size`` bytes each, the last one shorter."""
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        while len(buffer) >= size:
            yield bytes(buffer[:size])
            del buffer[:size]
    if buffer:
        yield bytes(buffer)


def _changed(member: Member) -> ConfigurationError:
    return ConfigurationError(f"{member.source} changed while it was being sent", hint="run it again")


def _unreadable(source: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"{source} cannot be read: {error.strerror}",
        hint="it would travel with the payload; make it readable, or list it in .gitignore",
    )
