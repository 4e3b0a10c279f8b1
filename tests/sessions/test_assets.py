"""Assets in a session, as users run them."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_slurm import BashLauncher, ComputeResource, Resources, SlurmSessionResource
from testcluster import Cluster
from tests.dagster.conftest import DAGSTERS, on
from tests.dagster.counting import wait_until
from tests.dagster.support import Bench, Payloads, asset_that_runs

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings(DAGSTERS)]


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    home = tmp_path / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(home)) as opened:
        yield opened


def in_session(cluster: Cluster, **asked: Any) -> ComputeResource:
    asked = {"cpus": 4, "mem": "1G", "time_limit": "00:10:00", **asked}
    return ComputeResource(
        mode="slurm-session",
        slurm=on(cluster).slurm,
        session=SlurmSessionResource(**asked),
        default_launcher=BashLauncher(),
    )


@pytest.fixture
def bench(instance: dg.DagsterInstance, cluster: Cluster, tmp_path: Path) -> Callable[..., Bench]:
    return lambda **asked: Bench(instance, in_session(cluster, **asked), Payloads(tmp_path / "payloads"))


def states(cluster: Cluster, job: Any) -> list[str]:
    rows = cluster.run(["squeue", "-h", "--states=all", "-j", str(job), "-o", "%T"]).stdout.split()
    return list(rows)


def test_assets_of_a_run_share_an_allocation_that_ends_with_it(bench: Callable[..., Bench], cluster: Cluster) -> None:
    place = bench()
    payload = place.payloads.pipes("pipes.report_asset_materialization(metadata={'pid': os.getpid()})")
    ran = place.materialize(*(asset_that_runs(payload, name) for name in ("one", "two", "three")))
    assert ran.success
    found = [ran.metadata(name) for name in ("one", "two", "three")]
    jobs = {metadata["slurm/job_id"] for metadata in found}
    assert len(jobs) == 1
    assert {metadata["slurm/step"] for metadata in found} == {f"{next(iter(jobs))}.{number}" for number in range(3)}
    assert len({metadata["pid"] for metadata in found}) == 3
    assert all(metadata["slurm/session"].startswith("run-") for metadata in found)
    assert max(metadata["slurm/session_idle_node_hours"] for metadata in found) > 0
    assert max(metadata["slurm/session_busy_node_hours"] for metadata in found) > 0
    wait_until(lambda: states(cluster, next(iter(jobs))) == ["COMPLETED"], timeout=30)


def test_each_asset_has_its_own_end(bench: Callable[..., Bench]) -> None:
    place = bench()
    fails = asset_that_runs(place.payloads.plain("import sys; print('out'); sys.exit(7)"), "fails")
    ran = place.materialize(fails, asset_that_runs(place.payloads.plain("print('fine')"), "works"))
    assert not ran.success
    assert ran.materialized() == ["works"]
    assert ran.failure.metadata["slurm/cause"] == "exit_code"
    assert ran.failure.metadata["slurm/exit_code"] == 7
    assert ran.failure.text.startswith("step ")


def test_a_named_session_serves_the_next_run_until_it_is_idle(bench: Callable[..., Bench], cluster: Cluster) -> None:
    place = bench(name=f"shared-{os.getpid()}", idle_timeout=4)
    payload = place.payloads.plain("print('fine')")
    jobs = [place.run(payload).metadata()["slurm/job_id"] for _ in range(2)]
    assert jobs[0] == jobs[1]
    wait_until(lambda: states(cluster, jobs[0]) == ["COMPLETED"], timeout=40)
    assert place.run(payload).metadata()["slurm/job_id"] != jobs[0]


def test_what_the_session_has_decided_is_said(bench: Callable[..., Bench]) -> None:
    place = bench()
    ran = place.run(["true"], resources=Resources(partition="gpu"))
    assert ran.success
    assert "Not looked at in a session, whose allocation decides: partition." in ran.logged("warning")


def test_a_session_is_needed(cluster: Cluster, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    compute = ComputeResource(mode="slurm-session", slurm=on(cluster).slurm)
    failed = Bench(instance, compute, Payloads(tmp_path)).refused(["true"])
    assert 'mode="slurm-session" needs a session' in failed.text


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"idle_timeout": 0}, "idle_timeout"),
        ({"num_nodes": 0}, "num_nodes"),
        ({"max_concurrent_jobs": 0}, "max_concurrent_jobs"),
        ({"name": " "}, "name is empty"),
    ],
)
def test_settings_that_cannot_be(bench: Callable[..., Bench], asked: dict[str, Any], text: str) -> None:
    assert text in bench(**asked).refused(["true"]).text


def test_the_code_is_the_same_in_other_modes(instance: dg.DagsterInstance, cluster: Cluster, tmp_path: Path) -> None:
    session = SlurmSessionResource(num_nodes=4)
    compute = ComputeResource(mode="local", local_base=str(tmp_path), session=session, slurm=on(cluster).slurm)
    assert Bench(instance, compute, Payloads(tmp_path / "payloads")).run(["true"]).success
