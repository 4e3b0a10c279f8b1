"""How a job ended: the only place that decides.

The job's own record says *how* it ended; Slurm says *why*, where a signal was in play. Absence is never success,
a failed query is no observation, and what nobody can vouch for is an error of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from dagster_slurm.core.observations import Row
from dagster_slurm.core.record import Exit
from dagster_slurm.core.states import JobState
from dagster_slurm.core.tracker import APART, Tracked

Cause = Literal[
    "success",
    "exit_code",
    "signal",
    "out_of_memory",
    "time_limit",
    "cancelled",
    "preempted",
    "node_failure",
    "interrupted",
    "lost",
    "stopped",
]

#: how long to ask for Slurm's word on a signalled or failed end, in seconds
PATIENCE = 45.0
#: how long accounting may take to tell more about an end that is certain, in seconds
ENRICHMENT = 4.0
#: how long accounting may know a job as going on that the queue does not know any more, in seconds
ACCOUNT_LAG = 120.0
#: how long a record may stay invisible after Slurm says that the job ended (NFS: up to a minute), in seconds
RECORD_LAG = 75.0
#: ... on a file system that shows at once what was written elsewhere
_RECORD_LAG_PROMPT = 15.0
#: ... where Slurm's word alone would be enough
_RECORD_LAG_INTERRUPTED = 5.0

#: the phase of a component's exit line that the job wrote without ever starting it
NOT_BEGUN = "not-begun"
#: slurmstepd's line on memory in 22.05 and in 24.11
_STEPD = re.compile(r"slurmstepd\S*: error: Detected \d+ oom[-_]kill event")
_BY_STATE: dict[JobState, Cause] = {
    JobState.CANCELLED: "cancelled",
    JobState.TIMEOUT: "time_limit",
    JobState.PREEMPTED: "preempted",
    JobState.NODE_FAIL: "node_failure",
    JobState.OUT_OF_MEMORY: "out_of_memory",
}


@dataclass(frozen=True)
class Wait:
    """Nothing is decided yet; ``need`` says what would help: Slurm's word now, or another reading of the record."""

    need: Literal["time", "word", "record"] = "time"


@dataclass(frozen=True)
class Verdict:
    """How the job ended.

    Args:
        cause: ``success``, or what ended it.
        evidence: who says so, for people.
        code: the payload's exit code, where known.
        signal: number of the signal that ended it, or 0.
        exit: the exit line, where there is one.
        word: Slurm's word, where it was asked for.
    """

    cause: Cause
    evidence: str
    code: int | None = None
    signal: int = 0
    exit: Exit | None = None
    word: Row | None = None

    @property
    def success(self) -> bool:
        """Whether the payload did its work to the end."""
        return self.cause == "success"


def decide(tracked: Tracked, now: float) -> Verdict | Wait:
    """Return how the job ended, or what it takes to know."""
    ended = tracked.record.exit
    if ended is None:
        return _without_exit(tracked, now)
    if ended.phase == NOT_BEGUN or (ended.signalled and tracked.record.stopped is not None):
        return _by_its_job(tracked, ended)
    if ended.signalled:
        return _signalled(tracked, ended, now)
    return _by_itself(tracked, ended, now)


def asks_log(tracked: Tracked, verdict: Verdict) -> bool:
    """Whether the log can tell more: of a step that ran out of memory, where accounting says nothing."""
    accounted = tracked.account is not None and tracked.account.state.terminal
    return tracked.asks and not accounted and verdict.cause in ("exit_code", "signal")


def with_log(verdict: Verdict, log: str) -> Verdict:
    """Return the verdict after a look at the job's log."""
    if _STEPD.search(log) is None:
        return verdict
    return replace(verdict, cause="out_of_memory", evidence=f"{verdict.evidence}; slurmstepd's line in its log")


def _by_its_job(tracked: Tracked, ended: Exit) -> Verdict:
    """A component that its job ended, or did not let begin: nobody else need be asked."""
    note = tracked.record.stopped
    cause: Cause = "time_limit" if note is not None and note.cause == "time_limit" else "stopped"
    code = None if ended.phase == NOT_BEGUN else ended.code
    return Verdict(cause, "the record, as the job wrote it", code, exit=ended, word=tracked.word)


def _by_itself(tracked: Tracked, ended: Exit, now: float) -> Verdict | Wait:
    """An exit line without a signal is final; accounting may still name the reason for a failure."""
    word = tracked.word
    if ended.code == 0 and not _may_tell_what_was_used(tracked, now):
        return Verdict("success", "the job's own record", 0, exit=ended, word=word)
    never_began = ended.phase == "session"
    if tracked.asks and not never_began and not _told_all(tracked) and _since_end(tracked, now) < ENRICHMENT:
        return Wait("word")
    cause: Cause = "out_of_memory" if word is not None and _ran_out_of_memory(word) else "exit_code"
    evidence = "the job's own record" + (" and Slurm's word on its memory" if cause == "out_of_memory" else "")
    return Verdict(cause, evidence, ended.code, exit=ended, word=word)


def _may_tell_what_was_used(tracked: Tracked, now: float) -> bool:
    """Whether accounting is worth a moment after a good end: the job's record knows its first node, and no GPU."""
    start = tracked.record.start
    if start is None or not tracked.asks or not tracked.accounts or not (start.gpus or start.count > 1):
        return False
    return not _told_all(tracked) and _since_end(tracked, now) < ENRICHMENT


def _told_all(tracked: Tracked) -> bool:
    """Whether nobody will tell more of memory: of a step that ran out of it, accounting alone knows."""
    word = tracked.word
    if word is None or not word.state.terminal:
        return False
    return (
        _ran_out_of_memory(word)
        or not tracked.accounts
        or (tracked.account is not None and tracked.account.state.terminal)
    )


