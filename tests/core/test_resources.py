from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_slurm.core.resources import SIGNALS, Resources, mebibytes, merge, parse_signal
from dagster_slurm.errors import ConfigurationError


@pytest.mark.parametrize(
    "values",
    [
        {"nodes": 0},
        {"nodes": -1},
        {"nodes": True},
        {"nodes": 1.5},
        {"nodes": "2-4"},
        {"cpus": 0},
        {"cpus": "four"},
        {"mem": "lots"},
        {"mem": "4 G"},
        {"mem": "-4G"},
        {"mem": "1.5G"},
        {"mem": True},
        {"mem": ""},
        {"mem": "4G", "mem_per_cpu": "1G"},
        {"mem_per_cpu": "many"},
        {"gpus_per_node": "a100"},
        {"gpus_per_node": -1},
        {"gpus_per_node": True},
        {"gpus_per_node": "a100:4:1"},
        {"gpus_per_node": "gpu 2"},
        {"gpu_directive": "--gpus"},
        {"gres": "gpu:2,gpu:a100:1"},
        {"gres": "gpu:2", "gpus_per_node": 4},
        {"time_limit": "soon"},
        {"time_limit": "1:2:3:4"},
        {"time_limit": "1-2-3"},
        {"time_limit": -5},
        {"time_limit": True},
        {"time_limit": ["10"]},
        {"signal_before_timeout": "USR1@"},
        {"signal_before_timeout": "@60"},
        {"signal_before_timeout": -5},
        {"signal_before_timeout": True},
        {"signal_before_timeout": "KILL@60"},  # cannot be trapped, and so not handed on
        {"signal_before_timeout": "STOP@60"},
        {"signal_before_timeout": "WINK@60"},
        {"signal_before_timeout": "USR1@65536"},
        {"signal_before_timeout": "9@60"},
        {"partition": ""},
        {"partition": "  "},
        {"partition": True},
        {"account": "a\nb"},
        {"qos": "a\x00b"},
        {"nodelist": ["node1", "node2"]},
        {"options": {"comment": ["a"]}},
        {"options": {"unicorn": True}},
        {"options": {"output": "here"}},
        {"mem": "1G", "options": {"mem": "2G"}},
        {"mem": "1G", "options": {"mem-per-cpu": "2G"}},
        {"options": {"c": 2, "cpus_per_task": 4}},
    ],
    ids=str,
)
def test_what_sbatch_would_refuse_is_refused_here(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Resources(**values)
    named = caught.value.message.replace("_", "-")
    assert any(name.replace("_", "-") in named for name in ("--cpus-per-task", *values.get("options", ()), *values))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (4000, 4000),
        ("4000", 4000),
        ("4000M", 4000),
        ("4000MB", 4000),
        ("4g", 4096),
        ("2T", 2 << 20),
        ("2048K", 2),
        ("1K", 1),  # rounded up: 0 would be all of a node's memory
        ("1025K", 2),
        (0, 0),
        (" 4G ", 4096),
    ],
)
def test_memory(value: str | int, expected: int) -> None:
    assert mebibytes(value) == expected


@given(st.integers(1, 10**6), st.sampled_from(["", "K", "M", "G", "T"]))
def test_memory_that_is_asked_for_is_never_none_at_all(amount: int, unit: str) -> None:
    assert mebibytes(f"{amount}{unit}") >= 1


@pytest.mark.parametrize(
    "time", [1, "90", "90:30", "1:30:00", "2-12", "2-12:30", "2-12:30:15", "UNLIMITED", "infinite"]
)
def test_time_limits_as_sbatch_knows_them(time: str | int) -> None:
    assert Resources(time_limit=time).time_limit == time


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (300, ("TERM", 300)),
        ("300", None),
        ("USR1@300", ("USR1", 300)),
        ("sigusr2@60", ("USR2", 60)),
        ("B:USR1@10", ("USR1", 10)),
        ("10@60", ("USR1", 60)),
        ("USR1", ("USR1", 60)),
        ("TERM@0", ("TERM", 0)),
    ],
)
def test_signals(value: str | int, expected: tuple[str, int] | None) -> None:
    if expected is None:
        with pytest.raises(ConfigurationError, match=", ".join(SIGNALS)):
            parse_signal(value)
    else:
        assert parse_signal(value) == expected


