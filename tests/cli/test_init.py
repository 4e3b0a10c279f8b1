"""``init`` and ``completion``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import invoke


def materialize(folder: Path, *where: str) -> str:
    home = folder / "home"
    home.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "--select", "slurm_example", *where]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "DAGSTER_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "yes"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_example_materializes_as_it_is(tmp_path: Path) -> None:
    printed = invoke("init").output
    assert "dagster dev -f slurm_example.py" in printed
    assert "adding up on" in materialize(tmp_path, "--python-file", "slurm_example.py")


def test_a_project_of_dg(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.dg.project]\nroot_module = "mine"\n')
    defs = tmp_path / "src" / "mine" / "defs"
    defs.mkdir(parents=True)
    for folder in (defs, defs.parent):
        (folder / "__init__.py").write_text("")
    (defs.parent / "definitions.py").write_text(
        "from pathlib import Path\nimport dagster as dg\n"
        "defs = dg.load_from_defs_folder(path_within_project=Path(__file__).parent)\n"
    )
    assert f"wrote {Path('src/mine/defs/slurm_example.py')}" in invoke("init").output
    where = ("--working-directory", "src", "-m", "mine.definitions")
    assert "adding up on" in materialize(tmp_path, *where)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "slurm_example.py").write_text("mine")
    assert "is there already" in invoke("init", code=1).output
    assert [path.name for path in tmp_path.iterdir()] == ["slurm_example.py"]
    assert (tmp_path / "slurm_example.py").read_text() == "mine"


def test_a_broken_project(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[")
    assert "is not understood" in invoke("init", code=1).output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    assert "_DAGSTER_SLURM_COMPLETE" in invoke("completion", shell).output


def test_what_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("Host mycluster other*\n  User me\nHost myother\n")
    environment = {**os.environ, "HOME": str(tmp_path), "_DAGSTER_SLURM_COMPLETE": "bash_complete"}
    program = [sys.executable, "-c", "from dagster_slurm.cli import main; main(prog_name='dagster-slurm')"]

    def complete(words: str) -> list[str]:
        asked = {**environment, "COMP_WORDS": f"dagster-slurm {words}", "COMP_CWORD": str(len(words.split()))}
        done = subprocess.run(program, env=asked, capture_output=True, text=True, check=True)
        return [line.partition(",")[2] for line in done.stdout.split()]

    assert complete("doctor my") == ["mycluster", "myother"]
    assert complete("ca") == ["cancel"]


def test_completion_for_a_shell_that_is_not_known() -> None:
    assert "is not one of" in invoke("completion", "tcsh", code=2).output
