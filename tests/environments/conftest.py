"""A small project with real packages, a host beside us, and a folder of its own for what is kept on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dagster_slurm.engine.host import Host
from dagster_slurm.environments.environment import Site
from dagster_slurm.environments.uv import UvEnvironment
from dagster_slurm.schedulers.direct import Direct
from dagster_slurm.transport.local import LocalTransport
from dagster_slurm.transport.ssh.folder import FOLDER_VARIABLE
from tests.clusters import cluster

__all__ = ["cluster"]

PROJECT = """
[project]
name = "mine"
version = "0.1.0"
requires-python = ">=3.9"
dependencies = ["six==1.16.0", "markupsafe==2.1.5", "helperlib"]
[dependency-groups]
dev = ["iniconfig==2.0.0"]
more = ["idna==3.7"]
[tool.uv.sources]
helperlib = { path = "libs/helper" }
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
"""
HELPER = """
[project]
name = "helperlib"
version = "0.2"
requires-python = ">=3.9"
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
"""


@pytest.fixture(scope="session")
def _kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = real_uv() if shutil.which("pyenv") else None
    if folder is not None:
        os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(autouse=True)
def _own_folders(_kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this machine keeps is shared by the tests of a session, and with nobody else; uv's own cache stays."""
    uv_cache = os.environ.get("UV_CACHE_DIR") or str(Path("~/.cache/uv").expanduser())
    monkeypatch.setenv("UV_CACHE_DIR", uv_cache)
    monkeypatch.setenv("XDG_CACHE_HOME", str(_kept))
    monkeypatch.setenv("DAGSTER_HOME", "")


@pytest.fixture(scope="session")
def _locked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("locked")
    write(folder / "pyproject.toml", PROJECT)
    write(folder / "src/mine/__init__.py", "ANSWER = 42\n")
    write(folder / "libs/helper/pyproject.toml", HELPER)
    write(folder / "libs/helper/src/helperlib/__init__.py", "WORD = 'yes'\n")
    uv(folder, "lock")
    return folder


@pytest.fixture
def project(_locked: Path, tmp_path: Path) -> Path:
    """A project with a lock: six, a binary markupsafe, a local dependency, and itself."""
    return Path(shutil.copytree(_locked, tmp_path / "project"))


@pytest.fixture
def host() -> Iterator[Host]:
    """A host beside us."""
    made = Host(LocalTransport(), Direct())
    yield made
    made.close()


@pytest.fixture
def site(host: Host, tmp_path: Path) -> Site:
    """A site beside us."""
    return Site(agent=host, base=str(tmp_path / "base" / "envs"), beside=tmp_path)


@pytest.fixture(scope="session")
def _warm(_kept: Path, _locked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with environments to which everything has been sent, and nothing is built."""
    base = tmp_path_factory.mktemp("warm")
    host = Host(LocalTransport(), Direct())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(_kept))
        patch.setenv("UV_CACHE_DIR", os.environ.get("UV_CACHE_DIR") or str(Path("~/.cache/uv").expanduser()))
        made = UvEnvironment(project=_locked, groups=("more",), python=sys.executable)
        made.prepare(Site(agent=host, base=str(base))).ensure(lambda _: None)
    host.close()
    shutil.rmtree(base / "built")
    return base


@pytest.fixture
def warm(_warm: Path, tmp_path: Path) -> Path:
    """What ``site.base`` is, with everything sent already."""
    base = tmp_path / "base" / "envs"
    shutil.copytree(_warm, base, copy_function=os.link, symlinks=True)
    return base


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the sockets of shared connections lie: a short path."""
    folder = Path(f"/tmp/dsle-{os.getpid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def real_uv() -> str | None:
    """Where uv itself lies, where ``uv`` is a script that looks for it at every call."""
    if shutil.which("pyenv") is None:
        return None
    asked = subprocess.run(["pyenv", "which", "uv"], capture_output=True, text=True, check=False)
    return str(Path(asked.stdout.strip()).parent) if asked.returncode == 0 else None


def uv(folder: Path, *arguments: str) -> str:
    return subprocess.run(["uv", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


Told = list[str]


@pytest.fixture
def told() -> Told:
    """What was told to the user."""
    return []


@pytest.fixture
def tell(told: Told) -> Callable[[str], None]:
    return told.append
