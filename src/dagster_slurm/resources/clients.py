"""Dagster Pipes clients, for those who want the client and not the resource."""

from __future__ import annotations

from typing import Any

import dagster as dg

from dagster_slurm.core import former
from dagster_slurm.launchers.launcher import ComputeLauncher
from dagster_slurm.pipes.completed import CompletedRun
from dagster_slurm.pipes.handles import AnyContext
from dagster_slurm.resources.compute import ComputeResource
from dagster_slurm.resources.slurm import SlurmResource


class LocalPipesClient(dg.PipesClient):
    """Runs payloads as processes beside Dagster.

    Args:
        launcher: how they are started; None: as one process.
        local_base: folder for run directories.
    """

    def __init__(
        self, launcher: ComputeLauncher | None = None, local_base: str | None = None, **unknown: object
    ) -> None:
        former.refuse_fields("LocalPipesClient", unknown, ("launcher", "local_base"))
        self._compute = ComputeResource(mode="local", default_launcher=launcher, local_base=local_base)

    def run(self, *, context: AnyContext, extras: Any = None, **kwargs: Any) -> CompletedRun:
        """Run a payload; the arguments are those of :meth:`ComputeResource.run`."""
        return self._compute.run(context=context, extras=extras, **kwargs)


class SlurmPipesClient(dg.PipesClient):
    """Runs payloads as Slurm jobs.

    Args:
        slurm_resource: the cluster.
        launcher: how payloads are started; None: as one process.
    """

    def __init__(
        self, slurm_resource: SlurmResource, launcher: ComputeLauncher | None = None, **unknown: object
    ) -> None:
        former.refuse_fields("SlurmPipesClient", unknown, ("slurm_resource", "launcher"))
        self._compute = ComputeResource(mode="slurm", slurm=slurm_resource, default_launcher=launcher)

    def run(self, *, context: AnyContext, extras: Any = None, **kwargs: Any) -> CompletedRun:
        """Run a payload; the arguments are those of :meth:`ComputeResource.run`."""
        return self._compute.run(context=context, extras=extras, **kwargs)
