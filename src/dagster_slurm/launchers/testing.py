"""For tests of launchers of one's own: what every launcher must keep to, and a run on this machine without Dagster."""
# ruff: noqa: S101 - to assert is what it is for

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dagster_slurm.core.record import parse
from dagster_slurm.core.resources import Resources, merge
from dagster_slurm.launchers.launcher import ComputeLauncher, Setting, Started


@dataclass(frozen=True)
class Ran:
    """How a run ended.

    Args:
        code: exit code.
        out: standard output.
        err: standard error.
        fault: what the launcher says went wrong; empty: nothing.
        facts: its figures for the asset's metadata.
    """

    code: int
    out: str
    err: str
    fault: str = ""
    facts: Mapping[str, str | int | float] = field(default_factory=dict[str, "str | int | float"])


def check(launcher: ComputeLauncher, resources: Resources | None = None) -> None:
    """Assert what every launcher must keep to: it is pure, starts something, and its programs and files can travel.

    Args:
        launcher: the one to test.
        resources: what a job asks for, for launchers that need something; two nodes else.

    Raises:
        AssertionError: it does not, with the reason.
        ConfigurationError: it cannot work with the resources.
    """
    for local in (False, True):
        setting = Setting(
            command=("python3", "a payload.py", "$HOME"),
            resources=merge(resources or Resources(nodes=2), launcher.needs()),
            programs="/store/0123",
            local=local,
        )
        started = launcher.start(setting)
        assert started == launcher.start(setting), "start() must return the same for the same: a retry runs it again"
        assert started.command, "start() must return a command"
        words = (*started.command, *started.environment, *started.environment.values(), *started.files.values())
        assert all(isinstance(word, str) for word in words), "command, environment and files consist of text"
        assert "$HOME" in started.command, "the payload's words must come through as they are: no shell reads them"
        assert all(name and "/" not in name for name in started.files), "files have plain names"
    for name, path in launcher.programs().items():
        assert path.is_file(), f"programs(): {name} is not at {path}"


def run(
    launcher: ComputeLauncher,
    command: Sequence[str],
    resources: Resources | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    timeout: float = 60.0,
) -> Ran:
    """Run a command through a launcher on this machine, as local mode does.

    Args:
        launcher: the one to test.
        command: the payload's.
        resources: what the asset asks for.
        environment: further variables.
        timeout: seconds in which it must end.

    Raises:
        subprocess.TimeoutExpired: it did not.
    """
    with _run_directory(launcher) as folder:
        setting = Setting(
            command=tuple(command),
            resources=merge(resources or Resources(), launcher.needs()),
            programs=str(folder / "programs"),
            python=sys.executable,
            local=True,
        )
        return _ran(launcher.start(setting), folder, environment or {}, timeout)


@contextmanager
def _run_directory(launcher: ComputeLauncher) -> Generator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="dagster-slurm-launcher-"))
    try:
        for name in ("programs", "work"):
            (folder / name).mkdir()
        (folder / "record.jsonl").touch()
        for name, path in launcher.programs().items():
            shutil.copy(path, folder / "programs" / name)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _ran(started: Started, folder: Path, environment: Mapping[str, str], timeout: float) -> Ran:
    for name, text in started.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    ours = {"DAGSTER_SLURM_RUN_DIR": str(folder), "DAGSTER_SLURM_RESTART": "0", "DAGSTER_SLURM_JOB_ID": "1"}
    done = subprocess.run(
        started.command,
        cwd=folder / "work",
        env={**os.environ, **ours, **started.environment, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    start = '{"event":"start","job":"1","restart":0,"time":0}\n'
    record = parse(start + (folder / "record.jsonl").read_text())
    return Ran(done.returncode, done.stdout, done.stderr, record.fault, record.facts)
