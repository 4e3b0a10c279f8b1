"""What nobody else may read, and what nobody may slip in."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from dagster_slurm.core.spec import LaunchKey, check_environment
from dagster_slurm.errors import ConfigurationError
from tests.conformance import rows
from tests.conformance.driver import UNTIL_GO, Play, Rig, until

SECRET = "s3cr3t-7f1b '\"$HOME`id`\\\n;#\té!"
MARK = "s3cr3t-7f1b"


def everything_below(folder: Path) -> dict[Path, os.stat_result]:
    found = [Path(place) / name for place, folders, files in os.walk(folder) for name in (*folders, *files)]
    seen = {folder: folder.lstat()}
    for path in found:
        with contextlib.suppress(FileNotFoundError):  # written under another name first
            seen[path] = path.lstat()
    return seen


def command_lines() -> str:
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            lines.append((process / "cmdline").read_bytes().decode(errors="replace"))
        except OSError:
            continue
    return "\n".join(lines)


def what_slurm_tells(rig: Rig, play: Play) -> str:
    """All that a user can ask of a job, and all that was said to Slurm."""
    job = str(play.job)
    if rig.kind in ("real", "session", "together"):
        asked = (["scontrol", "show", "job", "-dd", job], ["squeue", "-O", "ALL"], ["sacct", "-j", job, "-o", "ALL"])
        script = rig.backstage.run(["scontrol", "write", "batch_script", job, "-"]).stdout
        return script + "".join(rig.backstage.run(list(words)).stdout for words in asked)
    state = Path(rig.backstage.state.directory)
    files = [path for path in state.rglob("*") if path.is_file()]
    return "".join(path.read_text(errors="replace") for path in files)


def test_a_secret_reaches_the_payload_and_nobody_else(rig: Rig) -> None:
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    play = rig.begin(f'printf %s "$SECRET" | sha256sum; {UNTIL_GO}', environment={"SECRET": SECRET})
    play.until_begun()
    seen = everything_below(rig.base)
    mine = [
        path for path, info in seen.items() if stat.S_ISREG(info.st_mode) and MARK in path.read_text(errors="replace")
    ]
    assert mine == [play.directory / "env.sh"]
    assert MARK not in command_lines()
    if rig.slurm:
        told = what_slurm_tells(rig, play)
        assert rig.session or play.launch.spec.key.job_name in told
        assert MARK not in told
    play.go()
    played = play.result()
    assert played.heard.stdout.split()[0].decode() == digest
    until(lambda: not (play.directory / "env.sh").exists())
    assert MARK not in str(play.heard.events) + str(played)


def test_nobody_else_can_read_a_run(rig: Rig) -> None:
    play = rig.begin(f"{UNTIL_GO}; echo x >file; mkdir folder; umask")
    play.until_begun()
    play.go()
    assert play.result().heard.stdout == b"0022\n"
    for path, info in everything_below(rig.base).items():
        if path.is_relative_to(play.directory / "work"):
            continue  # the payload's own, behind a closed door
        if not stat.S_ISLNK(info.st_mode) and not path.is_relative_to(rig.base / "store"):
            assert stat.S_IMODE(info.st_mode) & 0o077 == 0, path
    for path in (rig.base, rig.base / "store", play.directory, play.directory / "work"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


WORDS = [
    "",
    " ",
    "a b",
    "\n",
    "\t",
    "\\",
    *"-n -- ' \" $HOME `id` $(id) ;id & | * ~ ! # é木 {1..3} ${x:-y} %s a=b".split(),
]
ECHO = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))"


def test_words_and_values_arrive_as_they_are(rig: Rig) -> None:
    environment = {f"VALUE_{number}": word for number, word in enumerate(WORDS)}
    played = rig.run("python3", "-c", ECHO, *WORDS, environment=environment)
    words, seen = json.loads(played.heard.stdout)
    assert words == WORDS
    assert {name: seen[name] for name in environment} == environment


def test_bytes_that_are_no_text_arrive_as_they_are(rig: Rig) -> None:
    odd = b"\xff\xfe\xe9".decode("utf-8", "surrogateescape")
    played = rig.run('printf %s "$ODD"; printf %s "$0"', environment={"ODD": odd})
    assert played.heard.stdout.startswith(b"\xff\xfe\xe9")


@pytest.mark.parametrize("name", ["A B", "1A", "A;id", "A=B", "", "É", "A\n", "BASH_FUNC_x%%", "DAGSTER_PIPES_CONTEXT"])
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError):
        check_environment({name: "x"})


INJECTION = "\"; touch {mark}; echo $(touch {mark}) `touch {mark}` ' #"


def test_nothing_slips_into_the_script(slurm: Rig) -> None:
    """Through options, names of steps, the job's environment."""
    mark = slurm.shared / "slipped-in"
    text = INJECTION.format(mark=mark)
    key = LaunchKey(f"run {text} {os.getpid()}", f"step {text}", f"call {text}")
    more: dict[str, Any] = {"comment": text}
    played = slurm.run("echo $SLURM_JOB_NAME", key=key, options=more)
    assert played.cause == "success"
    assert played.heard.stdout.decode().strip() == key.job_name
    assert not mark.exists()
    assert not list(played.directory.rglob("slipped-in"))
    if slurm.kind == "real":
        shown = slurm.backstage.run(["scontrol", "show", "job", "-o", played.tracked.job]).stdout
        assert f"Comment={text}" in shown


OUTER = {"SBATCH_PARTITION": "no", "SLURM_JOB_ID": "1", "SLURM_NTASKS": "9", "SQUEUE_FORMAT": "%j", "AWS_SECRET": "x"}


def test_the_jobs_environment_is_its_own(faked: Rig) -> None:
    """What Dagster's process, a dotfile or an outer job set is none of the job's business."""
    outer = {
        "SBATCH_PARTITION": "nowhere",
        "SLURM_JOB_ID": "1",
        "SLURM_NTASKS": "9",
        "AWS_SECRET": "x",
        "SQUEUE_FORMAT": "%j",
    }
    variables = rows.environment(faked.base.parent / "tmp", PATH=faked.backstage.path, **outer)
    faked.transport = lambda: rows.Beside(variables)
    played = faked.run("python3", "-c", ECHO)
    seen = json.loads(played.heard.stdout)[1]
    assert "AWS_SECRET" not in seen
    assert seen["SLURM_JOB_ID"] == played.tracked.job
    assert seen["SLURM_EXPORT_ENV"] == "ALL"
