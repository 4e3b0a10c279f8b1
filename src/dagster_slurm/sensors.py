"""Sensors: what looks after the cluster while no run does."""
# No lazy annotations here: Dagster reads them when the sensor is made.

import time

import dagster as dg
from dagster._core.storage.tags import PARENT_RUN_ID_TAG

from dagster_slurm.engine.overview import Seen, end, look
from dagster_slurm.engine.target import Target
from dagster_slurm.errors import ConfigurationError, DagsterSlurmError, HostError
from dagster_slurm.resources import targets
from dagster_slurm.resources.compute import ComputeResource
from dagster_slurm.resources.modes import ExecutionMode
from dagster_slurm.resources.variables import filled_in

#: what can be cancelled; of anything else there is no job, or it is ending
_GOING_ON = ("pending", "running", "submitted")
#: seconds in which the cluster must answer: Dagster gives a sensor 60
_PATIENCE = 25.0


def build_slurm_orphan_sensor(
    compute: str | ComputeResource = "compute",
    *,
    name: str = "slurm_orphans",
    grace_minutes: float = 60.0,
    minimum_interval_seconds: int = 300,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.RUNNING,
) -> dg.SensorDefinition:
    """Return a sensor that cancels jobs whose Dagster run has ended.

    A job outlives a Dagster that was killed, so that a retry finds it again. If nobody retries, it computes for
    nobody. A job is cancelled if its run succeeded or was cancelled; if its run failed, once ``grace_minutes`` have
    passed and no retry of that run goes on. Jobs of runs that this Dagster does not know are never touched.

    Args:
        compute: the resource, or the name under which it is defined.
        name: of the sensor.
        grace_minutes: minutes after a run's failure in which a retry may still take its jobs up.
        minimum_interval_seconds: seconds between two looks.
        default_status: whether it runs without having been started by hand.
    """

    @dg.sensor(  # pyright: ignore[reportUnknownMemberType]
        name=name,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        required_resource_keys={compute} if isinstance(compute, str) else None,
        description="Cancels Slurm jobs whose run has ended.",
    )
    def orphans(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        resource: ComputeResource = getattr(context.resources, compute) if isinstance(compute, str) else compute
        return dg.SkipReason(_sweep(context, resource, grace_minutes * 60))

    return orphans


def _sweep(context: dg.SensorEvaluationContext, compute: ComputeResource, grace: float) -> str:
    """Cancel orphans; say what was done."""
    target = _target(filled_in(compute))
    try:
        hello, _ = target.host.request("hello", within=_PATIENCE, expand=[target.base])
        base = hello["paths"][target.base]
        found = [] if base is None else look(target.host, target.scheduler, base, within=_PATIENCE)
    except HostError as error:
        return f"{target.host.name} was not reached: {error.message}"
    going_on = [seen for seen in found if seen.state in _GOING_ON]
    orphans = [seen for seen in going_on if _is_orphan(context.instance, seen.run, grace)]
    said = [_end(context, target, seen) for seen in orphans]
    return "; ".join(said) or f"{len(going_on)} jobs go on, none of a run that has ended."


def _target(compute: ComputeResource) -> Target:
    """Return where jobs are: the cluster itself, also where runs share an allocation of it."""
    if compute.execution_mode() is ExecutionMode.LOCAL:
        return targets.local(compute.local_base)
    slurm = compute.slurm or (compute.session.cluster() if compute.session else None)
    if slurm is None:
        raise ConfigurationError(f"mode={compute.mode!r} needs a cluster", hint="ComputeResource(slurm=...).")
    return targets.cluster(slurm)


def _is_orphan(instance: dg.DagsterInstance, run_id: str, grace: float) -> bool:
    record = instance.get_run_record_by_id(run_id)
    if record is None or not record.dagster_run.is_finished:
        return False
    if record.dagster_run.status is not dg.DagsterRunStatus.FAILURE:
        return True
    if time.time() - (record.end_time or 0.0) < grace:
        return False
    return not _is_retried(instance, run_id)


def _is_retried(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether a run that retries this one, or one that retries that, has not ended."""
    for run in instance.get_runs(dg.RunsFilter(tags={PARENT_RUN_ID_TAG: run_id})):
        if not run.is_finished or _is_retried(instance, run.run_id):
            return True
    return False


def _end(context: dg.SensorEvaluationContext, target: Target, seen: Seen) -> str:
    what = f"job {seen.job or '(not submitted yet)'} of {seen.step}"
    try:
        end(target.host, target.scheduler, seen)
    except DagsterSlurmError as error:
        return f"{what} was not cancelled: {error.message}"
    run = context.instance.get_run_by_id(seen.run)
    if run is not None:
        text = f"Cancelled {what} on {target.host.name}: its run has ended."
        context.instance.report_engine_event(text, dagster_run=run)
    return f"cancelled {what}, whose run {seen.run[:8]} has ended"
