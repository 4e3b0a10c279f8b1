from __future__ import annotations

import pytest

from dagster_slurm.core.states import JobState, from_word

# squeue(1), "JOB STATE CODES": all words of 22.05 to 26.05, with what may be decided upon them
GOES_ON = """
    PENDING CONFIGURING REQUEUED REQUEUE_FED REQUEUE_HOLD RESV_DEL_HOLD SPECIAL_EXIT RUNNING RESIZING SIGNALING STOPPED
    SUSPENDED EXPEDITING COMPLETING STAGE_OUT POWER_UP_NODE UPDATE_DB
""".split()
ENDED = """
    COMPLETED FAILED BOOT_FAIL LAUNCH_FAILED RECONFIG_FAIL CANCELLED REVOKED DEADLINE TIMEOUT PREEMPTED NODE_FAIL
    OUT_OF_MEMORY
""".split()


@pytest.mark.parametrize("word", GOES_ON)
def test_words_that_are_not_the_last(word: str) -> None:
    state = from_word(word)
    assert not state.terminal
    assert not state.interrupts
    assert state is not JobState.UNKNOWN


@pytest.mark.parametrize("word", ENDED)
def test_last_words(word: str) -> None:
    assert from_word(word).terminal


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("CANCELLED by 1000", JobState.CANCELLED),
        ("COMPLETED+", JobState.COMPLETED),
        ("  running ", JobState.RUNNING),
        ("OUT_OF_ME+", JobState.UNKNOWN),  # a column that is too narrow: never ask for one
        ("", JobState.UNKNOWN),
        ("   ", JobState.UNKNOWN),
        ("LEVITATING", JobState.UNKNOWN),
        ("|", JobState.UNKNOWN),
    ],
)
def test_text_as_slurm_prints_it(text: str, state: JobState) -> None:
    assert from_word(text) is state


def test_what_slurm_stops_wins_over_exit_codes() -> None:
    stopped = {state for state in JobState if state.interrupts}
    assert stopped == {JobState.CANCELLED, JobState.TIMEOUT, JobState.PREEMPTED, JobState.NODE_FAIL}
    assert all(state.terminal for state in stopped)
    assert {state for state in JobState if state.may_come_back} == {JobState.PREEMPTED, JobState.NODE_FAIL}
