"""Removes run directories whose time is over; part of a submit, at most once a day and folder."""

import contextlib
import json
import os
import shutil
import time
from typing import Dict, Iterator, Optional

from . import rundir, store

COLLECTED = "collected.json"
_MARK = ".swept"
_DAY = 86400.0
_PAUSE = 0.1  # seconds between two run directories: a guest does not hurry


def mark_collected(directory: str, outcome: str) -> None:
    """Note that the result was taken over, and remove the variables: nothing will run here again."""
    rundir.write_whole(os.path.join(directory, COLLECTED), json.dumps({"outcome": outcome}).encode())
    forget_variables(directory)


def forget_variables(directory: str) -> None:
    """Remove ``env.sh``."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(directory, "env.sh"))


def due(base: str) -> bool:
    """Whether a sweep is due under this base; whoever is told so does it."""
    mark = os.path.join(base, _MARK)
    try:
        age = time.time() - os.stat(mark).st_mtime
    except OSError:
        age = _DAY
    if age < _DAY:
        return False
    rundir.write_whole(mark, b"")
    return True


def sweep(base: str, keep: Dict[str, float]) -> int:
    """Remove collected run directories older than ``keep[outcome]`` seconds; return how many.

    What was never collected is kept as a failure is: somebody may come back for it.
    """
    removed = 0
    for directory in _run_directories(os.path.join(base, "runs")):
        time.sleep(_PAUSE)
        limit = keep.get(outcome(directory) or "failure", keep.get("failure"))
        if limit is not None and _age(directory) > limit:
            shutil.rmtree(directory, ignore_errors=True)
            removed += 1
            _remove_if_empty(os.path.dirname(directory))
    store.sweep(base)
    return removed


def _run_directories(runs: str) -> Iterator[str]:
    for level_one in _folders(runs):
        for level_two in _folders(level_one):
            for directory in _folders(level_two):
                yield directory


def _folders(path: str) -> Iterator[str]:
    try:
        names = sorted(os.listdir(path))
    except OSError:
        return
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
    for name in (rundir.RECORD, COLLECTED, rundir.JOB_ID, "stdout.0", "."):
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
