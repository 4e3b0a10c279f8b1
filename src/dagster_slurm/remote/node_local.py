"""Runs on compute nodes, on which an environment that is one file on the shared file system is unpacked once.

It goes to the node's own storage, for all jobs of the user there, and is removed with the last of them.

    place SHARED [FOLDER]            prints where it is to lie on this node
    enter SHARED PLACE DESCRIPTOR    makes sure that it lies there; the descriptor is PLACE.lock, opened by the caller;
                                     its lock is shared by all who inherit it, and ends with them
    leave PLACE                      removes it, unless another job holds the lock
    hold SHARED PLACE STATE          on the job's further nodes: enter, say so in STATE, leave when told there

Kernel locks on the node's own disk: they end with the processes that hold them, however these end. So what a killed job
left behind is known by nobody holding its lock, and the next one removes it.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import sys
import time
from typing import Any, Callable, Dict, List, Optional

from .unpacking import Damaged, Impossible, facts_of, is_whole, unpack

DAMAGED, IMPOSSIBLE, AGAIN = 4, 5, 6
_PATIENCE = 3600.0
_USABLE = ("/tmp", "/var/tmp", "$TMPDIR")


def place(shared: str, named: str) -> str:
    """Return where the environment is to lie on this node.

    Raises:
        Impossible: no folder of this node will do; says why.
    """
    facts = facts_of(shared)
    said: List[str] = []
    for candidate in [named] if named else _USABLE:
        try:
            return _place(os.path.expandvars(os.path.expanduser(candidate)), facts)
        except (Impossible, OSError) as error:
            said.append("%s %s" % (candidate, getattr(error, "strerror", None) or error))
    raise Impossible("no storage of this node will do: %s" % "; ".join(said))


def _place(folder: str, facts: Dict[str, Any]) -> str:
    if "$" in folder or not os.path.isdir(folder):
        raise Impossible("is no folder")
    root = os.path.join(folder, "dagster-slurm-%d" % os.getuid())
    _make_root(root)
    path = os.path.join(root, facts["key"])
    _check(root, 0 if os.path.isdir(path) else int(facts["bytes"]))
    return path


def _make_root(root: str) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(root, 0o700)
    status = os.lstat(root)
    if status.st_uid != os.getuid() or not os.path.isdir(root) or os.path.islink(root) or status.st_mode & 0o077:
        raise Impossible("has a %s that is not ours alone" % os.path.basename(root))


def _check(root: str, needed: int) -> None:
    free = os.statvfs(root)
    if free.f_flag & os.ST_NOEXEC:
        raise Impossible("is mounted noexec: programs there cannot be started")
    if free.f_bavail * free.f_frsize < needed:
        raise Impossible("has %d MB left, and %d MB are needed" % (free.f_bavail * free.f_frsize >> 20, needed >> 20))


def enter(shared: str, path: str, descriptor: int) -> bool:
    """Make sure that the environment lies at ``path``, and hold its lock, shared, by an open descriptor.

    Returns:
        Whether that worked; if not, the lock file is another by now, and is to be opened again.

    Raises:
        Impossible: it cannot be unpacked here.
        Damaged: the archive is not what it was.
    """
    facts, limit = facts_of(shared), time.monotonic() + _PATIENCE
    sweep(os.path.dirname(path), path)
    while time.monotonic() < limit:
        if not _is_current(path, descriptor):
            return False
        if _lock(descriptor, fcntl.LOCK_SH) and is_whole(path, facts["key"]):
            return _is_current(path, descriptor)
        # nobody else uses or unpacks it: we do; the lock is shared then, and all is looked at again
        if _lock(descriptor, fcntl.LOCK_EX) and _is_current(path, descriptor) and not is_whole(path, facts["key"]):
            unpack(shared, path, facts)
            continue
        _lock(descriptor, fcntl.LOCK_UN)
        time.sleep(0.2)
    raise Impossible("another job of yours has been holding %s for an hour" % path)


def leave(path: str) -> None:
    """Remove an environment from this node, unless somebody holds its lock."""
    try:
        descriptor = os.open(path + ".lock", os.O_RDWR)
    except OSError:
        return
    try:
        if _lock(descriptor, fcntl.LOCK_EX) and _is_current(path, descriptor):
            shutil.rmtree(path, ignore_errors=True)
            os.unlink(path + ".lock")
    finally:
        os.close(descriptor)
    with contextlib.suppress(OSError):
        os.rmdir(os.path.dirname(path))


def sweep(root: str, spare: str) -> None:
    """Remove what killed jobs left on this node."""
    for name in os.listdir(root):
        path = os.path.join(root, name[: -len(".lock")])
        if name.endswith(".lock") and path != spare:
            leave(path)


def hold(shared: str, path: str, state: str) -> int:
    """Keep the environment on this node until told to leave: by a word in STATE/stop, or by a signal."""
    told: List[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: told.append(number))
    note = os.path.join(state, "%s.%s" % (socket.gethostname(), os.environ.get("SLURM_NODEID", "0")))
    descriptor = _entered(shared, path, lambda text: _write(note, text))
    if descriptor is None:
        return IMPOSSIBLE
    _write(note, "ok")
    while not told and not _said(os.path.join(state, "stop")):
        time.sleep(0.5)
    os.close(descriptor)
    leave(path)
    return 0


def _entered(shared: str, path: str, fail: Callable[[str], None]) -> Optional[int]:
    try:
        _make_root(os.path.dirname(path))
        _check(os.path.dirname(path), 0 if os.path.isdir(path) else int(facts_of(shared)["bytes"]))
        while True:
            descriptor = os.open(path + ".lock", os.O_RDWR | os.O_CREAT, 0o600)
            if enter(shared, path, descriptor):
                return descriptor
            os.close(descriptor)
    except (Damaged, Impossible, OSError) as error:
        fail("%s" % error)
        return None


def _write(file: str, text: str) -> None:
    with open(file + ".new", "w") as out:
        out.write(text.replace("\n", " ") + "\n")
    os.rename(file + ".new", file)


def _said(file: str) -> bool:
    try:
        with open(file) as opened:
            return bool(opened.read(1))
    except OSError:
        return True  # the run directory is gone


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_current(path: str, descriptor: int) -> bool:
    """Whether a descriptor is of the lock file that others see: the last to leave removes it."""
    try:
        there = os.stat(path + ".lock")
    except OSError:
        return False
    ours = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def main(arguments: List[str]) -> int:
    """Do what is asked; what is wrong is said on standard error, in one line."""
    try:
        word, rest = arguments[0], arguments[1:]
        if word == "place":
            print(place(rest[0], rest[1] if len(rest) > 1 else ""))
        elif word == "enter":
            return 0 if enter(rest[0], rest[1], int(rest[2])) else AGAIN
        elif word == "leave":
            leave(rest[0])
        elif word == "hold":
            return hold(rest[0], rest[1], rest[2])
    except Damaged as error:
        sys.stderr.write("%s\n" % error)
        return DAMAGED
    except (Impossible, OSError) as error:
        sys.stderr.write("%s\n" % error)
        return IMPOSSIBLE
    return 0
