"""Warm clusters of a session: units of its allocation, for all processes that hand work to it."""

from __future__ import annotations

from dataclasses import replace

from dagster_slurm.core.resources import Resources
from dagster_slurm.engine.ask import Ask, Place
from dagster_slurm.engine.host import Host
from dagster_slurm.engine.launch import Sink
from dagster_slurm.engine.plan import Taken
from dagster_slurm.engine.sessions import Generation, Session
from dagster_slurm.engine.submission import submit
from dagster_slurm.engine.units import flags
from dagster_slurm.engine.warm import Scope, take
from dagster_slurm.launchers.cluster import ClusterLauncher
from dagster_slurm.remote.clusters import FOLDER
from dagster_slurm.schedulers.slurm import Step


def take_in(
    session: Session,
    host: Host,
    generation: Generation,
    ask: Ask,
    place: Place,
    *,
    launcher: ClusterLauncher,
    user: str,
    step: str,
    tolerance: float,
    sink: Sink,
) -> Taken:
    """Choose a cluster in an allocation, and see to it that it is started. May be repeated, by any process.

    Args:
        session: which.
        host: where.
        generation: the session's allocation.
        ask: what the run asks for.
        place: where runs go.
        launcher: the run's.
        user: the run's directory.
        step: whose run it is, for people.
        tolerance: see :func:`dagster_slurm.core.warm.covers`.
        sink: hears of delays.

    Raises:
        SessionOver: the allocation takes no more work.
        HostError, RequestFailed: as for any request.
        ConfigurationError: the cluster cannot be as it was asked for.
    """
    scope = Scope(
        folder=f"{generation.launch.directory}/{FOLDER}",
        run=f"{session.ask.key}-{generation.number}",
        step=step,
        tolerance=tolerance,
        local=False,
        share=generation.share,
    )
    taken, launch = take(host, scope, ask, place, launcher=launcher, user=user)
    # the sizes of the cluster are those of each node, whatever tasks the asset divides its own into
    asked = flags(launch.spec.key, replace(launch.spec.resources, options={}), scope.run, step)
    kept = {**asked, "cluster": {"scope": scope.folder, "framework": launcher.framework}}
    unit = {"session": generation.launch.directory, "holder": generation.job, "flags": kept}
    submit(host, Step(), replace(launch, unit=unit), sink)
    memory = launch.spec.resources.mem or scope.share_of(launch.spec.resources.cpus)
    return replace(taken, driver=Resources(cpus=1, mem=memory))