@pytest.mark.parametrize(
    ("gpus", "count"), [(None, 0), (0, 0), (4, 4), ("4", 4), ("a100:4", 4), ("nvidia_h100_80gb.1:2", 2)]
)
def test_number_of_gpus(gpus: int | str | None, count: int) -> None:
    assert Resources(gpus_per_node=gpus).gpu_count == count


def test_options_with_a_field_are_found_in_that_field() -> None:
    asked = Resources(options={"c": "4", "--mem": "2G", "N": 2, "exclusive": True, "no_requeue": True})
    assert (asked.cpus, asked.mem, asked.nodes) == (4, "2G", 2)
    assert asked.options == {"exclusive": True, "requeue": False}


@pytest.mark.parametrize(
    ("gres", "gpus", "rest"),
    [
        ("gpu", "1", None),
        ("gpu:2", "2", None),
        ("gpu:a100", "a100:1", None),
        ("gpu:a100:2, shard:3", "a100:2", "shard:3"),
        ("shard:3,license:1", None, "shard:3,license:1"),
    ],
)
def test_gpus_among_generic_resources_are_gpus(gres: str, gpus: str | None, rest: str | None) -> None:
    asked = Resources(gres=gres)
    assert (asked.gpus_per_node, asked.gres) == (gpus, rest)


def test_texts_are_trimmed() -> None:
    assert Resources(partition=" gpu ", time_limit=" 10 ").partition == "gpu"
    assert Resources(time_limit=" 10 ").time_limit == "10"


class TestMerge:
    def test_the_earlier_saying_wins_and_the_later_completes_it(self) -> None:
        asked = merge(Resources(cpus=8), None, Resources(cpus=2, mem="1G"), Resources(partition="gpu", mem="9G"))
        assert (asked.cpus, asked.mem, asked.partition) == (8, "1G", "gpu")

    def test_nothing_said(self) -> None:
        assert merge() == merge(None) == Resources()

    def test_memory_of_either_kind_replaces_that_of_the_other(self) -> None:
        assert merge(Resources(mem="1G"), Resources(mem_per_cpu="2G")).mem_per_cpu is None
        assert merge(Resources(mem_per_cpu="2G"), Resources(mem="1G")).mem is None

    def test_an_option_of_a_later_saying_does_not_beat_a_field_of_an_earlier_one(self) -> None:
        asked = merge(Resources(cpus=8), Resources(options={"cpus-per-task": 2, "comment": "x"}))
        assert asked.cpus == 8
        assert asked.options == {"comment": "x"}

    def test_an_option_of_an_earlier_saying_beats_a_field_of_a_later_one(self) -> None:
        assert merge(Resources(options={"c": 8}), Resources(cpus=2)).cpus == 8

    def test_a_flag_can_be_taken_back(self) -> None:
        assert merge(Resources(options={"exclusive": False}), Resources(options={"exclusive": True})).options == {
            "exclusive": False
        }
        assert merge(Resources(options={"requeue": True}), Resources(options={"no-requeue": True})).options == {
            "requeue": True
        }

    def test_no_gpus_beats_gpus(self) -> None:
        assert merge(Resources(gpus_per_node=0), Resources(gpus_per_node=4)).gpu_count == 0
        assert merge(Resources(gres="gpu:1"), Resources(gpus_per_node=4)).gpu_count == 1

    @given(st.lists(st.builds(Resources, cpus=st.none() | st.integers(1, 9), qos=st.none() | st.sampled_from("abc"))))
    def test_order_of_merging_does_not_matter(self, sayings: list[Resources]) -> None:
        stepwise = Resources()
        for saying in reversed(sayings):
            stepwise = saying.over(stepwise)
        assert merge(*sayings) == stepwise
