"""What an interruption means: a user's cancel ends the job, a worker's shutdown leaves it.

The signal tells nothing: children of the multiprocess executor always see SIGINT. The run's state does.
"""

from __future__ import annotations

from dagster import DagsterEventType, DagsterRunStatus

from dagster_slurm.pipes.handles import Context, is_direct

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
