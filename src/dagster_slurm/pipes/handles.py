"""What Dagster's event log remembers of launches, so that a later execution of the step finds them again."""

from __future__ import annotations

import json
import threading
import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from dagster._core.execution.context.asset_check_execution_context import AssetCheckExecutionContext
from dagster._core.execution.context.asset_execution_context import AssetExecutionContext
from dagster._core.execution.context.invocation import BaseDirectExecutionContext
from dagster._core.execution.context.op_execution_context import OpExecutionContext
from dagster._core.pipes.reattach import (
    PipesLaunchHandle,
    find_latest_launch_handle,
    record_external_launch,
    record_external_reattach,
)

from dagster_slurm.core.names import digest
from dagster_slurm.core.spec import LaunchKey
from dagster_slurm.errors import ConfigurationError

Context = OpExecutionContext
AnyContext = OpExecutionContext | AssetExecutionContext | AssetCheckExecutionContext

_CLIENT = "dagster-slurm"
#: how often each name was launched in one execution of a step
_occurrences: weakref.WeakKeyDictionary[Any, Counter[str]] = weakref.WeakKeyDictionary()
_counting = threading.Lock()


@dataclass(frozen=True)
class Earlier:
    """A launch that an earlier execution of the step wrote down."""

    key: LaunchKey
    handle: PipesLaunchHandle


def of_step(context: AnyContext) -> Context:
    """Return the op's context that stands behind the others: it has everything, and nothing of it is deprecated.

    Raises:
        ConfigurationError: it is something else.
    """
    if isinstance(context, (AssetExecutionContext, AssetCheckExecutionContext)):
        return context.op_execution_context
    if isinstance(context, OpExecutionContext):  # pyright: ignore[reportUnnecessaryIsInstance] - users hand it over
        return context
    raise ConfigurationError(
        f"context={context!r} is not the context of an asset, check or op", hint="compute.run(context=context, ...)."
    )


def call_name(context: Context, key: str | None, *parts: object) -> str:
    """Return what tells this call from the others of the step.

    Args:
        context: of the step.
        key: the user's own name for it; must be unique in the step.
        parts: payload and arguments; the same ones a second time count as a second call.

    Raises:
        ConfigurationError: two calls of the step have the same key: they would share a job.
    """
    name = key or digest(*(json.dumps(part, sort_keys=True, default=str) for part in parts))[:10]
    if is_direct(context):
        return name if key else f"{name}-{uuid4().hex[:8]}"
    with _counting:
        counter = _occurrences.setdefault(context.get_step_execution_context(), Counter())
        counter[name] += 1
        number = counter[name]
    if key is None:
        return f"{name}-{number}"
    if number > 1:
        raise ConfigurationError(
            f"key={key!r} names two calls of this step", hint="Give each call a key of its own, or none at all."
        )
    return key


def is_direct(context: Context) -> bool:
    """Whether the asset was called as a function: there is no run, and nothing is remembered."""
    return isinstance(context, BaseDirectExecutionContext)


def find(context: Context, call: str) -> Earlier | None:
    """Return the latest launch of this call, by this run or by one that it retries from failure."""
    if is_direct(context):
        return None
    handle = find_latest_launch_handle(context, client_name=f"{_CLIENT}/{call}")
    if handle is None:
        return None
    key = LaunchKey(str(handle.extras["run"]), handle.step_key, call, int(handle.extras["attempt"]))
    return Earlier(key, handle)


def fresh(context: Context, call: str, failed: Earlier | None = None) -> LaunchKey:
    """Return the key of a new launch.

    Args:
        context: of the step.
        call: which call of the step.
        failed: the launch before it. If another run made it, counting starts anew in ours: two runs that retry the
            same one must not share a directory.
    """
    if is_direct(context):
        return LaunchKey(f"direct-{uuid4().hex}", "step", call)
    if failed is not None and failed.key.run_id == context.run_id:
        return replace(failed.key, attempt=failed.key.attempt + 1)
    return LaunchKey(context.run_id, context.get_step_execution_context().step.key, call)


def remember(
    context: Context,
    key: LaunchKey,
    directory: str,
    host: str,
    taken_up: Earlier | None = None,
    *,
    tried: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write a launch down, before it is submitted; or that an earlier one is taken up again.

    Args:
        context: of the step.
        key: the launch.
        directory: its run directory.
        host: where that is.
        taken_up: the launch as it was written down earlier.
        tried: the jobs that this call needed before.
    """
    if is_direct(context):
        return
    if taken_up is not None:
        record_external_reattach(context, taken_up.handle)
        return
    extras: dict[str, Any] = {"run": key.run_id, "attempt": key.attempt, "host": host, "job_name": key.job_name}
    if tried:
        extras["tried"] = list(tried)
    record_external_launch(context, client_name=f"{_CLIENT}/{key.call}", external_run_id=directory, extras=extras)
