"""Launchers with processes of their own in one allocation: on the unit's nodes, with its share, and gone with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dagster_slurm import BashLauncher, RayLauncher, Resources, SparkLauncher
from dagster_slurm.launchers.launcher import ComputeLauncher
from testcluster import Cluster
from tests.conformance.driver import until
from tests.dagster.conftest import DAGSTERS
from tests.launchers import environments, traces
from tests.launchers.conftest import Stage
from tests.sessions.stages import end_all, place_on, ran, stage_in

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings(DAGSTERS)]
ONE_GPU = Resources(nodes=2, cpus=1, gpus_per_node=1)
TWO_GPUS = replace(ONE_GPU, gpus_per_node=2)


@pytest.fixture(scope="module")
def place(cluster: Cluster) -> Iterator[Path]:
    with place_on(cluster) as folder:
        yield folder
        end_all(cluster, folder)


@pytest.fixture
def stage(cluster: Cluster, place: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Stage]:
    """One session for all tests: two nodes with four CPUs and four GPUs each."""
    with stage_in(cluster, place, capsys, {}, partition="gpu", num_nodes=2, cpus=4, mem=3000, gpus_per_node=4) as found:
        yield found


def steps(stage: Stage) -> set[str]:
    """Steps that run, but for those of batch scripts."""
    assert stage.cluster is not None
    found = stage.cluster.run(["squeue", "-h", "--steps", "-o", "%i"]).stdout.split()
    return {step for step in found if step.rpartition(".")[2].isdigit()}


def test_ranks_have_their_units_nodes_and_devices(stage: Stage) -> None:
    """Another unit holds the first GPUs of both nodes, and the ranks that run meanwhile see others."""
    holds = stage.begin("ranks.py", BashLauncher(tasks_per_node=1), TWO_GPUS, what="hold")
    stage.wait_for("holds.0", "holds.1")
    ranks = ran(stage.run("ranks.py", BashLauncher(tasks_per_node=2), ONE_GPU)).metadata["ranks"]
    (stage.shared / "go").touch()
    held = ran(holds()).metadata["ranks"]
    assert [rank["devices"] for rank in held] == ["0,1", "0,1"]
    assert {rank["devices"] for rank in ranks} == {"2"}
    assert len({rank["node"] for rank in ranks}) == 2
    assert sorted(rank["LOCAL_RANK"] for rank in ranks) == [0, 0, 1, 1]


def test_the_rank_that_failed_first_is_named(stage: Stage) -> None:
    outcome = stage.run("ranks.py", BashLauncher(tasks_per_node=2), ONE_GPU, what="fail", rank=1)
    assert "rank 1 on node" in outcome.error
    assert outcome.failure is not None
    assert outcome.failure.error.exit_code == 7


def test_a_cancel_reaches_the_ranks_and_their_traps_run(stage: Stage) -> None:
    """Of one asset; the other one goes on."""
    stays = stage.begin("ranks.py", BashLauncher(tasks_per_node=1), ONE_GPU, what="hold")
    stage.wait_for("holds.0", "holds.1")
    before = steps(stage)
    ends = stage.begin("ranks.py", BashLauncher(tasks_per_node=1), Resources(nodes=2), what="save")
    until(lambda: len(steps(stage) - before) == 2)
    unit = min(steps(stage) - before, key=lambda step: int(step.rpartition(".")[2]))
    stage.wait_for("begun.0", "begun.1")
    assert stage.cluster is not None
    stage.cluster.run(["scancel", "--signal=TERM", unit])
    assert ends().failure is not None
    assert {path.name for path in stage.shared.glob("saved.*")} == {"saved.0", "saved.1"}
    until(lambda: steps(stage) == before)
    (stage.shared / "go").touch()
    ran(stays())


def test_a_unit_that_is_killed_leaves_no_steps(stage: Stage) -> None:
    """Its script and the srun in it could not say good-bye."""
    before = steps(stage)
    killed = stage.begin("ranks.py", BashLauncher(tasks_per_node=1), ONE_GPU, what="hold")
    stage.wait_for("holds.0", "holds.1")
    unit = min(steps(stage) - before, key=lambda step: int(step.rpartition(".")[2]))
    assert stage.cluster is not None
    stage.cluster.run(["scancel", "--signal=KILL", unit])
    assert killed().failure is not None
    until(lambda: steps(stage) == before)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "payload", "environment"),
    [
        (RayLauncher(), "ray_tasks.py", environments.ray),
        (SparkLauncher(num_executors=2), "spark_jobs.py", environments.spark),
    ],
)
def test_a_cluster_of_its_own(
    stage: Stage, launcher: ComputeLauncher, payload: str, environment: Callable[[], Path]
) -> None:
    asked = Resources(nodes=2, cpus=2, mem=2000, gpus_per_node=1)
    with traces.none_left(stage.base / "base" / "runs"):
        outcome = ran(stage.run(payload, launcher, asked, environment=str(environment()), workers=2))
    assert len(outcome.metadata["nodes"]) == 2
    if isinstance(launcher, RayLauncher):
        assert (outcome.metadata["cpus"], outcome.metadata["gpus"]) == (4, 2)
    assert not steps(stage)
