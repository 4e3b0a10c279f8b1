"""Which environments are here, which of them are in use, and the removal of others."""

import contextlib
import os
import time
from typing import Any, Dict, Iterator, List, Set

from . import built, cleaning, making, packages, rundir, sharing

#: an environment used so lately may be that of a job that is just being submitted, in seconds
_JUST_USED = 3600.0
#: one that runs of another account used, whose folders we cannot look into, counts as in use for so many seconds
_PERHAPS_USED = 90 * 86400.0


def listing(base: str) -> List[Dict[str, Any]]:
    """Return what is known of each environment below ``base``, the last used first.

    Besides what :mod:`.built` notes: ``path``, ``used`` (seconds since the epoch), ``in_use`` (by a run that has not
    ended, or perhaps by one of another account), ``whole``, and ``owner`` (empty: it is ours).
    """
    found: List[Dict[str, Any]] = []
    for name in _names(base):
        path = os.path.join(built.folder(base), name)
        owner = "" if os.stat(path).st_uid == os.getuid() else sharing.owner(path)
        if os.access(os.path.join(path, built.MARKS), os.R_OK | os.X_OK) or not owner:
            found.append(dict(built.about(path), whole=built.is_ready(path, name), bases=_bases(path)))
        else:
            found.append({"whole": False, "bases": []})
        found[-1].update(key=name, path=path, used=_used(path), owner=owner)
    taken = _in_use({os.path.dirname(base)}.union(*(item["bases"] for item in found)))
    for item in found:
        lately = time.time() - item["used"] < _PERHAPS_USED
        item["in_use"] = item["path"] in taken or (lately and any(map(_is_closed, item["bases"])))
        del item["bases"]
    return sorted(found, key=lambda item: -item["used"])


def clean(base: str, older: float, most: float, dry: bool) -> Dict[str, Any]:
    """Remove environments of ours that nobody uses, and packages that none needs any more.

    Args:
        base: the folder with environments.
        older: seconds since the last use after which one goes.
        most: bytes that all of them may have; beyond, those used longest ago go.
        dry: only say what would go.

    Returns:
        ``removed`` environments as in :func:`listing`, ``kept``, and ``packages``: bytes of packages removed.
    """
    sharing.check(base, to_write=True)
    sharing.make_folder(base, built.folder(base))
    with built.building(base):
        kept: List[Dict[str, Any]] = []
        removed: List[Dict[str, Any]] = []
        total = 0.0
        for item in listing(base):
            age = time.time() - item["used"]
            total += item.get("bytes", 0)
            spare = not item["in_use"] and not item["owner"] and age > _JUST_USED
            (removed if spare and (age > older or total > most) else kept).append(item)
        freed = 0
        if not dry:
            for item in removed:
                built.remove_tree(item["path"])
            built.sweep(base)
            freed = packages.sweep(base, max(older, _JUST_USED))
            if removed:
                # its hard links would keep the bytes; the next build unpacks again what it needs
                built.remove_tree(making.cache(base))
                built.remove_tree(os.path.join(base, "wheels"))
    return {"removed": removed, "kept": kept, "packages": freed}


def _names(base: str) -> List[str]:
    with contextlib.suppress(FileNotFoundError):
        return sorted(name for name in os.listdir(built.folder(base)) if "." not in name)
    return []


def _used(path: str) -> float:
    for name in (built.READY, built.ABOUT):
        with contextlib.suppress(OSError):
            return os.stat(os.path.join(path, built.MARKS, name)).st_mtime
    return 0.0


def _bases(path: str) -> List[str]:
    noted = rundir.read_text(os.path.join(path, built.MARKS, built.BASES))
    return [base for base in noted.split("\n") if base]


def _is_closed(base: str) -> bool:
    """Whether a folder with runs is another account's."""
    try:
        os.listdir(os.path.join(base, "runs"))
    except PermissionError:
        return True
    except OSError:
        pass
    return False


def _in_use(bases: Set[str]) -> Set[str]:
    """Return the environments of all runs below some bases that have not ended."""
    return {
        folder
        for base in bases
        for directory in _unfinished(base)
        for folder in rundir.read_text(os.path.join(directory, "environment")).split("\n")
    }


def _unfinished(base: str) -> Iterator[str]:
    for directory in cleaning.run_directories(base):
        record = rundir.read_text(os.path.join(directory, rundir.RECORD)).split("\n")
        # what a signal ended may be started again
        ended = any('"event":"exit"' in line and '"signalled":false' in line for line in record)
        if not ended and cleaning.outcome(directory) is None:
            yield directory
