"""``build_slurm_orphan_sensor``: jobs of runs that have ended are cancelled, and no others."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.tags import PARENT_RUN_ID_TAG
from dagster._core.test_utils import create_run_for_test

from dagster_slurm import ComputeResource, SlurmResource, SSHConnectionResource, build_slurm_orphan_sensor
from testcluster import Cluster
from tests.cli.jobs import Job, submitting
from tests.dagster.conftest import connection

pytestmark = pytest.mark.cluster
Status = dg.DagsterRunStatus
Submit = Callable[..., Job]


@pytest.fixture
def base(tmp_path: Path) -> str:
    return f"~/orphans-{tmp_path.name}-{time.time_ns()}"


@pytest.fixture
def submit(cluster: Cluster, base: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Submit]:
    for name, value in cluster.client_environment.items():
        monkeypatch.setenv(name, value)
    with submitting(base=base) as go:
        yield go
    cluster.run(["sh", "-c", "scancel --user=$USER"])


@pytest.fixture
def compute(cluster: Cluster, base: str) -> ComputeResource:
    return ComputeResource(mode="slurm", slurm=SlurmResource(ssh=connection(cluster), remote_base=base))


@pytest.fixture
def started(submit: Submit, instance: dg.DagsterInstance) -> Callable[..., Job]:
    """A job, and its run in a status."""

    def start(status: dg.DagsterRunStatus, parent: Job | None = None) -> Job:
        tags = {} if parent is None else {PARENT_RUN_ID_TAG: parent.run}
        run = create_run_for_test(instance, status=Status.STARTED, tags=tags)
        job = submit("sleep 100", run=run.run_id)
        if status is Status.FAILURE:
            instance.report_run_failed(run)
        elif status is Status.CANCELED:
            instance.report_run_canceled(run)
        return job

    return start


def tick(compute: ComputeResource, instance: dg.DagsterInstance, **options: Any) -> str:
    sensor = build_slurm_orphan_sensor(**options)
    with dg.build_sensor_context(instance=instance, resources={"compute": compute}) as context:
        return sensor.evaluate_tick(context).skip_message or ""


def state(cluster: Cluster, job: Job) -> str:
    return cluster.admin(["squeue", "-h", "-t", "all", "-j", job.id, "-o", "%T"]).strip()


GOES_ON, ENDED = ("PENDING", "RUNNING"), ("CANCELLED", "COMPLETING")


def test_only_jobs_of_runs_that_ended(
    started: Submit, submit: Submit, compute: ComputeResource, instance: dg.DagsterInstance, cluster: Cluster
) -> None:
    cancelled, going_on, stranger = started(Status.CANCELED), started(Status.STARTED), submit("sleep 100")
    said = tick(compute, instance)
    assert said == f"cancelled job {cancelled.id} of squares, whose run {cancelled.run[:8]} has ended"
    assert state(cluster, cancelled) in ENDED
    assert state(cluster, going_on) in GOES_ON
    assert state(cluster, stranger) in GOES_ON
    logged = [entry.dagster_event.message or "" for entry in instance.all_logs(cancelled.run) if entry.dagster_event]
    assert any(f"Cancelled job {cancelled.id} of squares" in text for text in logged)


def test_a_failed_run_may_be_retried_for_a_while(
    started: Callable[..., Job], compute: ComputeResource, instance: dg.DagsterInstance, cluster: Cluster
) -> None:
    failed, retried = started(Status.FAILURE), started(Status.FAILURE)
    started(Status.STARTED, parent=retried)
    assert "3 jobs go on, none of a run that has ended" in tick(compute, instance)
    said = tick(compute, instance, grace_minutes=0)
    assert failed.id in said
    assert retried.id not in said
    assert state(cluster, failed) in ENDED
    assert state(cluster, retried) in GOES_ON


def test_a_resource_by_name_and_by_value(
    started: Callable[..., Job], compute: ComputeResource, instance: dg.DagsterInstance
) -> None:
    job = started(Status.CANCELED)
    sensor = build_slurm_orphan_sensor(compute, name="mine", minimum_interval_seconds=60)
    assert (sensor.name, sensor.minimum_interval_seconds) == ("mine", 60)
    with dg.build_sensor_context(instance=instance) as context:
        assert job.id in (sensor.evaluate_tick(context).skip_message or "")


def test_a_cluster_that_is_not_reached(instance: dg.DagsterInstance, base: str) -> None:
    nowhere = SSHConnectionResource(host="no-such-host.invalid")
    compute = ComputeResource(mode="slurm", slurm=SlurmResource(ssh=nowhere, remote_base=base))
    assert "was not reached" in tick(compute, instance)
