"""Components as units of a session: each is handed over when those that it waits for have succeeded.

This process decides when one begins and is ended, and nothing in the allocation does: whoever takes the call up again
adopts what has begun, and hands over what has not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from dagster_slurm.core.components import Component
from dagster_slurm.core.record import Note, Record
from dagster_slurm.core.tracker import Tracked
from dagster_slurm.core.verdict import Verdict
from dagster_slurm.engine.unit_run import UnitRun
from dagster_slurm.errors import DagsterSlurmError

#: how long between two looks at what is due, in seconds
_LOOK = 0.5
#: ... and between two tries to end a unit of a host that does not answer
_AGAIN = 5.0


class _Abandoned(Exception):
    """Nobody waits for the verdict any more."""


@dataclass
class Member:
    """A component on its way.

    Args:
        component: which.
        unit: its run.
        cancel: ends it; returns the ids that were asked for.

    Attributes:
        verdict: how it ended, once that is decided.
        stopped: why it was ended or never begun, for people; empty if it ended by itself.
        begun: whether it was handed over.
    """

    component: Component
    unit: UnitRun
    cancel: Callable[[], Sequence[str]]
    state: Literal["waits", "runs", "is over"] = "waits"
    verdict: Verdict | None = None
    stopped: str = ""
    begun: bool = False
    told_at: float | None = None

    @property
    def success(self) -> bool:
        """Whether it has succeeded."""
        return self.verdict is not None and self.verdict.success

    @property
    def tracked(self) -> Tracked:
        """What is known of it, with why it was stopped."""
        found = self.unit.tracked if self.begun else Tracked("", time.monotonic(), True)
        if not self.stopped:
            return found
        note = Note(found.record.restart, stopped=self.stopped, cause="stopped")
        record: Record = replace(found.record, notes=(*found.record.notes, note))
        return replace(found, record=record)


class SideBySideUnits:
    """Runs the components of a call in a session.

    Args:
        members: the components, in their order.
        on_failure: ``cancel``: one that fails ends the others; ``wait``: they go on.
        grace: seconds that the others have before.
        handed_in: hears of each that was handed over, or adopted.
    """

    def __init__(
        self, members: Sequence[Member], *, on_failure: str, grace: float, handed_in: Callable[[Member], None]
    ) -> None:
        self._members = members
        self._handed_in = handed_in
        self._by_id = {member.component.id: member for member in members}
        self._cancels = on_failure == "cancel"
        self._grace = grace
        self._failed: Member | None = None
        self._stop_at: float | None = None
        self._errors: list[BaseException] = []
        self._abandoned = False
        self._changed = threading.Condition()

    def to_the_end(self, on_tick: Callable[[], None]) -> None:
        """Return when all components have a verdict; ``on_tick`` is called at least once a second.

        Raises:
            SessionFailed: the session's allocation ended by itself.
            SubmissionRefused: Slurm will not take it.
            HostError, RequestFailed: as for any submission.
        """
        while True:
            self._begin()
            self._stop()
            with self._changed:
                if all(member.state == "is over" for member in self._members):
                    return
                if not self._errors and not self._may_begin():
                    self._changed.wait(self._pause())
            if self._errors:
                raise self._errors[0]
            on_tick()

    def abandon(self) -> None:
        """Let the threads end."""
        self._abandoned = True

    def _begin(self) -> None:
        """Hand over what may begin, and give up what cannot any more."""
        for member in self._members:
            if member.state != "waits":
                continue
            lost = next(
                (other for other in self._before(member) if other.state == "is over" and not other.success), None
            )
            blamed = self._failed if self._cancels else None
            blamed = blamed or (lost and (self._failed or lost))
            if blamed is not None:
                self._over(member, f"was not started, since component {blamed.component.id} failed")
            elif all(other.success for other in self._before(member)):
                member.unit.hand_in()
                member.state, member.begun = "runs", True
                self._handed_in(member)
                name = f"component {member.component.id}"
                threading.Thread(target=self._follow, args=(member,), name=name, daemon=True).start()

    def _may_begin(self) -> bool:
        """Whether one waits for nothing any more."""
        return any(
            member.state == "waits" and all(other.state == "is over" for other in self._before(member))
            for member in self._members
        )

    def _before(self, member: Member) -> list[Member]:
        return [self._by_id[name] for name in member.component.after]

    def _stop(self) -> None:
        """End what runs, when the grace period of the component that failed is over."""
        now = time.monotonic()
        if self._stop_at is None or self._failed is None or now < self._stop_at:
            return
        for member in self._members:
            if member.state != "runs" or member.stopped or (member.told_at and now < member.told_at + _AGAIN):
                continue
            why = f"since component {self._failed.component.id} failed"
            # before it is told: it may have ended, and be judged, by the time that the answer is here
            member.told_at, member.stopped = now, f"was ended, {why}"
            try:
                ended = member.cancel()
            except DagsterSlurmError:
                ended = ()  # the host is away; tried again
            if any(job.endswith(".pending") for job in ended):
                self._over(member, f"was not started, {why}")
            elif not ended and member.state == "runs":
                member.stopped = ""

    def _over(self, member: Member, why: str) -> None:
        member.stopped, member.state = why, "is over"
        member.verdict = Verdict("stopped", "the component that failed")

    def _pause(self) -> float:
        left = _LOOK if self._stop_at is None else self._stop_at - time.monotonic()
        return min(left, _LOOK) if left > 0 else _LOOK

    def _follow(self, member: Member) -> None:
        def tick() -> None:
            if self._abandoned or member.state == "is over":
                raise _Abandoned

        try:
            verdict = member.unit.verdict(on_tick=tick)
        except _Abandoned:
            return
        except BaseException as error:  # noqa: BLE001 - of a thread; raised again where somebody waits
            with self._changed:
                if member.state == "runs":
                    self._errors.append(error)
                self._changed.notify()
            return
        with self._changed:
            if member.state == "runs":
                self._judge(member, verdict)
            self._changed.notify()

    def _judge(self, member: Member, verdict: Verdict) -> None:
        told = verdict.exit is None or verdict.exit.signalled
        if member.stopped and not verdict.success and told:
            verdict = replace(verdict, cause="stopped", evidence=f"this process, which ended it; {verdict.evidence}")
        else:
            member.stopped = ""
        member.verdict, member.state = verdict, "is over"
        if not verdict.success and self._failed is None:
            self._failed = member
            if self._cancels:
                self._stop_at = time.monotonic() + self._grace
