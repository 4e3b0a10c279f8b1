"""Wheels of what has none: the project's own package, local folders, and packages that come as source only."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name, parse_wheel_filename

from dagster_slurm.environments import fetching, kept, uv_program
from dagster_slurm.environments.lock_file import Locked, fits
from dagster_slurm.environments.target_python import TargetPython
from dagster_slurm.errors import ConfigurationError, EnvironmentUnavailable

#: what no wheel is made of
_SKIPPED = frozenset({"__pycache__", "node_modules", "build", "dist"})
_MOST_FILES = 20_000


def as_wheel(locked: Locked, beside: Path, python: TargetPython) -> Locked:
    """Return a package as a wheel: as the lock has it, else built on this machine.

    Args:
        locked: the package.
        beside: the lock's folder.
        python: the Python that is to install it.

    Raises:
        ConfigurationError: it cannot be built.
        EnvironmentUnavailable: its wheel works on this machine only.
    """
    if locked.kind == "wheel":
        return locked
    folder = (beside / locked.location).resolve() if locked.kind == "folder" else None
    stamp = _stamps(folder) if folder is not None else locked.sha256
    key = kept.fingerprint(locked.name, str(folder), stamp)
    known = kept.read("built", key)
    if known is None or not kept.wheel(known["sha256"], known["file"]).exists():
        source = folder or fetching.fetch(locked, beside)
        known = _built(locked, source)
        kept.write("built", key, known)
    if not fits(known["file"], python):
        raise EnvironmentUnavailable(
            f"{locked.name} was built as {known['file']}, which does not work with {python}",
            hint="Packages with compiled code need a wheel for the cluster in the lock file, or build it there.",
        )
    return replace(locked, kind="wheel", **known)


def _built(locked: Locked, source: Path) -> dict[str, Any]:
    """Build a wheel; return its file's name, version, SHA-256 and size."""
    with tempfile.TemporaryDirectory(prefix="dagster-slurm-") as out:
        arguments = ["build", "--quiet", "--wheel", "--no-create-gitignore", "--out-dir", out, str(source)]
        uv_program.run(
            arguments, cwd=source if source.is_dir() else source.parent, what=f"building {locked.name} from {source}"
        )
        wheels = list(Path(out).glob("*.whl"))
        if len(wheels) != 1:
            raise ConfigurationError(f"building {locked.name} from {source} gave {len(wheels)} wheels and not one")
        content = wheels[0].read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        fetching.keep(wheels[0], sha256)
        name, version, _, _ = parse_wheel_filename(wheels[0].name)
        if name != canonicalize_name(locked.name):
            raise ConfigurationError(f"{source} is {name}, but the lock file takes it for {locked.name}")
        return {"file": wheels[0].name, "version": str(version), "sha256": sha256, "size": len(content)}


def _stamps(folder: Path) -> list[tuple[str, int, int]]:
    """Return name, size and time of every file that a wheel may be made of: when these change, it is built again."""
    stamps: list[tuple[str, int, int]] = []
    for name in _of_git(folder) or _walked(folder):
        try:
            status = os.stat(folder / name)  # noqa: PTH116 - thousands of them
        except OSError:
            continue
        stamps.append((name, status.st_size, status.st_mtime_ns))
        if len(stamps) > _MOST_FILES:
            raise ConfigurationError(
                f"{folder} has more than {_MOST_FILES} files, too many for a package",
                hint="List data and results in .gitignore, or keep them elsewhere.",
            )
    return sorted(stamps)


def _of_git(folder: Path) -> list[str]:
    """Return the files that git knows or does not ignore; none outside of a checkout."""
    command = ["git", "-C", str(folder), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        return []
    return [os.fsdecode(name) for name in done.stdout.split(b"\0") if name] if done.returncode == 0 else []


def _walked(folder: Path) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if name not in _SKIPPED
            and not name.startswith(".")
            and not name.endswith(".egg-info")
            and not os.path.exists(os.path.join(place, name, "pyvenv.cfg"))  # noqa: PTH110, PTH118
        ]
        yield from (os.path.relpath(os.path.join(place, name), folder) for name in files)  # noqa: PTH118
