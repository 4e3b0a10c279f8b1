"""What it costs the login node to run components of one job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from testcluster import Cluster
from tests.conformance import rows
from tests.conformance.driver import Rig
from tests.conformance.taps import Head, Tap, Tapped


class _Asked(Tap):
    """Counts requests."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()

    def up(self, head: Head, data: bytes) -> bytes:
        self.count[head["op"]] += 1
        return data


@pytest.fixture
def pair(cluster: Cluster) -> Iterator[Rig]:
    with rows.together(cluster) as rig:
        yield rig


@pytest.mark.cluster
def test_one_request_and_one_command_submit_all(pair: Rig) -> None:
    """Once the programs lie there, which is seen to by the first one."""
    asked, way = _Asked(), pair.transport
    pair.transport = lambda: Tapped(way(), asked)
    assert pair.run("true").cause == "success"
    before, commands = asked.count.copy(), commands_of(pair)
    assert pair.run("echo out").heard.stdout == b"out\n"
    assert (asked.count - before)["submit"] == 1
    used = commands_of(pair) - commands
    assert used["sbatch"] == 1
    assert set(used) <= {"sbatch", "squeue"}, used


def commands_of(rig: Rig) -> Counter[str]:
    answer, _ = rig.host.request("counts")
    return Counter({name.rsplit("/", 1)[-1]: int(number) for name, number in dict(answer["commands"]).items()})
