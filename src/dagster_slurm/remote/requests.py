"""What the agent does when it is asked: one method per request. Each may be repeated after a crash or a lost reply."""

import contextlib
import getpass
import json
import os
import platform
import re
import threading
import time
from typing import Any, Callable, ContextManager, Dict, Generator, List, Optional, Set, Tuple

from . import cleaning, rundir, store
from .cluster_requests import CLUSTER_REQUESTS, ClusterRequests
from .commands import Commands, clean_environment
from .direct import Direct
from .environment_requests import ENVIRONMENT_REQUESTS, EnvironmentRequests, lacking_environments
from .fetch_requests import FETCH_REQUESTS, FetchRequests
from .looking import LOOKING_REQUESTS, LookingRequests
from .queues import COMMAND_TIMEOUT, Queues, base_id
from .refused import Ending, Refused, check_base
from .session_requests import SESSION_REQUESTS, SessionRequests, cancel_unit, hand_over, has_it, is_handed_over

SUBMIT_TIMEOUT = 90.0
_LOCK_WAIT = 150.0
Head = Dict[str, Any]
#: the methods below that may be asked for
_OWN = ("hello", "submit", "inspect", "status", "cancel", "cancel_others", "tail")
REQUESTS = _OWN + ENVIRONMENT_REQUESTS + LOOKING_REQUESTS + SESSION_REQUESTS + CLUSTER_REQUESTS + FETCH_REQUESTS
#: a variable in a folder's name that os.path.expandvars left as it was
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


