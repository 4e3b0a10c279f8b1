"""Packages as they travelled, by content: ``<base>/packages/<sha256>``, each a file that appears when it is whole.

What is on its way lies beside them as ``.part.<sha256>``. All senders of a package write the same bytes at the same
places, each beginning where the file ends, so two of them do no harm and an interrupted one is continued.
"""

import contextlib
import hashlib
import os
import re
import time
from typing import Any, Dict, List

from . import sharing

_SHA = re.compile(r"[0-9a-f]{64}\Z")
_PART = ".part."
#: seconds after which what nobody continues is removed
_LEFTOVER = 7 * 86400.0


def path(base: str, sha: str) -> str:
    """Return where a package lies, whether it does or not."""
    return os.path.join(_folder(base), _checked(sha))


def missing(base: str, wanted: List[List[Any]]) -> List[List[Any]]:
    """Return those of ``[sha256, size]`` (None: not known) that are not there, each with how many bytes of it are."""
    return [[sha, _size(_part(base, sha))] for sha, size in wanted if not _is_there(path(base, sha), size)]


def seal(base: str, shas: List[str]) -> List[str]:
    """Give the packages that have arrived their names; return those that are not what they should be, and are gone."""
    return [sha for sha in shas if not _seal(base, sha)]


def remove_damaged(base: str, shas: List[str]) -> List[str]:
    """Read packages again; remove and return those that are not what they should be."""
    damaged = [sha for sha in shas if not _is(path(base, sha), sha)]
    for sha in damaged:
        _unlink(path(base, sha))
    return damaged


def sweep(base: str, unused: float) -> int:
    """Remove packages that nobody used for so many seconds, and uploads that nobody continued; return the bytes."""
    freed = 0
    for name in os.listdir(_folder(base)) if os.path.isdir(_folder(base)) else []:
        file = os.path.join(_folder(base), name)
        with contextlib.suppress(OSError):  # someone else sweeps as well
            status = os.stat(file)
            limit = _LEFTOVER if name.startswith(_PART) else unused
            if time.time() - status.st_mtime > limit:
                os.unlink(file)
                freed += status.st_size
    return freed


def mark_used(base: str, shas: List[str]) -> None:
    """Note that packages were used now."""
    for sha in shas:
        with contextlib.suppress(OSError):
            os.utime(path(base, sha), None)


class Arriving:
    """The packages that arrive over one channel, piece by piece and in order."""

    def __init__(self) -> None:
        self._open: Dict[str, int] = {}

    def piece(self, head: Dict[str, Any], body: bytes) -> Dict[str, int]:
        """Write a piece at its offset, unless something before it was lost; return how many bytes there are now.

        Raises:
            OSError: disk or quota full, and the like.
        """
        base, sha, offset = head["base"], head["sha"], int(head["offset"])
        part = _part(base, sha)
        try:
            file = self._file(base, part)
            size = os.fstat(file).st_size
            if offset <= size:
                view = memoryview(body)
                while view:
                    done = os.pwrite(file, view, offset)
                    view, offset = view[done:], offset + done
                size = max(size, offset)
        except OSError as error:
            error.filename = error.filename or part
            raise
        finally:
            if head.get("last"):
                self._close(part)
        return {"size": size}

    def close(self) -> None:
        """Let go of everything; what has arrived is continued another time."""
        for part in list(self._open):
            self._close(part)

    def _file(self, base: str, part: str) -> int:
        if part not in self._open:
            sharing.make_folder(base, _folder(base))
            sharing.create_file(base, part)
            self._open[part] = os.open(part, os.O_WRONLY)
        return self._open[part]

    def _close(self, part: str) -> None:
        file = self._open.pop(part, None)
        if file is not None:
            os.close(file)


def _seal(base: str, sha: str) -> bool:
    part = _part(base, sha)
    if not os.path.exists(part):
        return os.path.exists(path(base, sha))  # another sender was first
    if not _is(part, sha):
        _unlink(part)
        return False
    with contextlib.suppress(FileNotFoundError):
        os.rename(part, path(base, sha))
    return True


def _is(file: str, sha: str) -> bool:
    digest = hashlib.sha256()
    try:
        with open(file, "rb") as opened:
            for piece in iter(lambda: opened.read(1 << 20), b""):
                digest.update(piece)
    except FileNotFoundError:
        return False
    return digest.hexdigest() == sha


def _unlink(file: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(file)


def _is_there(file: str, size: Any) -> bool:
    return os.path.exists(file) if size is None else _size(file) == size


def _size(file: str) -> int:
    try:
        return os.stat(file).st_size
    except OSError:
        return 0


def _part(base: str, sha: str) -> str:
    return os.path.join(_folder(base), _PART + _checked(sha))


def _folder(base: str) -> str:
    return os.path.join(base, "packages")


def _checked(sha: str) -> str:
    if not _SHA.match(sha):
        raise ValueError("not a SHA-256: %r" % sha)
    return sha
