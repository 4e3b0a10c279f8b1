"""One launch as a unit of a session, from its hand-over to its end, in whichever allocation it begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dagster_slurm.core.tracker import Tracked
from dagster_slurm.core.verdict import Verdict
from dagster_slurm.engine.following import Following
from dagster_slurm.engine.host import Host
from dagster_slurm.engine.launch import Launch, Sink
from dagster_slurm.engine.sessions import Generation, Moved, Session
from dagster_slurm.engine.submission import Submitted
from dagster_slurm.schedulers.slurm import Step


@dataclass(frozen=True)
class Work:
    """What an allocation is handed.

    Args:
        launch: what to run.
        flags: what it asks of the allocation; see :func:`dagster_slurm.engine.units.flags`.
    """

    launch: Launch
    flags: Mapping[str, Any]


class UnitRun:
    """One launch in a session. For those who follow it, it is what :class:`Following` is for a job of its own.

    It may be begun by any process, at any time: the run directory decides, and a unit that has begun is adopted.

    Args:
        session: which.
        host: where.
        work: what an allocation is handed. A function returns it for each allocation anew, always for the same run
            directory, and for none if the unit has begun, when nothing but the directory is looked at.
        sink: who takes what the run says.
    """

    def __init__(
        self, session: Session, host: Host, work: Work | Callable[[Generation | None], Work], sink: Sink
    ) -> None:
        self._session = session
        self._host = host
        self._work = work
        self._sink = sink
        self._generation: Generation | None = None
        self._following: Following | None = None
        self._launch: Launch | None = None
        self.submitted: Submitted | None = None

    def hand_in(self) -> Submitted:
        """Hand it to the session, or adopt it; :meth:`verdict` does that by itself.

        Raises:
            SessionFailed: the session's allocation ended by itself.
            SubmissionRefused: Slurm will not take it.
            HostError, RequestFailed: as for any submission.
        """
        submitted, self._generation, self._launch = self._session.submit(self._work_for, self._sink)
        self._following = Following(self._host, Step(), self._launch, submitted, self._sink)
        self.submitted = submitted
        return submitted

    @property
    def handed_over(self) -> bool:
        """Whether it was handed to an allocation, in which it may have to wait; else it had begun before."""
        return self._generation is not None

    @property
    def launch(self) -> Launch:
        """What was handed over last."""
        assert self._launch is not None, "hand it in first"  # noqa: S101 - a fault in the caller
        return self._launch

    @property
    def following(self) -> Following:
        """The unit where it is now."""
        assert self._following is not None, "hand it in first"  # noqa: S101 - a fault in the caller
        return self._following

    @property
    def tracked(self) -> Tracked:
        """What is known of it."""
        return self.following.tracked

    def hurry(self) -> None:
        """Ask the scheduler soon, unless it is decided already: from any thread."""
        self.following.hurry()

    def tail(self, file: str) -> str:
        """Return the end of a file in the run directory."""
        return self.following.tail(file)

    def verdict(self, *, on_tick: Callable[[], None] | None = None) -> Verdict:
        """Hand on what the unit says until it is decided how it ended, in one allocation or another.

        Args:
            on_tick: called at least once a second.

        Raises:
            SessionFailed, HostError, RequestFailed: as :meth:`hand_in`.
        """
        if self._following is None:
            self.hand_in()
        while True:
            try:
                return self._here(on_tick)
            except Moved as moved:
                self._sink.tell(f"The work waits, and goes to another allocation: {moved}.")
                self.hand_in()

    def _here(self, on_tick: Callable[[], None] | None) -> Verdict:
        following, look = self.following, self._session.watch(self._generation, self._sink)

        def tick() -> None:
            if on_tick is not None:
                on_tick()
            look(following.tracked)

        verdict = following.verdict(on_tick=tick)
        self._session.refuse_what_never_began(self._generation, following.tracked)
        return verdict

    def _work_for(self, generation: Generation | None) -> tuple[Launch, Mapping[str, Any]]:
        work = self._work if isinstance(self._work, Work) else self._work(generation)
        return work.launch, work.flags
