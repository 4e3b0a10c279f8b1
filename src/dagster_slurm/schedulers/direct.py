"""The scheduler of local mode: a process beside Dagster. The agent starts, lists and stops it itself."""

from __future__ import annotations

from collections.abc import Sequence

from dagster_slurm.core.observations import Row
from dagster_slurm.core.states import JobState
from dagster_slurm.errors import RequestFailed
from dagster_slurm.schedulers.scheduler import SubmitAnswer


class Direct:
    """A plain process; there is nobody to ask why it ended."""

    kind = "direct"
    asks = False
    no_job: tuple[tuple[str, str], ...] = ()
    queue: tuple[str, ...] = ()
    accounting: tuple[str, ...] = ()
    partitions: tuple[str, ...] = ()

    def submit(self) -> list[str]:
        """Nothing to render: the agent runs ``job.sh``."""
        return []

    def find(self, name: str) -> list[list[str]]:  # noqa: ARG002 - the same question to every scheduler
        """A process has no name to be found by: its record is there at once."""
        return []

    def queue_row(self, lines: Sequence[str], job: str) -> Row | None:
        """Return the process, if it runs."""
        running = any(line.split("|", 1)[0] == job for line in lines)
        return Row(job, JobState.RUNNING, "RUNNING") if running else None

    def account_row(self, lines: Sequence[str], job: str) -> Row | None:  # noqa: ARG002 - see find
        """There is no accounting."""
        return None

    def refusal(self, answer: SubmitAnswer) -> RequestFailed:
        """Return the error for a process that cannot be started."""
        return RequestFailed(f"the payload's process cannot be started: {answer.text}", details=answer.details)
