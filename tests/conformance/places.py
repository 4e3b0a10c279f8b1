"""Odd places for runs to lie."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conformance.driver import Rig


@contextmanager
def small_disk(rig: Rig) -> Generator[Path]:
    """A file system of 600 KB, that the row's user may write to."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    folder = rig.shared / "small"
    folder.mkdir()
    owner = pwd.getpwnam(rig.backstage.user).pw_uid if rig.kind in ("real", "session", "together") else 0
    options = f"size=600k,uid={owner},mode=700"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "small", folder], check=False).returncode:
        pytest.skip("may not mount")
    try:
        yield folder
    finally:
        rig.close()
        subprocess.run(["umount", "-l", folder], check=True)
