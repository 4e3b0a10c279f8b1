"""What components may be called, when they may start, and what each asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_slurm.core.components import (
    Component,
    blocks,
    check_ids,
    check_order,
    own_limits,
    settled,
    variable,
)
from dagster_slurm.core.observations import Looked, Recorded
from dagster_slurm.core.record import Exit, Note, Record, Start, parse
from dagster_slurm.core.resources import Resources, limit_seconds
from dagster_slurm.core.tracker import Tracked, advance
from dagster_slurm.core.verdict import Verdict, decide
from dagster_slurm.errors import ConfigurationError
from dagster_slurm.launchers.components import SideBySide
from dagster_slurm.schedulers.slurm import Slurm


def component(name: str, *after: str, **asked: object) -> Component:
    return Component(name, Resources(**asked), after)  # pyright: ignore[reportArgumentType]


class TestNames:
    @pytest.mark.parametrize("name", ["a", "train", "Train_2", "a-b", "x" * 40])
    def test_those_that_will_do(self, name: str) -> None:
        check_ids([name])
        assert variable(name).isidentifier()

    @pytest.mark.parametrize("name", ["", "1a", "_a", "a b", "a/b", "..", "a.b", "é", "a\n", "x" * 41, None, 3])
    def test_those_that_are_unsafe(self, name: str) -> None:
        with pytest.raises(ConfigurationError, match="no name for a component"):
            check_ids([name])

    def test_there_must_be_some(self) -> None:
        with pytest.raises(ConfigurationError, match="needs components"):
            check_ids([])

    @pytest.mark.parametrize(("names", "said"), [(["a", "b", "a"], "twice"), (["a-b", "A_b"], "differs from 'a-b'")])
    def test_none_is_given_twice(self, names: list[str], said: str) -> None:
        with pytest.raises(ConfigurationError, match=said):
            check_ids(names)


class TestOrder:
    @pytest.mark.parametrize(
        ("components", "circle"),
        [
            ([component("a", "a")], "a -> a"),
            ([component("a", "b"), component("b", "a")], "a -> b -> a"),
            ([component("x"), component("a", "x", "c"), component("b", "a"), component("c", "b")], "a -> c -> b -> a"),
        ],
    )
    def test_a_circle_is_named(self, components: list[Component], circle: str) -> None:
        with pytest.raises(ConfigurationError, match=circle):
            check_order(components)

    def test_an_unknown_name(self) -> None:
        with pytest.raises(ConfigurationError, match=r"'trian', which is no component[^$]*There are: prep, train"):
            check_order([component("prep"), component("train", "trian")])

    def test_in_a_session_each_ones_time_counts_from_its_own_start(self) -> None:
        components = [component("a", time_limit=20), component("b", "a", time_limit=10)]
        check_order(components, one_start=False)
        with pytest.raises(ConfigurationError, match="circle"):
            check_order([component("a", "a")], one_start=False)

    def test_a_grace_period_may_be_a_part_of_a_second(self) -> None:
        text = "".join(SideBySide(components=[component("a")], grace=0.25).start("/x").files.values())
        assert "GRACE=250\n" in text

    def test_a_diamond_is_no_circle(self) -> None:
        check_order([component("a"), component("b", "a"), component("c", "a"), component("d", "b", "c")])

    @pytest.mark.parametrize(
        ("first", "then", "good"),
        [
            (10, 20, True),
            (20, 20, False),
            (20, 10, False),
            ("1:00:00", "2:00:00", True),
            ("2-00", "1:00:00", False),
            (None, None, True),
            (10, None, False),
            (None, 10, True),
            ("unlimited", 10, True),
        ],
    )
    def test_a_later_component_has_time_left(self, first: object, then: object, good: bool) -> None:
        both = [component("a", time_limit=first), component("b", "a", time_limit=then)]
        if good:
            check_order(both)
        else:
            with pytest.raises(ConfigurationError, match=r"'b' starts after 'a', but its time limit"):
                check_order(both)


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [
        (None, None),
        (30, 1800),
        ("30", 1800),
        ("1:30", 90),
        ("2:00:05", 7205),
        ("1-2", 93600),
        ("1-2:30", 95400),
        ("1-2:30:05", 95405),
        ("unlimited", None),
        (0, None),
    ],
)
def test_time_limits_in_seconds(limit: str | int | None, seconds: int | None) -> None:
    assert limit_seconds(limit) == seconds


class TestAsking:
    def test_what_sbatch_lets_a_component_take_over_is_ours_to_know(self) -> None:
        found = settled(
            [component("a", account="x", partition="p", mem=5, time_limit=3, qos="q"), component("b", qos="r")]
        )
        assert found[1].resources == Resources(account="x", time_limit=3, qos="r")

    def test_the_first_is_kept_until_the_last_has_ended(self) -> None:
        components = settled([component("a", time_limit=10), component("b", time_limit="1:00:00"), component("c")])
        assert [block.time_limit for block in blocks(components)] == ["1:00:00", "1:00:00", "1:00:00"]
        assert own_limits(components) == (600, None, None)

    def test_one_that_asks_for_the_longest_needs_no_clock_of_ours(self) -> None:
        assert own_limits([component("a", time_limit=60), component("b", time_limit=10)]) == (None, None)
        assert own_limits([component("a"), component("b")]) == (None, None)

    @given(st.lists(st.one_of(st.none(), st.integers(1, 99)), min_size=1, max_size=5))
    def test_no_block_of_another_outlasts_the_first(self, limits: list[int | None]) -> None:
        components = [component(f"c{number}", time_limit=limit) for number, limit in enumerate(limits)]
        first, *others = [limit_seconds(block.time_limit) for block in blocks(components)]
        assert all(first is None or other is None or other <= first for other in others)


START = Start("7+1", 0, 10.0, "node2", "node2")


def verdict(record: Record, *rows: str, asks: bool = True) -> object:
    tracked, _ = advance(Tracked("7+1", 0.0, asks), Recorded(record, 20.0, whole=True), 20.0)
    if rows:
        tracked, _ = advance(tracked, Looked("queue", Slurm().queue_row(rows, "7+1"), 21.0), 21.0)
        tracked, _ = advance(tracked, Recorded(record, 22.0, whole=True), 22.0)
    return decide(tracked, 200.0)


class TestVerdict:
    ROWS = ("7+0|TIMEOUT|x|node1|None|n", "7+1|COMPLETED|x|node2|None|n")

    def test_slurms_word_is_the_components_own(self) -> None:
        row = Slurm().queue_row(self.ROWS, "7+1")
        assert row is not None
        assert row.word == "COMPLETED"

    def test_the_job_as_a_whole_is_known_by_its_first_component(self) -> None:
        row = Slurm().queue_row(self.ROWS, "7")
        assert row is not None
        assert row.word == "TIMEOUT"

    def test_accounting_of_a_component_and_its_steps(self) -> None:
        lines = ["7+0|FAILED|1:0|1:0", "7+0.batch|FAILED|1:0|", "7+1|OUT_OF_MEMORY|0:125|", "7+1.1|COMPLETED|0:0|"]
        row = Slurm().account_row(lines, "7+1")
        assert row is not None
        assert row.out_of_memory
        whole = Slurm().account_row(lines, "7")
        assert whole is not None
        assert (whole.word, whole.out_of_memory) == ("FAILED", False)

    @pytest.mark.parametrize("word", ["TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL"])
    def test_slurms_word_names_the_cause(self, word: str) -> None:
        record = Record((START,), (), (Exit(0, 0, signalled=True, time=15.0, signals=("TERM",)),))
        found = verdict(record, f"7+1|{word}|x|node2|None|n")
        assert isinstance(found, Verdict)
        assert (
            found.cause
            == {"TIMEOUT": "time_limit", "OUT_OF_MEMORY": "out_of_memory", "NODE_FAIL": "node_failure"}[word]
        )

    def test_completed_proves_nothing(self) -> None:
        """The end of the batch script colours all components."""
        found = verdict(Record((START,)), "7+1|COMPLETED|x|node2|None|n")
        assert isinstance(found, Verdict)
        assert found.cause == "lost"

    def test_its_own_failure_stands_while_the_others_go_on(self) -> None:
        record = Record((START,), (), (Exit(0, 3, signalled=False, time=15.0),))
        found = verdict(record, "7+1|RUNNING|x|node2|None|n")
        assert isinstance(found, Verdict)
        assert (found.cause, found.code) == ("exit_code", 3)

    @pytest.mark.parametrize(("cause", "expected"), [("stopped", "stopped"), ("time_limit", "time_limit")])
    def test_one_that_its_job_ended(self, cause: str, expected: str) -> None:
        note = Note(0, stopped="was ended, since component a failed", cause=cause)
        record = Record((START,), (), (Exit(0, 0, signalled=True, time=15.0, signals=("TERM",)),), (note,))
        found = verdict(record, "7+1|RUNNING|x|node2|None|n")
        assert isinstance(found, Verdict)
        assert found.cause == expected

    def test_one_that_ended_well_before_it_could_be_told_has_succeeded(self) -> None:
        note = Note(0, stopped="was ended, since component a failed", cause="stopped")
        found = verdict(Record((START,), (), (Exit(0, 0, signalled=False, time=15.0),), (note,)))
        assert isinstance(found, Verdict)
        assert found.success

    def test_one_that_never_began(self) -> None:
        text = (
            '{"event":"note","restart":0,"stopped":"was not started","cause":"stopped"}\n'
            '{"event":"exit","job":"7+1","restart":0,"time":5,"code":1,"signalled":false,"phase":"not-begun"}\n'
        )
        found = verdict(parse(text))
        assert isinstance(found, Verdict)
        assert (found.cause, found.code) == ("stopped", None)

    def test_another_job_that_won_the_claim_has_the_same_component(self) -> None:
        tracked, _ = advance(Tracked("7+1", 0.0), Recorded(Record(), 1.0, whole=True, claim="9+1"), 1.0)
        assert tracked.job == "9+1"
