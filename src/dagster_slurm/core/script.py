"""The text of the files that a run begins with."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from importlib.resources import files

from dagster_slurm.core.directives import directive, directives, file_pattern
from dagster_slurm.core.resources import parse_signal
from dagster_slurm.core.spec import RunSpec

#: seconds that a payload beside Dagster has between TERM and KILL, as KillWait in Slurm
LOCAL_KILL_WAIT = 10

_BODY = (files("dagster_slurm.core") / "job.sh").read_text(encoding="utf-8")


def render_job(spec: RunSpec, *, slurm: bool = True) -> str:
    """Return the batch script of one run. It holds no secret.

    Args:
        spec: the run.
        slurm: with ``#SBATCH`` lines; without them for a process beside Dagster.
    """
    header = _header(spec) if slurm else []
    return "\n".join(["#!/bin/bash", *header, *_variables(spec, slurm=slurm), "", _filled(spec)])


def render_environment(variables: Mapping[str, str]) -> str:
    """Return ``env.sh``: exported, quoted, in a fixed order."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(variables.items()))


def _header(spec: RunSpec) -> list[str]:
    own = [
        directive("job-name", spec.key.job_name),
        directive("output", file_pattern(spec.paths.file("slurm.log"))),
        directive("open-mode", "append"),
        directive("chdir", spec.paths.directory),
        directive("ntasks-per-node", 1),
    ]
    names = {line.split("=")[0] for line in directives(spec.resources)}
    if "--ntasks" in names:
        own.pop()
    own = [line for line in own if line.split("=")[0] not in names]
    return [f"#SBATCH {line}" for line in (*own, *directives(spec.resources))]


def _variables(spec: RunSpec, *, slurm: bool) -> list[str]:
    signal = spec.resources.signal_before_timeout
    warning = "" if signal is None else parse_signal(signal)[0]
    return [
        f"RUN_DIR={shlex.quote(spec.paths.directory)}",
        f"COMMAND=({shlex.join(spec.command)})",
        f"METER=({shlex.join(spec.meter)})",
        f"PATH_FIRST={shlex.quote(':'.join(spec.python_path[0]))}",
        f"PATH_LAST={shlex.quote(':'.join(spec.python_path[1]))}",
        f"WARNING={'' if warning in ('TERM', 'INT', 'HUP') else shlex.quote(warning)}",
        f"SYNC={'1' if spec.sync else ''}",
        f"KILL_AFTER={'' if slurm else LOCAL_KILL_WAIT}",
        f"NEEDS_MODULE={'1' if spec.prelude else ''}",
    ]


def _filled(spec: RunSpec) -> str:
    lines: list[str] = []
    for line in _BODY.splitlines():
        if line == "# @prelude@":
            lines += spec.prelude
        elif line == "# @activate@":
            lines += spec.activate
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"
