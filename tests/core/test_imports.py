"""Who needs no Dagster does not import it: that takes a second or two."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import dagster_slurm

PACKAGE = Path(dagster_slurm.__file__).parent
CODE = """
import importlib, json, sys
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""


def imported_by(*names: str) -> set[str]:
    """Top-level modules that are there after importing some in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(names)], capture_output=True, text=True, check=True, timeout=60
    )
    return set(json.loads(done.stdout))


def modules_of(*packages: str) -> list[str]:
    found: list[str] = []
    for package in packages:
        found.append(f"dagster_slurm.{package}")
        found += [
            module.name for module in pkgutil.walk_packages([str(PACKAGE / package)], f"dagster_slurm.{package}.")
        ]
    return found


def test_the_package_itself() -> None:
    assert not imported_by("dagster_slurm") & {"dagster", "pydantic", "click", "rich"}


def test_the_command_line() -> None:
    assert not imported_by(*modules_of("cli")) & {"dagster", "pydantic"}


@pytest.mark.parametrize(
    "package", ["core", "schedulers", "transport", "engine", "payloads", "launchers", "environments"]
)
def test_what_lies_below_dagster(package: str) -> None:
    assert not imported_by(*modules_of(package)) & {"dagster", "pydantic", "click", "rich"}


def test_every_public_name_is_there_and_listed() -> None:
    assert sorted(dir(dagster_slurm)) == sorted(dagster_slurm.__all__)
    for name in dagster_slurm.__all__:
        assert getattr(dagster_slurm, name).__name__ == name


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="'Unicorn'"):
        _ = dagster_slurm.Unicorn
