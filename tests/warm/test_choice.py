"""Which cluster serves an asset."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_slurm.core.warm import Shape, Warm, choose, covers, lacks

TABLE = [
    # have, want, tolerance, whether it serves
    (Shape(1, 8, 100, 2), Shape(1, 8, 100, 2), 0.0, True),
    (Shape(1, 16, 200, 4), Shape(1, 8, 100, 2), 0.0, True),
    (Shape(1, 7, 100), Shape(1, 8, 100), 0.0, False),
    (Shape(1, 7, 100), Shape(1, 8, 100), 0.15, True),
    (Shape(1, 17, 100), Shape(1, 20, 100), 0.15, True),
    (Shape(1, 16, 100), Shape(1, 20, 100), 0.15, False),
    (Shape(1, 8, 85), Shape(1, 8, 100), 0.15, True),
    (Shape(1, 8, 84), Shape(1, 8, 100), 0.15, False),
    # GPUs are never fewer
    (Shape(1, 8, 100, 3), Shape(1, 8, 100, 4), 0.5, False),
    (Shape(2, 8, 100, 4), Shape(1, 8, 100, 4), 0.0, True),
    # a task runs on one node
    (Shape(4, 8, 100), Shape(1, 32, 100), 0.0, False),
    (Shape(1, 32, 400), Shape(4, 8, 100), 0.0, True),
    (Shape(2, 8, 100), Shape(4, 8, 100), 0.0, False),
    # who asks for nothing is served by anything; a cluster with all that is there has enough
    (Shape(1, 1, 1), Shape(), 0.0, True),
    (Shape(), Shape(1, 64, 9999), 0.0, True),
    (Shape(), Shape(1, 1, 1, 1), 0.0, False),
]


@pytest.mark.parametrize(("have", "want", "tolerance", "serves"), TABLE)
def test_covers(have: Shape, want: Shape, tolerance: float, serves: bool) -> None:
    assert covers(have, want, tolerance) is serves


def test_what_is_lacking_is_said() -> None:
    assert lacks(Shape(1, 2, 100), Shape(1, 4, 100), 0.15) == ["2 CPUs on each node, 4 are asked for"]
    assert lacks(Shape(1, 4, 100, 2), Shape(2, 4, 100, 2), 0.15) == [
        "4 CPUs in all, 8 are asked for",
        "100 MiB of memory in all, 200 are asked for",
        "2 GPUs in all, 4 are asked for",
    ]


amounts = st.none() | st.integers(1, 64)
shapes = st.builds(Shape, st.integers(1, 8), amounts, amounts, st.integers(0, 8))
tolerances = st.floats(0, 0.9)


@given(shapes, tolerances)
def test_everything_serves_itself(shape: Shape, tolerance: float) -> None:
    assert covers(shape, shape, tolerance)


@given(shapes, shapes, tolerances, st.integers(1, 9))
def test_more_never_serves_less(have: Shape, want: Shape, tolerance: float, more: int) -> None:
    if covers(have, want, tolerance):
        assert covers(replace(have, nodes=have.nodes + more), want, tolerance)
        assert covers(replace(have, gpus=have.gpus + more), want, tolerance)
        assert covers(replace(have, cpus=None if have.cpus is None else have.cpus + more), want, tolerance)
        assert covers(have, want, min(tolerance + 0.05, 0.95))


@given(shapes, shapes, tolerances)
def test_gpus_are_never_fewer(have: Shape, want: Shape, tolerance: float) -> None:
    if covers(have, want, tolerance):
        assert have.gpus >= want.gpus
        assert have.gpus * have.nodes >= want.gpus * want.nodes


@given(shapes, shapes, tolerances)
def test_tolerance_is_the_most_that_is_missing(have: Shape, want: Shape, tolerance: float) -> None:
    if covers(have, want, tolerance) and have.cpus and want.cpus:
        assert have.cpus * have.nodes >= (1 - tolerance) * want.cpus * want.nodes - 1e-6


SMALL, LARGE = Shape(1, 2, 100), Shape(1, 8, 400)
ROOM = Shape(1, 8, 400)


def warm(number: int, shape: Shape, *, users: int = 0, kind: str = "ray", ending: bool = False) -> Warm:
    return Warm(number, f"{kind}-{number}", kind, shape, users, ending)


CHOICES = [
    ([], SMALL, ROOM, ("start", None), "there was none"),
    ([warm(0, SMALL)], SMALL, ROOM, ("reuse", 0), ""),
    ([warm(0, LARGE)], SMALL, ROOM, ("reuse", 0), ""),
    # the one that fewest use, then the smallest
    ([warm(0, LARGE, users=1), warm(1, SMALL)], SMALL, None, ("reuse", 1), ""),
    ([warm(0, LARGE), warm(1, SMALL)], SMALL, None, ("reuse", 1), ""),
    # in use by others is no hindrance: Ray and Spark share themselves out
    ([warm(0, SMALL, users=3)], SMALL, ROOM, ("reuse", 0), ""),
    # too small: a second one if it fits, else in place of an idle one
    ([warm(0, SMALL)], Shape(1, 4, 100), ROOM, ("start", None), "2 CPUs on each node, 4 are asked for"),
    ([warm(0, SMALL)], LARGE, ROOM, ("replace", 0), "ray-0 was idle and made room"),
    ([warm(0, SMALL)], LARGE, None, ("start", None), "2 CPUs on each node, 8 are asked for"),
    ([warm(0, SMALL, users=1)], LARGE, ROOM, ("start", None), "2 CPUs on each node, 8 are asked for"),
    # of another kind: other environment, other settings, other framework
    ([warm(0, SMALL, kind="spark")], SMALL, ROOM, ("start", None), "none with this environment"),
    ([warm(0, LARGE, kind="spark")], SMALL, ROOM, ("replace", 0), "spark-0 was idle"),
    ([warm(0, SMALL, ending=True)], SMALL, ROOM, ("start", None), "there was none"),
]


@pytest.mark.parametrize(("clusters", "want", "room", "expected", "why"), CHOICES)
def test_choice(
    clusters: list[Warm], want: Shape, room: Shape | None, expected: tuple[str, int | None], why: str
) -> None:
    choice = choose(clusters, "ray", want, 0.15, room)
    assert (choice.action, choice.number) == expected
    assert why in choice.why
    assert bool(choice.why) is (choice.action != "reuse")


@st.composite
def scopes(draw: st.DrawFn) -> list[Warm]:
    number = draw(st.integers(0, 4))
    return [
        Warm(at, f"c-{at}", draw(st.sampled_from("ab")), draw(shapes), draw(st.integers(0, 2)), draw(st.booleans()))
        for at in range(number)
    ]


@given(scopes(), shapes, tolerances, st.none() | shapes)
def test_no_user_is_thrown_out_and_nothing_that_serves_is_left(
    clusters: list[Warm], want: Shape, tolerance: float, room: Shape | None
) -> None:
    choice = choose(clusters, "a", want, tolerance, room)
    serving = [
        item for item in clusters if item.kind == "a" and not item.ending and covers(item.shape, want, tolerance)
    ]
    assert (choice.action == "reuse") is bool(serving)
    chosen = next((item for item in clusters if item.number == choice.number), None)
    if choice.action == "reuse":
        assert chosen in serving
    if choice.action == "replace":
        assert chosen is not None
        assert chosen.users == 0
        assert not chosen.ending
    if choice.action == "start":
        assert chosen is None
