"""The state machine of one job: what is known of it, and how each observation changes that.

Pure: the clock is handed in, nothing is read or asked here. What the knowledge amounts to is decided in
:mod:`.verdict`, and nowhere else.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace

from dagster_slurm.core.observations import (
    Began,
    Ended,
    Event,
    Looked,
    LookFailed,
    Observation,
    OddWord,
    Recorded,
    Row,
    Unanswered,
    Waiting,
)
from dagster_slurm.core.record import Record
from dagster_slurm.core.states import JobState

#: the id of a job, or of a step or a component of one
_JOB = re.compile(r"\d+([.+]\d+)?")
#: two looks count as two if they began this many seconds apart
APART = 30.0
#: how much later than the submit's reply a look must have begun to tell anything (seconds; the channel has a delay)
SETTLED = 5.0


@dataclass(frozen=True)
class Tracked:
    """All that is known of one job.

    Args:
        job: the scheduler's id.
        submitted: when the submit's reply came, in seconds of the client's clock.
        asks: whether there is a scheduler that can be asked for a reason (not in local mode).
        warning: the signal that the job was to get before its time limit.
        late: the run directory may lie on a file system that shows late what was written elsewhere (NFS).
        queue: the queue's latest word; none if its latest look did not know the job.
        queue_at: when the queue's latest look began, in seconds.
        account: accounting's latest word.
        account_at: when that look began, in seconds.
        accounts: whether accounting answers, as far as is known.
        absences: when looks at the queue began that did not know the job: the first, and one long enough after it.
        reread: when the record was last read for its own sake, in seconds.
        spoken: when the look began that gave the latest last word, in seconds.
        news: when the record last told of a start or an end; looks that began before say nothing of what came after.
        ended: when the exit line arrived here, or a terminal word without one, in seconds.
        alive: when the queue last knew the job as one that has not ended, in seconds.
        said: what was last said of its waiting, and of each source that did not answer.
    """

    job: str
    submitted: float
    asks: bool = True
    warning: str = ""
    late: bool = True
    record: Record = field(default_factory=Record)
    queue: Row | None = None
    queue_at: float = -math.inf
    account: Row | None = None
    account_at: float = -math.inf
    accounts: bool = True
    absences: tuple[float, ...] = ()
    reread: float = -math.inf
    spoken: float = -math.inf
    news: float = -math.inf
    ended: float | None = None
    alive: float = -math.inf
    said: tuple[Event, ...] = ()

    @property
    def started(self) -> bool:
        """Whether the job script has begun."""
        return bool(self.record.starts)

    @property
    def is_step(self) -> bool:
        """Whether it is a step of a session's allocation: Slurm does not start those again."""
        return "." in self.job

    @property
    def word(self) -> Row | None:
        """The scheduler's latest word: the queue knows first; accounting remembers longer and tells more."""
        queue, account = self.queue, self.account
        if self.is_step:
            return self._word_on_step()
        if queue is None or account is None or not account.state.terminal:
            return queue or account
        if queue.state.terminal:
            # of a job that was requeued, accounting shows the earlier end for a while
            return queue if account.state.may_come_back and account.state is not queue.state else account
        return account if self.account_at - self.queue_at > APART else queue

    def _word_on_step(self) -> Row | None:
        """Of a step, accounting speaks, unless all of its allocation has ended, or is about to."""
        queue, account = self.queue, self.account
        if queue is None:
            return account if self.absences or account is None or account.state.interrupts else None
        if queue.state is JobState.ENDING or queue.state.interrupts or account is None or account.around:
            return queue
        return account

    @property
    def doubtful(self) -> bool:
        """Whether the last word is accounting's alone, and of a kind after which the queue may show the job again."""
        word = self.word
        if word is None or word is not self.account or not word.state.may_come_back:
            return False
        confirmed = self.queue_at >= self.news if self.queue is None else self.queue.state.terminal
        return not confirmed

    @property
    def gone(self) -> bool:
        """Whether the queue does not know the job, as two looks that count say."""
        return len(self.absences) > (1 if self.asks else 0)


