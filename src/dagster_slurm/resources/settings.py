"""What a ``ComputeResource`` is told, and the place that this leads to."""
# No lazy annotations here: Dagster's metaclass reads ResourceDependency when the class is made.

from typing import Any

import dagster as dg
from pydantic import Field

from dagster_slurm.core.retries import SlurmRetryPolicy
from dagster_slurm.engine.target import Target
from dagster_slurm.environments.choice import Named
from dagster_slurm.errors import ConfigurationError
from dagster_slurm.launchers.bash import BashLauncher
from dagster_slurm.launchers.launcher import ComputeLauncher
from dagster_slurm.pipes.attendance import run_and_step
from dagster_slurm.pipes.handles import AnyContext, Context, of_step
from dagster_slurm.resources import targets
from dagster_slurm.resources.known import KnownFields
from dagster_slurm.resources.modes import ExecutionMode, mode_of
from dagster_slurm.resources.session import SlurmSessionResource
from dagster_slurm.resources.slurm import SlurmResource


class ComputeSettings(KnownFields, dg.ConfigurableResource[Any]):
    """The fields of :class:`~dagster_slurm.ComputeResource`."""

    mode: str = Field(
        default="local",
        description='"local": a process beside Dagster. "slurm", "slurm-hetjob": one Slurm job per asset; what '
        'run_heterogeneous runs is one job of several components. "slurm-session": assets share an allocation.',
    )
    slurm: SlurmResource | None = Field(default=None, description="The cluster; not looked at in local mode.")
    session: SlurmSessionResource | None = Field(
        default=None, description="The allocation that assets share in slurm-session mode; not looked at in others."
    )
    default_launcher: dg.ResourceDependency[ComputeLauncher | None] = None  # pyright: ignore[reportAssignmentType]
    environment: dg.ResourceDependency[Named | None] = None  # pyright: ignore[reportAssignmentType]
    retry: dg.ResourceDependency[SlurmRetryPolicy | None] = None  # pyright: ignore[reportAssignmentType]
    local_environment: str = Field(
        default="own",
        description='Local mode: "own" is the Python that Dagster runs in, "same" an environment as on the cluster.',
    )
    pre_deployed_env_path: str | None = Field(
        default=None, description="Environment on the target: a folder with activate.sh or bin/python."
    )
    pack_platform: str | None = Field(default=None, description='Platform of pixi environments: "linux-64".')
    auto_detect_platform: bool = Field(
        default=True, description="Pixi environments are packed for the login node's platform; else for this machine's."
    )
    cache_inject_globs: list[str] | None = Field(
        default=None, description="Files that decide whether injected packages are packed anew."
    )
    default_skip_payload_upload: bool = Field(
        default=False,
        description="Payloads lie on the cluster already: under scripts/ of pre_deployed_env_path, or at absolute "
        "paths.",
    )
    local_base: str | None = Field(
        default=None, description="Folder for local runs; None: below DAGSTER_HOME, or in the user's cache."
    )
    data_base: str | None = Field(
        default=None, description="Local mode: folder for results on this machine; None: data_base of slurm."
    )
    fetch_limit: int = Field(default=100_000_000, description="Bytes that fetch= may bring back of one call.")
    forward_termination: bool = Field(default=True, description="A cancelled run cancels its job.")
    enable_cluster_reuse: bool = Field(
        default=False,
        description="Ray and Spark clusters stay for later steps: in a session, and in local mode within a run.",
    )
    cluster_reuse_tolerance: float = Field(
        default=0.0, description="A cluster with this part less of CPUs or memory than an asset asks for serves it."
    )

    def execution_mode(self) -> ExecutionMode:
        """Return the mode.

        Raises:
            ConfigurationError: there is no such mode.
        """
        return mode_of(self.mode)

    def target(self, context: AnyContext | None = None) -> Target:
        """Return where payloads of a step go; without a step, where the cluster is, whatever is shared there."""
        mode = mode_of(self.mode)
        if mode is ExecutionMode.LOCAL:
            return targets.local(self.local_base)
        slurm = self.slurm or (self.session.cluster() if self.session and mode is ExecutionMode.SLURM_SESSION else None)
        if slurm is None:
            raise ConfigurationError(
                f"mode={mode.value!r} needs a cluster",
                hint="ComputeResource(mode=..., slurm=SlurmResource(ssh=SSHConnectionResource(host=...))).",
            )
        if mode is ExecutionMode.SLURM_SESSION and context is not None:
            return self._session_target(slurm, of_step(context))
        return targets.cluster(slurm)

    def _session_target(self, slurm: SlurmResource, context: Context) -> Target:
        if self.session is None:
            raise ConfigurationError(
                'mode="slurm-session" needs a session',
                hint='ComputeResource(..., session=SlurmSessionResource(num_nodes=1, time_limit="02:00:00")).',
            )
        run, _ = run_and_step(context)
        needs = (self.default_launcher or BashLauncher()).needs()
        return targets.in_session(slurm, self.session.ask(slurm, run, needs))
