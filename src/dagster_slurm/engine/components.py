"""A heterogeneous job as one launch: the job's run directory, with a run directory for each component in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dagster_slurm.core.components import Component, blocks, check_order, settled
from dagster_slurm.core.data import ORDER, Wanted, order
from dagster_slurm.core.resources import Resources, merge
from dagster_slurm.core.spec import LaunchKey, RunPaths, RunSpec
from dagster_slurm.engine.ask import Ask, Place
from dagster_slurm.engine.groundwork import support
from dagster_slurm.engine.launch import Launch
from dagster_slurm.engine.plan import plan
from dagster_slurm.launchers.components import OnFailure, SideBySide
from dagster_slurm.payloads.bundle import Bundle


@dataclass(frozen=True, kw_only=True)
class ComponentAsk:
    """What the user asked for in one component.

    Args:
        id: its name.
        ask: what to run.
        after: ids of components that must have succeeded before it starts.
    """

    id: str
    ask: Ask
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bootstrap:
    """How a component's payload finds its Pipes context and messages, and the context itself."""

    variables: Mapping[str, str]
    context: bytes


@dataclass(frozen=True, kw_only=True)
class Together:
    """What was asked for as one job.

    Args:
        asks: what its components are.
        on_failure: whether a component that fails ends the others.
        grace: seconds that the others have before.
        data: results that several of them write; None: there are none.
        tools_python: the target's Python for our own programs.
        in_session: they are units of a session, not one job.

    Raises:
        ConfigurationError: the components cannot run together.
    """

    asks: Sequence[ComponentAsk]
    on_failure: OnFailure = "cancel"
    grace: float = 10.0
    data: Wanted | None = None
    tools_python: str = "python3"
    in_session: bool = False

    def __post_init__(self) -> None:
        """Refuse at once what cannot work."""
        check_order(self.components, one_start=not self.in_session)

    @property
    def local(self) -> bool:
        """Whether they are processes beside Dagster."""
        return self.asks[0].ask.local

    @property
    def components(self) -> tuple[Component, ...]:
        """The components, with all that they ask for."""
        found = [
            Component(item.id, merge(item.ask.resources, item.ask.launcher.needs()), item.after) for item in self.asks
        ]
        return tuple(found) if self.in_session else settled(found)


def paths_of(place: Place, key: LaunchKey, component_id: str) -> RunPaths:
    """Return where a component of a launch lies."""
    return RunPaths(f"{place.directory(key)}/components/{component_id}")


def plan_together(together: Together, key: LaunchKey, place: Place, bootstraps: Sequence[Bootstrap]) -> Launch:
    """Return the launch of the whole job; its members are the components, in their order.

    Raises:
        ConfigurationError: a payload's folder cannot travel, or a resource cannot be asked for.
    """
    components = together.components
    members = tuple(
        plan(
            replace(item.ask, resources=component.resources),
            key,
            place,
            bootstrap=bootstrap.variables,
            context=bootstrap.context,
            paths=paths_of(place, key, item.id),
            group=number if len(components) > 1 else None,
        )
        for number, (item, component, bootstrap) in enumerate(zip(together.asks, components, bootstraps, strict=True))
    )
    side = SideBySide(components=components, on_failure=together.on_failure, grace=together.grace, local=together.local)
    programs = Bundle.from_files(side.programs())
    started = side.start(place.stored(programs.key))
    bundles = {support().key: support(), programs.key: programs}
    for member in members:
        bundles.update(member.bundles)
    shared = together.data
    spec = RunSpec(
        key=key,
        paths=RunPaths(place.directory(key)),
        command=started.command,
        resources=Resources(),
        blocks=blocks(components),
        data=(together.tools_python, "-I", "-S", f"{place.stored(support().key)}/bundled/results.py") if shared else (),
        sync=place.late,
    )
    return Launch(
        spec=spec,
        base=place.base,
        context=b"{}",
        bundles=bundles,
        keep=together.asks[0].ask.keep,
        more={**started.files, **({ORDER: order(shared, key, late=place.late)} if shared else {})},
        members=tuple(replace(member, more={**member.more, "step": ""}) for member in members),
        remarks=_remarks(together, components, members),
        force_environment=any(member.force_environment for member in members),
    )


def _remarks(together: Together, components: Sequence[Component], members: Sequence[Launch]) -> tuple[str, ...]:
    found = [
        f"Component {item.id}: {text}"
        for item, member in zip(components, members, strict=True)
        for text in member.remarks
    ]
    limits = [component.resources.time_limit for component in components]
    if not together.local and any(component.after for component in components) and None in limits:
        found.append(
            "Components start one after another, but not all of them name a time limit: nobody can tell whether the "
            "partition's own leaves the later ones enough time."
        )
    return tuple(found)
