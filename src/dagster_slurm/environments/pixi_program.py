"""The pixi-pack on this machine: makes one file that unpacks itself, for any platform in the lock."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dagster_slurm.environments import fetching
from dagster_slurm.environments.lock_file import Locked
from dagster_slurm.errors import ConfigurationError

_TIMEOUT = 3600.0
_NAME = "environment.sh"


def pack(project: Path, environment: str, platform: str, inject: Sequence[Path]) -> Locked:
    """Pack an environment of a project.

    Args:
        project: the folder with ``pixi.lock``.
        environment: its name in the lock.
        platform: as conda writes it: ``linux-64``.
        inject: conda packages to add.

    Raises:
        ConfigurationError: pixi-pack is missing, or fails.
    """
    with tempfile.TemporaryDirectory(prefix="dagster-slurm-") as folder:
        made = Path(folder) / _NAME
        common = ["--environment", environment, "--platform", platform, "--create-executable"]
        injected = [word for package in inject for word in ("--inject", str(package))]
        if _version() < (0, 7):
            manifest = next(name for name in ("pixi.toml", "pyproject.toml") if (project / name).is_file())
            command = ["pixi-pack", "pack", "--manifest-file", str(project / manifest), *common]
        else:
            command = ["pixi-pack", str(project), *common]
        _run([*command, "--output-file", str(made), *injected], project)
        return _kept(made, environment)


def run_pack_command(command: Sequence[str], project: Path) -> Locked:
    """Pack with a command of the user's, which prints the path of the file that it made, or leaves environment.sh.

    Raises:
        ConfigurationError: it fails, or makes nothing.
    """
    lines = _run(command, project).splitlines()
    named = [project / line.strip() for line in lines if line.strip().endswith(".sh")]
    made = next((path for path in (*reversed(named), project / _NAME) if path.is_file()), None)
    if made is None:
        raise ConfigurationError(
            f"the pack command printed no path of a file, and left no {_NAME}",
            command=command,
            hint="It is to run pixi-pack with --create-executable.",
        )
    return _kept(made, "packed")


def _kept(made: Path, name: str) -> Locked:
    digest = hashlib.sha256()
    with made.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    sha256 = digest.hexdigest()
    path = fetching.keep(made, sha256)
    return Locked(name, "", "wheel", str(path), path.name, sha256, path.stat().st_size)


def _version() -> tuple[int, int]:
    found = re.search(r"(\d+)\.(\d+)", _run(["pixi-pack", "--version"], Path.cwd()))
    return (int(found[1]), int(found[2])) if found else (0, 7)


def _run(command: Sequence[str], cwd: Path) -> str:
    if shutil.which(command[0]) is None:
        raise ConfigurationError(
            f"there is no {command[0]} on PATH, which packs the environment of pixi.lock",
            hint="pixi global install pixi-pack",
        )
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise ConfigurationError(f"{command[0]} did not end within {_TIMEOUT:.0f} s", command=command) from None
    if done.returncode != 0:
        log = (done.stderr or done.stdout).strip()[-3000:]
        raise ConfigurationError(
            f"{command[0]} failed",
            command=command,
            exit_code=done.returncode,
            log_tail=log,
            hint="Run the command by hand in the project's folder. If the lock is stale: `pixi lock`.",
        )
    return done.stdout
