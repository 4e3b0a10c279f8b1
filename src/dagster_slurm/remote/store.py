"""The read-only store of what travelled, by content: ``<base>/store/<key>/``.

An entry appears by a rename when it is complete. Beside it, ``<key>.json`` keeps its manifest: file systems that purge
old files can leave an entry with holes, so it is looked over about once a day (:func:`have`).

Names are bytes here: Python 3.6 in a C locale cannot spell others.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import time
from typing import Any, List, Optional, Tuple

#: a leftover of an interrupted upload is removed after this time
LEFTOVER_AGE = 24 * 3600.0
#: how long an entry counts as whole after it was looked over
TRUST_AGE = 24 * 3600.0
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
    """Return those of ``keys`` that are missing, or not whole any more; the others are marked as used now."""
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
    """Remove an entry; nothing happens if it is not there. It is gone at once, under its name."""
    _set_aside(base, key)
    for place in _aside(base, key):
        _remove_tree(place)


def sweep(base: str, older_than: float = LEFTOVER_AGE) -> int:
    """Remove what interrupted uploads left behind; return how many there were."""
    folder = _store(base)
    limit = time.time() - older_than
    swept = 0
    for name in _listdir(folder):
        leftover = os.path.join(folder, name)
        if name.startswith(_INCOMING) and _age_mark(leftover) < limit:
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
        self._temp = tempfile.mkdtemp(prefix=prefix, dir=_store(base))  # type: bytes
        self._root = os.path.join(self._temp, b"files")
        self._digest = hashlib.sha256()
        self._head = bytearray()
        self._rows = None  # type: Optional[List[Row]]
        self._next = 0  # index of the row after the open one
        self._left = 0  # bytes that the open file still lacks
        self._file = None  # type: Optional[int]
        self._folders = set()  # type: set[bytes]
        os.mkdir(self._root, 0o700)