def advance(tracked: Tracked, observation: Observation, now: float) -> tuple[Tracked, list[Event]]:
    """Return what is known after an observation, and what a watching person should be told."""
    if isinstance(observation, Recorded):
        after, events = _recorded(tracked, observation, now)
    elif isinstance(observation, Looked):
        after, events = _looked(tracked, observation, now)
    else:
        after, events = _unanswered(tracked, observation)
    over = after.record.exit is not None or (after.word is not None and after.word.state.terminal)
    after = replace(after, ended=(now if after.ended is None else after.ended) if over else None)
    fresh = [event for event in events if event not in after.said]
    for event in fresh:
        if not isinstance(event, (Began, Ended)):
            others = tuple(item for item in after.said if _matter(item) != _matter(event))
            after = replace(after, said=(*others, event))
    return after, fresh


def _matter(event: Event) -> str:
    """What an event is about: a new word on the same matter replaces the one before."""
    return event.source if isinstance(event, Unanswered) else "state"


def _recorded(tracked: Tracked, seen: Recorded, now: float) -> tuple[Tracked, list[Event]]:
    old, new = tracked.record, seen.record
    if any(
        len(new) < len(old) for new, old in ((new.starts, old.starts), (new.usages, old.usages), (new.exits, old.exits))
    ):
        new = old  # a late answer: records only grow
    events: list[Event] = [Began(start) for start in new.starts[len(old.starts) :]]
    events += [Ended(item) for item in new.exits[len(old.exits) :]]
    after = replace(tracked, record=new, reread=max(seen.begun, tracked.reread) if seen.whole else tracked.reread)
    if len(new.starts) > len(old.starts):
        # What was known of the job before it started (again) says nothing of how it will end.
        after = replace(after, queue=None, account=None, absences=(), ended=None, news=now)
    elif len(new.exits) > len(old.exits):
        # no more of what was said before the end
        after = replace(after, queue=None, account=None, absences=(), news=now)
    winner = new.start.job if new.start is not None else seen.claim
    if _JOB.fullmatch(winner) and winner != tracked.job:
        # The job that won the claim is the run; what was seen was of another.
        after = replace(after, job=winner, queue=None, account=None, absences=(), ended=None, news=now)
    return after, events


def _looked(tracked: Tracked, seen: Looked, now: float) -> tuple[Tracked, list[Event]]:
    if seen.source == "accounting":
        return _accounted(tracked, seen), []
    if seen.begun < max(tracked.news, tracked.queue_at):
        return tracked, []
    if seen.row is None:
        return _missed(tracked, seen), []
    return _queued(tracked, seen.row, seen.begun, now)


def _queued(tracked: Tracked, row: Row, begun: float, now: float) -> tuple[Tracked, list[Event]]:
    if row.state.terminal:
        known = tracked.queue is not None and tracked.queue.state is row.state
        spoken = tracked.spoken if known else max(tracked.spoken, begun)
        return replace(tracked, queue=row, queue_at=begun, absences=(), spoken=spoken), []
    after = replace(tracked, queue=row, queue_at=begun, absences=(), alive=now)
    if row.state is JobState.PENDING:
        return after, [Waiting(row.reason, row.expected_start)]
    if row.state is JobState.UNKNOWN:
        return after, [OddWord(row.word)]
    return after, []


def _accounted(tracked: Tracked, seen: Looked) -> Tracked:
    tracked = replace(tracked, accounts=True)
    if seen.row is None or seen.begun < max(tracked.news, tracked.account_at):
        return tracked
    known = tracked.account is not None and tracked.account.state is seen.row.state
    spoken = tracked.spoken if known or not seen.row.state.terminal else max(tracked.spoken, seen.begun)
    return replace(tracked, account=seen.row, account_at=seen.begun, spoken=spoken)


def _missed(tracked: Tracked, seen: Looked) -> Tracked:
    """A look that does not know the job counts if it began after the submit was answered."""
    if tracked.asks and seen.begun < tracked.submitted + SETTLED:
        return tracked
    keep = tracked.queue if tracked.queue is not None and tracked.queue.state.terminal else None
    absences = tracked.absences or (seen.begun,)
    if len(absences) == 1 and seen.begun - absences[0] >= APART:
        absences = (absences[0], seen.begun)
    return replace(tracked, queue=keep, queue_at=seen.begun, absences=absences)


def _unanswered(tracked: Tracked, seen: LookFailed) -> tuple[Tracked, list[Event]]:
    accounts = tracked.accounts and seen.source != "accounting"
    return replace(tracked, accounts=accounts), [Unanswered(seen.source, seen.error)]
