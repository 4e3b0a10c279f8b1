"""Results as assets see them: on this machine, and on the real cluster."""

# No lazy annotations: Dagster wants to see the types of assets' parameters.

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_slurm import ComputeResource, SlurmResource
from dagster_slurm.pipes.failure import SlurmFailure
from tests.dagster.conftest import BOTH, on
from tests.dagster.support import Bench

WRITE = "from pathlib import Path; Path(os.environ['DAGSTER_SLURM_OUTPUT_DIR'], 'n.txt').write_text({text})"
pytestmark = pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated:DeprecationWarning")


def two(bench: Bench, write: str, read: str, prefix: str = "raw", **upstream: Any) -> list[dg.AssetsDefinition]:
    writes, reads = bench.payloads.pipes(write), bench.payloads.pipes(read)

    @dg.asset(key_prefix=prefix, **upstream)
    def source(context: dg.AssetExecutionContext, compute: ComputeResource) -> Any:
        return compute.run(context=context, payload_path=writes)

    @dg.asset(deps=[source])
    def reader(context: dg.AssetExecutionContext, compute: ComputeResource) -> Any:
        place = compute.path("raw/source", partition=None)
        return compute.run(context=context, payload_path=reads, extras={"place": place})

    return [source, reader]


READ = """
import pathlib
folder = os.environ["DAGSTER_SLURM_INPUT_RAW_SOURCE"]
assert folder == pipes.get_extra("DAGSTER_SLURM_INPUT_RAW_SOURCE") == pipes.get_extra("place"), folder
pipes.report_asset_materialization(metadata={"read": pathlib.Path(folder, "n.txt").read_text()})
"""


@BOTH
def test_a_file_goes_from_one_asset_to_the_next(any_bench: Bench) -> None:
    ran = any_bench.materialize(*two(any_bench, WRITE.format(text="'seven'"), READ))
    assert ran.success
    assert ran.metadata("reader")["read"] == "seven"
    source = ran.metadata("raw", "source")
    assert (source["slurm/output_files"], source["slurm/output_bytes"]) == (1, 5)
    assert source["slurm/output_path"] == any_bench.compute.path(["raw", "source"])
    assert ran.metadata("reader")["slurm/output_files"] == 0
    assert any("left no files for reader" in line for line in ran.logged("info"))


@BOTH
def test_without_a_data_base_nothing_changes(request: pytest.FixtureRequest, where: str, any_bench: Bench) -> None:
    base = any_bench.compute.local_base
    compute = (
        ComputeResource(mode="local", local_base=base) if where == "local" else on(request.getfixturevalue("cluster"))
    )
    bench = Bench(any_bench.instance, compute, any_bench.payloads)
    ran = bench.run(["bash", "-c", "env; ls ..; ! env | grep -e _OUTPUT -e _INPUT -e DATA_BASE"])
    assert ran.success
    assert not [name for name in ran.metadata("one") if "output" in name]
    with pytest.raises(SlurmFailure, match=r"SlurmResource\(data_base="):
        compute.path("one")
    assert "needs a folder for results" in bench.refused(resume_output=True).text


def test_in_local_mode_the_clusters_folder_is_one_on_this_machine(tmp_path: Path) -> None:
    slurm = SlurmResource(data_base=str(tmp_path / "x"))
    assert ComputeResource(mode="local", slurm=slurm).path("a") == f"{tmp_path}/x/a"
    assert ComputeResource(mode="local", slurm=slurm, data_base="/y").path("a") == "/y/a"


def test_a_result_of_an_earlier_run_is_called_so(bench: Bench) -> None:
    reads = READ.replace("pipes.report", "pass #")
    assert bench.materialize(*two(bench, WRITE.format(text="'one'"), reads)).success
    ran = bench.materialize(*two(bench, "pass", reads))
    assert any("is of an earlier run" in line for line in ran.logged("warning"))


@BOTH
def test_partitions_each_have_their_own(any_bench: Bench) -> None:
    parts = dg.StaticPartitionsDefinition(["x/ y", "x y"])
    source, _ = two(any_bench, WRITE.format(text="pipes.partition_key"), READ, "parted", partitions_def=parts)
    reads = any_bench.payloads.pipes(
        """
        read = open(os.environ["DAGSTER_SLURM_INPUT_PARTED_SOURCE"] + "/n.txt").read()
        pipes.report_asset_materialization(metadata={"read": read})
        """
    )

    @dg.asset(deps=[source], partitions_def=parts)
    def reader(context: dg.AssetExecutionContext, compute: ComputeResource) -> Any:
        return compute.run(context=context, payload_path=reads)

    for key in ("x/ y", "x y"):
        ran = any_bench.materialize(source, reader, partition_key=key)
        assert ran.success
        assert ran.metadata("reader")["read"] == key
        found = ran.metadata("parted", "source")["slurm/output_path"]
        assert found == any_bench.compute.path("parted/source", partition=key)


