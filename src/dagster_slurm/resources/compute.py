"""The one resource: where and how the payloads of assets run."""
# No lazy annotations here: Dagster's metaclass reads ResourceDependency when the class is made.

from collections.abc import Mapping, Sequence
from typing import Any

from dagster_slurm.core.resources import Resources
from dagster_slurm.core.retries import SlurmRetryPolicy
from dagster_slurm.environments.choice import Named
from dagster_slurm.errors import DagsterSlurmError
from dagster_slurm.launchers.bash import BashLauncher
from dagster_slurm.launchers.components import OnFailure
from dagster_slurm.launchers.launcher import ComputeLauncher
from dagster_slurm.managers import HetJobComponent
from dagster_slurm.pipes.completed import CompletedRun
from dagster_slurm.pipes.failure import failure
from dagster_slurm.pipes.gathered import CompletedComponents
from dagster_slurm.pipes.handles import AnyContext, of_step
from dagster_slurm.pipes.run import run
from dagster_slurm.pipes.together import run_together
from dagster_slurm.pipes.together_in_session import run_in_session
from dagster_slurm.resources.arguments import Arguments, PathLike, refuse_unknown, said_in_call
from dagster_slurm.resources.asking import call_for
from dagster_slurm.resources.data import folder_of
from dagster_slurm.resources.environment import Variables
from dagster_slurm.resources.modes import ExecutionMode, mode_of
from dagster_slurm.resources.run_config import SlurmRunConfig
from dagster_slurm.resources.settings import ComputeSettings
from dagster_slurm.resources.slurm import SlurmResource
from dagster_slurm.resources.together import Asked, call_together
from dagster_slurm.resources.variables import filled_in


class ComputeResource(ComputeSettings):
    """Where and how payloads run. Asset code is the same in every mode."""

    @classmethod
    def from_env(cls, prefix: str = "SLURM_EDGE_NODE_") -> "ComputeResource":
        """Return ``local`` when nothing is set, else mode, host and queue from the environment.

        ``DAGSTER_SLURM_MODE`` names the mode. Without it, the mode is ``slurm`` if ``<prefix>HOST`` or
        ``DAGSTER_SLURM_PROFILE`` is set.
        ``SLURM_DATA_BASE_PATH`` names the folder for results, in every mode. For the rest see
        :meth:`SlurmResource.from_env`.

        Raises:
            ConfigurationError: a value cannot be understood.
        """
        connected = (
            Variables(prefix).text("HOST") is not None or Variables("DAGSTER_SLURM_").text("PROFILE") is not None
        )
        mode = Variables("DAGSTER_SLURM_").text("MODE") or ("slurm" if connected else "local")
        if mode_of(mode) is ExecutionMode.LOCAL:
            return cls(mode=mode, data_base=Variables("SLURM_").text("DATA_BASE_PATH"))
        return cls(mode=mode, slurm=SlurmResource.from_env(prefix))

    def run(
        self,
        context: AnyContext,
        payload_path: PathLike | Sequence[str] | None = None,
        *,
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
        fetch: Sequence[str] | None = None,
        retry: SlurmRetryPolicy | None = None,
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
            fetch: small files to bring to this machine when it has ended well: ``["metrics.json", "plots/*.png"]``,
                below the output folder; without ``data_base``, below the payload's working directory. See
                ``completed.fetched``. Else the asset's metadata say (``slurm_fetch``).
            retry: what is submitted again by itself, by the cause of its end; else what the resource says.
            unknown: anything else is an error.

        Returns:
            The results that the payload reported, with the job's metadata; return it from the asset as it is.

        Raises:
            SlurmFailure: the payload did not end well, or could not begin. A :class:`dagster.Failure` whose ``error``
                is a :class:`~dagster_slurm.errors.DagsterSlurmError` that says what, where, and what to do.
        """
        try:
            refuse_unknown(unknown, self.run)
            settings = filled_in(self)
            target = settings.target(context)
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
                fetch=fetch,
                retry=settings.retry if retry is None else retry,
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

        In a cluster's modes they form one heterogeneous job, which waits in the queue once; in ``slurm-session`` mode
        they are units of the allocation, and in ``local`` mode processes side by side.

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
            refuse_unknown(unknown, self.run_heterogeneous)
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
            target = settings.target(context)
            call = call_together(of_step(context), asked, settings, target)
        except DagsterSlurmError as error:
            raise failure(error) from None
        return run_together(target, call) if target.session is None else run_in_session(target, target.session, call)

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
        mode = settings.execution_mode()
        if mode not in (ExecutionMode.LOCAL, ExecutionMode.SLURM_SESSION):
            return []  # none outlives its job
        target = settings.target()
        sessions = settings.session.folders() if mode is ExecutionMode.SLURM_SESSION and settings.session else None
        base = target.place().base
        answer, _ = target.host.request("end_clusters", base=base, sessions=sessions, name=cluster_id)
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
            settings = filled_in(self)
            return folder_of(asset_key, partition, settings, settings.target())
        except DagsterSlurmError as error:
            raise failure(error) from None
