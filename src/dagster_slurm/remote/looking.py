"""What people ask for at a command line: what this site is like, which runs are here, and the removal of old ones."""

import os
import shutil
import time
from typing import Any, Dict, Iterator, List, Set, Tuple

from . import cleaning, rundir
from .commands import CommandMissing, Commands
from .queues import Queues, base_id
from .refused import Refused, check_base

Head = Dict[str, Any]

LOOKING_REQUESTS = ("survey", "runs", "clean_runs")
#: seconds for one command of a survey
_TIMEOUT = 30.0
#: file operations that are done at once; after them, so many a second: a guest does not hurry
_AT_ONCE, _PER_SECOND = 100, 50.0
#: a job's name stands in the first lines of its script
_HEADER = 4096
_NAME = "--job-name="


class LookingRequests:
    """The requests of the command line, each answered once, in a thread of a small pool."""

    _commands: Commands
    _queues: Queues

    def survey(self, head: Head) -> Dict[str, Any]:
        """Run commands that only look, and say what folders are like.

        ``commands``: by name; one that is not on the PATH is looked for in a login shell if it is ``essential``.
        """
        essential = set(head.get("essential", ()))
        return {
            "time": time.time(),
            "commands": {name: self._look(argv, name in essential) for name, argv in head["commands"].items()},
            "folders": {path: _folder(path) for path in head.get("folders", ())},
        }

    def runs(self, head: Head) -> Dict[str, Any]:
        """Say what the run directories below a base say, the newest first, and what the queue does.

        ``all``: also those that were collected. ``most``: how many. ``queue``: whether there is one to ask; unless
        ``fresh``, its look is the one that all agents of this user share.
        """
        pace = Pace()
        places: List[Tuple[float, str]] = []
        for directory in cleaning.run_directories(head["base"]):
            pace.step()
            if head["all"] or not os.path.exists(os.path.join(directory, cleaning.COLLECTED)):
                places.append((_changed(directory), directory))
        newest = sorted(places, reverse=True)[: head["most"]]
        found = [_about(directory, pace) for _, directory in newest]
        return {
            "time": time.time(),
            "runs": found,
            "more": len(places) - len(newest),
            "queue": self._queues.seen(head["fresh"]) if head["queue"] and found else None,
        }

    def clean_runs(self, head: Head) -> Dict[str, Any]:
        """Remove run directories whose time is over, and code that none needs; none whose job the queue knows."""
        check_base(head["base"])
        listed: Set[str] = set()
        if head["queue"]:
            seen = self._queues.seen(True)
            if not seen["ok"]:
                raise Refused("lookup", "the queue does not answer, so it is not known which jobs wait or run")
            listed = {base_id(row.split("|", 1)[0].strip()) for row in seen["rows"]}

        def spare(directory: str) -> bool:
            found = rundir.evidence(directory)
            return (
                bool({str(found["job"].get("id")), str(found["claim"])} & listed)
                and cleaning.outcome(directory) is None
            )

        if head["dry"]:
            return {"removed": [item for item in cleaning.expired(head["base"], head["keep"]) if not spare(item)]}
        return {"removed": cleaning.sweep(head["base"], head["keep"], spare)}

    def _look(self, argv: List[str], essential: bool) -> Dict[str, Any]:
        if not essential and shutil.which(argv[0]) is None:
            return {"code": 127, "out": "", "err": "%s: not found" % argv[0]}
        try:
            result = self._commands.run(argv, _TIMEOUT)
        except CommandMissing:
            return {"code": 127, "out": "", "err": "%s: not found" % argv[0]}
        return {"code": result.code, "out": result.out, "err": result.err}


class Pace:
    """Keeps a long look at many files slow."""

    def __init__(self) -> None:
        self._left = _AT_ONCE

    def step(self, operations: int = 1) -> None:
        """Wait as long as so many file operations must take."""
        self._left -= operations
        if self._left < 0:
            time.sleep(operations / _PER_SECOND)


def _about(directory: str, pace: Pace) -> Dict[str, Any]:
    pace.step(5)
    found = rundir.evidence(directory)
    return dict(found, dir=directory, name=_job_name(directory), collected=cleaning.outcome(directory))


def _job_name(directory: str) -> str:
    """Return the name that the batch script gives the job."""
    try:
        with open(os.path.join(directory, "job.sh"), "rb") as file:
            text = file.read(_HEADER).decode("utf-8", "replace")
    except OSError:
        return ""
    line = next((line for line in text.split("\n") if line.startswith("#SBATCH") and _NAME in line), "")
    return line.partition(_NAME)[2].strip().strip('"')


def _changed(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def _folder(path: str) -> Dict[str, Any]:
    """Say whether a folder is there or can be made, what it lies on, and how much is free (bytes)."""
    there = path
    while not os.path.isdir(there) and there != os.path.dirname(there):
        there = os.path.dirname(there)
    facts: Dict[str, Any] = {"exists": there == path, "writable": os.access(there, os.W_OK | os.X_OK)}
    facts["mount"], facts["kind"] = _mount(os.path.realpath(there))
    try:
        found = os.statvfs(there)
        facts.update(free=found.f_bavail * found.f_frsize, files=found.f_favail)
    except OSError as error:
        facts.update(free=0, files=0, writable=False, error=error.strerror or str(error))
    return facts


def _mount(path: str) -> Tuple[str, str]:
    """Return mount point and kind of the file system that a path lies on."""
    best = ("", "")
    for mount, kind in _mounts():
        if (path + "/").startswith(mount.rstrip("/") + "/") and len(mount) >= len(best[0]):
            best = (mount, kind)
    return best


def _mounts() -> Iterator[Tuple[str, str]]:
    for line in rundir.read_text("/proc/mounts").split("\n"):
        fields = line.split(" ")
        if len(fields) > 2:
            yield fields[1], fields[2]