def test_all_partitions_are_the_folder_above_them(bench: Bench) -> None:
    parts = dg.StaticPartitionsDefinition(["p", "q"])
    count = """
        names = os.listdir(os.environ["DAGSTER_SLURM_INPUT_RAW_SOURCE"])
        pipes.report_asset_materialization(metadata={"n": len([name for name in names if name[0] != "."])})
        """
    source, reader = two(bench, WRITE.format(text="'n'"), count, partitions_def=parts)
    for key in ("p", "q"):
        assert bench.materialize(source, partition_key=key).success
    ran = bench.materialize(reader)
    assert ran.success
    assert ran.metadata("reader")["n"] == 2


@pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`")
def test_several_partitions_in_one_run(bench: Bench) -> None:
    parts = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-02-01")
    payload = bench.payloads.pipes(
        """
        from pathlib import Path
        for day, folder in pipes.get_extra("DAGSTER_SLURM_OUTPUTS")["days"].items():
            Path(folder, "day").write_text(day)
        """
    )

    @dg.asset(partitions_def=parts, backfill_policy=dg.BackfillPolicy.single_run())
    def days(context: dg.AssetExecutionContext, compute: ComputeResource) -> Any:
        return compute.run(context=context, payload_path=payload)

    tags = {"dagster/asset_partition_range_start": "2024-01-02", "dagster/asset_partition_range_end": "2024-01-04"}
    ran = bench.materialize(days, tags=tags)
    assert ran.success
    for day in ("2024-01-02", "2024-01-03", "2024-01-04"):
        assert Path(bench.compute.path("days", day), "day").read_text() == day


@BOTH
def test_each_asset_of_several_its_own(any_bench: Bench) -> None:
    payload = any_bench.payloads.pipes(
        """
        from pathlib import Path
        Path(os.environ["DAGSTER_SLURM_OUTPUT_DIR_ONE"], "f").write_text("1")
        Path(pipes.get_extra("DAGSTER_SLURM_OUTPUTS")["other"], "f").write_text("22")
        """
    )

    @dg.multi_asset(specs=[dg.AssetSpec("one"), dg.AssetSpec("other")])
    def both(context: dg.AssetExecutionContext, compute: ComputeResource):
        return compute.run(context=context, payload_path=payload)

    ran = any_bench.materialize(both)
    assert ran.success
    assert ran.metadata("one")["slurm/output_bytes"] == 1
    assert ran.metadata("other")["slurm/output_bytes"] == 2
    assert ran.metadata("other")["slurm/output_path"] == any_bench.compute.path("other")


@BOTH
def test_a_retry_begins_with_an_empty_folder_and_a_failure_changes_nothing(any_bench: Bench) -> None:
    payload = any_bench.payloads.pipes(
        """
        import pathlib
        folder = pathlib.Path(os.environ["DAGSTER_SLURM_OUTPUT_DIR"])
        seen = sorted(path.name for path in folder.iterdir())
        again = pathlib.Path(os.environ["DAGSTER_SLURM_DATA_BASE"], f"tried {pipes.run_id}")
        (folder / f"f{again.exists()}").write_text("x")
        if not again.exists():
            again.write_text("")
            sys.exit(3)
        again.unlink()
        pipes.report_asset_materialization(metadata={"seen": seen})
        """
    )

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=1))
    def flaky(context: dg.AssetExecutionContext, compute: ComputeResource) -> Any:
        return compute.run(context=context, payload_path=payload)

    ran = any_bench.materialize(flaky)
    assert ran.success
    assert ran.metadata("flaky")["seen"] == []
    assert ran.metadata("flaky")["slurm/output_files"] == 1


@pytest.mark.parametrize(
    ("key", "partition", "says"), [("", None, "names no asset"), (7, None, "names no asset"), ("a", 3, "is not a text")]
)
def test_what_names_no_result(bench: Bench, key: Any, partition: Any, says: str) -> None:
    with pytest.raises(SlurmFailure, match=says):
        bench.compute.path(key, partition)


def test_a_relative_data_base(bench: Bench) -> None:
    compute = ComputeResource(mode="local", local_base=bench.compute.local_base, data_base="results")
    with pytest.raises(SlurmFailure, match="is not an absolute path"):
        compute.path("a")


@BOTH
def test_extra_files_that_are_too_large(any_bench: Bench, tmp_path: Path) -> None:
    large = tmp_path / "lar ge.bin"
    with large.open("wb") as file:
        file.truncate(100_000_001)
    failed = any_bench.refused(extra_files=[large])
    assert "extra_files hold 100.0 MB, and 100 MB is the most that travels" in failed.text
    assert "rsync -a" in failed.text
    assert f"'{large}'" in failed.text
    assert "/sent/" in failed.text


def test_extra_files_just_within_the_limit(bench: Bench, tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    with large.open("wb") as file:
        file.truncate(100_000_000)
    assert bench.run(["test", "-s", "large.bin"], extra_files=[large]).success
