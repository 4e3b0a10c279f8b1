"""What goes wrong on purpose: `faults.json` lists it, each command takes what concerns it."""

from __future__ import annotations

import time

from .state import read_json, write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .state import State

CONTROLLER_AWAY = {
    "sbatch": (
        "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
        1,
    ),
    "squeue": ("slurm_load_jobs error: Unable to contact slurm controller (connect failure)", 1),
    "scancel": ("scancel: error: slurm_load_jobs error: Unable to contact slurm controller (connect failure)", 1),
    "scontrol": ("slurm_load_jobs error: Unable to contact slurm controller (connect failure)", 1),
    "sinfo": ("slurm_load_partitions: Unable to contact slurm controller (connect failure)", 1),
    "srun": ("srun: error: Unable to create step for job: Unable to contact slurm controller (connect failure)", 1),
}
ACCOUNTING_AWAY = "Slurm accounting storage is disabled"
NO_REPLY = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
QOS_POLICY = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
REFUSALS = {
    "partition": "Invalid partition name specified",
    "account": "Invalid account or account/partition combination specified",
    "node_configuration": "Requested node configuration is not available",
    "time_limit": "Requested time limit is invalid (missing or exceeds some limit)",
    "qos": "Invalid qos specification",
    "AssocMaxSubmitJobLimit": QOS_POLICY,
    "QOSMaxSubmitJobPerUserLimit": QOS_POLICY,
    "AssocGrpSubmitJobsLimit": QOS_POLICY,
    "down": "Required partition not available (inactive or drain)",
    "max_jobs": "Slurm temporarily unable to accept job, sleeping and retrying",
}


def add(state: State, kind: str, command: str, limits: Limits, **details: Any) -> None:
    now = time.time()
    fault = {"kind": kind, "command": command, "left": limits.times, "skip": limits.skip, **details}
    fault["until"] = None if limits.seconds is None else now + limits.seconds
    path = state.directory / "faults.json"
    with state.lock():
        write_json(path, [*read_json(path, []), fault])


def take(state: State, command: str) -> dict[str, dict[str, Any]]:
    """The faults that hit this call, by kind; counts are used up."""
    path = state.directory / "faults.json"
    if not any(fault["command"] == command for fault in read_json(path, [])):
        return {}
    now = time.time()
    hits: dict[str, dict[str, Any]] = {}
    with state.lock():
        faults = read_json(path, [])
        for fault in faults:
            if fault["command"] == command and fault["kind"] not in hits and _applies(fault, now):
                hits[fault["kind"]] = fault
        write_json(path, [fault for fault in faults if fault["left"] != 0])
    return hits


def _applies(fault: dict[str, Any], now: float) -> bool:
    if fault["left"] == 0 or (fault["until"] is not None and now >= fault["until"]):
        return False
    if fault["skip"]:
        fault["skip"] -= 1
        return False
    if fault["left"] is not None:
        fault["left"] -= 1
    return True


def clear(state: State, kind: str | None = None, command: str | None = None) -> None:
    path = state.directory / "faults.json"
    with state.lock():
        keep = [
            f
            for f in read_json(path, [])
            if (kind or f["kind"]) != f["kind"] or (command or f["command"]) != f["command"]
        ]
        write_json(path, keep)


class Limits:
    """For how many calls or seconds a fault holds, and how many calls it lets pass first."""

    def __init__(self, times: int | None = None, seconds: float | None = None, skip: int = 0) -> None:
        self.times = times
        self.seconds = seconds
        self.skip = skip
