"""What each component has for itself: Python environment, launcher with its processes, files, variables, checks."""

# No lazy annotations: Dagster wants to see the types of assets' parameters.

import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_slurm import BashLauncher, ComputeResource, Resources, SlurmSessionResource, SparkLauncher
from dagster_slurm.environments.uv import UvEnvironment
from dagster_slurm.managers import HetJobComponent
from testcluster import Cluster
from tests.dagster.conftest import BOTH, on
from tests.dagster.support import Bench
from tests.dagster.test_heterogeneous import BAD
from tests.dagster.together import Parts, failed, run
from tests.launchers import environments
from tests.launchers.conftest import PAYLOADS

SEEN = """
def version(name):
    try:
        return __import__(name).__version__
    except ImportError:
        return "none"
pipes.report_asset_materialization(metadata={"six": version("six"), "python": sys.executable})
"""


@pytest.fixture
def parts(payloads: Any) -> Parts:
    return Parts(payloads)


def locked(folder: Path, six: str, python: str | None) -> UvEnvironment:
    """A requirements file of one package."""
    folder.mkdir()
    (folder / "requirements.txt").write_text(f"six=={six}\n")
    return UvEnvironment(project=folder / "requirements.txt", python=python)


@pytest.mark.slow
@BOTH
def test_each_has_an_environment_of_its_own(any_bench: Bench, parts: Parts, tmp_path: Path) -> None:
    """Two that are packed, with different versions, and one that is plain."""
    python = None if any_bench.on_cluster else sys.executable
    parts.pipes("old", SEEN, environment=locked(tmp_path / "old", "1.16.0", python))
    parts.pipes("new", SEEN, environment=locked(tmp_path / "new", "1.17.0", python))
    parts.pipes("plain", SEEN, environment="plain")
    compute = any_bench.compute
    if not any_bench.on_cluster:
        compute = ComputeResource(mode="local", local_environment="same", local_base=str(tmp_path / "base"))
    ran = Bench(any_bench.instance, compute, any_bench.payloads)
    found = run(ran, parts).metadata("both")
    assert (found["old/six"], found["new/six"]) == ("1.16.0", "1.17.0")
    assert len({found[f"{name}/python"] for name in ("old", "new", "plain")}) == 3
    assert "/envs/" in found["old/python"]
    assert "/envs/" not in found["plain/python"]


@pytest.mark.slow
@pytest.mark.cluster
def test_spark_on_two_nodes_beside_two_ranks(cluster: Cluster, cluster_bench: Bench, payloads: Any) -> None:
    """Each launcher starts its processes on its own component's nodes."""
    ranks = payloads.plain('echo "rank $RANK of $WORLD_SIZE on $SLURMD_NODENAME"', "ranks.sh")
    two = Resources(nodes=2, cpus=2, mem=2000)
    components = [
        HetJobComponent(
            component_id="spread",
            payload_path=ranks,
            launcher=BashLauncher(tasks_per_node=2),
            resources=Resources(cpus=2),
        ),
        HetJobComponent(
            component_id="spark",
            payload_path=PAYLOADS / "spark_jobs.py",
            launcher=SparkLauncher(),
            resources=two,
            extras={"folder": "."},
            environment=str(environments.spark()),
        ),
    ]

    @dg.asset
    def both(context: dg.AssetExecutionContext, compute: ComputeResource):
        return compute.run_heterogeneous(context=context, components=components)

    ran = cluster_bench.materialize(both)
    assert ran.success, ran.failure.text
    found = ran.metadata("both")
    assert found["spark/sum"] == sum(number * number for number in range(8))
    assert found["spark/slurm/spark_workers"] == 2
    assert len(found["spark/nodes"]) == 2
    assert found["spread/slurm/nodes"] not in found["spark/nodes"]
    assert found["spread/slurm/exit_code"] == 0


@pytest.mark.slow
@BOTH
def test_files_and_variables_of_the_same_name(any_bench: Bench, parts: Parts, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "note.txt").write_text(f"note of {name}")
        parts.pipes(
            name,
            """
            pipes.report_asset_materialization(metadata={
                "note": open("note.txt").read(), "token": os.environ["TOKEN"],
                "other": os.environ.get("ONLY_ONE", ""), "extra": pipes.get_extra("number"),
            })
            """,
            extra_files=[tmp_path / name / "note.txt"],
            extra_env={"TOKEN": f"token of {name}", **({"ONLY_ONE": "1"} if name == "one" else {})},
            extras={"number": len(name) + len(parts.made)},
        )
    ran = run(any_bench, parts)
    assert ran.success, ran.failure.text
    found = ran.metadata("both")
    for name, only, number in (("one", "1", 3), ("two", "", 4)):
        assert found[f"{name}/note"] == f"note of {name}"
        assert found[f"{name}/token"] == f"token of {name}"
        assert (found[f"{name}/other"], found[f"{name}/extra"]) == (only, number)


@pytest.mark.slow
@pytest.mark.cluster
def test_an_explicit_map_with_checks_and_one_that_fails(cluster: Cluster, cluster_bench: Bench, parts: Parts) -> None:
    """Of the component that succeeded, assets and checks are recorded; of the other, nothing."""
    report = (
        "pipes.report_asset_materialization(asset_key={0!r})\npipes.report_asset_check('rows', True, asset_key={0!r})"
    )
    parts.pipes("one", "\n".join(report.format(key) for key in ("a", "b")))
    parts.pipes("two", report.format("c") + "\ntime.sleep(0.5)\nraise SystemExit(5)")

    @dg.multi_asset(
        specs=[dg.AssetSpec(name) for name in "abc"],
        check_specs=[dg.AssetCheckSpec("rows", asset=name) for name in "abc"],
    )
    def all_three(context: dg.AssetExecutionContext, compute: ComputeResource):
        chosen = {"one": ["a", "b"], "two": "c"}
        return compute.run_heterogeneous(context=context, components=parts.made, assets=chosen, on_failure="wait")

    ran = cluster_bench.materialize(all_three, resources={"compute": on(cluster, mode="slurm-hetjob")})
    assert not ran.success
    assert "component two (job" in ran.failure.text
    logs = ran.instance.all_logs(ran.result.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    assert sorted(
        item.asset_materialization.asset_key.to_user_string() for item in logs if item.asset_materialization
    ) == [
        "a",
        "b",
    ]
    found = ran.instance.all_logs(ran.result.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    data = [entry.get_dagster_event().asset_check_evaluation_data for entry in found]
    assert sorted(item.asset_key.to_user_string() for item in data) == ["a", "b"]


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.parametrize("mode", ["slurm", "slurm-hetjob", "slurm-session"])
def test_bad_input_is_said_before_any_job_in_every_mode_of_a_cluster(
    cluster: Cluster, cluster_bench: Bench, payloads: Any, mode: str
) -> None:
    session = SlurmSessionResource(cpus=2, mem="400M", time_limit=5)
    compute = ComputeResource(mode=mode, slurm=on(cluster).slurm, session=session)
    bench, jobs = Bench(cluster_bench.instance, compute, payloads), submitted(cluster)
    for what, (components, arguments, told) in BAD.items():
        wrong = Parts(payloads)
        wrong.made = components  # pyright: ignore[reportAttributeAccessIssue] - as a user may
        assert told in failed(bench, wrong, **arguments).text
        assert submitted(cluster) <= jobs, what


def submitted(cluster: Cluster) -> set[str]:
    return set(cluster.run(["squeue", "-h", "--states=all", "-o", "%i"]).stdout.split())
