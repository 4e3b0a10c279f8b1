"""The state machine of one job: what is known of it, and how each observation changes that.

Pure: the clock is handed in, nothing is read or asked here. What the knowledge amounts to is decided in
:mod:`.verdict`, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from dagster_slurm.core.record import Exit, Record, Start
from dagster_slurm.core.states import JobState

#: two looks count as two if they began this many seconds apart
APART = 30.0
#: how much later than the submit's reply a look must have begun to tell anything (seconds; the channel has a delay)
SETTLED = 5.0


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


@dataclass(frozen=True)
class Recorded:
    """The record as it stands. ``whole``: it was read from the directory for this purpose, not followed."""

    record: Record
    begun: float
    whole: bool = False


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


@dataclass(frozen=True)
class Tracked:
    """All that is known of one job.

    Args:
        job: the scheduler's id.
        submitted: when the submit's reply came, in seconds of the client's clock.
        asks: whether there is a scheduler that can be asked for a reason (not in local mode).
        warning: the signal that the job was to get before its time limit.
        queue: the queue's latest word.
        account: accounting's latest word.
        absences: beginnings of successful looks that did not know the job.
        reread: when the record was last read for its own sake, in seconds.
        spoken: when the look began that gave the latest last word, in seconds.
        ended: when the exit line arrived here, or a terminal word without one, in seconds.
        said: what was last said of its waiting.
    """

    job: str
    submitted: float
    asks: bool = True
    warning: str = ""
    record: Record = field(default_factory=Record)
    queue: Row | None = None
    account: Row | None = None
    absences: tuple[float, ...] = ()
    reread: float = -1.0
    spoken: float = -1.0
    ended: float | None = None
    said: Event | None = None

    @property
    def started(self) -> bool:
        """Whether the job script has begun."""
        return bool(self.record.starts)

    @property
    def word(self) -> Row | None:
        """The scheduler's latest word: the queue knows first; accounting remembers longer and tells more."""
        if self.queue is None or (self.queue.state.terminal and self.account and self.account.state.terminal):
            return self.account or self.queue
        return self.queue


def advance(tracked: Tracked, observation: Observation, now: float) -> tuple[Tracked, list[Event]]:
    """Return what is known after an observation, and what a watching person should be told."""
    if isinstance(observation, Recorded):
        after, events = _recorded(tracked, observation)
    elif isinstance(observation, Looked):
        after, events = _looked(tracked, observation)
    else:
        after, events = tracked, [Unanswered(observation.source, observation.error)]
    if after.ended is None and (
        after.record.exit is not None or (after.word is not None and after.word.state.terminal)
    ):
        after = replace(after, ended=now)
    fresh = [
        event for event in events if not (isinstance(event, (Waiting, OddWord, Unanswered)) and event == after.said)
    ]
    for event in fresh:
        if isinstance(event, (Waiting, OddWord, Unanswered)):
            after = replace(after, said=event)
    return after, fresh


def _recorded(tracked: Tracked, seen: Recorded) -> tuple[Tracked, list[Event]]:
    old, new = tracked.record, seen.record
    if len(new.starts) < len(old.starts) or len(new.exits) < len(old.exits):
        new = old  # a late answer: records only grow
    events: list[Event] = [Began(start) for start in new.starts[len(old.starts) :]]
    events += [Ended(item) for item in new.exits[len(old.exits) :]]
    after = replace(tracked, record=new, reread=seen.begun if seen.whole else tracked.reread)
    if len(new.starts) > len(old.starts):
        # What was known of the job before it started (again) says nothing of how it will end.
        after = replace(after, queue=None, account=None, absences=(), ended=None)
    elif len(new.exits) > len(old.exits):
        after = replace(after, queue=None, account=None)  # a word from before the end is no word on the end
    if new.start is not None and new.start.job != tracked.job:
        after = replace(after, job=new.start.job)  # the job that won the claim is the run
    return after, events


def _looked(tracked: Tracked, seen: Looked) -> tuple[Tracked, list[Event]]:
    if seen.row is None:
        return _missed(tracked, seen), []
    if seen.row.state.terminal:
        tracked = replace(tracked, spoken=max(tracked.spoken, seen.begun))
    if seen.source == "accounting":
        return replace(tracked, account=seen.row), []
    back = tracked.ended is not None and not seen.row.state.terminal and tracked.record.exit is None
    after = replace(tracked, queue=seen.row, absences=(), ended=None if back else tracked.ended)
    if seen.row.state is JobState.PENDING:
        return after, [Waiting(seen.row.reason, seen.row.expected_start)]
    if seen.row.state is JobState.UNKNOWN:
        return after, [OddWord(seen.row.word)]
    return after, []


def _missed(tracked: Tracked, seen: Looked) -> Tracked:
    """A look that does not know the job counts if it began after the submit was answered."""
    if seen.source != "queue" or (tracked.asks and seen.begun < tracked.submitted + SETTLED):
        return tracked
    gone = None if tracked.queue is None or not tracked.queue.state.terminal else tracked.queue
    if tracked.absences and seen.begun - tracked.absences[0] < APART:
        return replace(tracked, queue=gone)
    return replace(tracked, queue=gone, absences=(*tracked.absences, seen.begun)[-2:])
