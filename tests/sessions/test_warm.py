"""Warm clusters in a session, on a real cluster: who gets which, and what ends them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dagster_slurm import BashLauncher, RayLauncher, Resources, SparkLauncher
from testcluster import Cluster
from tests.conformance.driver import until
from tests.dagster.conftest import DAGSTERS
from tests.launchers import environments, traces
from tests.launchers.conftest import Stage
from tests.sessions.stages import end_all, place_on, ran, stage_in

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.filterwarnings(DAGSTERS)]
GUEST = str(Path(__file__).parents[1] / "warm/payloads/ray_guest.py")
SPARK = str(Path(__file__).parents[1] / "launchers/payloads/spark_jobs.py")
TWO = Resources(nodes=2, cpus=2, mem=1200)
SETTINGS = {"enable_cluster_reuse": True, "cluster_reuse_tolerance": 0.5}


@pytest.fixture
def place(cluster: Cluster) -> Iterator[Path]:
    with place_on(cluster) as folder, traces.none_left(folder / "base", 30.0):
        yield folder
        end_all(cluster, folder)


@pytest.fixture
def stage(cluster: Cluster, place: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Stage]:
    """Two nodes with four CPUs each."""
    with stage_in(cluster, place, capsys, SETTINGS, num_nodes=2, cpus=4, mem=3000, idle_timeout=25) as found:
        yield found


def guest(stage: Stage, resources: Resources = TWO, **extras: Any) -> dict[str, Any]:
    """Metadata of an asset that uses Ray."""
    return ran(stage.run(GUEST, RayLauncher(), resources, environment=str(environments.ray()), **extras)).metadata


def state(stage: Stage, job: Any) -> str:
    assert stage.cluster is not None
    return stage.cluster.run(["squeue", "-h", "--states=all", "-j", str(job), "-o", "%T"]).stdout.strip()


def test_later_assets_use_the_cluster_until_the_session_is_idle(stage: Stage) -> None:
    first = guest(stage, what="leave")
    assert first["slurm/cluster_reused"] is False
    assert first["slurm/cluster_not_reused_because"] == "there was none"
    assert first["cpus"] == 4
    # its last actors are gone when it begins, and it has a job of its own
    second = guest(stage, Resources(nodes=2, cpus=3, mem=1200), what="alone")
    assert second["slurm/cluster_reused"] is True
    assert "slurm/cluster_not_reused_because" not in second
    assert second["slurm/cluster_id"] == first["slurm/cluster_id"]
    assert second["address"] == first["address"]
    assert second["job"] != first["job"]
    assert second["slurm/job_id"] == first["slurm/job_id"]
    failed = stage.run(GUEST, RayLauncher(), TWO, environment=str(environments.ray()), what="fail")
    assert failed.failure is not None
    assert failed.failure.error.exit_code == 5
    assert guest(stage, what="alone")["address"] == first["address"]
    # the cluster is no work: without any, the session ends, and the cluster with it
    until(lambda: state(stage, first["slurm/job_id"]) == "COMPLETED", 90)


def test_one_that_is_idle_makes_room(stage: Stage) -> None:
    small = guest(stage)
    large = guest(stage, Resources(nodes=2, cpus=4, mem=2900))
    assert "1200 MiB of memory on each node, 2900 are asked for" in large["slurm/cluster_not_reused_because"]
    assert large["cpus"] == 8
    assert large["slurm/cluster_id"] != small["slurm/cluster_id"]
    ended = next(stage.base.glob(f"base/runs/*/warm-cluster/{small['slurm/cluster_id']}.0/record.jsonl"))
    assert '"event":"exit","job"' in ended.read_text()
    # an asset that uses no cluster needs the whole allocation
    plain = ran(stage.run("alone.sh", BashLauncher(), Resources(cpus=4, mem=2900)))
    assert plain.out


def test_a_second_one_beside_the_first_and_the_end_of_both(stage: Stage) -> None:
    one = guest(stage)
    other = ran(
        stage.run(
            GUEST, RayLauncher(pre_start_commands=("true",)), TWO, environment=str(environments.ray()), what="alone"
        )
    ).metadata
    assert other["slurm/cluster_not_reused_because"] == "there was none with this environment and these settings"
    assert guest(stage)["address"] == one["address"], "it is still there"
    assert stage.compute.cleanup_cluster(one["slurm/cluster_id"]) == [one["slurm/cluster_id"]]
    again = guest(stage)
    assert again["slurm/cluster_reused"] is False
    names = {again["slurm/cluster_id"], other["slurm/cluster_id"]}
    assert set(stage.compute.cleanup_cluster()) == names
    until(lambda: stage.compute.cleanup_cluster() == [], 60)


def test_one_that_died_is_started_anew(stage: Stage) -> None:
    first = guest(stage)
    traces.kill(stage.base, "raylet")
    record = next(stage.base.glob(f"base/runs/*/warm-cluster/{first['slurm/cluster_id']}.0/record.jsonl"))
    until(lambda: '"event":"exit"' in record.read_text())
    second = guest(stage)
    assert second["slurm/cluster_not_reused_because"] == "there was none"
    assert second["address"] != first["address"]


def test_spark(stage: Stage) -> None:
    def job() -> dict[str, Any]:
        launcher = SparkLauncher(num_executors=2)
        return ran(stage.run(SPARK, launcher, TWO, environment=str(environments.spark()), workers=2)).metadata

    first, second = job(), job()
    assert second["slurm/cluster_reused"] is True
    assert first["master"] == second["master"]
    assert first["sum"] == second["sum"]
    assert len(second["nodes"]) == 2


def test_processes_of_the_multiprocess_executor_share_it(cluster: Cluster, tmp_path: Path) -> None:
    """One allocation and one cluster, although each step has a process of its own."""
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    foreign = ("SLURM_", "DAGSTER_")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    variables.update(cluster.client_environment, DAGSTER_HOME=str(tmp_path))
    variables.update(GRAPH_GUEST=GUEST, GRAPH_ENVIRONMENT=str(environments.ray()))
    done = subprocess.run(
        [sys.executable, "-m", "tests.sessions.graph"],
        cwd=Path(__file__).parents[2],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["success"], done.stderr[-3000:]
    found = told["metadata"]
    (job,) = {metadata["slurm/job_id"] for metadata in found.values()}
    assert found["second"]["slurm/cluster_reused"] is True
    assert found["second"]["address"] == found["first"]["address"]

    def ended() -> bool:
        states = cluster.run(["squeue", "-h", "--states=all", "-j", job, "-o", "%T"]).stdout.strip()
        return states == "COMPLETED"

    until(ended, 60)
