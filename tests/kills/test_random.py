"""Exactly once, whenever a client is killed: at random moments, the same each time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conformance import rows
from tests.conformance.driver import Rig
from tests.kills.lives import Life
from tests.kills.nursery import Nursery
from tests.kills.points import moment
from tests.kills.test_points import TROUBLES, trouble

#: launches that are killed at the same time, on two cores
BESIDE = 6


def deaths(seed: int) -> Iterator[dict[str, Any]]:
    """Of one launch: a kill at a random moment, and for every second one another."""
    yield moment(seed)
    if seed % 4 > 1:
        yield moment(seed + 100_000)


def kill_at_random(seeds: range, places: list[tuple[Rig, int | None]], nursery: Nursery) -> int:
    """Return how many were killed; a client may be done before its death."""

    def live(seed: int) -> int:
        rig, jobs = places[seed % len(places)]
        life = Life(rig, nursery, f"seed-{seed}").live(*deaths(seed))
        try:
            life.check(jobs=jobs)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, {list(deaths(seed))}") from error
        return life.killed

    with ThreadPoolExecutor(BESIDE) as pool:
        return sum(pool.map(live, seeds))


def beside(stack: ExitStack, folder: Path) -> list[tuple[Rig, int | None]]:
    """Local mode, and every trouble that Slurm can be in."""
    places: list[tuple[Rig, int | None]] = [(stack.enter_context(rows.local(folder / "local")), 1)]
    for number, name in enumerate(TROUBLES):
        rig = stack.enter_context(rows.faked(folder / f"slurm-{number}"))
        places.append((rig, trouble(rig, name)))
    return places


def test_50_random_kills(nursery: Nursery, tmp_path: Path) -> None:
    with ExitStack() as stack:
        places = beside(stack, tmp_path)
        killed, seed = 0, 0
        while killed < 50:  # a quick client may be done before its death
            killed += kill_at_random(range(seed, seed + max(BESIDE, 50 - killed)), places, nursery)
            seed += 50
    assert seed <= 200


@pytest.mark.cluster
def test_10_random_kills_for_real(real: Rig, nursery: Nursery) -> None:
    assert kill_at_random(range(1000, 1010), [(real, 1)], nursery) >= 8


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_500_random_kills(nursery: Nursery, tmp_path: Path) -> None:
    with ExitStack() as stack:
        killed = kill_at_random(range(2000, 2400), beside(stack, tmp_path), nursery)
    assert killed >= 400


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.timeout(1200)
def test_100_random_kills_for_real(real: Rig, nursery: Nursery) -> None:
    assert kill_at_random(range(3000, 3100), [(real, 1)], nursery) >= 80
