"""One process per task, on all nodes of the job or on this machine."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from dagster_slurm import BashLauncher, Resources
from tests.launchers.conftest import Stage

TWO = Resources(nodes=2, cpus=1)


@pytest.mark.parametrize("torchrun", [False, True])
def test_ranks_find_each_other(stage: Stage, torchrun: bool) -> None:
    if torchrun:
        shutil.copytree(Path(__file__).parent / "torchrun_stub", stage.shared, dirs_exist_ok=True)
    outcome = stage.run("ranks.py", BashLauncher(tasks_per_node=2, torchrun=torchrun), TWO)
    assert outcome.failure is None, outcome.error
    world = 4 if stage.slurm else 2
    ranks = sorted(outcome.metadata["ranks"], key=lambda rank: rank["rank"])
    assert outcome.metadata["total"] == world * (world + 1) // 2
    assert [rank["LOCAL_RANK"] for rank in ranks] == [0, 1] * (world // 2)
    assert [rank["NODE_RANK"] for rank in ranks] == [number // 2 for number in range(world)]
    assert {rank["WORLD_SIZE"] for rank in ranks} == {world}
    assert {rank["LOCAL_WORLD_SIZE"] for rank in ranks} == {2}
    assert len({rank["node"] for rank in ranks}) == world // 2
    for rank in range(world):
        assert f"{rank}: hello from {rank} of {world}\n" in outcome.out


def test_the_rank_that_failed_first_is_named(stage: Stage) -> None:
    outcome = stage.run("ranks.py", BashLauncher(tasks_per_node=2), TWO, what="fail", rank=1)
    node = outcome.failure and outcome.failure.error.details["node"]
    assert re.search(r"rank 1 on \S+ ended with exit code 7", outcome.error), outcome.error
    assert "1: this is the culprit" in outcome.error
    assert outcome.failure is not None
    assert outcome.failure.error.exit_code == 7, node


@pytest.mark.cluster
@pytest.mark.parametrize("options", [["--batch", "--signal=TERM"], []])
def test_term_reaches_the_ranks_and_their_traps_run(slurm: Stage, options: list[str]) -> None:
    result = slurm.begin("ranks.py", BashLauncher(tasks_per_node=1), TWO, what="save")
    slurm.wait_for("begun.0", "begun.1")
    slurm.cancel(*options)
    assert result().failure is not None
    assert {path.name for path in slurm.shared.glob("saved.*")} == {"saved.0", "saved.1"}


@pytest.mark.cluster
def test_many_nodes_and_one_process_is_warned_about(slurm: Stage) -> None:
    outcome = slurm.run("alone.sh", BashLauncher(), TWO)
    assert outcome.failure is None
    assert "BashLauncher(tasks_per_node=1) starts it on every node" in outcome.err
