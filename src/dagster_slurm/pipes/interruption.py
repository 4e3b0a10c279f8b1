"""What an interruption means: a user's cancel ends the job, a worker's shutdown leaves it.

The signal tells nothing: children of the multiprocess executor always see SIGINT. The run's state does.
"""

from __future__ import annotations

from dagster import DagsterEventType, DagsterRunStatus
from dagster._core.errors import DagsterExecutionInterruptedError

from dagster_slurm.core.causes import kind_of
from dagster_slurm.engine.launch import Launch
from dagster_slurm.engine.submission import Submitted, cancel
from dagster_slurm.engine.target import Target
from dagster_slurm.errors import DagsterSlurmError, JobCancelled
from dagster_slurm.pipes.handles import Context, is_direct

INTERRUPTS = (DagsterExecutionInterruptedError, KeyboardInterrupt)
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


def ends(context: Context, target: Target, *, forward: bool) -> bool:
    """Whether an interruption ends what runs: the run is cancelled, or nobody could re-attach."""
    kept = not (target.local or is_direct(context) or context.instance.is_ephemeral)
    return forward and (run_is_cancelled(context) or not kept)


def end_or_leave(context: Context, target: Target, launch: Launch, submitted: Submitted | None, forward: bool) -> None:
    """Do what an interruption means; return if it is to go on its way.

    Raises:
        JobCancelled: the run is cancelled, or nobody could re-attach. To let the interruption go on its way instead
            would make Dagster run the step again, where it has a RetryPolicy.
    """
    by_user = run_is_cancelled(context)
    job = submitted.id if submitted else ""
    if ends(context, target, forward=forward):
        why = "the run was cancelled" if by_user else "this process was told to stop, and nobody could re-attach"
        raise JobCancelled(f"{why}: {cancelled(target, launch, job)}", hint=_AGAIN, details=_details(launch, job))
    if by_user:
        raise JobCancelled(
            f"the run was cancelled, and {_running(target, launch, job)}, since forward_termination=False",
            hint=_how_to_end(target, launch, job),
            details=_details(launch, job),
        )
    context.log.warning(
        f"This process was told to stop, but the run was not cancelled: {_running(target, launch, job)}. Retry the run "
        f"from failure to re-attach to it. {_how_to_end(target, launch, job)}"
    )


def cancelled(target: Target, launch: Launch, job: str) -> str:
    """Cancel the job; return what came of it. A host that is away must not keep the run from ending."""
    try:
        asked = cancel(target.host, target.scheduler, launch, within=_CANCEL_WITHIN)
    except DagsterSlurmError as error:
        return f"{_running(target, launch, job)}, for it could not be cancelled ({error.message}). " + _how_to_end(
            target, launch, job
        )
    kind = kind_of(job, local=target.local)
    return f"{kind} {', '.join(asked)} was cancelled" if asked else f"there was no {kind} to cancel any more"


_AGAIN = "Run it again when you want it."


def _running(target: Target, launch: Launch, job: str) -> str:
    kind = kind_of(job, local=target.local)
    if job.endswith(".pending"):
        return f"the work waits in session {target.session.ask.name!r}, which drops it" if target.session else ""
    which = f"{kind} {job}" if job else f"a {kind} named {launch.spec.key.job_name}, if it was submitted just now,"
    return f"{which} on {target.host.name} runs on"


def _how_to_end(target: Target, launch: Launch, job: str) -> str:
    if target.local:
        return f"To end it: kill {job}." if job else ""
    if "." in job:
        return "" if job.endswith(".pending") else f"To end it: scancel --signal=TERM {job}."
    return f"To end it: scancel {job or f'--me --name={launch.spec.key.job_name}'}."


def _details(launch: Launch, job: str) -> dict[str, str | int | float]:
    return {**({"job": job} if job else {}), "run directory": launch.directory}
