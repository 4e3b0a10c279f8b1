"""Many partitions in one step: one array, or a pool of processes here."""

import json
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError

from dagster_slurm import ComputeResource
from testcluster import Cluster
from tests.dagster.conftest import BOTH, MakeCluster, on
from tests.dagster.counting import wait_until
from tests.dagster.support import Bench, Ran, values

pytestmark = pytest.mark.filterwarnings("ignore:Parameter `backfill_policy` .* is currently in beta")
#: fails in the partitions that a file of the shared folder names
WORKS = """
key = pipes.partition_key
assert pipes.partition_key_range == {"start": key, "end": key}, pipes.partition_key_range
print("out of", key)
pipes.log.info(f"log of {key}")
folder = pipes.extras["folder"]
with open(f"{folder}/starts", "a") as file: file.write(key + "\\n")
if key in json.load(open(f"{folder}/failing")):
    sys.exit(3)
while os.path.exists(f"{folder}/wait-{key}"):
    time.sleep(0.1)
pipes.report_asset_materialization(metadata={"key": key}, data_version=f"version of {key}")
"""
KEYS = [f"p{number}" for number in range(6)]


class Folder:
    """What payloads are told by, and tell."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(mode=0o777)
        path.chmod(0o777)
        self.fail()

    def fail(self, *keys: str) -> None:
        (self.path / "failing").write_text(json.dumps(keys))

    @property
    def starts(self) -> list[str]:
        path = self.path / "starts"
        return sorted(path.read_text().split()) if path.exists() else []


@pytest.fixture
def folder(request: pytest.FixtureRequest, where: str, tmp_path: Path) -> Folder:
    if where == "local":
        return Folder(tmp_path / "told")
    cluster: Cluster = request.getfixturevalue("cluster")
    return Folder(cluster.home / f"told-{tmp_path.name}-{tmp_path.parent.name}")


def spread(bench: Bench, folder: Folder, **options: Any) -> Any:
    path = bench.payloads.pipes(WORKS)

    @dg.asset(
        name="many",
        partitions_def=dg.StaticPartitionsDefinition(KEYS),
        backfill_policy=dg.BackfillPolicy.single_run(),
        **options,
    )
    def many(context: dg.AssetExecutionContext, compute: ComputeResource):
        return compute.run_partitions(
            context=context, payload_path=path, extras={"folder": str(folder.path)}, max_concurrent=3
        )

    return many


def run(bench: Bench, asset: Any, start: str = KEYS[0], end: str = KEYS[-1]) -> Ran:
    tags = {"dagster/asset_partition_range_start": start, "dagster/asset_partition_range_end": end}
    return bench.materialize(asset, tags=tags)


def materializations(instance: dg.DagsterInstance, run: str) -> list[dg.AssetMaterialization]:
    """What Dagster has written down, in the midst of the step, too."""
    entries = instance.all_logs(run, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    return [entry.asset_materialization for entry in entries if entry.asset_materialization is not None]


def there(ran: Ran) -> dict[str, Mapping[str, Any]]:
    """Metadata by partition; each is materialized once."""
    found: dict[str, Mapping[str, Any]] = {}
    for made in materializations(ran.instance, ran.result.run_id):
        assert made.partition not in found, "materialized once"
        assert made.partition is not None
        found[made.partition] = {**values(made.metadata), "version": (made.tags or {}).get("dagster/data_version")}
    return found


@BOTH
def test_each_partition_for_itself(any_bench: Bench, folder: Folder, where: str) -> None:
    """Each has its own context, log, metadata and data version; on a cluster all are one array."""
    ran = run(any_bench, spread(any_bench, folder))
    assert ran.success, ran.failure.text
    found = there(ran)
    assert sorted(found) == folder.starts == KEYS
    for key in KEYS:
        assert (found[key]["key"], found[key]["version"]) == (key, f"version of {key}")
        assert f"log of {key}" in ran.logged("info")
    assert len({found[key]["slurm/run_directory"] for key in KEYS}) == len(KEYS)
    if where == "slurm":
        jobs = {found[key]["slurm/job_id"].split("_")[0] for key in KEYS}
        assert len(jobs) == 1, "one submission"
        assert sorted(found[key]["slurm/job_id"].split("_")[1] for key in KEYS) == list("012345")
        own = list(Path(found[KEYS[0]]["slurm/run_directory"]).iterdir())
        assert sorted(path.name for path in own) == ["messages.0.jsonl", "record.jsonl", "stderr.0", "stdout.0"]


@BOTH
def test_some_fail_and_a_retry_runs_what_is_missing(any_bench: Bench, folder: Folder) -> None:
    """What succeeded stays, and is not run again: by Dagster's retry of the step, too."""
    folder.fail("p1", "p4")

    ran = run(any_bench, spread(any_bench, folder))
    assert not ran.success
    assert sorted(there(ran)) == ["p0", "p2", "p3", "p5"]
    failed = ran.failure
    assert failed.text.startswith("2 of 6 partitions failed: 2 exception")
    rows = [record.data for record in failed.metadata["slurm/failed_partitions"].records]
    assert sorted((row["partition"], row["cause"]) for row in rows) == [("p1", "exception"), ("p4", "exception")]
    assert len(folder.starts) == 6


