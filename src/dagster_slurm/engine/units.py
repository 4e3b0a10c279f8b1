"""What a unit of work asks of a session's allocation: everything that ``srun`` is told, explicitly. Pure."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

from dagster_slurm.core.resources import Resources
from dagster_slurm.core.spec import LaunchKey
from dagster_slurm.launchers.share import share_of

#: what the allocation has decided already
_DECIDED = ("partition", "account", "qos", "constraint", "reservation", "exclude", "nodelist")
_TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?\Z")


def flags(key: LaunchKey, asked: Resources, run: str, step: str) -> dict[str, Any]:
    """Return what a unit asks for on each of its nodes.

    Args:
        key: who it is.
        asked: its resources. A unit that says nothing gets one CPU, its part of the memory, and no GPU.
        run: the Dagster run that waits for it.
        step: ... and its step.
    """
    share = share_of(asked)
    seconds = time_limit(asked.time_limit)
    return {
        "name": key.job_name,
        "nodes": int(asked.options.get("nodes") or asked.nodes or 1),
        "cpus": share.cpus or share_of(replace(asked, cpus=1)).cpus or 1,
        "mem": share.memory,
        "gres": _gres(asked, share.gpus),
        "seconds": seconds,
        "minutes": None if seconds is None else max(math.ceil(seconds / 60), 1),
        "run": run,
        "step": step,
    }


def beside(asked: dict[str, Any], cluster: str) -> dict[str, Any]:
    """Return what a unit asks for that uses a warm cluster (its run directory): a place on the cluster's first node."""
    return {**asked, "nodes": 1, "gres": "none", "beside": cluster}


def decided(asked: Resources, queue: Resources) -> list[str]:
    """Return what a unit asks for although the allocation decides it; what the queue says for all is no wish."""
    return [name for name in _DECIDED if getattr(asked, name) not in (None, getattr(queue, name))]


def beyond(asked: Resources, allocation: Resources) -> str:
    """Return what a unit asks for that its allocation can never give, for people; nothing if that is not known."""
    nodes = int(asked.options.get("nodes") or asked.nodes or 1)
    given_nodes = int(allocation.options.get("nodes") or allocation.nodes or 1)
    if nodes > given_nodes:
        return f"{nodes} nodes, and the session's allocation has {given_nodes}"
    wanted, given = share_of(asked), share_of(allocation)
    for what, want, have in (
        ("CPUs", wanted.cpus, given.cpus),
        ("MiB", wanted.memory, given.memory),
        ("GPUs", wanted.gpus, given.gpus),
    ):
        if want and have is not None and want > have:
            return f"{want} {what} on a node, and the session's allocation has {have}"
    return ""


def time_limit(value: str | int | None) -> int | None:
    """Return a time limit in seconds, as sbatch(1) understands it; None for none."""
    match = None if value is None else _TIME.match(str(value).strip())
    if match is None:
        return None
    days, *rest = match.groups()
    first, second, third = (int(part or 0) for part in rest)
    if days is not None:  # days-hours[:minutes[:seconds]]
        return int(days) * 86400 + first * 3600 + second * 60 + third
    if rest[2] is not None:  # hours:minutes:seconds
        return first * 3600 + second * 60 + third
    return first * 60 + second  # minutes[:seconds]


def _gres(asked: Resources, gpus: int) -> str:
    others = [part.strip() for part in (asked.gres or "").split(",") if part.strip()]
    # a type of GPU, where one was named
    named = asked.gpus_per_node if asked.gpu_count else gpus
    return ",".join(([f"gpu:{named}"] if gpus else []) + others) or "none"
