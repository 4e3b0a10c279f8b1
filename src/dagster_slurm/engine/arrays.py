"""A job array as one launch: one script, one environment file, and a folder for each task, made by the task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dagster_slurm.core.spec import LaunchKey
from dagster_slurm.engine.ask import Ask, Place
from dagster_slurm.engine.launch import Launch
from dagster_slurm.engine.plan import plan
from dagster_slurm.errors import ConfigurationError

#: a single variable that is longer cannot be handed to a program on Linux (MAX_ARG_STRLEN)
_LONGEST = 120_000


def plan_array(
    ask: Ask, key: LaunchKey, place: Place, variables: Sequence[tuple[str, str]], concurrent: int | None
) -> Launch:
    """Return the launch of all tasks.

    Args:
        ask: what each of them runs.
        key: who they are together.
        place: where it goes.
        variables: for each task, where it finds its Pipes context and leaves its messages.
        concurrent: how many run at once; None leaves it to Slurm.

    Raises:
        ConfigurationError: the launcher cannot start tasks, or what they are told is too long.
    """
    launch = plan(ask, key, place, bootstrap={}, context=b"{}")
    if launch.more:
        raise ConfigurationError(
            f"{type(ask.launcher).__name__} with processes of its own does not work in tasks of an array yet",
            hint="Use BashLauncher(), or one run for each partition.",
        )
    if any(len(word) > _LONGEST for words in variables for word in words):
        raise ConfigurationError(
            "extras are too large for the tasks of an array", hint="Put them into a file, and hand over its path."
        )
    return replace(
        launch,
        spec=replace(launch.spec, tasks=len(variables), concurrent=concurrent),
        own_folders=("tasks",),
        more={"tasks.txt": "".join(f"{context} {messages}\n" for context, messages in variables)},
    )


def task_of(launch: Launch, number: int) -> Launch:
    """Return one task of an array, as somebody sees it who follows it."""
    return replace(launch, spec=replace(launch.spec, paths=launch.spec.paths.task(number)), more={}, own_folders=())
