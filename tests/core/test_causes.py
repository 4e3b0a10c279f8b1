from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest

from dagster_slurm.core.causes import job_error, signal_name
from dagster_slurm.core.facts import Ended
from dagster_slurm.core.observations import Row
from dagster_slurm.core.record import Exit, Record, Start, Usage
from dagster_slurm.core.resources import Resources
from dagster_slurm.core.states import from_word
from dagster_slurm.core.tracker import Tracked
from dagster_slurm.core.verdict import Cause, Verdict
from dagster_slurm.errors import (
    ComponentStopped,
    JobCancelled,
    JobError,
    JobInterrupted,
    JobLost,
    JobPreempted,
    NodeFailed,
    OutOfMemory,
    PayloadFailed,
    PayloadKilled,
    PayloadRaised,
    TimeLimitReached,
)

START = Start("42", 0, 10.0, "node7", "node7", cpus=2, mem=100)
LOG = "first\nlast line"


def error(cause: str, *, asks: bool = True, exception: dict[str, Any] | None = None, **known: Any) -> JobError:
    exit_ = known.pop("exit", Exit(0, known.get("code", 1), signalled=False, time=20.0))
    started = known.pop("started", True)
    record = Record((START,), (Usage(0, 90 * 1024, 1.0),), (exit_,) if exit_ else ()) if started else Record()
    asked = known.pop("asked", Resources(mem=100, time_limit="1:00"))
    verdict = Verdict(cause, "who said so", exit=exit_, **known)  # pyright: ignore[reportArgumentType]
    ended = Ended(Tracked("42", 0.0, asks, record=record), verdict, asked, "/base/runs/r/s/c", 1.0)
    return job_error(ended, "python3 train.py", LOG, exception)


CASES: dict[str, tuple[type[JobError], dict[str, Any], list[str]]] = {
    "exit_code": (PayloadFailed, {"code": 3}, ["exit code 3"]),
    "signal": (PayloadKilled, {"code": 139, "signal": 11}, ["SIGSEGV"]),
    "out_of_memory": (OutOfMemory, {"code": 137}, ["100 MiB", "90.0 MiB", "mem='200M'"]),
    "time_limit": (TimeLimitReached, {"code": 0}, ["of 1:00", "time_limit="]),
    "cancelled": (JobCancelled, {"word": Row("42", from_word("CANCELLED"), "CANCELLED", user="1000")}, ["1000"]),
    "preempted": (JobPreempted, {}, ["higher priority"]),
    "node_failure": (NodeFailed, {}, ["exclude="]),
    "interrupted": (JobInterrupted, {"exit": Exit(0, 0, signalled=True, time=20.0, signals=("TERM",))}, ["SIGTERM"]),
    "lost": (JobLost, {"exit": None}, ["who said so", "remote_base"]),
    "stopped": (ComponentStopped, {}, ["was not started", "on_failure"]),
}


def test_every_cause_but_success_is_an_error() -> None:
    assert set(CASES) == set(get_args(Cause)) - {"success"}


@pytest.mark.parametrize("cause", CASES)
def test_every_error_names_job_node_command_log_and_what_to_do(cause: str) -> None:
    kind, known, named = CASES[cause]
    found = error(cause, **known)
    assert type(found) is kind
    assert found.cause == cause
    text = str(found)
    always = ["42", "node: node7", "command: python3 train.py", "| last line", "What to do:", "/base/runs/r/s/c"]
    for word in [*always, "evidence: who said so", *named]:
        assert word in text, word
    assert found.hint
    assert found.hint.endswith(".")


@pytest.mark.parametrize("cause", CASES)
def test_every_error_can_be_said_of_a_job_of_which_nothing_is_known(cause: str) -> None:
    text = str(error(cause, exit=None, started=False, asked=Resources()))
    assert "None" not in text
    assert "job 42" in text or "job: 42" in text


@pytest.mark.parametrize("cause", CASES)
def test_beside_dagster_it_is_a_process(cause: str) -> None:
    known = CASES[cause][1]
    text = str(error(cause, asks=False, **known))
    assert "process 42" in text
    assert "remote_base" not in text


def test_only_a_cancelled_job_is_not_run_again() -> None:
    assert [cause for cause in CASES if not error(cause, **CASES[cause][1]).allow_retries] == ["cancelled"]


def test_an_exception_of_the_payload() -> None:
    raised = {"name": "ValueError", "message": "ValueError: bad\n", "stack": ["  File x\n", "    y\n"]}
    found = error("exit_code", code=1, exception=raised)
    assert type(found) is PayloadRaised
    assert found.cause == "exception"
    assert found.message == "the payload raised ValueError: bad"
    assert found.log_tail == "  File x\n    y\nValueError: bad"
    assert "42" in str(found)


def test_an_exception_does_not_hide_what_slurm_did() -> None:
    raised = {"name": "KeyboardInterrupt", "message": "", "stack": []}
    assert type(error("time_limit", exception=raised)) is TimeLimitReached


@pytest.mark.parametrize(
    ("phase", "text", "named"),
    [
        ("prelude", "module load gone", "the prelude failed with exit code 1 at: module load gone"),
        ("environment", "no activate.sh", "could not start the payload: no activate.sh"),
    ],
)
def test_what_kept_the_payload_from_starting(phase: str, text: str, named: str) -> None:
    exit_ = Exit(0, 1, signalled=False, time=20.0, phase=phase, text=text)
    assert named in str(error("exit_code", code=1, exit=exit_))


@pytest.mark.parametrize(("code", "word"), [(126, "permissions"), (127, "not found"), (137, "SIGKILL")])
def test_codes_by_which_shells_say_something(code: int, word: str) -> None:
    assert word in str(error("exit_code", code=code))


@pytest.mark.parametrize(
    ("number", "name"), [(9, "SIGKILL"), (11, "SIGSEGV"), (15, "SIGTERM"), (0, "a signal"), (99, "signal 99")]
)
def test_names_of_signals(number: int, name: str) -> None:
    assert signal_name(number) == name


def test_memory_that_was_not_limited_is_not_doubled() -> None:
    start = replace(START, mem=0)
    verdict = Verdict("out_of_memory", "x")
    ended = Ended(Tracked("42", 0.0, record=Record((start,))), verdict, Resources(), "/d", 1.0)
    assert "mem='" not in str(job_error(ended, "c", ""))
