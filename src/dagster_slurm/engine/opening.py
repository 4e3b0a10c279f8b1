"""Opening a channel, however long it takes: what is waited for, what is tried again, and what ends at once."""

from __future__ import annotations

import time
from collections.abc import Callable

from dagster_slurm.engine.channel import Channel
from dagster_slurm.engine.turns import Turns
from dagster_slurm.errors import CannotConnect, HostError, NoSession

#: how long a host that never answered is tried, in seconds; one that has answered once is waited for without end
FIRST_PATIENCE = 90.0
_RETRY_FROM, _RETRY_TO = 0.5, 10.0
#: where only a person can open the way, we look this often whether somebody has, in seconds
_BARRED_RETRY = 5.0
#: who holds a scarce session and gives it up lets others go first for so long, in seconds
TURN_PAUSE = 0.3
#: how long to stand in line before looking at the deadline, in seconds
_IN_LINE = 2.0
#: waiting longer for a turn is worth telling, in seconds
_TURN_PATIENCE = 60.0


class Opening:
    """How one host's channel is opened.

    Args:
        name: the host's, for messages.
        make: opens a channel, or raises.
        turns: where the shared connection may be short of sessions.
        tell: called once per absence, with the error (barred) and with None (free again).
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], Channel],
        turns: Turns | None,
        tell: Callable[[HostError | None], None],
    ) -> None:
        self._name = name
        self._make = make
        self._turns = turns
        self._tell = tell

    def open(self, *, known: bool, deadline: float | None, wanted: Callable[[], bool] = lambda: True) -> Channel:
        """Return an open channel.

        Args:
            known: the host has answered before, or holds jobs of ours: an absence fails nothing.
            deadline: by the monotonic clock, in seconds; None waits on.
            wanted: asked after each attempt in vain; a host that nobody needs any more is left alone.

        Raises:
            HostError: the host never answered, refuses us, or did not answer in time.
        """
        since, retry, told = time.monotonic(), _RETRY_FROM, False
        while True:
            try:
                channel = self._make()
            except HostError as error:
                waited = time.monotonic() - since
                if not self._worth_waiting(error, known, waited) or not wanted():
                    raise
                if not told and (waited > _TURN_PATIENCE or not isinstance(error, NoSession)):
                    told = True
                    self._tell(error)
                if deadline is not None and time.monotonic() > deadline:
                    raise too_late(self._name) from error
                self._pause(error, retry)
                retry = min(retry * 2, _RETRY_TO)
            else:
                if self._turns is not None:
                    self._turns.served()
                if told:
                    self._tell(None)
                return channel

    def _worth_waiting(self, error: HostError, known: bool, waited: float) -> bool:
        if isinstance(error, NoSession):
            return self._turns is not None
        passing = isinstance(error, CannotConnect) and error.passing
        return known or (passing and waited < FIRST_PATIENCE)

    def _pause(self, error: HostError, retry: float) -> None:
        if isinstance(error, NoSession) and self._turns is not None:
            self._turns.wait(longest=_IN_LINE)
        else:
            time.sleep(retry if isinstance(error, CannotConnect) else _BARRED_RETRY)


def too_late(name: str) -> CannotConnect:
    """Return the error for an answer that did not come in time."""
    return CannotConnect(f"{name} did not answer in time", hint="Try again when it answers.")
