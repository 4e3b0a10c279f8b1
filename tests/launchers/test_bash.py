"""What BashLauncher renders, asks for and refuses."""

from __future__ import annotations

import pytest

from dagster_slurm import BashLauncher, Resources
from dagster_slurm.errors import ConfigurationError
from dagster_slurm.launchers.launcher import Setting

TWO = Setting(command=("python3", "x.py", "a b"), resources=Resources(nodes=2, cpus=3), programs="/store/abc")


def test_one_process_is_the_payload_itself() -> None:
    one = Setting(command=("python3", "x.py"))
    assert BashLauncher().start(one).command == ("python3", "x.py")
    assert not BashLauncher().start(one).remarks
    assert not BashLauncher().programs()


def test_one_process_on_many_nodes_is_remarked_upon() -> None:
    (remark,) = BashLauncher().start(TWO).remarks
    assert remark.startswith("The job asks for 2 nodes")
    assert not BashLauncher(tasks_per_node=1).start(TWO).remarks


def test_many_processes() -> None:
    started = BashLauncher(tasks_per_node=4, srun_args=("--mpi=pmix", "a b")).start(TWO)
    assert started.command == ("bash", "/store/abc/ranks.sh", "python3", "x.py", "a b")
    assert started.files["launcher.sh"].splitlines()[:-1] == [
        "PYTHON=python3",
        "NODES=2",
        "TASKS_PER_NODE=4",
        "CPUS_PER_TASK=3",
        "TORCHRUN=",
        "LOCAL=",
        "INTERFACE=",
        "SRUN_ARGS=(--mpi=pmix 'a b')",
    ]


def test_the_launcher_asks_for_its_tasks() -> None:
    assert BashLauncher(tasks_per_node=4).needs().options == {"ntasks-per-node": 4}
    assert BashLauncher(tasks_per_node=4, torchrun=True).needs() == Resources()


@pytest.mark.parametrize("arguments", [{"tasks_per_node": 0}, {"tasks_per_node": True}, {"torchrun": True}])
def test_what_cannot_work_is_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError):
        BashLauncher(**arguments)


def test_more_tasks_than_the_job_has_are_refused() -> None:
    setting = Setting(command=("x",), resources=Resources(options={"ntasks-per-node": 2}))
    with pytest.raises(ConfigurationError, match="exceeds the job's ntasks-per-node=2"):
        BashLauncher(tasks_per_node=4).start(setting)
