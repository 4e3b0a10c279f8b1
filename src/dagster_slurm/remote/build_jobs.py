"""Builds of environments that are jobs: ``<base>/built/.jobs/<key>/`` holds the order, the job's id, and its result.

Whoever asks for an environment that is being built so is told of the same job.
"""

import json
import os
import shutil
import time
from typing import Any, Dict, List, Optional

from . import archived, built, packages, rundir
from .commands import Commands
from .refused import Refused

_ORDER, _JOB, _RESULT, _LOG = "order.json", "job.json", "result.json", "build.log"
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
        ``built`` (it is there already), ``missing`` packages, or the ``job`` and its ``state``.

    Raises:
        Refused: Slurm does not take the job.
    """
    base, order = head["base"], head["order"]
    folder = _folder(base, order["key"])
    rundir.make_private(folder)
    with rundir.lock(folder + ".lock", _TIMEOUT):
        if not order.get("force") and built.is_ready(os.path.join(built.folder(base), order["key"]), order["key"]):
            return {"built": False, "seconds": 0.0}
        needed = [order["tool"], *order["packages"]]
        lacking = packages.missing(base, [[sha, size] for sha, size, _ in needed])
        if lacking:
            return {"missing": lacking}
        job = _job(folder)
        if not job or os.path.exists(os.path.join(folder, _RESULT)):
            job = _submit(commands, head, folder)
    return {"job": job["id"], "state": "it waits in the queue"}


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
    state = _state(commands, head["queue"], str(job.get("id", "")))
    now = time.time()
    if state is None:  # the queue does not answer: that says nothing
        return {"job": job.get("id"), "state": "the queue does not answer"}
    if not state:
        result = _result(folder)
        if result is not None:
            return _outcome(result, folder)
        if not job or now - max(float(job.get("seen", 0)), float(job["time"])) > _GRACE:
            log = rundir.read_text(os.path.join(folder, _LOG)).strip()
            shutil.rmtree(folder, ignore_errors=True)
            text = "its job %s ended without a word: it was cancelled, or its node failed" % job.get("id", "")
            raise Refused("build", text, command=[], code=-1, log=log[-4000:])
        return {"job": job["id"], "state": "it has left the queue"}
    rundir.write_whole(os.path.join(folder, _JOB), json.dumps(dict(job, seen=now)).encode())
    node = rundir.read_text(os.path.join(folder, "node"))
    return {"job": job["id"], "state": "it runs on %s" % node if node else "it is %s in the queue" % state}


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
    rundir.write_whole(os.path.join(folder, "job.sh"), text.encode(), 0o700)
    result = commands.run(head["submit"], _TIMEOUT, cwd=folder, job=True)
    for line in reversed(result.out.strip().split("\n")):
        number, _, cluster = line.strip().partition(";")
        if result.code == 0 and number.isdigit():
            job = {"id": number, "cluster": cluster, "time": round(time.time(), 3)}
            rundir.write_whole(os.path.join(folder, _JOB), json.dumps(job).encode())
            return job
    said = (result.err.strip() + "\n" + result.out.strip()).strip()
    text = "Slurm does not take the job that builds it (see env_build_options): %s" % (said or "no answer")
    raise Refused("build", text, command=head["submit"], code=result.code, log="")


def _state(commands: Commands, queue: List[str], job: str) -> Optional[str]:
    """Return the queue's word for a job, nothing if it does not know it, None if it does not answer."""
    result = commands.run(queue, _TIMEOUT)
    if result.code != 0:
        return None
    for line in result.out.split("\n"):
        fields = line.split("|")
        if len(fields) > 1 and fields[0].strip() == job and fields[1].strip() in ("PENDING", "CONFIGURING", "RUNNING"):
            return fields[1].strip().lower()
    return ""


def _result(folder: str) -> Optional[Dict[str, Any]]:
    text = rundir.read_text(os.path.join(folder, _RESULT))
    return json.loads(text) if text else None


def _job(folder: str) -> Dict[str, Any]:
    text = rundir.read_text(os.path.join(folder, _JOB))
    job: Dict[str, Any] = json.loads(text) if text else {}
    return job


def _folder(base: str, key: str) -> str:
    return os.path.join(built.folder(base), ".jobs", key)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
