"""How a job ended: the only place that decides.

The job's own record says *how* it ended; Slurm says *why*, where a signal was in play. Absence is never success,
a failed query is no observation, and what nobody can vouch for is an error of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dagster_slurm.core.record import Exit
from dagster_slurm.core.states import JobState
from dagster_slurm.core.tracker import APART, Row, Tracked

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
]

#: how long to ask for Slurm's word on a signalled or failed end, in seconds
PATIENCE = 45.0
#: how long accounting may take to tell more about an end that is certain, in seconds
ENRICHMENT = 4.0
#: how long a record may stay invisible after Slurm says that the job ended (NFS: up to a minute), in seconds
RECORD_LAG = 75.0
#: ... where Slurm's word alone would be enough
_RECORD_LAG_INTERRUPTED = 5.0

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
    if ended.signalled:
        return _signalled(tracked, ended, now)
    return _by_itself(tracked, ended, now)


def _by_itself(tracked: Tracked, ended: Exit, now: float) -> Verdict | Wait:
    """An exit line without a signal is final; accounting may still name the reason for a failure."""
    if ended.code == 0:
        return Verdict("success", "the job's own record", 0, exit=ended, word=tracked.word)
    word = tracked.word
    if tracked.asks and not _last_word(word) and _since_end(tracked, now) < ENRICHMENT:
        return Wait("word")
    cause: Cause = "out_of_memory" if word is not None and _ran_out_of_memory(word) else "exit_code"
    evidence = "the job's own record" + (" and Slurm's word on its memory" if cause == "out_of_memory" else "")
    return Verdict(cause, evidence, ended.code, exit=ended, word=word)


def _signalled(tracked: Tracked, ended: Exit, now: float) -> Verdict | Wait:
    """A signal says how, not why: payloads trap TERM, save, and exit 0."""
    usage = tracked.record.usage
    signal = (usage.signal if usage else 0) or max(ended.code - 128, 0)
    if not tracked.asks:
        cause: Cause = "interrupted" if ended.signals else "signal"
        return Verdict(cause, "the job's own record", ended.code, signal, ended)
    word = tracked.word
    if word is None or not word.state.terminal:
        if _since_end(tracked, now) < PATIENCE or (word is not None and _goes_on(word)):
            return Wait("word")
        return Verdict("interrupted", "the job's own record; Slurm gave no reason", ended.code, signal, ended, word)
    if tracked.reread <= tracked.spoken:
        return Wait("record")  # the word may be on a later start, the record of which has not arrived yet
    cause, evidence = _why(tracked, ended, word)
    return Verdict(cause, evidence, ended.code, signal, ended, word)


def _why(tracked: Tracked, ended: Exit, word: Row) -> tuple[Cause, str]:
    """Return what stopped a payload that was signalled, and who says so."""
    if _ran_out_of_memory(word):
        return "out_of_memory", f"Slurm's word {word.word}"
    if word.state.interrupts:
        return _BY_STATE[word.state], f"Slurm's word {word.word}"
    if not ended.signals:
        return "signal", f"the job's own record; Slurm says {word.word}"
    if tracked.warning in ended.signals:
        return "time_limit", "the warning before the time limit, in the job's own record"
    return "interrupted", f"the job's own record; Slurm says {word.word}"


def _without_exit(tracked: Tracked, now: float) -> Verdict | Wait:
    word = tracked.word
    if word is not None and word.state.terminal:
        return _word_alone(tracked, word, now)
    if not tracked.absences:
        return Wait()
    # of a process beside us the first look is sure; a queue may lag behind
    if tracked.asks and tracked.absences[-1] - tracked.absences[0] < APART:
        return Wait()
    if tracked.reread <= tracked.absences[-1]:
        return Wait("record")
    if not tracked.asks:
        return Verdict("lost", "no such process, and no exit in the job's record")
    return Verdict("lost", "two looks at the queue that did not know it, and no exit in the job's record", word=word)


def _word_alone(tracked: Tracked, word: Row, now: float) -> Verdict | Wait:
    """Slurm says that it ended, and the record says nothing: it may only be late."""
    hard = word.state.interrupts or word.state is JobState.OUT_OF_MEMORY
    if _since_end(tracked, now) < (_RECORD_LAG_INTERRUPTED if hard else RECORD_LAG):
        return Wait("word" if word.state.may_come_back else "record")
    if tracked.reread <= tracked.spoken:
        return Wait("record")
    evidence = f"Slurm's word {word.word}; the job left no record of its end"
    if hard or _ran_out_of_memory(word):
        cause = "out_of_memory" if _ran_out_of_memory(word) else _BY_STATE[word.state]
        return Verdict(cause, evidence, word.exit_code, word.signal or 0, word=word)
    if word.state is JobState.FAILED:
        return Verdict("exit_code", evidence, word.exit_code, word.signal or 0, word=word)
    return Verdict("lost", evidence, word=word)


def _since_end(tracked: Tracked, now: float) -> float:
    return 0.0 if tracked.ended is None else now - tracked.ended


def _last_word(word: Row | None) -> bool:
    return word is not None and word.state.terminal


def _goes_on(word: Row) -> bool:
    """Requeued, or still being ended: the scheduler knows the job well."""
    return word.state in (JobState.PENDING, JobState.RUNNING, JobState.ENDING, JobState.UNKNOWN)


def _ran_out_of_memory(word: Row) -> bool:
    return word.out_of_memory or word.state is JobState.OUT_OF_MEMORY
