"""One allocation of a session, as a process that needs it sees it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from dagster_slurm.core.observations import Event
from dagster_slurm.core.verdict import Verdict
from dagster_slurm.engine.following import Following
from dagster_slurm.engine.launch import Launch
from dagster_slurm.engine.submission import Submitted
from dagster_slurm.errors import HostError, SubmissionDelayed


class Log:
    """Takes what a holder's run says: its agent says what matters in its record."""

    def __init__(self) -> None:
        self.text = ""

    def output(self, stream: str, data: bytes) -> None:
        """Keep the end of it, for an error."""
        self.text = (self.text + data.decode("utf-8", "replace"))[-4000:] if stream else self.text

    def messages(self, restart: int, data: bytes) -> None:
        """There are none."""

    def event(self, event: Event) -> None:
        """The units' own following tells."""

    def absent(self, error: HostError | None) -> None:
        """The units' own following tells."""

    def delayed(self, error: SubmissionDelayed) -> None:
        """It is submitted by then."""

    def tell(self, text: str) -> None:
        """It is submitted by then."""


@dataclass
class Generation:
    """One allocation of a session."""

    number: int
    launch: Launch
    submitted: Submitted
    log: Log
    following: Following
    verdict: Verdict | None = None
    closed: str = ""
    followed: bool = False
    prepared: bool = False
    news: list[str] = field(default_factory=list[str])
    judged: threading.Event = field(default_factory=threading.Event)

    @property
    def job(self) -> str:
        """The id of the job that holds it."""
        return self.submitted.id

    @property
    def began(self) -> bool:
        """Whether its agent is at work, as far as is known."""
        return self.following.tracked.started

    @property
    def wants_successor(self) -> bool:
        """Whether it has said that work waits in it that it may have no time for."""
        return bool(self.following.tracked.record.facts.get("successor"))

    @property
    def share(self) -> int:
        """MiB that go with each of its CPUs; 0 as long as it has not said so."""
        return int(self.following.tracked.record.facts.get("session_share_mib", 0))

    def why_over(self) -> str:
        """Return why it takes no more work; nothing as long as it does."""
        said = self.closed or str(self.following.tracked.record.facts.get("closed", ""))
        if said or self.verdict is None:
            return said
        return "it ended" if self.verdict.success else self.verdict.cause.replace("_", " ")
