"""Builds of environments that are jobs: ``<base>/built/.jobs/<uid>/<key>/`` holds the order, the job's id, its result.

Whoever asks for an environment that is being built so is told of the same job: by its id, or, where whoever submitted
it was killed before he noted it, by its name. Other accounts have jobs of their own, since they may not see ours; the
one that comes second finds the environment built.
"""

import json
import os
import shutil
import time
from typing import Any, Dict, List, Optional

from . import archived, built, packages, rundir, sharing
from .commands import Commands
from .refused import Refused

_ORDER, _JOB, _RESULT, _LOG, _JOB_SCRIPT = "order.json", "job.json", "result.json", "build.log", "job.sh"
_ALIVE = "PENDING CONFIGURING RUNNING REQUEUED SUSPENDED COMPLETING RESIZING STOPPED SIGNALING".split()
_TIMEOUT = 90.0
#: how long a job may be unknown to the queue before it is taken to have ended without a word, in seconds
_GRACE = 30.0
_BODY = """
cd %(folder)s || exit 66
export PYTHONPATH=$PWD/programs
exec %(python)s -S -c 'from dagster_slurm_remote.build_in_job import main; main()'
"""


def begin(commands: Commands, head: Dict[str, Any]) -> Dict[str, Any]:
    """Make sure that a job builds an environment.

    Returns:
        ``built`` (it is there already), ``missing`` packages, the ``job`` and its ``state``, or ``refused``: Slurm
        does not take it, or does not say whether it has it already, with its words, ``code`` and ``command``.
    """
    base, order = head["base"], head["order"]
    folder = _folder(base, order["key"])
    sharing.make_folder(base, os.path.dirname(os.path.dirname(folder)))
    rundir.make_private(folder)
    with rundir.lock(folder + ".lock", _TIMEOUT) as renew:
        if _is_there(base, order):
            return {"built": False, "seconds": 0.0}
        needed = [order["tool"], *order["packages"]]
        lacking = packages.missing(base, [[sha, size] for sha, size, _ in needed])
        if lacking:
            return {"missing": lacking}
        if os.path.exists(os.path.join(folder, _JOB_SCRIPT)) and not os.path.exists(os.path.join(folder, _RESULT)):
            found = _submitted_before(commands, head, folder)
            if found is not None:
                return found
        renew()
        return _submit(commands, head, folder)


def _submitted_before(commands: Commands, head: Dict[str, Any], folder: str) -> Optional[Dict[str, Any]]:
    """Return the job that was submitted and lives, if there is one."""
    job = _job(folder)
    rows = _rows(commands, head["queue"])
    if rows is None and not job:
        text = "the queue does not answer, so it is not known whether a job builds the environment already"
        return {"refused": text, "code": None, "command": head["queue"]}
    for row in rows or ():
        if row[0] == str(job.get("id", "")) or (not job and row[-1] == head["name"]):
            if not job:
                _note(folder, row[0], "")
            return {"job": row[0], "state": "it is %s" % row[1].lower()}
    # one that was submitted a moment ago may be unknown to the queue yet
    if job and (rows is None or time.time() - float(job["time"]) < _GRACE):
        return {"job": job["id"], "state": "it waits in the queue"}
    return None


def _is_there(base: str, order: Dict[str, Any]) -> bool:
    """Whether an environment is there, and not to be built anew, by ``key`` and ``force`` of an order."""
    return not order.get("force") and built.is_ready(os.path.join(built.folder(base), order["key"]), order["key"])


