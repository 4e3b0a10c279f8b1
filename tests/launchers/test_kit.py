"""What dagster-slurm gives to those who test a launcher of their own."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dagster_slurm import BashLauncher, ComputeLauncher, RayLauncher, Resources, SparkLauncher
from dagster_slurm.launchers import testing
from dagster_slurm.launchers.launcher import Setting, Started


@pytest.mark.parametrize(
    "launcher",
    [
        BashLauncher(),
        BashLauncher(tasks_per_node=2, torchrun=True),
        RayLauncher(num_gpus_per_node=1),
        SparkLauncher(executor_cores=2),
    ],
)
def test_our_own_launchers_pass(launcher: ComputeLauncher) -> None:
    testing.check(launcher)


@dataclass(frozen=True, kw_only=True)
class Wrong(ComputeLauncher):
    """Wrong in one way or another."""

    command: tuple[str, ...] = ("python3", "a payload.py", "$HOME")
    programs_: tuple[str, ...] = ()
    counter: itertools.count[int] | None = field(default=None, compare=False)

    def programs(self) -> dict[str, Path]:
        return {name: Path(name) for name in self.programs_}

    def start(self, setting: Setting) -> Started:
        assert setting.command
        more = () if self.counter is None else (str(next(self.counter)),)
        return Started((*self.command, *more))


@pytest.mark.parametrize(
    ("launcher", "reason"),
    [
        (Wrong(command=()), "must return a command"),
        (Wrong(command=("sh", "-c", "python3 a payload.py")), "no shell reads them"),
        (Wrong(counter=itertools.count()), "the same for the same"),
        (Wrong(programs_=("nowhere.sh",)), "nowhere.sh is not at"),
    ],
)
def test_wrong_ones_do_not(launcher: ComputeLauncher, reason: str) -> None:
    with pytest.raises(AssertionError, match=reason):
        testing.check(launcher)


def test_a_run_here() -> None:
    # the first failure ends the others: it must not be faster than rank 0's line
    words = "echo $RANK of $WORLD_SIZE; [ $RANK = 0 ] || sleep 1; exit $RANK"
    ran = testing.run(BashLauncher(tasks_per_node=2), ["sh", "-c", words])
    assert (ran.code, sorted(ran.out.splitlines())) == (1, ["0: 0 of 2", "1: 1 of 2"])
    assert ran.fault.startswith("rank 1 on ")
    assert testing.run(BashLauncher(), ["true"], Resources(cpus=1)) == testing.Ran(0, "", "")
