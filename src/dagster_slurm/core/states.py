"""The words in which Slurm says what a job is doing, and what each of them means to us.

Source: squeue(1) and sacct(1), "JOB STATE CODES", of Slurm 22.05 to 26.05.
"""

from __future__ import annotations

from enum import Enum


class JobState(Enum):
    """What a job is doing, reduced to what decisions need."""

    PENDING = "pending"
    RUNNING = "running"
    #: ended or ending; its last word is not spoken yet (COMPLETING, STAGE_OUT)
    ENDING = "ending"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    PREEMPTED = "preempted"
    NODE_FAIL = "node_fail"
    OUT_OF_MEMORY = "out_of_memory"
    #: a word we do not know: keep waiting, and say so
    UNKNOWN = "unknown"

    @property
    def terminal(self) -> bool:
        """Whether the job has ended, as far as this word goes."""
        return self in _TERMINAL

    @property
    def may_come_back(self) -> bool:
        """Whether Slurm may requeue a job after this word."""
        return self in (JobState.PREEMPTED, JobState.NODE_FAIL)

    @property
    def interrupts(self) -> bool:
        """Whether the word tells that Slurm stopped the job, so that it wins over any exit code."""
        return self in _INTERRUPTS


_TERMINAL = frozenset(
    {
        JobState.COMPLETED,
        JobState.FAILED,
        JobState.CANCELLED,
        JobState.TIMEOUT,
        JobState.PREEMPTED,
        JobState.NODE_FAIL,
        JobState.OUT_OF_MEMORY,
    }
)
_INTERRUPTS = frozenset({JobState.CANCELLED, JobState.TIMEOUT, JobState.PREEMPTED, JobState.NODE_FAIL})

_WORDS = {
    "PENDING": JobState.PENDING,
    "CONFIGURING": JobState.PENDING,
    "REQUEUED": JobState.PENDING,
    "REQUEUE_FED": JobState.PENDING,
    "REQUEUE_HOLD": JobState.PENDING,
    "RESV_DEL_HOLD": JobState.PENDING,
    "SPECIAL_EXIT": JobState.PENDING,
    "RUNNING": JobState.RUNNING,
    "RESIZING": JobState.RUNNING,
    "SIGNALING": JobState.RUNNING,
    "STOPPED": JobState.RUNNING,
    "SUSPENDED": JobState.RUNNING,
    "EXPEDITING": JobState.RUNNING,
    "UPDATE_DB": JobState.RUNNING,
    "POWER_UP_NODE": JobState.PENDING,
    "COMPLETING": JobState.ENDING,
    "STAGE_OUT": JobState.ENDING,
    "COMPLETED": JobState.COMPLETED,
    "FAILED": JobState.FAILED,
    "BOOT_FAIL": JobState.NODE_FAIL,
    "LAUNCH_FAILED": JobState.FAILED,
    "RECONFIG_FAIL": JobState.NODE_FAIL,
    "CANCELLED": JobState.CANCELLED,
    "REVOKED": JobState.CANCELLED,
    "DEADLINE": JobState.TIMEOUT,
    "TIMEOUT": JobState.TIMEOUT,
    "PREEMPTED": JobState.PREEMPTED,
    "NODE_FAIL": JobState.NODE_FAIL,
    "OUT_OF_MEMORY": JobState.OUT_OF_MEMORY,
}


def from_word(text: str) -> JobState:
    """Return the state for Slurm's word; ``CANCELLED by 123`` and ``COMPLETED+`` are understood."""
    words = text.split()
    return _WORDS.get(words[0].rstrip("+").upper(), JobState.UNKNOWN) if words else JobState.UNKNOWN
