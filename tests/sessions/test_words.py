"""What is said to a session and inside of one: lines, flags, and Slurm's own words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_slurm.core.resources import Resources
from dagster_slurm.core.spec import LaunchKey
from dagster_slurm.core.states import JobState
from dagster_slurm.engine.units import decided, flags, time_limit
from dagster_slurm.remote.session_lines import decode, encode
from dagster_slurm.remote.session_words import between, nodes, refusal, seconds, srun
from dagster_slurm.schedulers.slurm import Slurm

KEY = LaunchKey("run", "step", "call")


@given(
    st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3), max_size=5), st.integers(0, 200)
)
def test_lines_survive_any_cut(items: list[dict[str, str]], cut: int) -> None:
    data = b"".join(encode(item) for item in items)
    first, rest = decode(data[:cut])
    second, left = decode(rest + data[cut:])
    assert [*first, *second] == items
    assert left == b""


@given(st.binary(max_size=60))
def test_what_somebody_could_not_finish_costs_no_other_line(torn: bytes) -> None:
    items, _ = decode(encode({"a": 1})[:-7] + torn + encode({"b": 2}))
    assert items[-1] == {"b": 2}
    assert {"a": 1} not in items[:-1]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, {"nodes": 1, "cpus": 1, "mem": None, "gres": "none", "minutes": None}),
        ({"cpus": 4, "mem": "2G"}, {"cpus": 4, "mem": 2048}),
        ({"cpus": 4, "mem_per_cpu": 100}, {"cpus": 4, "mem": 400}),
        ({"nodes": 3, "cpus": 2, "options": {"ntasks-per-node": 4}}, {"nodes": 3, "cpus": 8}),
        ({"gpus_per_node": 2}, {"gres": "gpu:2"}),
        ({"gpus_per_node": "a100:2", "gres": "shard:1"}, {"gres": "gpu:a100:2,shard:1"}),
        ({"time_limit": "00:00:30"}, {"seconds": 30, "minutes": 1}),
    ],
)
def test_all_that_srun_is_told_is_explicit(asked: dict[str, Any], expected: dict[str, Any]) -> None:
    got = flags(KEY, Resources(**asked), "run", "step")
    assert {name: got[name] for name in expected} == expected
    words = srun("7", got, 250, [])
    assert {"--exact", "--jobid=7", f"--gres={got['gres']}"} <= {*words}
    assert "--mem=250M" in words
    assert not [word for word in words if word.startswith("--overlap")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, None), (90, 5400), ("90", 5400), ("1:30", 90), ("01:00:00", 3600), ("2-12", 216000), ("1-01:01:01", 90061)],
)
def test_time_limits_as_sbatch_reads_them(text: str | int | None, expected: int | None) -> None:
    assert time_limit(text) == expected


def test_what_the_allocation_decides_is_named() -> None:
    queue = Resources(partition="compute", account="mine")
    assert decided(Resources(partition="compute", cpus=3), queue) == []
    assert decided(Resources(partition="gpu", qos="high"), queue) == ["partition", "qos"]


#: recorded on 22.05
REFUSALS = [
    ("srun: error: Unable to create step for job 3: More processors requested than permitted", "refused", ""),
    ("srun: error: Unable to create step for job 3: Memory required by task is not available", "busy", ""),
    ("srun: error: Only allocated 1 nodes asked for 2", "refused", ""),
    ("srun: error: Unable to confirm allocation for job 3: Invalid job id specified", "over", ""),
    ("srun: error: Slurm job 3 has expired\nsrun: error: Check SLURM_JOB_ID environment variable", "over", ""),
    ("srun: error: Unable to create step for job 3: Job/step already completing or completed", "over", ""),
    ("srun: error: Unable to create step for job 3: Socket timed out on send/recv operation", "again", ""),
    (
        "srun: error: Task launch for StepId=3.0 failed on node node2: Communication connection failure\n"
        "srun: error: Application launch failed: Communication connection failure",
        "node",
        "node2",
    ),
]


@pytest.mark.parametrize(("log", "kind", "node"), REFUSALS)
def test_why_srun_began_nothing(log: str, kind: str, node: str) -> None:
    found = refusal(log)
    assert (found.kind, found.node) == (kind, node)
    assert found.text in log.replace("\nsrun: error: ", "; ")


def test_a_silent_srun_is_refused_too() -> None:
    assert refusal("").text == "srun said nothing"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("9:58", 598), ("1:00:00", 3600), ("2-01:00:00", 176400), ("UNLIMITED", None), ("INVALID", None), ("", None)],
)
def test_the_time_that_is_left(text: str, expected: float | None) -> None:
    assert seconds(text) == expected


def test_how_long_it_waited() -> None:
    assert between("2026-11-22T16:40:09", "2026-11-22T16:41:09") == 60
    assert between("N/A", "") == between() == 0


def test_the_nodes_of_an_allocation() -> None:
    described = """   JOB_GRES=gpu:4
     Nodes=node[1-2] CPU_IDs=0-7 Mem=4000 GRES=
     Nodes=node3 CPU_IDs=0,2-3 Mem=1000 GRES=gpu:4(IDX:0-3)"""
    assert nodes(described) == [("node[1-2]", 8, 4000), ("node3", 3, 1000)]


def account(*states: str, job: str = "3.1") -> Any:
    rows = [f"{name}|{state}|{code}|0:0" for name, state, code in (line.split("|") for line in states)]
    return Slurm().account_row(rows, job)


@pytest.mark.parametrize(
    ("whole", "step", "state"),
    [
        ("RUNNING|0:0", "COMPLETED|0:0", JobState.COMPLETED),
        ("RUNNING|0:0", "FAILED|3:0", JobState.FAILED),
        ("RUNNING|0:0", "CANCELLED by 1058|0:9", JobState.CANCELLED),
        ("RUNNING|0:0", "CANCELLED|0:9", JobState.FAILED),  # somebody killed it: nobody cancelled it
        ("FAILED|9:0", "CANCELLED by 1058|0:9", JobState.FAILED),  # its allocation's agent was killed
        ("RUNNING|0:0", "OUT_OF_MEMORY|0:125", JobState.OUT_OF_MEMORY),
        ("CANCELLED by 1058|0:0", "CANCELLED|0:15", JobState.CANCELLED),
        ("TIMEOUT|0:0", "CANCELLED|0:15", JobState.TIMEOUT),
        ("NODE_FAIL|0:0", "RUNNING|0:0", JobState.NODE_FAIL),
        ("TIMEOUT|0:0", "FAILED|3:0", JobState.FAILED),
    ],
)
def test_accounting_of_a_step(whole: str, step: str, state: JobState) -> None:
    assert account(f"3|{whole}", f"3.batch|{whole}", f"3.1|{step}").state is state


def test_the_queue_tells_of_a_step_only_if_all_of_its_allocation_ended() -> None:
    row = Slurm().queue_row(["3|RUNNING|N/A|node1|None|session"], "3.1")
    assert row is not None
    assert (row.job, row.state, row.around) == ("3.1", JobState.RUNNING, True)
    waiting = Slurm().queue_row(["3|PENDING|N/A||Priority|session"], "3.pending")
    assert waiting is not None
    assert (waiting.state, waiting.reason) == (JobState.PENDING, "Priority")
    assert Slurm().queue_row(["4|RUNNING|N/A|node1|None|other"], "3.1") is None
