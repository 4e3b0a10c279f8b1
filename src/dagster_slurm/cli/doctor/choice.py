"""What jobs of this user are to ask for here: partition, account, QOS, GPU directive. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dagster_slurm.schedulers.slurm_site import Association, Partition, SlurmSite, minutes

#: what a job may take where nothing else says
TIME_LIMIT = "01:00:00"


@dataclass(frozen=True)
class Choice:
    """What is said in every job.

    Args:
        partition: its name.
        account: to charge; None leaves it to Slurm.
        qos: None leaves it to Slurm.
        time_limit: for jobs that say nothing else.
        gpu_partition: one with GPUs; empty if there is none.
        gpu_type: the type of its GPUs; empty if they have none.
        gpu_directive: how the site takes GPUs; None if it takes neither way, or has none.
        gpu_needs_type: a request without the type is refused.
    """

    partition: str
    account: str | None = None
    qos: str | None = None
    time_limit: str = TIME_LIMIT
    gpu_partition: str = ""
    gpu_type: str = ""
    gpu_directive: str | None = None
    gpu_needs_type: bool = False

    def options(self, partition: str | None = None) -> list[str]:
        """Return it as sbatch's options."""
        found = [f"--partition={partition or self.partition}"]
        found += [f"--account={self.account}"] if self.account else []
        return [*found, f"--qos={self.qos}"] if self.qos else found


def choose(site: SlurmSite, partition: Partition, account: str | None = None, qos: str | None = None) -> Choice:
    """Return what fits a partition: what the user named, and else what accounting says."""
    usable = [item for item in site.associations if not item.partition or item.partition == partition.name]
    if partition.accounts:
        usable = [item for item in usable if item.account in partition.accounts]
    association = _association(usable, account or site.default_account)
    named = account or (association.account if association is not None else None)
    with_gpus = partition if partition.gpus else next((item for item in site.partitions if item.gpus and item.up), None)
    return Choice(
        partition=partition.name,
        account=named,
        qos=qos or _qos(partition, association),
        time_limit=TIME_LIMIT if minutes(partition.max_time) >= minutes(TIME_LIMIT) else partition.max_time,
        gpu_partition=with_gpus.name if with_gpus else "",
        gpu_type=_gpu_type(with_gpus) if with_gpus else "",
    )


def with_gpu_directive(choice: Choice, judged: Mapping[str, Mapping[str, Any]]) -> Choice:
    """Return the choice, completed by what sbatch said to each way to ask for GPUs."""
    for directive in ("gres", "gpus-per-node"):
        for suffix in ("", " typed"):
            answer = judged.get(f"{directive}{suffix}")
            if answer is not None and answer["code"] == 0:
                return replace(choice, gpu_directive=directive, gpu_needs_type=bool(suffix))
    return choice


def _association(usable: list[Association], account: str) -> Association | None:
    return next((item for item in usable if item.account == account), usable[0] if usable else None)


def _qos(partition: Partition, association: Association | None) -> str | None:
    """Return a QOS that must be named: the user's default does not serve in this partition."""
    if association is None or not partition.qos:
        return None
    default = association.default_qos or (association.qos[0] if len(association.qos) == 1 else "")
    if default in partition.qos:
        return None
    return next((name for name in association.qos if name in partition.qos), None)


def _gpu_type(partition: Partition) -> str:
    match = next((match for gpu in partition.gpus if (match := re.match(r"gpu:([A-Za-z][\w.-]*):\d+", gpu))), None)
    return match[1] if match else ""
