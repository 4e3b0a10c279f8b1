from __future__ import annotations

from pathlib import Path

import pytest

from dagster_slurm import BashLauncher, ComputeResource
from testcluster import Cluster
from tests.dagster.conftest import BOTH, _close_hosts, any_bench, bench, cluster, cluster_bench, instance, on, payloads

__all__ = [
    "BOTH",
    "_close_hosts",
    "any_bench",
    "bench",
    "cluster",
    "cluster_bench",
    "instance",
    "payloads",
]


@pytest.fixture
def local(tmp_path: Path) -> ComputeResource:
    """This machine, with a folder for results."""
    base, data = str(tmp_path / "base"), str(tmp_path / "re sults")
    return ComputeResource(mode="local", default_launcher=BashLauncher(), local_base=base, data_base=data)


@pytest.fixture
def slurm(cluster: Cluster, tmp_path: Path) -> ComputeResource:
    """The cluster, with a folder for the results of one test."""
    return on(cluster, data_base=f"~/re sults/{tmp_path.name}")
