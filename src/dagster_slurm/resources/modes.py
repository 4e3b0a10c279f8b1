"""The modes: where payloads run."""

from __future__ import annotations

from enum import Enum

from dagster_slurm.core.options import suggestion
from dagster_slurm.errors import ConfigurationError


class ExecutionMode(str, Enum):
    """Where payloads run."""

    LOCAL = "local"
    SLURM = "slurm"
    SLURM_SESSION = "slurm-session"
    SLURM_HETJOB = "slurm-hetjob"


def mode_of(text: str) -> ExecutionMode:
    """Return the mode of that name.

    Raises:
        ConfigurationError: there is none.
    """
    known = frozenset(mode.value for mode in ExecutionMode)
    if text not in known:
        raise ConfigurationError(f"mode={text!r} is not known", hint=suggestion(text, known))
    return ExecutionMode(text)
