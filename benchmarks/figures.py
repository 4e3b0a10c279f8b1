"""Small statistics."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Sequence

median = statistics.median


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value below which so many percent lie (nearest rank); NaN of nothing."""
    ranked = sorted(values)
    return ranked[max(math.ceil(len(ranked) * percent / 100) - 1, 0)] if ranked else math.nan


def timed(work: Callable[[], object]) -> float:
    """Return how many seconds some work takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def interleaved(times: int, *works: Callable[[], object], pause: float = 0.0) -> list[list[float]]:
    """Time several works in turns, so that a noisy machine disturbs all alike; return the seconds of each.

    Slurm starts jobs in a beat of its own (about half a second here): a pause of random length, of up to ``pause``
    seconds, makes sure that none of the works is always early for it, and another always late.
    """
    rounds = [[_rested(work, pause) for work in works] for _ in range(times)]
    return [list(column) for column in zip(*rounds, strict=True)]


def _rested(work: Callable[[], object], pause: float) -> float:
    time.sleep(random.uniform(0.0, pause))
    return timed(work)


def seconds(value: float) -> str:
    """Return a duration as text."""
    return f"{value:.2f} s" if value >= 0.095 else f"{value * 1000:.0f} ms"