class Requests(EnvironmentRequests, LookingRequests, SessionRequests, ClusterRequests, FetchRequests):
    """The requests that are answered once, each in a thread of a small pool."""

    def __init__(self, commands: Commands, queues: Queues) -> None:
        self._commands = commands
        self._queues = queues
        self._direct = Direct()
        self._sweeping = threading.Lock()
        self._starts = threading.Condition()
        self._starting = 0
        self._finished = False

    def finish(self) -> None:
        """Begin no more jobs, and see those through that are being made: nobody else would note their ids."""
        with self._starts:
            self._finished = True
            self._starts.wait_for(lambda: not self._starting, SUBMIT_TIMEOUT)

    def hello(self, head: Head) -> Dict[str, Any]:
        """Say who and where we are, and what the client's folder names mean here."""
        paths: Dict[str, Optional[str]] = {}
        for template in head.get("expand", ()):
            paths[template] = self._expand(template)
        return {
            "python": platform.python_version(),
            "host": platform.node(),
            "user": _user(),
            "uid": os.getuid(),
            "pid": os.getpid(),
            "paths": paths,
            "late": [path for path in paths.values() if path and _shows_files_late(path)],
        }

    def submit(self, head: Head, body: bytes) -> Dict[str, Any]:
        """Make sure that the job of a run directory exists; adopt the one that does."""
        directory = head["dir"]
        found = _evidence(directory)
        if _exists(found, head):
            return dict(found, adopted=True)
        check_base(head["base"])
        missing = store.have(head["base"], head.get("needs", []))
        lacking = lacking_environments(head)
        if missing or lacking:
            return {"missing": missing, "lacking_environments": lacking}
        with self._lock(directory) as renew:
            found = _evidence(directory)
            if _exists(found, head):
                return dict(found, adopted=True)
            files, rest = _split(head["files"], body)

            def fill(run: str) -> None:
                for folder in head.get("folders", ()):
                    rundir.make_private(os.path.join(run, folder))
                for key, into in head.get("extra", ()):
                    store.place(head["base"], key, os.path.join(run, into))

            with self._unbroken():
                fresh = rundir.stage(directory, files, fill)
            # Nobody can have submitted a directory that did not exist; any other may have a job whose reply was lost.
            job = None if fresh else self._look_up(head, directory, renew)
            adopted = job is not None or (head["kind"] == "step" and has_it(found, head["unit"]))
            renew()
            with self._unbroken():
                # Of a submission before this one, nobody knows whether it will land yet.
                job = dict(job or self._start(head, directory), doubtful=not fresh)
                rundir.write_whole(os.path.join(directory, rundir.JOB_ID), json.dumps(job).encode())
            if rest:
                raise Refused("protocol", "%d bytes too many" % len(rest))
        self._sweep_sometimes(head)
        return {"job": job, "adopted": adopted, "exists": True, "claim": "", "record": ""}

    def inspect(self, head: Head) -> Dict[str, Any]:
        """Say what a run directory says, and change nothing."""
        return dict(rundir.evidence(head["dir"]), collected=cleaning.outcome(head["dir"]))

    def status(self, head: Head) -> Dict[str, Any]:
        """Say what queue and accounting know of some jobs now."""
        if head["kind"] == "direct":
            rows = self._direct.rows(head["jobs"])
            return {"queue": {"ok": True, "age": 0.0, "rows": rows, "error": ""}, "accounting": None}
        jobs: Set[str] = {base_id(str(job["id"])) for job in head["jobs"]}
        queue = self._queues.queue_now(jobs)
        account = self._queues.account(jobs) if head.get("accounting") else None
        return {"queue": queue, "accounting": account}

    def cancel(self, head: Head) -> Dict[str, Any]:
        """End the jobs of a run directory: those that are known, and those that bear its name."""
        # A submission that is under way ends first, else its job would slip through.
        with self._lock(head["dir"]) as renew:
            return self._cancel(head, renew)

    def _cancel(self, head: Head, renew: Callable[[], None]) -> Dict[str, Any]:
        found = rundir.evidence(head["dir"])
        ids: List[Any] = [found["job"].get("id"), found["claim"]]
        known: Set[str] = {str(job) for job in ids if job and job != rundir.CANCELLED}
        is_unit = head["kind"] == "step" or "session" in found["job"]
        if not known or (is_unit and not found["claim"]):
            # A submission whose reply was lost may still land: its job finds the run claimed, and ends.
            rundir.claim(head["dir"], rundir.CANCELLED)
        if head["kind"] == "direct":
            ticks = {str(found["job"].get("id")): found["job"].get("ticks")}
            return {"cancelled": [job for job in known if self._direct.stop(int(job), ticks.get(job))]}
        if is_unit:
            return {"cancelled": cancel_unit(head["dir"], found, self._commands.run)}
        if not known:
            job = self._look_up(head, head["dir"], renew)
            if job:
                known.add(str(job["id"]))
        if known:
            renew()
            argv = ["scancel", *sorted(known)]
            result = self._commands.run(argv, COMMAND_TIMEOUT)
            if result.code != 0:
                raise Refused("command", result.err.strip() or "scancel gave no answer", command=argv, code=result.code)
            cleaning.forget_variables(head["dir"])
        return {"cancelled": sorted(known)}

    def cancel_others(self, head: Head) -> Dict[str, Any]:
        """End the jobs that bear a name, but for the one that won the claim."""
        found: List[str] = self._ids(head["find"][:1], head["no_job"], lambda: None) or []
        others = sorted({job for job in found if base_id(job) != base_id(head["spare"])})
        if others:
            self._commands.run(["scancel", *others], COMMAND_TIMEOUT)
        return {"cancelled": others}

    def tail(self, head: Head) -> Tuple[Dict[str, Any], bytes]:
        """Return the last bytes of a file in a run directory."""
        try:
            path = os.path.join(str(head["dir"]), str(head["file"]))
            with open(path, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(size - int(head["bytes"]), 0))
                return {"size": size}, file.read(int(head["bytes"]))
        except FileNotFoundError:
            return {"size": 0}, b""

    def _start(self, head: Head, directory: str) -> Dict[str, Any]:
        if head["kind"] == "direct":
            return dict(self._direct.start(directory, clean_environment(dict(os.environ))), cluster="")
        if head["kind"] == "step":
            return hand_over(directory, head["unit"])
        result = self._commands.run(head["submit"], SUBMIT_TIMEOUT, cwd=directory, job=True)
        for line in reversed(result.out.strip().split("\n")):
            job, _, cluster = line.strip().partition(";")
            if result.code == 0 and job.isdigit():
                return {"id": job, "cluster": cluster, "time": round(time.time(), 3)}
        text = (result.err.strip() + "\n" + result.out.strip()).strip()
        raise Refused("sbatch", text or "sbatch gave no answer", command=head["submit"], code=result.code)

    @contextlib.contextmanager
    def _unbroken(self) -> Generator[None, None, None]:
        """What is done here is done to its end, even if the channel ends meanwhile."""
        with self._starts:
            if self._finished:
                raise Ending
            self._starting += 1
        try:
            yield
        finally:
            with self._starts:
                self._starting -= 1
                self._starts.notify_all()

    @staticmethod
    def _lock(directory: str) -> ContextManager[Callable[[], None]]:
        """Only one process at a time changes what becomes of a run directory."""
        parent, name = os.path.split(directory)
        rundir.make_private(parent)
        return rundir.lock(os.path.join(parent, "." + name + ".lock"), _LOCK_WAIT)

    def _look_up(self, head: Head, directory: str, renew: Callable[[], None]) -> Optional[Dict[str, Any]]:
        ids = self._ids(head["find"], head["no_job"], renew)
        if ids is None:
            raise Refused("lookup", "the queue does not answer, so it is not known whether the job exists")
        return {"id": ids[0], "cluster": "", "time": int(os.stat(directory).st_mtime)} if ids else None

    def _ids(self, find: List[List[str]], no_job: List[List[str]], renew: Callable[[], None]) -> Optional[List[str]]:
        """Return the ids of the jobs that bear a name: from the queue, else from accounting, where there is one.

        None if the queue does not answer: a failed look-up is not "absent".
        """
        for number, argv in enumerate(find):
            renew()
            result = self._commands.run(argv, COMMAND_TIMEOUT)
            if result.code != 0 and number == 0:
                return None
            rows = [[field.strip() for field in line.split("|")] for line in result.out.split("\n")]
            ids = sorted(
                {base_id(row[0]) for row in rows if row[1:3] not in no_job and base_id(row[0]).isdigit()}, key=int
            )
            if result.code == 0 and ids:
                return ids
        return []

    def _expand(self, template: str) -> Optional[str]:
        """Return an absolute path, with ``~`` and variables of the login environment; None if a variable is not set."""
        for match in _VARIABLE.finditer(os.path.expandvars(template)):
            name = match.group(1) or match.group(2)
            value = self._commands.login_shell_value(name)
            if not value:
                return None
            os.environ[name] = value
        path = os.path.expanduser(os.path.expandvars(template))
        return os.path.normpath(os.path.join(os.path.expanduser("~"), path))

    def _sweep_sometimes(self, head: Head) -> None:
        keep = head.get("keep")
        if keep and cleaning.due(head["base"]) and self._sweeping.acquire(False):
            threading.Thread(target=self._sweep, args=(head["base"], keep), daemon=True).start()

    def _sweep(self, base: str, keep: Dict[str, float]) -> None:
        try:
            cleaning.sweep(base, keep)
        finally:
            self._sweeping.release()


