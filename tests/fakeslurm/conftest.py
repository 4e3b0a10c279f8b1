from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .fake import FakeSlurm, install
from .shell import Shell


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeSlurm]:
    with install(tmp_path / "slurm", kill_wait=0.3) as cluster:
        yield cluster


@pytest.fixture
def shell(fake: FakeSlurm, tmp_path: Path) -> Shell:
    return Shell(fake, tmp_path)
