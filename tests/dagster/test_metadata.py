"""What the metadata of a materialization say of its job, with values that can be true."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from dagster_slurm import Resources
from testcluster import Cluster
from tests.dagster.conftest import on
from tests.dagster.support import Bench, Payloads

WORKS = """
import time
data = bytearray(60_000_000)
data[::4096] = b"x" * len(data[::4096])
until = time.process_time() + 0.5
while time.process_time() < until: pass
time.sleep(0.5)
"""


def used(metadata: dict[str, Any]) -> None:
    """What the job's own record tells, in every mode."""
    assert metadata["slurm/state"] == "COMPLETED"
    assert metadata["slurm/exit_code"] == 0
    assert 60 < metadata["slurm/peak_memory_mib"] < 100
    assert 0.4 < metadata["slurm/cpu_seconds"] < 3
    assert 1.0 <= metadata["slurm/elapsed_seconds"] < 120
    assert metadata["slurm/restarts"] == 0
    assert metadata["slurm/node_count"] == 1
    assert metadata["slurm/evidence"] == "the job's own record"


def test_local_mode_gives_what_applies(bench: Bench) -> None:
    ran = bench.run(bench.payloads.plain(WORKS))
    metadata = ran.metadata()
    used(metadata)
    assert metadata["slurm/run_directory"].startswith(str(bench.compute.local_base))
    there_is_no = "queue_wait_seconds node_hours requested_memory_mib requested_cpus partition cluster".split()
    assert not [name for name in there_is_no if f"slurm/{name}" in metadata]
    event = bench.instance.get_latest_materialization_event(dg.AssetKey("one"))
    assert event is not None
    assert event.asset_materialization is not None
    kinds = event.asset_materialization.metadata
    assert isinstance(kinds["slurm/run_directory"], dg.PathMetadataValue)
    assert isinstance(kinds["slurm/peak_memory_mib"], dg.FloatMetadataValue)
    assert isinstance(kinds["slurm/exit_code"], dg.IntMetadataValue)


def of_a_job(bench: Bench, cluster: Cluster) -> None:
    ran = bench.run(bench.payloads.plain(WORKS), resources=Resources(cpus=2, mem="120M", time_limit="00:02:00"))
    metadata = ran.metadata()
    used(metadata)
    assert metadata["slurm/job_id"].isdigit()
    assert metadata["slurm/cluster"]
    assert metadata["slurm/partition"] == "compute"
    assert metadata["slurm/nodes"].startswith("node")
    assert metadata["slurm/cpus"] == 2
    assert 0 <= metadata["slurm/queue_wait_seconds"] < 120
    elapsed = metadata["slurm/elapsed_seconds"]
    assert metadata["slurm/node_hours"] == pytest.approx(elapsed / 3600, abs=1e-4)
    assert metadata["slurm/cpu_efficiency"] == pytest.approx(metadata["slurm/cpu_seconds"] / elapsed / 2, abs=0.05)
    assert (metadata["slurm/requested_memory_mib"], metadata["slurm/requested_cpus"]) == (120, 2)
    assert metadata["slurm/memory_used_of_requested"] == pytest.approx(
        metadata["slurm/peak_memory_mib"] / 120, abs=0.01
    )
    assert metadata["slurm/requested_time"] == "00:02:00"
    assert "slurm/gpus" not in metadata


@pytest.mark.cluster
def test_a_job(cluster_bench: Bench, cluster: Cluster) -> None:
    of_a_job(cluster_bench, cluster)


@pytest.mark.cluster
def test_a_job_where_there_is_no_accounting(
    make_cluster: Callable[..., Cluster], instance: dg.DagsterInstance, payloads: Payloads
) -> None:
    """The same, from the job's own record. A failure is told as fully."""
    cluster = make_cluster(accounting=False)
    bench = Bench(instance, on(cluster), payloads)
    of_a_job(bench, cluster)
    failed = bench.refused(payloads.plain(f"{WORKS}\nraise SystemExit(3)"))
    assert 60 < failed.metadata["slurm/peak_memory_mib"] < 100
    assert failed.metadata["slurm/exit_code"] == 3
    assert failed.metadata["slurm/state"] == "FAILED"
    assert failed.metadata["slurm/elapsed_seconds"] >= 1


@pytest.mark.cluster
def test_nodes_and_gpus(cluster_bench: Bench) -> None:
    asked = Resources(partition="gpu", nodes=2, gpus_per_node=2, mem="50M", time_limit=1)
    works = "import time\nwhile time.process_time() < 0.5: pass\ntime.sleep(0.5)"
    path = cluster_bench.payloads.plain(
        f"import subprocess\nsubprocess.run(['srun', '-n2', '--mem=40', 'python3', '-c', {works!r}])"
    )
    metadata = cluster_bench.run(path, resources=asked).metadata()
    assert metadata["slurm/node_count"] == 2
    assert metadata["slurm/gpus"] == 4
    elapsed = metadata["slurm/elapsed_seconds"]
    assert metadata["slurm/gpu_hours"] == pytest.approx(elapsed * 4 / 3600, abs=1e-4)
    assert metadata["slurm/node_hours"] == pytest.approx(elapsed * 2 / 3600, abs=1e-4)
    assert metadata["slurm/nodes"].count("[") == 1
    assert metadata["slurm/cpu_seconds"] >= 1.0, "of both nodes, as accounting alone knows"
    assert metadata["slurm/cpu_efficiency"] == pytest.approx(metadata["slurm/cpu_seconds"] / elapsed / 2, abs=0.1)
