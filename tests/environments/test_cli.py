"""``dagster-slurm env``."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from dagster_slurm import ComputeResource
from dagster_slurm.cli import main
from tests.environments.test_conformance import conda, tools_on_path
from tests.environments.test_in_assets import materialize, reported

__all__ = ["conda", "tools_on_path"]

DAY = 86400.0


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["env", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.output


@pytest.fixture
def base(warm: Path) -> Path:
    return warm


@pytest.fixture
def pushed(base: Path, project: Path) -> dict[str, str]:
    return json.loads(run("push", "here", "--env-base", base, "--project", project, "--python", sys.executable))


def last_used(path: str, days: float) -> None:
    os.utime(Path(path) / ".dagster-slurm" / "ready", (time.time() - days * DAY,) * 2)


def test_push_says_what_ci_needs_and_runs_use_it(pushed: dict[str, str], tmp_path: Path) -> None:
    assert set(pushed) == {"path", "key", "platform", "python"}
    assert pushed["path"].endswith(pushed["key"])
    python = Path(pushed["path"]) / "bin" / "python"
    assert subprocess.run([python, "-c", "import six"], check=False).returncode == 0
    last_used(pushed["path"], 40)
    compute = ComputeResource(mode="local", local_base=str(tmp_path / "base"), pre_deployed_env_path=pushed["path"])
    assert reported(materialize(compute, tmp_path))["six"] == "1.16.0"
    assert "used 0 days ago" in run("list", "here", "--env-base", tmp_path / "base" / "envs")


def test_list(pushed: dict[str, str], base: Path) -> None:
    text = run("list", "here", "--env-base", base)
    assert pushed["key"][:12] in text
    assert "4 packages" in text
    assert text.endswith("1 environments, 0.1 MB\n")
    (found,) = json.loads(run("list", "here", "--env-base", base, "--json"))
    assert (found["path"], found["whole"], found["in_use"]) == (pushed["path"], True, False)


def test_gc_by_last_use(pushed: dict[str, str], base: Path) -> None:
    assert "0 environments" in run("gc", "here", "--env-base", base)
    last_used(pushed["path"], 31)
    assert "would remove" in run("gc", "here", "--env-base", base, "--dry-run")
    assert Path(pushed["path"]).exists()
    assert "removed" in run("gc", "here", "--env-base", base)
    assert not Path(pushed["path"]).exists()


def test_gc_by_size(pushed: dict[str, str], base: Path) -> None:
    last_used(pushed["path"], 1)
    assert "0 environments" in run("gc", "here", "--env-base", base, "--max-gb", "1")
    assert "1 environments" in run("gc", "here", "--env-base", base, "--max-gb", "0.0001")


def test_gc_spares_what_a_run_uses(pushed: dict[str, str], base: Path) -> None:
    elsewhere = base.parent.parent / "other-base"
    directory = elsewhere / "runs" / "run" / "step" / "call.0"
    directory.mkdir(parents=True)
    (directory / "environment").write_text(pushed["path"])
    (Path(pushed["path"]) / ".dagster-slurm" / "bases").write_text(f"{elsewhere}\n")
    last_used(pushed["path"], 400)
    assert "0 environments" in run("gc", "here", "--env-base", base)
    assert "in use" in run("list", "here", "--env-base", base)
    (directory / "record.jsonl").write_text('{"event":"exit","code":0,"signalled":false}\n')
    assert "1 environments" in run("gc", "here", "--env-base", base)


def test_a_purged_one_can_be_pushed_again_after_gc(pushed: dict[str, str], base: Path, project: Path) -> None:
    last_used(pushed["path"], 31)
    run("gc", "here", "--env-base", base)
    again = run("push", "here", "--env-base", base, "--project", project, "--python", sys.executable)
    assert json.loads(again) == pushed


def test_errors_are_sentences(base: Path, tmp_path: Path) -> None:
    result = run("push", "here", "--env-base", base, "--project", tmp_path / "nowhere", code=1)
    assert result.startswith("Error: there is no uv.lock")


def test_a_pixi_project_is_pushed(tmp_path: Path, conda: Path, tools_on_path: Path) -> None:
    base = tmp_path / "envs"
    facts = json.loads(run("push", "here", "--env-base", base, "--project", conda, "--environment", "more"))
    assert (facts["platform"], facts["python"]) == ("linux-64", f"{facts['path']}/env/bin/python")
    assert (Path(facts["path"]) / "env" / "share" / "more.txt").read_text() == "more\n"
    said = run("push", "here", "--env-base", base, "--environment", "more", "--python", "3.11", code=1)
    assert "Leave those of one kind out" in said
    said = run("push", "here", "--env-base", base, "--project", conda, "--environment", "nope", code=1)
    assert "nope" in said


def test_the_cluster_is_the_one_that_dagster_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("SLURM_EDGE_NODE_", "DAGSTER_SLURM_PROFILE"))]:
        monkeypatch.delenv(name)
    assert "it is not said which cluster is meant" in run("list", code=1)
    profile = tmp_path / "site.yaml"
    profile.write_text(f"slurm:\n  env_base: {tmp_path}/shared\n")
    pushed = tmp_path / "shared" / "built" / "abc" / ".dagster-slurm"
    pushed.mkdir(parents=True)
    assert "1 environments" in run("list", "--profile", profile)