@BOTH
def test_a_retry_of_the_step_runs_what_is_missing(any_bench: Bench, folder: Folder) -> None:
    folder.fail("p1", "p4")
    path = any_bench.payloads.pipes(WORKS)

    @dg.asset(
        partitions_def=dg.StaticPartitionsDefinition(KEYS),
        backfill_policy=dg.BackfillPolicy.single_run(),
        retry_policy=dg.RetryPolicy(max_retries=1),
    )
    def many(context: dg.AssetExecutionContext, compute: ComputeResource):
        if context.retry_number:
            folder.fail()
        return compute.run_partitions(context=context, payload_path=path, extras={"folder": str(folder.path)})

    ran = run(any_bench, many)
    assert ran.success, ran.failure.text
    assert sorted(there(ran)) == KEYS
    assert folder.starts == sorted([*KEYS, "p1", "p4"])


def run_of_last_step(instance: dg.DagsterInstance) -> str:
    return instance.get_runs(limit=1)[0].run_id


@BOTH
def test_a_partition_is_there_while_others_run(any_bench: Bench, folder: Folder) -> None:
    """... and an interruption leaves an array as it is: whoever comes back finds it, and no partition is run twice."""
    waits = folder.path / "wait-p3"
    waits.touch()
    seen: list[str] = []

    def watch() -> None:
        wait_until(lambda: folder.starts == KEYS)
        run_id = run_of_last_step(any_bench.instance)
        wait_until(lambda: len(materializations(any_bench.instance, run_id)) == len(KEYS) - 1)
        seen.extend(made.partition or "" for made in materializations(any_bench.instance, run_id))
        if any_bench.on_cluster:
            main = threading.main_thread().ident
            assert main is not None
            signal.pthread_kill(main, signal.SIGINT)
        else:
            waits.unlink()

    path = any_bench.payloads.pipes(WORKS)

    @dg.asset(partitions_def=dg.StaticPartitionsDefinition(KEYS), backfill_policy=dg.BackfillPolicy.single_run())
    def many(context: dg.AssetExecutionContext, compute: ComputeResource):
        extras = {"folder": str(folder.path)}
        try:
            return compute.run_partitions(context=context, payload_path=path, extras=extras)
        except DagsterExecutionInterruptedError:
            waits.unlink()
            raise dg.RetryRequested from None

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        ran = run(any_bench, many)
    finally:
        thread.join()
    assert ran.success, ran.failure.text
    assert sorted(seen) == [key for key in KEYS if key != "p3"]
    assert sorted(there(ran)) == folder.starts == KEYS
    assert any_bench.on_cluster is any("Re-attached to job" in line for line in ran.logged("info"))


@pytest.mark.cluster
@pytest.mark.parametrize("where", ["slurm"])
def test_a_cancelled_run_ends_the_array(cluster_bench: Bench, cluster: Cluster, folder: Folder) -> None:
    for key in KEYS[1:]:
        (folder.path / f"wait-{key}").touch()

    def cancel() -> None:
        wait_until(lambda: len(folder.starts) >= 3)
        run_id = run_of_last_step(cluster_bench.instance)
        wait_until(lambda: materializations(cluster_bench.instance, run_id))
        cluster_bench.instance.report_run_canceling(cluster_bench.instance.get_runs(limit=1)[0])
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=cancel)
    thread.start()
    try:
        ran = run(cluster_bench, spread(cluster_bench, folder))
    finally:
        thread.join()
    assert not ran.success
    assert "the run was cancelled" in ran.failure.text
    assert list(there(ran)) == ["p0"]
    wait_until(lambda: not cluster.run(["squeue", "-h", "--name", "many", "-o", "%i"]).stdout.strip())


def test_refused(bench: Bench) -> None:
    @dg.asset
    def plain(context: dg.AssetExecutionContext, compute: ComputeResource):
        return compute.run_partitions(context=context, payload_path=["true"])

    ran = bench.materialize(plain)
    assert "this run has no partitions" in ran.failure.text


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize(("largest", "jobs"), [(4, 2), (0, 6)], ids=["small arrays", "no arrays"])
def test_arrays_are_as_large_as_slurm_takes_them(
    make_cluster: MakeCluster, bench: Bench, largest: int, jobs: int, tmp_path: Path
) -> None:
    """Where there are none, each partition is a job."""
    cluster = make_cluster(max_array_size=largest, accounting=False)
    told = Folder(cluster.home / "told")
    ran = run(Bench(bench.instance, on(cluster), bench.payloads), spread(bench, told))
    assert ran.success, ran.failure.text
    found = there(ran)
    assert sorted(found) == told.starts == KEYS
    assert len({str(item["slurm/job_id"]).split("_")[0] for item in found.values()}) == jobs
    assert any("The partitions go into" in line for line in ran.logged("warning"))


