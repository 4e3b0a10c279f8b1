"""What follows a job that did not end well."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dagster_slurm.core.partitions import Kind
from dagster_slurm.core.resources import Resources, limit_seconds, time_text
from dagster_slurm.core.retries import Again, End, Enough, SlurmRetryPolicy, decide
from dagster_slurm.core.tried import Tried, changed, continuation, next_change, packed, summed, unpacked
from dagster_slurm.errors import ConfigurationError, JobError

POLICY = SlurmRetryPolicy()


def tried(kind: str = "retry", cause: str = "out_of_memory", **more: Any) -> Tried:
    given = {"attempt": 0, "job": "7", "how": "with mem=200M", "change": {"mem": "200M"}, "facts": {}, **more}
    return Tried(cause=cause, kind=kind, **given)


@pytest.mark.parametrize(
    ("end", "change", "how"),
    [
        (End(cause="out_of_memory", memory=100), Resources(mem="200M"), "with mem=200M"),
        (
            End(cause="out_of_memory", memory=800, resources=Resources(mem_per_cpu="100M", cpus=8)),
            Resources(mem_per_cpu="200M"),
            "with mem_per_cpu=200M",
        ),
        (
            End(cause="time_limit", resources=Resources(time_limit="00:45:00")),
            Resources(time_limit="01:30:00"),
            "with time_limit=01:30:00",
        ),
        (End(cause="node_failure", node="node1"), Resources(exclude="node1"), "without node1"),
        (
            End(cause="node_failure", node="node1", resources=Resources(exclude="node3")),
            Resources(exclude="node3,node1"),
            "without node1",
        ),
        (
            End(cause="node_failure", resources=Resources(nodes=2)),
            Resources(),
            "on other nodes (Slurm keeps away from the one that failed)",
        ),
        (End(cause="preempted"), Resources(), "as it was"),
        (End(cause="environment_damaged"), Resources(), "as it was"),
    ],
)
def test_what_helps(end: End, change: Resources, how: str) -> None:
    assert decide(POLICY, (), end) == Again("retry", change, how)


def causes() -> set[str]:
    """All that errors can name."""
    found, classes = set[str](), [JobError]
    while classes:
        one = classes.pop()
        found.add(one.cause)
        classes += one.__subclasses__()
    return found


def test_nothing_else_is_tried_again() -> None:
    helped = {"out_of_memory", "time_limit", "node_failure", "preempted", "environment_damaged", "session"}
    for cause in causes() - helped:
        end = End(cause=cause, memory=100, node="node1", resources=Resources(time_limit=5))
        for policy in (POLICY, SlurmRetryPolicy(on_timeout="continue")):
            assert isinstance(decide(policy, (), end), Enough), cause


def test_bounds() -> None:
    end = End(cause="out_of_memory", memory=100)
    assert isinstance(decide(POLICY, [tried()], end), Again)
    assert decide(POLICY, [tried(), tried()], end) == Enough("it was tried again 2 times (max_retries)")
    assert isinstance(decide(POLICY, [tried("continue")] * 9, end), Again), "continuations are no retries"
    assert isinstance(decide(SlurmRetryPolicy(max_retries=0), [], end), Enough)


def test_no_more_than_there_is() -> None:
    small = Kind("compute", default=True, nodes=2, cpus=4, memory=150, gpus=(), limit=3600)
    large = Kind("large", default=False, nodes=2, cpus=4, memory=900, gpus=(), limit=None)
    end = End(cause="out_of_memory", memory=100)
    assert decide(POLICY, (), end, [small, large]) == Again("retry", Resources(mem="150M"), "with mem=150M")
    there = decide(POLICY, (), End(cause="out_of_memory", memory=150), [small, large])
    assert there == Enough("it had 150 MiB, and there is no more to be had")
    there = decide(POLICY, (), End(cause="out_of_memory", memory=150, resources=Resources(partition="large")), [large])
    assert isinstance(there, Again)
    capped = SlurmRetryPolicy(max_mem="120M", max_time="00:50:00")
    assert decide(capped, (), end) == Again("retry", Resources(mem="120M"), "with mem=120M")
    half = End(cause="time_limit", resources=Resources(time_limit="00:40:00"))
    assert decide(POLICY, (), half, [small]) == Again(
        "retry", Resources(time_limit="01:00:00"), "with time_limit=01:00:00"
    )
    assert decide(capped, (), half, [small]) == Again(
        "retry", Resources(time_limit="00:50:00"), "with time_limit=00:50:00"
    )
    assert isinstance(decide(POLICY, (), End(cause="time_limit", resources=Resources(time_limit=60)), [small]), Enough)


def test_what_is_not_known_is_not_multiplied() -> None:
    for end, name in ((End(cause="out_of_memory"), "mem="), (End(cause="time_limit"), "time_limit=")):
        found = decide(POLICY, (), end)
        assert isinstance(found, Enough)
        assert name in found.why


def test_continuing() -> None:
    policy = SlurmRetryPolicy(on_timeout="continue", max_continuations=2, max_retries=1)
    limit = End(cause="time_limit", resources=Resources(time_limit=5))
    assert decide(policy, (), limit) == Again("continue", Resources(), "where it stopped")
    gone = [tried("continue", "time_limit"), tried("retry", "node_failure"), tried("continue", "time_limit")]
    assert continuation(gone[:1]) == continuation(gone[:2]) == 1
    assert decide(policy, gone, limit) == Enough("it was continued 2 times (max_continuations)")
    assert policy.needs().signal_before_timeout == 120
    assert POLICY.needs() == Resources()
    assert isinstance(decide(SlurmRetryPolicy(on_timeout="fail"), (), limit), Enough)


def test_what_was_changed_stays_changed() -> None:
    first = decide(POLICY, (), End(cause="out_of_memory", memory=100))
    assert isinstance(first, Again)
    trail = [tried(change=next_change((), first.change))]
    second = decide(POLICY, trail, End(cause="node_failure", node="node1"))
    assert isinstance(second, Again)
    trail.append(tried(cause="node_failure", change=next_change(trail, second.change)))
    asked = changed(Resources(mem="100M", cpus=2), trail)
    assert (asked.mem, asked.exclude, asked.cpus) == ("200M", "node1", 2)
    assert unpacked(json.loads(json.dumps(packed(trail)))) == tuple(trail)
    assert unpacked(None) == ()


def test_costs_add_up() -> None:
    facts = {"elapsed_seconds": 10.0, "cpu_seconds": 5.0, "node_hours": 0.5, "cpu_efficiency": 0.5, "job_id": "8"}
    trail = [tried(facts={"elapsed_seconds": 30.0, "cpu_seconds": 30.0, "node_hours": 1.5, "cpu_efficiency": 1.0})]
    found = summed(trail, facts)
    assert (found["elapsed_seconds"], found["node_hours"], found["cpu_efficiency"]) == (40.0, 2.0, 0.875)
    assert (found["retries"], found["continuations"], found["job_id"]) == (1, 0, "8")
    assert found["earlier_jobs"] == "job 7: out_of_memory, then again with mem=200M"
    assert "cpu_efficiency" not in summed([tried()], facts), "one of them does not tell"
    assert summed([], facts) == facts


@pytest.mark.parametrize("seconds", [60, 61, 3600, 86400, 90061, 10 * 86400 + 59])
def test_time_as_text(seconds: int) -> None:
    found = limit_seconds(time_text(seconds))
    assert found is not None
    assert seconds <= found < seconds + 60


@pytest.mark.parametrize(
    "given",
    [
        {"max_retries": -1},
        {"max_retries": True},
        {"max_continuations": 1.5},
        {"memory_factor": 1.0},
        {"time_factor": "2"},
        {"max_mem": "lots"},
        {"max_time": "soon"},
        {"on_timeout": "proceed"},
        {"warning": 90000},
    ],
)
def test_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        SlurmRetryPolicy(**given)
