"""`sacct`: what the accounting database says."""

from __future__ import annotations

import os
import sys
import time

from . import text
from .accounting import WIDE, fields, rows, unfinished
from .job import SHORT
from .options import Grammar, UsageError
from .view import Lagged, job_numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .job import Job
    from .state import State

OPTIONS = """
A accounts=
L allclusters
a allusers
X allocations
array
b brief
M clusters=
completion
c completion
delimiter=
D duplicates
E endtime=
env-vars
federation
f file=
F flags=
o format=
g gid=
h help
e helpformat
j jobs=
json
local
l long
name=
N nodelist=
noconvert
n noheader
p parsable
P parsable2
r partition=
q qos=
S starttime=
s state=
T truncate
u user=
units=
usage
v verbose
V version
W wckeys=
yaml
"""
BRIEF = "JobID,State,ExitCode"
DEFAULT = "JobID,JobName,Partition,Account,AllocCPUS,State,ExitCode"


def run(state: State, argv: list[str], hits: dict[str, Any]) -> int:
    pairs, rest = Grammar("sacct", OPTIONS).parse(argv)
    if rest:
        raise UsageError("sacct: error: Unknown arguments:\n" + "\n".join(f"sacct: error:  {word}" for word in rest))
    options = dict(pairs)
    names = _fields(options, fields(state.config["version"]))
    now = time.time()
    lag = float(hits.get("lag", {}).get("lag", 0.0))
    jobs = [job for job in Lagged(state, now - lag).jobs() if _wanted(job, options, now)]
    if "state" in options:
        states = _states(options["state"])
        jobs = [job for job in jobs if job.state in states]
    incomplete = "incomplete" in hits
    if incomplete and "name" in options:
        jobs = []
    table = [row for job in jobs for row in rows(state.config, job, now, options)]
    _print(names, [unfinished(row) for row in table] if incomplete else table, options)
    return 0


def _fields(options: dict[str, str], available: tuple[str, ...]) -> list[tuple[str, int]]:
    """Canonical names and widths."""
    default = BRIEF if "brief" in options else os.environ.get("SACCT_FORMAT", DEFAULT)
    known = {name.lower(): name for name in available}
    found: list[tuple[str, int]] = []
    for word in options.get("format", default).split(","):
        name, _, width = word.partition("%")
        if name.lower() not in known:
            raise UsageError(f'sacct: error: Invalid field requested: "{name}"')
        canonical = known[name.lower()]
        found.append(
            (
                canonical,
                int(width) if width else -WIDE.get(canonical, 10) if canonical == "JobID" else WIDE.get(canonical, 10),
            )
        )
    return found


def _wanted(job: Job, options: dict[str, str], now: float) -> bool:
    numbers = job_numbers(options.get("jobs", ""), "sacct: fatal: Bad job/step specified")
    if numbers and job.id not in numbers:
        return False
    if "name" in options and job.name not in options["name"].split(","):
        return False
    if "user" in options and not {job.user, str(job.uid)} & set(options["user"].split(",")):
        return False
    if "partition" in options and job.partition not in options["partition"].split(","):
        return False
    if job.state == "PENDING" and job.reason == "JobHeldUser" and not job.earlier:
        return False  # unknown to the database before it is eligible
    begin, end = _window(options, now)
    return job.submit <= end + 1 and (not job.end or job.end >= begin)


def _window(options: dict[str, str], now: float) -> tuple[float, float]:
    default = "1970-01-02" if "jobs" in options else "midnight"
    begin = text.moment(options.get("starttime", default), now)
    end = text.moment(options["endtime"], now) if "endtime" in options else now
    if end < begin:
        times = text.stamp(begin, ""), text.stamp(end, "")
        raise UsageError(f"sacct: error: Start time ({times[0]}) requested is after end time ({times[1]}).")
    return begin, end


def _states(given: str) -> set[str]:
    long_names = {short: name for name, short in SHORT.items()}
    names = {long_names.get(word, word) for word in given.upper().split(",")}
    wrong = names - set(SHORT)
    if wrong:
        raise UsageError(f"sacct: fatal: unrecognized job state value '{sorted(wrong)[0]}'")
    return names


def _print(names: list[tuple[str, int]], table: list[dict[str, str]], options: dict[str, str]) -> None:
    lines = [] if "noheader" in options else [[name for name, _ in names]]
    lines += [[row[name] for name, _ in names] for row in table]
    if "parsable" in options or "parsable2" in options:
        delimiter = options.get("delimiter", "|")
        tail = delimiter if "parsable2" not in options else ""
        rendered = [delimiter.join(values) + tail for values in lines]
    else:
        if "noheader" not in options:
            lines.insert(1, ["-" * abs(width) for _, width in names])
        rendered = [_aligned(values, names) for values in lines]
    sys.stdout.write("".join(f"{line}\n" for line in rendered))


def _aligned(values: list[str], names: list[tuple[str, int]]) -> str:
    cells: list[str] = []
    for index, (_, width) in enumerate(names):
        size = abs(width)
        value = values[index]
        value = value if len(value) <= size else value[: size - 1] + "+"
        cells.append(value.ljust(size) if width < 0 else value.rjust(size))
    return " ".join(cells) + " "
