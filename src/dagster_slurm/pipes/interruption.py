"""What an interruption means: a user's cancel ends the job, a worker's shutdown leaves it.

The signal tells nothing: children of the multiprocess executor always see SIGINT. The run's state does.
"""

from __future__ import annotations

from dagster import DagsterEventType, DagsterRunStatus

from dagster_slurm.engine.launch import Launch
from dagster_slurm.engine.submission import Submitted, cancel
from dagster_slurm.engine.target import Target
from dagster_slurm.errors import DagsterSlurmError
from dagster_slurm.pipes.handles import Context, is_direct

#: how long a cancelled run waits for its host to take the cancellation, in seconds
_CANCEL_WITHIN = 10.0
_CANCELLING = (DagsterRunStatus.CANCELING, DagsterRunStatus.CANCELED)


def run_is_cancelled(context: Context) -> bool:
    """Whether somebody cancels the run: its state, or (max runtime sets FAILURE at once) its log says so."""
    if is_direct(context):
        return False
    run = context.instance.get_run_by_id(context.run_id)
    if run is None or run.status in _CANCELLING:
        return True
    return bool(context.instance.all_logs(context.run_id, of_type=DagsterEventType.PIPELINE_CANCELING))


def cancels_job(context: Context, *, local: bool) -> bool:
    """Whether the job is to end with this step: where nobody could re-attach, always."""
    return local or is_direct(context) or context.instance.is_ephemeral or run_is_cancelled(context)


def cancelled(target: Target, launch: Launch, submitted: Submitted | None) -> str:
    """Cancel the job; return what came of it. A host that is away must not keep the run from ending."""
    try:
        asked = cancel(target.host, target.scheduler, launch, within=_CANCEL_WITHIN)
    except DagsterSlurmError as error:
        job = f"job {submitted.id}" if submitted else f"a job named {launch.spec.key.job_name}"
        return (
            f"The run was cancelled, but {job} on {target.host.name} could not be: {error.message}. "
            f"Cancel it by hand: scancel --me --name={launch.spec.key.job_name}"
        )
    return f"The run was cancelled, and with it job {', '.join(asked) or 'none: it had ended before'}."


def left_running(target: Target, submitted: Submitted | None) -> str:
    """Return what to tell of a job that goes on without us."""
    job = f"job {submitted.id}" if submitted else "a job that may just have been submitted"
    end = f" To end it: scancel {submitted.id}" if submitted else ""
    return (
        f"This process was told to stop, but the run was not cancelled: {job} on {target.host.name} runs on. "
        f"Retry the run from failure to re-attach to it.{end}"
    )
