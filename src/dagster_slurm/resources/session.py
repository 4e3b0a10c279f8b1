"""The allocation that assets share in the mode ``slurm-session``."""

from __future__ import annotations

from typing import Any

import dagster as dg
from pydantic import Field

from dagster_slurm.core.names import folder_name
from dagster_slurm.core.options import from_options
from dagster_slurm.core.resources import Resources
from dagster_slurm.engine.session_launch import SessionAsk
from dagster_slurm.errors import ConfigurationError
from dagster_slurm.resources.known import KnownFields
from dagster_slurm.resources.slurm import SlurmResource

#: of the queue's settings, those that say where and for whom a job runs; sizes there are those of single assets
_PLACE = "partition account qos constraint reservation exclude nodelist gpu_directive".split()
_OWN = (
    "partition num_nodes cpus mem gpus_per_node time_limit account qos constraint reservation exclude nodelist".split()
)
#: what the folders of sessions begin with that serve one run each
_RUNS = "run-"


class SlurmSessionResource(KnownFields, dg.ConfigurableResource[Any]):
    """One allocation for many assets: the queue is waited for once."""

    slurm: SlurmResource | None = Field(default=None, description="The cluster; None: that of the ComputeResource.")
    name: str | None = Field(
        default=None,
        description="Several runs and code locations share a session of this name. None: one for each run.",
    )
    num_nodes: int = Field(default=1, description="Number of nodes.")
    time_limit: Any = Field(
        default=None, description='Of the allocation: minutes, or "06:00:00". None: the partition\'s.'
    )
    idle_timeout: float = Field(default=600.0, description="Seconds without work after which it ends.")
    max_concurrent_jobs: int | None = Field(
        default=None, description="How many assets run in it at once. None: as many as fit."
    )
    cpus: int | None = Field(default=None, description="CPUs on each node. Without cpus and mem: whole nodes.")
    mem: Any = Field(default=None, description='Memory on each node: MiB, or "64G". Without cpus and mem: all of it.')
    gpus_per_node: Any = Field(
        default=None, description='GPUs on each node: 4, or "a100:4". None: what the default launcher needs.'
    )
    partition: str | None = Field(default=None, description="Partition; None: the queue's.")
    account: str | None = Field(default=None, description="Account to charge; None: the queue's.")
    qos: str | None = Field(default=None, description="Quality of service; None: the queue's.")
    constraint: str | None = Field(default=None, description="Node features; None: the queue's.")
    reservation: str | None = Field(default=None, description="Reservation; None: the queue's.")
    exclude: str | None = Field(default=None, description="Nodes to stay away from; None: the queue's.")
    nodelist: str | None = Field(default=None, description="Nodes to use; None: the queue's.")
    options: dict[str, Any] = Field(default={}, description="Further sbatch options of the allocation.")

    def ask(self, slurm: SlurmResource, run: str, needs: Resources) -> SessionAsk:
        """Return what the session asks for.

        Args:
            slurm: the cluster.
            run: the Dagster run that it serves, if it has no name.
            needs: what the default launcher needs of each node.

        Raises:
            ConfigurationError: a value that cannot be.
        """
        self._check()
        return SessionAsk(
            scope=f"{_RUNS}{run}" if self.name is None else f"named-{self.name}",
            name=self.name or f"run-{run[:8]}",
            named=self.name is not None,
            resources=self._resources(slurm, needs),
            idle_timeout=self.idle_timeout,
            max_concurrent_jobs=self.max_concurrent_jobs,
            python=slurm.remote_python,
            keep=slurm.keep(),
        )

    def folders(self) -> str:
        """Return the folder of the session; of one without a name, what those of all runs begin with."""
        return _RUNS if self.name is None else folder_name(f"named-{self.name}")

    def cluster(self) -> SlurmResource | None:
        """Return the session's own cluster, if it names one."""
        return self.slurm

    def _resources(self, slurm: SlurmResource, needs: Resources) -> Resources:
        queue = slurm.defaults()
        place = from_options({name: getattr(queue, name) for name in _PLACE})
        own = from_options(self.options).over(from_options({name: getattr(self, name) for name in _OWN}))
        asked = own.over(Resources(gpus_per_node=needs.gpus_per_node)).over(place)
        asked = asked.over(Resources(options=dict(queue.resources().options)))
        if asked.cpus is None and asked.mem is None and asked.mem_per_cpu is None:
            asked = asked.over(Resources(mem=0, options={"exclusive": True}))
        return asked

    def _check(self) -> None:
        if not self.idle_timeout > 0:
            raise ConfigurationError(f"idle_timeout={self.idle_timeout!r} is not a number of seconds above 0")
        for name in ("num_nodes", "max_concurrent_jobs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigurationError(f"{name}={value!r} is not a whole number above 0")
        if self.name is not None and not self.name.strip():
            raise ConfigurationError("name is empty", hint="Leave it out for a session of each run.")
