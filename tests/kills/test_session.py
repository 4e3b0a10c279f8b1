"""Exactly once in a session, whatever is killed: Dagster's process, and the agent on the login node."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from testcluster import Cluster
from tests.conformance import rows
from tests.conformance.driver import Rig
from tests.conformance.taps import UNIT_POINTS
from tests.kills.lives import Life
from tests.kills.nursery import Nursery
from tests.kills.points import AGENT_POINTS, CLIENT_POINTS, moment
from tests.kills.test_points import together

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
#: launches that are killed at a random moment
RANDOM = 12


@pytest.fixture
def session(cluster: Cluster) -> Iterator[Rig]:
    """The first that is killed may be the one that asks for the allocation."""
    with rows.session(cluster, idle_timeout=300.0) as rig:
        yield rig


def allocations(rig: Rig) -> int:
    """How many the session has had."""
    assert rig.session is not None
    return len(list((rig.base / "sessions" / rig.session.key).glob("[0-9]*")))


def test_a_client_killed_at_each_point(session: Rig, nursery: Nursery) -> None:
    def live(point: str) -> None:
        life = Life(session, nursery).live({"point": point})
        assert life.killed == 1, point
        life.check()

    together(live, (*CLIENT_POINTS, *UNIT_POINTS))
    assert allocations(session) == 1


@pytest.mark.parametrize("with_client", [False, True])
def test_an_agent_killed_at_each_point(session: Rig, nursery: Nursery, with_client: bool) -> None:
    def live(point: str) -> None:
        marker = session.shared / f"marker-{point}".replace(" ", "-")
        life = Life(session, nursery).live({"agent": point, "marker": str(marker), "with_agent": with_client})
        assert marker.exists()
        life.check()

    together(live, AGENT_POINTS)
    assert allocations(session) == 1


def test_clients_killed_at_random_moments(session: Rig, nursery: Nursery) -> None:
    def live(seed: int) -> int:
        life = Life(session, nursery, f"seed-{seed}").live(moment(seed), moment(seed + 100_000))
        life.check()
        return life.killed

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(live, range(RANDOM))) >= RANDOM // 2
    assert allocations(session) == 1
