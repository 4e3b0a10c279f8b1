from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dagster_slurm.transport.ssh.folder import FOLDER_VARIABLE
from dagster_slurm.transport.ssh.transport import SSHTransport
from tests.clusters import cluster, make_cluster
from tests.conformance import rows
from tests.conformance.acts import Acts
from tests.conformance.driver import Rig

__all__ = ["cluster", "make_cluster"]

REAL = pytest.param("real", marks=pytest.mark.cluster)
SESSION = pytest.param("session", marks=pytest.mark.cluster)
TOGETHER = pytest.param("together", marks=[pytest.mark.cluster, pytest.mark.slow])


@pytest.fixture(scope="session")
def runtime() -> Iterator[Path]:
    """Where the sockets of shared connections lie: a short path."""
    folder = Path(tempfile.mkdtemp(prefix="dslc-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def _private(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(runtime))


@pytest.fixture(scope="session", autouse=True)
def acts(request: pytest.FixtureRequest, runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Acts]:
    """The tests that mostly wait; they begin with the session."""
    items = [item for item in request.session.items if Path(__file__).parent in item.path.parents]
    if any(item.get_closest_marker("cluster") for item in items):
        request.getfixturevalue("cluster")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(runtime))
        begun = Acts(items, tmp_path_factory.mktemp("acts"))
        yield begun
        begun.close()


@pytest.fixture(params=["local", "faked", REAL, SESSION, TOGETHER])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """Each row."""
    yield from _rig(request, tmp_path)


@pytest.fixture(params=["faked", REAL])
def slurm(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """Each row with a scheduler that can be asked."""
    yield from _rig(request, tmp_path)


@pytest.fixture
def faked(tmp_path: Path) -> Iterator[Rig]:
    """The row in which everything can go wrong."""
    with rows.faked(tmp_path) as rig:
        yield rig


@pytest.fixture
def real(cluster) -> Iterator[Rig]:
    with rows.real(cluster) as rig:
        yield rig


@pytest.fixture
def cluster_ssh(request: pytest.FixtureRequest) -> Callable[..., SSHTransport]:
    """Makes transports to the shared cluster, with settings of one's own."""
    return lambda **settings: SSHTransport(rows.ssh(request.getfixturevalue("cluster"), **settings))


def _rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    if request.param in ("real", "session", "together"):
        with getattr(rows, request.param)(request.getfixturevalue("cluster")) as rig:
            yield rig
    else:
        with getattr(rows, request.param)(tmp_path) as rig:
            yield rig
