"""How long a session lives, by a clock that is handed in."""

from __future__ import annotations

import pytest

from dagster_slurm.remote.session_life import LEASE, Life

DAY = 86400.0


def life(idle: float = 600.0, left: float | None = DAY, waited: float = 0.0) -> Life:
    return Life(0.0, idle, left, waited)


def test_a_lease_keeps_an_idle_session_until_its_time_out() -> None:
    alive = life()
    for now in range(0, 600, 15):
        alive.lease(float(now))
        assert alive.why_close(float(now), busy=False) == ""
    assert alive.why_close(600.0, busy=False) == "it was idle for 600 s"


def test_without_a_lease_nobody_is_there() -> None:
    alive = life()
    assert alive.why_close(LEASE - 1, busy=False) == ""
    assert alive.why_close(LEASE + 1, busy=False) == "no process of Dagster's is there any more"


def test_a_missing_lease_ends_nothing_that_runs() -> None:
    assert life().why_close(5 * LEASE, busy=True) == ""


def test_between_two_steps_of_a_run_no_lease_is_needed() -> None:
    alive = life()
    alive.work(10.0)
    alive.done("run", "a", ["b"], keep=False)
    assert alive.why_close(10.0 + 2 * LEASE, busy=False) == ""
    assert alive.why_close(10.0 + 600.0, busy=False).startswith("it was idle")


def test_the_next_steps_lease_counts_again() -> None:
    """The step that was to come has come, and its process was killed."""
    alive = life()
    alive.done("run", "a", ["b"], keep=False)
    alive.lease(30.0)
    assert "no process" in alive.why_close(31.0 + LEASE, busy=False)


def test_the_last_step_ends_it() -> None:
    alive = life()
    alive.begin("run", "a")
    alive.work(10.0)
    alive.done("run", "a", [], keep=False)
    assert alive.why_close(11.0, busy=False) == "", "the step may only be between two calls"
    assert alive.why_close(16.0, busy=False) == "no unfinished step needs it"


def test_two_last_steps_that_each_saw_the_other() -> None:
    alive = life()
    alive.done("run", "a", ["b"], keep=False)
    assert alive.why_close(6.0, busy=False) == ""
    alive.done("run", "b", ["a"], keep=False)
    assert alive.why_close(6.0, busy=False) == "no unfinished step needs it"


def test_a_step_that_calls_again_is_not_over() -> None:
    alive = life()
    alive.done("run", "a", [], keep=False)
    alive.begin("run", "a")
    alive.lease(7.0)
    assert alive.why_close(8.0, busy=False) == ""


def test_a_named_session_waits_for_other_runs() -> None:
    alive = life()
    alive.done("run", "a", [], keep=True)
    assert alive.why_close(3 * LEASE, busy=False) == ""


def test_whoever_asks_for_its_end_is_heard_at_once() -> None:
    alive = life()
    alive.stop("stopped by hand")
    assert alive.why_close(1.0, busy=True) == "stopped by hand"


@pytest.mark.parametrize(("now", "late"), [(899.0, False), (901.0, True)])
def test_near_the_time_limit_no_work_is_begun(now: float, late: bool) -> None:
    alive = life(left=1000.0)
    assert alive.too_late_for(now, None) is late
    assert (alive.why_close(now, busy=True) == "its time limit is near") is late


def test_work_that_does_not_fit_into_the_rest() -> None:
    alive = life(left=1000.0)
    assert not alive.too_late_for(300.0, 600.0)
    assert alive.too_late_for(500.0, 600.0)
    assert not alive.too_late_for(500.0, 1000.0), "it would fit in no session"


def test_a_successor_is_wanted_as_early_as_this_allocation_was_waited_for() -> None:
    alive = life(left=10_000.0, waited=3000.0)
    assert not alive.wants_successor(6000.0)
    assert alive.wants_successor(7000.0)


def test_without_a_time_limit_nothing_is_late() -> None:
    alive = life(left=None)
    assert not alive.too_late_for(1e9, 5.0)
    assert not alive.wants_successor(1e9)
