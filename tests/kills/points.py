"""Where processes are killed: a client at a frame, at a moment, or at a named point; an agent at a named point."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from typing import Any

from dagster_slurm.engine import channel
from tests.conformance.taps import POINTS, Head, Tap

#: of the agent: which function of which of its modules, whether before or after it, and (if not the first) which call
AGENT_POINTS: dict[str, tuple[Any, ...]] = {
    "before it makes the directory": ("rundir", "stage", "before"),
    "as it makes the directory": ("rundir", "_write", "after", 4),
    "after it made the directory": ("rundir", "stage", "after"),
    "before it submits": ("requests.Requests", "_start", "before"),
    "between sbatch and job.id": ("requests.Requests", "_start", "after"),
    "after it wrote job.id": ("requests.Requests", "_sweep_sometimes", "before"),
    "as it follows": ("follow.Follower", "_read", "after"),
}

CLIENT_POINTS = (*POINTS, "before collected")

# Behind the agent's last module. Who makes the marker's folder dies: one agent of a launch, not each.
_DEADLY = """

def _make_deadly():
    owner = sys.modules[__package__]
    for name in %(owner)r.split("."):
        owner = getattr(owner, name)
    inner = getattr(owner, %(function)r)
    def die():
        try:
            os.mkdir(%(marker)r)
        except OSError:
            return
        os.kill(os.getpid(), 9)
    calls = []
    def outer(*arguments):
        calls.append(1)
        if %(when)r == "before":
            die()
        result = inner(*arguments)
        if len(calls) >= %(call)d:
            die()
        return result
    setattr(owner, %(function)r, outer)

_make_deadly()
"""


def deadly_agents(point: str, marker: str) -> None:
    """Let the first agent that this process's launch meets die at a point."""
    owner, function, when, *call = AGENT_POINTS[point]
    more = _DEADLY % {
        "owner": owner,
        "function": function,
        "when": when,
        "marker": marker,
        "call": call[0] if call else 1,
    }
    modules = channel.agent_modules()
    name, source = modules[-1]
    channel.agent_modules = lambda *_: [*modules[:-1], (name, source + more)]


class Deaths(Tap):
    """Ends this process by SIGKILL with the n-th frame, or with a lost connection."""

    def __init__(self, frame: int | None = None, delay: float = 0.0, *, with_agent: bool = False) -> None:
        self._left = frame
        self._delay = delay
        self._with_agent = with_agent
        self._openings = 0

    def begin(self) -> None:
        self._openings += 1
        if self._with_agent and self._openings > 1:
            die()

    def up(self, _head: Head, data: bytes) -> bytes:
        self._count()
        return data

    def after_down(self, _head: Head) -> None:
        self._count()

    def _count(self) -> None:
        if self._left is None:
            return
        self._left -= 1
        if self._left <= 0:
            time.sleep(self._delay)
            die()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_in(seconds: float) -> None:
    timer = threading.Timer(seconds, die)
    timer.daemon = True
    timer.start()


def moment(seed: int) -> dict[str, float | int]:
    """A random moment: some by the clock, some by the number of frames that went over the channel."""
    chance = random.Random(seed)
    if seed % 2:
        return {"frame": chance.randint(1, 16), "delay": chance.choice([0.0, chance.uniform(0, 0.05)])}
    return {"moment": chance.uniform(0.0, 1.0)}
