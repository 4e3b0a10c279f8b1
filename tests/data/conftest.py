from __future__ import annotations

from pathlib import Path

import pytest

from dagster_slurm import ComputeResource
from testcluster import Cluster
from tests.dagster.conftest import BOTH, _close_hosts, any_bench, bench, cluster, cluster_bench, instance, on, payloads
from tests.dagster.conftest import local as without

__all__ = [
    "BOTH",
    "_close_hosts",
    "any_bench",
    "bench",
    "cluster",
    "cluster_bench",
    "instance",
    "payloads",
    "without",
]


@pytest.fixture
def local(without: ComputeResource, tmp_path: Path) -> ComputeResource:
    """This machine, with a folder for results."""
    return without.model_copy(update={"data_base": str(tmp_path / "re sults")})


@pytest.fixture
def slurm(cluster: Cluster, tmp_path: Path) -> ComputeResource:
    """The cluster, with a folder for the results of one test."""
    return on(cluster, data_base=f"~/re sults/{tmp_path.name}")
