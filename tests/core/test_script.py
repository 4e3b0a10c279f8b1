"""The batch scripts as text."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from dagster_slurm.core import script
from dagster_slurm.core.resources import Resources
from dagster_slurm.core.script import render_environment, render_job
from dagster_slurm.core.spec import LaunchKey, RunPaths, RunSpec
from dagster_slurm.environments.environment import predeployed

KEY = LaunchKey("0f3a", "train_model", "train.py.0")
BASE = "/scratch/ada/dagster-slurm"
DIRECTORY = f"{BASE}/runs/{KEY.folder}"
METER = ("python3", "-I", "-S", f"{BASE}/store/tools/bundled/meter.py")

SPECS = {
    "plain": RunSpec(key=KEY, paths=RunPaths(DIRECTORY), command=("python3", "train.py")),
    "full": RunSpec(
        key=KEY,
        paths=RunPaths(DIRECTORY),
        command=("python3", f"{BASE}/store/code/train.py", "--lr", "1e-3"),
        resources=Resources(
            partition="gpu",
            nodes=2,
            cpus=8,
            mem="32G",
            gpus_per_node="a100:2",
            gres="shard:1",
            time_limit="1-12:00:00",
            account="physics",
            qos="normal",
            constraint="skylake&ib",
            reservation="course",
            exclude="node[1-3]",
            signal_before_timeout="USR1@300",
            options={
                "mail-type": "END,FAIL",
                "exclusive": True,
                "ntasks": 4,
                "no-requeue": True,
                "comment": "a 'b' #c",
            },
        ),
        environment={"TOKEN": "secret"},
        python_path=((f"{BASE}/store/code",), (f"{BASE}/store/tools",)),
        prelude=("module purge", "module load gcc/12 cuda"),
        activate=predeployed("/envs/ml").lines,
        meter=METER,
        sync=True,
    ),
    "together": RunSpec(
        key=KEY,
        paths=RunPaths("/base/runs/r/s/c.0"),
        command=("bash", "/store/components.sh"),
        blocks=(
            Resources(partition="compute", cpus=1, mem="100M", time_limit=30, signal_before_timeout="USR1@60"),
            Resources(partition="gpu", nodes=2, gpus_per_node=4, time_limit=20, options={"ntasks-per-node": 2}),
        ),
    ),
    "component": RunSpec(key=KEY, paths=RunPaths("/base/runs/r/s/c.0/components/a"), command=("true",), group=1),
    "odd": RunSpec(
        key=LaunchKey("run", "weird[2024-01-01|é]", "x y.0"),
        paths=RunPaths('/home/ada/it\'s a "base" $HOME %j #1 \\'),
        command=("./run me.sh", "", "$HOME", "it's", 'say "hi"', "a\nb", "*", "`id`", "-n", "é"),
        prelude=("echo 'a'", 'echo "b" \\', "  c", "cat <<'X'", "$(id)", "X"),
    ),
}


def rendered(name: str, *, slurm: bool = True) -> str:
    return render_job(SPECS[name], slurm=slurm)


def head(text: str) -> str:
    """What differs from job to job."""
    return text.removesuffix(script._BODY)


@pytest.mark.parametrize("name", SPECS)
def test_what_stands_above_the_body(name: str, snapshot: SnapshotAssertion) -> None:
    assert head(rendered(name)) == snapshot


@pytest.mark.parametrize("name", SPECS)
def test_beside_dagster(name: str, snapshot: SnapshotAssertion) -> None:
    text = rendered(name, slurm=False)
    assert head(text) == snapshot
    assert "SBATCH" not in head(text)


def test_the_whole_script(snapshot: SnapshotAssertion) -> None:
    assert rendered("plain") == snapshot


@pytest.mark.parametrize("slurm", [False, True])
@pytest.mark.parametrize("name", SPECS)
def test_bash_and_shellcheck_find_nothing(name: str, slurm: bool, tmp_path: Path) -> None:
    path = tmp_path / "job.sh"
    path.write_text(rendered(name, slurm=slurm))
    parsed = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True, check=False)
    assert (parsed.returncode, parsed.stderr) == (0, "")
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert shellcheck is not None
    # in what is rendered, literals are quoted on purpose and some are not used
    literals = "--exclude=SC2016,SC2034,SC2089,SC2090,SC2157,SC2050,SC2191,SC1003"
    checked = subprocess.run([shellcheck, literals, str(path)], capture_output=True, text=True, check=False)
    assert checked.stdout == ""


@pytest.mark.parametrize("name", SPECS)
def test_directives_stand_where_sbatch_reads_them(name: str) -> None:
    """It stops at the first line that is no comment."""
    lines = rendered(name).splitlines()
    assert lines[0] == "#!/bin/bash"
    asked = [number for number, line in enumerate(lines) if line.startswith("#SBATCH ")]
    assert asked == list(range(1, len(asked) + 1))
    for block in "\n".join(lines).split("#SBATCH hetjob"):
        names = [line.split()[1].split("=")[0] for line in block.split("\n") if line.startswith("#SBATCH ")]
        assert len(names) == len(set(names)), "of two such options the last alone would count"


def test_no_secret_stands_in_the_script() -> None:
    for slurm in (True, False):
        assert "secret" not in rendered("full", slurm=slurm)
        assert "TOKEN" not in rendered("full", slurm=slurm)


def test_a_signal_that_slurm_sends_anyway_is_trapped_once() -> None:
    spec = RunSpec(
        key=KEY, paths=RunPaths("/x"), command=("true",), resources=Resources(signal_before_timeout="TERM@60")
    )
    assert "#SBATCH --signal=B:TERM@60\n" in render_job(spec)
    assert "\n_ds_warning=\n" in render_job(spec)


def test_the_body_names_nothing_as_a_user_might() -> None:
    """It shares its namespace with the user's variables and prelude: its globals begin with _ds_."""
    functions = re.findall(r"(?m)^(\w+)\(\)", script._BODY)
    assert functions
    assert all(name.startswith("_ds_") for name in functions)
    heads = re.findall(r"(?m)^(\w+)=", head(rendered("full")))
    assert len(heads) == 13
    assert all(name.startswith("_ds_") for name in heads)


@given(st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True), st.text(max_size=30), max_size=5))
def test_env_sh_is_a_line_of_exports_whatever_the_values(variables: dict[str, str]) -> None:
    text = render_environment(variables)
    assert re.findall(r"(?m)^export ([A-Z_][A-Z0-9_]*)=", text)[:1] == sorted(variables)[:1]
    assert render_environment(dict(reversed(list(variables.items())))) == text


def test_values_survive_bash() -> None:
    values = {
        f"V{number}": value
        for number, value in enumerate(
            ["", " ", "a\nb", "'", '"', "$HOME", "`id`", "\\", "é\u2028x", "\x01\x7f", "!", "a" * 9999]
        )
    }
    names = " ".join(values)
    shown = subprocess.run(
        ["bash", "-c", render_environment(values) + f'for n in {names}; do printf "%s\\0" "${{!n}}"; done'],
        capture_output=True,
        check=True,
    )
    assert shown.stdout.decode().split("\0")[:-1] == list(values.values())
