"""Launchers that start a cluster: in one piece with the payload, or as a run that keeps it and others that use it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from dagster_slurm.core.resources import Resources
from dagster_slurm.core.warm import Shape
from dagster_slurm.launchers.launcher import ComputeLauncher, Setting, Started
from dagster_slurm.launchers.programs import CLUSTER
from dagster_slurm.launchers.settings import Value
from dagster_slurm.launchers.share import share_of


@dataclass(frozen=True)
class ClusterLauncher(ComputeLauncher):
    """A launcher whose payloads need daemons on all nodes.

    :meth:`start` does all: daemons, payload, end. :meth:`serve` and :meth:`drive` are its two halves, for clusters that
    stay while payloads come and go.
    """

    framework: ClassVar[str]

    def keeps(self) -> bool:
        """Whether there is a cluster of ours to keep: none if it names one that exists."""
        return True

    def daemons(self) -> ClusterLauncher:
        """Return the launcher without what is its payload's alone: what remains makes the cluster what it is."""
        return self

    def shape(self, resources: Resources) -> Shape:
        """Return what a cluster has in a job with these resources, which must hold what the launcher needs."""
        share = share_of(resources)
        nodes = int(resources.options.get("nodes") or resources.nodes or 1)
        return Shape(nodes, share.cpus, share.memory, share.gpus)

    def serve(self, setting: Setting) -> Started:
        """Return what keeps a cluster, as a run of its own, until it is told to stop.

        When all nodes are up, :meth:`connection` is complete, and then a note with facts stands in the run's record.
        TERM ends it, as does a line in ``<framework>.<restart>/stop`` of its directory, which makes the exit code 0. A
        daemon that dies ends it with 75 and a fault in the record. Whoever kills the run's script outright must also
        end the step that ``<framework>.<restart>/step`` names, unless both end with the job.
        """
        return self.start(replace(setting, command=(), connection=""))

    def drive(self, setting: Setting, connection: str, cluster: Mapping[str, str | bool] | None = None) -> Started:
        """Return what runs a payload at a cluster that another run keeps; it waits for one that is being started.

        Args:
            setting: with the driver's own resources.
            connection: see :meth:`connection`.
            cluster: what the payload's metadata is to say of the cluster.
        """
        return self.start(replace(setting, connection=connection, cluster=cluster or {}))

    def connection(self, run_dir: str, restart: int = 0) -> str:
        """Return the file that a run of :meth:`serve` writes when its cluster is ready; only its user can read it."""
        return f"{run_dir}/{self.framework}.{restart}/connection"

    def _started(self, setting: Setting, files: dict[str, str]) -> Started:
        return Started(("bash", f"{setting.programs}/cluster.sh", self.framework, *setting.command), files=files)

    def _programs(self) -> tuple[str, ...]:
        return (*CLUSTER, f"{self.framework}.sh", f"{self.framework}_node.sh", f"{self.framework}_ready.py")


def own_lines(pre_start: tuple[str, ...], address: str | None) -> dict[str, tuple[str, ...]]:
    """Return the user's own shell lines that every cluster has, by the names of the functions that they become."""
    return {"pre_start": pre_start, "own_address": (address,) if address else ()}


def common(setting: Setting) -> dict[str, Value]:
    """Return the settings that every cluster has."""
    return {
        "PYTHON": setting.python,
        "NODES": setting.nodes,
        "LOCAL": setting.local,
        "CONNECTION": setting.connection or None,
        "CLUSTER": json.dumps(setting.cluster) if setting.cluster else None,
    }