@pytest.mark.cluster
@pytest.mark.parametrize("where", ["slurm"])
def test_each_cause_for_itself(cluster_bench: Bench, cluster: Cluster, folder: Folder) -> None:
    """One task is cancelled, one runs out of memory; the others do not care."""
    (folder.path / "wait-p2").touch()
    path = cluster_bench.payloads.pipes(
        WORKS + "\nif key == 'p4':\n    x = bytearray(400_000_000)\n    x[::4096] = b'x' * len(x[::4096])"
    )

    @dg.asset(partitions_def=dg.StaticPartitionsDefinition(KEYS), backfill_policy=dg.BackfillPolicy.single_run())
    def many(context: dg.AssetExecutionContext, compute: ComputeResource):
        return compute.run_partitions(context=context, payload_path=path, extras={"folder": str(folder.path)})

    def cancel_p2() -> None:
        wait_until(lambda: "p2" in folder.starts)
        rows = cluster.run(["squeue", "-h", "-r", "-t", "R", "-o", "%i"]).stdout.split()
        cluster.admin(["scancel", *(row for row in rows if row.endswith("_2"))])

    thread = threading.Thread(target=cancel_p2)
    thread.start()
    try:
        ran = run(cluster_bench, many)
    finally:
        thread.join()
    assert not ran.success
    rows = {
        record.data["partition"]: record.data["cause"]
        for record in ran.failure.metadata["slurm/failed_partitions"].records
    }
    expected = {"p2": "cancelled", **({"p4": "out_of_memory"} if cluster.confines_memory else {})}
    assert rows == expected
    assert sorted(there(ran)) == [key for key in KEYS if key not in expected]


@BOTH
@pytest.mark.slow
def test_kinds_of_partitions(any_bench: Bench, tmp_path: Path) -> None:
    """Each partition is told its window; of two dimensions, its key."""
    path = any_bench.payloads.pipes(
        "window = pipes.partition_time_window\n"
        "start = window['start'][:10] if window else pipes.partition_key\n"
        "pipes.report_asset_materialization(metadata={'start': start})"
    )
    days = dg.DailyPartitionsDefinition(start_date="2025-01-01", end_date="2025-01-04")
    both = dg.MultiPartitionsDefinition({"day": days, "kind": dg.StaticPartitionsDefinition(["x", "y"])})

    def asset(name: str, definition: Any) -> Any:
        @dg.asset(name=name, partitions_def=definition, backfill_policy=dg.BackfillPolicy.single_run())
        def many(context: dg.AssetExecutionContext, compute: ComputeResource):
            return compute.run_partitions(context=context, payload_path=path)

        return many

    ran = run(any_bench, asset("daily", days), "2025-01-01", "2025-01-03")
    assert ran.success, ran.failure.text
    assert {key: item["start"] for key, item in there(ran).items()} == {
        day: day for day in ("2025-01-01", "2025-01-02", "2025-01-03")
    }
    ran = run(any_bench, asset("squares", both), "2025-01-01|x", "2025-01-02|y")
    assert ran.success, ran.failure.text
    assert sorted(there(ran)) == ["2025-01-01|x", "2025-01-01|y", "2025-01-02|x", "2025-01-02|y"]
    assert all(item["start"] == key for key, item in there(ran).items())


@BOTH
def test_checks_and_several_assets(any_bench: Bench, tmp_path: Path) -> None:
    """A check is passed if it is in all partitions."""
    path = any_bench.payloads.pipes(
        "for name in ('left', 'right'):\n"
        "    pipes.report_asset_materialization(asset_key=name, metadata={'is': pipes.partition_key + name})\n"
        "good = pipes.partition_key != 'b'\n"
        "pipes.report_asset_check(asset_key='left', check_name='good', passed=good, metadata={'rows': 1})"
    )

    @dg.multi_asset(
        specs=[dg.AssetSpec("left"), dg.AssetSpec("right")],
        check_specs=[dg.AssetCheckSpec("good", asset="left")],
        partitions_def=dg.StaticPartitionsDefinition(["a", "b", "c"]),
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def pair(context: dg.AssetExecutionContext, compute: ComputeResource):
        return compute.run_partitions(context=context, payload_path=path)

    ran = run(any_bench, pair, "a", "c")
    assert ran.success, ran.failure.text
    made = materializations(ran.instance, ran.result.run_id)
    assert len(made) == 6
    for item in made:
        assert values(item.metadata)["is"] == f"{item.partition}{item.asset_key.to_user_string()}"
    check = ran.checks()["good"]
    assert not check.passed
    assert values(check.metadata)["failed_partitions"] == ["b"]
