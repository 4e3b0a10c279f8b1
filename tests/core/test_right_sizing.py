from __future__ import annotations

import pytest

from dagster_slurm.core.right_sizing import hints, size


def runs(count: int = 12, **facts: object) -> list[dict[str, object]]:
    return [facts] * count


def test_the_example_of_the_manual() -> None:
    found = hints(runs(requested_memory_mib=64 * 1024, peak_memory_mib=9 * 1024))
    assert found == ["asked 64G of memory, used 9G at most in 12 runs: 12G would do"]


def test_the_largest_use_counts() -> None:
    past = [*runs(3, requested_memory_mib=1000, peak_memory_mib=20), {"peak_memory_mib": 900}]
    assert hints(past) == []


def test_cpus_and_time() -> None:
    found = hints(runs(3, cpus=16, cpu_efficiency=0.17, requested_time="1-00:00:00", elapsed_seconds=2400.0))
    assert found == [
        "asked 16 CPUs, kept 2.7 busy at most in 3 runs: 3 would do",
        "asked 24:00:00, took 00:40:00 at most in 3 runs: 00:52:00 would do",
    ]


@pytest.mark.parametrize(
    "past",
    [
        [],
        runs(2, requested_memory_mib=64000, peak_memory_mib=100),
        runs(requested_memory_mib=1000, peak_memory_mib=700),
        runs(peak_memory_mib=100),
        runs(requested_memory_mib=64000),
        runs(cpus=4, cpu_efficiency=0.9),
        runs(requested_time="00:20:00", elapsed_seconds=3.0),
        runs(requested_time="UNLIMITED", elapsed_seconds=3.0),
        runs(requested_memory_mib="much", peak_memory_mib=None),
    ],
)
def test_nothing_is_said_without_reason(past: list[dict[str, object]]) -> None:
    assert hints(past) == []


def test_only_the_latest_count() -> None:
    past = [*runs(12, requested_memory_mib=1000, peak_memory_mib=20), {"peak_memory_mib": 900}]
    assert hints(past) == ["asked 1000M of memory, used 20M at most in 12 runs: 100M would do"]


def test_sizes() -> None:
    assert [size(value) for value in (100, 1024, 1536, 12288)] == ["100M", "1G", "1.5G", "12G"]
