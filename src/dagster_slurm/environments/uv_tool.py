"""The uv that builds environments on the target: of the version that runs here, for the platform there."""

from __future__ import annotations

import hashlib
import platform
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from dagster_slurm.environments import fetching, kept, lock_file, uv_program
from dagster_slurm.environments.lock_file import Locked
from dagster_slurm.environments.target_python import TargetPython
from dagster_slurm.environments.uv_project import parse, resolved
from dagster_slurm.errors import DagsterSlurmError


def for_target(python: TargetPython) -> Locked:
    """Return uv for a target: the wheel from the index that uv is configured for, else this machine's own binary.

    Raises:
        ConfigurationError: neither can be had.
        EnvironmentUnavailable: there is no uv for that platform.
    """
    key = kept.fingerprint("uv", uv_program.version(), python.machine, python.facts["system"], python.facts["libc"])
    known = kept.read("uv", key)
    if known is not None:
        return Locked(**known)
    try:
        found = _from_index(python)
    except DagsterSlurmError:
        here = _from_here(python)
        if here is None:
            raise
        return here
    kept.write("uv", key, vars(found))
    return found


def _from_index(python: TargetPython) -> Locked:
    with tempfile.TemporaryDirectory(prefix="dagster-slurm-") as folder:
        wanted = Path(folder) / "requirements.in"
        wanted.write_text(f"uv=={uv_program.version()}\n", encoding="utf-8")
        lock = parse(resolved(["-r", str(wanted)], python, cwd=Path(folder)), wanted)
        found = lock_file.select(lock, python)[0]
        if found.size is None:
            file = fetching.fetch(found, Path(folder))
            found = replace(found, size=file.stat().st_size)
        return found


def _from_here(python: TargetPython) -> Locked | None:
    """Return the binary of this machine, if it is of the target's kind."""
    path = uv_program.executable()
    if path is None or not sys.platform.startswith("linux") or platform.machine() != python.machine:
        return None
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    kept_at = fetching.keep(path, sha256)
    return Locked("uv", uv_program.version(), "wheel", str(kept_at), kept_at.name, sha256, len(content))
