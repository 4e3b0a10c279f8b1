"""What brings small results back: which files match, what they hold, and their bytes in pieces."""

import hashlib
import os
import re
import stat
from typing import Any, Dict, Iterator, List, Optional, Tuple

from .looking import Pace
from .refused import Refused

Head = Dict[str, Any]

FETCH_REQUESTS = ("find_files", "file_digest", "file_piece")
_BLOCK = 1 << 20


class FetchRequests:
    """The requests about files below a folder, each answered once, in a thread of a small pool."""

    def find_files(self, head: Head) -> Dict[str, Any]:
        """Say which files below ``root`` match.

        ``patterns``: a regular expression for the name, and how deep it lies (None: anywhere). ``most``: how many files
        are too many. ``inode`` of the answer is the folder's own; None: there is no such folder. ``links`` lead out of
        it. ``there`` are some names that it has, for messages.
        """
        root = str(head["root"])
        try:
            inode = os.stat(root).st_ino
        except OSError:
            return {"inode": None, "files": [], "links": [], "there": [], "more": False}
        wanted = [(re.compile(regex, re.DOTALL), depth) for regex, depth in head["patterns"]]
        deepest = max([1 << 30 if depth is None else depth for _, depth in wanted] or [-1])
        files: List[List[Any]] = []
        links: List[str] = []
        there: List[str] = []
        for name in _names(root, deepest):
            if len(there) < 10:
                there.append(name)
            if not any(regex.fullmatch(name) for regex, _ in wanted):
                continue
            size = _size(root, name)
            if size is None:
                links.append(name)
            elif size >= 0:
                files.append([name, size])
            if len(files) > head["most"]:
                break
        more = len(files) > head["most"]
        return {"inode": inode, "files": sorted(files), "links": sorted(links), "there": there, "more": more}

    def file_digest(self, head: Head) -> Dict[str, Any]:
        """Return size and SHA-256 of a file."""
        digest, size = hashlib.sha256(), 0
        with _opened(head) as file:
            for block in iter(lambda: file.read(_BLOCK), b""):
                digest.update(block)
                size += len(block)
        return {"size": size, "sha256": digest.hexdigest()}

    def file_piece(self, head: Head) -> Tuple[Dict[str, Any], bytes]:
        """Return ``bytes`` of a file, from ``at`` on; fewer at its end."""
        with _opened(head) as file:
            file.seek(int(head["at"]))
            return {}, file.read(int(head["bytes"]))


def _names(root: str, deepest: int) -> Iterator[str]:
    """Yield the names of files and links below a folder, at most so deep; a link to a folder is not followed."""
    pace = Pace()
    left = [("", 0)] if deepest >= 0 else []
    while left:
        folder, depth = left.pop(0)
        pace.step()
        try:
            entries = sorted(os.scandir(os.path.join(root, folder)), key=lambda entry: entry.name)
        except OSError:
            continue  # it was removed meanwhile, or is not ours to read
        for entry in entries:
            name = os.path.join(folder, entry.name)
            if not entry.is_dir(follow_symlinks=False):
                yield name
            elif depth < deepest:
                left.append((name, depth + 1))


def _size(root: str, name: str) -> Optional[int]:
    """Return the bytes of a file; None if it leads out of the folder; -1 if it is no file."""
    path = os.path.join(root, name)
    if not _within(root, path):
        return None
    try:
        found = os.stat(path)
    except OSError:
        return -1
    return found.st_size if stat.S_ISREG(found.st_mode) else -1


def _within(root: str, path: str) -> bool:
    return os.path.realpath(path).startswith(os.path.realpath(root).rstrip("/") + "/")


def _opened(head: Head) -> Any:
    path = os.path.join(str(head["root"]), str(head["name"]))
    if not _within(str(head["root"]), path):
        raise Refused("gone", "it leads out of the folder", path=path)
    try:
        return os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")
    except OSError as error:
        raise Refused("gone", error.strerror or str(error), path=path)  # noqa: B904
