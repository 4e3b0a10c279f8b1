"""What no partition of a cluster has is said before anything is submitted."""

from __future__ import annotations

from typing import Any

import pytest

from dagster_slurm.core.partitions import check, kinds
from dagster_slurm.core.resources import Resources
from dagster_slurm.errors import ConfigurationError

SINFO = [
    "compute*|2|8|4000|gpu:4|infinite",
    "compute*|100|64+|256000|(null)|infinite",
    "gpu|2|8|4000|gpu:a100:4(S:0-1),shard:4|1-00:00:00",
    "short|9|8|4000|(null)|30:00",
    "",
    "odd line|x",
]
KNOWN = kinds(SINFO)


def test_lines_that_are_not_understood_do_not_count() -> None:
    assert [kind.partition for kind in KNOWN] == ["compute", "compute", "gpu", "short"]


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"nodes": 102},
        {"cpus": 64, "nodes": 100},
        {"partition": "gpu", "gpus_per_node": 4, "nodes": 2, "time_limit": "1-00"},
        {"partition": "gpu", "gpus_per_node": "a100:4"},
        {"partition": "short,gpu", "gpus_per_node": 1},
        {"partition": "short", "time_limit": 30},
        {"gpus_per_node": "h100:1"},  # nodes whose GPUs have no type
    ],
)
def test_what_can_be_met(asked: dict[str, Any]) -> None:
    check(Resources(**asked), KNOWN, "component 'a'")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"partition": "nowhere"}, "no partition 'nowhere'"),
        ({"nodes": 103}, "103 nodes"),
        ({"cpus": 65}, "65 CPUs"),
        ({"cpus": 8, "options": {"ntasks-per-node": 9}}, "72 CPUs"),
        ({"partition": "gpu", "mem": "5G"}, "5120 MiB"),
        ({"partition": "gpu", "gpus_per_node": 5}, "5 GPUs"),
        ({"partition": "gpu", "gpus_per_node": "h100:1"}, "h100:1 GPUs"),
        ({"partition": "short", "gpus_per_node": 1}, "1 GPUs, which the partition short does not have"),
        ({"partition": "short", "time_limit": 31}, "31 of time"),
        ({"partition": "short,gpu", "cpus": 9}, "9 CPUs"),
        ({"gpus_per_node": 4, "nodes": 3}, "3 nodes"),
    ],
)
def test_what_cannot(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check(Resources(**asked), KNOWN, "component 'a'")
    assert said in str(caught.value)
    assert "component 'a'" in str(caught.value)


def test_without_an_answer_nothing_is_refused() -> None:
    check(Resources(partition="nowhere", nodes=10**6), (), "component 'a'")
