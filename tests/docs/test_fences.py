"""Every code fence of the documents: Python runs, files that it shows are used, and `make` targets exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("**/*.md")])
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def fences(language: str) -> list[object]:
    return [
        pytest.param(text, id=f"{document.name}-{number}")
        for document in DOCUMENTS
        for number, (kind, text) in enumerate(FENCE.findall(document.read_text()))
        if kind == language
    ]


def environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "DAGSTER_"))}
    home = folder / ".." / f"{folder.name}-dagster"
    home.mkdir(exist_ok=True)
    return {**kept, "DAGSTER_HOME": str(home.resolve()), "DAGSTER_DISABLE_TELEMETRY": "yes"}


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("text", fences("python"))
def test_python_runs(text: str, tmp_path: Path) -> None:
    if "open_dagster_pipes" in text:
        compile(text, "payload", "exec")  # runs in test_the_tour
    else:
        (tmp_path / "fence.py").write_text(text)
        run(tmp_path, "fence.py")


def test_the_tour(tmp_path: Path) -> None:
    python = [text for kind, text in FENCE.findall((REPOSITORY / "README.md").read_text()) if kind == "python"]
    named = {match.group(1): text for text in python if (match := re.match(r"# (\w+\.py)\n", text))}
    for definitions in (python[0], named["definitions.py"]):
        (tmp_path / "squares.py").write_text(named["squares.py"])
        (tmp_path / "definitions.py").write_text(definitions)
        command = ("asset", "materialize", "--python-file", "definitions.py", "--select", "squares")
        printed = run(tmp_path, "-m", "dagster", *command)
        assert "the largest is 998001" in printed
        assert "RUN_SUCCESS" in printed


@pytest.mark.parametrize("text", fences("console"))
def test_make_targets_exist(text: str) -> None:
    targets = set(re.findall(r"^\$ (?:\w+=\S+ )*make ([a-z-]+)", text, re.MULTILINE))
    known = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert targets <= known
