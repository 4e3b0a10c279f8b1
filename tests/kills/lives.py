"""Launches that are begun again by a new process each time one is killed, and what must be true in the end."""

from __future__ import annotations

import itertools
import json
import os
import time
from pathlib import Path
from typing import Any

from dagster_slurm.core.spec import LaunchKey
from tests.conformance.driver import Rig, until
from tests.conformance.together import FIRST
from tests.conformance.worker import task
from tests.kills.client import Errand
from tests.kills.nursery import Nursery, plain

_numbers = itertools.count(1)

#: talks for a third of a second, and says in a shared file that it began and that it ended
PAYLOAD = (
    "echo begin >>$SHARED/{name}; "
    "for n in 1 2 3 4 5; do seq ${{n}}0000 ${{n}}1999; echo $n >>$MESSAGES; echo $n >&2; sleep 0.06; done; "
    "echo end >>$SHARED/{name}"
)
STDOUT = "".join(f"{line}\n" for n in range(1, 6) for line in range(n * 10000, n * 10000 + 2000))
LINES = "1\n2\n3\n4\n5\n"


class Life:
    """One launch, however many processes it takes."""

    def __init__(self, rig: Rig, nursery: Nursery, name: str = "", **more: Any) -> None:
        self.rig = rig
        self.name = f"{name or 'life'}-{os.getpid()}-{next(_numbers)}"
        self.key = LaunchKey(self.name, "step", "call")
        words = (self.name, "step", "call")
        self.task = task(rig, PAYLOAD.format(name=self.name), key=words, **more)
        self.killed = 0
        self.answer: dict[str, Any] = {}
        self._nursery = nursery

    def live(self, *deaths: dict[str, Any]) -> Life:
        """Let one process after the other take it up: as many as are to die, and one more."""
        for death in deaths:
            code, self.answer = self._nursery.run(Errand(self.task, **death))
            if code == 0:
                return self
            self.killed += 1
        _, self.answer = self._nursery.run(plain(Errand(self.task)))
        return self

    @property
    def directory(self) -> Path:
        """Of the payload."""
        whole = self.rig.base / "runs" / self.key.folder
        return whole / "components" / FIRST if self.rig.kind == "together" else whole

    def check(self, *, jobs: int | None = 1) -> None:
        """Exactly once.

        Args:
            jobs: how many jobs there may have been of its name; None: more, as long as only one did anything.
        """
        answer = {key: value for key, value in self.answer.items() if key != "stdout"}
        assert answer["cause"] == "success", answer
        assert (self.rig.shared / self.name).read_text() == "begin\nend\n", answer
        assert answer["said"] == {"0": LINES}
        assert answer["stderr"] == LINES
        same = self.answer["stdout"] == STDOUT  # too long to be shown
        assert same, (len(self.answer["stdout"]), len(STDOUT))
        record = [json.loads(line) for line in (self.directory / "record.jsonl").read_text().splitlines()]
        assert [line["event"] for line in record if line["event"] in ("start", "exit")] == ["start", "exit"], record
        # who had it queued is the session's job
        done = [line for line in record if "job" in line and line["event"] != "queued"]
        assert {line["job"] for line in done} == {str(answer["job"])}
        assert list(self.directory.parent.glob(".stage.*")) == []
        if self.rig.slurm and self.rig.session is None:  # a step has a name that nobody looks up
            self._check_jobs(jobs)

    def _check_jobs(self, jobs: int | None) -> None:
        until(lambda: not self._live(), 20)
        ids = self._ids()
        assert str(self.answer["job"]).partition("+")[0] in ids
        assert jobs is None or len(ids) == jobs, (ids, self.name)

    def _live(self) -> list[str]:
        """Jobs of its name that have not ended."""
        name = self.key.job_name
        if self.rig.kind == "faked":
            return [str(job.id) for job in self.rig.backstage.jobs_named(name) if not job.terminal]
        return self.rig.backstage.admin(["squeue", "-h", f"--name={name}", "-o", "%i"]).split()

    def _ids(self) -> list[str]:
        """All jobs of its name that there ever were."""
        name = self.key.job_name
        if self.rig.kind == "faked":
            return [str(job.id) for job in self.rig.backstage.jobs_named(name)]
        if not self.rig.backstage.options.accounting:
            return self.rig.backstage.admin(["squeue", "-h", "--states=all", f"--name={name}", "-o", "%i"]).split()
        rows = until_some(lambda: self.rig.backstage.admin(_sacct(name)).split())
        # a heterogeneous job has a row for each component
        return list(dict.fromkeys(row.partition("+")[0] for row in rows))


def _sacct(name: str) -> list[str]:
    return ["sacct", "-n", "-P", "-X", "-a", "-S", "now-1hour", f"--name={name}", "-o", "JobID"]


def until_some(look: Any, timeout: float = 20.0) -> Any:
    """Wait until accounting has caught up."""
    deadline = time.monotonic() + timeout
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found
