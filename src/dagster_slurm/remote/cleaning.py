"""Removes run directories whose time is over; part of a submit, at most once a day and folder."""

import contextlib
import json
import os
import random
import shutil
import time
from typing import Callable, Dict, Iterator, List, Optional

from . import results, rundir, store

COLLECTED = "collected.json"
#: the folder of a run directory in which later jobs find what this one saved
CHECKPOINT = "checkpoint"
_DONE, _GOING_ON = ".swept", ".sweeping"
_HOUR, _DAY = 3600.0, 86400.0
#: a job without an end in its record may be waiting or running: nothing younger is touched, in seconds
_UNFINISHED = 180 * _DAY
#: what lies beside run directories and was not touched for so long is of a process that was killed over it, in seconds
_LEFT_BEHIND = _DAY
_PAUSE = 0.1  # seconds between two run directories: a guest does not hurry


def mark_collected(directory: str, outcome: str) -> None:
    """Note that the result was taken over, and remove the variables: nothing will run here again."""
    rundir.write_whole(os.path.join(directory, COLLECTED), json.dumps({"outcome": outcome}).encode())
    forget_variables(directory)


def forget_variables(directory: str) -> None:
    """Remove ``env.sh`` of a run, and of its components."""
    for folder in [directory, *_folders(os.path.join(directory, "components"))]:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(folder, "env.sh"))


def due(base: str) -> bool:
    """Whether a sweep is due under this base; whoever is told so does it, or is taken to have died after a while."""
    if _since(os.path.join(base, _DONE)) < _DAY or _since(os.path.join(base, _GOING_ON)) < _HOUR:
        return False
    rundir.write_whole(os.path.join(base, _GOING_ON), b"")
    return True


def sweep(base: str, keep: Dict[str, float], spare: Callable[[str], bool] = lambda _: False) -> List[str]:
    """Remove run directories older than ``keep[outcome]`` seconds but for those to spare, and code that none needs.

    Returns:
        The directories that were removed.
    """
    removed: List[str] = []
    for directory in expired(base, keep):
        if spare(directory):
            continue
        results.forget(directory)
        shutil.rmtree(directory, ignore_errors=True)
        removed.append(directory)
        _remove_if_empty(os.path.dirname(directory))
    for step in _step_folders(base):
        sweep_leftovers(step, _LEFT_BEHIND)
        _remove_if_empty(step)
    _sweep_store(base)
    rundir.write_whole(os.path.join(base, _DONE), b"")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(base, _GOING_ON))
    return removed


def expired(base: str, keep: Dict[str, float]) -> Iterator[str]:
    """Yield run directories older than ``keep[outcome]`` seconds.

    What was never collected is kept as a failure is: somebody may come back for it.
    """
    for directory in run_directories(base):
        time.sleep(_PAUSE)
        limit = _limit(directory, keep)
        if limit is not None and _age(directory) > limit:
            yield directory


def sweep_leftovers(folder: str, older_than: float, prefix: str = ".") -> None:
    """Remove what killed processes left in a folder: locks, run directories that were being made (with their secrets).

    Args:
        folder: where; run directories themselves are not looked at.
        older_than: seconds for which nobody touched it.
        prefix: what the names of such things begin with.
    """
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if not name.startswith(prefix) or _since(path) <= older_than:
            continue
        with contextlib.suppress(OSError):
            if os.path.isdir(path):
                shutil.rmtree(path, ignore_errors=True)
            elif name.endswith(".lock"):
                rundir.remove_lock(path, os.stat(path).st_ino)
            else:
                os.unlink(path)


def _limit(directory: str, keep: Dict[str, float]) -> Optional[float]:
    """Return how many seconds a run directory is kept; None for ever."""
    known = outcome(directory)
    if known is not None:
        return keep.get(known)
    limit = keep.get("failure")
    if limit is None or '"event":"exit"' in rundir.read_text(os.path.join(directory, rundir.RECORD)):
        return limit
    return max(limit, _UNFINISHED)


def _sweep_store(base: str) -> None:
    """Remove leftovers of uploads, and code that was last used before anything that may still need it."""
    store.sweep(base)
    folder = os.path.join(base, "store")
    for name in os.listdir(folder) if os.path.isdir(folder) else []:
        if name.endswith(".json") and _since(os.path.join(folder, name)) > _UNFINISHED + _DAY:
            time.sleep(_PAUSE)
            store.remove(base, name[: -len(".json")])


def _since(path: str) -> float:
    """Return seconds since a file was written; very many if there is none."""
    try:
        return time.time() - os.stat(path).st_mtime
    except OSError:
        return float("inf")


def run_directories(base: str) -> Iterator[str]:
    """Yield the run directories below a base folder."""
    for step in _step_folders(base):
        for directory in _run_directories(step):
            yield directory


def _step_folders(base: str) -> Iterator[str]:
    for run in _folders(os.path.join(base, "runs")):
        for step in _folders(run):
            yield step


def _run_directories(step: str) -> Iterator[str]:
    for directory in _folders(step):
        if not os.path.basename(directory).startswith("."):  # it is only being made
            yield directory


def _folders(path: str) -> Iterator[str]:
    try:
        names = os.listdir(path)
    except OSError:
        return
    random.shuffle(names)  # an agent that ends in mid-sweep is followed by one that begins elsewhere
    for name in names:
        if os.path.isdir(os.path.join(path, name)):
            yield os.path.join(path, name)


def outcome(directory: str) -> Optional[str]:
    """Return the outcome with which a run was collected; None if it was not."""
    try:
        return str(json.loads(rundir.read_text(os.path.join(directory, COLLECTED)))["outcome"])
    except (ValueError, KeyError, TypeError):
        return None


def _age(directory: str) -> float:
    """Return seconds since anything happened in a run directory."""
    newest = 0.0
    for name in (rundir.RECORD, COLLECTED, rundir.JOB_ID, "stdout.0", CHECKPOINT, "."):
        try:
            newest = max(newest, os.stat(os.path.join(directory, name)).st_mtime)
        except OSError:
            continue
    return time.time() - newest


def _remove_if_empty(path: str) -> None:
    for folder in (path, os.path.dirname(path)):
        try:
            os.rmdir(folder)
        except OSError:
            return