def _signalled(tracked: Tracked, ended: Exit, now: float) -> Verdict | Wait:
    """A signal says how, not why: payloads trap TERM, save, and exit 0."""
    if not tracked.asks:
        cause = "interrupted" if ended.signals else _by_signal(tracked)
        return Verdict(cause, "the job's own record", ended.code, _signal(tracked, ended), ended)
    word = tracked.word
    if word is None or not word.state.terminal:
        if _may_be_told(tracked, word, now):
            return Wait("word")
        evidence = "the job's own record; Slurm gave no reason"
        cause = "interrupted" if ended.signals else _by_signal(tracked)
        return Verdict(cause, evidence, ended.code, _signal(tracked, ended), ended, word)
    if tracked.doubtful and _since_end(tracked, now) < PATIENCE:
        return Wait("word")
    if tracked.reread <= tracked.spoken or _may_be_on_another_start(tracked, ended, word, now):
        return Wait("record")  # the word may be on a later start, the record of which has not arrived yet
    cause, evidence = _why(tracked, ended, word)
    return Verdict(cause, evidence, ended.code, _signal(tracked, ended), ended, word)


def _may_be_on_another_start(tracked: Tracked, ended: Exit, word: Row, now: float) -> bool:
    """Whether a job that was told to stop has a last word as if it had not been: it was started again, perhaps."""
    if tracked.is_step:
        return False
    odd = bool(ended.signals) and not word.state.interrupts and not _ran_out_of_memory(word)
    return odd and tracked.warning not in ended.signals and tracked.late and now - tracked.spoken < RECORD_LAG


def _may_be_told(tracked: Tracked, word: Row | None, now: float) -> bool:
    """Whether Slurm can still be expected to say why: it knows the job, or has had too little time."""
    if tracked.is_step:
        # of an allocation that goes on, accounting alone knows the steps
        ending = word is not None and word.state is JobState.ENDING
        return ending or (tracked.accounts and now - (tracked.ended or now) < PATIENCE)
    if word is not None and (tracked.queue is not None or not tracked.absences):
        return True  # requeued, or still being ended
    if tracked.absences and not tracked.gone:
        return now - tracked.absences[0] < PATIENCE + APART
    return now - max(tracked.ended or 0.0, tracked.alive) < PATIENCE


def _signal(tracked: Tracked, ended: Exit) -> int:
    usage = tracked.record.usage
    return (usage.signal if usage else 0) or max(ended.code - 128, 0)


def _by_signal(tracked: Tracked) -> Cause:
    """A code above 128 need not mean that a signal ended the payload: where that was measured, it is known."""
    usage = tracked.record.usage
    return "exit_code" if usage is not None and not usage.signal else "signal"


def _why(tracked: Tracked, ended: Exit, word: Row) -> tuple[Cause, str]:
    """Return what stopped a payload that was signalled, and who says so."""
    if word.state.interrupts:
        return _BY_STATE[word.state], f"Slurm's word {word.word}"
    if _ran_out_of_memory(word):
        return "out_of_memory", f"Slurm's word {word.word}"
    if not ended.signals:
        return _by_signal(tracked), f"the job's own record; Slurm says {word.word}"
    if tracked.warning in ended.signals:
        return "time_limit", "the warning before the time limit, in the job's own record"
    return "interrupted", f"the job's own record; Slurm says {word.word}"


def _without_exit(tracked: Tracked, now: float) -> Verdict | Wait:
    word = tracked.word
    if word is not None and word.state.terminal:
        return _word_alone(tracked, word, now)
    # of a process beside us the first look is sure; a queue may lag behind
    if not tracked.gone:
        return Wait()
    if word is not None and now - tracked.absences[0] < ACCOUNT_LAG:
        return Wait("word")
    if tracked.reread <= tracked.absences[-1]:
        return Wait("record")
    if not tracked.asks:
        return Verdict("lost", "no such process, and no exit in the job's record")
    return Verdict("lost", "two looks at the queue that did not know it, and no exit in the job's record", word=word)


def _word_alone(tracked: Tracked, word: Row, now: float) -> Verdict | Wait:
    """Slurm says that it ended, and the record says nothing: it may only be late."""
    if _since_end(tracked, now) < _record_lag(tracked, word):
        return Wait("word" if word.state.may_come_back or not _told_all(tracked) else "record")
    if tracked.reread <= tracked.spoken:
        return Wait("record")
    evidence = f"Slurm's word {word.word}; the job left no record of its end"
    cause: Cause = "lost"
    if word.state.interrupts:
        cause = _BY_STATE[word.state]
    elif _ran_out_of_memory(word):
        cause = "out_of_memory"
    elif word.state is JobState.FAILED and (word.signal or word.exit_code) and not word.around:
        cause = "signal" if word.signal else "exit_code"  # of the batch shell, which could write no more
    return Verdict(cause, evidence, word.exit_code, word.signal or 0, word=word)


def _record_lag(tracked: Tracked, word: Row) -> float:
    if tracked.doubtful:
        return PATIENCE
    if word.state.interrupts or word.state is JobState.OUT_OF_MEMORY:
        return _RECORD_LAG_INTERRUPTED
    return RECORD_LAG if tracked.late else _RECORD_LAG_PROMPT


def _since_end(tracked: Tracked, now: float) -> float:
    return 0.0 if tracked.ended is None else now - tracked.ended


def _ran_out_of_memory(word: Row) -> bool:
    return word.out_of_memory or word.state is JobState.OUT_OF_MEMORY
