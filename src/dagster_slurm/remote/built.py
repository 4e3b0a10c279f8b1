"""Environments built here from packages that travelled: ``<base>/built/<key>/``, offline, whole or not at all.

``.dagster-slurm/`` in an environment holds ``ready`` (its key; written last, touched when it is used), ``files`` (what
lies in it), ``about.json``, and ``bases`` (under which folders runs use it).
"""

import contextlib
import json
import os
import shutil
import tempfile
import time
from typing import Any, ContextManager, Dict, List

from . import archived, long_lock, making, packages, rundir, sharing
from .making import NotBuilt

MARKS = ".dagster-slurm"
READY, FILES, ABOUT, BASES = "ready", "files", "about.json", "bases"
_NEW, _GONE = ".new.", ".gone."
_TIMEOUT = 3600.0
#: seconds after which a build that nobody touches was killed
_ABANDONED = 3600.0
#: how often a use is noted, in seconds
_USE_NOTED = 3600.0


def folder(base: str) -> str:
    """Return the folder of all environments."""
    return os.path.join(base, "built")


def is_ready(path: str, key: str, runs: str = "") -> bool:
    """Whether an environment is there and whole as far as we know; notes that runs below ``runs`` use it."""
    marks = os.path.join(path, MARKS)
    ready = os.path.join(marks, READY)
    if rundir.read_text(ready).strip() != key or not sharing.can_be_trusted(os.path.dirname(os.path.dirname(path))):
        return False
    if runs:
        with contextlib.suppress(OSError):  # somebody else's: theirs to note
            _note_use(marks, runs)
    return True


def _note_use(marks: str, runs: str) -> None:
    ready, bases = os.path.join(marks, READY), os.path.join(marks, BASES)
    if time.time() - os.stat(ready).st_mtime > _USE_NOTED:
        os.utime(ready, None)
    if runs not in rundir.read_text(bases).split("\n"):
        with open(bases, "ab") as file:
            file.write(os.fsencode(runs) + b"\n")


def build(base: str, order: Dict[str, Any]) -> Dict[str, Any]:
    """Make sure that an environment is there; may be asked for by several at once, and repeated.

    Args:
        base: the folder with environments and packages.
        order: ``kind``, "uv" or "pixi"; ``key``; ``python``, its path; ``prelude``; ``tool`` (uv, pixi-unpack, or the
            file of pixi-pack that unpacks itself) and ``packages``, as ``[sha256, size, file name]``; ``pack``, of
            pixi-pack ("directory" or "file"); ``requirements``, with hashes; ``format``, "directory" or "archive";
            ``programs``, which unpack an archive on a node; ``force``, to build it anew; ``compile``, to
            compile its modules; ``about``, facts to keep.

    Returns:
        ``missing`` packages, if there are any; else ``built`` (by us, or earlier by somebody else) and ``seconds``.

    Raises:
        NotBuilt: a command failed.
        Refused: the folder is not open to this account.
        OSError: disk or quota full, and the like.
        rundir.Locked: others have been building for very long.
    """
    path = os.path.join(folder(base), order["key"])
    begun = time.monotonic()
    if not order.get("force") and is_ready(path, order["key"]):
        return {"built": False, "seconds": 0.0}
    sharing.check(base, to_write=True)
    for needed in (folder(base), os.path.join(base, "tools")):
        sharing.make_folder(base, needed)
    with building(base):
        if not order.get("force") and is_ready(path, order["key"]):
            return {"built": False, "seconds": 0.0}
        sweep(base)
        needed = [order["tool"], *order["packages"]]
        lacking = packages.missing(base, [[sha, size] for sha, size, _ in needed])
        if lacking:
            return {"missing": lacking}
        temporary = tempfile.mkdtemp(prefix=_NEW + order["key"][:16] + ".", dir=folder(base))
        try:
            _make(base, temporary, path, order)
            packages.mark_used(base, [sha for sha, _, _ in needed])
        except NotBuilt:
            # what disks did to a package since it came shows here: it is sent again
            damaged = packages.remove_damaged(base, [sha for sha, _, _ in needed])
            if not damaged:
                raise
            making.forget_tools(base, damaged)
            return {"missing": packages.missing(base, [[sha, size] for sha, size, _ in needed])}
        finally:
            remove_tree(temporary)
    return {"built": True, "seconds": round(time.monotonic() - begun, 3)}