def _evidence(directory: str) -> Dict[str, Any]:
    """Return the evidence of a run directory that may be submitted."""
    found = rundir.evidence(directory)
    if found["claim"] == rundir.CANCELLED:
        raise Refused("cancelled", "it was cancelled before it had a job", path=directory)
    return found


def _exists(found: Dict[str, Any], head: Head) -> bool:
    """Whether the job of a run directory exists: what a session was asked to do may have to be asked again."""
    return is_handed_over(found, head["unit"]) if head["kind"] == "step" else rundir.proves_job(found)


def _split(files: List[List[Any]], body: bytes) -> Tuple[List[rundir.StagedFile], bytes]:
    staged: List[rundir.StagedFile] = []
    for name, mode, size in files:
        staged.append((name, mode, body[:size]))
        body = body[size:]
    return staged, body


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account that this host's directory does not know
        return str(os.getuid())


def _shows_files_late(path: str) -> bool:
    """Whether a path lies on a file system whose clients cache: written bytes must be synced to be seen elsewhere."""
    best, kind = "", ""
    for line in rundir.read_text("/proc/mounts").split("\n"):
        fields = line.split(" ")
        if len(fields) > 2 and (path + "/").startswith(fields[1].rstrip("/") + "/") and len(fields[1]) >= len(best):
            best, kind = fields[1], fields[2]
    return kind.startswith("nfs")
