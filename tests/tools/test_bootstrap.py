"""The set-up on machines that lack something: it says what, why, and what to type.

Real fresh machines: tools/fresh_machine.sh.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
#: what every system has
PROGRAMS = ("awk", "basename", "cat", "chmod", "dirname", "env", "id", "ln", "ls", "mkdir", "mv", "rm", "sh", "touch")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with only the set-up in it, on a machine with only the usual programs."""
    for folder in ("clone/tools", "programs", "home"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(REPOSITORY / "tools" / "bootstrap.sh", tmp_path / "clone" / "tools")
    for name in PROGRAMS:
        found = shutil.which(name, path="/usr/bin:/bin")
        assert found, name
        (tmp_path / "programs" / name).symlink_to(found)
    return tmp_path / "clone"


def program(clone: Path, name: str, text: str) -> None:
    path = clone.parent / "programs" / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def set_up(clone: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    machine = {"PATH": str(clone.parent / "programs"), "HOME": str(clone.parent / "home")}
    return subprocess.run(
        ["/bin/sh", "tools/bootstrap.sh"],
        cwd=clone,
        env={**machine, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


UV = """
[ "$1" = --version ] && echo "uv {version} (somewhere)" && exit
echo "$@" >>"$CALLS"
{then}
mkdir -p .venv/bin
printf '#!/bin/sh\\necho Python 3.12.1\\n' >.venv/bin/python
chmod +x .venv/bin/python
"""


def test_without_python_or_uv(clone: Path) -> None:
    done = set_up(clone)
    assert done.returncode == 1
    assert "there is no python3 here" in done.stderr
    assert "type: sudo apt-get install python3" in done.stderr


@pytest.mark.parametrize(("version", "enough"), [("0.7.99", False), ("0.8.0", True), ("0.13.9", True), ("1.0.0", True)])
def test_a_uv_on_path_serves_if_recent_enough(version: str, enough: bool, clone: Path) -> None:
    calls = clone.parent / "calls"
    program(clone, "uv", UV.format(version=version, then=""))
    done = set_up(clone, CALLS=str(calls))
    assert (done.returncode == 0) is enough, done.stderr
    if enough:
        assert calls.read_text().startswith("sync --frozen")
        assert not (clone / ".tools" / "uv").exists()


def test_a_python_without_pip_on_a_machine_without_apt(clone: Path) -> None:
    program(clone, "python3", '[ "$1" = -c ] && case $2 in *version_info*) exit 0 ;; esac; exit 1')
    done = set_up(clone)
    assert done.returncode == 1
    assert "neither pip nor venv" in done.stderr
    assert "type: install pip for" in done.stderr


def test_apt_that_reaches_nothing(clone: Path) -> None:
    program(clone, "python3", '[ "$1" = -c ] && case $2 in *version_info*) exit 0 ;; esac; exit 1')
    program(clone, "apt-get", "echo E: no network >&2; exit 100")
    done = set_up(clone)
    assert done.returncode == 1
    assert "E: no network" in done.stderr
    assert "sudo apt-get install python3-venv" in done.stderr


def test_a_pip_that_reaches_nothing(clone: Path) -> None:
    program(clone, "python3", 'case "$*" in *install*) echo no index >&2; exit 1 ;; esac')
    done = set_up(clone)
    assert done.returncode == 1
    assert "no index" in done.stderr
    assert "pip could not install uv" in done.stderr
    assert not [path for path in (clone / ".tools").iterdir() if path.name.startswith("uv")]


def test_a_sync_that_fails(clone: Path) -> None:
    program(clone, "uv", UV.format(version="0.9.0", then="echo broken >&2; exit 2"))
    done = set_up(clone, CALLS=os.devnull)
    assert done.returncode == 1
    assert "broken" in done.stderr
    assert "uv could not build the environment" in done.stderr


def test_settings_of_the_callers_do_not_send_it_elsewhere(clone: Path) -> None:
    seen = clone.parent / "seen"
    program(clone, "uv", UV.format(version="0.9.0", then='env >"$SEEN"'))
    elsewhere = {"UV_PROJECT_ENVIRONMENT": "elsewhere", "VIRTUAL_ENV": "elsewhere", "PYTHONPATH": "elsewhere"}
    assert set_up(clone, CALLS=os.devnull, SEEN=str(seen), **elsewhere).returncode == 0
    assert "elsewhere" not in seen.read_text()
