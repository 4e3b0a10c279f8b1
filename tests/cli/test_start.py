"""The command line starts quickly: what a command does not need is not imported."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from dagster_slurm.cli import main
from tests.cli.conftest import invoke

HEAVY = {"dagster", "pydantic", "rich", "yaml", "dagster_pipes"}
PROGRAM = "import sys; from dagster_slurm.cli import main; main(sys.argv[1:], standalone_mode=False)\n"
COUNT = "print('modules:', len(sys.modules), *sys.modules, file=sys.stderr)"


def modules(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + COUNT, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    words = re.search(r"^modules: \d+ (.*)$", done.stderr, re.MULTILINE)
    assert words
    return set(words[1].split())


def test_help_loads_no_command() -> None:
    found = modules("--help")
    assert not {name.split(".")[0] for name in found} & HEAVY
    assert {name for name in found if name.startswith("dagster_slurm.")} == {"dagster_slurm.cli"}


@pytest.mark.parametrize("command", sorted(main.list_commands(None)))
def test_no_command_needs_dagster(command: str) -> None:
    found = {name.split(".")[0] for name in modules(command, "--help")}
    assert not found & (HEAVY - {"rich"})


def test_each_command_says_the_same_of_itself_in_the_list() -> None:
    listed = invoke("--help").output
    for name in main.list_commands(None):
        command = main.get_command(None, name)
        assert command is not None
        assert command.name == name
        assert name in listed


def test_an_unknown_command_and_option() -> None:
    assert "No such command 'dcotor'" in invoke("dcotor", code=2).output
    assert "No such option" in invoke("doctor", "cluster", "--unknown", code=2).output
