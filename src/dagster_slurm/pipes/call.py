"""One call of ``run``, as all sayings amount to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dagster_slurm.core.retries import SlurmRetryPolicy
from dagster_slurm.engine.ask import Ask
from dagster_slurm.pipes import handles


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of ``run``.

    Args:
        context: of the step.
        name: what tells it from other calls in the step.
        extras: for the payload.
        ask: what to run.
        poll_timeout: seconds after which to give up and cancel; None waits as long as it takes.
        forward_termination: whether a cancelled run cancels its job.
        reuse: clusters stay for later steps, and serve those for which they are too small by this part at most; None:
            each call has its own.
        retry: what is submitted again; None: nothing.
        resource_keys: the step's resources that lead to the same session, where one is used.
    """

    context: handles.Context
    name: str
    ask: Ask
    extras: Mapping[str, Any] = field(default_factory=dict[str, Any])
    poll_timeout: float | None = None
    forward_termination: bool = True
    retry: SlurmRetryPolicy | None = None
    resource_keys: tuple[str, ...] = ()
    reuse: float | None = None
