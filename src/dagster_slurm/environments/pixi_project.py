"""What is to be packed by pixi-pack: the project's lock, its environments and platforms."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from dagster_slurm.environments.uv_project import parse
from dagster_slurm.errors import ConfigurationError

_TIMEOUT = 300.0
#: what a pixi says that does not know the option
_UNKNOWN = ("unexpected argument", "unrecognized")


def is_project(folder: Path) -> bool:
    """Whether a folder is a pixi project: a lock, a manifest, or a pixi table in ``pyproject.toml``."""
    return (folder / "pixi.lock").is_file() or manifest(folder) is not None


def manifest(folder: Path) -> Path | None:
    """Return the manifest of a pixi project: ``pixi.toml``, or ``pyproject.toml`` with a pixi table."""
    if (folder / "pixi.toml").is_file():
        return folder / "pixi.toml"
    file = folder / "pyproject.toml"
    try:
        text = file.read_text(encoding="utf-8")
    except OSError:
        return None
    return file if "tool.pixi" in text and "pixi" in parse(text, file).get("tool", {}) else None


def find(looked: Sequence[Path]) -> Path:
    """Return the first of some folders that is a pixi project.

    Raises:
        ConfigurationError: none is.
    """
    found = next((folder for folder in looked if is_project(folder)), None)
    if found is None:
        raise ConfigurationError(
            "there is no pixi.lock",
            details={"looked in": ", ".join(map(str, looked[:4]))},
            hint="Run `pixi lock` in the project, or name it: PixiEnvironment(project=...).",
        )
    return found.resolve()


def lock_of(folder: Path) -> str:
    """Return the text of a project's lock.

    Raises:
        ConfigurationError: there is none.
    """
    file = folder / "pixi.lock"
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        pixi = "" if shutil.which("pixi") else " (there is no pixi on PATH: see pixi.sh)"
        raise ConfigurationError(
            f"{manifest(folder) or folder} is a pixi project, but {file} is missing",
            hint=f'Run `pixi lock` there{pixi}, or name another environment: "uv", "plain".',
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error


def check(lock: str, name: str, platform: str, folder: Path) -> None:
    """Refuse an environment or a platform that is not in the lock.

    Raises:
        ConfigurationError: so; says what is there.
    """
    platforms = locked_platforms(lock)
    there = f"{folder / 'pixi.lock'} has {', '.join(sorted(platforms)) or 'no environments'}"
    if name not in platforms:
        raise ConfigurationError(f"pixi.lock has no environment {name!r}", hint=f"{there}.")
    if platform not in platforms[name]:
        raise ConfigurationError(
            f"the environment {name!r} of pixi.lock is not for {platform}",
            details={"locked for": ", ".join(platforms[name])},
            hint=f'Add "{platform}" to platforms in the manifest, and run `pixi lock`.',
        )


def check_fresh(folder: Path) -> None:
    """Refuse a lock that does not fit the manifest any more; pixi knows, where it is installed.

    Raises:
        ConfigurationError: it does not fit.
    """
    file = manifest(folder)
    if file is None or shutil.which("pixi") is None:
        return
    command = ["pixi", "lock", "--check", "--manifest-path", str(file)]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return
    log = (done.stderr or done.stdout).strip()
    if done.returncode != 0 and not any(words in log for words in _UNKNOWN):
        raise ConfigurationError(
            f"{folder / 'pixi.lock'} does not fit {file.name} any more",
            command=command,
            exit_code=done.returncode,
            log_tail=log[-3000:],
            hint="Run `pixi lock` in the project.",
        )


def locked_platforms(lock: str) -> dict[str, list[str]]:
    """Return the environments of a lock and their platforms. It reads lines: parsing a large lock takes seconds."""
    found: dict[str, list[str]] = {}
    section, name, below = "", "", ""
    for line in lock.splitlines():
        indent, text = len(line) - len(line.lstrip()), line.strip()
        if not text or text.startswith(("#", "-")):
            continue
        key = text.split(":")[0].strip("'\"")
        if indent == 0:
            section = key
        elif section == "environments" and indent == 2:
            name, below = key, ""
            found[name] = []
        elif section == "environments" and indent == 4:
            below = key
        elif section == "environments" and indent == 6 and below == "packages":
            found[name].append(key)
    return found
