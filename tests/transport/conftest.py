from __future__ import annotations

import gc
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from dagster_slurm.engine.host import Host
from dagster_slurm.transport.ssh import counts
from dagster_slurm.transport.ssh.folder import FOLDER_VARIABLE

from . import accounts
from .accounts import Account
from .sshd import Sshd


@pytest.fixture(scope="module", autouse=True)
def _alone() -> None:
    """Here processes and logins are counted: runs that tests of other modules left unfinished are let go."""
    for host in [item for item in gc.get_objects() if type(item) is Host]:
        for followed in list(host._runs.values()):
            host.leave(followed)
        host.close()


@pytest.fixture(scope="session")
def base() -> Iterator[Path]:
    """A folder that other users can enter, with a path short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="dslt-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def runtime(base: Path) -> Path:
    folder = base / "run"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture(autouse=True)
def _private(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(runtime))
    counts.reset()


@pytest.fixture(scope="session")
def account(base: Path) -> Iterator[Callable[[str], Account]]:
    """Users of this machine, by login shell."""
    if os.geteuid() != 0 or shutil.which("sshd", path="/usr/sbin") is None:
        pytest.skip("needs root and an sshd")
    accounts.remove_leftovers()
    made: list[Account] = []

    @cache
    def get(shell: str) -> Account:
        if shutil.which(shell) is None:
            pytest.skip(f"there is no {shell} here")
        made.append(accounts.create(shell, base))
        return made[-1]

    yield get
    for entry in made:
        accounts.remove(entry)


_numbers = itertools.count()


@pytest.fixture(scope="session")
def shared_sshd(base: Path, account: Callable[[str], Account]) -> Iterator[Callable[..., Sshd]]:
    """Servers for tests that leave them as they are: one of each kind."""
    made: list[Sshd] = []

    @cache
    def start(shell: str = "bash", auth: str = "key", *options: str, banner: bool = False) -> Sshd:
        made.append(Sshd(base / f"s{next(_numbers)}", account(shell), auth, options, banner))
        return made[-1]

    yield start
    for server in made:
        server.remove()


@pytest.fixture
def sshd(base: Path, account: Callable[[str], Account]) -> Iterator[Callable[..., Sshd]]:
    """Servers of one test's own."""
    made: list[Sshd] = []

    def start(auth: str = "key", *options: str, shell: str = "bash") -> Sshd:
        made.append(Sshd(base / f"s{next(_numbers)}", account(shell), auth, options))
        return made[-1]

    yield start
    for server in made:
        server.remove()
