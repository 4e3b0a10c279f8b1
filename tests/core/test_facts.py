from __future__ import annotations

from dataclasses import replace

import pytest

from dagster_slurm.core.facts import Ended, facts, peak_mebibytes, requested_mebibytes
from dagster_slurm.core.observations import Row
from dagster_slurm.core.record import Exit, Record, Start, Usage
from dagster_slurm.core.resources import Resources
from dagster_slurm.core.states import JobState
from dagster_slurm.core.tracker import Tracked
from dagster_slurm.core.verdict import Verdict

START = Start("42", 0, 1010.0, "node1", "node[1-2]", 2, "hpc", "gpu", cpus=4, gpus=2, mem=2000)
EXIT = Exit(0, 0, signalled=False, time=1110.0, sizes={"stdout": 3})
USAGE = Usage(0, peak_kib=512 * 1024, cpu=400.0)


def ended(*, asks: bool = True, record: Record | None = None, verdict: Verdict | None = None, **asked: object) -> Ended:
    record = Record((START,), (USAGE,), (EXIT,)) if record is None else record
    verdict = verdict or Verdict("success", "the job's own record", 0, exit=EXIT)
    tracked = Tracked("42", 0.0, asks, record=record)
    return Ended(tracked, verdict, Resources(**asked), "/base/runs/r/s/c", submitted=1000.0)  # pyright: ignore[reportArgumentType]


def accounted(**told: str) -> Verdict:
    """Success, and what accounting tells of it."""
    word = Row("42", JobState.COMPLETED, "COMPLETED", facts=tuple(told.items()))
    return Verdict("success", "the job's own record", 0, exit=EXIT, word=word)


def test_a_job_that_ended_well() -> None:
    told = accounted(CpuSeconds="400.0", GpuUtilisation="87.0", GpuKiB=str(3 << 20))
    assert facts(ended(cpus=4, time_limit="1:00:00", verdict=told)) == {
        "job_id": "42",
        "state": "COMPLETED",
        "exit_code": 0,
        "cluster": "hpc",
        "partition": "gpu",
        "nodes": "node[1-2]",
        "node_count": 2,
        "cpus": 4,
        "gpus": 4,
        "queue_wait_seconds": 10.0,
        "elapsed_seconds": 100.0,
        "cpu_seconds": 400.0,
        "cpu_efficiency": 0.5,
        "node_hours": round(200 / 3600, 5),
        "gpu_hours": round(400 / 3600, 5),
        "peak_memory_mib": 512.0,
        "requested_memory_mib": 2000,
        "memory_used_of_requested": 0.256,
        "requested_cpus": 4,
        "requested_time": "1:00:00",
        "gpu_utilisation_percent": 87.0,
        "gpu_peak_memory_mib": 3072.0,
        "restarts": 0,
        "run_directory": "/base/runs/r/s/c",
        "evidence": "the job's own record",
    }


def test_beside_dagster_there_is_what_applies() -> None:
    plain = replace(START, cluster="", partition="", cpus=0, gpus=0, mem=0, count=1, nodes="laptop")
    found = facts(ended(asks=False, record=Record((plain,), (USAGE,), (EXIT,))))
    assert found["elapsed_seconds"] == 100.0
    assert found["cpu_seconds"] == 400.0
    assert found["peak_memory_mib"] == 512.0
    absent = "queue_wait_seconds node_hours requested_memory_mib cpu_efficiency cluster partition gpus cpus".split()
    assert not set(absent) & set(found)


def test_cpu_time_of_several_nodes_is_accountings_alone() -> None:
    """The job's record knows what ran on its first node."""
    assert facts(ended(verdict=accounted(CpuSeconds="600.5")))["cpu_seconds"] == 600.5
    assert not {"cpu_seconds", "cpu_efficiency"} & set(facts(ended()))
    alone = Record((replace(START, count=1),), (USAGE,), (EXIT,))
    assert facts(ended(record=alone))["cpu_seconds"] == 400.0
    assert facts(ended(record=alone, verdict=accounted(CpuSeconds="600.5")))["cpu_seconds"] == 400.0
    unmetered = Record((replace(START, count=1),), (), (EXIT,))
    assert facts(ended(record=unmetered, verdict=accounted(CpuSeconds="600.5")))["cpu_seconds"] == 600.5


