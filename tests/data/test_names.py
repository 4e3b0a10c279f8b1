"""Where results live: names for any key, and what a payload is told."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_slurm.core.data import (
    INPUT,
    INPUTS,
    OUTPUT,
    OUTPUTS,
    Slot,
    Wanted,
    extras,
    input_variables,
    order,
    place,
    remarks,
    safe_name,
)
from dagster_slurm.core.spec import LaunchKey, check_environment
from dagster_slurm.errors import ConfigurationError

TEXT = st.text(min_size=1, max_size=300)
KEYS = st.lists(TEXT, min_size=1, max_size=4).map(tuple)
SLOTS = st.builds(Slot, KEYS, st.none() | TEXT)
SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-+")
KEY = LaunchKey("run", "step", "call", 2)


@given(SLOTS)
def test_names_are_safe(slot: Slot) -> None:
    parts = slot.folder.split("/")
    assert len(parts) == (1 if slot.partition is None else 2)
    for part in parts:
        assert 0 < len(part) <= 255
        assert set(part) <= SAFE
        assert part[0] not in ".-@"


@given(SLOTS, SLOTS)
def test_two_slots_never_share_a_folder(one: Slot, other: Slot) -> None:
    assert (one.folder == other.folder) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Slot(("a", "b")), Slot(("a_b",))),
        (Slot(("a", "b")), Slot(("a",), "b")),
        (Slot(("a+b",)), Slot(("a", "b"))),
        (Slot(("a",), "x y"), Slot(("a",), "x/y")),
        (Slot(("a",), "x y"), Slot(("a",), Slot((safe_name("x y"),)).folder)),
        (Slot(("a",), ".."), Slot(("a",), ".")),
        (Slot(("a",), ".partitions"), Slot(("a",), "partitions")),
    ],
)
def test_near_misses(one: Slot, other: Slot) -> None:
    assert one.folder != other.folder


def test_plain_names_stay_as_they_are() -> None:
    assert place("/data", Slot(("raw", "daily"), "2024-01-01")) == "/data/raw+daily/2024-01-01"


def test_variables() -> None:
    wanted = Wanted("/d", outputs=(Slot(("c",)),), inputs=(Slot(("raw", "daily-x"), "p"),))
    assert input_variables(wanted)[f"{INPUT}_RAW_DAILY_X"] == "/d/raw+daily-x/p"
    told = extras(wanted, "/run")
    assert told[OUTPUT] == told[f"{OUTPUT}_C"] == told[OUTPUTS]["c"] == "/run/output/c"
    assert told[INPUTS] == {"raw/daily-x": "/d/raw+daily-x/p"}


def test_several_partitions_are_a_folder_and_named_one_by_one() -> None:
    wanted = Wanted("/d", inputs=(Slot(("a",), "1"), Slot(("a",), "2")))
    assert input_variables(wanted)[f"{INPUT}_A"] == "/d/a"
    assert extras(wanted, "/run")[INPUTS] == {"a": {"1": "/d/a/1", "2": "/d/a/2"}}


def test_a_variable_that_two_would_share_is_not_set() -> None:
    wanted = Wanted("/d", inputs=(Slot(("a", "b")), Slot(("a_b",))))
    assert f"{INPUT}_A_B" not in input_variables(wanted)
    assert "a/b and a_b" in remarks(wanted)[0]
    assert extras(wanted, "/run")[INPUTS] == {"a/b": "/d/a+b", "a_b": "/d/a_b"}


def test_the_next_attempt_writes_elsewhere_unless_it_continues() -> None:
    def partial(key: LaunchKey, *, resume: bool) -> str:
        return json.loads(order(Wanted("/d", resume=resume), key))["partial"]

    first = LaunchKey("run", "step", "call", 0)
    assert partial(first, resume=False) != partial(KEY, resume=False)
    assert partial(first, resume=True) == partial(KEY, resume=True)
    assert (
        json.loads(order(Wanted("/d", since=1), KEY))["partial"]
        == json.loads(order(Wanted("/d", since=1), LaunchKey("run", "step", "call", 1)))["partial"]
    )
    assert (
        json.loads(order(Wanted("/d", since=2), KEY))["partial"]
        != json.loads(order(Wanted("/d", since=1), KEY))["partial"]
    )
    earlier = json.loads(order(Wanted("/d"), KEY))["earlier"]
    assert earlier == [partial(LaunchKey("run", "step", "call", n), resume=False) for n in (0, 1)]


@pytest.mark.parametrize("name", [OUTPUT, f"{INPUT}_A", INPUTS, f"{OUTPUT}_A"])
def test_the_variables_are_ours(name: str) -> None:
    with pytest.raises(ConfigurationError, match="is set by dagster-slurm"):
        check_environment({name: "x"})
