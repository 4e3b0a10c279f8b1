"""What the partitions of a cluster have, and whether a request can ever be met there. Pure.

An sbatch of Slurm 22.05 accepts a request for more nodes than there are, and the job waits for ever.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dagster_slurm.core.resources import Resources, limit_seconds, mebibytes
from dagster_slurm.errors import ConfigurationError

#: sinfo(1): partition, nodes, CPUs, MiB, generic resources, time limit; nodes of one kind per line (-e)
SINFO = ("sinfo", "-h", "-e", "-o", "%P|%D|%c|%m|%G|%l")
_GPUS = re.compile(r"gpu(?::([A-Za-z][\w.-]*))?:(\d+)")


@dataclass(frozen=True)
class Kind:
    """Nodes of one kind in one partition: how many, and what each has (memory in MiB, GPUs by type)."""

    partition: str
    default: bool
    nodes: int
    cpus: int
    memory: int
    gpus: tuple[tuple[str, int], ...]
    limit: int | None


def kinds(lines: Sequence[str]) -> tuple[Kind, ...]:
    """Return what sinfo's lines say; a line that is not understood does not count."""
    found: list[Kind] = []
    for line in lines:
        fields = [field.strip() for field in line.split("|")]
        if len(fields) != 6 or not all(re.fullmatch(r"\d+\+?", field) for field in fields[1:4]):
            continue
        name, nodes, cpus, memory, gres, limit = fields
        found.append(
            Kind(
                partition=name.rstrip("*"),
                default=name.endswith("*"),
                nodes=int(nodes),
                cpus=_number(cpus),
                memory=_number(memory),
                gpus=tuple((kind, int(count)) for kind, count in _GPUS.findall(gres)),
                limit=_limit(limit),
            )
        )
    return tuple(found)


def check(asked: Resources, known: Sequence[Kind], who: str) -> None:
    """Refuse a request that no partition can ever meet. Without knowledge of the partitions nothing is refused.

    Raises:
        ConfigurationError: so; says what the partition has.
    """
    if not known:
        return
    groups = _groups(asked, known)
    if not any(groups.values()):
        there = ", ".join(dict.fromkeys(kind.partition for kind in known))
        if asked.partition:
            raise ConfigurationError(f"{who}: there is no partition {asked.partition!r}", hint=f"There are: {there}.")
        return  # no default partition: sbatch may still have a rule of its own
    reasons = [_lacking(asked, group) for group in groups.values() if group]
    if all(reasons):
        where = asked.partition or groups[None][0].partition
        raise ConfigurationError(
            f"{who} asks for {reasons[0]}, which the partition {where} does not have",
            hint="Compare with `sinfo -o '%P %D %c %m %G %l'`: partition, nodes, CPUs, MiB, GPUs and time limit.",
        )


def of_request(asked: Resources, known: Sequence[Kind]) -> list[Kind]:
    """Return the kinds of nodes on which a request may run: those of the partitions that it names, or the default."""
    return [kind for group in _groups(asked, known).values() for kind in group]


def _groups(asked: Resources, known: Sequence[Kind]) -> dict[str | None, list[Kind]]:
    names = [name.strip() for name in asked.partition.split(",")] if asked.partition else [None]
    return {
        name: [kind for kind in known if (kind.default if name is None else kind.partition == name)] for name in names
    }


def _lacking(asked: Resources, group: Sequence[Kind]) -> str:
    """Return what of a request the partition lacks; nothing, if it can meet it."""
    cpus = (asked.cpus or 1) * int(asked.options.get("ntasks-per-node") or 1)
    memory = mebibytes(asked.mem) if asked.mem is not None else 0
    wanted = asked.nodes or 1
    fitting = [kind for kind in group if kind.cpus >= cpus and kind.memory >= memory and _has_gpus(asked, kind)]
    if sum(kind.nodes for kind in fitting) < wanted:
        each = [f"{cpus} CPUs", *([f"{memory} MiB"] if memory else [])]
        each += [f"{asked.gpus_per_node} GPUs"] if asked.gpu_count else []
        return f"{wanted} node{'s' if wanted > 1 else ''} with {' and '.join(each)}"
    seconds, limits = limit_seconds(asked.time_limit), [kind.limit for kind in fitting]
    if seconds is not None and all(limit is not None and limit < seconds for limit in limits):
        return f"{asked.time_limit} of time"
    return ""


def _has_gpus(asked: Resources, kind: Kind) -> bool:
    if not asked.gpu_count:
        return True
    wanted = str(asked.gpus_per_node).rpartition(":")[0]
    return sum(count for name, count in kind.gpus if not wanted or not name or name == wanted) >= asked.gpu_count


def _number(text: str) -> int:
    """``64+``: so many and more."""
    return int(text.rstrip("+"))


def _limit(text: str) -> int | None:
    return limit_seconds(text) if re.fullmatch(r"[\d:-]+", text) else None
