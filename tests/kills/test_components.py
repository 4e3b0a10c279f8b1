"""Exactly once for the components of a job, whatever is killed: Dagster's process, and the agent on the login node."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from testcluster import Cluster
from tests.conformance import rows
from tests.conformance.driver import Rig
from tests.kills.lives import Life
from tests.kills.nursery import Nursery
from tests.kills.points import AGENT_POINTS, CLIENT_POINTS, moment
from tests.kills.test_points import together

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
#: launches that are killed at random moments
RANDOM = 8


@pytest.fixture
def pair(cluster: Cluster) -> Iterator[Rig]:
    with rows.together(cluster) as rig:
        yield rig


def test_a_client_killed_at_each_point(pair: Rig, nursery: Nursery) -> None:
    def live(point: str) -> None:
        life = Life(pair, nursery).live({"point": point})
        assert life.killed == 1, point
        life.check()

    together(live, CLIENT_POINTS)


@pytest.mark.parametrize("with_client", [False, True])
def test_an_agent_killed_at_each_point(pair: Rig, nursery: Nursery, with_client: bool) -> None:
    def live(point: str) -> None:
        marker = pair.shared / f"marker-{point}".replace(" ", "-")
        life = Life(pair, nursery).live({"agent": point, "marker": str(marker), "with_agent": with_client})
        assert marker.exists()
        assert life.killed == with_client, point
        life.check()

    together(live, AGENT_POINTS)


def test_clients_killed_at_random_moments(pair: Rig, nursery: Nursery) -> None:
    def live(seed: int) -> int:
        life = Life(pair, nursery, f"seed-{seed}").live(moment(seed), moment(seed + 100_000))
        life.check()
        return life.killed

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(live, range(RANDOM))) >= RANDOM // 2