def status(commands: Commands, head: Dict[str, Any]) -> Dict[str, Any]:
    """Say how far a build job is: ``job`` and ``state``, or what :func:`.built.build` returned.

    Raises:
        Refused: the build failed, or ended without a word.
    """
    folder = _folder(head["base"], head["key"])
    result = _result(folder)
    if result is not None:
        return _outcome(result, folder)
    job = _job(folder)
    now = time.time()
    rows = _rows(commands, head["queue"])
    if rows is None:  # that says nothing
        return {"job": job.get("id"), "state": "the queue does not answer"}
    state = next((row[1].lower() for row in rows if row[0] == str(job.get("id", ""))), "")
    if not state:
        result = _result(folder)
        if result is not None:
            return _outcome(result, folder)
    if state in ("", "pending") and _is_there(head["base"], head):
        return {"built": False, "seconds": 0.0}  # by another account's job
    if not state:
        if not job or now - max(float(job.get("seen", 0)), float(job["time"])) > _GRACE:
            log = rundir.read_text(os.path.join(folder, _LOG)).strip()
            shutil.rmtree(folder, ignore_errors=True)
            text = "its job %s ended without a word: it was cancelled, or its node failed" % job.get("id", "")
            raise Refused("build", text, command=[], code=-1, log=log[-4000:])
        return {"job": job["id"], "state": "it has left the queue"}
    rundir.write_whole(os.path.join(folder, _JOB), json.dumps(dict(job, seen=now)).encode())
    node = rundir.read_text(os.path.join(folder, "node"))
    return {"job": job["id"], "state": "it runs on %s" % node if node else "it is %s" % state}


def _outcome(result: Dict[str, Any], folder: str) -> Dict[str, Any]:
    if "ok" in result:
        ok: Dict[str, Any] = result["ok"]
        return ok
    log = rundir.read_text(os.path.join(folder, _LOG)).strip()
    facts = dict(result["facts"])
    if result["kind"] == "build":
        facts.setdefault("log", log[-4000:])
    raise Refused(result["kind"], result["text"], **facts)


def _submit(commands: Commands, head: Dict[str, Any], folder: str) -> Dict[str, Any]:
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
    archived.write_programs(os.path.join(folder, "programs"), head["programs"])
    order = json.dumps({"base": head["base"], "order": head["order"]})
    rundir.write_whole(os.path.join(folder, _ORDER), order.encode())
    rundir.write_whole(os.path.join(folder, _LOG), b"")
    body = _BODY % {"folder": _quoted(folder), "python": _quoted(head["python"])}
    text = "\n".join(["#!/bin/bash", *("#SBATCH " + line for line in head["header"])]) + "\n" + body
    rundir.write_whole(os.path.join(folder, _JOB_SCRIPT), text.encode(), 0o700)
    result = commands.run(head["submit"], _TIMEOUT, cwd=folder, job=True)
    for line in reversed(result.out.strip().split("\n")):
        number, _, cluster = line.strip().partition(";")
        if result.code == 0 and number.isdigit():
            _note(folder, number, cluster)
            return {"job": number, "state": "it waits in the queue"}
    said = (result.err.strip() + "\n" + result.out.strip()).strip()
    return {"refused": said or "sbatch gave no answer", "code": result.code, "command": head["submit"]}


def _note(folder: str, number: str, cluster: str) -> None:
    job = {"id": number, "cluster": cluster, "time": round(time.time(), 3)}
    rundir.write_whole(os.path.join(folder, _JOB), json.dumps(job).encode())


def _rows(commands: Commands, queue: List[str]) -> Optional[List[List[str]]]:
    """Return the fields of the user's jobs that wait or run, id and state first, name last; None: no answer."""
    result = commands.run(queue, _TIMEOUT)
    if result.code != 0:
        return None
    rows = [[field.strip() for field in line.split("|")] for line in result.out.split("\n")]
    return [row for row in rows if len(row) > 1 and row[1] in _ALIVE]


def _result(folder: str) -> Optional[Dict[str, Any]]:
    text = rundir.read_text(os.path.join(folder, _RESULT))
    return json.loads(text) if text else None


def _job(folder: str) -> Dict[str, Any]:
    text = rundir.read_text(os.path.join(folder, _JOB))
    job: Dict[str, Any] = json.loads(text) if text else {}
    return job


def _folder(base: str, key: str) -> str:
    return os.path.join(built.folder(base), ".jobs", str(os.getuid()), key)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
