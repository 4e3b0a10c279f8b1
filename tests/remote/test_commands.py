from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from dagster_slurm.remote.commands import CommandMissing, Commands, clean_environment, job_environment

PLAIN = {"PATH": "/usr/bin:/bin", "HOME": "/tmp"}


def tool(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("PATH", True),
        ("SLURM_CONF", True),
        ("SLURM_JWT", True),
        ("SLURM_JOB_ID", False),
        ("SLURM_CLUSTERS", False),
        ("SLURM_TIME_FORMAT", False),
        ("SBATCH_PARTITION", False),
        ("SBATCH_EXPORT", False),
        ("SQUEUE_FORMAT", False),
        ("SQUEUE_FORMAT2", False),
        ("SACCT_FORMAT", False),
        ("SCANCEL_STATE", False),
        ("SALLOC_ACCOUNT", False),
        ("SRUN_CPUS_PER_TASK", False),
        ("MY_SLURM_VAR", True),
    ],
)
def test_what_dotfiles_and_outer_jobs_set_changes_no_command(name: str, kept: bool) -> None:
    assert (name in clean_environment({name: "x"})) is kept


@pytest.mark.parametrize(
    ("name", "inherited"),
    [
        ("HOME", True),
        ("PATH", True),
        ("LC_ALL", True),
        ("MODULEPATH", True),
        ("LMOD_CMD", True),
        ("BASH_FUNC_module%%", True),
        ("SLURM_CONF", True),
        ("SSH_AUTH_SOCK", False),
        ("SSH_CONNECTION", False),
        ("AWS_SECRET_ACCESS_KEY", False),
        ("DISPLAY", False),
        ("XDG_RUNTIME_DIR", False),
        ("SLURM_JOB_ID", False),
        ("VIRTUAL_ENV", False),
        ("PYTHONPATH", False),
    ],
)
def test_a_job_gets_few_variables_of_the_login(name: str, inherited: bool) -> None:
    assert (name in job_environment({name: "x"})) is inherited


def test_a_command_is_found_once_and_counted(tmp_path: Path) -> None:
    tool(tmp_path, "squeue", 'echo "$@"; echo no >&2; exit 3')
    commands = Commands({**PLAIN, "PATH": str(tmp_path)})
    for _ in range(2):
        assert commands.run(["squeue", "-h", "a b"], 10) == (3, "-h a b\n", "no\n")
    (tmp_path / "squeue").rename(tmp_path / "gone")
    assert commands.find("squeue") == str(tmp_path / "squeue")
    assert commands.counts == {"squeue": 2}


def test_a_command_that_only_the_login_shell_knows(tmp_path: Path) -> None:
    """As where Slurm is in a module that profiles load; a banner stands before the answer."""
    tool(tmp_path / "slurm", "sbatch_of_a_module", "echo $SLURM_CONF")
    profile = f"export PATH={tmp_path}/slurm:$PATH SLURM_CONF=/etc/theirs.conf"
    shell = tool(tmp_path, "shell", f'{profile}\necho "Welcome!"\n[ "$1 $2" = "-l -c" ] && eval "$3"')
    commands = Commands({**PLAIN, "SHELL": str(shell)})
    assert commands.find("sbatch_of_a_module") == str(tmp_path / "slurm" / "sbatch_of_a_module")
    assert commands.run(["sbatch_of_a_module"], 10).out == "/etc/theirs.conf\n"
    assert commands.login_shell_value("SLURM_CONF") == "/etc/theirs.conf"
    assert commands.login_shell_value("NOBODY_SETS_THIS") is None


def test_a_command_that_nobody_knows() -> None:
    with pytest.raises(CommandMissing, match="no_such_command"):
        Commands(PLAIN).find("no_such_command")


def test_a_login_shell_that_fails_or_is_none() -> None:
    for shell in ("/bin/false", "/no/shell"):
        assert Commands({**PLAIN, "SHELL": shell}).login_shell_value("HOME") is None


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    """Sites put scripts around these commands; a child would hold the pipe open."""
    tool(tmp_path, "sbatch", f"sleep 60 & echo $! >{tmp_path}/child; echo begun; wait")
    begun = time.monotonic()
    result = Commands({**PLAIN, "PATH": f"{tmp_path}:/usr/bin:/bin"}).run(["sbatch"], 0.5)
    assert (result.code, result.out) == (None, "begun\n")
    assert time.monotonic() - begun < 30  # of the sixty that its child sleeps
    time.sleep(0.1)
    status = Path(f"/proc/{(tmp_path / 'child').read_text().strip()}/stat")
    assert not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] == "Z"


def test_it_reads_no_input_and_runs_where_it_is_told(tmp_path: Path) -> None:
    tool(tmp_path, "sbatch", "cat; pwd")
    commands = Commands({**PLAIN, "PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert commands.run(["sbatch"], 10, cwd=str(tmp_path)).out == f"{tmp_path}\n"


def test_a_submission_has_the_environment_of_a_job(tmp_path: Path) -> None:
    tool(tmp_path, "sbatch", "env")
    outer = {**PLAIN, "PATH": f"{tmp_path}:/usr/bin:/bin", "SECRET": "x", "SLURM_CONF": "/c", "SLURM_JOB_ID": "1"}
    commands = Commands(outer)
    names = {line.split("=")[0] for line in commands.run(["sbatch"], 10, job=True).out.splitlines()}
    assert names - {"PWD", "SHLVL", "_", "OLDPWD"} == {"PATH", "HOME", "SLURM_CONF"}
    assert "SECRET=x" in commands.run(["sbatch"], 10).out


def test_output_that_is_no_text(tmp_path: Path) -> None:
    tool(tmp_path, "squeue", "printf '\\377\\n'")
    assert Commands({**PLAIN, "PATH": f"{tmp_path}:/usr/bin:/bin"}).run(["squeue"], 10).out == "\ufffd\n"


def test_many_bytes_on_both_streams(tmp_path: Path) -> None:
    tool(tmp_path, "squeue", "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2")
    result = Commands({**PLAIN, "PATH": f"{tmp_path}:{os.environ['PATH']}"}).run(["squeue"], 20)
    assert (len(result.out), len(result.err)) == (300000, 300000)
