"""What a scheduler is to us: the text that starts, lists and cancels, and what its answers mean. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from dagster_slurm.core.observations import Row
from dagster_slurm.errors import DagsterSlurmError


class Scheduler(Protocol):
    """Renders commands and parses answers."""

    #: what the agent calls it: "slurm" or "direct"
    kind: str
    #: whether it can be asked why a job ended
    asks: bool
    #: the command that lists this user's jobs, and the one that asks accounting about ``{ids}``; may be empty
    #: second and third field of a looked-up line that is not a job: one that was refused leaves a line behind
    no_job: tuple[tuple[str, str], ...]
    queue: tuple[str, ...]
    accounting: tuple[str, ...]
    #: the command that lists partitions and what their nodes have; may be empty
    partitions: tuple[str, ...]

    def submit(self) -> list[str]:
        """Return the command that submits ``job.sh`` of the current folder."""
        ...

    def find(self, name: str) -> list[list[str]]:
        """Return the commands that look a job up by its name, the surest first."""
        ...

    def queue_row(self, lines: Sequence[str], job: str) -> Row | None:
        """Return what the queue says of a job."""
        ...

    def account_row(self, lines: Sequence[str], job: str) -> Row | None:
        """Return what accounting says of a job."""
        ...

    def refusal(self, answer: SubmitAnswer) -> DagsterSlurmError:
        """Return the error for a submission that was not accepted."""
        ...


@dataclass(frozen=True)
class SubmitAnswer:
    """What a submit command that did not give a job id said; of a job with so many components."""

    text: str
    code: int | None
    command: Sequence[str]
    details: Mapping[str, str]
    components: int = 1
