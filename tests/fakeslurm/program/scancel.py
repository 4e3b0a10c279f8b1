"""`scancel`: end jobs, signal jobs and steps."""

from __future__ import annotations

import os
import signal
import sys
import time

from . import actions
from .job import SHORT
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
FILTERS = ("account", "me", "name", "jobname", "partition", "qos", "state", "user")


def run(state: State, argv: list[str], _: dict[str, Any]) -> int:
    pairs, words = Grammar("scancel", OPTIONS).parse(argv)
    options = dict(pairs)
    number = _signal(options)
    targets = [_target(word) for word in words]
    if not targets and not any(name in options for name in FILTERS):
        raise UsageError("scancel: error: No job identification provided")
    if not targets:
        targets = [(job.id, None) for job in Lagged(state, time.time()).jobs()]
    jobs = {job.id: job for job in Lagged(state, time.time()).jobs()}
    worst = 0
    for job_id, step in targets:
        job = jobs.get(job_id)
        if job is not None and _matches(job, options):
            worst = max(worst, _send(state, job, step, number, options))
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


def _matches(job: Job, options: dict[str, str]) -> bool:
    name = options.get("name", options.get("jobname"))
    states = {short: long for long, short in SHORT.items()}
    wanted = states.get(options.get("state", "").upper(), options.get("state", "").upper())
    return (
        (name is None or job.name == name)
        and ("me" not in options or job.uid == os.getuid())
        and options.get("user", job.user) in {job.user, str(job.uid)}
        and options.get("partition", job.partition) == job.partition
        and wanted in {"", job.state}
    )


def _send(state: State, job: Job, step: str | None, number: int, options: dict[str, str]) -> int:
    if step is not None and step != "batch":
        state.tell(job.id, "step_signal", step=int(step), number=number or signal.SIGKILL)
    elif step == "batch" or "batch" in options:
        state.tell(job.id, "signal", number=number or signal.SIGKILL, batch=True)
    elif number in {0, signal.SIGKILL}:
        if job.terminal or not actions.cancel(state, job.id, os.getuid()):
            return _over(job, options)
    elif job.state == "PENDING":
        sys.stderr.write(f"scancel: error: Kill job error on job id {job.id}: Job is pending execution\n")
        return 1
    else:
        state.tell(job.id, "signal", number=number, steps=True, full="full" in options)
    return 0


def _over(job: Job, options: dict[str, str]) -> int:
    """Only an explicit --verbose makes scancel talk about jobs that are over."""
    if "verbose" in options:
        sys.stderr.write(
            f"scancel: error: Kill job error on job id {job.id}: Job/step already completing or completed\n"
        )
    return 0
