from __future__ import annotations

import gc
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from dagster_slurm.engine.host import Host
from dagster_slurm.transport.ssh.folder import FOLDER_VARIABLE
from tests.clusters import cluster, make_cluster
from tests.conformance import rows
from tests.conformance.driver import Rig, until

__all__ = ["cluster", "make_cluster"]


@pytest.fixture(scope="session")
def runtime() -> Iterator[Path]:
    """Where the sockets of shared connections lie: a short path."""
    folder = Path(tempfile.mkdtemp(prefix="dsls-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def _private(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(runtime))


@pytest.fixture(scope="module", autouse=True)
def _none_is_left() -> Iterator[None]:
    """Whoever followed something, a step of Dagster's or a session, has let it go in the end."""
    before = {id(host) for host in hosts()}
    yield
    until(lambda: not [host for host in hosts() if id(host) not in before and host._runs], 10)


def hosts() -> list[Host]:
    return [thing for thing in gc.get_objects() if type(thing) is Host]


@pytest.fixture
def session(cluster) -> Iterator[Callable[..., Rig]]:
    """Makes rigs with a session of their own; arguments are those of what it asks for."""
    with ExitStack() as stack:
        yield lambda **asked: stack.enter_context(rows.session(cluster, **asked))


@pytest.fixture
def rig(session: Callable[..., Rig]) -> Rig:
    return session()


Make = Callable[..., Any]
