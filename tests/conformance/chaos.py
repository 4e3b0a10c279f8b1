"""A tap that breaks things: connections cut in mid-frame, replies lost after execution, stalls, refused sessions."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter

from dagster_slurm.errors import CannotConnect, NoSession
from tests.conformance.taps import Cut, Head, Tap


class Chaos(Tap):
    """Misfortune from a seed: one for each connection, until there were enough.

    Args:
        seed: what happens when.
        faults: how many misfortunes there are in all.
        gap: a misfortune happens within so many frames.
    """

    def __init__(self, seed: int, faults: int = 15, gap: int = 14) -> None:
        self._chance = random.Random(seed)
        self._left = faults
        self._gap = gap
        self._lock = threading.Lock()
        self._next = ""
        self._frames = 0
        self.happened: Counter[str] = Counter()
        self._plan()

    def begin(self) -> None:
        if self._is("refused session"):
            raise NoSession("the test gives no session now")
        if self._is("nobody answers"):
            raise CannotConnect("the test does not answer now")

    def up(self, _head: Head, data: bytes) -> bytes:
        if self._is("cut on the way there", frame=True):
            raise Cut(data[: self._chance.randrange(len(data))])
        if self._is("cut behind a request", frame=True):
            raise Cut(data)
        if self._is("stall on the way there", frame=True):
            time.sleep(self._chance.uniform(0.1, 1))
        return data

    def down(self, head: Head, data: bytes) -> bytes:
        if "re" in head and self._is("lost reply"):
            raise Cut
        if self._is("cut on the way back", frame=True):
            raise Cut(data[: self._chance.randrange(len(data))])
        if self._is("damaged", frame=True):
            place = self._chance.randrange(len(data))
            return data[:place] + bytes([data[place] ^ 0x20]) + data[place + 1 :]
        if self._is("stall on the way back", frame=True):
            time.sleep(self._chance.uniform(0.1, 1))
        return data

    def _is(self, what: str, *, frame: bool = False) -> bool:
        """Say whether this happens now; of a frame, only its turn comes."""
        with self._lock:
            if self._next != what:
                return False
            if frame and self._frames > 0:
                self._frames -= 1
                return False
            self.happened[what] += 1
            self._plan()
            return True

    def _plan(self) -> None:
        self._left -= 1
        self._next = self._chance.choice(KINDS) if self._left >= 0 else ""
        self._frames = self._chance.randrange(self._gap)


KINDS = (
    "refused session",
    "nobody answers",
    "cut on the way there",
    "cut behind a request",
    "stall on the way there",
    "lost reply",
    "cut on the way back",
    "damaged",
    "stall on the way back",
)
