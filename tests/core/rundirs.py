"""Run directories as submit makes them, and job scripts that really run in them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dagster_slurm.core import record
from dagster_slurm.core.record import Record
from dagster_slurm.core.script import render_environment, render_job
from dagster_slurm.core.spec import LaunchKey, RunPaths, RunSpec

METER = Path(record.__file__).parents[1] / "remote" / "meter.py"
#: what a job starts with; nothing of the developer's
PLAIN = {"PATH": os.environ["PATH"], "HOME": "/tmp", "LC_ALL": "C.UTF-8"}
KEY = LaunchKey("run", "step", "call")


class RunDirectory:
    """One run directory, beside Dagster (``slurm=False``) or as under Slurm with the batch shell started by hand."""

    def __init__(self, path: Path, *command: str, slurm: bool = False, **more: Any) -> None:
        self.path = path
        self.slurm = slurm
        if more.pop("metered", False):
            more["meter"] = (sys.executable, "-I", "-S", str(METER))
        environment = more.setdefault("environment", {})
        self.spec = RunSpec(key=KEY, paths=RunPaths(str(path)), command=command, **more)
        path.mkdir(parents=True)
        (path / "work").mkdir()
        (path / "job.sh").write_text(render_job(self.spec, slurm=slurm))
        (path / "env.sh").write_text(render_environment(environment))
        for name in ("record.jsonl", "stdout.0", "stderr.0", "messages.0.jsonl", "slurm.log"):
            (path / name).touch()

    def start(self, *, job: str | None = None, restart: int = 0, **options: Any) -> subprocess.Popen[bytes]:
        """Start the batch script, as a job with this id."""
        environment = {**PLAIN, **options.pop("env", {})}
        if job is not None:
            environment["SLURM_JOB_ID"] = job
        if restart:
            environment["SLURM_RESTART_COUNT"] = str(restart)
        with (self.path / "slurm.log").open("ab") as log:
            return subprocess.Popen(
                ["bash", str(self.path / "job.sh")],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **options,
            )

    def run(self, **options: Any) -> int:
        """Run the batch script to its end; return its exit code."""
        return self.start(**options).wait(20)

    @property
    def record(self) -> Record:
        return record.parse(self.text("record.jsonl"))

    def text(self, name: str) -> str:
        return (self.path / name).read_text(errors="replace")

    @property
    def stdout(self) -> str:
        return self.text("stdout.0")

    def exit_line(self) -> dict[str, Any]:
        """The last line of the record as it was written."""
        return json.loads(self.text("record.jsonl").splitlines()[-1])

    def until(self, condition: Callable[[], bool], timeout: float = 10) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, (self.text("record.jsonl"), self.text("slurm.log"), self.stdout)
            time.sleep(0.005)

    def until_says(self, word: str, stream: str = "stdout.0") -> None:
        self.until(lambda: word in self.text(stream))

    def stop(self, process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> int:
        """Signal the batch shell alone, as plain scancel does; return its exit code."""
        process.send_signal(number)
        return process.wait(20)
