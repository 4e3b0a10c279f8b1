from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dagster_slurm.transport.ssh.folder import FOLDER_VARIABLE
from tests.clusters import cluster, make_cluster
from tests.conformance import rows
from tests.conformance.driver import Rig
from tests.kills.nursery import Nursery

__all__ = ["cluster", "make_cluster"]

REAL = pytest.param("real", marks=pytest.mark.cluster)


@pytest.fixture(scope="session")
def runtime() -> Iterator[Path]:
    """Where the sockets of shared connections lie: a short path."""
    folder = Path(tempfile.mkdtemp(prefix="dslk-", dir="/tmp"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(folder))
        yield folder
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def _private(runtime: Path) -> None:
    """Connections of these tests are theirs alone."""


@pytest.fixture(scope="session")
def nursery(runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    nursery = Nursery(tmp_path_factory.mktemp("nursery"))
    yield nursery
    nursery.close()


@pytest.fixture(params=["local", "faked", REAL])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """Each row."""
    if request.param == "real":
        with rows.real(request.getfixturevalue("cluster")) as rig:
            yield rig
    else:
        with getattr(rows, request.param)(tmp_path) as rig:
            yield rig


@pytest.fixture
def faked(tmp_path: Path) -> Iterator[Rig]:
    with rows.faked(tmp_path) as rig:
        yield rig


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Rig]:
    with rows.local(tmp_path) as rig:
        yield rig


@pytest.fixture
def real(cluster) -> Iterator[Rig]:
    with rows.real(cluster) as rig:
        yield rig
