"""The uv on this machine: exports locks, resolves requirements, builds wheels."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from dagster_slurm.errors import ConfigurationError

_TIMEOUT = 900.0
_BY_HAND = 'Run the command by hand in the project\'s folder. environment="plain" turns packing off.'
#: time stamps of files in wheels (1980-01-01, the first that zip knows): the same source gives the same wheel
_EPOCH = "315532800"


def run(arguments: Sequence[str], *, cwd: Path, what: str) -> str:
    """Run uv; return what it printed.

    Args:
        arguments: of uv.
        cwd: where.
        what: what is being done, for the error.

    Raises:
        ConfigurationError: uv is missing, or fails.
    """
    command = [*_program(), *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    environment.update(UV_NO_PROGRESS="1", SOURCE_DATE_EPOCH=_EPOCH, NO_COLOR="1")
    try:
        done = subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise ConfigurationError(f"{what}: uv did not end within {_TIMEOUT:.0f} s", command=command) from None
    if done.returncode != 0:
        raise _failure(command, done, what)
    return done.stdout


@functools.cache
def version() -> str:
    """Return uv's version, ``0.13.9``.

    Raises:
        ConfigurationError: there is no uv.
    """
    return run(["--version"], cwd=Path.cwd(), what="uv cannot be run").split()[1]


def executable() -> Path | None:
    """Return uv's binary for this machine, if it is one and no script that finds it."""
    found = shutil.which("uv")
    if found is None:
        return None
    path = Path(found).resolve()
    with path.open("rb") as file:
        return path if file.read(4) == b"\x7fELF" else None


@functools.cache
def _program() -> tuple[str, ...]:
    found = shutil.which("uv")
    if found is not None:
        return (found,)
    asked = subprocess.run([sys.executable, "-m", "uv", "--version"], capture_output=True, check=False)
    if asked.returncode == 0:
        return (sys.executable, "-m", "uv")
    raise ConfigurationError(
        "there is no uv on PATH, which reads the lock file and builds wheels",
        hint='Install it beside Dagster (pip install uv), or turn packing off: environment="plain".',
    )


def _failure(command: Sequence[str], done: subprocess.CompletedProcess[str], what: str) -> ConfigurationError:
    log = done.stderr.strip()[-3000:]
    stale = "needs to be updated" in log
    return ConfigurationError(
        f"{what}: {'the lock file does not fit pyproject.toml any more' if stale else 'uv failed'}",
        command=command,
        exit_code=done.returncode,
        log_tail=log,
        hint="Run `uv lock` in the project." if stale else _BY_HAND,
    )
