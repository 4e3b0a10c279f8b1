"""Why a job waits: Slurm's words (squeue(1), JOB REASON CODES) as sentences, and what stands before it. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dagster_slurm.schedulers.slurm_site import minutes

#: pattern of the reason, what it means, what one can do; the first that matches counts
_REASONS = (
    (r"None|", "Slurm has not looked at it yet", "Wait a moment."),
    (
        r"Priority",
        "jobs with a higher priority stand before it",
        "Wait, or ask for less: ",
    ),
    (r"Resources", "it is next in line, and what it asks for is not free yet", "Wait, or ask for less."),
    (
        r"ReqNodeNotAvail.*|Nodes_required_for_job_are_DOWN.*",
        "nodes that it needs are down, drained, or reserved for maintenance",
        "Ask for less time, so that it ends before the maintenance, or for other nodes; `sinfo -R` says why.",
    ),
    (r"Dependency", "a job that it depends on has not ended", "Wait for that one."),
    (
        r"DependencyNeverSatisfied",
        "a job that it depends on ended otherwise than it was to: it will never start",
        "Cancel it, and run it again.",
    ),
    (r"BeginTime", "it was asked to begin later, or was requeued a moment ago", "Wait."),
    (r"JobHeldUser", "you hold it", "Release it: `scontrol release JOB`."),
    (r"JobHeldAdmin", "the site holds it", "Ask the site why."),
    (
        r"JobArrayTaskLimit",
        "as many tasks of its array run as were allowed at once",
        "Wait, or allow more of them at once.",
    ),
    (
        r"PartitionTimeLimit",
        "it asks for more time than the partition allows: it will never start",
        "Cancel it, and ask for less: resources=Resources(time_limit=...).",
    ),
    (
        r"PartitionNodeLimit|PartitionConfig|BadConstraints",
        "the partition has not, and never will have, what it asks for",
        "Cancel it, and ask for what `sinfo -o '%P %D %c %m %G %l'` shows.",
    ),
    (r"PartitionDown|PartitionInactive", "its partition takes no jobs now", "Wait, or name another partition."),
    (r"Reservation", "its reservation has not begun", "Wait for it."),
    (r"ReservationDeleted", "its reservation is gone", "Cancel it, and run it without reservation."),
    (r"Licenses", "all licenses that it needs are in use", "Wait."),
    (
        r"InvalidAccount|AccountNotAllowed",
        "its account may not use this partition",
        "Cancel it, and name another account.",
    ),
    (r"InvalidQOS|QOSNotAllowed", "its QOS may not be used here", "Cancel it, and name another QOS."),
    (
        r"AssocGrp\w*Minutes\w*|QOSGrp\w*Minutes\w*|AssocMax\w*MinutesPerJob\w*|QOSMax\w*MinutesPerJob\w*",
        "the compute time of your account or QOS is used up",
        "Ask the site for more, or name another account.",
    ),
    (r"QOSMaxJobsPerUserLimit|AssocMaxJobsLimit", "as many of your jobs run as are allowed", "Wait for one to end."),
    (r"QOSMaxWallDurationPerJobLimit|AssocMaxWallDurationPerJobLimit", "it asks for too much time", "Ask for less."),
    (
        r"(QOS|Assoc)Grp\w+Limit",
        "all jobs of your group together use as much as is allowed",
        "Wait for one of them to end.",
    ),
    (
        r"(QOS|Assoc)(Max|Min)\w*(Cpu|CPU|Mem|Memory|Node|GRES|Gres)\w*(PerUser|PerAccount|PU)\w*",
        "your running jobs use as much as is allowed",
        "Wait for one to end, or ask for less.",
    ),
    (r"(QOS|Assoc)(Max|Min)\w+", "it asks for more, or less, than a limit allows", "Ask for less, or see the limits."),
    (r"launch failed requeued held", "it could not be launched, and is held", "Tell the site; then release it."),
    (r"SystemFailure|NonZeroExitCode|RaisedSignal.*", "an earlier start of it failed", "See its log."),
    (r"Cleaning", "an earlier start of it is being cleaned up", "Wait."),
)


def in_words(reason: str) -> tuple[str, str]:
    """Return what a reason means, and what one can do."""
    for pattern, means, remedy in _REASONS:
        if re.fullmatch(pattern, reason.strip()):
            return means, remedy
    return f"Slurm says {reason}", "See JOB REASON CODES in squeue(1)."


def questions(job: str) -> dict[str, list[str]]:
    """Return what to ask about a waiting job, by name."""
    return {
        "job": ["scontrol", "show", "job", "-o", job],
        "queue": ["squeue", "-h", "-t", "PENDING,RUNNING", "-o", "%A|%T|%Q|%P|%L|%C|%D"],
    }


@dataclass(frozen=True)
class Line:
    """What stands before a job.

    Args:
        asks: what it asks for, as Slurm prints it.
        partition: where.
        ahead: waiting jobs of that partition that come first.
        waiting: all waiting jobs there.
        running: running jobs there.
        next_end: minutes until the first of them must have ended; None if none has to.
    """

    asks: str
    partition: str
    ahead: int
    waiting: int
    running: int
    next_end: float | None


def line_before(answers: Mapping[str, str]) -> Line | None:
    """Return what stands before a job, from the answers to :func:`questions`; None if they do not tell."""
    fields = {name: value for name, _, value in (word.partition("=") for word in answers["job"].split()) if value}
    if "JobId" not in fields:
        return None
    rows = [row for line in answers["queue"].splitlines() if len(row := line.split("|")) == 7]
    partitions = set(fields.get("Partition", "").split(","))
    others = [row for row in rows if row[0] != fields["JobId"] and partitions & set(row[3].split(","))]
    waiting = [row for row in others if row[1] == "PENDING"]
    running = [row for row in others if row[1] == "RUNNING"]
    mine = (-_number(fields.get("Priority", "0")), _number(fields["JobId"]))
    ends = [left for row in running if (left := minutes(row[4])) != float("inf")]
    asked = fields.get("ReqTRES") or fields.get("TRES") or ""
    time_limit = fields.get("TimeLimit", "")
    return Line(
        asks=", ".join(item for item in (asked.replace(",", ", "), f"time {time_limit}" if time_limit else "") if item),
        partition=fields.get("Partition", ""),
        ahead=sum((-_number(row[2]), _number(row[0])) < mine for row in waiting),
        waiting=len(waiting),
        running=len(running),
        next_end=min(ends, default=None),
    )


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def described(line: Line) -> Sequence[str]:
    """Return what stands before a job, as sentences."""
    said = [f"It asks for: {line.asks}."] if line.asks else []
    others = f"of {line.waiting} others that wait" if line.waiting else "nobody else waits"
    before = f"{line.ahead} {others} come first" if line.waiting else others
    end = "" if line.next_end is None else f"; the first of them ends within {line.next_end:.0f} min"
    running = f"{line.running} run{end}" if line.running else "none runs"
    return [*said, f"In {line.partition}: {before}; {running}."]
