"""What Dagster's event log remembers of launches, so that a later execution of the step finds them again."""

from __future__ import annotations

import json
import weakref
from collections import Counter
from typing import Any
from uuid import uuid4

from dagster._core.execution.context.asset_execution_context import AssetExecutionContext
from dagster._core.execution.context.invocation import BaseDirectExecutionContext
from dagster._core.execution.context.op_execution_context import OpExecutionContext
from dagster._core.pipes.reattach import find_latest_launch_handle, record_external_launch

from dagster_slurm.core.names import digest
from dagster_slurm.core.spec import LaunchKey

Context = OpExecutionContext | AssetExecutionContext

_CLIENT = "dagster-slurm"
#: how often each fingerprint was launched in one execution of a step
_occurrences: weakref.WeakKeyDictionary[Any, Counter[str]] = weakref.WeakKeyDictionary()


def call_name(context: Context, key: str | None, *parts: object) -> str:
    """Return what tells this call from the others of the step.

    Args:
        context: of the step.
        key: the user's own name for it; must be unique in the step.
        parts: payload and arguments; the same ones a second time count as a second call.
    """
    if key is not None:
        return key
    fingerprint = digest(*(json.dumps(part, sort_keys=True, default=str) for part in parts))[:10]
    if is_direct(context):
        return f"{fingerprint}-{uuid4().hex[:8]}"
    counter = _occurrences.setdefault(context.get_step_execution_context(), Counter())
    counter[fingerprint] += 1
    return f"{fingerprint}-{counter[fingerprint]}"


def is_direct(context: Context) -> bool:
    """Whether the asset was called as a function: there is no run, and nothing is remembered."""
    return isinstance(context, BaseDirectExecutionContext)


def find(context: Context, call: str) -> LaunchKey | None:
    """Return the latest launch of this call, by this run or by one that it retries from failure."""
    if is_direct(context):
        return None
    handle = find_latest_launch_handle(context, client_name=f"{_CLIENT}/{call}")
    if handle is None:
        return None
    return LaunchKey(str(handle.extras["run"]), handle.step_key, call, int(handle.extras["attempt"]))


def fresh(context: Context, call: str) -> LaunchKey:
    """Return the key of a first launch."""
    if is_direct(context):
        return LaunchKey(f"direct-{uuid4().hex}", "step", call)
    return LaunchKey(context.run_id, context.get_step_execution_context().step.key, call)


def remember(context: Context, key: LaunchKey, directory: str, host: str) -> None:
    """Write the launch down, before it is submitted."""
    if not is_direct(context):
        extras = {"run": key.run_id, "attempt": key.attempt, "host": host, "job_name": key.job_name}
        record_external_launch(context, client_name=f"{_CLIENT}/{key.call}", external_run_id=directory, extras=extras)