def sweep(base: str) -> None:
    """Remove what builds that were killed left behind; to be called while :func:`building`."""
    for name in os.listdir(folder(base)):
        path = os.path.join(folder(base), name)
        with contextlib.suppress(OSError):
            if (name.startswith(_NEW) or _GONE in name) and time.time() - os.stat(path).st_mtime > _ABANDONED:
                shutil.rmtree(path, ignore_errors=True)


def building(base: str) -> ContextManager[None]:
    """Build one at a time, which is what login nodes like, and what cleaning needs."""
    return long_lock.hold(os.path.join(folder(base), ".building"), _TIMEOUT)


def remove_tree(path: str) -> None:
    """Remove an environment or what was to be one, at once under its name."""
    aside = "%s%s%d" % (path, _GONE, time.time() * 1000)
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, aside)
    shutil.rmtree(aside, ignore_errors=True)


def _make(base: str, temporary: str, path: str, order: Dict[str, Any]) -> None:
    made = os.path.join(temporary, "environment")
    if order.get("format") == "archive":
        os.mkdir(made, 0o700)
        total = archived.make(base, made, order)
        _mark(base, made, order, total)
        _publish(made, path)
    elif order["kind"] == "pixi":
        _make_in_place(base, path, order)
    else:
        cache = making.cache(base)
        sharing.make_folder(base, os.path.dirname(cache))
        making.with_uv(base, made, order, cache)
        _mark(base, made, order)
        _publish(made, path)


def _make_in_place(base: str, path: str, order: Dict[str, Any]) -> None:
    """Without its mark, which comes last, what lies there counts for nothing."""
    if os.path.lexists(path):
        remove_tree(path)
    os.mkdir(path, 0o700)
    try:
        making.with_pixi(base, path, order)
        _mark(base, path, order)
    except BaseException:  # also an interrupt: no half environment
        remove_tree(path)
        raise


def _mark(base: str, made: str, order: Dict[str, Any], packed: int = 0) -> None:
    """Note what lies in it; ``packed``: the number of files within its archive."""
    names: List[str] = []
    size = 0
    for place, folders, files in os.walk(made):
        folders[:] = [name for name in folders if name != "__pycache__"]
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        for name in files + links:
            file = os.path.join(place, name)
            size += os.lstat(file).st_size
            names.append(os.path.relpath(file, made))
    sharing.open_tree(base, made)
    marks = os.path.join(made, MARKS)
    # a job that finds it damaged says so there, and a run that it uses it
    sharing.make_folder(base, marks)
    sharing.create_file(base, os.path.join(marks, BASES))
    listing = "".join(name + "\n" for name in sorted(names) if "\n" not in name)
    _write(base, os.path.join(marks, FILES), listing.encode("utf-8", "surrogateescape"))
    about = dict(order.get("about", {}), key=order["key"], python=order["python"], files=len(names), bytes=size)
    about.update(packages=len(order["packages"]), built=round(time.time(), 3), packed=packed)
    _write(base, os.path.join(marks, ABOUT), json.dumps(about, sort_keys=True).encode())
    _write(base, os.path.join(marks, READY), order["key"].encode() + b"\n")


def _write(base: str, path: str, content: bytes) -> None:
    rundir.write_whole(path, content)
    sharing.open_file(base, path)


def about(path: str) -> Dict[str, Any]:
    """Return what is known of an environment; nothing if it is not one of ours."""
    try:
        facts: Dict[str, Any] = json.loads(rundir.read_text(os.path.join(path, MARKS, ABOUT)))
    except ValueError:
        return {}
    return facts


def _publish(made: str, path: str) -> None:
    if os.path.lexists(path):
        remove_tree(path)
    os.rename(made, path)
