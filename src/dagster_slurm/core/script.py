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
#: ... and one that has payloads of its own, which are told first
_LOCAL_KILL_WAIT_OF_ALL = 20
#: ... and a step, which gets them from its job script as well: the default of KillWait
STEP_KILL_WAIT = 30

#: a component takes over the signal of the one before it; this one goes to a batch shell, which it does not have
_NO_SIGNAL = directive("signal", "B:TERM@60")

_BODY = (files("dagster_slurm.core") / "job.sh").read_text(encoding="utf-8")


def render_job(spec: RunSpec, *, slurm: bool = True, step: bool = False) -> str:
    """Return the batch script of one run. It holds no secret.

    Args:
        spec: the run.
        slurm: with ``#SBATCH`` lines; without them for a process beside Dagster, or a step. A component has none of
            its own.
        step: of an allocation that goes on.
    """
    header = _header(spec) if slurm and spec.group is None else []
    return "\n".join(["#!/bin/bash", *header, *_variables(spec, _kill_after(spec, slurm=slurm, step=step)), "", _BODY])


def _kill_after(spec: RunSpec, *, slurm: bool, step: bool) -> str:
    if slurm:
        return ""
    return str(STEP_KILL_WAIT if step else _LOCAL_KILL_WAIT_OF_ALL if spec.blocks else LOCAL_KILL_WAIT)


def render_environment(variables: Mapping[str, str]) -> str:
    """Return ``env.sh``: exported, quoted, in a fixed order."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(variables.items()))


def _header(spec: RunSpec) -> list[str]:
    own = [
        directive("output", file_pattern(spec.paths.file("slurm.log"))),
        directive("open-mode", "append"),
        directive("chdir", spec.paths.directory),
    ]
    if not spec.blocks:
        return _block(spec, directives(spec.resources), own)
    lines: list[str] = []
    for number, resources in enumerate(spec.blocks):
        lines += ["#SBATCH hetjob"] if number else []
        asked = directives(resources, batch=False)
        if resources.signal_before_timeout is None and any(
            block.signal_before_timeout for block in spec.blocks[:number]
        ):
            asked.append(_NO_SIGNAL)
        lines += _block(spec, asked, [] if number else own)
    return lines


def _block(spec: RunSpec, asked: list[str], own: list[str]) -> list[str]:
    """Return the lines of one allocation: ours, where nothing asked says otherwise, and what was asked for.

    The number of tasks is always said: of a heterogeneous job each component has its own.
    """
    names = {line.split("=")[0] for line in asked}
    own = [directive("job-name", spec.key.job_name), *own]
    own += [] if "--ntasks" in names else [directive("ntasks-per-node", 1)]
    return [f"#SBATCH {line}" for line in (*(line for line in own if line.split("=")[0] not in names), *asked)]


def _variables(spec: RunSpec, kill_after: str) -> list[str]:
    signal = spec.resources.signal_before_timeout
    warning = "" if signal is None else parse_signal(signal)[0]
    return [
        f"_ds_run_dir={shlex.quote(spec.paths.directory)}",
        f"_ds_command=({shlex.join(spec.command)})",
        f"_ds_meter=({shlex.join(spec.meter)})",
        f"_ds_path_first={shlex.quote(':'.join(spec.python_path[0]))}",
        f"_ds_path_last={shlex.quote(':'.join(spec.python_path[1]))}",
        f"_ds_warning={'' if warning in ('TERM', 'INT', 'HUP') else shlex.quote(warning)}",
        f"_ds_sync={'1' if spec.sync else ''}",
        f"_ds_kill_after={kill_after}",
        f"_ds_group={'' if spec.group is None else spec.group}",
        f"_ds_prelude={shlex.quote(chr(10).join(spec.prelude))}",
        f"_ds_data=({shlex.join(spec.data)})",
        f"_ds_activate={shlex.quote(chr(10).join(spec.activate))}",
        f"_ds_deactivate={shlex.quote(chr(10).join(spec.deactivate))}",
    ]
