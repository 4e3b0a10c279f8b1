"""What may be said about a run in the launchpad."""

from __future__ import annotations

from typing import Any

import dagster as dg
from pydantic import Field

from dagster_slurm.core.options import from_options
from dagster_slurm.core.resources import Resources
from dagster_slurm.resources.known import KnownFields


class SlurmRunConfig(KnownFields, dg.Config):
    """Run configuration for assets with ``config: SlurmRunConfig`` that hand it to ``compute.run(config=config)``."""

    partition: str | None = Field(default=None, description="Partition, or several with commas between.")
    num_nodes: int | None = Field(default=None, description="Number of nodes.")
    cpus: int | None = Field(default=None, description="CPUs for the task.")
    mem: str | None = Field(default=None, description='Memory per node: "4G".')
    gpus_per_node: str | None = Field(default=None, description='GPUs on each node: "4" or "a100:4".')
    time_limit: str | None = Field(default=None, description='Time limit: "01:30:00".')
    account: str | None = Field(default=None, description="Account to charge.")
    qos: str | None = Field(default=None, description="Quality of service.")
    constraint: str | None = Field(default=None, description="Node features.")
    extra_slurm_opts: dict[str, Any] = Field(default={}, description="Further sbatch options.")
    environment: str | None = Field(
        default=None, description='Python environment: "uv", "plain", "auto", or an absolute path on the cluster.'
    )
    force_env_push: bool = Field(default=False, description="Build the environment anew.")
    skip_payload_upload: bool = Field(default=False, description="The payload lies on the cluster already.")
    remote_payload_path: str | None = Field(default=None, description="Where it lies there.")

    def resources(self) -> Resources:
        """Return what it says of resources.

        Raises:
            ConfigurationError: a value that sbatch would not understand.
        """
        names = "partition num_nodes cpus mem gpus_per_node time_limit account qos constraint".split()
        given = from_options({name: getattr(self, name) for name in names})
        return from_options(self.extra_slurm_opts).over(given)
