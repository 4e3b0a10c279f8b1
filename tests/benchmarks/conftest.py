from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dagster_slurm.resources import targets
from dagster_slurm.transport.ssh import transport
from dagster_slurm.transport.ssh.folder import FOLDER_VARIABLE
from tests.clusters import cluster

__all__ = ["cluster"]


@pytest.fixture(autouse=True)
def _unshared(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Connections of our own, so that each test begins without one; in a short path, as sockets must be."""
    folder = Path(tempfile.mkdtemp(prefix="dslb-", dir="/tmp"))
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    monkeypatch.setattr(targets, "_hosts", {})
    monkeypatch.setattr(transport, "_hosts", {})
    yield
    targets.close_all()
    shutil.rmtree(folder)
