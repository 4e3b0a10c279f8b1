"""What arrives for one followed run: a queue between the thread that reads the channel and the one that waits."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from dagster_slurm.core.observations import Looked, LookFailed
from dagster_slurm.errors import HostError

#: how many bytes of output may be on their way or unread; bounds our memory however fast a payload writes
CREDIT = 1 << 20
RECORD = "record.jsonl"


@dataclass(frozen=True)
class Output:
    """New bytes of one of the run's files."""

    file: str
    data: bytes


@dataclass(frozen=True)
class RecordText:
    """The record as it stands."""

    text: str


@dataclass(frozen=True)
class Absent:
    """The way to the host is barred for now; jobs run on."""

    error: HostError


@dataclass(frozen=True)
class Back:
    """The way to the host is free again."""


Arrival = Output | RecordText | Looked | LookFailed | Absent | Back


class Followed:
    """One run that is followed.

    Args:
        number: its number on the channel.
        directory: its run directory.
        job: ``{"id": ..., "ticks": ...}`` as the submit's answer told it.
        kind: the scheduler's kind.
    """

    def __init__(self, number: int, directory: str, job: dict[str, Any], kind: str) -> None:
        self.number = number
        self.directory = directory
        self.job = job
        self.kind = kind
        #: how far each file has arrived here
        self.offsets: dict[str, int] = {}
        self._record = b""
        self._unread = 0
        self._read = 0
        self._items: deque[Arrival] = deque()
        self._ready = threading.Condition()

    def put(self, *items: Arrival) -> None:
        """Hand arrivals over to the waiting thread; what was seen together is taken together."""
        with self._ready:
            self._items.extend(items)
            self._ready.notify()

    def take_data(self, file: str, at: int, data: bytes) -> None:
        """Take bytes that stand at an offset of a file; what was here before is not taken twice."""
        with self._ready:  # the thread of a channel that was lost may still be at it
            have = self.offsets.get(file, 0)
            if at > have or at + len(data) <= have:
                return  # of another watch, from before a reconnection
            data = data[have - at :]
            self.offsets[file] = have + len(data)
            if file == RECORD:
                self._record += data
                self._items.append(RecordText(self._record.decode("utf-8", "replace")))
            else:
                self._unread += len(data)
                self._items.append(Output(file, data))
            self._ready.notify()

    def next(self, timeout: float) -> Arrival | None:
        """Return the next arrival, or None after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        with self._ready:
            while not self._items:
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._ready.wait(left)
            item = self._items.popleft()
            if isinstance(item, Output):
                self._unread -= len(item.data)
                self._read += len(item.data)
            return item

    def credit(self) -> int:
        """Return how many bytes a new watch may send."""
        with self._ready:
            self._read = 0
            return max(CREDIT - self._unread, 0)

    def to_grant(self) -> int:
        """Return how many bytes were read since the last grant, once it is worth a message."""
        with self._ready:
            if self._read < CREDIT // 4:
                return 0
            read, self._read = self._read, 0
            return read
