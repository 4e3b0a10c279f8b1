"""What is kept on this machine, so that nothing is fetched, resolved or built twice: downloads, wheels, selections."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from dagster_slurm.remote import rundir

#: changes with the meaning of what is kept: what another version left behind is not read
FORMAT = 1


def folder() -> Path:
    """Return the folder, in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME", "").strip() or "~/.cache"
    return Path(cache).expanduser() / "dagster-slurm" / "environments" / f"v{FORMAT}"


def fingerprint(*parts: object) -> str:
    """Return the SHA-256 of some values, as hex digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def read(kind: str, key: str) -> Any:
    """Return what was kept under a key; None if nothing was, or it is damaged."""
    with contextlib.suppress(OSError, ValueError):
        kept = json.loads((folder() / kind / f"{key}.json").read_text(encoding="utf-8"))
        if kept["key"] == key:
            return kept["value"]
    return None


def write(kind: str, key: str, value: object) -> None:
    """Keep something JSON-able."""
    place = folder() / kind
    rundir.make_private(str(place))
    rundir.write_whole(str(place / f"{key}.json"), json.dumps({"key": key, "value": value}).encode())


def wheel(sha256: str, file: str) -> Path:
    """Return where a wheel or source archive is kept, whether it is or not."""
    return folder() / "wheels" / sha256 / file


def has_content(path: Path, sha256: str) -> bool:
    """Whether a file is there and has this SHA-256."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    except OSError:
        return False
    return digest.hexdigest() == sha256
