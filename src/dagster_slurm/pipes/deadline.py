"""The time that a user is willing to wait at most."""

from __future__ import annotations

import shlex
import time

from dagster_slurm.engine.following import Following
from dagster_slurm.engine.launch import Launch
from dagster_slurm.engine.target import Target
from dagster_slurm.engine.unit_run import UnitRun
from dagster_slurm.errors import WaitedTooLong
from dagster_slurm.pipes.interruption import cancelled
from dagster_slurm.pipes.telling import Telling


class Deadline:
    """Counts from when the call began.

    Args:
        target: where the job is.
        launch: what it is.
        telling: has its last lines.
        seconds: how long; None waits as long as it takes.
        begun: since when, by this process's monotonic clock; None: from now.

    Attributes:
        following: the job, once it is submitted.
    """

    def __init__(
        self, target: Target, launch: Launch, telling: Telling, seconds: float | None, begun: float | None = None
    ) -> None:
        self._target = target
        self._launch = launch
        self._telling = telling
        self._seconds = seconds
        self._begun = time.monotonic() if begun is None else begun
        self.following: Following | UnitRun | None = None

    def check(self) -> None:
        """Cancel the job if the time is over.

        Raises:
            WaitedTooLong: it is.
        """
        if self._seconds is None or time.monotonic() - self._begun < self._seconds:
            return
        tracked = self.following.tracked if self.following else None
        job = tracked.job if tracked else ""
        start = tracked.record.start if tracked else None
        error = WaitedTooLong(
            f"poll_timeout={self._seconds:g} s is over: {cancelled(self._target, self._launch, job)}",
            hint="Time in the queue counts here: leave poll_timeout out, and use time_limit for the job itself.",
            command=shlex.join(self._launch.spec.command),
            log_tail=self._telling.last_lines(),
            details={
                "job": job or "none yet",
                "node": start.nodes or start.node if start else "none yet",
                "run directory": self._launch.directory,
            },
        )
        error.facts = {"run_directory": self._launch.directory, **({"job_id": job} if job else {})}
        raise error
