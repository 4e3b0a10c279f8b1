"""What the fake's own tests use to call the commands."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from .fake import FakeSlurm

NAP = "touch begun; sleep 30 & wait"
UNTIL_GO = "touch begun; until [ -e go ]; do sleep 0.02; done"
TRAPS = "trap 'echo saved; exit 0' TERM; touch begun; sleep 30 & wait"


class Shell:
    """A user on the login node."""

    def __init__(self, fake: FakeSlurm, directory: Path) -> None:
        self.fake = fake
        self.directory = directory

    def __call__(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command with the fake ones first on PATH."""
        return subprocess.run(
            [str(self.fake.bin / words[0]), *words[1:]],
            capture_output=True,
            check=False,
            cwd=self.directory,
            env=self.fake.environment(**environment),
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=30,
        )

    def script(self, body: str, *headers: str, name: str = "job.sh") -> str:
        path = self.directory / name
        path.write_text("\n".join(["#!/bin/bash", *(f"#SBATCH {line}" for line in headers), body, ""]))
        return str(path)

    def submit(self, body: str, *headers: str, **environment: str) -> int:
        done = self("sbatch", "--parsable", self.script(body, *headers), **environment)
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    def queue(self, template: str = "%T", *words: str) -> list[str]:
        done = self("squeue", "-h", "--states=all", "-o", template, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def accounts(self, fields: str, *words: str) -> list[str]:
        done = self("sacct", "-n", "-P", "-S", "now-1hours", "-o", fields, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def text(self, name: str) -> str:
        return (self.directory / name).read_text()


def until(condition: Callable[[], bool], timeout: float = 5.0) -> None:
    deadline = time.monotonic() + timeout
    while not _holds(condition):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _holds(condition: Callable[[], bool]) -> bool:
    try:
        return condition()
    except FileNotFoundError:
        return False


def running(fake: FakeSlurm, shell: Shell, body: str, *headers: str) -> int:
    """Submit, and wait until the script has come to its `touch begun`."""
    assert "touch begun" in body
    job_id = shell.submit(body, *headers)
    until((shell.directory / "begun").exists)
    fake.wait(job_id, "RUNNING")
    return job_id
