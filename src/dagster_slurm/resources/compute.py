"""The one resource: where and how the payloads of assets run."""
# No lazy annotations here: Dagster's metaclass reads ResourceDependency when the class is made.

import inspect
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

import dagster as dg
from pydantic import Field

from dagster_slurm.core.data import place
from dagster_slurm.core.options import suggestion
from dagster_slurm.core.resources import Resources
from dagster_slurm.engine.target import Target
from dagster_slurm.environments.choice import Named
from dagster_slurm.errors import ConfigurationError, DagsterSlurmError
from dagster_slurm.launchers.bash import BashLauncher
from dagster_slurm.launchers.components import OnFailure
from dagster_slurm.launchers.launcher import ComputeLauncher
from dagster_slurm.managers import HetJobComponent
from dagster_slurm.pipes.attendance import run_and_step
from dagster_slurm.pipes.completed import CompletedRun
from dagster_slurm.pipes.failure import failure
from dagster_slurm.pipes.gathered import CompletedComponents
from dagster_slurm.pipes.handles import AnyContext, Context, of_step
from dagster_slurm.pipes.run import run
from dagster_slurm.pipes.together import run_together
from dagster_slurm.resources import targets
from dagster_slurm.resources.arguments import Arguments, PathLike, said_in_call
from dagster_slurm.resources.asking import call_for
from dagster_slurm.resources.data import data_base, root, slot
from dagster_slurm.resources.environment import Variables
from dagster_slurm.resources.run_config import SlurmRunConfig
from dagster_slurm.resources.session import SlurmSessionResource
from dagster_slurm.resources.slurm import SlurmResource
from dagster_slurm.resources.together import Asked, call_together
from dagster_slurm.resources.variables import filled_in


class ExecutionMode(str, Enum):
    """Where payloads run."""

    LOCAL = "local"
    SLURM = "slurm"
    SLURM_SESSION = "slurm-session"
    SLURM_HETJOB = "slurm-hetjob"


#: the modes that work in this version
_AVAILABLE = (ExecutionMode.LOCAL, ExecutionMode.SLURM, ExecutionMode.SLURM_SESSION, ExecutionMode.SLURM_HETJOB)


