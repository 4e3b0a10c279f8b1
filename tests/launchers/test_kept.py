"""A cluster that one run keeps and others use: the two halves of what a launcher does."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from dagster_slurm import RayLauncher, Resources, SparkLauncher
from dagster_slurm.launchers.cluster import ClusterLauncher
from dagster_slurm.launchers.launcher import ComputeLauncher, Setting, Started
from tests.launchers import environments, traces
from tests.launchers.conftest import REAL, Stage, stage_with

TWO = Resources(nodes=2, cpus=2, mem=2000)
DRIVER = Resources(cpus=1, mem=1000)


@dataclass(frozen=True, kw_only=True)
class Half(ComputeLauncher):
    """One half: without a connection it keeps the cluster, with it a payload is run there."""

    whole: ClusterLauncher
    connection: str = ""

    def programs(self) -> dict[str, Path]:
        return dict(self.whole.programs())

    def start(self, setting: Setting) -> Started:
        return self.whole.drive(setting, self.connection) if self.connection else self.whole.serve(setting)


def kept(stage: Stage, launcher: ClusterLauncher) -> str:
    """Wait until the cluster is published."""
    deadline = time.monotonic() + 60
    while True:
        for place in stage.base.glob(f"**/{launcher.framework}.0/connection"):
            assert str(place) == launcher.connection(str(place.parents[1]))
            if place.read_text().endswith("READY=1\n"):
                return str(place)
        assert time.monotonic() < deadline
        time.sleep(0.2)


FRAMEWORKS = [
    pytest.param(RayLauncher(), "ray_tasks.py", environments.ray, id="ray"),
    pytest.param(
        SparkLauncher(num_executors=2), "spark_jobs.py", environments.spark, id="spark", marks=pytest.mark.slow
    ),
]


@pytest.mark.parametrize(("launcher", "payload", "environment"), FRAMEWORKS)
@pytest.mark.parametrize("mode", [pytest.param("local", marks=pytest.mark.slow), REAL])
def test_drivers_come_and_go(
    mode: str,
    launcher: ClusterLauncher,
    payload: str,
    environment: Callable[[], Path],
    request: pytest.FixtureRequest,
) -> None:
    with stage_with(request, mode, environment()) as stage, traces.none_left(stage.base):
        keeper = stage.begin("alone.sh", Half(whole=launcher), TWO)
        place = kept(stage, launcher)
        assert Path(place).stat().st_mode & 0o077 == 0
        for number in range(2):
            driver = Half(whole=launcher, connection=place)
            outcome = stage.run(payload, driver, DRIVER, workers=2 if stage.slurm else 1)
            assert outcome.failure is None, (number, outcome.error)
            assert len(outcome.metadata["nodes"]) == (2 if stage.slurm else 1)
            assert re.match(r"\d", outcome.metadata[f"slurm/{launcher.framework}_version"])
        Path(place).with_name("stop").write_text("stop\n")
        ended = keeper()
        assert ended.failure is None, ended.error
        assert not Path(place).exists()
        if not stage.slurm:
            late = stage.run(payload, Half(whole=launcher, connection=place), DRIVER)
            assert f"the cluster of {place} is gone" in late.error


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize(("launcher", "payload", "environment"), FRAMEWORKS)
def test_a_daemon_that_dies_ends_the_keeper_with_its_name(
    launcher: ClusterLauncher, payload: str, environment: Callable[[], Path], request: pytest.FixtureRequest
) -> None:
    with stage_with(request, "slurm", environment()) as stage, traces.none_left(stage.base):
        keeper = stage.begin("alone.sh", Half(whole=launcher), TWO)
        kept(stage, launcher)
        traces.kill(stage.base, "raylet" if launcher.framework == "ray" else "deploy.worker.Worker")
        assert re.search(r"node\d: (Ray|Spark's worker) on node\d ended", keeper().error)
