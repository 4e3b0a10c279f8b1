"""The test's side: install the commands, make them fail, look at what happened."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .accidents import Accidents
from .program.environment import PATH
from .program.job import Job
from .program.state import State

COMMANDS = ("sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo", "srun")
MAIN = Path(__file__).parent / "program" / "main.py"
POLL = 0.01


@dataclass(frozen=True)
class Call:
    """One invocation of a command."""

    command: str
    argv: list[str]
    time: float
    pid: int
    ppid: int
    uid: int


def install(directory: str | Path, *, python: str = sys.executable, **settings: Any) -> FakeSlurm:
    """Make `<directory>/bin` with the commands and `<directory>/state` with everything they remember.

    Settings: see `state.DEFAULTS`.
    """
    root = Path(directory).resolve()
    state = State(root / "state")
    state.create()
    bin_directory = root / "bin"
    bin_directory.mkdir(exist_ok=True)
    for name in COMMANDS:
        words = shlex.join([python, "-IS", str(MAIN), name, str(state.directory)])
        wrapper = bin_directory / name
        wrapper.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        wrapper.chmod(0o755)
    state.configure(**settings)
    return FakeSlurm(root)


class FakeSlurm(Accidents):
    """A cluster that exists in one directory. Also a context manager: `with install(tmp_path) as fake:`."""

    def __init__(self, root: Path) -> None:
        super().__init__(State(root / "state"))
        self.root = root
        self.bin = root / "bin"

    def __enter__(self) -> FakeSlurm:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    @property
    def path(self) -> str:
        """A value for PATH with the fake commands first."""
        return f"{self.bin}:{os.environ.get('PATH', PATH)}"

    def environment(self, **extra: str) -> dict[str, str]:
        """This process's environment without Slurm's variables, and with the fake commands first on PATH."""
        dirty = ("SLURM_", "SBATCH_", "SQUEUE_", "SACCT_")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(dirty)}
        return {**clean, "PATH": self.path, **extra}

    def configure(self, **settings: Any) -> None:
        """Change settings (see `state.DEFAULTS`) for all commands from now on."""
        self.state.configure(**settings)

    # -- looking

    def calls(self, command: str | None = None) -> list[Call]:
        """What was called, in order."""
        lines = (self.state.directory / "calls.jsonl").read_text().splitlines()
        calls = [Call(**fields) for fields in map(json.loads, lines)]
        return [call for call in calls if command in {None, call.command}]

    def forget_calls(self) -> None:
        os.truncate(self.state.directory / "calls.jsonl", 0)

    def jobs(self) -> list[Job]:
        """All jobs there ever were, as the controller truly holds them: no lag, no fault."""
        return list(self.state.jobs())

    def job(self, job_id: int) -> Job:
        job = self.state.load(job_id)
        if job is None:
            raise KeyError(f"no job {job_id}; there are {[job.id for job in self.jobs()]}")
        return job

    def jobs_named(self, name: str) -> list[Job]:
        return [job for job in self.jobs() if job.name == name]

    def script(self, job_id: int) -> str:
        """The batch script as it was submitted."""
        return (self.state.job_directory(job_id) / "slurm_script").read_text()

    def wait(self, job_id: int, *states: str, timeout: float = 10.0) -> Job:
        """Until the job is in one of the states (none given: until it is over) and, if over, has no process left."""
        deadline = time.monotonic() + timeout
        while True:
            job = self.state.load(job_id)
            if job is not None and _reached(job, states):
                return job
            if time.monotonic() > deadline:
                seen = f"{job.state} ({job.reason})" if job else "unknown"
                raise TimeoutError(f"job {job_id} is {seen}, not {' or '.join(states) or 'over'}, after {timeout} s")
            time.sleep(POLL)

    # -- the end

    def shutdown(self, timeout: float = 5.0) -> None:
        """Kill every job and remove everything; complain if a supervisor failed."""
        supervisors = [job.id for job in self.state.jobs() if self.state.tell(job.id, "quit")]
        deadline = time.monotonic() + timeout
        while any(self._supervised(job_id) for job_id in supervisors):
            if time.monotonic() > deadline:
                raise TimeoutError(f"jobs {supervisors} did not end")
            time.sleep(POLL)
        errors = self.state.directory / "errors.log"
        text = errors.read_text() if errors.exists() else ""
        with self.state.lock():  # a supervisor may still be writing its last word
            shutil.rmtree(self.root)
        if text:
            raise AssertionError(f"the fake's own supervisors failed:\n{text}")

    def _supervised(self, job_id: int) -> bool:
        return self.state.tell(job_id, "wake")


def _reached(job: Job, states: tuple[str, ...]) -> bool:
    if job.terminal and job.alive:
        return False
    return job.state in states if states else job.terminal
