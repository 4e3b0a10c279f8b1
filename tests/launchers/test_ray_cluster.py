"""Ray over the nodes of a job, and on this machine."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dagster_slurm import RayLauncher, Resources
from testcluster import Cluster
from tests.launchers import environments, traces
from tests.launchers.conftest import REAL, Stage, local_stage, real_stage

#: nothing else here uses it
PORT = 41811
TWO = Resources(nodes=2, cpus=2, mem=2000)


@pytest.fixture(params=["local", REAL])
def stage(request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Stage]:
    if request.param == "local":
        with traces.none_left(tmp_path):
            yield local_stage(tmp_path, capsys, environments.ray())
    else:
        with (
            real_stage(request.getfixturevalue("cluster"), capsys, environments.ray()) as real,
            traces.none_left(real.base),
        ):
            yield real


@pytest.fixture
def slurm(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> Iterator[Stage]:
    with real_stage(cluster, capsys, environments.ray()) as real, traces.none_left(real.base):
        yield real


def test_tasks_run_on_all_nodes(stage: Stage) -> None:
    outcome = stage.run("ray_tasks.py", RayLauncher(), TWO)
    assert outcome.failure is None, outcome.error
    nodes = 2 if stage.slurm else 1
    assert outcome.metadata["sum"] == sum(number * number for number in range(8))
    assert len(outcome.metadata["nodes"]) == nodes
    assert outcome.metadata["cpus"] == 2 * nodes
    assert outcome.metadata["slurm/ray_version"].startswith("2.60")
    facts = {name: outcome.metadata[f"slurm/ray_{name}"] for name in ("nodes", "cpus", "gpus", "memory_gib")}
    # of 2000 MiB on each node, seven tenths are for tasks and two for objects
    assert facts == {"nodes": nodes, "cpus": 2 * nodes, "gpus": 0, "memory_gib": round(1800 * nodes / 1024, 2)}
    assert outcome.metadata["slurm/ray_ready_seconds"] > 0


@pytest.mark.cluster
@pytest.mark.slow
def test_a_payload_that_fails_takes_the_cluster_with_it(slurm: Stage) -> None:
    outcome = slurm.run("ray_tasks.py", RayLauncher(), TWO, what="fail")
    assert outcome.failure is not None
    assert outcome.failure.error.exit_code == 5


@pytest.mark.cluster
def test_a_daemon_that_dies_ends_the_run_with_its_name_and_log(slurm: Stage) -> None:
    outcome = slurm.run("ray_tasks.py", RayLauncher(), TWO, what="kill raylet")
    assert re.search(r"node\d: Ray on node\d ended", outcome.error), outcome.error
    assert "raylet" in outcome.error


@pytest.mark.cluster
def test_a_cancel_leaves_nothing(slurm: Stage) -> None:
    result = slurm.begin("ray_tasks.py", RayLauncher(), TWO, what="wait")
    slurm.wait_for("begun")
    slurm.cancel()
    assert "was cancelled" in result().error


@pytest.mark.slow
def test_a_killed_driver_leaves_nothing(stage: Stage) -> None:
    outcome = stage.run("ray_tasks.py", RayLauncher(), TWO, what="kill driver")
    assert outcome.failure is not None


@pytest.mark.cluster
@pytest.mark.slow
def test_a_time_limit_leaves_nothing(slurm: Stage) -> None:
    asked = Resources(nodes=2, cpus=2, mem=2000, time_limit=1)
    outcome = slurm.run("ray_tasks.py", RayLauncher(), asked, what="wait")
    assert "reached its time limit" in outcome.error


@pytest.mark.cluster
@pytest.mark.slow
def test_the_cluster_serves_a_payload_that_was_told_to_stop(
    make_cluster: Callable[..., Cluster], capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = make_cluster(kill_wait=30, accounting=False)
    with real_stage(cluster, capsys, environments.ray()) as stage, traces.none_left(stage.base):
        result = stage.begin("ray_tasks.py", RayLauncher(), TWO, what="save")
        stage.wait_for("begun")
        stage.cancel()
        assert "was cancelled" in result().error
        assert (stage.shared / "saved").read_text() == "81"


@pytest.mark.slow
def test_strangers_are_kept_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = local_stage(tmp_path, capsys, environments.ray())
    outcome = stage.run("ray_tasks.py", RayLauncher(), Resources(cpus=1), what="strangers")
    friend, stranger = outcome.metadata["strangers"]
    assert '"ray_version": "2.60' in friend
    assert "InvalidAuthToken" in stranger


@pytest.mark.cluster
@pytest.mark.slow
def test_ports_and_options_are_those_that_were_asked_for(slurm: Stage) -> None:
    launcher = RayLauncher(
        port_config={"port": PORT},
        ray_start_args=('--resources={"special": 3}',),
        object_store_memory_gb=0.1,
        pre_start_commands=("export FROM_PRE_START=1",),
        network_interface="lo",
    )
    outcome = slurm.run("ray_tasks.py", launcher, TWO)
    assert outcome.failure is None, outcome.error
    assert outcome.metadata["address"].endswith(f":{PORT}")
    assert outcome.metadata["special"] == 6
    assert outcome.metadata["store"] == 2 * int(0.1 * 1024) * 2**20
    assert outcome.metadata["pre_start"] == ["1"]
    assert len(outcome.metadata["nodes"]) == 2


@pytest.mark.cluster
@pytest.mark.slow
def test_a_missing_node_is_named(slurm: Stage) -> None:
    late = 'if [ "$SLURM_NODEID" = 1 ]; then sleep 60; fi'
    launcher = RayLauncher(head_startup_timeout=12, pre_start_commands=(late,))
    outcome = slurm.run("ray_tasks.py", launcher, TWO)
    assert re.search(r"only 1 of 2 nodes of the Ray cluster were up in time; missing: node\d", outcome.error)


@pytest.mark.cluster
def test_an_environment_without_ray_is_said_in_one_line(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    with real_stage(cluster, capsys) as bare:
        outcome = bare.run("alone.sh", RayLauncher(), TWO)
    assert "Ray is not in the environment of the payload" in outcome.error
    assert outcome.failure is not None
    assert outcome.failure.error.exit_code == 66


@contextlib.contextmanager
def somebodys_head(environment: Path) -> Iterator[str]:
    """A Ray cluster that somebody else keeps, on this machine."""
    program = environment / "bin/ray"
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="ray-") as folder:
        options = ["--head", "--port=0", "--num-cpus=2", "--include-dashboard=false", f"--temp-dir={folder}", "--block"]
        limits = ["--min-worker-port=0", "--max-worker-port=0", "--object-store-memory=100000000"]
        variables = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "RAY_AUTH_MODE": "disabled"}
        with subprocess.Popen(
            [program, "start", *options, *limits], env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        ) as head:
            place = Path(folder, "ray_current_cluster")
            while not place.exists() or not place.read_text():
                assert head.poll() is None
                time.sleep(0.1)
            yield place.read_text()
            head.terminate()


@pytest.mark.slow
def test_an_existing_cluster_is_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = local_stage(tmp_path, capsys, environments.ray())
    with somebodys_head(environments.ray()) as address:
        outcome = stage.run("ray_tasks.py", RayLauncher(ray_address=address), Resources())
    assert outcome.failure is None, outcome.error
    assert outcome.metadata["address"] == address
    assert outcome.metadata["cpus"] == 2


@pytest.mark.slow
def test_an_existing_cluster_of_another_version_is_said_at_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = local_stage(tmp_path, capsys, environments.ray())
    with somebodys_head(environments.older_ray()) as address:
        outcome = stage.run("ray_tasks.py", RayLauncher(ray_address=address), Resources())
    python = r"Python 3\.\d+\.\d+"
    assert re.search(
        rf"the cluster at {address} runs Ray 2\.55\.\d and {python}, "
        rf"the payload's environment has Ray 2\.60\.\d and {python}",
        outcome.error,
    )
    assert not (stage.shared / "begun").exists()


@pytest.mark.slow
def test_a_cluster_that_does_not_answer_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = local_stage(tmp_path, capsys, environments.ray())
    launcher = RayLauncher(ray_address="127.0.0.1:9", head_startup_timeout=3)
    assert "no Ray cluster answers at 127.0.0.1:9" in stage.run("ray_tasks.py", launcher, Resources()).error


@pytest.mark.cluster
@pytest.mark.slow
def test_two_clusters_share_a_node(slurm: Stage) -> None:
    asked = Resources(nodes=1, cpus=2, mem=1500, nodelist="node1")
    results = [slurm.begin("ray_tasks.py", RayLauncher(), asked) for _ in range(2)]
    outcomes = [result() for result in results]
    assert all(outcome.failure is None for outcome in outcomes), outcomes
    assert len({outcome.metadata["address"] for outcome in outcomes}) == 2


@pytest.mark.cluster
@pytest.mark.slow
def test_gpus_of_the_request_are_the_clusters(slurm: Stage) -> None:
    launcher = RayLauncher(num_gpus_per_node=2)
    outcome = slurm.run("ray_tasks.py", launcher, Resources(partition="gpu", nodes=1, cpus=2, mem=2000))
    assert outcome.failure is None, outcome.error
    assert outcome.metadata["gpus"] == outcome.metadata["slurm/ray_gpus"] == 2
