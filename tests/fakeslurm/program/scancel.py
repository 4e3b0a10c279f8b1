"""`scancel`: end jobs, signal jobs and steps."""

from __future__ import annotations

import os
import signal
import sys
import time

from . import actions
from .options import Grammar, UsageError
from .view import Lagged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .job import Job
    from .state import State

OPTIONS = """
A account=
b batch
M clusters=
c cron
f full
help
H hurry
i interactive
me
n name=
jobname=
w nodelist=
p partition=
Q quiet
q qos=
R reservation=
sibling=
s signal=
t state=
usage
u user=
V version
v verbose
wckey=
"""
NOT_NOW = 228  # exit codes are the low byte of Slurm's error numbers
NO_STEP = 225
FILTERS = ("account", "me", "name", "jobname", "partition", "qos", "state", "user")


def run(state: State, argv: list[str], _: dict[str, Any]) -> int:
    pairs, words = Grammar("scancel", OPTIONS).parse(argv)
    options = dict(pairs)
    number = _signal(options)
    states = _states(options)
    targets = [_target(word) for word in words]
    if not targets and not any(name in options for name in FILTERS):
        raise UsageError("scancel: error: No job identification provided")
    jobs = {job.id: job for job in Lagged(state, time.time()).jobs()}
    if not targets:
        targets = [(job_id, None) for job_id in jobs]
    worst = 0
    for job_id, step in targets:
        job = jobs.get(job_id)
        if job is not None and _matches(job, options, states):
            worst = max(worst, _send(state, job, step, number, options))
        elif job is None and step is not None:
            _complain(f"job step id {job_id}.{step}", "Invalid job id specified")
            worst = 1
    return worst


def _signal(options: dict[str, str]) -> int:
    name = options.get("signal", "")
    if not name:
        return 0
    number = int(name) if name.isdigit() else int(getattr(signal, "SIG" + name.upper().replace("SIG", ""), 0))
    if not number:
        raise UsageError(f"Unknown job signal: {name}")
    return number


def _target(word: str) -> tuple[int, str | None]:
    number, dot, step = word.partition(".")
    base = number.partition("_")[0].partition("+")[0]
    if not base.isdigit():
        raise UsageError(f"scancel: error: Invalid job id {word}")
    return int(base), step if dot else None


def _states(options: dict[str, str]) -> set[str]:
    given = options.get("state", "").upper()
    wanted = {"PD": "PENDING", "R": "RUNNING", "S": "SUSPENDED"}.get(given, given)
    if wanted not in {"", "PENDING", "RUNNING", "SUSPENDED"}:
        raise UsageError(
            f"Invalid job state specified: {options['state']}\nValid job states are PENDING, RUNNING, and SUSPENDED"
        )
    return {wanted} if wanted else set()


def _matches(job: Job, options: dict[str, str], states: set[str]) -> bool:
    name = options.get("name", options.get("jobname"))
    return (
        (name is None or job.name == name)
        and ("me" not in options or job.uid == os.getuid())
        and options.get("user", job.user) in {job.user, str(job.uid)}
        and options.get("partition", job.partition) == job.partition
        and (not states or job.state in states)
    )


def _send(state: State, job: Job, step: str | None, number: int, options: dict[str, str]) -> int:
    if "verbose" in options:
        sys.stderr.write(f"scancel: {'Signal ' + str(number) + ' to' if number else 'Terminating'} job {job.id}\n")
    if step is not None and step != "batch":
        return _send_step(state, job, int(step), number)
    if step == "batch" or "batch" in options:
        state.tell(job.id, "signal", number=number or signal.SIGKILL, batch=True)
    elif number in {0, signal.SIGKILL}:
        if (job.terminal or not actions.cancel(state, job.id, os.getuid())) and "verbose" in options:
            _complain(f"job id {job.id}", "Job/step already completing or completed")
    elif job.state == "PENDING":
        _complain(f"job id {job.id}", "Job can not be altered now, try again later")
        return NOT_NOW
    else:
        state.tell(job.id, "signal", number=number, steps=True, full="full" in options)
    return 0


def _send_step(state: State, job: Job, step: int, number: int) -> int:
    known = any(record["id"] == step for record in job.steps)
    if not known and not number:
        _complain(f"job step id {job.id}", "Invalid job id specified")
        return NO_STEP
    state.tell(job.id, "step_signal", step=step, number=number or signal.SIGKILL, by=os.getuid())
    return 0


def _complain(what: str, why: str) -> None:
    sys.stderr.write(f"scancel: error: Kill job error on {what}: {why}\n")
