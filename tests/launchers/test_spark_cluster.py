"""Spark over the nodes of a job, and on this machine."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dagster_slurm import Resources, SparkLauncher
from testcluster import Cluster
from tests.launchers import environments, traces
from tests.launchers.conftest import PAYLOADS, REAL, Stage, local_stage, real_stage

TWO = Resources(nodes=2, cpus=2, mem=2000)


@pytest.fixture(params=[pytest.param("local", marks=pytest.mark.slow), REAL])
def stage(request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Stage]:
    if request.param == "local":
        with traces.none_left(tmp_path):
            yield local_stage(tmp_path, capsys, environments.spark())
    else:
        with (
            real_stage(request.getfixturevalue("cluster"), capsys, environments.spark()) as real,
            traces.none_left(real.base),
        ):
            yield real


@pytest.fixture
def slurm(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> Iterator[Stage]:
    with real_stage(cluster, capsys, environments.spark()) as real, traces.none_left(real.base):
        yield real


def test_tasks_run_on_all_nodes(stage: Stage) -> None:
    outcome = stage.run("spark_jobs.py", SparkLauncher(), TWO)
    assert outcome.failure is None, outcome.error
    nodes = 2 if stage.slurm else 1
    assert outcome.metadata["sum"] == sum(number * number for number in range(8))
    assert len(outcome.metadata["nodes"]) == nodes
    assert outcome.metadata["master"].startswith("spark://")
    assert outcome.metadata["secret_is_set"]
    facts = {name: outcome.metadata[f"slurm/spark_{name}"] for name in ("nodes", "workers", "cpus", "memory_gib")}
    assert facts == {"nodes": nodes, "workers": nodes, "cpus": 2 * nodes, "memory_gib": round(1400 * nodes / 1024, 2)}
    assert outcome.metadata["slurm/spark_ready_seconds"] > 0
    assert outcome.metadata["slurm/spark_version"].startswith("3.5")


@pytest.mark.cluster
@pytest.mark.parametrize("daemon", ["Worker", pytest.param("Master", marks=pytest.mark.slow)])
def test_a_daemon_that_dies_ends_the_run_with_its_name_and_log(slurm: Stage, daemon: str) -> None:
    outcome = slurm.run("spark_jobs.py", SparkLauncher(), TWO, what=f"kill {daemon}")
    assert re.search(rf"node\d: Spark's {daemon.lower()} on node\d ended", outcome.error), outcome.error
    assert f"{daemon}: " in outcome.error  # its log
    assert outcome.failure is not None
    assert outcome.failure.error.exit_code == 75


@pytest.mark.slow
def test_a_payload_that_fails_takes_the_cluster_with_it(stage: Stage) -> None:
    outcome = stage.run("spark_jobs.py", SparkLauncher(), TWO, what="fail")
    assert outcome.failure is not None
    assert outcome.failure.error.exit_code == 5


@pytest.mark.slow
@pytest.mark.parametrize("who", ["driver", "payload"])
def test_a_killed_driver_leaves_nothing(stage: Stage, who: str) -> None:
    outcome = stage.run("spark_jobs.py", SparkLauncher(), TWO, what=f"kill {who}")
    assert outcome.failure is not None


@pytest.mark.cluster
@pytest.mark.slow
def test_a_time_limit_leaves_nothing(slurm: Stage) -> None:
    asked = Resources(nodes=2, cpus=2, mem=2000, time_limit=1)
    outcome = slurm.run("spark_jobs.py", SparkLauncher(), asked, what="wait")
    assert "reached its time limit" in outcome.error


@pytest.mark.slow
def test_a_driver_through_spark_submit(stage: Stage) -> None:
    program = ["spark-submit", str(PAYLOADS / "spark_jobs.py")]
    outcome = stage.run(program, SparkLauncher(conf={"spark.app.name": "submitted"}), TWO)
    assert outcome.failure is None, outcome.error
    assert outcome.metadata["master"].startswith("spark://")
    assert outcome.metadata["name"] == "submitted"


def test_a_node_without_java_is_said_in_one_line(stage: Stage) -> None:
    outcome = stage.run("spark_jobs.py", SparkLauncher(), TWO, variables={"JAVA_HOME": "/nonexistent"})
    assert re.search(r"there is no Java on \S+, which Spark needs", outcome.error)
    assert outcome.failure is not None
    assert outcome.failure.error.exit_code == 66


def test_what_exceeds_the_job_is_said_before_anything_is_sent(stage: Stage) -> None:
    outcome = stage.run("spark_jobs.py", SparkLauncher(executor_memory="4g"), TWO)
    assert "executor_memory='4g' exceeds what is left for executors on each node: 1400 MiB" in outcome.error
    assert list(stage.base.glob("base/runs/*/*/*")) == []


@pytest.mark.cluster
@pytest.mark.slow
def test_one_node_is_enough(slurm: Stage) -> None:
    outcome = slurm.run("spark_jobs.py", SparkLauncher(), replace(TWO, nodes=1))
    assert outcome.failure is None, outcome.error
    assert (outcome.metadata["sum"], outcome.metadata["slurm/spark_nodes"]) == (140, 1)


@pytest.mark.cluster
@pytest.mark.slow
def test_a_cancel_leaves_nothing(slurm: Stage) -> None:
    result = slurm.begin("spark_jobs.py", SparkLauncher(), TWO, what="wait")
    slurm.wait_for("begun")
    slurm.cancel()
    assert "was cancelled" in result().error


@pytest.mark.cluster
@pytest.mark.slow
def test_a_missing_node_is_named(slurm: Stage) -> None:
    late = 'if [ "$SLURM_NODEID" = 1 ]; then sleep 60; fi'
    launcher = SparkLauncher(startup_timeout=15, pre_start_commands=(late,))
    outcome = slurm.run("spark_jobs.py", launcher, TWO)
    assert re.search(r"only 1 of 2 workers of the Spark cluster were up in time; missing: node\d", outcome.error)


@pytest.mark.cluster
def test_an_environment_without_spark_is_said_in_one_line(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    with real_stage(cluster, capsys) as bare:
        outcome = bare.run("alone.sh", SparkLauncher(), TWO)
    assert "pyspark is not in the environment of the payload" in outcome.error


@pytest.mark.slow
def test_strangers_are_kept_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = local_stage(tmp_path, capsys, environments.spark())
    outcome = stage.run("spark_jobs.py", SparkLauncher(), Resources(cpus=2, mem=2000), what="strangers")
    assert outcome.failure is None, outcome.error
    assert (stage.shared / "strangers").read_text() == "True False"


@contextlib.contextmanager
def somebodys_master(environment: Path) -> Iterator[str]:
    """A Spark cluster that somebody else keeps, on this machine; its page is where Spark puts it."""
    home = next(environment.glob("lib/python3*/site-packages/pyspark"))
    java = subprocess.run(
        ["bash", "-c", f'. "{environment}/activate.sh"; echo "$JAVA_HOME"'], capture_output=True, text=True, check=True
    )
    variables = {**os.environ, "JAVA_HOME": java.stdout.strip(), "SPARK_HOME": str(home)}
    deploy, at = "org.apache.spark.deploy", ["--host", "127.0.0.1", "--port", "0", "--webui-port"]
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="spark-") as folder, contextlib.ExitStack() as stack:

        def daemon(*words: str) -> str:
            log = Path(folder, words[0])
            with log.open("w") as file:
                command = [home / "bin/spark-class", f"{deploy}.{words[0]}", *words[1:]]
                process = stack.enter_context(
                    subprocess.Popen(command, env=variables, cwd=folder, stdout=file, stderr=subprocess.STDOUT)
                )
            stack.callback(process.terminate)
            done = r"Starting Spark master at (\S+)|(Successfully registered)"
            deadline = time.monotonic() + 60
            while not (match := re.search(done, log.read_text())):
                assert process.poll() is None, log.read_text()[-2000:]
                assert time.monotonic() < deadline, log.read_text()[-2000:]
                time.sleep(0.2)
            return match[0].split()[-1]

        master = daemon("master.Master", *at, "8080")
        daemon("worker.Worker", *at, "0", "--cores", "2", "--memory", "1g", "--work-dir", folder, master)
        yield master


@pytest.mark.slow
def test_an_existing_cluster_is_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = local_stage(tmp_path, capsys, environments.spark())
    with somebodys_master(environments.spark()) as master:
        launcher = SparkLauncher(master_url=master, executor_memory="512m")
        outcome = stage.run("spark_jobs.py", launcher, Resources(), workers=1)
    assert outcome.failure is None, outcome.error
    assert outcome.metadata["master"] == master
    assert not outcome.metadata["secret_is_set"]


@pytest.mark.slow
def test_an_existing_cluster_of_another_version_is_said_at_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = local_stage(tmp_path, capsys, environments.spark())
    with somebodys_master(environments.older_spark()) as master:
        outcome = stage.run("spark_jobs.py", SparkLauncher(master_url=master), Resources(), workers=1)
    assert re.search(
        rf"the master at {master} runs Spark 3\.4\.\d, the payload's environment has Spark 3\.5", outcome.error
    )


@pytest.mark.parametrize("url", ["spark://127.0.0.1:9", "spark://nowhere.invalid:7077"])
def test_a_master_that_does_not_answer_is_said(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = local_stage(tmp_path, capsys, environments.spark())
    launcher = SparkLauncher(master_url=url, startup_timeout=2)
    assert f"no Spark master answers at {url}" in stage.run("spark_jobs.py", launcher, Resources()).error
