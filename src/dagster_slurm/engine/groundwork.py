"""What stays the same whatever is started for an ask: its payload, or a cluster that outlives it."""

from __future__ import annotations

import functools
import shlex
from dataclasses import dataclass

from dagster_slurm.core.resources import Resources
from dagster_slurm.core.spec import LaunchKey, RunPaths, RunSpec
from dagster_slurm.engine.ask import Ask, Place
from dagster_slurm.environments.environment import Activation
from dagster_slurm.environments.prefix import Around, rendered
from dagster_slurm.launchers.launcher import ComputeLauncher, Setting, Started
from dagster_slurm.payloads.bundle import Bundle
from dagster_slurm.payloads.pipes_shim import pipes_bundle


@functools.cache
def support() -> Bundle:
    """Return what comes with every run: ``dagster_pipes`` for Pythons that lack it, and the meter."""
    return pipes_bundle()


@dataclass(frozen=True, kw_only=True)
class Groundwork:
    """One run before its launcher renders it.

    Args:
        ask: what the user asked for.
        place: where it goes.
        paths: where it lies.
        resources: what its job asks for.
        programs: what its launcher sends along; may be empty.
        activation: of its Python environment.
        prefix: the words before commands of that environment.
    """

    ask: Ask
    place: Place
    paths: RunPaths
    resources: Resources
    programs: Bundle
    activation: Activation
    prefix: tuple[str, ...]

    @property
    def tools(self) -> str:
        """The folder with what comes with every run."""
        return self.place.stored(support().key)

    @property
    def results(self) -> tuple[str, ...]:
        """The words of the program that keeps the results."""
        return (self.ask.tools_python, "-I", "-S", f"{self.tools}/bundled/results.py")

    @property
    def bundles(self) -> dict[str, Bundle]:
        """What must lie in the store, by key."""
        found = (support(), self.programs) if self.programs.members else (support(),)
        return {bundle.key: bundle for bundle in found}

    def setting(self, command: tuple[str, ...] = ()) -> Setting:
        """Return what the launcher has to work with.

        Args:
            command: the payload's own; empty for what runs no payload.
        """
        return Setting(
            command=(*self.prefix, *command) if command else (),
            resources=self.resources,
            programs=self.place.stored(self.programs.key),
            python=self.activation.python,
            local=self.ask.local,
        )

    def spec(self, key: LaunchKey, started: Started) -> RunSpec:
        """Return the run, with nothing of a payload's own.

        Args:
            key: who it is.
            started: what the launcher rendered.
        """
        # for launchers that start daemons: eval "set -- $DAGSTER_SLURM_COMMAND_PREFIX"
        prefix = {"DAGSTER_SLURM_COMMAND_PREFIX": shlex.join(self.prefix)} if self.prefix else {}
        return RunSpec(
            key=key,
            paths=self.paths,
            command=started.command,
            resources=Resources() if self.ask.local else self.resources,
            environment={"PYTHONUNBUFFERED": "1", **prefix, **started.environment, **self.ask.environment},
            python_path=((), (self.tools,)),
            prelude=self.ask.prelude,
            activate=self.activation.lines,
            deactivate=self.activation.after,
            sync=self.place.late,
        )


def groundwork(
    ask: Ask,
    key: LaunchKey,
    place: Place,
    launcher: ComputeLauncher,
    resources: Resources,
    *,
    paths: RunPaths | None = None,
) -> Groundwork:
    """Return what a launch is built on.

    Args:
        ask: what the user asked for.
        key: who it is.
        place: where it goes.
        launcher: what renders it.
        resources: what its job asks for, the launcher's needs included.
        paths: where it lies, if not in a directory of its own: a component lies in that of its job.
    """
    activation = ask.prepared.activation()
    paths = paths or RunPaths(place.directory(key))
    return Groundwork(
        ask=ask,
        place=place,
        paths=paths,
        resources=resources,
        programs=Bundle.from_files(launcher.programs()),
        activation=activation,
        prefix=rendered(activation.prefix, _around(ask, place, resources, paths)),
    )


def _around(ask: Ask, place: Place, resources: Resources, paths: RunPaths) -> Around:
    """Return what the words before commands of the environment may name."""
    return Around(
        run_dir=paths.directory,
        base_dir=place.base,
        data_dir=ask.environment.get("DAGSTER_SLURM_DATA_BASE", ""),
        gpus=not ask.local and (bool(resources.gpus_per_node) or "gpu" in (resources.gres or "")),
    )
