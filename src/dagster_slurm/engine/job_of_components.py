"""A heterogeneous job that is followed: the job as a whole, and each of its components."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from dagster_slurm.core.verdict import Verdict
from dagster_slurm.engine.abreast import Abreast, OneAtATime
from dagster_slurm.engine.following import Following
from dagster_slurm.engine.host import Host
from dagster_slurm.engine.launch import Launch, Sink
from dagster_slurm.engine.submission import Submitted
from dagster_slurm.schedulers.scheduler import Scheduler


class JobOfComponents:
    """One job of several components that was submitted.

    Args:
        host: where.
        scheduler: what is spoken there.
        launch: the job; its members are the components.
        submitted: what the submission said.
        sink: who takes what concerns the job as a whole.
        sinks: ... and each component; no two are called at once.

    Attributes:
        following: the job.
        members: its components, in their order.
    """

    def __init__(
        self,
        host: Host,
        scheduler: Scheduler,
        launch: Launch,
        submitted: Submitted,
        *,
        sink: Sink,
        sinks: Sequence[Sink],
    ) -> None:
        lock = threading.RLock()
        self.following = Following(host, scheduler, launch, submitted, OneAtATime(sink, lock))
        self.members: list[Following] = []
        for number, (member, own_sink) in enumerate(zip(launch.members, sinks, strict=True)):
            name = f"{submitted.id}+{number}" if len(launch.members) > 1 else submitted.id
            own = replace(submitted, job={**submitted.job, "id": name})
            self.members.append(
                Following(host, scheduler, member, own, OneAtATime(own_sink, lock), leader=launch.directory)
            )

    def verdicts(self, on_tick: Callable[[], None]) -> tuple[Verdict, list[Verdict]]:
        """Return how the job ended, and how each component did; ``on_tick`` is called at least once a second."""
        abreast = Abreast(self.members)

        def tick() -> None:
            on_tick()
            abreast.check()

        try:
            return self.following.verdict(on_tick=tick), abreast.verdicts(tick)
        finally:
            abreast.abandon()
