"""Short words for what is observed of a job."""

from __future__ import annotations

from dagster_slurm.core.observations import Looked, Observation, Recorded, Row
from dagster_slurm.core.record import Exit, Record, Start, Usage
from dagster_slurm.core.states import from_word
from dagster_slurm.core.tracker import Tracked, advance
from dagster_slurm.core.verdict import Verdict, Wait, decide

JOB = "42"
SUBMITTED = 100.0


def start(restart: int = 0, time: float = 1000.0) -> Start:
    return Start(JOB, restart, time, node="node1", nodes="node1", cpus=2)


def exit_(code: int = 0, *signals: str, restart: int = 0, time: float = 1010.0, phase: str = "payload") -> Exit:
    """An exit line as job.sh writes it."""
    signalled = bool({"TERM", "INT", "HUP"} & set(signals)) or 128 < code <= 192
    return Exit(restart, code, signalled, time, signals, phase)


def usage(signal: int = 0, restart: int = 0) -> Usage:
    return Usage(restart, 2048, 1.5, signal)


def record(*lines: Start | Exit | Usage) -> Record:
    return Record(
        tuple(line for line in lines if isinstance(line, Start)),
        tuple(line for line in lines if isinstance(line, Usage)),
        tuple(line for line in lines if isinstance(line, Exit)),
    )


def row(word: str, *, oom: bool = False, user: str = "", code: int | None = None) -> Row:
    return Row(JOB, from_word(word), word, user=user, out_of_memory=oom, exit_code=code)


def queue(word: str | None, begun: float, **facts: bool) -> Looked:
    return Looked("queue", None if word is None else row(word, **facts), begun)


def account(word: str | None, begun: float, **facts: bool) -> Looked:
    return Looked("accounting", None if word is None else row(word, **facts), begun)


class Watched:
    """A job that is watched: observations go in, decisions come out."""

    def __init__(self, *, asks: bool = True, warning: str = "") -> None:
        self.tracked = Tracked(JOB, SUBMITTED, asks, warning)
        self.now = SUBMITTED
        self.events: list[object] = []

    def see(self, *observations: Observation, after: float = 0.0) -> Watched:
        """Observe, some seconds later."""
        self.now += after
        for observation in observations:
            self.tracked, events = advance(self.tracked, observation, self.now)
            self.events += events
        return self

    def record(self, *lines: Start | Exit | Usage, after: float = 1.0, whole: bool = False) -> Watched:
        """See these lines; ``whole``: the record was read for its own sake."""
        self.now += after
        return self.see(Recorded(record(*lines), self.now, whole))

    def reread(self, after: float = 1.0) -> Watched:
        """Read the record again and find what is known."""
        self.now += after
        return self.see(Recorded(self.tracked.record, self.now, whole=True))

    def queue(self, word: str | None, after: float = 1.0, **facts: bool) -> Watched:
        self.now += after
        return self.see(queue(word, self.now, **facts))

    def account(self, word: str | None, after: float = 1.0, **facts: bool) -> Watched:
        self.now += after
        return self.see(account(word, self.now, **facts))

    def decision(self, after: float = 0.0) -> Verdict | Wait:
        self.now += after
        return decide(self.tracked, self.now)

    def cause(self, after: float = 0.0) -> str:
        """The cause, or what is needed first."""
        decision = self.decision(after)
        return decision.cause if isinstance(decision, Verdict) else f"wait for {decision.need}"
