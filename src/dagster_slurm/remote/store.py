"""The read-only store of what travelled, by content: ``<base>/store/<key>/``.

An entry appears by a rename when it is complete. Beside it, ``<key>.json`` keeps its manifest: file systems that purge
old files can leave an entry with holes, so it is looked over about once a day (:func:`have`).

Names are bytes here: Python 3.6 in a C locale cannot spell others.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import time
from typing import Any, List, Optional, Set, Tuple

#: seconds until a leftover of an interrupted upload is removed, and until an entry is looked over again
DAY = 24 * 3600.0
_MAX_MANIFEST = 64 * 1024 * 1024
_KEY = re.compile(r"[0-9a-f]{64}\Z")
_INCOMING = b".incoming."

Row = Tuple[bytes, int, int]


class Damaged(Exception):
    """What arrived is not the bundle that it should be; nothing was stored."""


def path(base: str, key: str) -> str:
    """Return the folder of an entry, whether it is there or not."""
    return _text(_entry(base, key))


def have(base: str, keys: List[str]) -> List[str]:
    """Return those of ``keys`` that are missing, or not whole any more; once a day, mark the others as used."""
    return [key for key in dict.fromkeys(keys) if not _is_whole(base, key)]


def place(base: str, key: str, folder: str) -> None:
    """Let the files of an entry appear in ``folder`` (made if need be): as links, since the store is read-only.

    May be repeated. Raises FileExistsError if something else is there.
    """
    entry = _entry(base, key)
    for name, _, _ in _read_manifest(base, key):
        target = os.path.join(_bytes(folder), name)
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        source = os.path.join(entry, name)
        try:
            os.symlink(source, target)
        except FileExistsError:
            if not (os.path.islink(target) and os.readlink(target) == source):
                raise


def remove(base: str, key: str) -> None:
    """Remove an entry; nothing happens if it is not there. Its name is gone at once."""
    with contextlib.suppress(FileNotFoundError):
        aside = _set_aside(base, key)
        _remove_tree(aside)
        os.unlink(_manifest(base, key))


def sweep(base: str, older_than: float = DAY) -> int:
    """Remove what interrupted uploads left behind; return how many there were."""
    folder = _store(base)
    swept = 0
    for name in os.listdir(folder) if os.path.isdir(folder) else []:
        leftover = os.path.join(folder, name)
        with contextlib.suppress(FileNotFoundError):  # someone else sweeps as well
            if name.startswith(_INCOMING) and time.time() - os.lstat(leftover).st_mtime > older_than:
                _remove_tree(leftover)
                swept += 1
    return swept


class Incoming:
    """One bundle on its way in. Any failure removes what has arrived of it.

    Args:
        base: the folder that holds ``store``; made if need be.
        key: the bundle's key.
    """

    def __init__(self, base: str, key: str) -> None:
        self._base = base
        self._key = key
        self._entry = _entry(base, key)
        os.makedirs(_store(base), mode=0o700, exist_ok=True)
        prefix = _INCOMING + key[:12].encode() + b"."
        self._temp = tempfile.mkdtemp(prefix=prefix, dir=_store(base))
        self._root = os.path.join(self._temp, b"files")
        self._digest = hashlib.sha256()
        self._head = bytearray()
        self._rows: Optional[List[Row]] = None
        self._next = 0  # the index of the row after the open one
        self._left = 0  # bytes that the open file still lacks
        self._file: Optional[int] = None
        self._folders: Set[bytes] = set()
        os.mkdir(self._root, 0o700)

    def write(self, chunk: bytes) -> None:
        """Take the next bytes, however they are cut.

        Raises:
            Damaged: they are not a bundle.
            OSError: disk or quota full, and the like.
        """
        try:
            self._digest.update(chunk)
            self._feed(memoryview(chunk))
        except BaseException:  # also an interrupt: no half file
            self.discard()
            raise

    def commit(self) -> str:
        """Check what arrived and give it its name; return its folder. Someone else's same entry is as good."""
        try:
            if self._rows is None or self._file is not None or self._next < len(self._rows):
                raise Damaged("the upload of %s ended early" % self._key)
            if self._digest.hexdigest() != self._key:
                raise Damaged("the upload of %s has another content" % self._key)
            self._close_folders()
            self._publish()
        finally:
            self.discard()
        return _text(self._entry)

    def discard(self) -> None:
        """Remove what has arrived. May be called at any time, more than once, and after :meth:`commit`."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        _remove_tree(self._temp)

    def _feed(self, data: memoryview) -> None:
        if self._rows is None:
            data = self._feed_head(data)
        while data:
            if self._file is None:
                raise Damaged("the upload of %s is too long" % self._key)
            written = os.write(self._file, data[: self._left])
            data = data[written:]
            self._left -= written
            if not self._left:
                self._open_next()

    def _feed_head(self, data: memoryview) -> memoryview:
        """Take the manifest line; return what follows it."""
        before = len(self._head)
        self._head += data
        end = self._head.find(b"\n", before)
        if end < 0:
            if len(self._head) > _MAX_MANIFEST:
                raise Damaged("the upload of %s has no manifest" % self._key)
            return data[len(data) :]
        del self._head[end + 1 :]
        self._rows = _rows(bytes(self._head))
        with open(os.path.join(self._temp, b"manifest"), "wb") as file:
            file.write(self._head)
        self._open_next()
        return data[end + 1 - before :]

    def _open_next(self) -> None:
        """Close the open file and open the next one that is not empty."""
        rows = self._rows or []
        while not self._left:
            if self._file is not None:
                done, self._file = self._file, None
                os.close(done)  # where some file systems say that the disk is full
            if self._next == len(rows):
                return
            name, mode, self._left = rows[self._next]
            self._next += 1
            self._make_folders(name)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
            self._file = os.open(os.path.join(self._root, name), flags, mode)

    def _make_folders(self, name: bytes) -> None:
        folder = os.path.dirname(name)
        missing: List[bytes] = []
        while folder and folder not in self._folders:
            missing.append(folder)
            folder = os.path.dirname(folder)
        for folder in reversed(missing):
            os.mkdir(os.path.join(self._root, folder), 0o700)
            self._folders.add(folder)

    def _close_folders(self) -> None:
        for folder in self._folders:
            os.chmod(os.path.join(self._root, folder), 0o500)

    def _publish(self) -> None:
        os.rename(os.path.join(self._temp, b"manifest"), _manifest(self._base, self._key))
        for _ in range(3):
            if _moved(self._root, self._entry):
                os.chmod(self._entry, 0o500)  # not before: a folder that moves must be writable
                return
            if _is_whole(self._base, self._key, trust=0):
                return
            _set_aside(self._base, self._key)
        raise Damaged("the entry %s cannot be replaced" % self._key)


def _rows(line: bytes) -> List[Row]:
    """Parse and check a manifest: plain relative names, each once, no file that is a folder as well."""
    try:
        found: List[List[Any]] = json.loads(line.decode("utf-8"))
        rows = [(name.encode("utf-8"), 0o500 if mode & 0o100 else 0o400, int(size)) for name, mode, size in found]
    except (ValueError, TypeError, AttributeError) as error:
        raise Damaged("not a manifest: %s" % error)  # noqa: B904 - nothing in it to keep
    names = {name for name, _, _ in rows}
    if len(names) < len(rows):
        raise Damaged("a manifest that names a file twice")
    for name, _, size in rows:
        parts = name.split(b"/")
        if size < 0 or b"\0" in name or not {b"", b".", b".."}.isdisjoint(parts):
            raise Damaged("a manifest with the entry %r" % name)
        if any(b"/".join(parts[:count]) in names for count in range(1, len(parts))):
            raise Damaged("a manifest in which a folder of %r is a file" % name)
    return rows


def _is_whole(base: str, key: str, trust: float = DAY) -> bool:
    manifest = _manifest(base, key)
    try:
        looked_over = os.stat(manifest).st_mtime
        os.stat(_entry(base, key))
        if time.time() - looked_over < trust:
            return True
        for name, _, size in _read_manifest(base, key):
            status = os.stat(os.path.join(_entry(base, key), name))
            if status.st_size != size or not stat.S_ISREG(status.st_mode):
                return False
    except (FileNotFoundError, NotADirectoryError, Damaged):
        return False
    with contextlib.suppress(OSError):
        os.utime(manifest, None)
    return True


def _read_manifest(base: str, key: str) -> List[Row]:
    with open(_manifest(base, key), "rb") as file:
        return _rows(file.read())


def _moved(source: bytes, target: bytes) -> bool:
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def _set_aside(base: str, key: str) -> bytes:
    """Take an entry's name away from it at once; return where it is now."""
    entry = _entry(base, key)
    aside = tempfile.mkdtemp(prefix=_INCOMING + key[:12].encode() + b".", dir=_store(base))
    with contextlib.suppress(FileNotFoundError):
        os.chmod(entry, 0o700)
        os.rename(entry, os.path.join(aside, b"files"))
    return aside


def _remove_tree(place: bytes) -> None:
    """Remove a folder of ours, read-only ones in it too; what is gone already is no error."""
    for folder, _, _ in os.walk(place):
        with contextlib.suppress(OSError):
            os.chmod(folder, 0o700)
    shutil.rmtree(place, ignore_errors=True)


def _store(base: str) -> bytes:
    return os.path.join(os.path.abspath(_bytes(base)), b"store")


def _entry(base: str, key: str) -> bytes:
    if not _KEY.match(key):
        raise ValueError("not a key of the store: %r" % key)
    return os.path.join(_store(base), key.encode())


def _manifest(base: str, key: str) -> bytes:
    return _entry(base, key) + b".json"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
