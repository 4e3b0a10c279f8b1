"""The row in which each launch is the first component of a heterogeneous job, whose second does nothing."""

from __future__ import annotations

from dataclasses import replace

from dagster_slurm.core.components import Component, blocks
from dagster_slurm.core.resources import Resources
from dagster_slurm.core.spec import RunPaths, RunSpec
from dagster_slurm.engine.ask import Place
from dagster_slurm.engine.host import Host
from dagster_slurm.engine.job_of_components import JobOfComponents
from dagster_slurm.engine.launch import Launch, Sink
from dagster_slurm.engine.submission import Submitted
from dagster_slurm.launchers.components import SideBySide
from dagster_slurm.payloads.bundle import Bundle
from dagster_slurm.schedulers.scheduler import Scheduler

FIRST, SECOND = "payload", "aside"


def whole_of(launch: Launch) -> Launch:
    """The job that a launch is the first component of."""
    place, key = Place(launch.base), launch.spec.key
    directory = place.directory(key)
    first = _member(launch, directory, FIRST, 0)
    second = _member(replace(launch, spec=replace(launch.spec, command=("true",), prelude=())), directory, SECOND, 1)
    components = [Component(name, launch.spec.resources) for name in (FIRST, SECOND)]
    side = SideBySide(components=components, on_failure="wait")
    programs = Bundle.from_files(side.programs())
    started = side.start(place.stored(programs.key))
    spec = RunSpec(
        key=key,
        paths=RunPaths(directory),
        command=started.command,
        resources=Resources(),
        blocks=blocks(components),
    )
    bundles = {**launch.bundles, programs.key: programs}
    more, members = started.files, (first, second)
    return Launch(spec, launch.base, b"{}", bundles, keep=launch.keep, more=more, members=members)


def payload_of(launch: Launch) -> Launch:
    """What a test means by its launch."""
    return launch.members[0] if launch.members else launch


def followed(host: Host, scheduler: Scheduler, whole: Launch, submitted: Submitted, sink: Sink) -> JobOfComponents:
    """The job, of which the test hears what its payload says."""
    return JobOfComponents(host, scheduler, whole, submitted, sink=_Deaf(), sinks=[sink, _Deaf()])


def _member(launch: Launch, directory: str, name: str, number: int) -> Launch:
    paths = RunPaths(f"{directory}/components/{name}")
    environment = {**launch.spec.environment, "MESSAGES": paths.messages}
    spec = replace(launch.spec, paths=paths, environment=environment, group=number)
    return replace(launch, spec=spec, more={"step": ""})


class _Deaf:
    """A sink of which nobody asks anything."""

    def output(self, stream: str, data: bytes) -> None:
        pass

    def messages(self, restart: int, data: bytes) -> None:
        pass

    def event(self, event: object) -> None:
        pass

    def absent(self, error: object) -> None:
        pass

    def delayed(self, error: object) -> None:
        pass

    def tell(self, text: str) -> None:
        pass
