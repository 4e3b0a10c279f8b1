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
