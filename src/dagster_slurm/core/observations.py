"""What can be observed of one job, and what a watching person is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dagster_slurm.core.record import Exit, Record, Start
from dagster_slurm.core.states import JobState


@dataclass(frozen=True)
class Row:
    """What queue or accounting say of one job.

    Args:
        job: its id.
        state: the state, reduced.
        word: the state in Slurm's own word.
        reason: why it waits, or ended as it did.
        expected_start: Slurm's guess, as text; empty if it has none.
        exit_code: of the batch script, as accounting tells it.
        out_of_memory: the job or a step of it ran out of memory.
        user: who cancelled it, where known.
        facts: further figures of accounting, by field name.
    """

    job: str
    state: JobState
    word: str
    reason: str = ""
    expected_start: str = ""
    exit_code: int | None = None
    signal: int | None = None
    out_of_memory: bool = False
    user: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    #: it tells of the allocation around a step: as long as that goes on, nothing of the step is known by it
    around: bool = False


@dataclass(frozen=True)
class Recorded:
    """The record as it stands.

    ``whole``: it was read from the directory for this purpose, not followed. ``claim``: the job that holds the claim;
    it may be about to begin.
    """

    record: Record
    begun: float
    whole: bool = False
    claim: str = ""


@dataclass(frozen=True)
class Looked:
    """A look at queue or accounting that was answered; it began at ``begun``. No row: it does not know the job."""

    source: Literal["queue", "accounting"]
    row: Row | None
    begun: float


@dataclass(frozen=True)
class LookFailed:
    """A look that gave no answer is not an observation of the job."""

    source: Literal["queue", "accounting"]
    error: str


Observation = Recorded | Looked | LookFailed


@dataclass(frozen=True)
class Began:
    """The job script began (again: ``restart`` above 0)."""

    start: Start


@dataclass(frozen=True)
class Ended:
    """The job script said how it ended; that need not be the last word."""

    exit: Exit


@dataclass(frozen=True)
class Waiting:
    """The job waits in the queue, for this reason."""

    reason: str
    expected_start: str


@dataclass(frozen=True)
class OddWord:
    """The queue uses a word that we do not know."""

    word: str


@dataclass(frozen=True)
class Unanswered:
    """The scheduler does not answer."""

    source: str
    error: str


Event = Began | Ended | Waiting | OddWord | Unanswered
