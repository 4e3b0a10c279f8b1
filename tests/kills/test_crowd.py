"""Many processes take up one launch at the same moment, and some of them are killed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conformance.driver import Rig, until
from tests.kills.client import Errand
from tests.kills.lives import Life
from tests.kills.nursery import Nursery
from tests.kills.points import moment
from tests.kills.test_points import trouble

CROWD = 8


def crowd(rig: Rig, nursery: Nursery, seed: int, *, jobs: int | None = 1) -> None:
    """Every second one is killed; all others, and one who comes later, see the same."""
    go = rig.shared / f"go-{seed}"
    life = Life(rig, nursery, f"crowd-{seed}", go=str(go))
    deaths = [moment(1000 * seed + number) if number % 2 else {} for number in range(CROWD)]
    ready = len(list(rig.shared.glob("ready.*")))
    with ThreadPoolExecutor(CROWD) as pool:
        living = [pool.submit(nursery.run, Errand(life.task, **death)) for death in deaths]
        until(lambda: len(list(rig.shared.glob("ready.*"))) == ready + CROWD or any(one.done() for one in living))
        go.touch()
        answers = [one.result() for one in living]
    survivors = [answer for code, answer in answers if code == 0]
    assert len(survivors) >= CROWD // 2
    for life.answer in survivors:
        life.check(jobs=None)
    life.live().check(jobs=jobs)
    assert {answer["job"] for answer in survivors} == {life.answer["job"]}


def test_a_crowd(rig: Rig, nursery: Nursery) -> None:
    for seed in range(3):
        crowd(rig, nursery, seed)


@pytest.mark.parametrize("name", ["it lands late", "the reply is lost in silence", "the queue lags, no accounting"])
def test_a_crowd_in_trouble(faked: Rig, nursery: Nursery, name: str) -> None:
    crowd(faked, nursery, 10, jobs=trouble(faked, name))
