"""The scheduler's word on followed runs: asked for many runs at once, handed to each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dagster_slurm.core.observations import Looked, LookFailed
from dagster_slurm.engine.followed import Followed
from dagster_slurm.errors import DagsterSlurmError
from dagster_slurm.schedulers.scheduler import Scheduler


class Words:
    """Collects who wants to know, and asks once for all of them; one question at a time.

    Args:
        scheduler: what its answers mean.
        request: asks the agent.
        answered: called when a question was answered and the next one may be asked.
    """

    def __init__(
        self, scheduler: Scheduler, request: Callable[..., tuple[dict[str, Any], bytes]], answered: Callable[[], None]
    ) -> None:
        self._scheduler = scheduler
        self._request = request
        self._answered = answered
        self._lock = threading.Lock()
        self._wanted: dict[int, Followed] = {}
        self._asking = False

    def want(self, followed: Followed) -> None:
        """Ask about this run with the next question."""
        with self._lock:
            self._wanted[followed.number] = followed

    def forget(self, followed: Followed) -> None:
        """Nobody waits for an answer about this run any more."""
        with self._lock:
            self._wanted.pop(followed.number, None)

    def ask(self) -> None:
        """Ask about all that were wanted, in a thread of its own, unless a question is open."""
        with self._lock:
            if self._asking or not self._wanted:
                return
            runs, self._wanted, self._asking = list(self._wanted.values()), {}, True
        threading.Thread(target=self._ask, args=(runs,), daemon=True).start()

    def deliver(self, source: str, look: Mapping[str, Any], runs: Sequence[Followed]) -> None:
        """Hand what the agent saw in queue or accounting to each run."""
        for followed in runs:
            followed.put(self._observation(source, look, followed))

    def _observation(self, source: str, look: Mapping[str, Any], followed: Followed) -> Looked | LookFailed:
        begun, job = time.monotonic() - float(look["age"]), str(followed.job["id"])
        if not look["ok"]:
            return LookFailed("queue" if source == "queue" else "accounting", str(look["error"]))
        if source == "queue":
            return Looked("queue", self._scheduler.queue_row(look["rows"], job), begun)
        return Looked("accounting", self._scheduler.account_row(look["rows"], job), begun)

    def _ask(self, runs: Sequence[Followed]) -> None:
        jobs = [{"id": run.job["id"], "ticks": run.job.get("ticks")} for run in runs]
        try:
            answer, _ = self._request(
                "status", kind=self._scheduler.kind, jobs=jobs, accounting=bool(self._scheduler.accounting)
            )
            # Together: accounting alone may tell how an earlier start of the job ended.
            sources = [source for source in ("queue", "accounting") if answer[source]]
            for run, asked in zip(runs, jobs, strict=True):
                if run.job["id"] == asked["id"]:  # else another job won the claim meanwhile: nobody asked about that
                    run.put(*(self._observation(source, answer[source], run) for source in sources))
        except DagsterSlurmError as error:
            for run in runs:
                run.put(LookFailed("queue", error.message))
        finally:
            self._asking = False
            self._answered()
