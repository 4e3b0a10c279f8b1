"""Jobs as Dagster's steps submit them, for the command line to find."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from dagster_slurm.cli.place import LOCAL, opened
from dagster_slurm.core.resources import Resources
from dagster_slurm.core.spec import LaunchKey, RunPaths, RunSpec
from dagster_slurm.engine.launch import Launch
from dagster_slurm.engine.submission import Submitted, submit
from dagster_slurm.engine.target import Target
from tests.cli.conftest import read
from tests.conformance.driver import PATIENCE, Heard


@dataclass(frozen=True)
class Job:
    """One that was submitted, and by nobody collected."""

    run: str
    step: str
    submitted: Submitted
    directory: str
    target: Target

    @property
    def id(self) -> str:
        return self.submitted.id

    def collected(self, outcome: str) -> None:
        """Dagster has taken over the result."""
        self.target.host.notify("collected", dir=self.directory, outcome=outcome)
        self.target.host.request("inspect", dir=self.directory)


@contextlib.contextmanager
def submitting(host: str | None = None, base: str | None = None) -> Iterator[Callable[..., Job]]:
    """Yield what submits a command as a job of a step."""
    with opened(host, None, base) as target:

        def go(command: str, step: str = "squares", run: str | None = None, **asked: Any) -> Job:
            key = LaunchKey(run or str(uuid4()), step, "call")
            base = target.place().base
            resources = Resources() if host == LOCAL else Resources(**{"mem": 100, "time_limit": 5, **asked})
            paths = RunPaths(f"{base}/runs/{key.folder}")
            spec = RunSpec(key=key, paths=paths, command=("bash", "-c", command), resources=resources)
            launch = Launch(spec, base, b"{}")
            submitted = submit(target.host, target.scheduler, launch, Heard())
            return Job(key.run_id, step, submitted, launch.directory, target)

        yield go


def until(state: str, job: Job, *options: str) -> dict[str, Any]:
    """What `jobs` says of a job, once it is in a state."""
    deadline = time.monotonic() + PATIENCE
    uid = job.target.host.hello(job.target.base)["uid"]
    while True:
        # the look that all processes of a user share may be half a minute old: longer than a test should take
        Path(f"/tmp/dagster-slurm-agents-{uid}/queue.json").unlink(missing_ok=True)
        listed: list[dict[str, Any]] = read("jobs", "--all", *options)
        found = [item for item in listed if item["directory"] == job.directory]
        if found and found[0]["state"] == state:
            return found[0]
        assert time.monotonic() < deadline, listed
        time.sleep(0.5)
