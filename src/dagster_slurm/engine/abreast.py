"""Several runs that are followed at once, each by a thread of its own: the components of a job."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from dagster_slurm.core.observations import Event
from dagster_slurm.core.verdict import Verdict
from dagster_slurm.engine.following import Following
from dagster_slurm.engine.launch import Sink
from dagster_slurm.engine.unit_run import UnitRun
from dagster_slurm.errors import HostError, SubmissionDelayed


class _Abandoned(Exception):
    """Nobody waits for the verdict any more."""


class OneAtATime:
    """A sink that several threads may hand things to.

    Args:
        sink: gets them, one after the other.
        lock: shared by all sinks that must not be called at once.
    """

    def __init__(self, sink: Sink, lock: threading.RLock) -> None:
        self._sink = sink
        self._lock = lock

    def output(self, stream: str, data: bytes) -> None:
        """Take bytes of ``stdout`` or ``stderr``."""
        with self._lock:
            self._sink.output(stream, data)

    def messages(self, restart: int, data: bytes) -> None:
        """Take bytes of the Pipes messages of one restart."""
        with self._lock:
            self._sink.messages(restart, data)

    def event(self, event: Event) -> None:
        """Take what happened to the job."""
        with self._lock:
            self._sink.event(event)

    def absent(self, error: HostError | None) -> None:
        """Hear that the way to the host is barred, or free again."""
        with self._lock:
            self._sink.absent(error)

    def delayed(self, error: SubmissionDelayed) -> None:
        """Hear that the submission is not taken now."""
        with self._lock:
            self._sink.delayed(error)

    def tell(self, text: str) -> None:
        """Hear what is done before the submission."""
        with self._lock:
            self._sink.tell(text)


class Abreast:
    """Follows several runs until it is decided how each ended.

    Args:
        followings: the runs.
    """

    def __init__(self, followings: Sequence[Following | UnitRun]) -> None:
        self._followings = followings
        self._verdicts: dict[int, Verdict] = {}
        self._errors: list[BaseException] = []
        self._abandoned = False
        self._done = threading.Condition()
        for number, following in enumerate(followings):
            name = f"component {number} of {following.tracked.job}"
            threading.Thread(target=self._follow, args=(number, following), name=name, daemon=True).start()

    def check(self) -> None:
        """Raise what kept a run from being followed."""
        if self._errors:
            raise self._errors[0]

    def verdicts(self, on_tick: Callable[[], None]) -> list[Verdict]:
        """Wait for all verdicts, now that the job has ended; ``on_tick`` is called at least once a second."""
        for following in self._followings:
            following.hurry()
        while True:
            with self._done:
                if len(self._verdicts) < len(self._followings) and not self._errors:
                    self._done.wait(0.5)
                over = len(self._verdicts) == len(self._followings)
            self.check()
            if over:
                return [self._verdicts[number] for number in range(len(self._followings))]
            on_tick()

    def abandon(self) -> None:
        """Let the threads end."""
        self._abandoned = True

    def _follow(self, number: int, following: Following | UnitRun) -> None:
        try:
            verdict = following.verdict(on_tick=self._tick)
        except _Abandoned:
            return
        except BaseException as error:  # noqa: BLE001 - of a thread; raised again where somebody waits
            with self._done:
                self._errors.append(error)
                self._done.notify()
            return
        with self._done:
            self._verdicts[number] = verdict
            self._done.notify()

    def _tick(self) -> None:
        if self._abandoned:
            raise _Abandoned
