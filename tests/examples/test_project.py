"""The project to copy: from a fresh clone its tests pass in local mode, and its assets run on a cluster."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from dagster_slurm.cli import main
from testcluster import Cluster
from tests.clusters import cluster
from tests.examples.test_demo import REPOSITORY
from tests.printed import printed as printed_by

__all__ = ["cluster"]
PROJECT = "examples/project"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as git has it."""
    folder = tmp_path_factory.mktemp("clone")
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard", PROJECT]
    names = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        target = folder / Path(name).relative_to(PROJECT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((REPOSITORY / name).read_bytes())
    return folder


def run(clone: Path, *arguments: str, **where: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "DAGSTER_", "PYTEST"))}
    home = clone.parent / f"{clone.name}-home"
    home.mkdir(exist_ok=True)
    own = {"DAGSTER_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "yes", "PYTHONPATH": "src"}
    return printed_by([sys.executable, "-m", *arguments], {**kept, **own, **where}, cwd=clone, timeout=240)


def test_its_own_tests_pass(clone: Path) -> None:
    printed = run(clone, "pytest", "-q", "-p", "no:cacheprovider", "--deselect", "tests/test_assets.py::test_on_ray")
    assert " passed" in printed
    assert "failed" not in printed


def materialize(clone: Path, where: Mapping[str, str], *selected: str) -> str:
    return run(clone, "dagster", "asset", "materialize", "-m", "rivers.definitions", "--select", *selected, **where)


@pytest.mark.cluster
@pytest.mark.slow
def test_its_assets_run_on_a_cluster(clone: Path, cluster: Cluster) -> None:
    """Staging: a job each. Production: short assets share an allocation."""
    place = {**cluster.client_environment, "RIVERS_DATA": "~/rivers-test", "DEPLOYMENT": "staging"}
    for gauge in ("bridge", "mill"):
        assert "Submitted job" in materialize(clone, place, "readings", "--partition", gauge)
    printed = materialize(clone, place, "statistics,floods,forecast")
    assert printed.count("Submitted job") == 3
    assert "RUN_SUCCESS" in printed
    place["DEPLOYMENT"] = "production"
    printed = materialize(clone, place, "statistics")
    assert "RUN_SUCCESS" in printed
    assert "Submitted job" not in printed  # a step of the allocation that the session asked for


def test_the_ci_file_names_a_command_that_there_is(clone: Path) -> None:
    file: dict[str, Any] = yaml.safe_load((clone / ".github" / "workflows" / "deploy.yml").read_text())
    commands = [step["run"] for job in file["jobs"].values() for step in job["steps"] if "run" in step]
    (push,) = [command for command in commands if "dagster-slurm" in command]
    words = shlex.split(push.partition("dagster-slurm ")[2])
    assert words[:2] == ["env", "push"]
    told = CliRunner().invoke(main, ["env", "push", "--help"]).output
    assert all(word in told for word in words if word.startswith("--"))
