"""Rows of the accounting database: the job, its batch step, its other steps, and runs before a requeue."""

from __future__ import annotations

from . import text
from .job import Job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FIELDS = (
    "Account",
    "AllocCPUS",
    "AllocNodes",
    "AllocTRES",
    "Cluster",
    "Comment",
    "CPUTimeRAW",
    "DerivedExitCode",
    "Elapsed",
    "ElapsedRaw",
    "Eligible",
    "End",
    "ExitCode",
    "JobID",
    "JobIDRaw",
    "JobName",
    "MaxRSS",
    "NCPUS",
    "NNodes",
    "NTasks",
    "NodeList",
    "Partition",
    "Priority",
    "QOS",
    "Reason",
    "ReqCPUS",
    "ReqMem",
    "ReqNodes",
    "ReqTRES",
    "Restarts",
    "Start",
    "State",
    "Submit",
    "TRESUsageInAve",
    "TRESUsageInMax",
    "Timelimit",
    "TimelimitRaw",
    "TotalCPU",
    "UID",
    "User",
    "WorkDir",
)
WIDE = {"JobID": 12, "JobIDRaw": 12, "End": 19, "Start": 19, "Submit": 19, "Eligible": 19, "NodeList": 15, "User": 9}


def fields(version: str) -> tuple[str, ...]:
    """What can be asked for. Restarts is newer than 22.05."""
    return FIELDS if [int(part) for part in version.split(".")[:2]] >= [24, 5] else tuple(set(FIELDS) - {"Restarts"})


def unfinished(row: dict[str, str]) -> dict[str, str]:
    """A job whose end reached the database before its beginning, as seen for very short jobs."""
    if "." in row["JobID"]:
        return row
    gone = ("Partition", "Timelimit", "TimelimitRaw", "ReqTRES", "WorkDir", "NNodes")
    return {**row, **dict.fromkeys(gone, ""), "JobName": "allocation", "ReqMem": "16?", "UID": "0", "QOS": "Unknown"}


def rows(config: dict[str, Any], job: Job, now: float, options: dict[str, str]) -> list[dict[str, str]]:
    alone = "allocations" in options
    table: list[dict[str, str]] = []
    if "duplicates" in options:
        for record in job.earlier:
            past = Job(**{**job.__dict__, **record, "reason": "None", "killed_by": None})
            table += _run_rows(config, past, now, alone=alone)
    return table + _run_rows(config, job, now, alone=alone)


def _run_rows(config: dict[str, Any], job: Job, now: float, *, alone: bool) -> list[dict[str, str]]:
    table = [_job_row(config, job, now)]
    if alone or not job.start:
        return table
    if job.batch:
        table.append(_step_row(config, job, {"id": "batch", "name": "batch", **job.batch}, now))
    return table + [_step_row(config, job, step, now) for step in job.steps]


def _job_row(config: dict[str, Any], job: Job, now: float) -> dict[str, str]:
    masked = job.mask_state if now < job.mask_until else ""
    cancelled = job.state == "CANCELLED" and job.killed_by is not None
    state = masked or (f"CANCELLED by {job.killed_by}" if cancelled else job.state)
    started = job.start > 0
    cpus = job.ntasks * job.cpus
    seconds = (job.end or now) - job.start if started else 0.0
    requested = f"billing={cpus},cpu={cpus},mem={text.memory(job.memory)},node={job.nodes}"
    spent = sum(float(step.get("cpu", 0.0)) for step in [job.batch, *job.steps])
    row = {
        **dict.fromkeys(FIELDS, ""),
        **_shared(config, job, state, seconds),
        "Account": job.account,
        "AllocCPUS": str(cpus),
        "AllocNodes": str(job.nodes if started else 0),
        "AllocTRES": requested if started else "",
        "Comment": job.comment if config["store_comment"] else "",
        "CPUTimeRAW": str(int(seconds) * cpus),
        "DerivedExitCode": _code(job.derived),
        "Eligible": text.stamp(job.eligible, "Unknown"),
        "ExitCode": _code(job.exit),
        "JobID": str(job.id),
        "JobIDRaw": str(job.id),
        "JobName": job.name,
        "NCPUS": str(cpus),
        "NNodes": str(job.nodes),
        "NodeList": job.node_list if started else "None assigned",
        "Partition": job.partition,
        "Priority": str(4294901760 - job.id),
        "QOS": job.qos,
        "Reason": "None" if started else job.reason,
        "ReqCPUS": str(cpus),
        "ReqMem": text.memory(job.memory),
        "ReqNodes": str(job.nodes),
        "ReqTRES": requested,
        "Restarts": str(job.restarts),
        "TotalCPU": text.cpu_time(spent) if job.end else "00:00:00",
        "UID": str(job.uid),
        "User": job.user,
        "WorkDir": job.workdir,
    }
    row.update(_limit(job))
    row["Start"] = text.stamp(job.start, "Unknown" if not job.end else "None")
    row["End"] = text.stamp(job.end, "Unknown")
    row["Submit"] = text.stamp(job.submit, "Unknown")
    return row


def _step_row(config: dict[str, Any], job: Job, step: dict[str, Any], now: float) -> dict[str, str]:
    cpus = int(step.get("cpus", job.cpus * max(1, job.ntasks // job.nodes)))
    nodes = int(step.get("nodes", 1))
    seconds = (step["end"] or now) - step["start"]
    row: dict[str, str] = dict.fromkeys(FIELDS, "")
    row.update(_shared(config, job, step["state"], seconds))
    number = f"{job.id}.{step['id']}"
    row.update(
        Account=job.account,
        AllocCPUS=str(cpus),
        AllocNodes=str(nodes),
        AllocTRES=f"cpu={cpus},mem={text.memory(int(step.get('memory') or job.memory))},node={nodes}",
        CPUTimeRAW=str(int(seconds) * cpus),
        End=text.stamp(step["end"], "Unknown"),
        ExitCode=_code(step["exit"]),
        JobID=number,
        JobIDRaw=number,
        JobName=step["name"],
        MaxRSS=f"{step['rss']}K" if step["end"] and step.get("rss") else "",
        NCPUS=str(cpus),
        NNodes=str(nodes),
        NTasks=str(step.get("ntasks", 1)),
        NodeList=text.first_node(job.node_list) if nodes == 1 else job.node_list,
        ReqCPUS=str(cpus),
        ReqNodes=str(nodes),
        Start=text.stamp(step["start"], "Unknown"),
        Submit=text.stamp(step["start"], "Unknown"),
        TotalCPU=text.cpu_time(float(step.get("cpu", 0.0))) if step["end"] else "00:00:00",
    )
    return row


def _shared(config: dict[str, Any], job: Job, state: str, seconds: float) -> dict[str, str]:
    return {
        "Cluster": config["cluster"],
        "State": state,
        "Elapsed": text.elapsed(seconds),
        "ElapsedRaw": str(max(0, int(seconds))),
    }


def _limit(job: Job) -> dict[str, str]:
    if job.minutes is None:
        return {"Timelimit": "UNLIMITED", "TimelimitRaw": "UNLIMITED"}
    return {"Timelimit": text.elapsed(job.minutes * 60), "TimelimitRaw": str(int(job.minutes))}


def _code(pair: list[int]) -> str:
    return f"{pair[0]}:{pair[1]}"