class ComputeResource(dg.ConfigurableResource[Any]):
    """Where and how payloads run. Asset code is the same in every mode."""

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
    forward_termination: bool = Field(default=True, description="A cancelled run cancels its job.")
    enable_cluster_reuse: bool = Field(
        default=False, description="Local mode: Ray and Spark clusters stay for the later steps of a run."
    )
    cluster_reuse_tolerance: float = Field(
        default=0.0, description="A cluster with this part less of CPUs or memory than an asset asks for serves it."
    )

    @classmethod
    def from_env(cls, prefix: str = "SLURM_EDGE_NODE_") -> "ComputeResource":
        """Return ``local`` when nothing is set, else mode, host and queue from the environment.

        ``DAGSTER_SLURM_MODE`` names the mode. Without it, the mode is ``slurm`` if ``<prefix>HOST`` or
        ``DAGSTER_SLURM_PROFILE`` is set. For the rest see :meth:`SlurmResource.from_env`.

        Raises:
            ConfigurationError: a value cannot be understood.
        """
        connected = (
            Variables(prefix).text("HOST") is not None or Variables("DAGSTER_SLURM_").text("PROFILE") is not None
        )
        mode = Variables("DAGSTER_SLURM_").text("MODE") or ("slurm" if connected else "local")
        return cls(mode=mode, slurm=None if _mode(mode) is ExecutionMode.LOCAL else SlurmResource.from_env(prefix))

    def run(
        self,
        *,
        context: AnyContext,
        payload_path: PathLike | Sequence[str] | None = None,
        launcher: ComputeLauncher | None = None,
        resources: Resources | None = None,
        extra_env: Mapping[str, str] | None = None,
        extras: Mapping[str, Any] | None = None,
        extra_files: Sequence[PathLike] | Mapping[str, PathLike] | None = None,
        extra_slurm_opts: Mapping[str, Any] | None = None,
        resource_requirements: Mapping[str, Any] | None = None,
        config: SlurmRunConfig | None = None,
        key: str | None = None,
        skip_payload_upload: bool | None = None,
        remote_payload_path: str | None = None,
        force_env_push: bool | None = None,
        poll_timeout: float | None = None,
        environment: Named | None = None,
        resume_output: bool = False,
        **unknown: object,
    ) -> CompletedRun:
        """Run a payload, and wait for its end.

        Args:
            context: of the asset or op.
            payload_path: a script (looked up beside the file that defines the asset, then in the working directory),
                ``"python -m package.module"``, or a command as a list.
            launcher: how it is started; else ``default_launcher``, else as one process.
            resources: what it needs of the cluster.
            extra_env: environment variables; secrets may be among them.
            extras: values for the payload, through Pipes.
            extra_files: files for its working directory: paths, or destinations with paths.
            extra_slurm_opts: sbatch options by name, as another way to say ``resources``.
            resource_requirements: ``{"cpus": 8, "gpus": 1, "memory_gb": 32}``, as another way to say ``resources``.
            config: what was said in the launchpad.
            key: a name for this call, unique in the step; a retry finds the job of the same name again. Without it,
                payload, arguments and the number of the call tell.
            skip_payload_upload: nothing travels: the payload lies at ``remote_payload_path``, or ``payload_path`` is a
                path on the cluster.
            remote_payload_path: where it lies on the cluster.
            force_env_push: build the environment anew.
            poll_timeout: seconds after which to give up and cancel the job, time in the queue included. None: never.
            environment: its Python environment: ``"uv"``, :class:`UvEnvironment`, a requirements file, ``"plain"``,
                ``"auto"``, or an absolute path on the cluster. Else the run config, the asset's metadata
                (``slurm_environment``) and the resource say; where nobody does, ``"auto"`` on a cluster.
            resume_output: the next attempt of this call finds in its output folder what the last one left there, as
                payloads that continue from a checkpoint need it. Else each attempt begins with an empty folder.
            unknown: anything else is an error.

        Returns:
            The results that the payload reported, with the job's metadata; return it from the asset as it is.

        Raises:
            SlurmFailure: the payload did not end well, or could not begin. A :class:`dagster.Failure` whose ``error``
                is a :class:`~dagster_slurm.errors.DagsterSlurmError` that says what, where, and what to do.
        """
        try:
            _refuse(unknown, self.run)
            settings = filled_in(self)
            target = settings._target(context)  # noqa: SLF001 - the same class
            launchpad = config or SlurmRunConfig()
            asked = said_in_call(resources, extra_slurm_opts, resource_requirements, launchpad)
            skips = launchpad.skip_payload_upload or None
            arguments = Arguments(
                payload_path=payload_path,
                launcher=launcher or settings.default_launcher or BashLauncher(),
                resources=asked,
                extra_env=extra_env or {},
                extras=extras or {},
                extra_files=extra_files or (),
                key=key,
                skip_payload_upload=skips if skip_payload_upload is None else skip_payload_upload,
                remote_payload_path=remote_payload_path or launchpad.remote_payload_path,
                environment=environment,
                launchpad_environment=launchpad.environment,
                default_environment=self.environment,
                force_env_push=launchpad.force_env_push if force_env_push is None else force_env_push,
                poll_timeout=poll_timeout,
                resume_output=resume_output,
            )
            call = call_for(of_step(context), arguments, settings, target)
        except DagsterSlurmError as error:
            raise failure(error) from None
        return run(target, call)

    def run_heterogeneous(
        self,
        *,
        context: AnyContext,
        components: Sequence[HetJobComponent],
        payload_path: PathLike | Sequence[str] | None = None,
        assets: Mapping[str, Any] | None = None,
        on_failure: OnFailure = "cancel",
        grace_period: float = 10.0,
        config: SlurmRunConfig | None = None,
        key: str | None = None,
        poll_timeout: float | None = None,
        **unknown: object,
    ) -> CompletedComponents:
        """Run several payloads with needs of their own in one submission, and wait for all of them.

        In a cluster's modes they form one heterogeneous job, which waits in the queue once; in ``local`` mode they are
        processes side by side.

        Args:
            context: of the asset or op.
            components: what to run.
            payload_path: the payload of all components that name none; without it, that of each is
                ``<component_id>.py``.
            assets: which component makes which assets: ``{"train": "model"}``. Without it, the only asset of a step is
                made by all components, and each of several by the component of its name.
            on_failure: ``"cancel"``: a component that fails ends the others; ``"wait"``: they go on.
            grace_period: seconds that the others have before they are told to end.
            config: what was said in the launchpad; it goes for every component.
            key: a name for this call, unique in the step, as in :meth:`run`.
            poll_timeout: seconds after which to give up and cancel the job, time in the queue included. None: never.
            unknown: anything else is an error.

        Returns:
            The results, to be returned from the asset as they are: one for each asset. The metadata of a step's only
            asset have each component's below its name (``train/slurm/job_id``).

        Raises:
            SlurmFailure: a component did not end well, or they could not begin; its ``error`` names it.
        """
        try:
            _refuse(unknown, self.run_heterogeneous)
            settings = filled_in(self)
            asked = Asked(
                components=components,
                payload_path=payload_path,
                assets=assets,
                on_failure=on_failure,
                grace_period=grace_period,
                config=config or SlurmRunConfig(),
                key=key,
                poll_timeout=poll_timeout,
                default_launcher=settings.default_launcher,
                default_environment=self.environment,
            )
            if _mode(settings.mode) is ExecutionMode.SLURM_SESSION:
                raise ConfigurationError(
                    'mode="slurm-session" does not run components yet',
                    hint='Use mode="slurm-hetjob" for this asset, or call compute.run in an asset for each component.',
                )
            target = settings._target()  # noqa: SLF001 - the same class
            call = call_together(of_step(context), asked, settings, target)
        except DagsterSlurmError as error:
            raise failure(error) from None
        return run_together(target, call)

    def cleanup_cluster(self, cluster_id: str | None = None) -> list[str]:
        """End a warm cluster, or all of them: no asset begins in it any more, and it ends when those in it have ended.

        Args:
            cluster_id: as metadata tell it (``slurm/cluster_id``). None: all that this resource leads to.

        Returns:
            The clusters that were told to end.

        Raises:
            ConfigurationError, HostError, RequestFailed: the host cannot be asked.
        """
        settings = filled_in(self)
        if _mode(settings.mode) is not ExecutionMode.LOCAL:
            return []  # none outlives its job
        target = targets.local(settings.local_base)
        answer, _ = target.host.request("end_clusters", base=target.place().base, scopes=None, name=cluster_id)
        return list(answer["ended"])

    def path(self, asset_key: Any, partition: str | None = None) -> str:
        """Return the folder of an asset's result on the target, whether something lies there or not.

        Args:
            asset_key: the asset's key: ``"raw/daily"``, ``["raw", "daily"]``, an ``AssetKey``, or the asset itself.
            partition: its partition. Without one, for an asset with partitions, the folder above all of them.

        Raises:
            SlurmFailure: no asset is named so, there is no data_base, or it has a variable that is not set there.
        """
        try:
            named = slot(asset_key, partition)
            settings = filled_in(self)
            target = settings._target()  # noqa: SLF001 - the same class
            return place(root(target, data_base(settings, target)), named)
        except DagsterSlurmError as error:
            raise failure(error) from None

    def execution_mode(self) -> ExecutionMode:
        """Return the mode.

        Raises:
            ConfigurationError: there is no such mode.
        """
        return _mode(self.mode)

    def _target(self, context: AnyContext | None = None) -> Target:
        """Return where payloads of a step go; without a step, where the cluster is, whatever is shared there."""
        mode = _mode(self.mode)
        if mode is ExecutionMode.LOCAL:
            return targets.local(self.local_base)
        if mode not in _AVAILABLE:
            raise ConfigurationError(f"mode={mode.value!r} does not work in this version yet", hint='Use "slurm".')
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


def _mode(text: str) -> ExecutionMode:
    known = frozenset(mode.value for mode in ExecutionMode)
    if text not in known:
        raise ConfigurationError(f"mode={text!r} is not known", hint=suggestion(text, known))
    return ExecutionMode(text)


def _refuse(unknown: Mapping[str, object], method: Any) -> None:
    if unknown:
        known = frozenset(inspect.signature(method).parameters) - {"unknown"}
        name = next(iter(unknown))
        raise ConfigurationError(f"{method.__name__}() has no argument {name!r}", hint=suggestion(name, known))
