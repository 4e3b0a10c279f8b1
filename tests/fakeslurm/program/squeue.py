"""`squeue`: the jobs the controller knows, filtered and formatted."""

from __future__ import annotations

import os
import pwd
import sys
import time

from . import columns
from .job import SHORT
from .options import Grammar, UsageError
from .view import Lagged, job_numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .job import Job
    from .state import State

OPTIONS = """
A account=
a all
r array
M clusters=
O Format=
federation
o format=
help
hide
i iterate=
j jobs?
json
licenses=
local
l long
me
n name=
h noheader
w nodelist=
noconvert
p partition=
P priority
q qos=
R reservation=
sibling
S sort=
start
t states=
s steps?
u user=
V version
v verbose
yaml
"""
DEFAULT_FORMAT = "%.18i %.9P %.8j %.8u %.2t %.10M %.6D %R"
START_FORMAT = "%.18i %.9P %.8j %.8u %.2t %.19S %.6D %20Y %R"
SHOWN_BY_DEFAULT = ("PENDING", "RUNNING", "SUSPENDED", "COMPLETING", "CONFIGURING", "STOPPED", "SIGNALING")
NAMES = ("user", "name", "partition", "account", "qos")


def run(state: State, argv: list[str], hits: dict[str, Any]) -> int:
    pairs, rest = Grammar("squeue", OPTIONS).parse(argv)
    options = dict(pairs)
    if rest and options.get("jobs") == "":  # -j takes its value from the rest as well
        options["jobs"] = rest.pop(0)
    if rest:
        raise UsageError(f'squeue: error: Unrecognized option: {rest[0]}\nTry "squeue --help" for more information')
    states = _states(options)
    user = options.get("user", "")
    if user and not _is_user(user):
        sys.stderr.write(f"squeue: error: Invalid user: {user}\n\n")
    now = time.time()
    lag = float(hits.get("lag", {}).get("lag", 0.0))
    known = [job for job in Lagged(state, now - lag).jobs() if _remembered(state, job, now)]
    numbers = job_numbers(options.get("jobs", ""), "squeue: error: Invalid job id")
    if len(numbers) == 1 and not any(job.id in numbers for job in known):  # several unknown ones are no error
        raise UsageError("slurm_load_jobs error: Invalid job id specified")
    view = columns.Columns(state, now)
    chosen = [job for job in known if _wanted(job, options, numbers) and _in_state(view.word(job), states)]
    _print(options, view, chosen)
    return 0


def _remembered(state: State, job: Job, now: float) -> bool:
    if job.purged:
        return False
    return not job.terminal or job.alive or now < job.end + float(state.config["min_job_age"])


def _wanted(job: Job, options: dict[str, str], numbers: set[int]) -> bool:
    if numbers and job.id not in numbers:
        return False
    if "me" in options and job.uid != os.getuid():
        return False
    values = {"user": {job.user, str(job.uid)}, **{name: {getattr(job, name)} for name in NAMES[1:]}}
    return all(values[name] & set(options[name].split(",")) for name in NAMES if name in options)


def _states(options: dict[str, str]) -> set[str] | None:
    """The states asked for; None for all."""
    given = options.get("states", os.environ.get("SQUEUE_STATES", ""))
    if not given:
        return set(SHOWN_BY_DEFAULT)
    if "all" in given.lower().split(","):
        return None
    long_names = {short: name for name, short in SHORT.items()}
    for name in given.split(","):
        if name.upper() not in SHORT and name.upper() not in long_names:
            valid = ",".join(SHORT)
            raise UsageError(
                f"squeue: error: Invalid job state specified: {name}\n"
                f"squeue: error: Valid job states include: {valid}\n"
            )
    return {long_names.get(name, name) for name in given.upper().split(",")}


def _in_state(word: str, states: set[str] | None) -> bool:
    return states is None or word in states or word not in SHORT


def _print(options: dict[str, str], view: columns.Columns, jobs: list[Job]) -> None:
    if "Format" in options:
        pieces = columns.parse_long(options["Format"])
    else:
        default = START_FORMAT if "start" in options else DEFAULT_FORMAT
        pieces = columns.parse(options.get("format", os.environ.get("SQUEUE_FORMAT", default)))
    # without --sort: by partition, state and falling priority; the fake's priorities fall with the id
    ordered = sorted(jobs, key=lambda job: (job.partition, list(SHORT).index(job.state), job.id))
    lines = [] if "noheader" in options else [columns.header(pieces)]
    lines += [view.line(job, pieces) for job in ordered]
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def _is_user(names: str) -> bool:
    try:
        return all(name.isdigit() or pwd.getpwnam(name) for name in names.split(","))
    except KeyError:
        return False
