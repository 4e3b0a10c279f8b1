"""A host as one process sees it: at most one channel, requests over it, and the runs that are followed through it.

All requests may be repeated, so a lost channel is opened again and the request asked again. An absence of any length
fails nothing that was under way.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from dagster_slurm.engine.answers import error_for
from dagster_slurm.engine.channel import Channel
from dagster_slurm.engine.followed import Absent, Back, Followed
from dagster_slurm.engine.keeper import Keeper
from dagster_slurm.engine.opening import TURN_PAUSE, Opening, too_late
from dagster_slurm.engine.pending import Answer, Pending
from dagster_slurm.engine.turns import HOLD, Turns
from dagster_slurm.engine.words import Words
from dagster_slurm.errors import CannotConnect, DagsterSlurmError, HostError
from dagster_slurm.schedulers.scheduler import Scheduler
from dagster_slurm.transport.stream import Transport

#: the agent sends something at least every 15 s; a channel silent for longer is dead, in seconds
_SILENCE = 90.0
#: a channel that nobody uses is closed after so many seconds
_IDLE = 30.0
_COME_BACK = 5.0

Say = Callable[[HostError], None]


class Host:
    """One account on one host, through one transport.

    Args:
        transport: how to get there.
        scheduler: what is spoken there.
        turns: where the shared connection may be short of sessions.
    """

    def __init__(self, transport: Transport, scheduler: Scheduler, turns: Turns | None = None) -> None:
        self.name = transport.name
        self._transport = transport
        self._scheduler = scheduler
        self._turns = turns
        self._lock = threading.Lock()
        self._one_opens = threading.Lock()
        self._opening = Opening(self.name, self._make, turns, self._tell)
        self._say: Say | None = None
        self._channel: Channel | None = None
        self._answered_once = False
        self._heard = self._used = time.monotonic()
        self._numbers = itertools.count(1)
        self._pending: dict[int, Pending] = {}
        self._runs: dict[int, Followed] = {}
        self._keeper = Keeper(f"keeper of {self.name}", self._lock, self._needed, self._keep)
        self._words = Words(scheduler, self.request, self._keeper.wake)
        self._known: dict[str, dict[str, Any]] = {}
        self._leases: set[str] = set()

    def hello(self, folder: str, say: Say | None = None) -> dict[str, Any]:
        """Return who and where the agent is, and what ``folder`` means there (``paths``); asked once."""
        return self.once("hello", say, expand=[folder])

    def once(self, operation: str, say: Say | None = None, **fields: Any) -> dict[str, Any]:
        """Ask what does not change while this process runs: only the first time."""
        key = f"{operation} {fields}"
        if key not in self._known:
            self._known[key], _ = self.request(operation, say=say, **fields)
        return self._known[key]

    def request(
        self,
        operation: str,
        body: bytes = b"",
        *,
        say: Say | None = None,
        patient: bool = False,
        within: float | None = None,
        **fields: Any,
    ) -> Answer:
        """Ask the agent, however often it takes.

        Args:
            operation: which request.
            body: what goes with it.
            say: called when the way is barred and we wait.
            patient: wait without end even for a host that never answered (its jobs are known to exist).
            within: give up after so many seconds.
            fields: of the request.

        Raises:
            HostError: the host never answered, or refuses us, or did not answer in time.
            RequestFailed: it answered that it cannot.
        """
        deadline = None if within is None else time.monotonic() + within
        answer = None
        while answer is None:
            channel = self._open(say, patient, deadline)
            answer = self._exchange(channel, {"op": operation, **fields}, body, deadline)
        self._used = time.monotonic()
        head, extra = answer
        if "error" in head:
            raise error_for(head["error"], self.name)
        return head["ok"], extra

    def notify(self, operation: str, body: bytes = b"", **fields: Any) -> None:
        """Tell the agent something that needs no answer; lost with the channel, if that is lost."""
        if (channel := self._channel) is not None:
            try:
                channel.send({"op": operation, **fields}, body)
            except CannotConnect as error:
                self._lost(channel, error)

    def follow(self, directory: str, job: Mapping[str, Any]) -> Followed:
        """Follow a run: what arrives for it is found in what is returned, until :meth:`leave`."""
        followed = Followed(next(self._numbers), directory, dict(job), self._scheduler.kind)
        with self._lock:
            self._runs[followed.number] = followed
            channel = self._channel
            self._keeper.have()
        if channel is not None:
            self._watch(followed)
        return followed

    def renamed(self, followed: Followed, job: str) -> None:
        """Another job than was submitted won the claim: that one is the run."""
        followed.job = {"id": job}
        if self._scheduler.queue:
            self.notify("job", run=followed.number, job=job)

    def leave(self, followed: Followed) -> None:
        """Follow a run no more."""
        with self._lock:
            self._runs.pop(followed.number, None)
        self._words.forget(followed)
        self.notify("unwatch", run=followed.number)

    def lease(self, session: str, *, held: bool) -> None:
        """Keep a session alive from now on, or not any more; over other channels, too, if this one is lost."""
        with self._lock:
            (self._leases.add if held else self._leases.discard)(session)
        self.notify("lease", dir=session, on=held)

    def granted(self, followed: Followed) -> None:
        """Let more output come, as much as was read."""
        read = followed.to_grant()
        if read:
            self.notify("grant", run=followed.number, credit=read)

    def ask(self, followed: Followed) -> None:
        """Ask the scheduler about a run soon, together with others that are to be asked about."""
        self._words.want(followed)
        self._keeper.wake()

    def close(self) -> None:
        """End the channel; it is opened again when it is needed."""
        if (channel := self._channel) is not None:
            self._lost(channel, CannotConnect("closed"))

    # --- the channel

    def _exchange(
        self, channel: Channel, head: Mapping[str, Any], body: bytes, deadline: float | None
    ) -> Answer | None:
        """Return the answer to a request; None if the channel was lost before it came."""
        number, pending = next(self._numbers), Pending()
        with self._lock:
            if self._channel is not channel:
                return None
            self._pending[number] = pending
            self._used = time.monotonic()
        try:
            channel.send({"id": number, **head}, body)
        except CannotConnect as error:
            self._lost(channel, error)
        answer = pending.wait(None if deadline is None else max(deadline - time.monotonic(), 0.0))
        if answer is None:
            with self._lock:
                self._pending.pop(number, None)
            raise too_late(self.name)
        return None if isinstance(answer, HostError) else answer

    def _open(
        self,
        say: Say | None,
        patient: bool,
        deadline: float | None = None,
        wanted: Callable[[], bool] = lambda: True,
    ) -> Channel:
        if not self._one_opens.acquire(timeout=-1 if deadline is None else max(deadline - time.monotonic(), 0)):
            raise too_late(self.name)
        try:
            self._say = say
            while (channel := self._channel) is None:
                known = patient or self._answered_once
                self._opened(self._opening.open(known=known, deadline=deadline, wanted=wanted))
            return channel
        finally:
            self._say = None
            self._one_opens.release()

    def _make(self) -> Channel:
        options = {"queue": list(self._scheduler.queue), "accounting": list(self._scheduler.accounting)}
        return Channel(self._transport, options, self._on_frame, self._lost)

    def _opened(self, channel: Channel) -> None:
        with self._lock:
            self._channel = None if channel.ended else channel
            self._answered_once = True
            self._heard = self._used = time.monotonic()
            self._keeper.have()
            runs, leases = list(self._runs.values()), list(self._leases)
        for followed in runs:
            self._watch(followed)
        for session in leases:
            self.notify("lease", dir=session, on=True)

    def _watch(self, followed: Followed) -> None:
        self.notify(
            "watch",
            run=followed.number,
            dir=followed.directory,
            job=followed.job.get("id") if self._scheduler.queue else None,
            offsets={name: size for name, size in followed.offsets.items() if name != "record.jsonl"},
            credit=followed.credit(),
        )

    def _tell(self, error: HostError | None) -> None:
        """Let all who wait know that the way is barred, or (None) free again."""
        with self._lock:
            runs = list(self._runs.values())
        for followed in runs:
            followed.put(Back() if error is None else Absent(error))
        if self._say is not None and error is not None:
            self._say(error)

    def _on_frame(self, head: dict[str, Any], body: bytes) -> None:
        """Called by the thread that reads the channel."""
        self._heard = time.monotonic()
        if "re" in head:
            with self._lock:
                pending = self._pending.pop(head["re"], None)
            if pending is not None:
                pending.set((head, body))
            return
        event = head.get("ev")
        if event == "data":
            if (followed := self._runs.get(head["run"])) is not None:
                followed.take_data(head["file"], head["at"], body)
        elif event in ("queue", "accounting"):
            with self._lock:
                runs = list(self._runs.values())
            self._words.deliver(event, head, runs)

    def _lost(self, channel: Channel, error: HostError) -> None:
        with self._lock:
            pending: dict[int, Pending] = {}
            if self._channel is channel:
                self._channel = None
                pending, self._pending = self._pending, {}
        # first, since an agent that hangs is given some time to end
        for item in pending.values():
            item.set(error)
        self._keeper.wake()
        channel.close()

    # --- what the keeper does

    def _needed(self) -> bool:
        """Whether there is a channel, or a run that needs one. Only with the lock."""
        return self._channel is not None or bool(self._runs)

    def _keep(self) -> None:
        with self._lock:
            channel, runs, busy = self._channel, bool(self._runs), bool(self._pending)
        now = time.monotonic()
        self._words.ask()
        if channel is None:
            if runs:
                self._open_again()
        elif now - self._heard > _SILENCE and (runs or busy):
            self._lost(channel, CannotConnect(f"{self.name} has been silent for {_SILENCE:.0f} s"))
        elif not runs and not busy and now - self._used > _IDLE:
            self.close()
        elif not busy and self._turns and now - channel.opened > HOLD and self._turns.others_wait():
            self.close()
            time.sleep(TURN_PAUSE)

    def _open_again(self) -> None:
        try:
            self._open(None, patient=True, wanted=lambda: bool(self._runs or self._pending))
        except DagsterSlurmError:
            # told to the runs already, or a configuration of ssh that somebody is editing: we come back
            time.sleep(_COME_BACK)
