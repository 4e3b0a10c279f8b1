"""`scontrol`: show job, show config, requeue, hold, release, ping."""

from __future__ import annotations

import os
import sys
import time

from . import actions, describe
from .options import Grammar, UsageError
from .view import Lagged, job_numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .job import Job
    from .state import State

OPTIONS = """
a all
M cluster=
d details
F future
h help
hide
local
o oneliner
Q quiet
sibling
u uid=
V version
v verbose
"""
BAD_ID = "scontrol_print_job error: Invalid job id specified"
UNKNOWN = "slurm_load_jobs error: Invalid job id specified"


def run(state: State, argv: list[str], _: dict[str, Any]) -> int:
    pairs, words = Grammar("scontrol", OPTIONS).parse(argv)
    verb, rest = (words[0].lower() if words else "", words[1:])
    verbs = {
        "show": _show,
        "ping": _ping,
        "requeue": _requeue,
        "requeuehold": _requeue_hold,
        "hold": _hold,
        "release": _release,
        "version": _version,
    }
    if verb not in verbs:
        raise UsageError(f"invalid keyword: {verb}")
    return verbs[verb](state, rest, dict(pairs))


def _version(state: State, _: list[str], __: dict[str, str]) -> int:
    print(f"{state.config['package']} {state.config['version']}")
    return 0


def _ping(_: State, __: list[str], ___: dict[str, str]) -> int:
    print(f"Slurmctld(primary) at {os.uname().nodename} is UP")
    return 0


def _show(state: State, words: list[str], options: dict[str, str]) -> int:
    entity = words[0].lower() if words else ""
    if entity in {"job", "jobs"}:
        return _show_job(state, words[1:], oneline="oneliner" in options)
    if entity == "config":
        sys.stdout.write(describe.config(state))
        return 0
    if entity in {"hostnames", "hostname"}:
        print("\n".join(_hosts(words[1])))
        return 0
    raise UsageError(f"invalid entity:{entity} for keyword:show ")


def _show_job(state: State, words: list[str], *, oneline: bool) -> int:
    now = time.time()
    jobs = [job for job in Lagged(state, now).jobs() if _remembered(state, job, now)]
    if words:
        numbers = job_numbers(words[0], BAD_ID)
        jobs = [job for job in jobs if job.id in numbers]
        if not jobs:
            raise UsageError(UNKNOWN)
    if not jobs:
        print("No jobs in the system")
    for job in jobs:
        sys.stdout.write(describe.job(state, job, now, oneline=oneline))
    return 0


def _remembered(state: State, job: Job, now: float) -> bool:
    age = float(state.config["min_job_age"])
    return not job.purged and (not job.terminal or job.alive or now < job.end + age)


def _requeue(state: State, words: list[str], _: dict[str, str], *, hold: bool = False) -> int:
    worst = 0
    for number in sorted(job_numbers(",".join(words), BAD_ID)):
        job = state.load(number)
        if job is None or not _remembered(state, job, time.time()):
            sys.stderr.write(f"Invalid job id specified for job {number}\n")
            worst = 1
        elif not actions.requeue(state, number, hold=hold):
            why = "Job is pending execution" if job.state == "PENDING" else "Requested operation is presently disabled"
            sys.stderr.write(f"{why} for job {number}\n")
            worst = 1
    return worst


def _requeue_hold(state: State, words: list[str], options: dict[str, str]) -> int:
    return _requeue(state, words, options, hold=True)


def _hold(state: State, words: list[str], _: dict[str, str]) -> int:
    for number in job_numbers(",".join(words), BAD_ID):
        with state.edit(number) as job:
            job.begin_at, job.reason = None, "JobHeldUser"
    return 0


def _release(state: State, words: list[str], _: dict[str, str]) -> int:
    for number in job_numbers(",".join(words), BAD_ID):
        actions.release(state, number)
    return 0


def _hosts(expression: str) -> list[str]:
    """`node[1-3],x` one by one."""
    name, bracket, rest = expression.partition("[")
    if not bracket:
        return expression.split(",")
    hosts: list[str] = []
    for part in rest.rstrip("]").split(","):
        low, dash, high = part.partition("-")
        hosts += [f"{name}{number}" for number in range(int(low), int(high if dash else low) + 1)]
    return hosts
