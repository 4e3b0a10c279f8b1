"""What the log of a run says while it waits, and what it never says."""

import os
from pathlib import Path

import dagster as dg
import pytest

from dagster_slurm import ComputeResource, SlurmQueueConfig, SlurmResource
from testcluster import Cluster
from tests.dagster.conftest import BOTH, connection
from tests.dagster.support import Bench, Payloads
from tests.fakeslurm import FakeSlurm


def test_why_a_job_waits(fake_bench: Bench, fake: FakeSlurm) -> None:
    fake.configure(pending_time=8.0, pending_reason="Resources")
    ran = fake_bench.run(["true"])
    assert ran.success
    said = [line for line in ran.logged("info") if line.startswith("The job waits in the queue: ")]
    assert len(said) == 1
    assert said[0].startswith("The job waits in the queue: Resources, expected to start at ")


def test_a_limit_that_is_reached_is_waited_out(fake_bench: Bench, fake: FakeSlurm) -> None:
    """Said once, not at each attempt; the job is submitted once there is room."""
    fake.refuse("AssocMaxSubmitJobLimit", times=2)
    ran = fake_bench.run(["true"])
    assert ran.success
    said = [line for line in ran.logged("warning") if "AssocMaxSubmitJobLimit" in line]
    assert len(said) == 1
    assert said[0].startswith("Slurm does not take the job now: ")
    assert "the submission is repeated until Slurm takes it" in said[0]
    assert len(fake.jobs()) == 1


SECRET = "s3cr3t-51c9"


@BOTH
@pytest.mark.parametrize("code", [0, 3])
def test_no_event_and_no_file_that_stays_has_a_secret(any_bench: Bench, code: int) -> None:
    """Of a variable that the payload gets: everything that Dagster keeps, and the run directory."""
    path = any_bench.payloads.plain(f"import os\nprint(len(os.environ['TOKEN']))\nraise SystemExit({code})")
    ran = any_bench.run(path, extra_env={"TOKEN": SECRET})
    assert ran.success is (code == 0)
    kept = any_bench.instance.all_logs(ran.result.run_id)
    assert len(kept) > 5
    assert SECRET not in "".join(entry.to_json() for entry in kept)
    metadata = ran.metadata() if code == 0 else ran.failure.metadata
    directory = Path(metadata["slurm/run_directory"])
    texts = {file.name: file.read_bytes() for file in directory.rglob("*") if file.is_file()}
    assert texts["stdout.0"] == b"%d\n" % len(SECRET)
    assert not [name for name, text in texts.items() if SECRET.encode() in text]


@pytest.mark.cluster
def test_the_python_there_can_be_named(
    instance: dg.DagsterInstance, payloads: Payloads, cluster: Cluster, tmp_path: Path
) -> None:
    """For the program on the login node and for payloads."""
    python = cluster.home / f"python-{os.getpid()}"
    python.write_text('#!/bin/sh\nNAMED_PYTHON=yes exec /usr/bin/python3 "$@"\n')
    python.chmod(0o755)
    queue = SlurmQueueConfig(partition="compute", cpus=1, mem="100M", time_limit="00:05:00")
    slurm = SlurmResource(ssh=connection(cluster), queue=queue, remote_python=str(python))
    path = payloads.pipes("pipes.report_asset_materialization(metadata={'seen': os.environ.get('NAMED_PYTHON')})")
    ran = Bench(instance, ComputeResource(mode="slurm", slurm=slurm), payloads).run(path)
    assert ran.metadata()["seen"] == "yes"
