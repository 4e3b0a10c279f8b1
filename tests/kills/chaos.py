"""A connection that cannot be relied on: a transport around any other, in which a seed decides what goes wrong when."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter

from dagster_slurm.errors import CannotConnect, NoSession
from dagster_slurm.transport.stream import Transport
from tests.conformance.taps import Cut, Head, Tap, Tapped

#: how often a frame, or an opening, has an accident
UP, DOWN, OPENING = 0.15, 0.12, 0.3
#: after so many accidents it is quiet, so that every test ends
ACCIDENTS = 14
LONGEST_STALL = 0.6


class Chaos(Tap):
    """Cuts and damages frames, loses replies, stalls, and refuses to open."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self._left = ACCIDENTS
        self._cut_next = False
        self.happened: Counter[str] = Counter()

    def begin(self) -> None:
        if self._strikes(OPENING):
            kind = self._one_of("no session", "no connection")
            if kind == "no session":
                raise NoSession("the connection gives no further session (chaos)")
            raise CannotConnect("nobody answers (chaos)")

    def up(self, _head: Head, data: bytes) -> bytes:
        if self._strikes(UP):
            kind = self._one_of("cut on the way up", "cut once delivered", "stall")
            if kind == "cut on the way up":
                raise Cut(data[: self._chance.randrange(len(data))])
            if kind == "stall":
                time.sleep(self._chance.uniform(0, LONGEST_STALL))
            self._cut_next = kind == "cut once delivered"
        return data

    def after_up(self, _head: Head) -> None:
        if self._cut_next:
            self._cut_next = False
            raise Cut

    def down(self, head: Head, data: bytes) -> bytes:
        if self._strikes(DOWN):
            lost = "reply lost" if "re" in head else "cut between"
            kind = self._one_of(lost, "cut on the way down", "damaged", "stall")
            place = self._chance.randrange(len(data))
            if kind == "cut on the way down":
                raise Cut(data[:place])
            if kind == "damaged":
                return data[:place] + bytes([data[place] ^ 0x20]) + data[place + 1 :]
            if kind != "stall":
                raise Cut
            time.sleep(self._chance.uniform(0, LONGEST_STALL))
        return data

    def _strikes(self, probability: float) -> bool:
        with self._lock:
            if self._left == 0 or self._chance.random() >= probability:
                return False
            self._left -= 1
            return True

    def _one_of(self, *kinds: str) -> str:
        with self._lock:
            kind = self._chance.choice(kinds)
            self.happened[kind] += 1
            return kind


def chaotic(transport: Transport, chaos: Chaos) -> Transport:
    """Let chaos loose on a transport."""
    return Tapped(transport, chaos)
