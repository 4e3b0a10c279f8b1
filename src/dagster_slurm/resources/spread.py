"""``run_partitions``: from what the user says to one task for each partition of the step."""
# No lazy annotations here: Dagster's metaclass reads those of the class.

from collections.abc import Mapping, Sequence
from typing import Any

from dagster import AssetKey

from dagster_slurm.core.resources import Resources
from dagster_slurm.engine.target import Target
from dagster_slurm.environments.choice import Named
from dagster_slurm.errors import ConfigurationError, DagsterSlurmError
from dagster_slurm.launchers.bash import BashLauncher
from dagster_slurm.launchers.launcher import ComputeLauncher
from dagster_slurm.pipes.failure import failure
from dagster_slurm.pipes.handles import AnyContext, Context, is_direct, of_step
from dagster_slurm.pipes.partitions import CompletedPartitions, run_partitions
from dagster_slurm.resources.arguments import Arguments, PathLike, refuse_unknown, said_in_call
from dagster_slurm.resources.asking import call_for
from dagster_slurm.resources.run_config import SlurmRunConfig
from dagster_slurm.resources.settings import ComputeSettings
from dagster_slurm.resources.variables import filled_in


class PartitionedRuns(ComputeSettings):
    """What a ``ComputeResource`` does with many partitions at once."""

    def run_partitions(
        self,
        *,
        context: AnyContext,
        payload_path: PathLike | Sequence[str],
        max_concurrent: int | None = None,
        launcher: ComputeLauncher | None = None,
        resources: Resources | None = None,
        extra_env: Mapping[str, str] | None = None,
        extras: Mapping[str, Any] | None = None,
        extra_files: Sequence[PathLike] | Mapping[str, PathLike] | None = None,
        config: SlurmRunConfig | None = None,
        key: str | None = None,
        environment: Named | None = None,
        **unknown: object,
    ) -> CompletedPartitions:
        """Run a payload once for each partition of the step, and wait for all of them.

        In a cluster's modes the partitions are the tasks of one job array, in ``local`` mode processes side by side.
        Each is told of its partition alone, as if the run were for that one, and is materialized as soon as it has
        succeeded. A retry of the run submits only what is missing.

        Args:
            context: of an asset with ``backfill_policy=BackfillPolicy.single_run()``.
            payload_path: as in ``run``.
            max_concurrent: how many partitions run at once at most. None leaves it to Slurm; in ``local`` mode, as many
                as this machine has CPUs.
            launcher: how each is started; else ``default_launcher``, else as one process.
            resources: what each partition needs of the cluster.
            extra_env: environment variables; secrets may be among them.
            extras: values for the payload, through Pipes.
            extra_files: files for its working directory: paths, or destinations with paths.
            config: what was said in the launchpad.
            key: a name for this call, unique in the step, as in ``run``.
            environment: its Python environment, as in ``run``.
            unknown: anything else is an error.

        Returns:
            What is to be returned from the asset as it is.

        Raises:
            SlurmFailure: a partition did not end well; its metadata have a table of those that did not.
        """
        try:
            refuse_unknown(unknown, self.run_partitions)
            settings = filled_in(self)
            target = settings.target(context)
            launchpad = config or SlurmRunConfig()
            arguments = Arguments(
                payload_path=payload_path,
                launcher=launcher or settings.default_launcher or BashLauncher(),
                resources=said_in_call(resources, None, None, launchpad),
                extra_env=extra_env or {},
                extras=extras or {},
                extra_files=extra_files or (),
                key=key,
                skip_payload_upload=launchpad.skip_payload_upload or None,
                remote_payload_path=launchpad.remote_payload_path,
                environment=environment,
                launchpad_environment=launchpad.environment,
                default_environment=self.environment,
                force_env_push=launchpad.force_env_push,
                poll_timeout=None,
            )
            _check(target, max_concurrent)
            step = of_step(context)
            keys, assets = _partitions_of(step)
            call = call_for(step, arguments, settings, target)
            if call.ask.data is not None:
                raise ConfigurationError(
                    "data_base= does not work with run_partitions yet",
                    hint="Leave it out for this asset, or run each partition by itself with compute.run.",
                )
        except DagsterSlurmError as error:
            raise failure(error) from None
        return run_partitions(target, call, keys, assets, max_concurrent)


def _partitions_of(context: Context) -> tuple[list[str], list[AssetKey]]:
    """Return the partitions of a step, and the assets that each of them makes."""
    hint = "@asset(partitions_def=..., backfill_policy=BackfillPolicy.single_run())."
    if is_direct(context) or not context.has_assets_def:
        raise ConfigurationError("run_partitions works in the run of an asset", hint=hint)
    if not context.has_partition_key and not context.has_partition_key_range:
        raise ConfigurationError("this run has no partitions", hint=hint)
    return list(context.partition_keys), list(context.selected_asset_keys)


def _check(target: Target, concurrent: Any) -> None:
    if concurrent is not None and (isinstance(concurrent, bool) or not isinstance(concurrent, int) or concurrent < 1):
        raise ConfigurationError(f"max_concurrent={concurrent!r} is not a number of partitions")
    if target.session is not None:
        raise ConfigurationError(
            'mode="slurm-session" does not run partitions yet', hint='Use mode="slurm" for this asset.'
        )
