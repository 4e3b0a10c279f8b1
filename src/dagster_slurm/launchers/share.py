"""What a job gives each of its nodes, from what it asks for: never from what the machine has. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from dagster_slurm.core.resources import Resources, mebibytes
from dagster_slurm.errors import ConfigurationError


@dataclass(frozen=True)
class Share:
    """A node's share of a job.

    Args:
        cpus: CPUs; None if the request does not tell (whole nodes, the partition's default): Slurm knows at run time.
        memory: MiB; None as above.
        gpus: GPUs.
    """

    cpus: int | None
    memory: int | None
    gpus: int


def share_of(resources: Resources) -> Share:
    """Return what each node of a job with these resources gives, raw sbatch options included."""
    cpus, gpus = _cpus(resources), _gpus(resources)
    return Share(cpus, _memory(resources, cpus, gpus), gpus)


def within(what: str, wanted: int | None, given: int | None) -> int | None:
    """Return the launcher's own wish, or what the job gives.

    Raises:
        ConfigurationError: the wish exceeds what the job gives.
    """
    if wanted is not None and given is not None and wanted > given:
        raise ConfigurationError(
            f"the launcher's {what}={wanted} exceeds what the job asks for on each node: {given}",
            hint="Ask for more in resources=Resources(...), or leave the launcher's number out.",
        )
    return given if wanted is None else wanted


def _cpus(asked: Resources) -> int | None:
    if asked.options.get("exclusive"):
        return None
    per_gpu = asked.options.get("cpus-per-gpu")
    if asked.cpus is None and per_gpu:
        return int(per_gpu) * _gpus(asked)
    return None if asked.cpus is None else asked.cpus * _tasks(asked)


def _tasks(asked: Resources) -> int:
    """Tasks per node; one unless raw options say otherwise."""
    per_node = asked.options.get("ntasks-per-node")
    if per_node:
        return int(per_node)
    return max(int(asked.options.get("ntasks") or 1) // (asked.nodes or 1), 1)


def _gpus(asked: Resources) -> int:
    if asked.gpu_count:
        return asked.gpu_count
    for part in (asked.gres or "").split(","):
        words = part.strip().split(":")
        if words[0] == "gpu":
            return int(words[-1]) if words[-1].isdigit() else 1
    total = str(asked.options.get("gpus") or 0).rsplit(":", 1)[-1]
    return int(total) // (asked.nodes or 1)


def _memory(asked: Resources, cpus: int | None, gpus: int) -> int | None:
    per_gpu = asked.options.get("mem-per-gpu")
    if asked.mem is not None:
        return mebibytes(asked.mem) or None  # 0 asks for all of the node
    if asked.mem_per_cpu is not None and cpus is not None:
        return mebibytes(asked.mem_per_cpu) * cpus
    return mebibytes(str(per_gpu)) * gpus or None if per_gpu else None
