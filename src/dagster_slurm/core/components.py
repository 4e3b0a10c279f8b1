"""The components of a heterogeneous job: what they may be called, when they start, and what each asks for. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dagster_slurm.core.resources import Resources, limit_seconds
from dagster_slurm.errors import ConfigurationError

#: a folder's and a variable's name is made of it
_ID = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}\Z")
#: of sbatch's options those that a component takes over from the one before it, where it does not say its own (tried on
#: 22.05); partition, nodes, CPUs, memory, GPUs and the like begin anew
_TAKEN_OVER = ("account", "qos", "time_limit", "reservation", "exclude")


@dataclass(frozen=True)
class Component:
    """One component as the job sees it.

    Args:
        id: its name.
        resources: what it asks for.
        after: ids of components that must have succeeded before it starts.
    """

    id: str
    resources: Resources = field(default_factory=Resources)
    after: tuple[str, ...] = ()


def variable(component_id: str) -> str:
    """Return the name of a component as it stands in names of environment variables."""
    return component_id.upper().replace("-", "_")


def check_ids(ids: Sequence[str]) -> None:
    """Refuse names that cannot be folders and variables, or that are given twice.

    Raises:
        ConfigurationError: there are none, or so.
    """
    if not ids:
        raise ConfigurationError(
            "a heterogeneous job needs components", hint='components=[HetJobComponent(component_id="train")].'
        )
    seen: dict[str, str] = {}
    for name in ids:
        if not isinstance(name, str) or not _ID.match(name):  # pyright: ignore[reportUnnecessaryIsInstance] - the user's
            raise ConfigurationError(
                f"component_id={name!r} is no name for a component",
                hint="Begin with a letter; letters, digits, _ and - may follow, 40 characters at most.",
            )
        if variable(name) in seen:
            twin = seen[variable(name)]
            what = (
                "is given twice" if twin == name else f"differs from {twin!r} too little to name a variable of its own"
            )
            raise ConfigurationError(f"component_id={name!r} {what}", hint="Give each component a name of its own.")
        seen[variable(name)] = name


def check_order(components: Sequence[Component], *, one_start: bool = True) -> None:
    """Refuse what could never start, or would have no time left.

    Args:
        components: all of them.
        one_start: time runs for all from the same moment.

    Raises:
        ConfigurationError: ``after`` names what is not there, or goes in a circle, or a component's time limit is over
            before it can start.
    """
    known = {component.id: component for component in components}
    for component in components:
        for name in component.after:
            if name not in known:
                raise ConfigurationError(
                    f"component {component.id!r} is to start after {name!r}, which is no component of this job",
                    hint=f"There are: {', '.join(known)}.",
                )
    _circles(known)
    for component in components if one_start else ():
        for name in component.after:
            _covers(component, known[name])


def _circles(known: Mapping[str, Component]) -> None:
    """Walk backwards from each component; one that is met again on the way waits for itself."""
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            circle = " -> ".join((*way[way.index(name) :], name))
            raise ConfigurationError(f"after goes in a circle: {circle}", hint="No component could ever start.")
        if name not in done:
            for other in known[name].after:
                visit(other, (*way, name))
            done.add(name)

    for name in known:
        visit(name, ())


def _covers(component: Component, before: Component) -> None:
    """All components are allocated at the same moment, so the time of one that waits runs meanwhile."""
    own, other = limit_seconds(component.resources.time_limit), limit_seconds(before.resources.time_limit)
    if own is not None and (other is None or own > other):
        return
    if component.resources.time_limit is None and before.resources.time_limit is None:
        return  # both have the partition's; the launch says so
    raise ConfigurationError(
        f"component {component.id!r} starts after {before.id!r}, but its time limit "
        f"({component.resources.time_limit or 'the default'}) does not exceed that one's "
        f"({before.resources.time_limit or 'the default'})",
        hint="Time runs for all components from the start of the job: give the later one the sum of both.",
    )


def settled(components: Sequence[Component]) -> tuple[Component, ...]:
    """Return the components with what sbatch lets each take over from the one before it."""
    found: list[Component] = []
    for component in components:
        resources = component.resources
        if found:
            above = found[-1].resources
            taken = {name: getattr(above, name) for name in _TAKEN_OVER if getattr(resources, name) is None}
            resources = replace(resources, **taken)
        found.append(replace(component, resources=resources))
    return tuple(found)


def blocks(components: Sequence[Component]) -> tuple[Resources, ...]:
    """Return what each block of the batch script asks for.

    The script runs in the first component, so that one is kept until the last has ended: it asks for the longest time.
    """
    asked = [component.resources for component in components]
    limits = [resources.time_limit for resources in asked if resources.time_limit is not None]
    asked[0] = replace(asked[0], time_limit=max(limits, key=_seconds, default=None))
    return tuple(asked)


def own_limits(components: Sequence[Component]) -> tuple[int | None, ...]:
    """Return the time limits (seconds) that the job's script must keep, since Slurm was told a longer one."""
    first, block = components[0].resources.time_limit, blocks(components)[0].time_limit
    own, asked = limit_seconds(first), limit_seconds(block)
    kept = own if own is not None and (asked is None or asked > own) else None
    return (kept, *(None for _ in components[1:]))


def _seconds(limit: str | int) -> float:
    found = limit_seconds(limit)
    return float("inf") if found is None else found
