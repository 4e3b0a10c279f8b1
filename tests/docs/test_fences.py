"""Every code fence of the documents: Python runs, files that it shows are used, and `make` targets exist."""

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from testcluster import Cluster
from tests.printed import printed as printed_by

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("**/*.md")])
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def fences(language: str) -> list[Any]:
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


def run(folder: Path, *arguments: str, where: Mapping[str, str] | None = None) -> str:
    return printed_by([sys.executable, *arguments], {**environment(folder), **(where or {})}, cwd=folder, timeout=120)


PROGRAMS = {param.id: param.values[0] for param in fences("python")}


def is_payload(text: str) -> bool:
    """It is run by an asset, with a context: those of the tour in test_the_tour."""
    return "open_dagster_pipes" in text


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Exit code and output of each program."""
    folder = tmp_path_factory.mktemp("fences")
    names = {f"fence_{number}": name for number, name in enumerate(PROGRAMS)}
    for short, name in names.items():
        if not is_payload(PROGRAMS[name]):
            (folder / f"{short}.py").write_text(PROGRAMS[name])
    run(folder, str(Path(__file__).parent / "fences.py"), str(folder))
    return {names[path.stem]: json.loads(path.read_text()) for path in folder.glob("*.json")}


@pytest.mark.parametrize("name", PROGRAMS)
def test_python_runs(name: str, ran: dict[str, dict[str, Any]]) -> None:
    if is_payload(PROGRAMS[name]):
        compile(PROGRAMS[name], "payload", "exec")
    else:
        assert ran[name]["code"] == 0, ran[name]["said"]


def materialize_squares(folder: Path, definitions: str, payload: str, where: Mapping[str, str] | None = None) -> str:
    (folder / "squares.py").write_text(payload)
    (folder / "definitions.py").write_text(definitions)
    command = ("asset", "materialize", "--python-file", "definitions.py", "--select", "squares")
    return run(folder, "-m", "dagster", *command, where=where)


@pytest.fixture
def tour() -> tuple[str, str, str]:
    """The shortest definitions, those that ask for resources, and the payload."""
    python = [text for kind, text in FENCE.findall((REPOSITORY / "README.md").read_text()) if kind == "python"]
    named = {match.group(1): text for text in python if (match := re.match(r"# (\w+\.py)\n", text))}
    return python[0], named["definitions.py"], named["squares.py"]


@pytest.mark.parametrize("which", [0, 1])
def test_the_tour_on_this_machine(which: int, tour: tuple[str, str, str], tmp_path: Path) -> None:
    printed = materialize_squares(tmp_path, tour[which], tour[2])
    assert "the largest is 998001" in printed
    assert "RUN_SUCCESS" in printed


@pytest.mark.cluster
def test_the_tour_on_a_cluster(tour: tuple[str, str, str], cluster: Cluster, tmp_path: Path) -> None:
    printed = materialize_squares(tmp_path, tour[1], tour[2], cluster.client_environment)
    assert "the largest is 998001" in printed
    assert "Submitted job" in printed


@pytest.mark.parametrize("text", fences("console"))
def test_make_targets_exist(text: str) -> None:
    targets = set(re.findall(r"^\$ (?:\w+=\S+ )*make ([a-z-]+)", text, re.MULTILINE))
    known = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert targets <= known
