"""Which steps of a Dagster run may still need its session, as told when one of them ends."""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from dagster import OpDefinition
from dagster._core.execution.context.system import StepExecutionContext
from dagster._core.execution.stats import StepEventStatus

from dagster_slurm.errors import DagsterSlurmError
from dagster_slurm.pipes.handles import Context, is_direct

_LOST = (StepEventStatus.FAILURE, StepEventStatus.SKIPPED)


def run_and_step(context: Context) -> tuple[str, str]:
    """Return the names by which a session knows who waits for a unit."""
    if is_direct(context):
        return f"direct-{id(context):x}", "step"
    return context.run_id, context.get_step_execution_context().step.key


class Shared(Protocol):
    """What steps of a run share, and what ends when none of them needs it any more."""

    def enter(self) -> None:
        """One more call of ``run`` needs it."""
        ...

    def leave(self, run: str, step: str, unfinished: Sequence[str]) -> None:
        """A step has ended; these steps of its run may still come."""
        ...


@contextmanager
def attending(session: Shared | None, context: Context, keys: Collection[str]) -> Generator[None]:
    """Hold a session (or warm clusters) while a step uses it; say afterwards who is still to come.

    Args:
        session: which; none for a job of its own, with a cluster of its own.
        context: of the step.
        keys: the resources of the step that lead to this session.
    """
    if session is None:
        yield
        return
    session.enter()
    failed, again = False, False
    try:
        yield
    except DagsterSlurmError as error:
        failed, again = True, error.allow_retries and _retries(context)
        raise
    except BaseException:  # an interrupt, too, ends the step
        failed = True
        raise
    finally:
        run, step = run_and_step(context)
        session.leave(run, step, [] if is_direct(context) else unfinished(context, keys, failed=failed, again=again))


def unfinished(context: Context, keys: Collection[str], *, failed: bool, again: bool) -> list[str]:
    """Return the steps of the run that may still need the session.

    Args:
        context: of the step that ends.
        keys: names of the resources by which steps use it.
        failed: it did not end well, so that those after it will not run.
        again: ... but it will be tried again.
    """
    here = context.get_step_execution_context()
    own = here.step.key
    if again:
        return [own]
    stats = {item.step_key: item.status for item in context.instance.get_run_step_stats(context.run_id)}
    lost = {key for key, status in stats.items() if status in _LOST} | ({own} if failed else set[str]())
    over = {key for key, status in stats.items() if status is StepEventStatus.SUCCESS} | {own} | lost
    chosen = here.dagster_run.step_keys_to_execute
    found: list[str] = []
    for step in _in_order(here):
        if step.get_execution_dependency_keys() & lost:
            lost.add(step.key)
        elif step.key not in over and (chosen is None or step.key in chosen) and _needs(here, step, keys):
            found.append(step.key)
    return found


def _in_order(here: StepExecutionContext) -> list[Any]:
    plan = here.execution_plan
    return [step for level in plan.get_all_steps_by_level() for step in level]


def _needs(here: StepExecutionContext, step: Any, keys: Collection[str]) -> bool:
    definition = here.job_def.get_node(step.node_handle).definition
    return not keys or not isinstance(definition, OpDefinition) or bool(definition.required_resource_keys & set(keys))


def _retries(context: Context) -> bool:
    if is_direct(context):
        return False
    here = context.get_step_execution_context()
    policy = here.op_retry_policy
    return policy is not None and here.previous_attempt_count < policy.max_retries
