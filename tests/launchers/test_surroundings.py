"""Odd surroundings: a container around the environment, tools that a node lacks, names that do not resolve, IPv6."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

import dagster_slurm
from dagster_slurm import BashLauncher, RayLauncher, Resources, SparkLauncher
from dagster_slurm.environments.prefix import CommandPrefix
from dagster_slurm.launchers.launcher import ComputeLauncher
from testcluster import Cluster
from tests.launchers import environments, traces
from tests.launchers.conftest import Outcome, Stage, real_stage

TWO = Resources(nodes=2, cpus=2, mem=2000)
SOURCE = Path(dagster_slurm.__file__).parent
#: what scripts may use on a node, besides bash's own words; uuidgen, ss, flock, ip and hostname are not among them
TOOLS = (
    "awk base64 bash basename cat chmod cp cut date dirname env expr getconf grep head kill ln ls mkdir mktemp mv nice "
    "ps python3 readlink rm scancel scontrol sed sh sleep sort srun sync tail tee test touch tr true uname wc which"
).split()

CONTAINER = """#!/bin/bash
# Like a container, it has its own programs: those of the environment. Outside of it, nobody finds them.
echo "$*" >>"{seen}"
. "{activate}" 2>/dev/null || export PATH="{environment}/bin:$PATH"
exec "$@"
"""


@pytest.fixture
def slurm(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> Iterator[Stage]:
    with real_stage(cluster, capsys) as real, traces.none_left(real.base):
        yield real


def container(stage: Stage, environment: Path) -> tuple[CommandPrefix, Path]:
    """The words that start it, and a file that says what was started in it."""
    wrapper, seen = stage.shared / "contain er.sh", stage.shared / "seen"
    wrapper.write_text(CONTAINER.format(seen=seen, environment=environment, activate=environment / "activate.sh"))
    wrapper.chmod(0o755)
    return CommandPrefix([str(wrapper)], python="python3"), seen


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("launcher", "payload", "made"),
    [
        pytest.param(RayLauncher(), "ray_tasks.py", environments.ray, id="ray"),
        pytest.param(SparkLauncher(), "spark_jobs.py", environments.spark, id="spark", marks=pytest.mark.slow),
    ],
)
def test_daemons_start_inside_a_container(slurm: Stage, launcher: ComputeLauncher, payload: str, made: object) -> None:
    assert callable(made)
    prefix, seen = container(slurm, made())
    outcome = slurm.run(payload, launcher, TWO, environment=prefix)
    assert outcome.failure is None, outcome.error
    assert len(outcome.metadata["nodes"]) == 2
    daemons = [line for line in seen.read_text().splitlines() if "ray_start.py" in line or "spark-class" in line]
    assert len(daemons) >= 2


@pytest.mark.cluster
def test_ranks_start_inside_a_container_once(slurm: Stage) -> None:
    prefix, seen = container(slurm, Path("/usr"))
    outcome = slurm.run("ranks.py", BashLauncher(tasks_per_node=1), TWO, environment=prefix)
    assert outcome.failure is None, outcome.error
    assert outcome.metadata["total"] == 3
    assert len(seen.read_text().splitlines()) == 2


@contextmanager
def bare_path(stage: Stage) -> Iterator[dict[str, str]]:
    """A PATH with few tools."""
    folder = stage.base / "tools"
    folder.mkdir()
    for name in TOOLS:
        found = subprocess.run(["bash", "-c", f"type -P {name}"], capture_output=True, text=True, check=False).stdout
        if found and not found.startswith(str(Path.home())):
            (folder / name).symlink_to(found.strip())
    (folder / "python3").unlink(missing_ok=True)
    (folder / "python3").symlink_to("/usr/bin/python3")
    yield {"PATH": str(folder)}


def in_bare_surroundings(
    cluster: Cluster,
    capsys: pytest.CaptureFixture[str],
    launcher: ComputeLauncher,
    payload: str,
    environment: Path | None,
) -> Outcome:
    with (
        real_stage(cluster, capsys, environment) as stage,
        traces.none_left(stage.base),
        bare_path(stage) as variables,
    ):
        if environment is not None:
            variables["PATH"] = f"{environment}/bin:{variables['PATH']}"
        outcome = stage.run(payload, launcher, TWO, variables=variables)
        assert outcome.failure is None, outcome.error
        return outcome


@pytest.mark.cluster
def test_ranks_need_few_tools(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    launcher = BashLauncher(tasks_per_node=1)
    assert in_bare_surroundings(cluster, capsys, launcher, "ranks.py", None).metadata["total"] == 3


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "payload", "made"),
    [
        pytest.param(RayLauncher(), "ray_tasks.py", environments.ray, id="ray"),
        pytest.param(SparkLauncher(), "spark_jobs.py", environments.spark, id="spark"),
    ],
)
def test_clusters_need_few_tools(
    cluster: Cluster, capsys: pytest.CaptureFixture[str], launcher: ComputeLauncher, payload: str, made: object
) -> None:
    assert callable(made)
    outcome = in_bare_surroundings(cluster, capsys, launcher, payload, made())
    assert len(outcome.metadata["nodes"]) == 2


def test_names_of_the_test_clusters_nodes_do_not_resolve(cluster: Cluster) -> None:
    """What all tests of this folder rely on: they pass although nobody can look up a node."""
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("node2", 9)


def ipv6() -> str:
    """An IPv6 address of this machine that is not loopback alone; empty: it has none."""
    table = Path("/proc/net/if_inet6")
    lines = [line.split() for line in table.read_text().splitlines()] if table.exists() else []
    return next((socket.inet_ntop(socket.AF_INET6, bytes.fromhex(line[0])) for line in lines if line[3] == "00"), "")


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.skipif(not ipv6(), reason="this machine has no IPv6")
def test_ray_over_ipv6(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    with real_stage(cluster, capsys, environments.ray()) as stage, traces.none_left(stage.base):
        outcome = stage.run("ray_tasks.py", RayLauncher(node_ip_address_command=f"echo {ipv6()}"), TWO)
    assert outcome.failure is None, outcome.error
    assert outcome.metadata["address"].startswith(f"[{ipv6()}]:")
    assert len(outcome.metadata["nodes"]) == 2


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.skipif(not ipv6(), reason="this machine has no IPv6")
def test_spark_over_ipv6(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    launcher = SparkLauncher(node_ip_address_command=f"echo {ipv6()}")
    with real_stage(cluster, capsys, environments.spark()) as stage, traces.none_left(stage.base):
        outcome = stage.run("spark_jobs.py", launcher, TWO)
    assert outcome.failure is None, outcome.error
    assert outcome.metadata["master"].startswith("spark://[")
    assert len(outcome.metadata["nodes"]) == 2


def address(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-I", "-S", SOURCE / "remote/node_address.py", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or done.stderr.strip()


def test_an_address_by_interface() -> None:
    assert address("--address", "--interface", "lo") == "127.0.0.1"
    assert "the network interface nope7 has no address here" in address("--address", "--interface", "nope7")
    assert address("--address", "--toward", "127.0.0.1") == "127.0.0.1"
    if ipv6():
        assert address("--address", "--toward", ipv6()) == ipv6()


@pytest.mark.cluster
@pytest.mark.slow
def test_an_environment_without_bytecode(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    """It takes longer, and works."""
    with real_stage(cluster, capsys, environments.ray()) as stage, traces.none_left(stage.base):
        variables = {"PYTHONPYCACHEPREFIX": str(stage.shared / "none"), "PYTHONDONTWRITEBYTECODE": "1"}
        outcome = stage.run("ray_tasks.py", RayLauncher(), replace(TWO, nodes=1), variables=variables)
    assert outcome.failure is None, outcome.error
