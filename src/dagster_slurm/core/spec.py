"""One run: who it is, where it lies, and what it does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from dagster_slurm.core.names import digest, folder_name, job_name
from dagster_slurm.core.resources import Resources
from dagster_slurm.errors import ConfigurationError

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
#: the protocol's own; a value of the user's would break the run
_OURS = (
    "DAGSTER_PIPES_CONTEXT",
    "DAGSTER_PIPES_MESSAGES",
    "DAGSTER_SLURM_CHECKPOINT_DIR",
    "DAGSTER_SLURM_COMPONENT",
    "DAGSTER_SLURM_CONTINUATION",
    "DAGSTER_SLURM_DATA_BASE",
    "DAGSTER_SLURM_HET_GROUP",
    "DAGSTER_SLURM_INPUTS",
    "DAGSTER_SLURM_JOB_ID",
    "DAGSTER_SLURM_OUTPUTS",
    "DAGSTER_SLURM_PAYLOAD_DIR",
    "DAGSTER_SLURM_RESTART",
    "DAGSTER_SLURM_RUN_DIR",
    "DAGSTER_SLURM_SHARED_DIR",
    "DAGSTER_SLURM_STEP_OPTIONS",
    "DAGSTER_SLURM_UNIT_CPUS",
    "DAGSTER_SLURM_UNIT_MIB",
    "SLURM_EXPORT_ENV",
)
_OUR_PREFIXES = ("_ds_", "DAGSTER_SLURM_INPUT_", "DAGSTER_SLURM_OUTPUT_DIR")
#: bash sets them and lets nobody else do so
_BASHS = ("BASHOPTS", "BASH_VERSINFO", "EUID", "PPID", "SHELLOPTS", "UID")


@dataclass(frozen=True)
class LaunchKey:
    """Identity of one execution: Dagster run, step, call within the step, and attempt.

    Args:
        run_id: the Dagster run that launched it first; a retry from failure that re-attaches keeps it.
        step_key: the step in that run.
        call: fingerprint of payload and arguments and its number within the step, or the user's own key.
        attempt: counts fresh directories; only a terminal failure read in the old one makes a new one.
    """

    run_id: str
    step_key: str
    call: str
    attempt: int = 0

    @property
    def job_name(self) -> str:
        """The name under which queue, accounting and ``scancel`` find the job."""
        return job_name(self.step_key, digest(self.run_id, self.step_key, self.call, str(self.attempt)))

    @property
    def folder(self) -> str:
        """The run directory, relative to ``<remote_base>/runs``."""
        call = folder_name(f"{self.call}.{self.attempt}")
        return f"{folder_name(self.run_id)}/{folder_name(self.step_key)}/{call}"


@dataclass(frozen=True)
class RunPaths:
    """Where the parts of one run lie on the target: absolute, in its own spelling of paths."""

    directory: str

    def file(self, name: str) -> str:
        """Return the path of a file in the run directory."""
        return str(PurePosixPath(self.directory) / name)

    @property
    def work(self) -> str:
        """The payload's working directory."""
        return self.file("work")

    @property
    def context(self) -> str:
        """The Pipes context."""
        return self.file("context.json")

    @property
    def messages(self) -> str:
        """What the payload writes its Pipes messages to: a link to the file of the current restart."""
        return self.file("messages.jsonl")


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """All that the batch script is rendered from.

    Args:
        key: who it is.
        paths: where it lies.
        command: what to run, word by word; nothing in it is read by a shell.
        resources: what it asks for.
        environment: variables for the payload; secrets among them go to ``env.sh`` only.
        python_path: folders for the beginning and for the end of PYTHONPATH.
        prelude: shell lines that run before the payload (``module load ...``).
        activate: shell lines that activate the payload's environment.
        deactivate: shell lines that run when the payload has ended.
        meter: words put before the command, that say afterwards what it used; may be empty.
        data: words of the program that keeps the results, as ``data.json`` of the run directory says; may be empty.
        sync: the run directory lies on a file system that holds written bytes back (NFS).
        blocks: what each component asks for, if the script is that of a heterogeneous job.
        group: which component of a heterogeneous job this is; None for any other run.
    """

    key: LaunchKey
    paths: RunPaths
    command: tuple[str, ...]
    resources: Resources = field(default_factory=Resources)
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    python_path: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    prelude: tuple[str, ...] = ()
    activate: tuple[str, ...] = ()
    deactivate: tuple[str, ...] = ()
    meter: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    sync: bool = False
    blocks: tuple[Resources, ...] = ()
    group: int | None = None


def check_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the user's variables, or refuse names and values that no process can have.

    Raises:
        ConfigurationError: a name that is no variable name or is the protocol's own, or a NUL in a value.
    """
    for name, value in variables.items():
        if not _VARIABLE.match(name):
            raise ConfigurationError(
                f"{name!r} is not a name for an environment variable", hint="Use letters, digits and underscores."
            )
        if name in _BASHS:
            raise ConfigurationError(f"the environment variable {name} is bash's own", hint="Use another name.")
        if name in _OURS or name.startswith(_OUR_PREFIXES):
            raise ConfigurationError(f"the environment variable {name} is set by dagster-slurm", hint="Leave it out.")
        if "\0" in str(value):
            raise ConfigurationError(f"the value of the environment variable {name} has a NUL character")
    return {name: str(value) for name, value in variables.items()}
