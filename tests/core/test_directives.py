from __future__ import annotations

import re
import time
from typing import Any

import pytest

from dagster_slurm.core.directives import directive, directives, file_pattern
from dagster_slurm.core.resources import Resources
from dagster_slurm.errors import ConfigurationError
from testcluster import Cluster
from tests.clusters import cluster

__all__ = ["cluster"]

#: what sbatch must read back as it is
VALUES = [
    "plain",
    "with blank",
    "two  blanks",
    " lead",
    "it's",
    'say "hi"',
    "both ' and \"",
    "ünïcödé 日本",
    "#hash",
    "a #b",
    "a#b",
    "100%",
    "%j",
    "%%",
    "back\\slash",
    "b\\%j",
    "end\\",
    "\\\\",
    '\\"',
    "\\n",
    "-dash",
    "--mem=1",
    "a;b",
    "$(id)",
    "`id`",
    "$HOME",
    "*?[x]",
    "a=b",
    "~",
    "!x",
    "<x>|y&z",
    '"',
    "'",
]


@pytest.mark.parametrize(
    ("asked", "lines"),
    [
        ({}, ["--nodes=1", "--requeue"]),
        ({"nodes": 2, "cpus": 4}, ["--nodes=2", "--cpus-per-task=4", "--requeue"]),
        ({"mem": "4G"}, ["--nodes=1", "--mem=4096M", "--requeue"]),
        ({"mem": 0}, ["--nodes=1", "--mem=0M", "--requeue"]),
        ({"mem_per_cpu": "500K"}, ["--nodes=1", "--mem-per-cpu=1M", "--requeue"]),
        ({"gpus_per_node": 2}, ["--nodes=1", "--gres=gpu:2", "--requeue"]),
        ({"gpus_per_node": "a100:2", "gres": "shard:1"}, ["--nodes=1", "--gres=gpu:a100:2,shard:1", "--requeue"]),
        (
            {"gpus_per_node": "a100:2", "gres": "shard:1", "gpu_directive": "gpus-per-node"},
            ["--nodes=1", "--gpus-per-node=a100:2", "--gres=shard:1", "--requeue"],
        ),
        ({"gpus_per_node": 0, "gres": "shard:1"}, ["--nodes=1", "--gres=shard:1", "--requeue"]),
        ({"time_limit": 90}, ["--nodes=1", "--time=90", "--requeue"]),
        ({"signal_before_timeout": "USR1@300"}, ["--nodes=1", "--signal=B:USR1@300", "--requeue"]),
        ({"signal_before_timeout": 60}, ["--nodes=1", "--signal=B:TERM@60", "--requeue"]),
        ({"options": {"no-requeue": True}}, ["--nodes=1", "--no-requeue"]),
        ({"options": {"requeue": False}}, ["--nodes=1", "--no-requeue"]),
        ({"options": {"exclusive": True, "hold": False}}, ["--nodes=1", "--requeue", "--exclusive"]),
        ({"options": {"nice": 0, "mail-type": "END"}}, ["--nodes=1", "--requeue", "--mail-type=END", "--nice=0"]),
        (
            {"options": {"c": "8"}, "partition": "a,b"},
            ["--partition=a,b", "--nodes=1", "--cpus-per-task=8", "--requeue"],
        ),
    ],
    ids=str,
)
def test_directives(asked: dict[str, Any], lines: list[str]) -> None:
    assert directives(Resources(**asked)) == lines


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "\x00", "\x1b[0m", "a\tb"])
def test_a_value_that_no_line_can_carry(value: str) -> None:
    with pytest.raises(ConfigurationError, match="--comment"):
        directive("comment", value)


@pytest.mark.parametrize("value", VALUES)
def test_every_directive_is_one_line_without_an_open_comment(value: str) -> None:
    line = directive("comment", value)
    assert "\n" not in line
    assert not re.search(r"(?<!\\)#", line)


@pytest.mark.cluster
def test_sbatch_reads_values_back_as_they_are(cluster: Cluster) -> None:
    """As comment, and as the folder to run in, where the log must appear too."""
    base = cluster.home / f"read back {time.time_ns()}"
    cluster.run(["mkdir", "-p", *(str(base / value) for value in VALUES)])
    for value in VALUES:
        folder, script = base / value, base / "job.sh"
        lines = [
            directive("comment", value),
            directive("chdir", str(folder)),
            directive("output", file_pattern(str(folder / "slurm.log"))),
            "--mem=10 --time=1",
        ]
        script.write_text("".join(["#!/bin/bash\n", *(f"#SBATCH {line}\n" for line in lines), "pwd\n"]))
        done = cluster.run(["sbatch", "--parsable", str(script)])
        assert done.returncode == 0, (value, done.stderr)
        shown = cluster.run(["scontrol", "show", "job", done.stdout.strip()]).stdout
        assert f"   Comment={value} \n" in shown, value
        assert f"   WorkDir={folder}\n" in shown, value
    for value in VALUES:
        log = base / value / "slurm.log"
        until(lambda log=log: log.exists() and log.read_text() != "", value)
        assert log.read_text() == f"{base / value}\n", value


def until(condition: Any, what: str, timeout: float = 30) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("path", "pattern"),
    [("/a/b", "/a/b"), ("/a%j/%%", "/a%%j/%%%%"), ("/a\\b%j", "/a\\\\b%j"), ("/é x", "/é x")],
)
def test_patterns_of_files(path: str, pattern: str) -> None:
    assert file_pattern(path) == pattern
