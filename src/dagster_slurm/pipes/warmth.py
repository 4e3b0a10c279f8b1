"""Which warm cluster a call of ``run`` uses, if clusters are to be kept."""

from __future__ import annotations

from dagster_slurm.core.names import folder_name
from dagster_slurm.core.spec import LaunchKey
from dagster_slurm.engine.ask import Place
from dagster_slurm.engine.launch import Sink
from dagster_slurm.engine.plan import Taken
from dagster_slurm.engine.sessions import Generation
from dagster_slurm.engine.submission import submit
from dagster_slurm.engine.target import Target
from dagster_slurm.engine.warm import Beside, Scope, take
from dagster_slurm.engine.warm_units import take_in
from dagster_slurm.errors import JobCancelled
from dagster_slurm.launchers.cluster import ClusterLauncher
from dagster_slurm.pipes.attendance import run_and_step
from dagster_slurm.pipes.call import Call
from dagster_slurm.pipes.handles import is_direct
from dagster_slurm.pipes.interruption import INTERRUPTS, run_is_cancelled


def beside(target: Target, call: Call) -> Beside | None:
    """Return the clusters beside Dagster that the run's steps share; none where they share none."""
    if call.reuse is None or not target.local or is_direct(call.context):
        return None
    return Beside(target.host, _folder(target.place(), call))


def warm_cluster(
    target: Target, call: Call, place: Place, key: LaunchKey, sink: Sink, *, generation: Generation | None = None
) -> Taken | None:
    """Return the warm cluster for a call, started if need be; none if it has one of its own.

    Args:
        target: where the call's run goes.
        call: which.
        place: where runs go.
        key: of the call's run.
        sink: hears what is done.
        generation: the allocation of the session that the run is handed to.

    Raises:
        JobCancelled: the run was cancelled meanwhile.
        DagsterSlurmError: a cluster cannot be had.
    """
    launcher = call.ask.launcher
    if call.reuse is None or not isinstance(launcher, ClusterLauncher) or not launcher.keeps():
        return None
    if generation is not None and target.session is not None:
        taken = take_in(
            target.session,
            target.host,
            generation,
            call.ask,
            place,
            launcher=launcher,
            user=place.directory(key),
            step="/".join(run_and_step(call.context)),
            tolerance=call.reuse,
            sink=sink,
        )
        return _told(taken, sink)
    if not target.local:
        call.context.log.info("enable_cluster_reuse: each job has a cluster of its own, which ends with it.")
        return None
    if is_direct(call.context):
        return None  # there is no run, within which it could be kept
    taken = _taken_beside(target, call, place, key, sink, launcher=launcher, tolerance=call.reuse)
    return None if taken is None else _told(taken, sink)


def _taken_beside(
    target: Target, call: Call, place: Place, key: LaunchKey, sink: Sink, *, launcher: ClusterLauncher, tolerance: float
) -> Taken | None:
    """Return a cluster beside Dagster, which goes on; none if the run that would use it has begun already."""
    found, _ = target.host.request("inspect", dir=place.directory(key))
    if found["claim"]:
        return None  # what is planned anew now is not looked at
    run, step = run_and_step(call.context)
    scope = Scope(folder=_folder(place, call), run=run, step=step, tolerance=tolerance, local=True)
    try:
        taken, cluster = take(target.host, scope, call.ask, place, launcher=launcher, user=place.directory(key))
        submit(target.host, target.scheduler, cluster, sink)
    except INTERRUPTS:
        if not run_is_cancelled(call.context):
            raise
        raise JobCancelled("the run was cancelled before its payload was begun") from None
    return taken


def _told(taken: Taken, sink: Sink) -> Taken:
    why = taken.facts.get("cluster_not_reused_because")
    sink.tell(f"Starting cluster {taken.name}: {why}." if why else f"Using the warm cluster {taken.name}.")
    return taken


def _folder(place: Place, call: Call) -> str:
    return f"{place.base}/clusters/{folder_name(run_and_step(call.context)[0])}"
