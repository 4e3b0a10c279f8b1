"""Run directories: what lies in one, staging it, and the evidence that its job exists."""

import contextlib
import errno
import json
import os
import shutil
import socket
import time
from typing import Any, Callable, Dict, Generator, List, Tuple

#: a lock that was not renewed for so long belongs to a process that is gone, in seconds; longer than any command runs
STALE_LOCK = 120.0
_LOCK_WAIT = 0.2

JOB_ID, CLAIM, RECORD = "job.id", "claim", "record.jsonl"
#: who holds the claim of a run that was cancelled before it had a job
CANCELLED = "cancelled"

StagedFile = Tuple[str, int, bytes]
"""Name in the run directory, mode, content."""


class Locked(Exception):
    """Another process has held the lock for as long as we would wait."""


def read_text(path: str) -> str:
    """Return a file's text, or nothing where there is no file."""
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8", "replace")
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESTALE, errno.ENOTDIR):
            return ""
        raise


def evidence(directory: str) -> Dict[str, Any]:
    """Return what the directory says about its job.

    ``job``: id, cluster and time as submitted (empty: no reply was noted); ``claim``: the id of the job that runs here;
    ``record``: the text of the record.
    """
    text = read_text(os.path.join(directory, JOB_ID))
    try:
        job: Dict[str, Any] = json.loads(text) if text else {}
    except ValueError:
        job = {}  # torn by a full disk: as good as none
    return {
        "exists": os.path.isdir(directory),
        "job": job,
        "claim": read_text(os.path.join(directory, CLAIM)).strip(),
        "record": read_text(os.path.join(directory, RECORD)),
    }


def proves_job(found: Dict[str, Any]) -> bool:
    """Whether the evidence says that a job for this directory exists or existed."""
    return bool(found["job"] or found["claim"] or found["record"].strip())


def stage(directory: str, files: List[StagedFile], fill: Callable[[str], None]) -> bool:
    """Make a run directory with these files, whole or not at all. Only while holding the lock.

    Args:
        directory: where.
        files: what lies in it.
        fill: puts further things into the directory whose path it is given; may be called again.

    Returns:
        False if it was there before: its files are replaced one by one, so that a job that lands late finds them whole.
    """
    if os.path.isdir(directory):
        for name, mode, content in files:
            if content or not os.path.exists(os.path.join(directory, name)):
                make_private(os.path.dirname(os.path.join(directory, name)))
                write_whole(os.path.join(directory, name), content, mode)
        fill(directory)
        return False
    parent = os.path.dirname(directory)
    make_private(parent)
    prefix = ".stage.%s." % os.path.basename(directory)
    for name in os.listdir(parent):
        # of one who was killed; the variables in it may be secret. (What has more dots is of another run: c.1, c.1.0.)
        if name.startswith(prefix) and name[len(prefix) :].count(".") == 1:
            shutil.rmtree(os.path.join(parent, name), ignore_errors=True)
    temporary = os.path.join(parent, "%s%d.%s" % (prefix, os.getpid(), _unique()))
    os.mkdir(temporary, 0o700)
    try:
        os.mkdir(os.path.join(temporary, "work"), 0o700)
        for name, mode, content in files:
            make_private(os.path.dirname(os.path.join(temporary, name)))
            _write(os.path.join(temporary, name), content, mode)
        fill(temporary)
        os.rename(temporary, directory)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            return stage(directory, files, fill)
        raise
    return True


def claim(directory: str, holder: str) -> None:
    """Claim a run directory, unless somebody has: whoever reads another name there does not run."""
    mine = os.path.join(directory, CLAIM + "." + holder)
    make_private(directory)  # the submission may still be on its way here
    if os.path.exists(os.path.join(directory, CLAIM)):
        return
    with contextlib.suppress(FileExistsError):
        _write(mine, holder.encode() + b"\n", 0o600)
    with contextlib.suppress(FileExistsError):
        os.link(mine, os.path.join(directory, CLAIM))


def make_private(path: str) -> None:
    """Make a folder and those above it that are missing, for nobody but the user."""
    missing: List[str] = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)


def write_whole(path: str, content: bytes, mode: int = 0o600) -> None:
    """Write a file that others see whole or not at all."""
    temporary = "%s.%d.%s" % (path, os.getpid(), _unique())
    try:
        _write(temporary, content, mode)
        os.rename(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def lock(path: str, wait: float) -> Generator[Callable[[], None], None, None]:
    """Hold an advisory lock, made by link(2), which NFS does atomically; flock is absent on some file systems.

    Yields a function that renews it, to be called before anything that may take long.

    Args:
        path: the lock's path, in a folder that exists.
        wait: seconds to wait for it.

    Raises:
        Locked: it was not free in time.
    """
    mine = "%s.%s.%d.%s" % (path, socket.gethostname(), os.getpid(), _unique())
    _write(mine, json.dumps([_where(), os.getpid()]).encode(), 0o600)
    deadline = time.monotonic() + wait
    try:
        while not _take(mine, path):
            if time.monotonic() > deadline:
                raise Locked(path)
            time.sleep(_LOCK_WAIT)
        try:
            yield lambda: os.utime(mine)
        finally:
            with contextlib.suppress(OSError):
                if os.path.samefile(mine, path):
                    os.unlink(path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(mine)


def _take(mine: str, path: str) -> bool:
    try:
        os.link(mine, path)
    except OSError as error:
        if error.errno != errno.EEXIST:
            raise
    else:
        return True
    try:
        os.utime(mine)
        ours, theirs = os.stat(mine), os.stat(path)
        if ours.st_ino == theirs.st_ino:
            return True  # it was made, and the reply was lost (NFS)
        # Age by the file server's clock alone: that of a file just written against that of the lock.
        if ours.st_mtime - theirs.st_mtime > STALE_LOCK or _holder_is_gone(path):
            remove_lock(path, theirs.st_ino)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ESTALE):
            raise
    return False


def _holder_is_gone(path: str) -> bool:
    """Whether a lock was taken by a process of this machine that is no more."""
    try:
        where, pid = json.loads(read_text(path))
        if where != _where():
            return False
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (ValueError, TypeError, OSError):
        return False
    return False


def remove_lock(path: str, inode: int) -> None:
    """Remove a lock that was found stale; if another has replaced it meanwhile, give that one back."""
    grave = "%s.%d.%s.stale" % (path, os.getpid(), _unique())
    os.rename(path, grave)
    if os.stat(grave).st_ino != inode:
        with contextlib.suppress(FileExistsError):
            os.link(grave, path)
    os.unlink(grave)


def _where() -> str:
    """Return what makes process ids comparable: the machine, since when it runs, and the namespace."""
    boot = read_text("/proc/sys/kernel/random/boot_id").strip()
    try:
        return "%s %s %s" % (socket.gethostname(), boot, os.readlink("/proc/self/ns/pid"))
    except OSError:
        return socket.gethostname()


def _write(path: str, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _unique() -> str:
    return "%x" % int.from_bytes(os.urandom(6), "big")
