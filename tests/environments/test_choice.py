"""What ``environment=`` takes."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dagster_slurm.environments.choice import AutoEnvironment, parse
from dagster_slurm.environments.environment import Site
from dagster_slurm.environments.pixi import PixiEnvironment
from dagster_slurm.environments.prefix import CommandPrefix
from dagster_slurm.environments.present import PlainEnvironment, PredeployedEnvironment
from dagster_slurm.environments.uv import UvEnvironment
from dagster_slurm.errors import ConfigurationError
from tests.environments.conftest import write


@pytest.mark.parametrize(
    ("named", "meant"),
    [
        ("plain", PlainEnvironment()),
        ("pixi", PixiEnvironment()),
        ("auto", AutoEnvironment()),
        ("uv", UvEnvironment()),
        ("requirements.txt", UvEnvironment(project="requirements.txt")),
        ("locks/pylock.toml", UvEnvironment(project="locks/pylock.toml")),
        ("/opt/env", PredeployedEnvironment("/opt/env")),
        ({"uv": {"python": "3.11", "groups": ["train"]}}, UvEnvironment(python="3.11", groups=("train",))),
        ({"prefix": {"words": ["wrap", "{command}"]}}, CommandPrefix(("wrap",))),
        ({"apptainer": {"image": "a.sif"}}, CommandPrefix.apptainer("a.sif")),
        (UvEnvironment(dev=True), UvEnvironment(dev=True)),
    ],
)
def test_ways_to_name_one(named: Any, meant: object) -> None:
    assert parse(named) == meant


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ("uvx", r'Did you mean "uv"\?'),
        (7, "is no environment"),
        ({"uv": {"pyton": "3.11"}}, "has no option 'pyton'"),
        ({"conda": {}}, "is not known"),
        ({"apptainer": {}}, "missing 1 required"),
    ],
)
def test_what_is_no_environment(named: Any, why: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(named)
    assert re.search(why, str(caught.value))


def test_auto_says_which_rule_chose(site: Site, project: Path, tmp_path: Path) -> None:
    below = project / "src" / "mine"
    chosen, why = AutoEnvironment().choose(replace(site, beside=below, cwd=tmp_path))
    assert chosen == UvEnvironment(project=project)
    assert why == f"{project / 'uv.lock'} is there, so uv packs"
    chosen, why = AutoEnvironment().choose(replace(site, beside=None, cwd=Path("/")))
    assert chosen == PlainEnvironment()
    assert why == "no pixi.lock or uv.lock beside the asset or above it, so payloads run with python3"


def chosen(site: Site, folder: Path) -> tuple[object, str]:
    return AutoEnvironment().choose(replace(site, beside=folder, cwd=folder))


def test_auto_finds_a_pixi_table(site: Site, tmp_path: Path) -> None:
    manifest = write(tmp_path / "a" / "pyproject.toml", "[tool.pixi.workspace]\nchannels = []\n")
    write(tmp_path / "a" / "uv.lock", "")
    environment, why = chosen(site, manifest.parent)
    assert environment == PixiEnvironment(project=manifest.parent)
    assert why == f"{manifest} is a pixi project, so pixi-pack packs"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ('"plain"', PlainEnvironment()),
        ('{ uv = { groups = ["train"] } }', UvEnvironment(groups=("train",))),
        ('"/shared/env"', PredeployedEnvironment("/shared/env")),
    ],
)
def test_auto_hears_the_project(site: Site, tmp_path: Path, said: str, meant: object) -> None:
    file = write(tmp_path / "a" / "pyproject.toml", f"[tool.dagster-slurm]\nenvironment = {said}\n")
    write(tmp_path / "a" / "uv.lock", "")
    environment, why = chosen(site, file.parent)
    expected = replace(meant, project=file.parent) if isinstance(meant, UvEnvironment) else meant
    assert environment == expected
    assert why.startswith(f"[tool.dagster-slurm] in {file} says ")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[tool.dagster-slurm]\nenvironment = "uvx"\n', r'Did you mean "uv"\?'),
        ("[tool.dagster-slurm]\nenvironment = 7\n", "is no environment"),
        ("[tool.dagster-slurm\n", "is damaged"),
    ],
)
def test_auto_and_a_project_that_says_nonsense(site: Site, tmp_path: Path, text: str, why: str) -> None:
    write(tmp_path / "a" / "pyproject.toml", text)
    with pytest.raises(ConfigurationError, match=why):
        chosen(site, tmp_path / "a")
