"""Real frameworks over the ranks: gloo and MPI add up over two nodes."""

from __future__ import annotations

import pytest

from dagster_slurm import BashLauncher, Resources
from testcluster import Cluster
from tests.launchers import environments
from tests.launchers.conftest import real_stage, stage_with

TWO = Resources(nodes=2, cpus=1, mem=1500)


@pytest.mark.slow
@pytest.mark.parametrize("torchrun", [False, True])
@pytest.mark.parametrize("mode", ["local", pytest.param("slurm", marks=pytest.mark.cluster)])
def test_gloo(mode: str, torchrun: bool, request: pytest.FixtureRequest) -> None:
    with stage_with(request, mode, environments.torch()) as stage:
        launcher = BashLauncher(tasks_per_node=2, torchrun=torchrun)
        outcome = stage.run("all_reduce.py", launcher, TWO, **{"with": "torch"})
    assert outcome.failure is None, outcome.error
    world = 4 if mode == "slurm" else 2
    assert (outcome.metadata["world"], outcome.metadata["total"]) == (world, world * (world + 1) / 2)
    assert len(set(outcome.metadata["nodes"])) == world // 2


@pytest.mark.cluster
def test_mpi(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    with real_stage(cluster, capsys, environments.mpi()) as stage:
        launcher = BashLauncher(tasks_per_node=2, srun_args=("--mpi=pmi2",))
        outcome = stage.run("all_reduce.py", launcher, TWO, **{"with": "mpi"})
    assert outcome.failure is None, outcome.error
    assert (outcome.metadata["world"], outcome.metadata["total"]) == (4, 10)
    nodes = outcome.metadata["nodes"]
    assert len(set(nodes)) == 2
    assert nodes[0] == nodes[1]
