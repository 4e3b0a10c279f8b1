"""The programs for login nodes: no syntax newer than Python 3.6, and they really run on the old Pythons at hand."""

from __future__ import annotations

import ast
import functools
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dagster_slurm.remote
from dagster_slurm.schedulers.direct import Direct
from dagster_slurm.transport.local import LocalTransport
from tests.conformance.driver import Rig

REMOTE = Path(dagster_slurm.remote.__file__).parent
VERSIONS = ("3.6", "3.7", "3.8", "3.9")


@functools.cache
def find_python(version: str) -> str | None:
    """Return a Python of that version, on PATH or among pyenv's, that works."""
    built = sorted(map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/python3")))
    for candidate in [*built, shutil.which(f"python{version}")]:
        asked = [candidate or "false", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        if candidate and subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() == version:
            return candidate
    return None


@pytest.mark.parametrize("module", sorted(path.name for path in REMOTE.glob("*.py")))
def test_syntax(module: str) -> None:
    ast.parse((REMOTE / module).read_text(), feature_version=(3, 6))


@pytest.mark.parametrize("module", sorted(path.name for path in REMOTE.glob("*.py")))
def test_only_the_standard_library_of_3_6_is_imported(module: str) -> None:
    newer = {
        "dataclasses",
        "contextvars",
        "zoneinfo",
        "graphlib",
        "tomllib",
        "importlib.resources",
        "importlib.metadata",
    }
    for node in ast.walk(ast.parse((REMOTE / module).read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names.append(node.module or "")
        for name in names:
            assert name.split(".")[0] in sys.stdlib_module_names, name
            assert name not in newer


def test_one_old_python_is_at_hand() -> None:
    """Else the tests below say nothing."""
    if not any(map(find_python, VERSIONS)):
        pytest.skip("no Python older than 3.10 here")


@pytest.fixture(params=VERSIONS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    """Local mode with an agent of an old Python."""
    python = find_python(request.param)
    if python is None:
        pytest.skip(f"no Python {request.param} here")
    (tmp_path / "shared").mkdir()
    return Rig("local", lambda: LocalTransport(python), Direct(), tmp_path / "base", tmp_path / "shared")


def test_the_agent_runs_a_payload(rig: Rig) -> None:
    """Handshake, upload, submit, follow, verdict, collected, cleaning."""
    try:
        hello = rig.host.hello("~/x")
        assert hello["python"].startswith("3.")
        assert hello["python"] < "3.95"
        played = rig.run("echo out; echo err >&2; printf message >>$MESSAGES; exit 3", keep={"success": 1.0})
        assert (played.cause, played.verdict.code) == ("exit_code", 3)
        assert (played.heard.stdout, played.heard.stderr) == (b"out\n", b"err\n")
        assert played.heard.said == {0: b"message"}
        assert played.tracked.record.usage is not None
    finally:
        for host in rig.hosts:
            host.close()
