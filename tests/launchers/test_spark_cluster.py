"""Spark over the nodes of a job, and on this machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dagster_slurm import Resources, SparkLauncher
from testcluster import Cluster
from tests.launchers import environments, traces
from tests.launchers.conftest import REAL, Stage, local_stage, real_stage

# The first run installs Ray or Spark, hundreds of megabytes: make test-all
pytestmark = pytest.mark.slow

TWO = Resources(nodes=2, cpus=2, mem=2000)


@pytest.fixture(params=[pytest.param("local", marks=pytest.mark.slow), REAL])
def stage(request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Stage]:
    if request.param == "local":
        with traces.none_left(tmp_path):
            yield local_stage(tmp_path, capsys, environments.spark())
    else:
        with (
            real_stage(request.getfixturevalue("cluster"), capsys, environments.spark()) as real,
            traces.none_left(real.base),
        ):
            yield real


@pytest.fixture
def slurm(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> Iterator[Stage]:
    with real_stage(cluster, capsys, environments.spark()) as real, traces.none_left(real.base):
        yield real


def test_tasks_run_on_all_nodes(stage: Stage) -> None:
    outcome = stage.run("spark_jobs.py", SparkLauncher(), TWO)
    assert outcome.failure is None, outcome.error
    nodes = 2 if stage.slurm else 1
    assert outcome.metadata["sum"] == sum(number * number for number in range(8))
    assert len(outcome.metadata["nodes"]) == nodes
    assert outcome.metadata["master"].startswith("spark://")
    assert outcome.metadata["secret_is_set"]
    assert outcome.metadata["slurm/spark_workers"] == nodes
    assert outcome.metadata["slurm/spark_cpus"] == 2 * nodes
    assert outcome.metadata["slurm/spark_version"].startswith("3.5")


@pytest.mark.cluster
@pytest.mark.slow
def test_a_daemon_that_dies_ends_the_run_with_its_name_and_log(slurm: Stage) -> None:
    outcome = slurm.run("spark_jobs.py", SparkLauncher(), TWO, what="kill worker")
    assert re.search(r"node\d: Spark's worker on node\d ended", outcome.error), outcome.error


@pytest.mark.cluster
@pytest.mark.slow
def test_a_cancel_leaves_nothing(slurm: Stage) -> None:
    result = slurm.begin("spark_jobs.py", SparkLauncher(), TWO, what="wait")
    slurm.wait_for("begun")
    slurm.cancel()
    assert "was cancelled" in result().error


@pytest.mark.cluster
@pytest.mark.slow
def test_a_missing_node_is_named(slurm: Stage) -> None:
    late = 'if [ "$SLURM_NODEID" = 1 ]; then sleep 60; fi'
    launcher = SparkLauncher(startup_timeout=15, pre_start_commands=(late,))
    outcome = slurm.run("spark_jobs.py", launcher, TWO)
    assert re.search(r"only 1 of 2 workers of the Spark cluster were up in time; missing: node\d", outcome.error)


@pytest.mark.cluster
def test_an_environment_without_spark_is_said_in_one_line(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    with real_stage(cluster, capsys) as bare:
        outcome = bare.run("alone.sh", SparkLauncher(), TWO)
    assert "pyspark is not in the environment of the payload" in outcome.error
