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
#: ... and a step, which gets them from its job script as well: the default of KillWait
STEP_KILL_WAIT = 30

_BODY = (files("dagster_slurm.core") / "job.sh").read_text(encoding="utf-8")


def render_job(spec: RunSpec, *, slurm: bool = True, step: bool = False) -> str:
    """Return the batch script of one run. It holds no secret.

    Args:
        spec: the run.
        slurm: with ``#SBATCH`` lines; without them for a process beside Dagster, or a step.
        step: of an allocation that goes on.
    """
    header = _header(spec) if slurm else []
    kill_after = "" if slurm else str(STEP_KILL_WAIT if step else LOCAL_KILL_WAIT)
    return "\n".join(["#!/bin/bash", *header, *_variables(spec, kill_after), "", _BODY])


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
        f"_ds_prelude={shlex.quote(chr(10).join(spec.prelude))}",
        f"_ds_data=({shlex.join(spec.data)})",
        f"_ds_data_needed={'1' if spec.data_needed else ''}",
        f"_ds_activate={shlex.quote(chr(10).join(spec.activate))}",
        f"_ds_deactivate={shlex.quote(chr(10).join(spec.deactivate))}",
    ]
