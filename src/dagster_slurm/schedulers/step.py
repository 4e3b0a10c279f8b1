"""Steps of an allocation that a session holds: what queue and accounting say of it, read for one step. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dagster_slurm.core.observations import Row
from dagster_slurm.core.states import JobState, from_word

#: the second part of the id of a unit that has not begun: which step it will be, nobody knows
PENDING = "pending"


def allocation(job: str) -> str:
    """Return the id of the allocation in which a step runs."""
    return job.partition(".")[0]


def is_step(job: str) -> bool:
    """Whether an id names a step."""
    return "." in job


def queue_row(whole: Row | None, job: str) -> Row | None:
    """Return what the queue's line of an allocation says of a step in it: why it ended, if all of it did."""
    if whole is None:
        return None
    row = replace(whole, job=job, around=True)
    if job.endswith(f".{PENDING}") and whole.state is JobState.RUNNING:
        return replace(row, state=JobState.PENDING, reason="the session's allocation is busy")
    return row


def account_row(whole: Row, fields: Mapping[str, str] | None, job: str, code: tuple[int | None, int | None]) -> Row:
    """Return what accounting says of a step.

    Args:
        whole: its line of the allocation.
        fields: its line of the step, if it has one.
        job: the step.
        code: exit code and signal in that line.
    """
    if fields is None:
        return replace(whole, job=job, around=True)
    words = fields.get("State", "").split()
    word, state = words[0] if words else "", from_word(fields.get("State", ""))
    by = words[2] if words[1:2] == ["by"] and len(words) > 2 else ""
    if whole.state.interrupts and (state is JobState.CANCELLED or not state.terminal):
        word, state, by = whole.word, whole.state, whole.user
    elif state is JobState.CANCELLED and (not by or whole.state is JobState.FAILED):
        # so accounting records what somebody killed (a cancel names its user), and what an allocation left that failed
        word, state, by = "FAILED", JobState.FAILED, ""
    memory = "0:125" in fields.get("ExitCode", "") or state is JobState.OUT_OF_MEMORY
    return Row(
        job,
        state,
        word,
        exit_code=code[0],
        signal=code[1],
        out_of_memory=memory,
        user=by,
        facts=whole.facts,
    )
