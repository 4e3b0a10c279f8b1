"""Names made of what users call things: for jobs, folders and environment variables."""

from __future__ import annotations

import hashlib
import re

_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")
#: how a folder's name ends that was made of another text
_MADE = re.compile(r"-[0-9a-f]{8}\Z")
_JOB_NAME_LENGTH = 60
_DIGITS = 12


def digest(*parts: str) -> str:
    """Return a hex digest that differs whenever any part, or where one ends, differs."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogateescape")
        whole.update(b"%d:" % len(data) + data)
    return whole.hexdigest()


def folder_name(text: str, limit: int = 80) -> str:
    """Return a folder name for any text; two texts never share one."""
    safe = _UNSAFE.sub("_", text).lstrip(".-")
    if safe == text and 0 < len(safe) <= limit and not _MADE.search(text):
        return safe
    return f"{safe[: limit - 9] or 'x'}-{digest(text)[:8]}"


def job_name(label: str, key: str) -> str:
    """Return a job name of at most 60 characters that ends in 12 hex digits of the key.

    Slurm truncates longer names in look-ups, and a comma makes a job unfindable by ``squeue --name``.
    """
    safe = _UNSAFE.sub("_", label).strip("._-") or "run"
    return f"{safe[: _JOB_NAME_LENGTH - _DIGITS - 1]}-{digest(key)[:_DIGITS]}"
