"""What RayLauncher and SparkLauncher render and refuse; a node's share of a job; what is said of missing nodes."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import dagster_slurm
from dagster_slurm import BashLauncher, RayLauncher, Resources, SparkLauncher
from dagster_slurm.core.record import parse
from dagster_slurm.errors import ConfigurationError
from dagster_slurm.launchers import settings
from dagster_slurm.launchers.launcher import Setting
from dagster_slurm.launchers.share import Share, share_of
from dagster_slurm.remote import ray_ready, spark_ready

PROGRAMS = ("local_ranks.py", "node_address.py", "ray_ready.py", "ray_start.py", "spark_ready.py")
TWO = Setting(
    command=("python", "x.py"), resources=Resources(nodes=2, cpus=4, mem="10G", gpus_per_node=1), programs="/store/a"
)


def values(text: str) -> dict[str, str]:
    """What a shell reads there."""
    names = [line.split("=")[0] for line in text.splitlines() if "=" in line and not line.startswith(" ")]
    script = text + "".join(f'\nprintf "%s=%s\\n" {name} "${{{name}[*]}}"' for name in names)
    done = subprocess.run(["bash", "-u", "-c", script], capture_output=True, text=True, check=True)
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    ("asked", "share"),
    [
        (Resources(), Share(None, None, 0)),
        (Resources(cpus=4, mem="2G"), Share(4, 2048, 0)),
        (Resources(cpus=4, mem_per_cpu=500, options={"ntasks-per-node": 2}), Share(8, 4000, 0)),
        (Resources(cpus=2, nodes=2, options={"ntasks": 8}), Share(8, None, 0)),
        (Resources(cpus=4, options={"exclusive": True}), Share(None, None, 0)),
        (Resources(gpus_per_node="a100:4", options={"cpus-per-gpu": 6, "mem-per-gpu": "10G"}), Share(24, 40960, 4)),
        (Resources(gres="shard:2,gpu:v100:3"), Share(None, None, 3)),
        (Resources(nodes=2, options={"gpus": 8}), Share(None, None, 4)),
        (Resources(mem=0), Share(None, None, 0)),
    ],
)
def test_what_a_job_gives_each_node(asked: Resources, share: Share) -> None:
    assert share_of(asked) == share


def test_settings_come_back_from_the_shell_as_they_were() -> None:
    odd = "a b'c\"$d\\"
    text = settings.render({"A": odd, "B": (odd, "x"), "C": None, "D": True, "E": 3}, {"f": ("echo 1",), "g": ()})
    assert values(text) == {"A": odd, "B": f"{odd} x", "C": "", "D": "1", "E": "3"}
    assert subprocess.run(["bash", "-c", text + "f; g"], capture_output=True, check=True).stdout == b"1\n"


def test_ray_gets_what_the_request_says() -> None:
    started = RayLauncher(port_config={"min_worker_port": 20000}, dashboard="0.0.0.0:8265").start(TWO)
    assert started.command == ("bash", "/store/a/cluster.sh", "ray", "python", "x.py")
    found = values(started.files["launcher.sh"])
    assert (found["CPUS"], found["GPUS"], found["MEMORY"], found["STORE"]) == ("4", "1", "7168", "2048")
    assert (found["PORTS"], found["DASHBOARD_HOST"], found["DASHBOARD_PORT"]) == (
        "--min-worker-port=20000",
        "0.0.0.0",
        "8265",
    )
    assert not started.environment


@pytest.mark.parametrize("launcher", [RayLauncher(num_cpus_per_node=4), SparkLauncher(executor_cores=4)])
def test_a_cluster_that_stays_is_kept_by_one_run_and_used_by_others(launcher: Any) -> None:
    keeper = launcher.serve(TWO)
    assert keeper.command == ("bash", "/store/a/cluster.sh", launcher.framework)
    # a driver is small: what the cluster has is not asked for again
    driver = launcher.drive(replace(TWO, resources=Resources(cpus=1)), launcher.connection("/runs/1"))
    assert driver.command[-2:] == ("python", "x.py")
    assert values(driver.files["launcher.sh"])["CONNECTION"] == f"/runs/1/{launcher.framework}.0/connection"


def test_spark_gets_what_the_request_says() -> None:
    launcher = SparkLauncher(executor_memory="3g", num_executors=2, conf={"spark.x": "a b"}, packages=("g:a:1",))
    found = values(launcher.start(TWO).files["launcher.sh"])
    assert (found["CPUS"], found["MEMORY"], found["EXECUTOR_MEMORY"], found["EXECUTORS"]) == ("4", "10240", "3072", "2")
    assert found["CONF"] == "spark.jars.packages g:a:1 spark.x a b"


def test_the_launchers_ask_for_what_they_need() -> None:
    assert RayLauncher(num_gpus_per_node=4).needs() == Resources(gpus_per_node=4)
    assert SparkLauncher(executor_cores=2).needs() == Resources(cpus=2)


@pytest.mark.parametrize(
    ("launcher", "text"),
    [
        (RayLauncher(num_cpus_per_node=8), "num_cpus_per_node=8 exceeds"),
        (RayLauncher(num_gpus_per_node=2), "num_gpus_per_node=2 exceeds"),
        (RayLauncher(object_store_memory_gb=20), "object_store_memory_gb=20 exceeds"),
        (SparkLauncher(executor_cores=8), "executor_cores=8 exceeds"),
        (SparkLauncher(driver_memory="11g"), "driver_memory='11g' exceeds"),
        (SparkLauncher(executor_memory="8G"), "executor_memory='8G' exceeds"),
    ],
)
def test_more_than_the_job_has_is_refused(launcher: Any, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        launcher.start(TWO)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (RayLauncher, {"num_cpus_per_node": 0}),
        (RayLauncher, {"head_startup_timeout": 0}),
        (RayLauncher, {"head_startup_timeout": "60"}),
        (RayLauncher, {"object_store_memory_gb": 0}),
        (RayLauncher, {"dashboard": "everywhere"}),
        (RayLauncher, {"dashboard": 8265}),
        (RayLauncher, {"port_config": {"prot": 6379}}),
        (RayLauncher, {"port_config": {"port": "6379"}}),
        (RayLauncher, {"port_config": {"min_worker_port": 70000}}),
        (RayLauncher, {"ray_start_args": "--resources={}"}),
        (RayLauncher, {"ray_address": "ray://head:10001"}),
        (SparkLauncher, {"driver_memory": "much"}),
        (SparkLauncher, {"num_executors": -1}),
        (SparkLauncher, {"grace_period": -1}),
        (SparkLauncher, {"packages": "g:a:1"}),
        (BashLauncher, {"tasks_per_node": 2, "srun_args": "--mpi=pmix"}),
        (SparkLauncher, {"conf": {"a": "b\nspark.authenticate false"}}),
    ],
)
def test_what_cannot_be_is_refused(kind: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        kind(**arguments)


def test_lists_are_as_good_as_tuples() -> None:
    words: Any = ["--resources={}", "--verbose"]
    found = values(RayLauncher(ray_start_args=words, pre_start_commands=words[:0]).start(TWO).files["launcher.sh"])
    assert found["START_ARGS"] == "--resources={} --verbose"


def test_a_port_of_the_dashboard_counts_for_the_tunnel_too() -> None:
    found = values(RayLauncher(dashboard=True, port_config={"dashboard_port": 8300}).start(TWO).files["launcher.sh"])
    assert (found["DASHBOARD_PORT"], found["PORTS"]) == ("8300", "")


@pytest.mark.parametrize("kind", [RayLauncher, SparkLauncher])
def test_nodes_may_name_their_own_address(kind: Any) -> None:
    text = kind(node_ip_address_command="echo 10.0.0.7").start(TWO).files["launcher.sh"]
    assert subprocess.run(["bash", "-c", text + "own_address"], capture_output=True, check=True).stdout == b"10.0.0.7\n"


#: a Python that says what of Ray's it was to start
SAYS = """#!/bin/bash
case "$*" in *ray_start.py*) printf '%s\\n' "$@"; exit 1 ;; esac
exec {python} "$@"
"""


@pytest.mark.parametrize(("rank", "head"), [(0, True), (1, False)])
def test_the_heads_own_ports_are_the_heads_and_all_others_count_on_every_node(
    rank: int, head: bool, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text(SAYS.format(python=sys.executable))
    python.chmod(0o755)
    ports = {"port": 6379, "min_worker_port": 20000, "dashboard_agent_listen_port": 20001}
    setting = replace(TWO, python=str(python), programs="")
    text = RayLauncher(port_config=ports, node_ip_address_command="echo 127.0.0.1").start(setting).files["launcher.sh"]
    (tmp_path / "launcher.sh").write_text(text)
    for name in ("address", "stop"):
        (tmp_path / name).touch()
    variables = {"DAGSTER_SLURM_RUN_DIR": str(tmp_path), "STATE": str(tmp_path), "SLURM_PROCID": str(rank)}
    script = Path(dagster_slurm.__file__).parent / "launchers/sh/node.sh"
    subprocess.run(
        ["bash", str(script), "ray"],
        env={**os.environ, **variables, "DRIVER": str(os.getpid()), "DRIVER_NODE": "elsewhere", "GRACE": "1"},
        check=False,
    )
    options = (tmp_path / f"ray-{rank}.log").read_text().splitlines()
    assert ("--head" in options, "--port=6379" in options) == (head, head)
    assert "--min-worker-port=20000" in options
    # of two sayings Ray takes the last
    assert [word for word in options if word.startswith("--dashboard-agent-listen-port")][-1].endswith("=20001")


def test_missing_nodes_are_named(tmp_path: Path) -> None:
    text = ray_ready.missing(3, "n1,n2,n3,", [{"NodeName": "n2"}])
    assert text == "only 1 of 3 nodes of the Ray cluster were up in time; missing: n1, n3"
    (tmp_path / "registered.0").write_text("n1 2 1400\n")
    (tmp_path / "registered.1").write_text("n2 2")  # not yet whole
    found = [spark_ready.registered(str(tmp_path), rank) for rank in range(2)]
    text = spark_ready.missing(found, "n1,n2,")
    assert text == "only 1 of 2 workers of the Spark cluster were up in time; missing: n2"
    (tmp_path / "step").write_text("12.3 n7,n8,\n")
    assert spark_ready.names_of_step(str(tmp_path)) == ray_ready.names_of_step(str(tmp_path)) == "n7,n8,"


def test_another_ray_is_named() -> None:
    ours = {"ray_version": "2.60.0", "python_version": "3.11.7"}
    assert ray_ready.difference("a:1", {**ours, "git_commit": "x"}, ours) == ""
    assert ray_ready.difference("a:1", {}, ours) == ""  # it does not tell
    for theirs, said in (("2.55.1", "3.11.7"), ("2.60.0", "3.12.1")):
        text = ray_ready.difference("a:1", {"ray_version": theirs, "python_version": said}, ours)
        assert text.startswith(f"the cluster at a:1 runs Ray {theirs} and Python {said}, the payload's environment has")


def test_the_record_takes_the_launchers_notes() -> None:
    lines = [
        '{"event":"start","job":"1","restart":1,"time":1}',
        '{"event":"note","restart":0,"fault":"of an earlier start"}',
        '{"event":"note","restart":1,"facts":{"ray_nodes":2,"odd":[1]}}',
        '{"event":"note","restart":1,"fault":"first"}',
        '{"event":"note","restart":1,"fault":"second"}',
        '{"event":"note","restart":1,"fault":"torn',
    ]
    record = parse("\n".join(lines))
    assert (record.fault, record.facts) == ("first", {"ray_nodes": 2})


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_for_nodes_run_on_old_pythons(name: str) -> None:
    source = Path(dagster_slurm.__file__).parent / "remote" / name
    ast.parse(source.read_text(), feature_version=(3, 6))


@pytest.mark.parametrize("launcher", [RayLauncher(), SparkLauncher()])
def test_all_programs_exist(launcher: Any) -> None:
    assert all(path.is_file() for path in launcher.programs().values())
