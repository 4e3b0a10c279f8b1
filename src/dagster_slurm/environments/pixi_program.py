"""The pixi-pack on this machine, behind its documented command line (0.6, 0.7, and what is new in 0.7.6)."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dagster_slurm.environments import fetching, kept
from dagster_slurm.environments.lock_file import Locked
from dagster_slurm.environments.pixi_project import manifest
from dagster_slurm.errors import ConfigurationError

_TIMEOUT = 3600.0
_NAME = "environment.sh"
#: from here on the command has no sub-command "pack", and from here on it makes folders of packages
_NO_SUBCOMMAND, _FOLDERS = (0, 7, 0), (0, 7, 6)


@dataclass(frozen=True)
class Pack:
    """What pixi-pack made; all its files are kept on this machine.

    Args:
        kind: ``file``: ``tool`` unpacks itself. ``directory``: ``tool`` is pixi-unpack.
        tool: the program that unpacks.
        packages: of a directory: the files in it, each with its path there as name.
    """

    kind: Literal["file", "directory"]
    tool: Locked
    packages: tuple[Locked, ...] = ()

    def written(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return {"kind": self.kind, "tool": vars(self.tool), "packages": [vars(item) for item in self.packages]}

    @classmethod
    def read(cls, written: dict[str, Any]) -> Pack | None:
        """Return what was written; None if its files are gone."""
        tool, packages = Locked(**written["tool"]), tuple(Locked(**item) for item in written["packages"])
        whole = all(Path(item.location).is_file() for item in (tool, *packages))
        return cls(written["kind"], tool, packages) if whole else None


def pack(project: Path, environment: str, platform: str, inject: Sequence[Path], unpack: Path | None) -> Pack:
    """Pack an environment of a project.

    Args:
        project: the folder with ``pixi.lock``.
        environment: its name in the lock.
        platform: as conda writes it: ``linux-64``.
        inject: conda packages to add.
        unpack: pixi-unpack for that platform; with it, packages stay apart, if this pixi-pack can do so.

    Raises:
        ConfigurationError: pixi-pack is missing, or fails.
    """
    version = _version()
    if version < _NO_SUBCOMMAND:
        command = ["pixi-pack", "pack", "--manifest-file", str(manifest(project) or project / "pixi.toml")]
    else:
        command = ["pixi-pack", str(project), "--use-cache", str(kept.folder() / "conda")]
    command += ["--environment", environment, "--platform", platform]
    injected = [word for package in inject for word in ("--inject", str(package))]
    folders = version >= _FOLDERS and unpack is not None
    with tempfile.TemporaryDirectory(prefix="dagster-slurm-") as folder:
        made = Path(folder) / (_NAME if not folders else "environment")
        how = "--directory-only" if folders else "--create-executable"
        _run([*command, how, "--output-file", str(made), *injected], project)
        if not folders or unpack is None:
            return Pack("file", _kept(made, environment))
        files = sorted(path for path in made.rglob("*") if path.is_file())
        return Pack(
            "directory",
            _kept(unpack, "pixi-unpack"),
            tuple(_kept(file, file.relative_to(made).as_posix()) for file in files),
        )


def unpack_here() -> Path | None:
    """Return the pixi-unpack on this machine's PATH."""
    found = shutil.which("pixi-unpack")
    return None if found is None else Path(found).resolve()


def run_pack_command(command: Sequence[str], project: Path) -> Pack:
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
    return Pack("file", _kept(made, "packed"))


def _kept(made: Path, name: str) -> Locked:
    digest = hashlib.sha256()
    try:
        with made.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    except OSError as error:
        raise ConfigurationError(
            f"{made} cannot be read: {error.strerror}", hint="PixiEnvironment(unpack=...)"
        ) from error
    sha256 = digest.hexdigest()
    path = fetching.keep(made, sha256)
    return Locked(name, "", "wheel", str(path), path.name, sha256, path.stat().st_size)


def _version() -> tuple[int, int, int]:
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", _run(["pixi-pack", "--version"], Path.cwd()))
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else _NO_SUBCOMMAND


def _run(command: Sequence[str], cwd: Path) -> str:
    if shutil.which(command[0]) is None:
        raise ConfigurationError(
            f"there is no {command[0]} on PATH, which packs the environment of pixi.lock",
            hint="pixi global install pixi-pack pixi-unpack",
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
