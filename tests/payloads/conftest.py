"""Pythons at hand."""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest


@functools.cache
def find_python(version: str) -> str | None:
    """Return a ``python3`` of that version that works, or None."""
    named = shutil.which(f"python{version}")
    built = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python3"))
    for candidate in filter(None, [*map(str, built), named]):
        asked = [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        if subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() == version:
            return candidate
    return None


@pytest.fixture
def python_of() -> Callable[[str], str]:
    """Give a Python of a version, or skip the test."""

    def get(version: str) -> str:
        python = find_python(version)
        if python is None:
            pytest.skip(f"no Python {version} here")
        return python

    return get
