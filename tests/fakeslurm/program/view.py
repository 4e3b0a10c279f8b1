"""Which jobs a query sees."""

from __future__ import annotations

from .options import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .job import Job
    from .state import State


class Lagged:
    """The jobs as they were at a moment."""

    def __init__(self, state: State, moment: float) -> None:
        self._state = state
        self._moment = moment

    def jobs(self) -> Iterator[Job]:
        for job in self._state.jobs():
            seen = job.as_of(self._moment)
            if seen is not None:
                yield seen


def job_numbers(text: str, complaint: str) -> set[int]:
    """The job ids of `1,2_3,4+0,5.batch`."""
    return {job_number(word, complaint) for word in text.split(",") if word}


def job_number(word: str, complaint: str) -> int:
    digits = word.strip()
    for mark in "_+.":
        digits = digits.partition(mark)[0]
    if not digits.isdigit():
        raise UsageError(complaint if complaint.startswith("scontrol") else f"{complaint}: {word}")
    return int(digits)
