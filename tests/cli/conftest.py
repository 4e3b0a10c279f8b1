from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dagster_slurm.cli import main
from testcluster import Cluster
from tests.clusters import cluster, make_cluster

__all__ = ["cluster", "make_cluster"]

Invoke = Callable[..., Result]


@pytest.fixture(autouse=True)
def _no_settings_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Commands know what a test tells them, and write into its folder."""
    for name in [name for name in os.environ if name.startswith("SLURM_") or name == "DAGSTER_SLURM_PROFILE"]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def invoke(*arguments: object, code: int = 0) -> Result:
    """Run the command line in this process."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def read(*arguments: object, code: int = 0) -> Any:
    """Run a command that prints JSON."""
    return json.loads(invoke(*arguments, "--json", code=code).stdout)


@pytest.fixture
def at_cluster(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Cluster]:
    """The cluster, named by the environment as for Dagster; a folder of runs of its own."""
    for name, value in cluster.client_environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLURM_DEPLOYMENT_BASE_PATH", f"~/cli-{tmp_path.name}-{time.time_ns()}")
    yield cluster
    cluster.run(["sh", "-c", "scancel --user=$USER"])
