"""What the scheduler says about the jobs that are followed: one look for all of them, shared by all agents of a user.

The look is kept in a private folder of this node, with the moment at which it *began*; an agent that finds a fresh one
there asks nothing.
"""

import json
import os
import stat
import tempfile
import threading
import time
from typing import Any, Callable, Dict, List, Optional, Set

from . import rundir
from .commands import CommandMissing, Commands

#: seconds between two looks at the queue; after one that failed
LOOK_EVERY, _AFTER_FAILURE = 45.0, 60.0
#: a job is looked for first when its absence tells something: see SETTLED in the tracker
_FIRST_LOOK = 5.5
_LEAST_GAP = 30.0
#: two looks that do not know a job, so many seconds apart, settle that it is gone: see APART in the tracker
_SECOND_LOOK = 31.0
COMMAND_TIMEOUT = 60.0
#: the file in the private folder that holds the look which agents share
LOOK = "queue.json"

Emit = Callable[[Dict[str, Any], bytes], None]


def base_id(job: str) -> str:
    """Return the id of the job that a task or component belongs to: ``7_2`` and ``7+1`` belong to ``7``."""
    for mark in "_+.;":
        job = job.split(mark, 1)[0]
    return job


def rows_of(text: str, jobs: Set[str]) -> List[str]:
    """Return the lines whose first field is one of these jobs."""
    return [line for line in text.split("\n") if line and base_id(line.split("|", 1)[0].strip()) in jobs]


class Queues:
    """Looks at queue and accounting in a thread of its own, at a slow cadence."""

    def __init__(self, commands: Commands, emit: Emit, queue: List[str], accounting: List[str]) -> None:
        self._commands = commands
        self._emit = emit
        self._queue = queue
        self._accounting = accounting
        self._jobs: Dict[int, str] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._next = 0.0
        self._last = -_LEAST_GAP
        self._folder = private_folder()
        self._thread: Optional[threading.Thread] = None

    def follow(self, run: int, job: str) -> None:
        """Look out for one more job."""
        with self._lock:
            self._jobs[run] = job
            first = max(time.monotonic() + _FIRST_LOOK, self._last + _LEAST_GAP)
            self._next = min(self._next, first) if len(self._jobs) > 1 else first
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, daemon=True)
                self._thread.start()
        self._wake.set()

    def leave(self, run: int) -> None:
        """Look out for a job no more."""
        with self._lock:
            self._jobs.pop(run, None)

    def _loop(self) -> None:
        while True:
            with self._lock:
                idle, wait = not self._jobs, self._next - time.monotonic()
            if idle or wait > 0:
                self._wake.wait(None if idle else wait)
                self._wake.clear()
                continue
            with self._lock:
                jobs = {base_id(job) for job in self._jobs.values()}
                self._last = time.monotonic()
                self._next = self._last + _AFTER_FAILURE
            again = self._look(jobs)
            with self._lock:
                self._next = min(self._next, again)

    def _look(self, jobs: Set[str]) -> float:
        """Say what the scheduler knows about these jobs; return when to look again."""
        seen = self._shared(self._queue)
        rows = rows_of(seen["out"], jobs)
        age = time.monotonic() - seen["begun"]
        self._emit({"ev": "queue", "ok": seen["ok"], "age": age, "rows": rows, "error": seen["error"]}, b"")
        missing = jobs - {base_id(row.split("|", 1)[0]) for row in rows}
        # Where the queue gives no answer, accounting alone can tell of a job that ended without a record.
        if missing and self._accounting:
            self._emit(self.account(missing), b"")
        pause = _AFTER_FAILURE if not seen["ok"] else _SECOND_LOOK if missing else LOOK_EVERY
        return float(seen["begun"]) + pause

    def account(self, jobs: Set[str]) -> Dict[str, Any]:
        """Return what accounting knows about some jobs, as an event."""
        begun = time.monotonic()
        argv = [word.replace("{ids}", ",".join(sorted(jobs))) for word in self._accounting]
        answer = self._run(argv)
        return {
            "ev": "accounting",
            "ok": answer["ok"],
            "age": time.monotonic() - begun,
            "rows": rows_of(answer["out"], jobs),
            "error": answer["error"],
        }

    def queue_now(self, jobs: Set[str]) -> Dict[str, Any]:
        """Return what the queue knows about some jobs at this moment, as an event."""
        begun = time.monotonic()
        answer = self._run(self._queue)
        return {
            "ev": "queue",
            "ok": answer["ok"],
            "age": time.monotonic() - begun,
            "rows": rows_of(answer["out"], jobs),
            "error": answer["error"],
        }

    def seen(self, fresh: bool) -> Dict[str, Any]:
        """Return a look at the queue, as an event with all its rows: a new one, or that which all share."""
        seen = self._run(self._queue) if fresh else self._shared(self._queue)
        rows = [line for line in seen["out"].split("\n") if line]
        age = time.monotonic() - float(seen["begun"])
        return {"ev": "queue", "ok": seen["ok"], "age": age, "rows": rows, "error": seen["error"]}

    def _shared(self, argv: List[str]) -> Dict[str, Any]:
        """Return a look that this user's agents share; ask the scheduler only if there is no fresh one."""
        if self._folder is None:
            return self._run(argv)
        path = os.path.join(self._folder, LOOK)
        cached = _cached(path)
        if cached is not None:
            return cached
        try:
            # who holds it asks; the answer is worth waiting for as long as asking ourselves would take
            with rundir.lock(path + ".lock", wait=COMMAND_TIMEOUT + 5.0):
                cached = _cached(path)
                if cached is None:
                    cached = self._run(argv)
                    rundir.write_whole(path, json.dumps(cached).encode())
                return cached
        except (OSError, rundir.Locked):
            return self._run(argv)

    def _run(self, argv: List[str]) -> Dict[str, Any]:
        begun = time.monotonic()
        try:
            result = self._commands.run(argv, COMMAND_TIMEOUT)
        except (OSError, CommandMissing) as error:
            return {"begun": begun, "ok": False, "out": "", "error": "%s: %s" % (argv[0], error)}
        ok = result.code == 0
        error = "" if ok else (result.err.strip() or "%s gave no answer in %d s" % (argv[0], COMMAND_TIMEOUT))
        return {"begun": begun, "ok": ok, "out": result.out if ok else "", "error": error}


def _cached(path: str) -> Optional[Dict[str, Any]]:
    """Return a look that began less than a gap ago by the clock that all processes of this node share."""
    try:
        look: Dict[str, Any] = json.loads(rundir.read_text(path))
        age = time.monotonic() - float(look["begun"])
    except (ValueError, KeyError, TypeError):
        return None
    return look if 0 <= age < _LEAST_GAP else None


def private_folder() -> Optional[str]:
    """Return a folder of this node that nobody else can read or replace, or nothing if there is none."""
    path = os.path.join(tempfile.gettempdir(), "dagster-slurm-agents-%d" % os.getuid())
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        found = os.lstat(path)
    except OSError:
        return None
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    return path if ours else None