def test_a_job_that_never_started() -> None:
    word = Row("42", JobState.CANCELLED, "CANCELLED")
    verdict = Verdict("cancelled", "Slurm's word CANCELLED", word=word)
    found = facts(ended(record=Record(), verdict=verdict))
    assert found["state"] == "CANCELLED"
    assert "exit_code" not in found
    assert "elapsed_seconds" not in found


def test_without_the_meter_and_without_an_end() -> None:
    verdict = Verdict("node_failure", "Slurm's word NODE_FAIL", word=Row("42", JobState.NODE_FAIL, "NODE_FAIL"))
    found = facts(ended(record=Record((START,)), verdict=verdict))
    assert found["queue_wait_seconds"] == 10.0
    assert "elapsed_seconds" not in found
    assert "peak_memory_mib" not in found


@pytest.mark.parametrize("skew", [-30.0, 0.0])
def test_clocks_that_disagree_give_no_negative_times(skew: float) -> None:
    record = Record((replace(START, time=1000.0 + skew),), (), (replace(EXIT, time=990.0 + skew),))
    found = facts(ended(record=record, verdict=Verdict("success", "x", 0, exit=record.exits[0])))
    assert found["queue_wait_seconds"] == 0.0
    assert found["elapsed_seconds"] == 0.0
    assert "cpu_efficiency" not in found


@pytest.mark.parametrize(
    ("mem", "asked", "expected"),
    [
        (2000, {"mem": "8G"}, 2000),
        (0, {"mem": "8G"}, 8192),
        (0, {"mem_per_cpu": "2G", "cpus": 4}, 8192),
        (0, {"mem_per_cpu": "2G"}, 2048),
        (0, {}, None),
        (0, {"mem": 0}, None),  # all of a node's, however much that is
    ],
)
def test_memory_that_was_asked_for(mem: int, asked: dict[str, object], expected: int | None) -> None:
    assert requested_mebibytes(ended(record=Record((replace(START, mem=mem),)), **asked)) == expected


@pytest.mark.parametrize(
    ("measured", "accounted", "expected"),
    [(1024, "4096", 4.0), (4096, "1024", 4.0), (0, None, None), (2048, None, 2.0)],
)
def test_peak_memory_is_the_larger_of_what_is_known(
    measured: int, accounted: str | None, expected: float | None
) -> None:
    known = (("PeakKiB", accounted),) if accounted else ()
    verdict = Verdict("success", "x", 0, word=Row("42", JobState.COMPLETED, "COMPLETED", facts=known))
    usages = (Usage(0, measured, 1.0),) if measured else ()
    assert peak_mebibytes(ended(record=Record((START,), usages, (EXIT,)), verdict=verdict)) == expected


@pytest.mark.parametrize(
    ("cause", "word", "state"),
    [
        ("success", None, "COMPLETED"),
        ("exit_code", None, "FAILED"),
        ("signal", None, "FAILED"),
        ("interrupted", None, "INTERRUPTED"),
        ("lost", None, "LOST"),
        ("exit_code", "OUT_OF_MEMORY", "OUT_OF_MEMORY"),
        ("interrupted", "COMPLETED", "COMPLETED"),
    ],
)
def test_the_state_is_slurms_word_where_there_is_one(cause: str, word: str | None, state: str) -> None:
    row = Row("42", JobState(word.lower()), word) if word else None
    verdict = Verdict(cause, "x", word=row)  # pyright: ignore[reportArgumentType]
    assert facts(ended(verdict=verdict))["state"] == state
